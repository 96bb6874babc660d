//! What a stream and the history thread share: a batch of events, read on demand.
//!
//! The stream's end hands out what has been read, under a lock that is never held through a read.
//! When it is asked for more than that, the thread reads the next batch, and where nothing is
//! visible, the watermark queues the reader again. So at most one batch waits for the consumer, and
//! tasks are woken by the history thread alone, with something to take.

use std::collections::VecDeque;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use super::history::{History, Steps};
use super::progress::{Pace, Progress};
use super::slot::{End, Orders, Slot};
use super::{Signal, Step, Subscription};
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::position::Position;
use crate::promise::{Giver, Taker, promise, remember, wake};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use crate::watermark::Woken;

/// A batch holds at most so many events, and ends with the one that reaches so many bytes.
const BATCH_EVENTS: usize = 64;
const BATCH_BYTES: usize = 1 << 20;

/// Starts the subscription; with a cursor that takes reads, so the thread does it.
pub(super) type Start = Box<dyn FnOnce() -> Result<Subscription> + Send>;

pub(super) struct Reader {
    pub(super) catalog: Arc<Catalog>,
    history: Arc<History>,
    pace: Pace,
    pub(super) stopped: Arc<AtomicBool>,
    /// Held through reads and saves. Only steps take it, and the end of the stream where no step is
    /// queued or under way.
    work: Mutex<Work>,
    slot: Mutex<Slot>,
}

enum Work {
    NotStarted(Start),
    Runs { subscription: Box<Subscription>, progress: Option<Progress> },
    Over,
}

/// What a step has come to.
#[derive(Default)]
struct Batch {
    events: VecDeque<Event>,
    reached: Option<Position>,
    then: Then,
    /// Events that were saved, and when to save the others.
    saved: u64,
    save_at: Option<Instant>,
}

#[derive(Default)]
enum Then {
    /// The consumer asks.
    #[default]
    Rest,
    /// There is more to look at.
    GoOn,
    /// Nothing more is visible.
    Wait,
    End(End),
}

impl Reader {
    pub(super) fn new(
        catalog: &Arc<Catalog>,
        history: &Arc<History>,
        after: Position,
        pace: Pace,
        start: Start,
    ) -> Self {
        let slot = Slot::new(after);
        Self {
            catalog: Arc::clone(catalog),
            history: Arc::clone(history),
            pace,
            stopped: Arc::new(AtomicBool::new(false)),
            work: Mutex::new(Work::NotStarted(start)),
            slot: Mutex::new(slot),
        }
    }

    pub(super) fn position(&self) -> Position {
        self.slot.lock().position()
    }

    /// The next event, if it was read; else it is asked for.
    pub(super) fn poll(self: &Arc<Self>, cx: &Context<'_>) -> Poll<Option<Result<Event>>> {
        let mut slot = self.slot.lock();
        if slot.has_ended {
            return Poll::Ready(None);
        }
        if self.is_stopped() {
            slot.has_ended = true;
            let unseen = std::mem::take(&mut slot.events);
            drop(slot);
            drop(unseen);
            return Poll::Ready(None);
        }
        slot.processed = slot.position();
        let mut has_work = slot.save_is_due(self.pace);
        let next = if let Some(event) = slot.events.pop_front() {
            slot.given = event.position();
            slot.unsaved += 1;
            Poll::Ready(Some(Ok(event)))
        } else if let Some(end) = slot.end.take() {
            slot.has_ended = true;
            Poll::Ready(end.err().map(Err))
        } else {
            remember(&mut slot.task, cx);
            has_work |= !std::mem::replace(&mut slot.is_wanted, true);
            Poll::Pending
        };
        drop(slot);
        if has_work {
            self.queue();
        }
        next
    }

    /// Saves the cursor at a position, but not ahead of where the consumer is now.
    pub(super) fn save(self: &Arc<Self>, upto: Position) -> Taker<()> {
        let (giver, taker) = promise();
        let mut slot = self.slot.lock();
        let position = slot.position().min(upto);
        slot.saves.push((position, giver));
        drop(slot);
        self.queue();
        taker
    }

    /// The stream is dropped: nothing more is read for it, and its cursor is free again, at the
    /// latest when the step that is queued or under way has ended.
    pub(super) fn abandon(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.catalog.watermark.unregister(self.number());
        let mut slot = self.slot.lock();
        slot.is_dropped = true;
        let (events, task) = (std::mem::take(&mut slot.events), slot.task.take());
        let is_idle = !slot.is_queued && !slot.is_stepping;
        drop(slot);
        drop((events, task));
        if is_idle {
            *self.work.lock() = Work::Over;
        }
    }

    /// Its number in the watermark. A waker that is registered keeps it at its address.
    fn number(&self) -> u64 {
        std::ptr::from_ref(self).addr() as u64
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Has the thread do a step.
    fn queue(self: &Arc<Self>) {
        if std::mem::replace(&mut self.slot.lock().is_queued, true) {
            return;
        }
        let steps: Arc<dyn Steps> = Arc::<Self>::clone(self);
        let started = self.history.start();
        if let Err(e) = started {
            self.end_with(e);
        } else if !self.history.queue(steps) {
            self.end_with(Error::Closed);
        }
    }

    /// No step is made any more.
    fn end_with(&self, why: Error) {
        let mut slot = self.slot.lock();
        (slot.is_queued, slot.is_stepping) = (false, false);
        let saves = std::mem::take(&mut slot.saves);
        drop(slot);
        for (_, giver) in saves {
            giver.give(Err(why.clone()));
        }
        self.finish(why);
    }

    /// Nothing more is read.
    fn finish(&self, why: Error) {
        let mut slot = self.slot.lock();
        slot.is_wanted = false;
        slot.end.get_or_insert(Err(why));
        let task = slot.task.take();
        drop(slot);
        if let Some(task) = task {
            wake(task);
        }
    }

    /// Does what is ordered with the work held. The answers of saves are given behind it.
    fn work(&self, orders: &mut Orders, answers: &mut Vec<(Giver<()>, Result<()>)>) -> Batch {
        let mut work = self.work.lock();
        let started = self.started(&mut work, orders.is_dropped && orders.saves.is_empty());
        let (subscription, progress) = match started {
            Ok(Some(running)) => running,
            Ok(None) => {
                let ended = || Err(Error::InvalidOptions { why: "the stream has ended".into() });
                answers.extend(orders.saves.drain(..).map(|(_, giver)| (giver, ended())));
                return Batch { then: Then::End(Ok(())), ..Batch::default() };
            }
            Err(e) => {
                answers.extend(orders.saves.drain(..).map(|(_, giver)| (giver, Err(e.clone()))));
                return Batch { then: Then::End(Err(e)), ..Batch::default() };
            }
        };
        let mut batch = Batch::default();
        for (position, giver) in orders.saves.drain(..) {
            let saved = match progress {
                Some(progress) => progress.save(position),
                None => Err(Error::InvalidOptions { why: "the subscription has no cursor".into() }),
            };
            if saved.is_ok() {
                batch.saved = orders.unsaved;
            }
            answers.push((giver, saved));
        }
        if orders.is_dropped {
            *work = Work::Over;
            return batch;
        }
        if let Some(progress) = progress {
            progress.note(orders.unsaved - batch.saved);
            match progress.save_if_due_or_idle(orders.processed) {
                Ok(true) => batch.saved = orders.unsaved,
                Ok(false) => {}
                Err(e) => return Batch { then: Then::End(Err(e)), ..batch },
            }
        }
        if orders.is_wanted {
            batch.read(subscription);
            if matches!(batch.then, Then::Wait) {
                let idle_until = |progress: &Progress| progress.idle_until(subscription.position);
                batch.save_at = progress.as_ref().and_then(idle_until);
            }
        }
        batch
    }

    /// The subscription, started if it was not. `None` where it is over.
    fn started<'w>(
        &self,
        work: &'w mut Work,
        is_over: bool,
    ) -> Result<Option<(&'w mut Subscription, &'w mut Option<Progress>)>> {
        if is_over {
            *work = Work::Over;
        }
        if let Work::NotStarted(_) = work
            && let Work::NotStarted(start) = std::mem::replace(work, Work::Over)
        {
            let mut subscription = Box::new(start()?);
            subscription.stopped = Arc::clone(&self.stopped);
            let progress = subscription.progress.take();
            *work = Work::Runs { subscription, progress };
        }
        Ok(match work {
            Work::Runs { subscription, progress } => Some((subscription, progress)),
            _ => None,
        })
    }

    /// Puts a batch in the slot. Returns the task to wake, and whether to go on by itself.
    fn deliver(&self, batch: &mut Batch, is_wanted: bool) -> (Option<Waker>, bool) {
        let mut slot = self.slot.lock();
        slot.unsaved -= batch.saved;
        if batch.saved > 0 {
            slot.saved_at = Instant::now();
        }
        slot.is_stepping = false;
        if slot.is_dropped {
            return (None, false);
        }
        let given = slot.position();
        if let Some(reached) = batch.reached {
            slot.reached = reached;
        }
        let has_end = matches!(batch.then, Then::End(_));
        if let Then::End(end) = &batch.then {
            slot.end.get_or_insert_with(|| end.clone());
        }
        if batch.events.is_empty() && !has_end {
            if is_wanted {
                // The consumer has asked for more, so what it had is processed.
                slot.processed = slot.reached;
            }
            return (None, is_wanted);
        }
        slot.given = given;
        slot.events.append(&mut batch.events);
        slot.is_wanted = false;
        (slot.task.take(), false)
    }

    /// Has the step after this one made when there is something to do.
    fn go_on(self: &Arc<Self>, then: &Then, position: Position) {
        if matches!(then, Then::Wait) {
            let waker = Waker::from(Arc::clone(self));
            let is_off = || self.is_stopped();
            match self.catalog.watermark.register(self.number(), waker, position, &is_off) {
                None => return,
                Some(Woken::Ended(why)) => return self.finish(why),
                Some(_) => {}
            }
        }
        self.queue();
    }
}

impl Batch {
    fn read(&mut self, subscription: &mut Subscription) {
        let mut bytes = 0;
        self.then = loop {
            match subscription.step() {
                Ok(Step::Signal(Signal::Event(event))) => {
                    bytes += event.data().len() + event.metadata().len() + 256;
                    self.events.push_back(event);
                    if self.events.len() == BATCH_EVENTS || bytes >= BATCH_BYTES {
                        break Then::GoOn;
                    }
                }
                Ok(Step::Signal(_)) => {}
                Ok(Step::Passed) => break Then::GoOn,
                Ok(Step::Idle) => break Then::Wait,
                Ok(Step::Stopped) => break Then::End(Ok(())),
                Err(e) => break Then::End(Err(e)),
            }
        };
        self.reached = Some(subscription.position);
    }
}

impl Steps for Reader {
    fn step(self: Arc<Self>) -> Option<Instant> {
        let mut orders = self.slot.lock().take_orders();
        let mut answers = Vec::new();
        let mut batch = self.work(&mut orders, &mut answers);
        let (task, goes_on) = self.deliver(&mut batch, orders.is_wanted);
        if self.slot.lock().is_dropped {
            *self.work.lock() = Work::Over;
        }
        if goes_on {
            self.go_on(&batch.then, batch.reached.unwrap_or_default());
        }
        for (giver, answer) in answers {
            giver.give(answer);
        }
        if let Some(task) = task {
            wake(task);
        }
        batch.save_at
    }

    fn end(&self, panicked: bool) {
        self.end_with(if panicked {
            Error::Panicked { during: "a read for a stream" }
        } else {
            Error::Closed
        });
    }
}

impl Wake for Reader {
    fn wake(self: Arc<Self>) {
        self.queue();
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}
