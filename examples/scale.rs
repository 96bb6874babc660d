//! A store of a given size: how fast it fills, what it takes, how fast it opens.
//!
//! `scale DIR EVENTS STREAMS [ids] [tags]` fills a new store in `Durability::Os` (with ids of the
//! caller where `ids` is said, with a tag where `tags` is), closes it, and reports bytes per event
//! and memory. `scale open DIR` opens it and reports the time, memory, and what reads and queries
//! cost; `scale kill DIR N` appends and dies. Linux only, for the memory figures. Without arguments
//! it makes a small store in a directory that is removed again.

#![allow(clippy::cast_precision_loss, reason = "rates for people")]

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use annals::{Durability, EventId, ExpectedVersion, NewEvent, Position, Query, Store};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => {
            let dir = tempfile::tempdir()?;
            fill(&dir.path().join("store"), 20_000, 2_000, true, true)?;
            open(&dir.path().join("store"))
        }
        ["open", dir] => open(Path::new(dir)),
        ["kill", dir, events] => append_and_die(Path::new(dir), events.parse()?),
        [dir, events, streams, rest @ ..] => {
            let (ids, tags) = (rest.contains(&"ids"), rest.contains(&"tags"));
            fill(Path::new(dir), events.parse()?, streams.parse()?, ids, tags)
        }
        _ => {
            Err("usage: scale DIR EVENTS STREAMS [ids] [tags] | scale open DIR | scale kill DIR N"
                .into())
        }
    }
}

/// 264 bytes of payload, names and type.
fn event(n: u64, with_id: bool, with_tag: bool) -> NewEvent {
    let mut event = NewEvent::new("OrderPlaced", vec![b'x'; 238]);
    if with_tag {
        event = event.tag(format!("customer:{}", n % (1 + n / 10)));
    }
    if !with_id {
        return event;
    }
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&mixed.to_le_bytes());
    id[8..].copy_from_slice(&mixed.rotate_left(32).to_le_bytes());
    id[6] = 0x40 | (id[6] & 0x0f);
    event.id(EventId::from_bytes(id))
}

/// A permutation, so that every stream grows at its own pace.
fn stream_of(n: u64, streams: u64) -> String {
    format!("Order-{:09}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % streams)
}

fn fill(
    dir: &Path,
    events: u64,
    streams: u64,
    with_ids: bool,
    with_tags: bool,
) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let store = Store::options().durability(Durability::Os).open(dir)?;
    let started = Instant::now();
    for n in 0..events {
        store.append(
            stream_of(n, streams),
            ExpectedVersion::Any,
            [event(n, with_ids, with_tags)],
        )?;
    }
    let spent = started.elapsed();
    writeln!(out, "filled: {:.0} events/s", events as f64 / spent.as_secs_f64())?;
    let started = Instant::now();
    store.close()?;
    writeln!(out, "close: {:.1} ms", started.elapsed().as_secs_f64() * 1e3)?;
    drop(store);
    let store = Store::open_read_only(dir)?;
    let info = store.info()?;
    let per_event = |bytes: u64| bytes as f64 / events as f64;
    writeln!(
        out,
        "bytes per event: {:.1} log + {:.1} indexes = {:.1} ({} segments)",
        per_event(info.log_bytes),
        per_event(info.index_bytes),
        per_event(info.log_bytes + info.index_bytes),
        info.segments
    )?;
    Ok(())
}

/// Opens, and says how long that took, what is resident, and how fast streams are read.
fn open(dir: &Path) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let started = Instant::now();
    let store = Store::open(dir)?;
    let spent = started.elapsed();
    writeln!(out, "open: {:.2} ms, {:?}", spent.as_secs_f64() * 1e3, store.recovery())?;
    writeln!(out, "memory after open: {}", memory()?)?;
    let head = store.head().0;
    let started = Instant::now();
    let mut read = 0_u64;
    const STREAMS: u64 = 10_000;
    for n in 0..STREAMS {
        let position = Position(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % head + 1);
        let Some(event) = store.event(position)? else { continue };
        read += store.read_stream(event.stream()).into_iter().flatten().count() as u64;
    }
    let spent = started.elapsed().as_secs_f64();
    writeln!(out, "random streams: {:.0} /s ({read} events)", STREAMS as f64 / spent)?;
    let started = Instant::now();
    for n in 0..1000 {
        let name = format!("New-{head}-{n}");
        store.append(name, ExpectedVersion::NoStream, [event(head + n, true, false)])?;
    }
    let spent = started.elapsed().as_secs_f64() / 1000.0;
    writeln!(out, "new stream and new id, durable: {:.0} us each", spent * 1e6)?;
    queries(&store)?;
    writeln!(out, "memory serving: {}", memory()?)?;
    let started = Instant::now();
    store.close()?;
    writeln!(out, "close: {:.1} ms", started.elapsed().as_secs_f64() * 1e3)?;
    Ok(())
}

/// What conditions and filtered reads cost, the look-up alone: it is the same in a commit.
fn queries(store: &Store) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let head = store.head().0;
    let micros =
        |started: Instant, times: u64| started.elapsed().as_secs_f64() * 1e6 / times as f64;
    let started = Instant::now();
    for n in 0..1000 {
        let unseen = Query::new().event_type("OrderPlaced").tag(format!("unseen:{n}"));
        store.read(unseen).backwards().limit(1).explain()?;
    }
    writeln!(out, "unseen tag, no `after`: {:.1} us each", micros(started, 1000))?;
    let started = Instant::now();
    for n in 0..1000 {
        let recent = Query::new().tag(format!("customer:{n}")).after(Position(head - 100));
        store.read(recent).backwards().limit(1).explain()?;
    }
    writeln!(out, "a tag behind a recent position: {:.1} us each", micros(started, 1000))?;
    let (started, mut found) = (Instant::now(), 0);
    for n in 0..1000 {
        found += store.read_all().tag(format!("customer:{n}")).into_iter().flatten().count();
    }
    writeln!(
        out,
        "events of a tag: {:.1} us each ({found})",
        micros(started, found.max(1) as u64)
    )?;
    let (started, mut found) = (Instant::now(), 0_u64);
    for event in store.read_all().event_type("OrderPlaced").limit(200_000) {
        event?;
        found += 1;
    }
    writeln!(out, "events of a type: {:.2} us each ({found})", micros(started, found.max(1)))?;
    Ok(())
}

/// Appends durably and ends the process without a close.
fn append_and_die(dir: &Path, events: u64) -> Result<(), Failure> {
    let store = Store::options().durability(Durability::Os).open(dir)?;
    let head = store.head().0;
    for n in head..head + events {
        store.append(stream_of(n, 100_000), ExpectedVersion::Any, [event(n, true, false)])?;
    }
    std::process::abort();
}

fn memory() -> Result<String, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let lines =
        status.lines().filter(|line| line.starts_with("RssAnon") || line.starts_with("VmHWM"));
    Ok(lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join(", "))
}
