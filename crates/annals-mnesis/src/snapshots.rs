//! States of aggregates and projections, with the positions that they are of.

use std::num::NonZeroU32;

use mnesis::{Id, Version};
use mnesis_store::state::{Hydrated, SnapshotStore};

use annals::Position;

use crate::error::Error;
use crate::store::{AnnalsPosition, AnnalsStore};

/// The view of annals that they are in. Keys are a kind of position and an id.
const VIEW: &str = "mnesis/snapshots";
const VIEW_SCHEMA: u32 = 1;

/// What a snapshot can be of: a version of a stream, or a place in the log. Snapshots of one id at
/// both do not meet.
pub trait SnapshotPosition: Copy + Send + Sync + Sized {
    /// What keys of this kind begin with.
    #[doc(hidden)]
    const KIND: u8;
    /// As it is stored.
    #[doc(hidden)]
    fn number(self) -> u64;
    /// From what is stored.
    #[doc(hidden)]
    fn of(number: u64) -> Option<Self>;
}

impl SnapshotPosition for Version {
    const KIND: u8 = b'v';

    fn number(self) -> u64 {
        self.as_u64()
    }

    fn of(number: u64) -> Option<Self> {
        Self::new(number)
    }
}

impl SnapshotPosition for AnnalsPosition {
    const KIND: u8 = b'p';

    fn number(self) -> u64 {
        self.position().0
    }

    fn of(number: u64) -> Option<Self> {
        Some(Self::new(Position(number)))
    }
}

fn key_of<P: SnapshotPosition>(id: &impl Id) -> Vec<u8> {
    let mut key = vec![P::KIND];
    key.extend_from_slice(id.as_ref());
    key
}

impl<P: SnapshotPosition> SnapshotStore<Vec<u8>, P> for AnnalsStore {
    type Error = Error;

    async fn hydrate(
        &self,
        id: &impl Id,
        schema_version: NonZeroU32,
    ) -> Result<Hydrated<Vec<u8>, P>, Error> {
        let Some(view) = self.store.view(VIEW)? else { return Ok(Hydrated::Absent) };
        let Some(stored) = view.get(key_of::<P>(id))? else { return Ok(Hydrated::Absent) };
        let (schema, rest) = stored.split_first_chunk::<4>().ok_or(Error::Snapshot)?;
        let (number, state) = rest.split_first_chunk::<8>().ok_or(Error::Snapshot)?;
        let stored_schema = NonZeroU32::new(u32::from_le_bytes(*schema)).ok_or(Error::Snapshot)?;
        if stored_schema != schema_version {
            return Ok(Hydrated::Stale { stored_schema });
        }
        let position = P::of(u64::from_le_bytes(*number)).ok_or(Error::Snapshot)?;
        Ok(Hydrated::Found { position, state: state.to_vec() })
    }

    async fn commit(
        &self,
        id: &impl Id,
        schema_version: NonZeroU32,
        position: P,
        state: &Vec<u8>,
    ) -> Result<(), Error> {
        let schema = schema_version.get().to_le_bytes();
        let value = [&schema[..], &position.number().to_le_bytes(), state].concat();
        let view = self.store.create_view(VIEW, VIEW_SCHEMA)?;
        // The framework keeps the positions itself, one per snapshot, so the view stays where it
        // stands in the log, and the last write of a key counts.
        let at = view.position()?;
        Ok(view.commit(view.update(at).put(key_of::<P>(id), value), at)?)
    }
}
