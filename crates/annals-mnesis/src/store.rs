//! The framework's store: appends, reads, and who is woken by what.

use std::pin::Pin;
use std::sync::Arc;

use annals::{Position, Store};
use futures::stream::{self, Stream};
use mnesis::{ErrorId, Version};
use mnesis_store::StreamKey;
use mnesis_store::envelope::{PendingBatch, PersistedEnvelope};
use mnesis_store::error::{AppendError, AppendValidationError};
use mnesis_store::store::{AllPosition, RawEventStore, validate_append_versions};
use mnesis_store::wake::WakeSource;
use mnesis_wake::{NotifyError, StreamNotifiers, WakeReg};

use crate::envelope::{from_annals, to_annals};
use crate::error::Error;
use crate::names::{key_of, name_of};

/// A place in the log, as the framework's `$all` position. Dense, in commit order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnnalsPosition(Position);

impl AllPosition for AnnalsPosition {}

impl AnnalsPosition {
    /// A place to read on behind.
    pub const fn new(position: Position) -> Self {
        Self(position)
    }

    /// The place.
    pub const fn position(self) -> Position {
        self.0
    }
}

/// A store of annals as the framework's `RawEventStore`, `WakeSource`, `AtomicAppend` and
/// `SnapshotStore`.
///
/// Clones are the same. Subscriptions are woken by what is appended through a clone, not by what is
/// appended to the store by other ways.
#[derive(Clone, Debug)]
pub struct AnnalsStore {
    pub(crate) store: Store,
    notifiers: Arc<StreamNotifiers>,
}

impl AnnalsStore {
    /// The framework's store in a store of annals.
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), notifiers: StreamNotifiers::new() }
    }

    /// The store of annals.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The version of a stream; `None` where it has no events.
    pub(crate) fn head(&self, name: &str) -> Result<Option<Version>, Error> {
        let found = self.store.stream(name)?;
        Ok(found.and_then(|stream| Version::new(stream.version.0)))
    }
}

/// What an append of the framework expects, as annals has it: no events is version 0.
pub(crate) fn expected(version: Option<Version>) -> annals::Version {
    annals::Version(version.map_or(0, Version::as_u64))
}

/// Events of a read. The store is read as the stream is polled, which blocks as long as a read from
/// a memory map does.
type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Error>> + Send>>;

impl RawEventStore for AnnalsStore {
    type Error = Error;
    type Stream = Events<PersistedEnvelope>;
    type AllPosition = AnnalsPosition;
    type AllStream = Events<(AnnalsPosition, StreamKey, PersistedEnvelope)>;

    async fn append(
        &self,
        id: &StreamKey,
        expected_version: Option<Version>,
        envelopes: PendingBatch<'_>,
    ) -> Result<AnnalsPosition, AppendError<Error>> {
        let conflict = |actual| AppendError::Conflict {
            stream_id: ErrorId::from_display(id),
            expected: expected_version,
            actual,
        };
        let name = name_of(id);
        // Whether the run is one behind what the caller expects; whether that is there is checked
        // in the commit.
        let before = expected(expected_version);
        match validate_append_versions(before.0, expected_version, envelopes, id) {
            Ok(()) => {}
            Err(AppendValidationError::Conflict { .. }) => {
                return Err(conflict(self.head(&name).map_err(AppendError::Store)?));
            }
            Err(AppendValidationError::VersionOverflow) => {
                return Err(AppendError::Store(Error::VersionOverflow));
            }
        }
        let events = envelopes.iter().map(to_annals).collect::<Result<Vec<_>, _>>();
        let events = events.map_err(AppendError::Store)?;
        let done = match self.store.append_async(&name, before, events).await {
            Ok(done) => done,
            Err(annals::Error::Conflict(found)) => {
                return Err(conflict(Version::new(found.actual.0)));
            }
            Err(e) => return Err(AppendError::Store(e.into())),
        };
        self.wake(id.as_bytes());
        Ok(AnnalsPosition(done.position))
    }

    async fn read_stream(&self, id: &StreamKey, from: Version) -> Result<Self::Stream, Error> {
        let after = annals::Version(from.as_u64() - 1);
        let events = self.store.read_stream(name_of(id)).after(after);
        let read = |event: annals::Result<annals::Event>| from_annals(&event?);
        Ok(Box::pin(stream::iter(events.into_iter().map(read).fuse())))
    }

    async fn read_all(&self, from: Option<AnnalsPosition>) -> Result<Self::AllStream, Error> {
        let after = from.map_or(Position::START, AnnalsPosition::position);
        let events = self.store.read_all().after(after);
        let read = |event: annals::Result<annals::Event>| {
            let event = event?;
            let at = AnnalsPosition(event.position());
            Ok((at, key_of(event.stream())?, from_annals(&event)?))
        };
        Ok(Box::pin(stream::iter(events.into_iter().map(read).fuse())))
    }
}

impl WakeSource for AnnalsStore {
    type Registration = WakeReg;
    type Error = NotifyError;

    fn register(&self, stream: Option<&[u8]>) -> Result<WakeReg, NotifyError> {
        self.notifiers.register(stream)
    }

    fn wake(&self, stream: &[u8]) {
        self.notifiers.wake(stream);
    }
}
