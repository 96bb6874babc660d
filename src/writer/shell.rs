//! Leader and follower: the thin shell with threads and locks around the commit core.
//!
//! The caller that finds nobody leading leads: it takes what has queued, commits it as one group,
//! wakes each of its callers by itself, and hands leadership to the first that queued meanwhile.
//! One group is in flight. A lone caller passes through without a hand-off.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::core::Core;
use super::request::Request;
use crate::error::{Error, Result};
use crate::event::Appended;
use crate::sync::{Arc, AtomicBool, Condvar, Mutex, MutexGuard, Ordering};

/// A group takes at most so many requests and bytes.
const GROUP_REQUESTS: usize = 1024;
const GROUP_BYTES: usize = 1 << 20;

type Answer = Result<Vec<Appended>>;

/// The shared writer of a store.
pub(crate) struct Writer {
    queue: Mutex<Queue>,
    /// Somebody waits for nobody to be leading.
    idle: Condvar,
    core: Mutex<Core>,
    /// The core has something for upkeep to do.
    wants_upkeep: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    is_led: bool,
    is_closed: bool,
}

#[derive(Debug)]
struct Waiting {
    request: Request,
    seat: Arc<Seat>,
}

/// Where a caller waits for its answer, or to be made the leader.
#[derive(Debug, Default)]
struct Seat {
    turn: Mutex<Option<Turn>>,
    changed: Condvar,
}

#[derive(Debug)]
enum Turn {
    Lead(Box<Request>),
    Done(Answer),
}

impl Seat {
    fn give(&self, turn: Turn) {
        *self.turn.lock() = Some(turn);
        self.changed.notify_one();
    }

    fn wait(&self) -> Turn {
        let mut turn = self.turn.lock();
        loop {
            match turn.take() {
                Some(turn) => return turn,
                None => self.changed.wait(&mut turn),
            }
        }
    }
}

impl Writer {
    pub(crate) fn new(core: Core) -> Self {
        let wants_upkeep = AtomicBool::new(core.wants_upkeep());
        Self { queue: Mutex::default(), idle: Condvar::new(), core: Mutex::new(core), wants_upkeep }
    }

    /// Commits a request, in a group with whatever else is waiting.
    pub(crate) fn submit(&self, request: Request) -> Answer {
        let mut queue = self.queue.lock();
        if queue.is_closed {
            return Err(Error::Closed);
        }
        if !queue.is_led {
            queue.is_led = true;
            drop(queue);
            return self.lead(request);
        }
        let seat = Arc::new(Seat::default());
        queue.waiting.push_back(Waiting { request, seat: Arc::clone(&seat) });
        drop(queue);
        match seat.wait() {
            Turn::Done(answer) => answer,
            Turn::Lead(request) => self.lead(*request),
        }
    }

    /// Takes no more requests, and waits until those that were taken are answered. `false` where
    /// that was done before.
    pub(crate) fn close(&self) -> bool {
        let mut queue = self.queue.lock();
        let was_open = !std::mem::replace(&mut queue.is_closed, true);
        while queue.is_led {
            self.idle.wait(&mut queue);
        }
        was_open
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue.lock().is_closed
    }

    /// Whether upkeep would find something to do in the core.
    pub(crate) fn wants_upkeep(&self) -> bool {
        self.wants_upkeep.load(Ordering::Relaxed)
    }

    /// The core, for what is not a commit. Whoever holds it keeps appends waiting.
    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock()
    }

    fn lead(&self, request: Request) -> Answer {
        let mut core = self.core.lock();
        let (mut requests, seats) = self.gather(request);
        let mut answers = commit(&mut core, &requests);
        self.wants_upkeep.store(core.wants_upkeep(), Ordering::Relaxed);
        drop(core);
        requests.clear();
        let mine = answers.pop_front();
        for (seat, answer) in seats.iter().zip(answers) {
            seat.give(Turn::Done(answer));
        }
        self.hand_on();
        mine.unwrap_or(Err(Error::Panicked { during: "a commit" }))
    }

    /// The leader's request and what has queued behind it, up to the limits of a group.
    fn gather(&self, request: Request) -> (Vec<Request>, Vec<Arc<Seat>>) {
        let mut bytes = request.frame_bound;
        let (mut requests, mut seats) = (vec![request], Vec::new());
        let mut queue = self.queue.lock();
        while requests.len() < GROUP_REQUESTS
            && let Some(next) = queue.waiting.front()
            && bytes + next.request.frame_bound <= GROUP_BYTES
            && let Some(Waiting { request, seat }) = queue.waiting.pop_front()
        {
            bytes += request.frame_bound;
            requests.push(request);
            seats.push(seat);
        }
        (requests, seats)
    }

    /// Makes the first that waits the leader, or nobody.
    fn hand_on(&self) {
        let mut queue = self.queue.lock();
        if let Some(Waiting { request, seat }) = queue.waiting.pop_front() {
            drop(queue);
            seat.give(Turn::Lead(Box::new(request)));
        } else {
            queue.is_led = false;
            self.idle.notify_all();
        }
    }
}

/// Commits, and turns a panic into poison: nobody may be left waiting, and nothing that is
/// half done may be built upon.
fn commit(core: &mut Core, requests: &[Request]) -> VecDeque<Answer> {
    match catch_unwind(AssertUnwindSafe(|| core.commit(requests))) {
        Ok(answers) => answers.into(),
        Err(_) => {
            let e = core.poison(Error::Panicked { during: "a commit" });
            requests.iter().map(|_| Err(e.clone())).collect()
        }
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}
