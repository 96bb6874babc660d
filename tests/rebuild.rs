//! How fast a view is built from a long history, and what it takes in memory: printed, not asserted
//! but for a bound that does not depend on the history's length.
//!
//! `cargo test --release --all-features --test rebuild -- --ignored --nocapture`; `ANNALS_EVENTS=n`
//! for another length than a million.
#![cfg(feature = "json")]
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a test that prints rates")]

use std::time::Instant;

use annals::kit::{ApplyError, AsJson, Projected, Projection, Projector, ViewChanges};
use annals::{Durability, ExpectedVersion, NewEvent, Query, Store};

const STREAMS: u64 = 20_000;

/// Events per stream.
struct Counts;

impl Projection for Counts {
    type Key = String;
    type Value = u64;
    type Codec = AsJson;

    fn name(&self) -> &'static str {
        "counts"
    }

    fn query(&self) -> Query {
        Query::new().category("Load")
    }

    fn apply(
        &self,
        event: &Projected<'_>,
        view: &mut ViewChanges<String, u64, AsJson>,
    ) -> Result<(), ApplyError> {
        Ok(view.change(&event.stream().to_owned(), |count| Some(count.unwrap_or(0) + 1))?)
    }
}

/// Anonymous memory of this process in KiB, where the system says it.
fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

#[test]
#[ignore = "takes a while, and prints what it measures"]
fn a_view_over_a_million_events_is_rebuilt() {
    let events: u64 = std::env::var("ANNALS_EVENTS").map_or(1_000_000, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let store = Store::options().durability(Durability::Os).open(dir.path()).unwrap();
    for n in 0..events / 100 {
        let stream = format!("Load-{}", n * 7919 % STREAMS);
        let batch = (0..100).map(|_| NewEvent::new("Loaded", vec![b'x'; 200]));
        store.append(stream, ExpectedVersion::Any, batch).unwrap();
    }
    store.sync().unwrap();
    for threads in [1, 2] {
        let (began, before, mut most) = (Instant::now(), memory_kib(), 0);
        let builder = Projector::builder(&store, Counts).batch(4096).threads(threads);
        let projector = builder
            .rebuild(|progress| {
                most = most.max(memory_kib());
                if progress.position.0 % 200_000 < 4096 {
                    eprintln!("{} of {}", progress.position, progress.head);
                }
            })
            .unwrap();
        let took = began.elapsed();
        let info = projector.view().stored().info().unwrap();
        let counted: u64 = projector.view().entries().unwrap().map(|entry| entry.unwrap().1).sum();
        assert_eq!((counted, info.position), (events, store.head()));
        let rate = events as f64 / took.as_secs_f64();
        let grown = most.saturating_sub(before);
        eprintln!(
            "{threads} threads: {events} events into {} entries in {:.2} s, {rate:.0} a second; \
             memory grew by {grown} KiB",
            info.entries,
            took.as_secs_f64()
        );
        assert!(grown < 100 << 10, "{grown} KiB for {} entries", info.entries);
    }
}
