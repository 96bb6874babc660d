//! How far a subscription has come, in a cursor that is saved as it goes on.

use std::time::{Duration, Instant};

use crate::cursor::OwnedCursor;
use crate::error::Result;
use crate::position::Position;

/// When a cursor is saved without being told to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// After so many events.
    pub(super) events: Option<u64>,
    /// After so much time.
    pub(super) time: Option<Duration>,
}

impl Pace {
    const fn is_set(self) -> bool {
        self.events.is_some() || self.time.is_some()
    }
}

/// A consumer that has had nothing to do for so long has its cursor saved, so that nobody who waits
/// for it waits for the next event.
const IDLE: Duration = Duration::from_millis(20);

/// The cursor of a subscription.
#[derive(Debug)]
pub(super) struct Progress {
    cursor: OwnedCursor,
    pace: Pace,
    saved: Position,
    /// Events that were delivered since it was saved.
    delivered: u64,
    saved_at: Instant,
    /// When the last event was delivered.
    delivered_at: Instant,
}

impl Progress {
    pub(super) fn new(cursor: OwnedCursor, pace: Pace, saved: Position) -> Self {
        let now = Instant::now();
        Self { cursor, pace, saved, delivered: 0, saved_at: now, delivered_at: now }
    }

    pub(super) fn delivered(&mut self) {
        self.delivered += 1;
        self.delivered_at = Instant::now();
    }

    /// Takes note of how many events were delivered since it was saved.
    #[cfg(feature = "async")]
    pub(super) fn note(&mut self, delivered: u64) {
        if delivered > self.delivered {
            self.delivered = delivered;
            self.delivered_at = Instant::now();
        }
    }

    /// Saves if it is time to, or if nothing was delivered for a while. `true` where it has.
    #[cfg(feature = "async")]
    pub(super) fn save_if_due_or_idle(&mut self, position: Position) -> Result<bool> {
        let before = self.saved;
        if self.idle_until(position).is_some_and(|idle| idle <= Instant::now()) {
            self.save(position)?;
        } else {
            self.save_if_due(position)?;
        }
        Ok(self.saved > before)
    }

    /// Saves: everything up to a position was processed.
    pub(super) fn save(&mut self, position: Position) -> Result<()> {
        if position > self.saved {
            self.cursor.save(position)?;
            self.saved = position;
        }
        self.delivered = 0;
        self.saved_at = Instant::now();
        Ok(())
    }

    /// Saves if it is time to. Called when the consumer asks for more, so what it was given before
    /// is processed.
    pub(super) fn save_if_due(&mut self, position: Position) -> Result<()> {
        if position <= self.saved || !self.pace.is_set() {
            return Ok(());
        }
        let is_due = self.pace.events.is_some_and(|events| self.delivered >= events)
            || self.pace.time.is_some_and(|time| self.saved_at.elapsed() >= time);
        if is_due { self.save(position) } else { Ok(()) }
    }

    /// How long to wait for more before the cursor is saved; `None` where there is nothing to save.
    pub(super) fn idle_until(&self, position: Position) -> Option<Instant> {
        let is_behind = position > self.saved && self.pace.is_set();
        is_behind.then(|| self.delivered_at.max(self.saved_at) + IDLE)
    }
}
