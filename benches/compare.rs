//! The store beside the least that a disk makes one do, in one run: a plain zero-filled file with
//! `pwrite` and `fdatasync`, a simple group commit over it, and a mapped scan. Alternating rounds,
//! medians, ratios with their spread. It prints a Markdown table, and asserts nothing.
//!
//! `cargo bench --bench compare`; with `-- --test` one tiny round of everything.

#![allow(
    missing_docs,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a program that measures, not a library"
)]

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use annals::{Durability, ExpectedVersion, NewEvent, Store};

/// What one event is: 264 bytes of payload, names and type, as in a typical application.
const PAYLOAD: usize = 234;
/// A raw record of the same event, with a header of its own.
const RAW_RECORD: usize = 324;

struct Scale {
    rounds: usize,
    durable: u64,
    relaxed: u64,
}

fn main() {
    let is_test = std::env::args().any(|arg| arg == "--test");
    let scale = if is_test {
        Scale { rounds: 1, durable: 20, relaxed: 200 }
    } else {
        Scale { rounds: 9, durable: 2_000, relaxed: 200_000 }
    };
    let base = std::env::var_os("ANNALS_BENCH_DIR").map(PathBuf::from);
    let base = base.unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    let dir = tempfile::tempdir_in(base).expect("a directory to bench in");
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "| work | raw | annals | ratio (median) | min to max |");
    let _ = writeln!(out, "|---|---|---|---|---|");
    for work in works(&scale) {
        let mut ratios = Vec::new();
        let (mut raws, mut ours) = (Vec::new(), Vec::new());
        for round in 0..scale.rounds {
            let path = dir.path().join(format!("{round}"));
            std::fs::create_dir_all(&path).expect("a directory");
            // The order alternates, so that a drift of the machine favours neither.
            let (raw, mine) = if round % 2 == 0 {
                let raw = (work.raw)(&path.join("raw"));
                (raw, (work.annals)(&path.join("annals")))
            } else {
                let mine = (work.annals)(&path.join("annals"));
                ((work.raw)(&path.join("raw")), mine)
            };
            let rate = |spent: Duration| work.events as f64 / spent.as_secs_f64();
            raws.push(rate(raw));
            ours.push(rate(mine));
            ratios.push(rate(mine) / rate(raw));
            std::fs::remove_dir_all(&path).expect("a directory of ours");
        }
        let (raw, mine, ratio) = (median(&mut raws), median(&mut ours), median(&mut ratios));
        let (low, high) = (ratios[0], ratios[ratios.len() - 1]);
        let _ = writeln!(
            out,
            "| {} | {raw:.0} /s | {mine:.0} /s | {ratio:.2} | {low:.2} to {high:.2} |",
            work.name
        );
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

type Run = Box<dyn Fn(&Path) -> Duration>;

struct Work {
    name: String,
    events: u64,
    raw: Run,
    annals: Run,
}

fn works(scale: &Scale) -> Vec<Work> {
    let (durable, relaxed) = (scale.durable, scale.relaxed);
    let work =
        |name: &str, events, raw: Run, annals: Run| Work { name: name.into(), events, raw, annals };
    let interval = Durability::Interval(Duration::from_millis(10));
    vec![
        work(
            "durable append, 1 thread, 1 event per commit",
            durable,
            Box::new(move |path| raw_durable(path, 1, durable, 1)),
            Box::new(move |path| append(path, Durability::Sync, 1, durable, 1)),
        ),
        work(
            "durable append, 16 threads, 1 event per commit",
            durable * 8,
            Box::new(move |path| raw_durable(path, 16, durable * 8, 1)),
            Box::new(move |path| append(path, Durability::Sync, 16, durable * 8, 1)),
        ),
        work(
            "durable append, 100 events per commit",
            durable * 50,
            Box::new(move |path| raw_durable(path, 1, durable / 2, 100)),
            Box::new(move |path| append(path, Durability::Sync, 1, durable / 2, 100)),
        ),
        work(
            "relaxed append, a write call each (Os)",
            relaxed,
            Box::new(move |path| raw_relaxed(path, relaxed)),
            Box::new(move |path| append(path, Durability::Os, 1, relaxed, 1)),
        ),
        work(
            "relaxed append, buffered (Interval), raw: a write call each",
            relaxed,
            Box::new(move |path| raw_relaxed(path, relaxed)),
            Box::new(move |path| append(path, interval, 1, relaxed, 1)),
        ),
        work(
            "scan everything, checked",
            relaxed,
            Box::new(move |path| raw_scan(path, relaxed)),
            Box::new(move |path| scan(path, relaxed)),
        ),
        work(
            "read random streams of 10, raw: 10 checked reads of a map",
            relaxed,
            Box::new(move |path| raw_random(path, relaxed)),
            Box::new(move |path| random_streams(path, relaxed)),
        ),
    ]
}

fn event() -> NewEvent {
    NewEvent::new("OrderPlaced", vec![b'x'; PAYLOAD])
}

fn open(path: &Path, durability: Durability) -> Store {
    let options = Store::options().durability(durability);
    let store = options.open(path).expect("a store");
    // Past the small first segments, as a store in use is.
    for _ in 0..100 {
        store.append("Warm-1", ExpectedVersion::Any, [event()]).expect("an append");
    }
    store
}

fn append(path: &Path, durability: Durability, threads: u64, commits: u64, batch: u64) -> Duration {
    let store = open(path, durability);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let store = store.clone();
            scope.spawn(move || {
                for n in (thread..commits).step_by(usize::try_from(threads).unwrap_or(1)) {
                    let stream = format!("Order-{:08}", n % 10_000);
                    let events = (0..batch).map(|_| event());
                    store.append(&stream, ExpectedVersion::Any, events).expect("an append");
                }
            });
        }
    });
    let spent = started.elapsed();
    store.close().expect("a clean close");
    spent
}

fn filled(path: &Path, events: u64) -> Store {
    let store = Store::options().durability(Durability::Os).open(path).expect("a store");
    let streams = (events / 10).max(1);
    for n in 0..events {
        let stream = format!("Order-{:08}", n * 7919 % streams);
        store.append(&stream, ExpectedVersion::Any, [event()]).expect("an append");
    }
    store.close().expect("a clean close");
    Store::open(path).expect("a store")
}

fn scan(path: &Path, events: u64) -> Duration {
    let store = filled(path, events);
    let count = || store.read_all().into_iter().flatten().count();
    count();
    let started = Instant::now();
    assert_eq!(count() as u64, events);
    started.elapsed()
}

fn random_streams(path: &Path, events: u64) -> Duration {
    let store = filled(path, events);
    let streams = (events / 10).max(1);
    let read = || {
        for n in 0..streams {
            let name = format!("Order-{:08}", n * 104_729 % streams);
            let found = store.read_stream(&name).into_iter().flatten().count();
            assert!(found > 0);
        }
    };
    read();
    let started = Instant::now();
    read();
    started.elapsed()
}

/// A file of zeros, long enough, synced.
fn zeros(path: &Path, bytes: u64) -> File {
    let options = File::options().read(true).write(true).create_new(true).open(path);
    let file = options.expect("a file");
    let piece = vec![0; 1 << 20];
    for n in 0..bytes.div_ceil(1 << 20) {
        file.write_all_at(&piece, n << 20).expect("a write");
    }
    file.sync_all().expect("a sync");
    file
}

/// A simple group commit: the first that comes writes for all that have queued.
fn raw_durable(path: &Path, threads: u64, commits: u64, batch: u64) -> Duration {
    let record = vec![b'x'; RAW_RECORD * usize::try_from(batch).unwrap_or(1)];
    let file = zeros(path, commits * record.len() as u64 + (1 << 20));
    if threads == 1 {
        let started = Instant::now();
        for n in 0..commits {
            file.write_all_at(&record, n * record.len() as u64).expect("a write");
            file.sync_data().expect("a sync");
        }
        return started.elapsed();
    }
    let group = Arc::new(RawGroup::default());
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..commits / threads {
                    group.commit(&file, &record);
                }
            });
        }
    });
    started.elapsed()
}

#[derive(Default)]
struct RawGroup {
    state: Mutex<RawState>,
    done: Condvar,
}

#[derive(Default)]
struct RawState {
    buffer: Vec<u8>,
    offset: u64,
    /// Groups begun and groups durable.
    filling: u64,
    durable: u64,
    is_led: bool,
}

impl RawGroup {
    fn commit(&self, file: &File, record: &[u8]) {
        let mut state = self.state.lock().expect("no panic");
        state.buffer.extend_from_slice(record);
        let mine = state.filling;
        while state.durable <= mine {
            if state.is_led {
                state = self.done.wait(state).expect("no panic");
                continue;
            }
            state.is_led = true;
            let buffer = std::mem::take(&mut state.buffer);
            let offset = state.offset;
            state.offset += buffer.len() as u64;
            state.filling += 1;
            drop(state);
            file.write_all_at(&buffer, offset).expect("a write");
            file.sync_data().expect("a sync");
            state = self.state.lock().expect("no panic");
            state.durable += 1;
            state.is_led = false;
            self.done.notify_all();
        }
    }
}

fn raw_relaxed(path: &Path, commits: u64) -> Duration {
    let record = vec![b'x'; RAW_RECORD];
    let file = zeros(path, commits * RAW_RECORD as u64);
    let started = Instant::now();
    for n in 0..commits {
        file.write_all_at(&record, n * RAW_RECORD as u64).expect("a write");
    }
    started.elapsed()
}

fn raw_file(path: &Path, events: u64) -> memmap2::Mmap {
    let mut record = vec![b'x'; RAW_RECORD];
    let crc = crc32fast::hash(&record[4..]);
    record[..4].copy_from_slice(&crc.to_le_bytes());
    let mut file = File::options().read(true).write(true).create_new(true).open(path);
    let file = file.as_mut().expect("a file");
    for _ in 0..events {
        file.write_all(&record).expect("a write");
    }
    file.sync_all().expect("a sync");
    map(file)
}

#[expect(unsafe_code, reason = "the file is this bench's own, and nobody changes it")]
fn map(file: &File) -> memmap2::Mmap {
    // SAFETY: the file lies in a directory that was made for this run.
    unsafe { memmap2::Mmap::map(file) }.expect("a map")
}

fn check(map: &[u8], index: usize) -> bool {
    let record = &map[index * RAW_RECORD..(index + 1) * RAW_RECORD];
    let stored = u32::from_le_bytes([record[0], record[1], record[2], record[3]]);
    crc32fast::hash(&record[4..]) == stored
}

fn raw_scan(path: &Path, events: u64) -> Duration {
    let map = raw_file(path, events);
    let events = usize::try_from(events).unwrap_or(0);
    let scan = || (0..events).filter(|index| check(&map, *index)).count();
    scan();
    let started = Instant::now();
    assert_eq!(scan(), events);
    started.elapsed()
}

fn raw_random(path: &Path, events: u64) -> Duration {
    let map = raw_file(path, events);
    let events = usize::try_from(events).unwrap_or(0);
    let read = || (0..events).filter(|n| check(&map, n * 7919 % events)).count();
    read();
    let started = Instant::now();
    assert_eq!(read(), events);
    started.elapsed()
}
