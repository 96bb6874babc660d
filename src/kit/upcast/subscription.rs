//! Subscriptions whose events are lifted.

use std::time::{Duration, Instant};

use crate::cursor::OwnedCursor;
use crate::error::{Error, Result};
use crate::position::Position;
use crate::query::Query;
use crate::store::Store;
use crate::subscription::{StopHandle, Subscription};
use crate::sync::Arc;

use super::chains::Chains;
use super::lifted::Lifted;
use super::parts::Parts;
#[cfg(feature = "async")]
use super::stream::LiftedStream;

/// A subscription to lifted events that is being described: a builder. Made by
/// [`Upcasts::subscribe`](super::Upcasts::subscribe).
#[derive(Clone, Debug)]
#[must_use = "a subscription does nothing until it is started"]
pub struct LiftedSubscribe {
    chains: Arc<Chains>,
    store: Store,
    query: Query,
    after: Position,
    cursor: Option<String>,
}

impl LiftedSubscribe {
    pub(super) fn new(chains: &Arc<Chains>, store: &Store, query: Query) -> Self {
        let (chains, store) = (Arc::clone(chains), store.clone());
        Self { chains, store, query, after: Position::START, cursor: None }
    }

    /// Only events behind a position.
    pub fn after(mut self, position: Position) -> Self {
        self.after = position;
        self
    }

    /// Goes on where a named cursor was saved, and owns it. See
    /// [`Subscribe::cursor`](crate::Subscribe::cursor).
    pub fn cursor(mut self, name: impl Into<String>) -> Self {
        self.cursor = Some(name.into());
        self
    }

    /// Starts the subscription.
    ///
    /// # Errors
    ///
    /// As [`Subscribe::start`](crate::Subscribe::start).
    pub fn start(self) -> Result<LiftedSubscription> {
        let cursor = self.cursor.map(|name| self.store.own_cursor(name)).transpose()?;
        let saved = cursor.as_ref().map(OwnedCursor::position).transpose()?.flatten();
        let stored = self.chains.expand(self.query.clone());
        let after = saved.unwrap_or(self.after);
        let events = self.store.subscribe().matching(stored).after(after).start()?;
        Ok(LiftedSubscription {
            chains: self.chains,
            events,
            cursor,
            parts: Parts::new(self.query),
            has_failed: false,
        })
    }

    /// Starts it as a stream for a task (feature `async`). With a cursor, that is read when the
    /// stream is first polled, and where it cannot be owned, the stream gives one error.
    ///
    /// # Errors
    ///
    /// As [`Subscribe::start_stream`](crate::Subscribe::start_stream).
    #[cfg(feature = "async")]
    pub fn start_stream(self) -> Result<LiftedStream> {
        let stored = self.chains.expand(self.query.clone());
        let mut subscribe = self.store.subscribe().matching(stored).after(self.after);
        if let Some(name) = self.cursor {
            subscribe = subscribe.cursor(name);
        }
        Ok(LiftedStream::new(self.chains, self.query, subscribe.start_stream()?))
    }
}

/// A [`Subscription`] to lifted events. Made by [`LiftedSubscribe::start`].
///
/// An event that cannot be lifted ends it with the error; its position stays in front of that
/// event.
///
/// ```
/// use annals::kit::Upcasts;
/// use annals::{ExpectedVersion, NewEvent, Query, Store};
/// let store = Store::in_memory()?;
/// for name in ["Sent", "Viewed", "Viewed"] {
///     store.append("Order-1", ExpectedVersion::Any, [NewEvent::new(name, "")])?;
/// }
/// let upcasts = Upcasts::builder()
///     .rename(("Sent", 1), ("Shipped", 1))
///     .drop_event("Viewed", 1)
///     .build()?;
/// let mut orders = upcasts.subscribe(&store, Query::new()).cursor("billing").start()?;
/// assert_eq!(orders.try_next()?.unwrap().event_type(), "Shipped");
/// assert!(orders.try_next()?.is_none());
/// orders.save()?;
/// // What was dropped moved the cursor, too.
/// assert_eq!(store.cursor("billing")?.unwrap().position.0, 3);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug)]
pub struct LiftedSubscription {
    chains: Arc<Chains>,
    events: Subscription,
    cursor: Option<OwnedCursor>,
    parts: Parts,
    has_failed: bool,
}

impl LiftedSubscription {
    /// The next event, if there is one that is visible already.
    ///
    /// # Errors
    ///
    /// As [`Subscription::try_next`]; [`Error::Schema`] where an event cannot be lifted. The
    /// subscription has ended then.
    pub fn try_next(&mut self) -> Result<Option<Lifted>> {
        self.next_until(Some(Instant::now()))
    }

    /// The next event, waiting for it for some time. `None` where none came, or where the
    /// subscription was stopped.
    ///
    /// # Errors
    ///
    /// As [`try_next`](Self::try_next).
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Lifted>> {
        self.next_until(Instant::now().checked_add(timeout))
    }

    /// The position up to which everything was delivered, was dropped or does not match. It stays
    /// in front of an event until its last part is delivered.
    pub fn position(&self) -> Position {
        self.parts.position(self.events.position())
    }

    /// Saves its cursor: everything up to [`position`](Self::position) is processed. Durable when
    /// it returns.
    ///
    /// # Errors
    ///
    /// As [`Subscription::save`].
    pub fn save(&mut self) -> Result<()> {
        let position = Self::position(self);
        match &mut self.cursor {
            Some(cursor) => cursor.save(position),
            None => Err(Error::InvalidOptions { why: "the subscription has no cursor".into() }),
        }
    }

    /// How many positions are visible that it has not seen.
    pub fn lag(&self) -> u64 {
        self.events.lag()
    }

    /// What stops this subscription from another thread.
    pub fn stop_handle(&self) -> StopHandle {
        self.events.stop_handle()
    }

    fn next_until(&mut self, deadline: Option<Instant>) -> Result<Option<Lifted>> {
        loop {
            if self.has_failed {
                return Ok(None);
            }
            if let Some(part) = self.parts.next() {
                return Ok(Some(part));
            }
            let next = match deadline {
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.events.next_timeout(left)?
                }
                None => self.events.next().transpose()?,
            };
            let Some(event) = next else { return Ok(None) };
            if let Err(e) = self.parts.take(&self.chains, &event) {
                self.has_failed = true;
                return Err(e);
            }
        }
    }
}

impl Iterator for LiftedSubscription {
    type Item = Result<Lifted>;

    fn next(&mut self) -> Option<Result<Lifted>> {
        self.next_until(None).transpose()
    }
}
