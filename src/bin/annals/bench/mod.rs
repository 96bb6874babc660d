//! `annals bench`: a store of a size of one's choice, from its first event to its removal.

mod fill;
mod load;
mod machine;
mod parts;
mod report;
mod serve;

use std::path::Path;
use std::time::Instant;

use annals::Store;
use annals::maintain;
use serde_json::json;
use tempfile::TempDir;

use crate::args::{Bench, BenchPart, Part};
use crate::failure::Failure;
use crate::output::Output;
use load::Events;
use report::Report;

/// Fills a store, and measures what it is like to use it then.
pub(crate) fn run(bench: &Bench, output: &mut Output) -> Result<(), Failure> {
    let events = bench.events.get();
    let streams = bench.streams.map_or(events / 10, u64::from).clamp(1, events);
    let made = tempfile::Builder::new().prefix("bench-").suffix(".annals").tempdir_in(&bench.dir);
    // Removed when this ends, also by an error.
    let made = made.map_err(|error| broken(&bench.dir, &error))?;
    output.say(format_args!("{}: {}", made.path().display(), machine::describe(made.path())))?;
    let mut report = Report::new(output);
    let load = Events::new(streams, &bench.load);
    fill::fill(made.path(), events, &load, &mut report)?;
    measure(made.path(), streams, bench, &mut report)?;
    report.add("events", json!(events))?;
    report.add("streams", json!(streams))?;
    report.finish()?;
    if bench.keep {
        let path = made.keep();
        output.note(format_args!("the store is kept: {}", path.display()));
        return Ok(());
    }
    remove(made)
}

fn measure(
    path: &Path,
    streams: u64,
    bench: &Bench,
    report: &mut Report<'_>,
) -> Result<(), Failure> {
    let is_dropped = machine::drop_cache(path);
    report.note(if is_dropped {
        "cold: the pages of its files were dropped from the cache (posix_fadvise)"
    } else {
        "cold: the cache could not be dropped here, so this is only a process of its own"
    });
    parts::serve(path, streams, &bench.load, report)?;
    // What was read last is in the cache again.
    let started = Instant::now();
    let store = Store::open(path)?;
    report.millis("open_clean_ms", started.elapsed())?;
    store.close()?;
    drop(store);
    parts::kill(path, streams, &bench.load)?;
    let started = Instant::now();
    let store = Store::open(path)?;
    report.millis("open_killed_ms", started.elapsed())?;
    store.close()?;
    drop(store);
    let started = Instant::now();
    let verified = maintain::verify(path).run()?;
    report.seconds("verify_s", started.elapsed())?;
    if verified.is_clean() {
        return Ok(());
    }
    let finding = verified.findings.first().map(ToString::to_string).unwrap_or_default();
    Err(Failure::Bench(format!("what was measured is damaged: {finding}")))
}

/// Is the process that the bench has started.
pub(crate) fn be_part(path: &Path, part: &BenchPart, output: &mut Output) -> Result<(), Failure> {
    let load = Events::new(part.streams, &part.load);
    match part.part {
        Part::Serve => serve::serve(path, &load, output),
        Part::Append => serve::append_until_killed(path, &load, output),
    }
}

fn remove(made: TempDir) -> Result<(), Failure> {
    let path = made.path().to_owned();
    made.close().map_err(|error| broken(&path, &error))
}

fn broken(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Bench(format!("{}: {error}", path.display()))
}
