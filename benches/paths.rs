//! Criterion benches of the store's own paths: append by size, batch, threads and durability;
//! stream read, scan, open. `docs/benchmarks.md` says how to read them.
//!
//! `ANNALS_BENCH_DIR` chooses the disk; a tmpfs hides what a sync costs.

#![allow(missing_docs, reason = "criterion's macros make items without docs")]

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use annals::{Durability, ExpectedVersion, NewEvent, Store};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;

const STREAMS: u64 = 1_000;

fn bench_dir() -> TempDir {
    let base = std::env::var_os("ANNALS_BENCH_DIR").map(PathBuf::from);
    let made = match base {
        Some(base) => tempfile::tempdir_in(base),
        None => tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")),
    };
    made.expect("a directory to bench in")
}

fn event(bytes: usize) -> NewEvent {
    NewEvent::new("Benched", vec![b'x'; bytes])
}

fn filled(dir: &TempDir, events: u64) -> Store {
    let store =
        Store::options().durability(Durability::Os).open(dir.path().join("s")).expect("a store");
    for n in 0..events {
        let stream = format!("Bench-{}", n % STREAMS);
        store.append(&stream, ExpectedVersion::Any, [event(240)]).expect("an append");
    }
    store.sync().expect("a sync");
    store
}

/// `threads` threads append `n` times in all.
fn append_from(store: &Store, threads: u64, n: u64, batch: usize, bytes: usize) -> Duration {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let store = store.clone();
            scope.spawn(move || {
                for n in (thread..n).step_by(usize::try_from(threads).unwrap_or(1)) {
                    let stream = format!("Bench-{}", n % STREAMS);
                    let events = (0..batch).map(|_| event(bytes));
                    store.append(&stream, ExpectedVersion::Any, events).expect("an append");
                }
            });
        }
    });
    started.elapsed()
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    let modes = [
        ("sync", Durability::Sync),
        ("os", Durability::Os),
        ("interval", Durability::Interval(Duration::from_millis(10))),
    ];
    for (mode, durability) in modes {
        for (threads, batch, bytes) in [(1, 1, 240), (16, 1, 240), (1, 100, 240), (1, 1, 4096)] {
            let dir = bench_dir();
            let options = Store::options().durability(durability);
            let store = options.open(dir.path().join("s")).expect("a store");
            let name = BenchmarkId::new(mode, format!("{threads} threads, {batch} x {bytes} B"));
            group.throughput(Throughput::Elements(batch as u64));
            group.bench_function(name, |b| {
                b.iter_custom(|n| append_from(&store, threads, n, batch, bytes));
            });
        }
    }
    group.finish();
}

fn read(c: &mut Criterion) {
    let events = 100_000;
    let dir = bench_dir();
    let store = filled(&dir, events);
    let mut group = c.benchmark_group("read");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    group.throughput(Throughput::Elements(events));
    group.bench_function("scan", |b| {
        b.iter(|| {
            store.read_all().into_iter().map(|e| e.expect("an event").data().len()).sum::<usize>()
        });
    });
    let mut next = 0_u64;
    group.throughput(Throughput::Elements(events / STREAMS));
    group.bench_function("stream of 100", |b| {
        b.iter(|| {
            next = (next + 7919) % STREAMS;
            let read = store.read_stream(format!("Bench-{next}"));
            read.into_iter().map(|e| black_box(e.expect("an event")).data().len()).sum::<usize>()
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("newest event of a stream", |b| {
        b.iter(|| {
            next = (next + 7919) % STREAMS;
            let read = store.read_stream(format!("Bench-{next}")).backwards().limit(1);
            read.into_iter().map(|e| black_box(e.expect("an event")).data().len()).sum::<usize>()
        });
    });
    group.bench_function("event by position", |b| {
        b.iter(|| {
            next = (next + 7919) % events;
            store.event(annals::Position(next + 1)).expect("a read").expect("an event")
        });
    });
    group.finish();
}

fn open(c: &mut Criterion) {
    let dir = bench_dir();
    filled(&dir, 100_000).close().expect("a clean close");
    let mut group = c.benchmark_group("open");
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    group.bench_function("clean, 100,000 events", |b| {
        b.iter_custom(|n| {
            let mut spent = Duration::ZERO;
            for _ in 0..n {
                let started = Instant::now();
                let store = Store::open(dir.path().join("s")).expect("a store");
                spent += started.elapsed();
                store.close().expect("a clean close");
            }
            spent
        });
    });
    group.finish();
}

criterion_group!(benches, append, read, open);
criterion_main!(benches);
