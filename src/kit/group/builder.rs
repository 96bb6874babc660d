//! How a group is described and started.

use std::time::Duration;

use super::ConsumerGroup;
use super::item::{ParkedPolicy, Retry};
use super::record;
use super::shared::{KeyOf, Shared};
use super::state::State;
use super::work::Work;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::position::Position;
use crate::query::{Query, filters};
use crate::store::Store;
use crate::sync::Arc;

/// A group that is being described: a builder. Made by
/// [`ConsumerGroup::builder`](crate::kit::ConsumerGroup::builder).
#[must_use = "a group does nothing until it is started"]
pub struct GroupBuilder {
    store: Store,
    name: String,
    query: Query,
    after: Position,
    key_of: Box<KeyOf>,
    window: usize,
    retry: Retry,
    policy: ParkedPolicy,
    save_every: u64,
}

impl GroupBuilder {
    pub(super) fn new(store: &Store, name: String) -> Self {
        Self {
            store: store.clone(),
            name,
            query: Query::new(),
            after: Position::START,
            key_of: Box::new(|event| event.stream().to_owned()),
            window: 1024,
            retry: Retry {
                attempts: 5,
                first: Duration::from_millis(100),
                most: Duration::from_secs(10),
            },
            policy: ParkedPolicy::default(),
            save_every: 256,
        }
    }

    filters!();

    /// Only events that match a query, in the place of all filters so far.
    pub fn matching(mut self, query: Query) -> Self {
        self.query = query;
        self
    }

    /// Only events behind a position, where the group's cursor was never saved. From the first
    /// event on, unless said otherwise.
    pub fn after(mut self, position: Position) -> Self {
        self.after = position;
        self
    }

    /// Events of the same key are handed out in order, one at a time. Their key is their stream,
    /// unless said otherwise. Few keys (the number of a partition, say) make for few events that
    /// are worked on at a time. A group that is started again has to have the same keys.
    ///
    /// Where the function panics, so does the consumer that pulls; the event is not lost.
    ///
    /// ```
    /// use annals::kit::ConsumerGroup;
    /// use annals::{ExpectedVersion, NewEvent, Store};
    /// let store = Store::in_memory()?;
    /// for order in ["Order-1", "Order-2"] {
    ///     let event = NewEvent::new("OrderPlaced", "{}").correlation("customer 7");
    ///     store.append(order, ExpectedVersion::Any, [event])?;
    /// }
    /// let group = ConsumerGroup::builder(&store, "billing")
    ///     .key(|event| event.correlation_id().unwrap_or_default().to_owned())
    ///     .start()?;
    /// let mut consumer = group.consumer();
    /// let first = consumer.try_next()?.unwrap();
    /// assert!(consumer.try_next()?.is_none(), "the second has the same key");
    /// first.ack()?;
    /// assert_eq!(consumer.try_next()?.unwrap().event().stream(), "Order-2");
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn key(mut self, key: impl Fn(&Event) -> String + Send + Sync + 'static) -> Self {
        self.key_of = Box::new(key);
        self
    }

    /// How many events may be fetched behind the last position up to which everything is done:
    /// 1,024 unless said otherwise. It bounds the memory, and with
    /// [`save_every`](Self::save_every) what comes again after a crash.
    pub fn window(mut self, events: usize) -> Self {
        self.window = events;
        self
    }

    /// How often an event is tried before it is parked: 5 times unless said otherwise.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.retry.attempts = attempts;
        self
    }

    /// How long an event that failed waits before it is handed out again, each time.
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.retry.first = delay;
        self.retry.most = delay;
        self
    }

    /// How long an event that failed waits before it is handed out again: first that long, then
    /// each time twice as long, up to a most. 100 milliseconds and 10 seconds, unless said
    /// otherwise.
    pub fn retry_backoff(mut self, first: Duration, most: Duration) -> Self {
        self.retry.first = first;
        self.retry.most = most;
        self
    }

    /// What an event that is parked holds up: the later ones of its key, unless said otherwise.
    ///
    /// ```
    /// use annals::kit::{ConsumerGroup, ParkedPolicy};
    /// use annals::{ExpectedVersion, NewEvent, Store};
    /// let store = Store::in_memory()?;
    /// for _ in 0..2 {
    ///     store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("Noted", "{}")])?;
    /// }
    /// let group = ConsumerGroup::builder(&store, "mail")
    ///     .when_parked(ParkedPolicy::BlocksNothing)
    ///     .start()?;
    /// let mut consumer = group.consumer();
    /// consumer.try_next()?.unwrap().park("no address")?;
    /// assert_eq!(consumer.try_next()?.unwrap().event().version().0, 2);
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn when_parked(mut self, policy: ParkedPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// After how many answers the cursor is saved, when a consumer pulls: 256 unless said
    /// otherwise. It is also saved when the consumers that wait have had nothing to do for 20
    /// milliseconds.
    pub fn save_every(mut self, answers: u64) -> Self {
        self.save_every = answers.max(1);
        self
    }

    /// Starts the group where its cursor was saved, with what it has parked. Reads the group's
    /// stream, and each event that is still parked. What was parked and is not in the log any more
    /// (after a repair) is left out.
    ///
    /// ```
    /// use annals::Store;
    /// use annals::kit::ConsumerGroup;
    /// let store = Store::in_memory()?;
    /// let group = ConsumerGroup::builder(&store, "billing").category("Order").start()?;
    /// assert!(ConsumerGroup::builder(&store, "billing").start().is_err(), "it runs already");
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Store::own_cursor`](crate::Store::own_cursor) for a cursor of the group's name (a group
    /// of that name that runs is its owner), as [`Subscribe::start`](crate::Subscribe::start) for
    /// the filters, and as reads; [`Error::InvalidOptions`] for a window of no events, or no
    /// attempts.
    pub fn start(self) -> Result<ConsumerGroup> {
        if self.window == 0 || self.retry.attempts == 0 {
            let why = "a group has a window of at least one event, and at least one attempt";
            return Err(Error::InvalidOptions { why: why.into() });
        }
        // Says at once what is wrong with the filters.
        self.store.subscribe().matching(self.query.clone()).start()?;
        let cursor = self.store.own_cursor(&self.name)?;
        let saved = cursor.position()?;
        let after = saved.unwrap_or(self.after);
        let saved = saved.unwrap_or(Position::START);
        let mut work = Work::new(self.policy, self.retry, self.window, after);
        let loaded = record::load(&self.store, &record::stream_of(&self.name), saved)?;
        let mut parked = Vec::new();
        for (id, record) in loaded.parked {
            if let Some(event) = self.store.event_by_id(id)? {
                parked.push((event.position(), Arc::from((self.key_of)(&event)), record));
            }
        }
        parked.sort_by_key(|(position, ..)| *position);
        for (position, key, record) in parked {
            work.load(position, key, record);
        }
        work.settled = loaded.settled;
        let state = State::new(work, cursor, saved);
        let Self { store, name, query, key_of, save_every, .. } = self;
        let shared = Shared::new(&store, name, query, key_of, save_every, state);
        Ok(ConsumerGroup { shared: Arc::new(shared) })
    }
}

impl std::fmt::Debug for GroupBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupBuilder")
            .field("name", &self.name)
            .field("query", &self.query)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}
