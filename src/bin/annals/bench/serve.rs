//! A process that opens the filled store: what memory it takes, what reads and appends cost.

use std::path::Path;
use std::time::{Duration, Instant};

use annals::{Durability, ExpectedVersion, Position, Query, Result, Store};
use serde_json::json;

use super::load::{Events, id};
use super::machine::anonymous;
use super::parts::READY;
use super::report::Report;
use crate::failure::Failure;
use crate::output::Output;

/// Streams that are read, cold and then again.
const STREAMS: u64 = 10_000;
const APPENDS: u64 = 1_000;
/// Reads that go through much end after so many events.
const READ_AT_MOST: usize = 2_000_000;

pub(super) fn serve(path: &Path, load: &Events, output: &mut Output) -> Result<(), Failure> {
    let mut report = Report::new(output);
    let before = anonymous();
    let started = Instant::now();
    // The cost of look-ups is asked for below, and a sync would hide it.
    let store = Store::options().durability(Durability::Os).open(path)?;
    report.millis("open_cold_ms", started.elapsed())?;
    let more = || Some(anonymous()?.saturating_sub(before?));
    report.add("anonymous_open_bytes", json!(more()))?;
    for key in ["streams_cold_per_second", "streams_hot_per_second"] {
        let (read, spent) = read_streams(&store, load)?;
        report.rate(key, read, spent)?;
    }
    appends(&store, load, &mut report)?;
    reads(&store, &mut report)?;
    tags(&store, &mut report)?;
    report.add("anonymous_serving_bytes", json!(more()))?;
    store.close()?;
    report.finish()
}

fn read_streams(store: &Store, load: &Events) -> Result<(u64, Duration)> {
    let started = Instant::now();
    let mut read = 0;
    for n in 0..STREAMS {
        for event in store.read_stream(load.random_stream(n)) {
            event?;
        }
        read += 1;
        // Cold reads of a slow disk.
        if started.elapsed() > Duration::from_secs(30) {
            break;
        }
    }
    Ok((read, started.elapsed()))
}

/// Names and ids that are nowhere: all of the index has to say no.
fn appends(store: &Store, load: &Events, report: &mut Report<'_>) -> Result<(), Failure> {
    let head = store.head().0;
    let started = Instant::now();
    for n in 0..APPENDS {
        let stream = format!("Fresh-{head}-{n}");
        store.append(stream, ExpectedVersion::NoStream, [load.event(head + n)])?;
    }
    report.micros_each("new_stream_us", APPENDS, started.elapsed())?;
    let started = Instant::now();
    for n in 0..APPENDS {
        // Far behind the numbers that the load has given ids to.
        let event = load.event(head + n).id(id(u64::MAX - head - n));
        store.append(Events::stream(0), ExpectedVersion::Any, [event])?;
    }
    report.micros_each("new_id_us", APPENDS, started.elapsed())?;
    Ok(())
}

fn reads(store: &Store, report: &mut Report<'_>) -> Result<(), Failure> {
    let count = |read: annals::ReadAll| -> Result<(u64, Duration)> {
        let (started, mut events) = (Instant::now(), 0);
        for event in read.limit(READ_AT_MOST) {
            event?;
            events += 1;
        }
        Ok((events, started.elapsed()))
    };
    let (events, spent) = count(store.read_all().category(Events::category(1)))?;
    report.rate("category_per_second", events, spent)?;
    let (events, spent) = count(store.read_all().event_type(Events::event_type(1)))?;
    report.rate("type_per_second", events, spent)?;
    let mut following = store.subscribe().after(Position::START).start()?;
    let (started, mut events) = (Instant::now(), 0);
    while events < READ_AT_MOST as u64 && following.try_next()?.is_some() {
        events += 1;
    }
    report.rate("catch_up_per_second", events, started.elapsed())?;
    Ok(())
}

/// What a condition of a batch costs, the look-up alone: it is the same in a commit.
fn tags(store: &Store, report: &mut Report<'_>) -> Result<(), Failure> {
    let look_up = |query: &dyn Fn(u64) -> Query| -> Result<Duration> {
        let started = Instant::now();
        for n in 0..APPENDS {
            store.read(query(n)).backwards().limit(1).explain()?;
        }
        Ok(started.elapsed())
    };
    let spent = look_up(&|n| Query::new().tag(format!("unseen:{n}")))?;
    report.micros_each("unseen_tag_us", APPENDS, spent)?;
    let recent = Position(store.head().0.saturating_sub(100));
    let spent = look_up(&|n| Query::new().tag(format!("customer:{n}")).after(recent))?;
    report.micros_each("recent_tag_us", APPENDS, spent)?;
    Ok(())
}

/// Appends what a recovery has to read, says so, and goes on.
pub(super) fn append_until_killed(
    path: &Path,
    load: &Events,
    output: &mut Output,
) -> Result<(), Failure> {
    let store = Store::options().durability(load.durability()).open(path)?;
    let head = store.head().0;
    for n in head.. {
        store.append(load.random_stream(n), ExpectedVersion::Any, [load.event(n)])?;
        if n == head + APPENDS {
            output.line(READY)?;
            output.flush()?;
        }
    }
    Ok(())
}
