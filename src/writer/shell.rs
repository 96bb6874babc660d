//! Leader and follower: the thin shell with threads and locks around the commit core.
//!
//! The caller that finds nobody leading leads: it takes what has queued, commits it as one group,
//! wakes each of its callers by itself, and hands leadership to the first that queued meanwhile.
//! One group is in flight. A lone caller passes through without a hand-off.
//!
//! It knows nothing of events: whatever [`Commits`] can be behind it. The models in `models/` run
//! this very file on a tiny core, with the locks of a model checker.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use smallvec::{SmallVec, smallvec};

use crate::sync::{Arc, AtomicBool, Condvar, GATHER, Mutex, MutexGuard, Ordering};

/// A group takes at most so many requests and bytes.
const GROUP_REQUESTS: usize = 1024;
const GROUP_BYTES: usize = 1 << 20;
/// A leader waits for callers only where a commit takes so many times as long: the wait has
/// hand-offs of its own, which a fast disk does not make up for.
const WORTH: u32 = 4;
/// A leader for whom nobody came back so often in a row waits in one of so many groups, to see
/// whether they do now: in one of 2 to this power.
const MOST_MISSED: u32 = 6;

/// What is behind the shell: it commits groups, one at a time.
pub(crate) trait Commits: Sized {
    type Request;
    type Answer;

    /// How much of a group's bytes a request takes.
    fn bytes(request: &Self::Request) -> usize;

    /// Commits a group and answers each request, in order.
    fn commit(&mut self, group: &[Self::Request]) -> Answers<Self>;

    /// A commit of this group panicked: nothing may be built on what it left half done.
    fn panicked(&mut self, group: &[Self::Request]) -> Answers<Self>;

    /// The answer to a request of which nobody said anything.
    fn unanswered() -> Self::Answer;

    /// The answer to a request behind the end.
    fn closed() -> Self::Answer;

    /// There is something for upkeep to do.
    fn wants_upkeep(&self) -> bool;
}

/// The requests of a group: mostly one.
type Group<C> = SmallVec<[<C as Commits>::Request; 1]>;
/// The answers to the requests of a group, in order.
pub(crate) type Answers<C> = SmallVec<[<C as Commits>::Answer; 1]>;

/// The shared writer of a store.
pub(crate) struct Writer<C: Commits> {
    queue: Mutex<Queue<C>>,
    /// Somebody waits for nobody to be leading.
    idle: Condvar,
    /// The leader waits for callers to come back.
    gathered: Condvar,
    core: Mutex<C>,
    /// No more requests are taken. It is set while the queue is locked.
    is_closed: AtomicBool,
    /// The core has something for upkeep to do.
    wants_upkeep: AtomicBool,
}

struct Queue<C: Commits> {
    waiting: VecDeque<Waiting<C>>,
    is_led: bool,
    returning: Returning,
    /// The leader waits for so many requests to have queued.
    wanted: usize,
}

/// Callers that were just answered. They mostly come back at once with their next request, and a
/// group that has them all costs no more than one that just misses them: so the next leader gives
/// them a moment.
struct Returning {
    /// How many requests the next group has when they are back.
    expected: usize,
    /// So long the leader waits for them.
    until: Instant,
    /// How often in a row they have not come.
    missed: u32,
    /// So many groups go before it waits again.
    skipped: u32,
}

struct Waiting<C: Commits> {
    request: C::Request,
    seat: Arc<Seat<C>>,
}

/// Where a caller waits for its answer, or to be made the leader.
struct Seat<C: Commits> {
    turn: Mutex<Option<Turn<C>>>,
    changed: Condvar,
    caller: Caller,
}

/// Who waits on a seat.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    /// A thread with one request, which mostly comes back with the next.
    One,
    /// A thread with many requests, all of which have queued.
    #[cfg_attr(not(feature = "async"), allow(dead_code, reason = "what commits for tasks"))]
    Many,
}

enum Turn<C: Commits> {
    Lead(C::Request),
    Done(C::Answer),
}

impl<C: Commits> Seat<C> {
    fn new(caller: Caller) -> Self {
        Self { turn: Mutex::new(None), changed: Condvar::new(), caller }
    }

    fn give(&self, turn: Turn<C>) {
        *self.turn.lock() = Some(turn);
        self.changed.notify_one();
    }

    fn wait(&self) -> Turn<C> {
        let mut turn = self.turn.lock();
        loop {
            match turn.take() {
                Some(turn) => return turn,
                None => self.changed.wait(&mut turn),
            }
        }
    }
}

impl<C: Commits> Writer<C> {
    pub(crate) fn new(core: C) -> Self {
        let wants_upkeep = AtomicBool::new(core.wants_upkeep());
        let queue = Queue {
            waiting: VecDeque::new(),
            is_led: false,
            returning: Returning { expected: 0, until: Instant::now(), missed: 0, skipped: 0 },
            wanted: usize::MAX,
        };
        Self {
            queue: Mutex::new(queue),
            idle: Condvar::new(),
            gathered: Condvar::new(),
            core: Mutex::new(core),
            is_closed: AtomicBool::new(false),
            wants_upkeep,
        }
    }

    /// Commits a request, in a group with whatever else is waiting.
    pub(crate) fn submit(&self, request: C::Request) -> C::Answer {
        let mut queue = self.queue.lock();
        if self.is_closed() {
            return C::closed();
        }
        if !queue.is_led {
            queue.is_led = true;
            let nobody_returns = queue.returning.expected == 0;
            drop(queue);
            if nobody_returns {
                return first_of::<C>(self.lead(smallvec![request], Caller::One));
            }
            return self.lead_one(request, Caller::One);
        }
        let seat = Arc::new(Seat::new(Caller::One));
        queue.waiting.push_back(Waiting { request, seat: Arc::clone(&seat) });
        self.wake_gatherer(&queue);
        drop(queue);
        match seat.wait() {
            Turn::Done(answer) => answer,
            Turn::Lead(request) => self.lead_one(request, Caller::One),
        }
    }

    /// Commits requests of one thread, and answers them in order. Where nobody leads, it leads with
    /// as many as fit in one group; each of the others is as that of a caller of its own.
    ///
    /// It waits on one seat at a time, and may do so: turns are given in the order of the queue, so
    /// whoever of these is made the leader is the first that has no answer yet.
    #[cfg(feature = "async")]
    pub(crate) fn submit_all(&self, requests: Vec<C::Request>) -> Vec<C::Answer> {
        let mut requests = Group::<C>::from_vec(requests);
        let mut queue = self.queue.lock();
        if self.is_closed() {
            return requests.iter().map(|_| C::closed()).collect();
        }
        // Who finds nobody leading finds nobody waiting either, and leads with as many as fit.
        let leading = if queue.is_led { 0 } else { group_of(&requests, C::bytes) };
        queue.is_led |= leading > 0;
        let seats: Vec<Arc<Seat<C>>> = requests
            .drain(leading..)
            .map(|request| {
                let seat = Arc::new(Seat::new(Caller::Many));
                queue.waiting.push_back(Waiting { request, seat: Arc::clone(&seat) });
                seat
            })
            .collect();
        self.wake_gatherer(&queue);
        drop(queue);
        let mut answers = Vec::with_capacity(seats.len() + leading);
        if leading > 0 {
            self.await_returning(leading);
            answers.extend(self.lead(requests, Caller::Many));
        }
        answers.extend(seats.iter().map(|seat| match seat.wait() {
            Turn::Done(answer) => answer,
            Turn::Lead(request) => self.lead_one(request, Caller::Many),
        }));
        answers
    }

    /// Takes no more requests, and waits until those that were taken are answered. `false` where
    /// that was done before.
    pub(crate) fn close(&self) -> bool {
        let mut queue = self.queue.lock();
        let was_open = !self.is_closed.swap(true, Ordering::AcqRel);
        while queue.is_led {
            self.idle.wait(&mut queue);
        }
        was_open
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Whether upkeep would find something to do in the core.
    pub(crate) fn wants_upkeep(&self) -> bool {
        self.wants_upkeep.load(Ordering::Relaxed)
    }

    /// The core, for what is not a commit. Whoever holds it keeps appends waiting.
    pub(crate) fn core(&self) -> MutexGuard<'_, C> {
        self.core.lock()
    }

    /// Commits one request as a group of its own, for whoever holds the core.
    pub(crate) fn commit_held(&self, core: &mut C, request: C::Request) -> C::Answer {
        let answers = commit(core, &[request]);
        self.wants_upkeep.store(core.wants_upkeep(), Ordering::Relaxed);
        first_of::<C>(answers)
    }

    fn lead_one(&self, request: C::Request, caller: Caller) -> C::Answer {
        self.await_returning(1);
        first_of::<C>(self.lead(smallvec![request], caller))
    }

    /// Commits requests of this thread, and others behind them in one group. Returns the answers to
    /// its own.
    fn lead(&self, mut requests: Group<C>, caller: Caller) -> Answers<C> {
        let own = requests.len();
        let mut core = self.core.lock();
        let seats = self.gather(&mut requests);
        // A lone caller needs no clock.
        let began = (!seats.is_empty()).then(Instant::now);
        let mut answers = commit(&mut *core, &requests);
        let took_long = began.is_some_and(|began| began.elapsed() >= GATHER * WORTH);
        self.wants_upkeep.store(core.wants_upkeep(), Ordering::Relaxed);
        drop(core);
        let others = answers.drain(own.min(answers.len())..);
        let callers = seats.iter().map(|seat| seat.caller).chain([caller]);
        let answered = callers.filter(|caller| *caller == Caller::One).count();
        for (seat, answer) in seats.iter().zip(others) {
            seat.give(Turn::Done(answer));
        }
        // Nobody else waits for what is freed here; and who waits for this group to end, to close
        // the store, may count on it.
        drop(requests);
        self.hand_on(if took_long { answered } else { 0 });
        answers.resize_with(own, C::unanswered);
        answers
    }

    /// Adds what has queued to the leader's requests, up to the limits of a group.
    fn gather(&self, requests: &mut Group<C>) -> Vec<Arc<Seat<C>>> {
        let mut bytes: usize = requests.iter().map(C::bytes).sum();
        let mut seats = Vec::new();
        let mut queue = self.queue.lock();
        while requests.len() < GROUP_REQUESTS
            && let Some(next) = queue.waiting.front()
            && bytes + C::bytes(&next.request) <= GROUP_BYTES
            && let Some(Waiting { request, seat }) = queue.waiting.pop_front()
        {
            bytes += C::bytes(&request);
            requests.push(request);
            seats.push(seat);
        }
        seats
    }

    /// Gives the callers that were just answered a moment to come back, if there are more than the
    /// leader has requests of its own.
    fn await_returning(&self, own: usize) {
        let mut queue = self.queue.lock();
        let expected = std::mem::take(&mut queue.returning.expected);
        let queued = |queue: &Queue<C>| queue.waiting.len() + own;
        let before = queued(&queue);
        if before >= expected {
            return;
        }
        if let Some(skipped) = queue.returning.skipped.checked_sub(1) {
            queue.returning.skipped = skipped;
            return;
        }
        queue.wanted = expected - own;
        let until = queue.returning.until;
        while queued(&queue) < expected && !self.gathered.wait_until(&mut queue, until).timed_out()
        {
        }
        queue.wanted = usize::MAX;
        let has_come = queued(&queue) > before;
        let returning = &mut queue.returning;
        returning.missed = if has_come { 0 } else { (returning.missed + 1).min(MOST_MISSED) };
        returning.skipped = (1 << returning.missed) - 1;
    }

    fn wake_gatherer(&self, queue: &Queue<C>) {
        if queue.waiting.len() >= queue.wanted {
            self.gathered.notify_one();
        }
    }

    /// Makes the first that waits the leader, or nobody. So many callers were just answered that
    /// may come back and are worth a wait.
    fn hand_on(&self, answered: usize) {
        let mut queue = self.queue.lock();
        let expected = (answered + queue.waiting.len()).min(GROUP_REQUESTS);
        if answered > 0 && expected > 1 {
            queue.returning.expected = expected;
            queue.returning.until = Instant::now() + GATHER;
        }
        if let Some(Waiting { request, seat }) = queue.waiting.pop_front() {
            drop(queue);
            seat.give(Turn::Lead(request));
        } else {
            queue.is_led = false;
            self.idle.notify_all();
        }
    }
}

/// How many of some requests make one group: one at least.
#[cfg(feature = "async")]
fn group_of<R>(requests: &[R], bytes_of: impl Fn(&R) -> usize) -> usize {
    let mut bytes = 0_usize;
    let fits = |(before, request): &(usize, &R)| {
        bytes = bytes.saturating_add(bytes_of(request));
        *before == 0 || bytes <= GROUP_BYTES
    };
    requests.iter().take(GROUP_REQUESTS).enumerate().take_while(fits).count()
}

/// Commits, and turns a panic into poison: nobody may be left waiting, and nothing that is
/// half done may be built upon.
fn commit<C: Commits>(core: &mut C, group: &[C::Request]) -> Answers<C> {
    let answers = catch_unwind(AssertUnwindSafe(|| core.commit(group)));
    answers.unwrap_or_else(|_| core.panicked(group))
}

fn first_of<C: Commits>(answers: Answers<C>) -> C::Answer {
    answers.into_iter().next().unwrap_or_else(C::unanswered)
}

impl<C: Commits> std::fmt::Debug for Writer<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}
