//! Changes of a view, and from where they are made.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::format::statewrites::MAX_KEY;
use crate::format::view::{ParkedValue, entry_key, parked_key};
use crate::names::EventId;
use crate::position::{Position, Timestamp};
use crate::state::Change;
use crate::sync::Arc;

/// The longest key of a view, in bytes.
pub const MAX_VIEW_KEY: usize = 1000;

// What frames put in front of it has to fit.
const _: () = assert!(MAX_VIEW_KEY + 1 + 16 < MAX_KEY);

/// Changes of a view, made from what it was at a position. Made by
/// [`StoredView::update`](crate::StoredView::update).
///
/// They are committed by [`StoredView::commit`](crate::StoredView::commit), or with the events that
/// they come from by [`Batch::update_view`](crate::Batch::update_view). Either way all of them are
/// there behind a crash or none, together with the new position of the view. A commit takes at most
/// 65,535 changes and 64 MiB; a key has at most [`MAX_VIEW_KEY`] bytes, a value 16 MiB.
#[derive(Clone, Debug)]
#[must_use = "an update does nothing until it is committed"]
pub struct ViewUpdate {
    pub(super) name: String,
    pub(super) id: [u8; 16],
    pub(super) from: Position,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl ViewUpdate {
    pub(super) const fn new(name: String, id: [u8; 16], from: Position) -> Self {
        Self { name, id, from, changes: BTreeMap::new() }
    }

    /// Gives a key a value. The last change of a key counts.
    pub fn put(mut self, key: impl AsRef<[u8]>, value: impl Into<Vec<u8>>) -> Self {
        self.changes.insert(entry_key(key.as_ref()), Some(value.into()));
        self
    }

    /// Takes a key out; nothing where there is none.
    pub fn delete(mut self, key: impl AsRef<[u8]>) -> Self {
        self.changes.insert(entry_key(key.as_ref()), None);
        self
    }

    /// Notes that an event could not be applied: the view is complete but for it. See
    /// [`StoredView::parked`](crate::StoredView::parked).
    pub fn park(
        mut self,
        position: Position,
        event_id: EventId,
        attempts: u32,
        parked_at: Timestamp,
        reason: impl Into<String>,
    ) -> Self {
        let event = uuid::Uuid::from(event_id).into_bytes();
        let value = ParkedValue { event, attempts, parked_at, reason: reason.into() };
        self.changes.insert(parked_key(position.0), Some(value.encode()));
        self
    }

    /// Takes the note of [`park`](Self::park) back.
    pub fn unpark(mut self, position: Position) -> Self {
        self.changes.insert(parked_key(position.0), None);
        self
    }

    /// The name of its view.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the view stood when the changes were made.
    pub const fn from(&self) -> Position {
        self.from
    }

    /// How many keys it changes.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(super) fn changes(&self) -> Result<Vec<Change>> {
        let most = MAX_VIEW_KEY + 1;
        if let Some(key) = self.changes.keys().find(|key| key.len() > most) {
            let found = key.len() as u64 - 1;
            return Err(Error::limit("bytes of a key of a view", MAX_VIEW_KEY as u64, found));
        }
        let change = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| Change {
            key: Arc::from(key.as_slice()),
            value: value.as_deref().map(Arc::from),
        };
        Ok(self.changes.iter().map(change).collect())
    }
}
