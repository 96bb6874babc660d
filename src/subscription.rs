//! Following the log: history first, then live, with nothing between them and nothing twice.
//!
//! A subscription is a place in the log and a query. It reads what is visible behind its place as
//! any read does, and waits on the watermark where nothing is. There is no queue and no thread, so
//! a slow consumer costs nobody anything, and there is no seam between history and live: both are
//! the same reads of the same log.

mod begin;
#[cfg(feature = "async")]
mod history;
mod progress;
#[cfg(feature = "async")]
mod reader;
#[cfg(feature = "async")]
mod slot;
#[cfg(feature = "async")]
mod stream;

use std::time::{Duration, Instant};

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::position::Position;
use crate::query::Query;
use crate::reader::{AllEvents, ReadAll};
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::watermark::Woken;
pub use begin::Subscribe;
#[cfg(feature = "async")]
pub(crate) use history::History;
use progress::Progress;
#[cfg(feature = "async")]
pub use stream::{EventStream, SaveFuture};

/// A read goes so many positions at a time, so that a search for rare events can be stopped and
/// says how far it has come.
const STRIDE: u64 = 1 << 16;

/// Events as they come: everything that matches behind a position, in order, each once, and then
/// what is appended, as soon as it is visible.
///
/// It is an iterator that blocks. It ends when it is [stopped](StopHandle::stop) (with `None`), and
/// when nothing can come any more: with one error when the store is closed, when it is poisoned
/// (after all that is visible), or when an event cannot be read.
///
/// Nothing is buffered for it and nothing waits for it: a consumer may be as slow as it likes.
///
/// ```
/// use annals::{ExpectedVersion, NewEvent, Store};
/// let store = Store::in_memory()?;
/// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("OrderPlaced", "")])?;
/// let mut orders = store.subscribe().category("Order").start()?;
/// let writer = store.clone();
/// let appending = std::thread::spawn(move || {
///     writer.append("Cart-1", ExpectedVersion::Any, [NewEvent::new("Filled", "")])?;
///     writer.append("Order-1", ExpectedVersion::Any, [NewEvent::new("OrderPaid", "")])
/// });
/// assert_eq!(orders.next().unwrap()?.event_type(), "OrderPlaced");
/// assert_eq!(orders.next().unwrap()?.event_type(), "OrderPaid");
/// # appending.join().unwrap()?;
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug)]
pub struct Subscription {
    catalog: Arc<Catalog>,
    query: Query,
    /// Everything up to here was delivered, or does not match.
    position: Position,
    /// A read that is under way, and up to where it goes.
    reading: Option<(AllEvents, Position)>,
    stopped: Arc<AtomicBool>,
    has_ended: bool,
    behind_by: u64,
    is_caught_up: bool,
    progress: Option<Progress>,
}

/// What a subscription has to say, beside the events themselves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Signal {
    /// An event.
    Event(Event),
    /// All that was visible up to this position has been delivered: what follows is live.
    CaughtUp(Position),
    /// The subscription was caught up, and now this is the position up to which it has seen
    /// everything, more than [`fell_behind_after`](Subscribe::fell_behind_after) before the head.
    FellBehind(Position),
}

/// Stops a subscription from another thread. Clones stop the same one.
#[derive(Clone, Debug)]
pub struct StopHandle {
    catalog: Arc<Catalog>,
    stopped: Arc<AtomicBool>,
}

impl StopHandle {
    /// Stops the subscription: it delivers nothing more, and a call that waits returns.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.catalog.watermark.wake();
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

/// What one attempt to go on came to.
enum Step {
    Signal(Signal),
    /// It has come further, without an event.
    Passed,
    /// All that is visible has been seen.
    Idle,
    Stopped,
}

impl Subscription {
    fn new(
        catalog: Arc<Catalog>,
        query: Query,
        position: Position,
        behind_by: u64,
        progress: Option<Progress>,
    ) -> Self {
        Self {
            catalog,
            query,
            position,
            reading: None,
            stopped: Arc::new(AtomicBool::new(false)),
            has_ended: false,
            behind_by,
            is_caught_up: false,
            progress,
        }
    }

    /// The next event, if there is one that is visible already.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] and [`Error::Io`] where an event cannot be read. Where nothing is left to
    /// deliver, [`Error::Closed`] and [`Error::Poisoned`]. The subscription has ended then.
    pub fn try_next(&mut self) -> Result<Option<Event>> {
        self.next_event(Some(Instant::now()))
    }

    /// The next event, waiting for it for some time. `None` where none came, or where the
    /// subscription was stopped.
    ///
    /// # Errors
    ///
    /// As [`try_next`](Self::try_next).
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Event>> {
        self.next_event(Instant::now().checked_add(timeout))
    }

    /// The next event, or that the subscription has caught up or fallen behind, waiting for it for
    /// some time. `None` where nothing came, or where the subscription was stopped.
    ///
    /// # Errors
    ///
    /// As [`try_next`](Self::try_next).
    ///
    /// ```
    /// use std::time::Duration;
    /// use annals::{ExpectedVersion, NewEvent, Position, Signal, Store};
    /// let store = Store::in_memory()?;
    /// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("OrderPlaced", "")])?;
    /// let mut all = store.subscribe().start()?;
    /// let wait = Duration::from_secs(1);
    /// assert!(matches!(all.next_signal(wait)?, Some(Signal::Event(_))));
    /// assert!(matches!(all.next_signal(wait)?, Some(Signal::CaughtUp(Position(1)))));
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn next_signal(&mut self, timeout: Duration) -> Result<Option<Signal>> {
        self.wait_for_signal(Instant::now().checked_add(timeout))
    }

    /// Saves its cursor: everything that was delivered is processed. Durable when it returns, and
    /// what it speaks of is, too.
    ///
    /// # Errors
    ///
    /// As [`Store::save_cursor`](crate::Store::save_cursor); [`Error::InvalidOptions`] where the
    /// subscription has no cursor.
    pub fn save(&mut self) -> Result<()> {
        match &mut self.progress {
            Some(progress) => progress.save(self.position),
            None => Err(Error::InvalidOptions { why: "the subscription has no cursor".into() }),
        }
    }

    /// The position up to which everything was delivered or does not match: where to go on
    /// [after](Subscribe::after) a restart. It moves past events that do not match, too.
    pub fn position(&self) -> Position {
        self.position
    }

    /// How many positions are visible that it has not seen.
    pub fn lag(&self) -> u64 {
        // What cannot be looked at now is met with by the next read.
        let _ = self.catalog.refresh();
        self.catalog.watermark.visible().0.saturating_sub(self.position.0)
    }

    /// What stops this subscription from another thread.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle { catalog: Arc::clone(&self.catalog), stopped: Arc::clone(&self.stopped) }
    }

    fn next_event(&mut self, deadline: Option<Instant>) -> Result<Option<Event>> {
        loop {
            match self.wait_for_signal(deadline)? {
                Some(Signal::Event(event)) => return Ok(Some(event)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    fn wait_for_signal(&mut self, deadline: Option<Instant>) -> Result<Option<Signal>> {
        if self.has_ended {
            return Ok(None);
        }
        let signal = self.go_on(deadline);
        self.has_ended = signal.is_err();
        signal
    }

    fn go_on(&mut self, deadline: Option<Instant>) -> Result<Option<Signal>> {
        if let Some(progress) = &mut self.progress {
            progress.save_if_due(self.position)?;
        }
        loop {
            match self.step()? {
                Step::Signal(signal) => return Ok(Some(signal)),
                Step::Passed => continue,
                Step::Stopped => {
                    self.has_ended = true;
                    return Ok(None);
                }
                Step::Idle => {}
            }
            let is_off = || self.stopped.load(Ordering::SeqCst);
            let idle = self.progress.as_ref().and_then(|p| p.idle_until(self.position));
            let until = idle.into_iter().chain(deadline).min();
            match self.catalog.wait_behind(self.position, until, &is_off) {
                Woken::Moved => {}
                Woken::TimedOut => {
                    if let Some(progress) = self.progress.as_mut()
                        && idle.is_some_and(|idle| idle <= Instant::now())
                    {
                        progress.save(self.position)?;
                    }
                    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                        return Ok(None);
                    }
                }
                Woken::Ended(why) => return Err(why),
            }
        }
    }

    /// Goes on without waiting, as far as an event or one read goes.
    fn step(&mut self) -> Result<Step> {
        loop {
            if self.stopped.load(Ordering::SeqCst) {
                return Ok(Step::Stopped);
            }
            if self.catalog.watermark.is_closed() {
                return Err(Error::Closed);
            }
            if let Some((events, upto)) = &mut self.reading {
                let upto = *upto;
                let next = events.next().transpose()?;
                match next {
                    Some(event) => {
                        self.position = event.position();
                        if let Some(progress) = &mut self.progress {
                            progress.delivered();
                        }
                        return Ok(Step::Signal(Signal::Event(event)));
                    }
                    None => {
                        self.position = self.position.max(upto);
                        self.reading = None;
                        return Ok(Step::Passed);
                    }
                }
            }
            let visible = self.catalog.pin()?;
            if visible <= self.position {
                if self.is_caught_up {
                    return Ok(Step::Idle);
                }
                self.is_caught_up = true;
                return Ok(Step::Signal(Signal::CaughtUp(self.position)));
            }
            let read = ReadAll::new(Ok(Arc::clone(&self.catalog)), self.query.clone());
            let upto = visible.min(Position(self.position.0.saturating_add(STRIDE)));
            self.reading = Some((read.after(self.position).upto(upto), upto));
            if self.is_caught_up && visible.0 - self.position.0 > self.behind_by {
                self.is_caught_up = false;
                return Ok(Step::Signal(Signal::FellBehind(self.position)));
            }
        }
    }
}

impl Iterator for Subscription {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        self.next_event(None).transpose()
    }
}
