//! The thread that reads for the streams of a store, one short step after the other.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::error::Result;
use crate::sync::{Arc, Condvar, Mutex};
use crate::worker::Worker;

/// What the thread works on, a step at a time.
pub(super) trait Steps: std::fmt::Debug + Send + Sync {
    /// Does what there is to do, and says when to come again without being asked.
    fn step(self: Arc<Self>) -> Option<Instant>;

    /// A step panicked, or none will come any more.
    fn end(&self, panicked: bool);
}

/// The queue of a store's streams, and the thread that works it off. It is started when the first
/// stream is polled, and ends with the store.
#[derive(Debug)]
pub(crate) struct History {
    shared: Arc<Shared>,
    worker: Worker,
}

impl Default for History {
    fn default() -> Self {
        Self { shared: Arc::default(), worker: Worker::new("annals-history") }
    }
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    ready: VecDeque<Arc<dyn Steps>>,
    later: Vec<(Instant, Arc<dyn Steps>)>,
    is_ending: bool,
}

impl History {
    /// Starts the thread, unless it runs.
    pub(super) fn start(&self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        self.worker.start(move || shared.run())
    }

    /// Queues a step. `false` where none will be made any more.
    pub(super) fn queue(&self, steps: Arc<dyn Steps>) -> bool {
        let mut queue = self.shared.queue.lock();
        if queue.is_ending {
            return false;
        }
        queue.ready.push_back(steps);
        drop(queue);
        self.shared.changed.notify_one();
        true
    }

    /// Ends the thread, which does what has queued first, and waits for it.
    pub(crate) fn end(&self) {
        self.shared.queue.lock().is_ending = true;
        self.shared.changed.notify_one();
        self.worker.end();
        // Without a thread, nobody else does.
        self.shared.clear();
    }
}

impl Shared {
    fn run(&self) {
        while let Some(steps) = self.next() {
            let step = catch_unwind(AssertUnwindSafe(|| Arc::clone(&steps).step()));
            let mut queue = self.queue.lock();
            let address = Arc::as_ptr(&steps).addr();
            let before = queue.later.iter().position(|(_, s)| Arc::as_ptr(s).addr() == address);
            let before = before.map(|at| queue.later.swap_remove(at));
            if let Ok(Some(at)) = step {
                queue.later.push((at, Arc::clone(&steps)));
            }
            drop(queue);
            drop(before);
            if step.is_err() {
                steps.end(true);
            }
        }
        self.clear();
    }

    /// Waits for something to do. `None` at the end.
    fn next(&self) -> Option<Arc<dyn Steps>> {
        let mut queue = self.queue.lock();
        loop {
            let due = queue.later.iter().position(|(at, _)| *at <= Instant::now());
            if let Some(due) = due {
                return Some(queue.later.swap_remove(due).1);
            }
            if let Some(steps) = queue.ready.pop_front() {
                return Some(steps);
            }
            if queue.is_ending {
                return None;
            }
            match queue.later.iter().map(|(at, _)| *at).min() {
                Some(at) => drop(self.changed.wait_until(&mut queue, at)),
                None => self.changed.wait(&mut queue),
            }
        }
    }

    fn clear(&self) {
        let mut queue = self.queue.lock();
        let ready = std::mem::take(&mut queue.ready);
        let later = std::mem::take(&mut queue.later);
        drop(queue);
        for steps in ready.into_iter().chain(later.into_iter().map(|(_, steps)| steps)) {
            steps.end(false);
        }
    }
}
