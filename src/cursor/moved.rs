//! Whoever waits for a cursor, and what wakes them.

use std::time::Instant;

use crate::error::{Error, Result};
use crate::sync::{Condvar, Mutex};

/// Counts changes of cursors, or of views, so that a waiter that looked before one does not sleep
/// through it.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    state: Mutex<Count>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    changes: u64,
    is_closed: bool,
}

impl Moved {
    pub(crate) fn notify(&self) {
        self.state.lock().changes += 1;
        self.changed.notify_all();
    }

    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_all();
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.state.lock().is_closed { Err(Error::Closed) } else { Ok(()) }
    }

    pub(crate) fn changes(&self) -> Result<u64> {
        let count = *self.state.lock();
        if count.is_closed { Err(Error::Closed) } else { Ok(count.changes) }
    }

    /// Waits until there were more changes, or the end. `false` when the time is up.
    pub(crate) fn wait(&self, seen: u64, until: Option<Instant>) -> bool {
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
