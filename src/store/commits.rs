//! Appends of tasks: a bounded queue, and the thread that commits what is in it.
//!
//! The thread takes what has queued, looks it up, and hands it to the writer as so many callers, so
//! that it shares groups with those that block. It is started by the first append of a task, and
//! ends with the store.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::writing::{Beside, Writing};
use crate::error::{Error, Result};
use crate::event::Done;
use crate::promise::{Giver, Taker, promise};
use crate::sync::{Arc, Condvar, Mutex};
use crate::worker::Worker;
use crate::writer::Request;

/// The thread takes at most so many appends and bytes at a time, as a group does.
const ROUND_APPENDS: usize = 1024;
const ROUND_BYTES: u64 = 1 << 20;

/// The appends of tasks of a store.
#[derive(Debug)]
pub(super) struct Commits {
    shared: Arc<Shared>,
    worker: Worker,
}

/// What a future and the thread share.
#[derive(Debug)]
pub(super) struct Shared {
    writing: Arc<Writing>,
    /// So many bytes are taken before they are committed.
    room: u64,
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// The appends that are taken, and behind them those that wait for room.
#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// How many of the jobs are taken.
    taken: usize,
    /// The bytes of all that are taken and not answered.
    bytes: u64,
    next_number: u64,
    is_ending: bool,
}

#[derive(Debug)]
struct Job {
    number: u64,
    bytes: u64,
    request: Box<Request>,
    beside: Beside,
    giver: Giver<Done>,
}

/// A future's other end, and what it is to be told.
type Answered = (Giver<Done>, Result<Done>);

/// An append that has queued. Dropped while it waits for room, it is not made.
#[derive(Debug)]
pub(super) struct Ticket {
    shared: Arc<Shared>,
    number: u64,
}

impl Commits {
    pub(super) fn new(writing: &Arc<Writing>, room: u64) -> Self {
        let shared = Shared {
            writing: Arc::clone(writing),
            room,
            queue: Mutex::default(),
            changed: Condvar::new(),
        };
        Self { shared: Arc::new(shared), worker: Worker::new("annals-commit") }
    }

    /// Queues an append.
    pub(super) fn submit(
        &self,
        request: Box<Request>,
        beside: Beside,
    ) -> Result<(Taker<Done>, Ticket)> {
        let shared = Arc::clone(&self.shared);
        self.worker.start(move || shared.run())?;
        let (giver, taker) = promise();
        let bytes = (request.frame_bound + request.state.len()) as u64;
        let number = {
            let mut queue = self.shared.queue.lock();
            if queue.is_ending {
                // Whoever waits for it is nobody yet.
                drop(queue);
                giver.give(Err(Error::Closed));
                return Err(Error::Closed);
            }
            let number = queue.next_number;
            queue.next_number += 1;
            queue.jobs.push_back(Job { number, bytes, request, beside, giver });
            queue.take_in(self.shared.room);
            number
        };
        self.shared.changed.notify_one();
        Ok((taker, Ticket { shared: Arc::clone(&self.shared), number }))
    }

    /// Ends the thread, which answers everything that has queued first, and waits for it. The
    /// writer is closed by then, so the answer is that it is.
    pub(super) fn end(&self) {
        self.shared.queue.lock().is_ending = true;
        self.shared.changed.notify_one();
        self.worker.end();
    }
}

impl Queue {
    /// Takes in what waits, as far as there is room, in order.
    fn take_in(&mut self, room: u64) {
        while let Some(job) = self.jobs.get(self.taken)
            && (self.bytes == 0 || self.bytes.saturating_add(job.bytes) <= room)
        {
            self.bytes += job.bytes;
            self.taken += 1;
        }
    }

    /// The first jobs, as many as are committed together.
    fn round(&mut self) -> Vec<Job> {
        let (mut round, mut bytes) = (Vec::new(), 0);
        while self.taken > 0
            && round.len() < ROUND_APPENDS
            && let Some(next) = self.jobs.front()
            && (round.is_empty() || bytes + next.bytes <= ROUND_BYTES)
            && let Some(job) = self.jobs.pop_front()
        {
            self.taken -= 1;
            bytes += job.bytes;
            round.push(job);
        }
        round
    }
}

impl Shared {
    fn run(&self) {
        while let Some(round) = self.next_round() {
            let bytes: u64 = round.iter().map(|job| job.bytes).sum();
            // What panics in here has answered nobody: the givers do, when they are dropped.
            if catch_unwind(AssertUnwindSafe(|| self.commit(round))).is_err() {
                self.writing.writer.core().poison(Error::Panicked { during: "append_async" });
            }
            let mut queue = self.queue.lock();
            queue.bytes -= bytes;
            queue.take_in(self.room);
        }
    }

    /// Waits for appends. `None` at the end, once nothing has queued any more.
    fn next_round(&self) -> Option<Vec<Job>> {
        let mut queue = self.queue.lock();
        loop {
            let round = queue.round();
            if !round.is_empty() {
                return Some(round);
            }
            if queue.is_ending {
                return None;
            }
            self.changed.wait(&mut queue);
        }
    }

    /// Commits a round, in order. What saves cursors or changes views waits for others of the same
    /// names, so it goes by itself.
    fn commit(&self, round: Vec<Job>) {
        let mut answered = Vec::with_capacity(round.len());
        let (mut givers, mut requests) = (Vec::new(), Vec::new());
        for job in round {
            let Job { mut request, beside, giver, .. } = job;
            if !beside.is_empty() {
                self.commit_together(&mut givers, &mut requests, &mut answered);
                answered.push((giver, self.writing.commit(request, &beside)));
                continue;
            }
            match self.writing.look_up(&mut request) {
                Ok(()) => {
                    givers.push(giver);
                    requests.push(request);
                }
                Err(e) => answered.push((giver, Err(e))),
            }
        }
        self.commit_together(&mut givers, &mut requests, &mut answered);
        for (giver, answer) in answered {
            giver.give(answer);
        }
    }

    #[expect(clippy::vec_box, reason = "requests are large, and are handed on in boxes")]
    fn commit_together(
        &self,
        givers: &mut Vec<Giver<Done>>,
        requests: &mut Vec<Box<Request>>,
        answered: &mut Vec<Answered>,
    ) {
        if requests.is_empty() {
            return;
        }
        let answers = self.writing.writer.submit_all(std::mem::take(requests));
        self.writing.upkeep.after_commit();
        answered.extend(givers.drain(..).zip(answers));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        let at = queue.jobs.partition_point(|job| job.number < self.number);
        let waits =
            at >= queue.taken && queue.jobs.get(at).is_some_and(|j| j.number == self.number);
        let job = if waits { queue.jobs.remove(at) } else { None };
        drop(queue);
        // It answers nobody, but it does so outside the lock.
        drop(job);
    }
}
