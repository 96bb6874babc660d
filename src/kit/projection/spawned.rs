//! A projector in a thread of its own.

use std::thread::JoinHandle;

use super::contract::{ChangesOf, Projection};
use super::projector::Projector;
use super::report::ProjectionError;
use crate::error::Error;
use crate::sync::{Arc, AtomicBool, Ordering};

/// A projector that runs in a thread. Dropping this stops it, and waits for its batch.
#[derive(Debug)]
pub struct SpawnedProjector {
    is_stopped: Arc<AtomicBool>,
    is_paused: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), ProjectionError>>>,
}

impl<P: Projection + 'static> Projector<P>
where
    ChangesOf<P>: Send,
{
    /// Starts a thread that [runs](Self::run) it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where there is no thread to be had.
    pub fn spawn(self) -> Result<SpawnedProjector, ProjectionError> {
        let (is_stopped, is_paused) = self.flags();
        let mut projector = self;
        let named = std::thread::Builder::new().name("annals-projector".into());
        let thread = named
            .spawn(move || projector.run())
            .map_err(|e| Error::io("start a thread", "annals-projector", e))?;
        Ok(SpawnedProjector { is_stopped, is_paused, thread: Some(thread) })
    }
}

impl SpawnedProjector {
    /// Lets it apply nothing, until it is resumed. The batch that is under way is committed.
    pub fn pause(&self) {
        self.is_paused.store(true, Ordering::Release);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.is_paused.store(false, Ordering::Release);
    }

    /// Whether it still runs: neither stopped nor ended by an error.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Ends it behind the batch that is under way, and says why it ended, if that was an error.
    ///
    /// # Errors
    ///
    /// As [`Projector::run`]; [`Error::Panicked`] where the projection has panicked.
    pub fn stop(mut self) -> Result<(), ProjectionError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), ProjectionError> {
        self.is_stopped.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(Error::Panicked { during: "a projection" }.into()))
    }
}

impl Drop for SpawnedProjector {
    fn drop(&mut self) {
        // Whoever wants to know calls `stop`.
        let _ = self.end();
    }
}
