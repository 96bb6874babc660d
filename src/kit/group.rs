//! Several consumers of one process that share the events of a query.

mod builder;
mod consumer;
mod info;
mod item;
mod record;
mod shared;
mod state;
mod work;

use crate::error::Result;
use crate::position::Position;
use crate::store::Store;
use crate::sync::Arc;
pub use builder::GroupBuilder;
pub use consumer::{Consumer, Delivery};
pub use info::{ConsumerInfo, GroupInfo, ParkedEvent};
pub use item::ParkedPolicy;
use record::Kind;
use shared::Shared;

/// A named group: its consumers share the events of a query, each event going to one of them.
///
/// Of the events of one key (their stream, unless [said otherwise](GroupBuilder::key)) at most one
/// is handed out at a time, in order: the next one follows when the one before is acknowledged. The
/// events of different keys are worked on at the same time, by as many consumers as there are.
///
/// An event that fails is handed out again after a delay, and parked after so many attempts. Parked
/// events are durable: they are kept, with the reason, in a stream of the group's own
/// (`ParkedBy-` and its name), until they are [replayed](Self::replay) and acknowledged, or
/// [discarded](Self::discard). Whether a parked event holds up the later ones of its key is a
/// [choice](ParkedPolicy). They are also kept in memory, some hundred bytes each.
///
/// Every event is acknowledged or parked at least once, through crashes and restarts. The group
/// owns the cursor of its name, which moves up to where everything is acknowledged or durably
/// parked; so [`Store::wait_for`](crate::Store::wait_for) works. What was acknowledged since the
/// cursor was last saved comes again after a crash.
///
/// There is no thread: whoever pulls does what there is to do. At most a
/// [window](GroupBuilder::window) of events is fetched before the first that is not done, so an
/// event that nobody answers holds up the others in the end, and memory stays bounded.
///
/// Clones are the same group.
///
/// ```
/// use annals::kit::ConsumerGroup;
/// use annals::{ExpectedVersion, NewEvent, Store};
/// let store = Store::in_memory()?;
/// for order in ["Order-1", "Order-2"] {
///     store.append(order, ExpectedVersion::Any, [NewEvent::new("OrderPlaced", "{}")])?;
/// }
/// let group = ConsumerGroup::builder(&store, "billing").category("Order").start()?;
/// std::thread::scope(|scope| {
///     for _ in 0..2 {
///         let mut consumer = group.consumer();
///         scope.spawn(move || -> annals::Result<()> {
///             while let Some(delivery) = consumer.try_next()? {
///                 // Process the event, then:
///                 delivery.ack()?;
///             }
///             Ok(())
///         });
///     }
/// });
/// group.close()?;
/// assert_eq!(store.cursor("billing")?.unwrap().lag, Some(0));
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone)]
pub struct ConsumerGroup {
    shared: Arc<Shared>,
}

impl ConsumerGroup {
    /// Describes a group of a name. See [`GroupBuilder::start`].
    pub fn builder(store: &Store, name: impl Into<String>) -> GroupBuilder {
        GroupBuilder::new(store, name.into())
    }

    /// Its name, which is that of its cursor.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The stream in which it keeps what is parked. The group itself never sees the events of it,
    /// whatever its query.
    ///
    /// ```
    /// use annals::Store;
    /// use annals::kit::ConsumerGroup;
    /// let group = ConsumerGroup::builder(&Store::in_memory()?, "billing").start()?;
    /// assert_eq!(group.stream(), "ParkedBy-billing");
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn stream(&self) -> &str {
        &self.shared.stream
    }

    /// One more consumer. It leaves the group when it is dropped.
    pub fn consumer(&self) -> Consumer {
        Consumer::new(&self.shared)
    }

    /// The events that are parked, by position.
    ///
    /// ```
    /// use annals::kit::ConsumerGroup;
    /// use annals::{ExpectedVersion, NewEvent, Position, Store};
    /// let store = Store::in_memory()?;
    /// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("OrderPlaced", "{}")])?;
    /// let group = ConsumerGroup::builder(&store, "billing").start()?;
    /// group.consumer().try_next()?.unwrap().park("no address")?;
    /// let parked = group.parked();
    /// assert_eq!((parked[0].position, parked[0].attempts), (Position(1), 1));
    /// assert_eq!(parked[0].reason, "no address");
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn parked(&self) -> Vec<ParkedEvent> {
        let state = self.shared.state();
        state.work.parked_items().map(|(at, item)| ParkedEvent::new(at, item)).collect()
    }

    /// Hands a parked event out again, with all its attempts before it, when its turn comes: where
    /// parked events block their key, that is when it is the first of its key that is parked. It
    /// stays parked until it is acknowledged. `false` where it is not parked, or a consumer has it.
    /// Durable when this returns.
    ///
    /// ```
    /// use annals::kit::ConsumerGroup;
    /// use annals::{ExpectedVersion, NewEvent, Position, Store};
    /// let store = Store::in_memory()?;
    /// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("OrderPlaced", "{}")])?;
    /// let group = ConsumerGroup::builder(&store, "billing").start()?;
    /// let mut consumer = group.consumer();
    /// consumer.try_next()?.unwrap().park("no address")?;
    /// assert!(consumer.try_next()?.is_none());
    /// assert!(group.replay(Position(1))?);
    /// let again = consumer.try_next()?.unwrap();
    /// assert_eq!(again.attempt(), 2);
    /// again.ack()?;
    /// assert!(group.parked().is_empty());
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Store::append`](crate::Store::append); [`Error::Closed`](crate::Error::Closed) also
    /// where the group is closed.
    pub fn replay(&self, position: Position) -> Result<bool> {
        self.change(position, Kind::Replayed, String::new())
    }

    /// Gives a parked event up: it is not handed out again, and blocks nothing. `false` where it is
    /// not parked, or a consumer has it. Durable when this returns; the reason is in the group's
    /// [stream](Self::stream).
    ///
    /// ```
    /// use annals::kit::ConsumerGroup;
    /// use annals::{ExpectedVersion, NewEvent, Position, Store};
    /// let store = Store::in_memory()?;
    /// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("OrderPlaced", "{}")])?;
    /// let group = ConsumerGroup::builder(&store, "billing").start()?;
    /// group.consumer().try_next()?.unwrap().park("no address")?;
    /// assert!(group.discard(Position(1), "a test order")?);
    /// assert!(!group.discard(Position(1), "a test order")?);
    /// assert!(group.parked().is_empty());
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`replay`](Self::replay).
    pub fn discard(&self, position: Position, reason: impl Into<String>) -> Result<bool> {
        self.change(position, Kind::Discarded, reason.into())
    }

    fn change(&self, position: Position, kind: Kind, reason: String) -> Result<bool> {
        let Some((record, was_queued)) = self.shared.begin_change(position, kind, reason)? else {
            return Ok(false);
        };
        self.shared.change(&record, was_queued)?;
        Ok(true)
    }

    /// How far it has come, and what its consumers have done.
    ///
    /// ```
    /// use annals::kit::ConsumerGroup;
    /// use annals::{ExpectedVersion, NewEvent, Store};
    /// let store = Store::in_memory()?;
    /// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("OrderPlaced", "{}")])?;
    /// let group = ConsumerGroup::builder(&store, "billing").start()?;
    /// let mut consumer = group.consumer();
    /// let delivery = consumer.try_next()?.unwrap();
    /// assert_eq!((group.info().lag, group.info().in_flight), (1, 1));
    /// delivery.ack()?;
    /// assert_eq!((group.info().lag, group.info().consumers[0].acked), (0, 1));
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn info(&self) -> GroupInfo {
        let head = self.shared.store.head();
        let state = self.shared.state();
        let position = state.work.low_water();
        let (window, in_flight, parked) = state.work.counts();
        GroupInfo {
            position,
            saved: state.saved,
            lag: head.0.saturating_sub(position.0),
            window,
            in_flight,
            parked,
            consumers: state.consumers.values().cloned().collect(),
        }
    }

    /// Saves the cursor now. Durable when this returns.
    ///
    /// # Errors
    ///
    /// As [`Store::save_cursor`](crate::Store::save_cursor).
    pub fn save(&self) -> Result<()> {
        self.shared.save()
    }

    /// Ends the group: nothing more is handed out, consumers that wait get `None`, the cursor is
    /// saved and has no owner any more. It does not wait for what is handed out: answers to that
    /// are refused, and those events come again in the next run.
    ///
    /// Where a group is not closed, its last handle does the same when it is dropped.
    ///
    /// ```
    /// use annals::Store;
    /// use annals::kit::ConsumerGroup;
    /// let group = ConsumerGroup::builder(&Store::in_memory()?, "billing").start()?;
    /// let mut consumer = group.consumer();
    /// let waiting = std::thread::spawn(move || consumer.next());
    /// group.close()?;
    /// assert!(waiting.join().unwrap()?.is_none());
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Store::append`](crate::Store::append) and [`save`](Self::save). The group is closed all
    /// the same.
    pub fn close(&self) -> Result<()> {
        self.shared.close()
    }
}

impl std::fmt::Debug for ConsumerGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsumerGroup").field("name", &self.shared.name).finish_non_exhaustive()
    }
}
