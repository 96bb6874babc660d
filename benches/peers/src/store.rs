//! The one trait that every store is measured through, and the works that are measured.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Result;
use crate::workload::{Event, Tally};

/// When an append answers. What a store has instead is said in its notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// When it would survive a power cut.
    Sync,
    /// When it would survive the end of the process.
    Os,
    /// At once; what it holds goes to the disk within moments.
    Interval,
}

/// In `Interval`, what "within moments" is for the stores that can be told.
pub const INTERVAL: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub mode: Mode,
    /// So many events will come at most: for those that lay out their file beforehand.
    pub events: u64,
}

/// An open store. All of its methods may be called from several threads.
pub trait Store: Send + Sync {
    /// Appends a commit: all of it or nothing, each event the next of its stream.
    fn append(&self, events: &[Event<'_>]) -> Result<()>;

    /// The events of a stream, oldest first.
    fn read_stream(&self, _stream: &str, _tally: &mut Tally) -> Result<()> {
        not_offered()
    }

    /// Every event, in the order of commits.
    fn scan(&self, _tally: &mut Tally) -> Result<()> {
        not_offered()
    }

    fn read_category(&self, _category: &str, _tally: &mut Tally) -> Result<()> {
        not_offered()
    }

    fn read_type(&self, _event_type: &str, _tally: &mut Tally) -> Result<()> {
        not_offered()
    }

    /// Appends single events from one thread, with so many in flight, until there are no more; says
    /// how many were acknowledged.
    fn pipeline<'a>(
        &self,
        _events: &mut dyn Iterator<Item = Event<'a>>,
        _in_flight: usize,
    ) -> Result<u64> {
        not_offered()
    }

    /// Appends an event with a tag, if no event has that tag.
    fn append_if_unseen(&self, _event: Event<'_>, _tag: &str) -> Result<()> {
        not_offered()
    }

    /// Begins to follow what is appended from now on.
    fn follow(&self) -> Result<Box<dyn Follow>> {
        not_offered()
    }

    fn close(self: Box<Self>) -> Result<()>;
}

pub trait Follow: Send {
    /// Waits for events, and notes when each was here.
    fn wait(&mut self, seen: &mut Vec<Instant>) -> Result<()>;
}

/// What a read says that a store does not have.
pub const NOT_OFFERED: &str = "not offered";

fn not_offered<T>() -> Result<T> {
    Err(NOT_OFFERED.into())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    Durable1,
    Durable16,
    Durable100,
    Pipeline,
    Os,
    Interval,
    Conditional,
    Streams,
    Scan,
    Category,
    Type,
    OpenClean,
    OpenKilled,
    BytesUsed,
    BytesTaken,
    MemoryOpen,
    MemoryServing,
    Follow,
}

use Work::{
    BytesTaken, BytesUsed, Category, Conditional, Durable1, Durable16, Durable100, Interval,
    MemoryOpen, MemoryServing, OpenClean, OpenKilled, Os, Pipeline, Scan, Streams, Type,
};

impl Work {
    pub const ALL: [Self; 18] = [
        Durable1,
        Durable16,
        Durable100,
        Pipeline,
        Os,
        Interval,
        Conditional,
        Streams,
        Scan,
        Category,
        Type,
        OpenClean,
        OpenKilled,
        BytesUsed,
        BytesTaken,
        MemoryOpen,
        MemoryServing,
        Self::Follow,
    ];

    /// A short name, for the command line and for names of files.
    pub const fn key(self) -> &'static str {
        match self {
            Durable1 => "durable-1",
            Durable16 => "durable-16",
            Durable100 => "durable-100",
            Pipeline => "pipeline",
            Os => "os",
            Interval => "interval",
            Conditional => "conditional",
            Streams => "streams",
            Scan => "scan",
            Category => "category",
            Type => "type",
            OpenClean => "open-clean",
            OpenKilled => "open-killed",
            BytesUsed => "bytes-used",
            BytesTaken => "bytes-taken",
            MemoryOpen => "memory-open",
            MemoryServing => "memory-serving",
            Self::Follow => "follow",
        }
    }

    pub const fn title(self) -> &'static str {
        match self {
            Durable1 => "durable append, 1 thread, 1 event per commit",
            Durable16 => "durable append, 16 threads, 1 event per commit",
            Durable100 => "durable append, 1 thread, 100 events per commit",
            Pipeline => "durable append, 1 thread, 1,024 single events in flight",
            Os => "relaxed append, 1 event per commit, each handed to the system",
            Interval => "relaxed append, 1 event per commit, buffered",
            Conditional => "durable append, 1 thread, if no event has its tag",
            Streams => "read random streams of about 10 events",
            Scan => "scan everything",
            Category => "read a category (an eighth of all)",
            Type => "read a type (an eighth of all)",
            OpenClean => "open after a close, and read a stream",
            OpenKilled => "open after a kill, and read a stream",
            BytesUsed => "bytes per event on disk, without the zeros that files end with",
            BytesTaken => "bytes per event on disk, all blocks that are taken",
            MemoryOpen => "anonymous memory, open",
            MemoryServing => "anonymous memory, serving reads and appends",
            Self::Follow => "append has returned -> subscriber has it, p50",
        }
    }

    /// What a value is, and whether more of it is better.
    pub const fn unit(self) -> (&'static str, bool) {
        match self {
            Streams => ("streams/s", true),
            OpenClean | OpenKilled => ("ms", false),
            BytesUsed | BytesTaken => ("B", false),
            MemoryOpen | MemoryServing => ("MiB", false),
            Self::Follow => ("us", false),
            _ => ("events/s", true),
        }
    }

    /// Whether it is done on a store that was filled beforehand.
    pub const fn needs_filled(self) -> bool {
        !matches!(
            self,
            Durable1
                | Durable16
                | Durable100
                | Pipeline
                | Os
                | Interval
                | Conditional
                | Self::Follow
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What the disk and the processor allow.
    Limit,
    EventStore,
    /// A database or a log, with what an event store needs built on it here.
    Other,
}

/// A store that can be measured, and what has to be said about it.
pub struct Peer {
    pub name: &'static str,
    /// Its package in `Cargo.lock`; where there is none, who says its version.
    pub version: Version,
    pub kind: Kind,
    pub open: fn(&Path, Setup) -> Result<Box<dyn Store>>,
    /// What it does not have, and why.
    pub lacks: &'static [(&'static [Work], &'static str)],
    /// Where it gives less or more than the others.
    pub notes: &'static [&'static str],
    /// Ends what a killed process of it has left running.
    pub after_kill: fn(&Path),
}

pub enum Version {
    Package(&'static str),
    Program(fn() -> String),
}

impl Peer {
    pub fn can(&self, work: Work) -> bool {
        !self.lacks.iter().any(|(works, _)| works.contains(&work))
    }
}
