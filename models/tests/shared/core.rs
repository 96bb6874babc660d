//! A tiny core behind the shell: it numbers requests, and publishes as the store's core does, the
//! index first and then the marks.

use smallvec::smallvec;

use crate::error::Error;
use crate::position::Position;
use crate::shell::{Answers, Commits, Writer};
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering};
use crate::watermark::{Watermark, Woken};

/// What the model appends: something that goes well, or one of the ways in which it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Event,
    /// So large that no other one fits into its group.
    Large,
    /// Its group is written, and the sync fails.
    FailingSync,
    /// Its commit panics.
    Panic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Committed at a position.
    Done(u64),
    /// It may be there or not; the writer is stopped.
    Unknown,
    /// The writer was stopped before.
    Poisoned,
    Closed,
    Unanswered,
}

/// What readers look at.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) watermark: Watermark,
    /// The last position that the index has. Relaxed, as data is: the watermark orders it.
    pub(crate) indexed: AtomicU64,
}

pub(crate) struct Core {
    shared: Arc<Shared>,
    /// Requests that the "log" holds.
    pub(crate) written: u64,
    pub(crate) is_poisoned: bool,
    pub(crate) commits: u64,
}

impl Core {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, written: 0, is_poisoned: false, commits: 0 }
    }

    fn poison(&mut self) {
        self.is_poisoned = true;
        self.shared.watermark.end(Error::Poisoned);
    }
}

impl Commits for Core {
    type Request = Request;
    type Answer = Answer;

    fn bytes(request: &Request) -> usize {
        if *request == Request::Large { 1 << 20 } else { 1 }
    }

    fn commit(&mut self, group: &[Request]) -> Answers<Self> {
        assert!(!group.is_empty(), "a group without a request");
        let is_large = group.contains(&Request::Large);
        assert!(!is_large || group.len() == 1, "a large request shares its group");
        if self.is_poisoned {
            return smallvec![Answer::Poisoned; group.len()];
        }
        self.commits += 1;
        let first = self.written + 1;
        self.written += group.len() as u64;
        if group.contains(&Request::Panic) {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
        if group.contains(&Request::FailingSync) {
            self.poison();
            return smallvec![Answer::Unknown; group.len()];
        }
        self.shared.indexed.store(self.written, Ordering::Relaxed);
        self.shared.watermark.make_durable(Position(self.written));
        self.shared.watermark.show(Position(self.written));
        (first..=self.written).map(Answer::Done).collect()
    }

    fn panicked(&mut self, group: &[Request]) -> Answers<Self> {
        self.poison();
        smallvec![Answer::Unknown; group.len()]
    }

    fn unanswered() -> Answer {
        Answer::Unanswered
    }

    fn closed() -> Answer {
        Answer::Closed
    }

    fn wants_upkeep(&self) -> bool {
        self.commits > 0
    }
}

/// A store as far as the model goes.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Arc<Writer<Core>>,
}

impl Store {
    pub(crate) fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let writer = Arc::new(Writer::new(Core::new(Arc::clone(&shared))));
        Self { shared, writer }
    }

    /// Appends, and checks what every caller may rely on when it returns.
    pub(crate) fn append(&self, request: Request) -> Answer {
        let answer = self.writer.submit(request);
        match answer {
            Answer::Done(position) => {
                assert!(self.shared.watermark.visible().0 >= position, "woken before it is shown");
                self.look();
            }
            Answer::Closed => assert!(self.writer.is_closed()),
            Answer::Unknown | Answer::Poisoned => {}
            Answer::Unanswered => panic!("nobody answered"),
        }
        answer
    }

    /// Looks as a reader does: the watermark first. Returns what is visible.
    pub(crate) fn look(&self) -> u64 {
        let durable = self.shared.watermark.durable();
        let visible = self.shared.watermark.visible();
        assert!(durable <= visible, "durable before it is visible");
        let indexed = self.shared.indexed.load(Ordering::Relaxed);
        assert!(indexed >= visible.0, "the watermark shows what the index does not have");
        visible.0
    }

    /// Closes as the store does: nothing is taken any more, and then nothing moves.
    pub(crate) fn close(&self) -> bool {
        let is_first = self.writer.close();
        self.shared.watermark.end(Error::Closed);
        is_first
    }

    /// Follows as a subscription does until something ends it, or it was stopped, or it has seen
    /// up to a position. Returns what it has seen and what ended it.
    pub(crate) fn follow(&self, upto: u64, stopped: &AtomicBool) -> (u64, Option<Error>) {
        let mut seen = 0;
        while seen < upto {
            if stopped.load(Ordering::SeqCst) {
                return (seen, None);
            }
            let visible = self.look();
            assert!(visible >= seen, "the watermark went back");
            if visible > seen {
                seen = visible;
                continue;
            }
            let is_off = || stopped.load(Ordering::SeqCst);
            match self.shared.watermark.wait_behind(Position(seen), None, &is_off) {
                Woken::Moved => {}
                Woken::TimedOut => panic!("there is no deadline"),
                Woken::Ended(why) => return (seen, Some(why)),
            }
        }
        (seen, None)
    }

    /// What holds when all is over: every answered request is counted once.
    pub(crate) fn check(&self, answers: &[Answer]) {
        let core = self.writer.core();
        let mut done: Vec<u64> = answers
            .iter()
            .filter_map(
                |answer| if let Answer::Done(position) = answer { Some(*position) } else { None },
            )
            .collect();
        done.sort_unstable();
        let dense: Vec<u64> = (1..=done.len() as u64).collect();
        assert_eq!(done, dense, "positions are not dense");
        let unknown = answers.iter().filter(|answer| **answer == Answer::Unknown).count() as u64;
        assert_eq!(core.written, done.len() as u64 + unknown, "lost or taken twice");
        assert_eq!(self.shared.watermark.visible().0, done.len() as u64);
        assert_eq!(self.shared.watermark.durable().0, done.len() as u64);
        assert_eq!(core.is_poisoned, unknown > 0);
        assert_eq!(self.writer.wants_upkeep(), core.commits > 0);
    }
}
