//! A thread of the store, started when it is first needed and joined by close.

use std::thread::JoinHandle;

use crate::error::{Error, Result};
use crate::sync::Mutex;

/// At most one thread.
#[derive(Debug)]
pub(crate) struct Worker {
    name: &'static str,
    thread: Mutex<State>,
}

#[derive(Debug)]
enum State {
    NotNeeded,
    Runs(JoinHandle<()>),
    Ended,
}

impl Worker {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, thread: Mutex::new(State::NotNeeded) }
    }

    /// Starts the thread, unless it runs or has ended.
    pub(crate) fn start(&self, run: impl FnOnce() + Send + 'static) -> Result<()> {
        let mut thread = self.thread.lock();
        match *thread {
            State::Runs(_) => Ok(()),
            State::Ended => Err(Error::Closed),
            State::NotNeeded => {
                let named = std::thread::Builder::new().name(self.name.into());
                let started =
                    named.spawn(run).map_err(|e| Error::io("start a thread", self.name, e))?;
                *thread = State::Runs(started);
                Ok(())
            }
        }
    }

    /// Waits for the end of the thread, which was told to come to it. Not from within: a task that
    /// it wakes may hold the last handle of the store.
    pub(crate) fn end(&self) {
        let before = std::mem::replace(&mut *self.thread.lock(), State::Ended);
        if let State::Runs(thread) = before
            && thread.thread().id() != std::thread::current().id()
        {
            // It catches its panics.
            let _ = thread.join();
        }
    }
}
