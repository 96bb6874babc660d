//! Layer 2: the two marks of the store, and whoever waits for them to move.
//!
//! *Visible* is the last position that anyone may see, *durable* the last one that a sync covers.
//! In `Durability::Sync` they move together.
//!
//! Waiting follows one rule: register, look again, sleep. Moving follows the other: move, then look
//! whether anybody is registered. Both sides use sequentially consistent operations, so one of them
//! sees the other, and no wake-up is lost. Where nobody waits, moving costs one load.

#[cfg(feature = "async")]
use std::task::Waker;
use std::time::Instant;

use crate::error::Error;
use crate::position::Position;
use crate::sync::{AtomicBool, AtomicU64, Condvar, Mutex, Ordering};

/// The marks. Each only moves forward.
#[derive(Debug, Default)]
pub(crate) struct Watermark {
    visible: AtomicU64,
    durable: AtomicU64,
    /// How many wait, or are about to.
    waiting: AtomicU64,
    /// Why nothing will move any more, once that is so.
    ended: Mutex<Option<Error>>,
    moved: Condvar,
    closed: AtomicBool,
    /// What wakes those that wait without a thread, each under its own number. They count as
    /// waiting, and only while this is held does one come or go.
    #[cfg(feature = "async")]
    wakers: Mutex<Vec<(u64, Waker)>>,
}

/// What a wait ended with.
#[derive(Debug)]
pub(crate) enum Woken {
    /// Something behind the position is visible, or whoever waits was called off.
    Moved,
    TimedOut,
    /// Nothing will become visible any more.
    Ended(Error),
}

impl Watermark {
    /// Marks of a store whose events up to `position` are durable.
    pub(crate) fn at(position: Position) -> Self {
        Self {
            visible: AtomicU64::new(position.0),
            durable: AtomicU64::new(position.0),
            ..Self::default()
        }
    }

    /// The last position that may be seen. A reader loads it before it looks at anything else.
    pub(crate) fn visible(&self) -> Position {
        Position(self.visible.load(Ordering::Acquire))
    }

    /// The last visible position that survives a power cut. An event can be durable a moment
    /// before it is visible; whoever compares the marks shall not see that.
    pub(crate) fn durable(&self) -> Position {
        let durable = Position(self.durable.load(Ordering::Acquire));
        durable.min(self.visible())
    }

    /// Shows everything up to a position, and wakes whoever waits. The index has it already.
    pub(crate) fn show(&self, position: Position) {
        self.visible.fetch_max(position.0, Ordering::SeqCst);
        self.wake();
    }

    /// Says that everything up to a position is durable.
    pub(crate) fn make_durable(&self, position: Position) {
        self.durable.fetch_max(position.0, Ordering::AcqRel);
    }

    /// Says that nothing will move any more, and wakes whoever waits. The first reason stays, but
    /// that closing a store says more than that it was poisoned.
    pub(crate) fn end(&self, why: Error) {
        let mut ended = self.ended.lock();
        let closes = matches!(why, Error::Closed);
        if ended.is_none() || closes {
            *ended = Some(why);
        }
        self.closed.fetch_or(closes, Ordering::AcqRel);
        drop(ended);
        self.wake();
    }

    /// Whether the store was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Wakes whoever waits, to look again.
    pub(crate) fn wake(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            // Whoever has looked and not yet fallen asleep holds the lock.
            drop(self.ended.lock());
            self.moved.notify_all();
            #[cfg(feature = "async")]
            self.wake_registered();
        }
    }

    /// Registers a waker under a number, in the place of another under it: called once, when
    /// something behind the position may be visible, or whoever waits was called off, or at the
    /// end. Where one of these is so already, it is not registered, and this says which.
    ///
    /// It can be called while the writer is held, so it may only take note.
    #[cfg(feature = "async")]
    pub(crate) fn register(
        &self,
        number: u64,
        waker: Waker,
        position: Position,
        is_off: &dyn Fn() -> bool,
    ) -> Option<Woken> {
        self.unregister(number);
        let mut wakers = self.wakers.lock();
        wakers.push((number, waker));
        self.waiting.fetch_add(1, Ordering::SeqCst);
        drop(wakers);
        let woken = if self.visible.load(Ordering::SeqCst) > position.0 || is_off() {
            Woken::Moved
        } else {
            Woken::Ended(self.ended.lock().clone()?)
        };
        self.unregister(number);
        Some(woken)
    }

    /// Takes a waker back, if it is registered.
    #[cfg(feature = "async")]
    pub(crate) fn unregister(&self, number: u64) {
        let mut wakers = self.wakers.lock();
        if let Some(at) = wakers.iter().position(|(known, _)| *known == number) {
            let removed = wakers.swap_remove(at);
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            drop(wakers);
            drop(removed);
        }
    }

    #[cfg(feature = "async")]
    fn wake_registered(&self) {
        let mut wakers = self.wakers.lock();
        let woken = std::mem::take(&mut *wakers);
        self.waiting.fetch_sub(woken.len() as u64, Ordering::SeqCst);
        drop(wakers);
        for (_, waker) in woken {
            waker.wake();
        }
    }

    /// Waits until something behind a position is visible, or `is_off` says that it is no longer
    /// wanted (and [`wake`](Self::wake) was called), or the end, or the deadline.
    pub(crate) fn wait_behind(
        &self,
        position: Position,
        deadline: Option<Instant>,
        is_off: &dyn Fn() -> bool,
    ) -> Woken {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let woken = self.wait_registered(position, deadline, is_off);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        woken
    }

    fn wait_registered(
        &self,
        position: Position,
        deadline: Option<Instant>,
        is_off: &dyn Fn() -> bool,
    ) -> Woken {
        let mut ended = self.ended.lock();
        loop {
            if self.visible.load(Ordering::SeqCst) > position.0 || is_off() {
                return Woken::Moved;
            }
            if let Some(why) = ended.as_ref() {
                return Woken::Ended(why.clone());
            }
            match deadline {
                None => self.moved.wait(&mut ended),
                Some(deadline) => {
                    if self.moved.wait_until(&mut ended, deadline).timed_out() {
                        let moved = self.visible.load(Ordering::SeqCst) > position.0 || is_off();
                        return if moved { Woken::Moved } else { Woken::TimedOut };
                    }
                }
            }
        }
    }
}
