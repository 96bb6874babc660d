//! The limit: a file of zeros, records appended to it, a map of it to read. No names are looked up
//! in an index, no order is numbered, nothing is checked but checksums.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use memmap2::Mmap;

use super::none_running;
use super::raw_group::{Group, Way};
use super::record;
use crate::Result;
use crate::store::{Follow, Kind, Mode, Peer, Setup, Store, Version, Work};
use crate::workload::{Event, PAYLOAD, Tally};

const ALL_BUT_DURABLE: &[Work] = &[
    Work::Pipeline,
    Work::Os,
    Work::Interval,
    Work::Conditional,
    Work::Streams,
    Work::Scan,
    Work::Category,
    Work::Type,
    Work::OpenClean,
    Work::OpenKilled,
    Work::BytesUsed,
    Work::BytesTaken,
    Work::MemoryOpen,
    Work::MemoryServing,
    Work::Follow,
];

pub static PLAIN: Peer = Peer {
    name: "raw",
    version: Version::Program(no_version),
    kind: Kind::Limit,
    open: |dir, setup| open(dir, setup, Way::Buffered),
    lacks: &[(
        &[
            Work::Pipeline,
            Work::Conditional,
            Work::Category,
            Work::Type,
            Work::MemoryOpen,
            Work::MemoryServing,
        ],
        "has no index",
    )],
    notes: &[
        "a limit and no competitor: no order, no versions, no index; it knows where the events of \
         a stream are, and opening it is a scan of everything",
        "buffered: writes of 64 KiB, and no sync at all",
    ],
    after_kill: none_running,
};

pub static GATHERING: Peer = Peer {
    name: "raw-gathering",
    version: Version::Program(no_version),
    kind: Kind::Limit,
    open: |dir, setup| open(dir, setup, Way::Gathering),
    lacks: &[(ALL_BUT_DURABLE, "differs from raw in durable appends only")],
    notes: &["the leader waits up to 50 us for the callers that were acknowledged just before"],
    after_kill: none_running,
};

pub static DIRECT: Peer = Peer {
    name: "raw-direct",
    version: Version::Program(no_version),
    kind: Kind::Limit,
    open: |dir, setup| open(dir, setup, Way::Direct),
    lacks: &[(ALL_BUT_DURABLE, "differs from raw in durable appends only")],
    notes: &["O_DIRECT | O_DSYNC, in blocks of 4 KiB"],
    after_kill: none_running,
};

fn no_version() -> String {
    "of this program".into()
}

/// What is buffered in `Interval`.
const BUFFER: usize = 64 << 10;
const PIECE: usize = 1 << 20;

struct Raw {
    file: File,
    map: Mmap,
    /// Where each stream's records are, by the number in its name.
    places: Vec<Vec<u64>>,
    end: u64,
    mode: Mode,
    group: Group,
    buffer: Mutex<Vec<u8>>,
    shown: Arc<Shown>,
}

/// What followers wait for.
#[derive(Default)]
struct Shown {
    is_followed: AtomicBool,
    events: Mutex<u64>,
    more: Condvar,
}

fn open(dir: &Path, setup: Setup, way: Way) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join("log");
    let record = (record::HEADER + 15 + 11 + PAYLOAD) as u64;
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
    let map = map(&file)?;
    let (places, end) = find(&map)?;
    fill(&file, end, end + (setup.events + 1000) * record)?;
    let direct = libc::O_DIRECT | libc::O_DSYNC;
    let file = match way {
        Way::Direct => File::options().write(true).custom_flags(direct).open(&path)?,
        Way::Buffered | Way::Gathering => file,
    };
    let at = usize::try_from(end)?;
    let group = Group::new(way, end, map.get(at / 4096 * 4096..at).unwrap_or_default());
    let (mode, buffer) = (setup.mode, Mutex::default());
    Ok(Box::new(Raw { file, map, places, end, mode, group, buffer, shown: Arc::default() }))
}

/// Writes zeros, as a log does that lays out its space before it uses it.
fn fill(file: &File, from: u64, to: u64) -> Result<()> {
    let mut at = file.metadata()?.len().max(from);
    let zeros = vec![0; PIECE];
    while at < to {
        file.write_all_at(&zeros, at)?;
        at += PIECE as u64;
    }
    file.sync_all()?;
    Ok(())
}

#[expect(unsafe_code, reason = "the file is this program's own")]
fn map(file: &File) -> Result<Mmap> {
    // SAFETY: the file lies in a directory that was made for this run.
    Ok(unsafe { Mmap::map(file) }?)
}

fn find(map: &[u8]) -> Result<(Vec<Vec<u64>>, u64)> {
    let (mut places, mut at) = (Vec::new(), 0);
    while let Some(found) = record::decode(&map[at..])? {
        let stream = number_of(found.stream);
        if places.len() <= stream {
            places.resize(stream + 1, Vec::new());
        }
        places[stream].push(at as u64);
        at += found.length;
    }
    Ok((places, at as u64))
}

/// The number that the name of a stream ends with.
fn number_of(stream: &[u8]) -> usize {
    let digits = stream.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let digits = &stream[stream.len() - digits..];
    digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

impl Store for Raw {
    fn append(&self, events: &[Event<'_>]) -> Result<()> {
        let mut bytes = Vec::with_capacity(events.len() * 384);
        for event in events {
            record::encode(&mut bytes, event, 0, 0);
        }
        match self.mode {
            Mode::Sync => self.group.commit(&self.file, &bytes)?,
            Mode::Os => self.group.write_only(&self.file, &bytes)?,
            Mode::Interval => {
                let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
                buffer.extend_from_slice(&bytes);
                if buffer.len() >= BUFFER {
                    self.group.write_only(&self.file, &buffer)?;
                    buffer.clear();
                }
            }
        }
        if self.shown.is_followed.load(Ordering::Relaxed) {
            let mut shown = self.shown.events.lock().unwrap_or_else(PoisonError::into_inner);
            *shown += events.len() as u64;
            drop(shown);
            self.shown.more.notify_all();
        }
        Ok(())
    }

    fn read_stream(&self, stream: &str, tally: &mut Tally) -> Result<()> {
        let number = number_of(stream.as_bytes());
        for place in self.places.get(number).into_iter().flatten() {
            let found = record::decode(&self.map[usize::try_from(*place)?..])?;
            found.ok_or("a record that was there is gone")?.tell(tally)?;
        }
        Ok(())
    }

    fn scan(&self, tally: &mut Tally) -> Result<()> {
        let (mut at, end) = (0, usize::try_from(self.end)?);
        while at < end {
            let found =
                record::decode(&self.map[at..])?.ok_or("a record that was there is gone")?;
            found.tell(tally)?;
            at += found.length;
        }
        Ok(())
    }

    fn follow(&self) -> Result<Box<dyn Follow>> {
        self.shown.is_followed.store(true, Ordering::Relaxed);
        Ok(Box::new(Following { shown: Arc::clone(&self.shown), seen: 0 }))
    }

    fn close(self: Box<Self>) -> Result<()> {
        let buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        self.group.write_only(&self.file, &buffer)?;
        self.file.sync_all()?;
        Ok(())
    }
}

struct Following {
    shown: Arc<Shown>,
    seen: u64,
}

impl Follow for Following {
    fn wait(&mut self, seen: &mut Vec<Instant>) -> Result<()> {
        let mut shown = self.shown.events.lock().unwrap_or_else(PoisonError::into_inner);
        while *shown == self.seen {
            shown = self.shown.more.wait(shown).unwrap_or_else(PoisonError::into_inner);
        }
        for _ in self.seen..*shown {
            seen.push(Instant::now());
        }
        self.seen = *shown;
        Ok(())
    }
}
