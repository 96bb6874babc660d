//! Waiting until a cursor has come to a position.

use std::time::{Duration, Instant};

use super::Cursors;
use crate::error::{Error, Result};
use crate::names::check_cursor_name;
use crate::position::Position;
use crate::sync::{Condvar, Mutex};

/// Counts changes of cursors, so that a waiter that looked before one does not sleep through it.
#[derive(Debug, Default)]
pub(super) struct Moved {
    state: Mutex<Count>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    changes: u64,
    is_closed: bool,
}

impl Moved {
    pub(super) fn notify(&self) {
        self.state.lock().changes += 1;
        self.changed.notify_all();
    }

    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_all();
    }

    pub(super) fn check_open(&self) -> Result<()> {
        if self.state.lock().is_closed { Err(Error::Closed) } else { Ok(()) }
    }

    fn changes(&self) -> Result<u64> {
        let count = *self.state.lock();
        if count.is_closed { Err(Error::Closed) } else { Ok(count.changes) }
    }

    /// Waits until there were more changes, or the end. `false` when the time is up.
    fn wait(&self, seen: u64, until: Option<Instant>) -> bool {
        let mut count = self.state.lock();
        while count.changes == seen && !count.is_closed {
            match until {
                None => self.changed.wait(&mut count),
                Some(until) => {
                    if self.changed.wait_until(&mut count, until).timed_out() {
                        return count.changes != seen || count.is_closed;
                    }
                }
            }
        }
        true
    }
}

impl Cursors {
    /// `true` once the cursor was saved at a position or behind it, `false` when the time is up.
    pub(crate) fn wait_for(&self, name: &str, upto: Position, timeout: Duration) -> Result<bool> {
        check_cursor_name(name)?;
        self.writer()?;
        // A time that the clock cannot express never comes.
        let until = Instant::now().checked_add(timeout);
        loop {
            // Before the look: a change behind it ends the wait at once.
            let seen = self.moved.changes()?;
            let saved =
                self.load_sound(name)?.map_or(Position::START, |saved| Position(saved.position));
            if saved >= upto {
                return Ok(true);
            }
            if !self.moved.wait(seen, until) {
                return Ok(false);
            }
        }
    }
}
