//! Atomic writes to several streams.

use crate::error::Result;
use crate::event::{Appended, Done};
use crate::new_event::NewEvent;
use crate::options::Durability;
use crate::position::{ExpectedVersion, Position};
use crate::query::Query;
#[cfg(feature = "async")]
use crate::store::CommitFuture;
use crate::store::{Beside, Store};
use crate::view::ViewUpdate;
use crate::writer::{Condition, Part};

/// One atomic write to any number of streams: all of it or nothing. Made by
/// [`Store::batch`](Store::batch).
#[derive(Debug)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    store: Store,
    parts: Vec<Part>,
    conditions: Vec<Condition>,
    durability: Option<Durability>,
    beside: Beside,
}

/// The pieces of a batch.
pub(crate) struct Pieces {
    pub(crate) parts: Vec<Part>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) durability: Option<Durability>,
    pub(crate) beside: Beside,
}

impl Batch {
    pub(crate) fn new(store: Store) -> Self {
        let (parts, conditions, beside) = (Vec::new(), Vec::new(), Beside::default());
        Self { store, parts, conditions, durability: None, beside }
    }

    /// Adds events of a stream. A stream may come more than once; later expectations see what
    /// earlier parts of the batch append.
    pub fn append(
        mut self,
        stream: impl AsRef<str>,
        expected: impl Into<ExpectedVersion>,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Self {
        self.parts.push(Part {
            stream: stream.as_ref().into(),
            expected: expected.into(),
            events: events.into_iter().collect(),
        });
        self
    }

    /// Adds an expectation of a stream that is only checked.
    pub fn expect(self, stream: impl AsRef<str>, expected: impl Into<ExpectedVersion>) -> Self {
        self.append(stream, expected, [])
    }

    /// Adds a condition: nothing may match the query, as far as it looks
    /// ([behind a position](Query::after), mostly the last one that the decision was made on).
    ///
    /// This and [`require`](Self::require) are the append condition of the Dynamic Consistency
    /// Boundary specification, and more: any number of them, beside the expectations of streams.
    /// All are checked in the step that assigns the positions, against everything committed before;
    /// the events of the batch itself do not count. A tag that no event has costs a look-up per
    /// merged run of the index, with a recent `after` mostly one in memory.
    ///
    /// ```
    /// use annals::{Error, ExpectedVersion, NewEvent, Query, Store};
    /// let store = Store::in_memory()?;
    /// let register = |user: &str| {
    ///     let event = NewEvent::new("Registered", "").tag("name:ann");
    ///     store
    ///         .batch()
    ///         .append(user, ExpectedVersion::NoStream, [event])
    ///         .unless(Query::new().event_type("Registered").tag("name:ann"))
    ///         .commit()
    /// };
    /// register("User-1")?;
    /// let Err(Error::ConditionFailed(failed)) = register("User-2") else { panic!() };
    /// assert_eq!(failed.position.unwrap().0, 1);
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn unless(mut self, query: Query) -> Self {
        self.conditions.push(Condition { query, requires: false });
        self
    }

    /// Adds a condition: something must match the query. See [`unless`](Self::unless).
    pub fn require(mut self, query: Query) -> Self {
        self.conditions.push(Condition { query, requires: true });
        self
    }

    /// Saves a cursor with the events, in one commit: after a crash both are there or neither. The
    /// last position given for a name counts. A retry of a batch whose events are there already
    /// saves the cursor too, unless it has moved on since.
    ///
    /// The events that are appended here are not processed by that: save the position of the event
    /// that led to them.
    ///
    /// ```
    /// use annals::{ExpectedVersion, NewEvent, Position, Store};
    /// let store = Store::in_memory()?;
    /// let done = store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("Placed", "{}")])?;
    /// store
    ///     .batch()
    ///     .append("Invoice-1", ExpectedVersion::NoStream, [NewEvent::new("Issued", "{}")])
    ///     .save_cursor("billing", done.position)
    ///     .commit()?;
    /// assert_eq!(store.cursor("billing")?.unwrap().position, Position(1));
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn save_cursor(mut self, name: impl AsRef<str>, position: Position) -> Self {
        self.beside.saves.retain(|(saved, _)| saved != name.as_ref());
        self.beside.saves.push((name.as_ref().into(), position));
        self
    }

    /// Changes a view with the events, in one commit: after a crash both are there or neither. The
    /// view is then complete up to the last event of the batch.
    ///
    /// So whoever makes the update has to have folded the events of the batch, and all that matter
    /// to the view between where the update was made from and the batch: add
    /// [`unless`](Self::unless) with the query of the view behind that position, and make both
    /// again where it fails. A batch whose events are there already changes no view. The update
    /// goes into the frame of the events, within the limits of an append.
    ///
    /// ```
    /// use annals::{ExpectedVersion, NewEvent, Position, Query, Store};
    /// let store = Store::in_memory()?;
    /// let view = store.create_view("placed", 1)?;
    /// let from = view.position()?;
    /// let done = store
    ///     .batch()
    ///     .append("Order-1", ExpectedVersion::Any, [NewEvent::new("Placed", "{}")])
    ///     .unless(Query::new().category("Order").after(from))
    ///     .update_view(view.update(from).put("Order-1", "placed"))
    ///     .commit()?;
    /// assert_eq!(view.position()?, done[0].position);
    /// assert_eq!(view.get("Order-1")?.as_deref(), Some(&b"placed"[..]));
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn update_view(mut self, update: ViewUpdate) -> Self {
        self.beside.updates.push(update);
        self
    }

    /// Asks for more than the store's own durability. Less than that is not possible, and asking
    /// for it changes nothing.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// What it consists of, for a commit of another kind.
    pub(crate) fn into_pieces(self) -> Pieces {
        let Self { parts, conditions, durability, beside, .. } = self;
        Pieces { parts, conditions, durability, beside }
    }

    /// Commits the batch, and says for each part with events where its last one stands.
    ///
    /// # Errors
    ///
    /// As [`Store::append`](Store::append);
    /// [`Error::ConditionFailed`](crate::Error::ConditionFailed) where all expectations hold and a
    /// condition does not; [`Error::EmptyAppend`](crate::Error::EmptyAppend) where no part has
    /// events; as [`Store::save_cursor`](Store::save_cursor) where it saves one (an owner is no
    /// obstacle), and as [`StoredView::commit`](crate::StoredView::commit) where it changes a view.
    pub fn commit(self) -> Result<Vec<Appended>> {
        let Self { store, mut parts, conditions, durability, beside } = self;
        let writing = store.writing()?;
        let request = writing.prepare(&mut parts, conditions, durability)?;
        // A list of many is not held until they are committed.
        drop(parts);
        writing.commit(request, &beside).map(Done::into_vec)
    }

    /// Commits the batch from a task: [`commit`](Self::commit), as
    /// [`Store::append_async`](Store::append_async) is `append` (feature `async`).
    ///
    /// ```
    /// use annals::{ExpectedVersion, NewEvent, Store};
    /// # futures::executor::block_on(async {
    /// let store = Store::in_memory()?;
    /// let done = store
    ///     .batch()
    ///     .append("Account-a", ExpectedVersion::NoStream, [NewEvent::new("Opened", "")])
    ///     .append("Account-b", ExpectedVersion::NoStream, [NewEvent::new("Opened", "")])
    ///     .commit_async()
    ///     .await?;
    /// assert_eq!(done.len(), 2);
    /// # Ok::<(), annals::Error>(())
    /// # }).unwrap();
    /// ```
    #[cfg(feature = "async")]
    pub fn commit_async(self) -> CommitFuture {
        let Self { store, mut parts, conditions, durability, beside } = self;
        store.commit_later(&mut parts, conditions, durability, beside)
    }
}
