//! Consumers, and what they are given.

use std::time::{Duration, Instant};

use super::info::ConsumerInfo;
use super::shared::{Answer, Shared};
use crate::error::Result;
use crate::event::Event;
use crate::position::Position;
use crate::sync::Arc;

/// One of those who share the work of a [`ConsumerGroup`](crate::kit::ConsumerGroup). A consumer
/// may have several deliveries at a time, and pass them on to other threads.
pub struct Consumer {
    shared: Arc<Shared>,
    number: u64,
}

impl Consumer {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let mut state = shared.state();
        let number = state.next_consumer;
        state.next_consumer += 1;
        state.consumers.insert(number, ConsumerInfo { number, ..Default::default() });
        Self { shared: Arc::clone(shared), number }
    }

    /// The next event, waiting for it as long as it takes. `None` where the group was closed.
    ///
    /// ```
    /// use annals::kit::ConsumerGroup;
    /// use annals::{ExpectedVersion, NewEvent, Store};
    /// let store = Store::in_memory()?;
    /// let group = ConsumerGroup::builder(&store, "billing").start()?;
    /// let mut consumer = group.consumer();
    /// let waiting = std::thread::spawn(move || consumer.next()?.unwrap().ack());
    /// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("OrderPlaced", "{}")])?;
    /// waiting.join().unwrap()?;
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Subscription::try_next`](crate::Subscription::try_next); the group hands out nothing
    /// more then. As [`Store::append`](crate::Store::append) and
    /// [`Store::save_cursor`](crate::Store::save_cursor), where what is parked or how far the group
    /// has come cannot be written; that is tried again by the next call.
    #[expect(clippy::should_implement_trait, reason = "it may go on after an error")]
    pub fn next(&mut self) -> Result<Option<Delivery>> {
        self.pull(None)
    }

    /// The next event, waiting for it for some time. `None` where none came.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Delivery>> {
        self.pull(Instant::now().checked_add(timeout))
    }

    /// The next event, if there is one that may be handed out now.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn try_next(&mut self) -> Result<Option<Delivery>> {
        self.pull(Some(Instant::now()))
    }

    /// Its number, as in [`GroupInfo`](crate::kit::GroupInfo).
    pub const fn number(&self) -> u64 {
        self.number
    }

    fn pull(&mut self, deadline: Option<Instant>) -> Result<Option<Delivery>> {
        let pulled = self.shared.pull(self.number, deadline)?;
        Ok(pulled.map(|(event, position, attempt)| Delivery {
            shared: Arc::clone(&self.shared),
            consumer: self.number,
            event,
            position,
            attempt,
            is_answered: false,
        }))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.consumers.remove(&self.number);
        self.shared.pass_on(&mut state);
    }
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (group, number) = (&self.shared.name, &self.number);
        f.debug_struct("Consumer").field("group", group).field("number", number).finish()
    }
}

/// An event that was handed out, and waits for an answer. Dropping it without one (also by a panic)
/// gives it back, as [`nack`](Self::nack) does.
///
/// ```
/// use std::time::Duration;
/// use annals::kit::ConsumerGroup;
/// use annals::{ExpectedVersion, NewEvent, Store};
/// let store = Store::in_memory()?;
/// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("OrderPlaced", "{}")])?;
/// let group = ConsumerGroup::builder(&store, "billing")
///     .retry_delay(Duration::ZERO)
///     .max_attempts(3)
///     .start()?;
/// let mut consumer = group.consumer();
/// drop(consumer.try_next()?.unwrap());
/// consumer.try_next()?.unwrap().nack("the bank is closed");
/// let third = consumer.try_next()?.unwrap();
/// assert_eq!(third.attempt(), 3);
/// third.nack("the bank is closed");
/// assert!(consumer.try_next()?.is_none());
/// assert_eq!(group.parked()[0].reason, "the bank is closed");
/// # Ok::<(), annals::Error>(())
/// ```
#[must_use = "a delivery that is dropped without an answer is given back"]
pub struct Delivery {
    shared: Arc<Shared>,
    consumer: u64,
    event: Event,
    position: Position,
    attempt: u32,
    is_answered: bool,
}

impl Delivery {
    /// The event.
    pub const fn event(&self) -> &Event {
        &self.event
    }

    /// Which attempt this is: 1 for the first. What came before a restart counts where the event
    /// was parked.
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Says that the event is processed. Takes a write only where the event was parked.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed) where the group was closed. Where the event was
    /// parked, as [`Store::append`](crate::Store::append). The event comes again then.
    pub fn ack(mut self) -> Result<()> {
        self.answer(Answer::Ack)
    }

    /// Gives the event back, to be handed out again after the group's delay; or to be parked with
    /// this reason, where this was the last attempt.
    pub fn nack(mut self, reason: impl Into<String>) {
        let _ = self.answer(Answer::Nack(reason.into(), None));
    }

    /// As [`nack`](Self::nack), with a delay of its own.
    ///
    /// ```
    /// use std::time::Duration;
    /// use annals::kit::ConsumerGroup;
    /// use annals::{ExpectedVersion, NewEvent, Store};
    /// let store = Store::in_memory()?;
    /// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("OrderPlaced", "{}")])?;
    /// let group = ConsumerGroup::builder(&store, "billing").start()?;
    /// let mut consumer = group.consumer();
    /// consumer.try_next()?.unwrap().nack_after("try tomorrow", Duration::from_secs(86_400));
    /// assert!(consumer.try_next()?.is_none());
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn nack_after(mut self, reason: impl Into<String>, delay: Duration) {
        let _ = self.answer(Answer::Nack(reason.into(), Some(delay)));
    }

    /// Parks the event, whatever attempt this is. Durable when this returns.
    ///
    /// # Errors
    ///
    /// As [`Store::append`](crate::Store::append): it will be parked when a consumer pulls, or
    /// comes again after a restart. [`Error::Closed`](crate::Error::Closed) where the group was
    /// closed: it comes again.
    pub fn park(mut self, reason: impl Into<String>) -> Result<()> {
        self.answer(Answer::Park(reason.into()))
    }

    fn answer(&mut self, answer: Answer) -> Result<()> {
        self.is_answered = true;
        self.shared.answer(self.consumer, self.position, answer)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.is_answered {
            let why =
                if std::thread::panicking() { "the consumer panicked" } else { "not answered" };
            let _ = self.answer(Answer::Nack(why.into(), None));
        }
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (event, attempt) = (&self.event, &self.attempt);
        f.debug_struct("Delivery")
            .field("event", event)
            .field("attempt", attempt)
            .finish_non_exhaustive()
    }
}
