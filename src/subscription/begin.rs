//! How a subscription is described and started.

use std::time::Duration;

use super::Subscription;
#[cfg(feature = "async")]
use super::history::History;
use super::progress::{Pace, Progress};
#[cfg(feature = "async")]
use super::stream::EventStream;
use crate::catalog::Catalog;
use crate::cursor::{Cursors, OwnedCursor};
use crate::error::Result;
use crate::position::Position;
use crate::query::{Query, filters};
use crate::sync::Arc;

/// A subscription that is being described: a builder. Made by
/// [`Store::subscribe`](crate::Store::subscribe).
#[derive(Clone, Debug)]
#[must_use = "a subscription does nothing until it is started"]
pub struct Subscribe {
    catalog: Result<Arc<Catalog>>,
    query: Query,
    after: Position,
    behind_by: u64,
    cursors: Arc<Cursors>,
    cursor: Option<String>,
    pace: Pace,
    #[cfg(feature = "async")]
    history: Option<Arc<History>>,
}

/// So many events unseen make a subscription that was caught up fall behind, unless said otherwise.
const BEHIND_BY: u64 = 1024;

impl Subscribe {
    pub(crate) fn new(catalog: Result<Arc<Catalog>>, cursors: Arc<Cursors>) -> Self {
        Self {
            catalog,
            query: Query::new(),
            after: Position::START,
            behind_by: BEHIND_BY,
            cursors,
            cursor: None,
            pace: Pace::default(),
            #[cfg(feature = "async")]
            history: None,
        }
    }

    #[cfg(feature = "async")]
    pub(crate) fn reading_in(mut self, history: &Arc<History>) -> Self {
        self.history = Some(Arc::clone(history));
        self
    }

    filters!();

    /// Only events that match a query, in the place of all filters so far.
    pub fn matching(mut self, query: Query) -> Self {
        self.query = query;
        self
    }

    /// Only events behind a position. From the first event on, unless said otherwise.
    pub fn after(mut self, position: Position) -> Self {
        self.after = position;
        self
    }

    /// How many positions may become visible unseen before a subscription that was caught up is
    /// said to have [fallen behind](crate::Signal::FellBehind); 1,024 unless said otherwise.
    pub fn fell_behind_after(mut self, positions: u64) -> Self {
        self.behind_by = positions;
        self
    }

    /// Goes on where a named cursor was saved ([after](Self::after) a position, if it never was),
    /// and owns the cursor: [`save`](Subscription::save) says that what was delivered is processed.
    /// See [`Store::own_cursor`](crate::Store::own_cursor).
    ///
    /// ```
    /// use annals::{ExpectedVersion, NewEvent, Store};
    /// let store = Store::in_memory()?;
    /// for n in 1..=3 {
    ///     store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("Noted", [n])])?;
    /// }
    /// let mut billing = store.subscribe().category("Order").cursor("billing").start()?;
    /// assert_eq!(billing.try_next()?.unwrap().data(), [1]);
    /// billing.save()?;
    /// assert_eq!(billing.try_next()?.unwrap().data(), [2]);
    /// drop(billing);
    /// // What was delivered and not saved comes again.
    /// let mut billing = store.subscribe().category("Order").cursor("billing").start()?;
    /// assert_eq!(billing.try_next()?.unwrap().data(), [2]);
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn cursor(mut self, name: impl Into<String>) -> Self {
        self.cursor = Some(name.into());
        self
    }

    /// Saves the cursor by itself: when the consumer asks for more after so many events, which says
    /// that it is done with them; and when there has been nothing to deliver for 20 milliseconds.
    pub fn save_every(mut self, events: u64) -> Self {
        self.pace.events = Some(events.max(1));
        self
    }

    /// Saves the cursor by itself: when the consumer asks for more and it was not saved for so
    /// long; and when there has been nothing to deliver for 20 milliseconds.
    pub fn save_interval(mut self, time: Duration) -> Self {
        self.pace.time = Some(time);
        self
    }

    /// Starts the subscription.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`](crate::Error::InvalidName) and
    /// [`Error::LimitExceeded`](crate::Error::LimitExceeded) for a filter that no event can have,
    /// [`Error::Closed`](crate::Error::Closed); with a cursor as
    /// [`Store::own_cursor`](crate::Store::own_cursor).
    pub fn start(self) -> Result<Subscription> {
        let catalog = self.catalog?;
        self.query.check()?;
        let mut position = self.after.max(self.query.excluded());
        let mut progress = None;
        if let Some(name) = &self.cursor {
            let cursor = OwnedCursor::new(&self.cursors, name)?;
            let saved = cursor.position()?;
            position = saved.unwrap_or(position);
            let saved = saved.unwrap_or(Position::START);
            progress = Some(Progress::new(cursor, self.pace, saved));
        }
        Ok(Subscription::new(catalog, self.query, position, self.behind_by, progress))
    }

    /// Starts the subscription as a stream for a task, which no executor's thread waits for
    /// (feature `async`). With a cursor, that is read when the stream is first polled, and where it
    /// cannot be owned, the stream gives one error.
    ///
    /// ```
    /// use annals::{ExpectedVersion, NewEvent, Store};
    /// use futures::StreamExt;
    /// # futures::executor::block_on(async {
    /// let store = Store::in_memory()?;
    /// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("Placed", "")])?;
    /// let mut orders = store.subscribe().category("Order").cursor("billing").start_stream()?;
    /// let event = orders.next().await.unwrap()?;
    /// // Process the event, then:
    /// orders.save().await?;
    /// assert_eq!(store.cursor("billing")?.unwrap().position, event.position());
    /// # Ok::<(), annals::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start) without a cursor.
    #[cfg(feature = "async")]
    pub fn start_stream(self) -> Result<EventStream> {
        let catalog = Arc::clone(self.catalog.as_ref().map_err(Clone::clone)?);
        self.query.check()?;
        let history = self.history.clone().ok_or(crate::error::Error::Closed)?;
        let (after, pace) = (self.after.max(self.query.excluded()), self.pace);
        let start = Box::new(move || self.start());
        Ok(EventStream::new(&catalog, &history, after, pace, start))
    }
}
