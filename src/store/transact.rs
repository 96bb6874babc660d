//! Deciding inside the write.

use super::Store;
use crate::batch::{Batch, Pieces};
use crate::error::{Error, Result};
use crate::event::{Appended, Event};
use crate::names::EventId;
use crate::position::Position;
use crate::query::Query;
use crate::reader::{ReadAll, ReadStream};
use crate::store::StreamInfo;
use crate::writer::reentry;

/// What a decision inside the write sees: everything that is committed, and nothing that could
/// come between it and its own write. Made by [`Store::transact`].
#[derive(Debug)]
pub struct View<'a> {
    store: &'a Store,
}

impl View<'_> {
    /// Reads a stream. See [`Store::read_stream`].
    pub fn read_stream(&self, stream: impl AsRef<str>) -> ReadStream {
        self.store.read_stream(stream)
    }

    /// Reads all events in global order. See [`Store::read_all`].
    pub fn read_all(&self) -> ReadAll {
        self.store.read_all()
    }

    /// Reads the events that match a query. See [`Store::read`].
    pub fn read(&self, query: Query) -> ReadAll {
        self.store.read(query)
    }

    /// A stream as it is. See [`Store::stream`].
    ///
    /// # Errors
    ///
    /// As [`Store::stream`].
    pub fn stream(&self, stream: impl AsRef<str>) -> Result<Option<StreamInfo>> {
        self.store.stream(stream)
    }

    /// The event at a position. See [`Store::event`].
    ///
    /// # Errors
    ///
    /// As [`Store::event`].
    pub fn event(&self, position: Position) -> Result<Option<Event>> {
        self.store.event(position)
    }

    /// The event with an id. See [`Store::event_by_id`].
    ///
    /// # Errors
    ///
    /// As [`Store::event_by_id`].
    pub fn event_by_id(&self, id: impl Into<EventId>) -> Result<Option<Event>> {
        self.store.event_by_id(id)
    }

    /// The position of the last event: what the decision writes comes right behind it.
    pub fn head(&self) -> Position {
        self.store.head()
    }

    /// A batch for what is decided, to be returned and not committed by itself.
    pub fn batch(&self) -> Batch {
        self.store.batch()
    }
}

impl Store {
    /// Decides and writes in one step: the closure sees what is committed, and what it returns is
    /// committed right behind it, with no other write between the two. No conflict is possible, so
    /// nothing has to be tried again. A batch without events writes nothing.
    ///
    /// **It stalls all appends** while the closure runs, and its write is a group of its own: for
    /// decisions that would lose too many races, not for all. Reads go on. Expectations and
    /// conditions of the batch hold as in any other. It saves no cursor and changes no view.
    ///
    /// A panic of the closure goes to its caller; nothing is written and nothing is poisoned.
    ///
    /// # Errors
    ///
    /// The closure's own. As [`Batch::commit`]; [`Error::Reentrant`] from calls inside the closure
    /// that change the store; [`Error::InvalidOptions`] for a batch that saves a cursor or changes
    /// a view.
    ///
    /// ```
    /// use annals::{Error, ExpectedVersion, NewEvent, Store};
    /// let store = Store::in_memory()?;
    /// let issue = || {
    ///     store.transact(|view| {
    ///         let number = view.read_stream("Invoices").into_iter().count() + 1;
    ///         let issued = NewEvent::new("Issued", number.to_string());
    ///         Ok::<_, Error>(view.batch().append("Invoices", ExpectedVersion::Any, [issued]))
    ///     })
    /// };
    /// issue()?;
    /// assert_eq!(issue()?[0].version.0, 2);
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn transact<E: From<Error>>(
        &self,
        decide: impl FnOnce(&View<'_>) -> Result<Batch, E>,
    ) -> Result<Vec<Appended>, E> {
        let writing = self.writing()?;
        let mut core = writing.writer.core();
        if writing.writer.is_closed() {
            return Err(Error::Closed.into());
        }
        core.check_poison()?;
        let batch = {
            let _inside = reentry::Inside::new(&writing.writer);
            decide(&View { store: self })?
        };
        let Pieces { mut parts, conditions, durability, beside } = batch.into_pieces();
        if !beside.is_empty() {
            let why = "no cursor is saved and no view changed inside a transaction".into();
            return Err(Error::InvalidOptions { why }.into());
        }
        if parts.iter().all(|part| part.events.is_empty()) {
            return Ok(Vec::new());
        }
        let mut request = writing.prepare(&mut parts, conditions, durability)?;
        writing.look_up(&mut request)?;
        let answer = writing.writer.commit_held(&mut core, request);
        drop(core);
        writing.upkeep.after_commit();
        Ok(answer?.into_vec())
    }
}
