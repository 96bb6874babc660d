//! One sync for all that wait for one: for stores that write and sync apart.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::Result;

#[derive(Default)]
struct State {
    /// Syncs that have begun, and those that have ended.
    begun: u64,
    ended: u64,
    is_running: bool,
}

#[derive(Default)]
pub struct GroupSync {
    state: Mutex<State>,
    ended: Condvar,
}

impl GroupSync {
    /// Returns when a sync that began after this call has ended.
    pub fn sync(&self, run: impl Fn() -> Result<()>) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = state.begun + 1;
        while state.ended < wanted {
            if state.is_running {
                state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.is_running = true;
            state.begun += 1;
            drop(state);
            let done = run();
            state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.is_running = false;
            // A failed sync is no sync: those that wait try it themselves, and fail.
            if done.is_ok() {
                state.ended = state.begun;
            }
            self.ended.notify_all();
            done?;
        }
        Ok(())
    }
}
