//! `annals demo`: an order desk in a temporary store.
//!
//! Clerks work on the same orders at the same time, a projection follows live, a writer is killed
//! in mid-load and the store reopened, and in the end everything is read and checked. What happens
//! is the same in every run; the times, and how often clerks get in each other's way, are not.

mod checks;
mod clerks;
mod crash;
mod projection;
mod shop;

use std::path::Path;
use std::time::{Duration, Instant};

use annals::Store;
use serde_json::json;

use crate::failure::Failure;
use crate::output::{Output, grouped, rate};
use checks::Checks;

pub(crate) use crash::write_until_killed;

/// How often the writer is killed.
const KILLS: u32 = 3;

pub(crate) fn run(output: &mut Output) -> Result<(), Failure> {
    let start = Instant::now();
    let directory = tempfile::Builder::new()
        .prefix("annals-demo-")
        .tempdir()
        .map_err(|error| Failure::Demo(format!("no temporary directory: {error}")))?;
    let path = directory.path().join("desk.annals");
    let mut checks = Checks::default();

    output.say(format_args!("An order desk in {} (removed at the end)\n", path.display()))?;
    let desk = clerks::work(&path)?;
    desk.report(output, &mut checks)?;

    output.say(format_args!("\nA writer killed with SIGKILL in mid-load, {KILLS} times"))?;
    let mut acknowledged = Vec::new();
    for round in 1..=KILLS {
        let crash = crash::round(&path, &mut acknowledged)?;
        crash.report(round, output)?;
    }

    output.say("\nEverything read again")?;
    let read = verify(&path, &desk, &acknowledged, &mut checks)?;
    let elapsed = start.elapsed();
    if output.json() {
        output.line(json!({
            "events": read.events,
            "events_per_second": desk.events_per_second(),
            "conflicts_retried": desk.conflicts,
            "kills": KILLS,
            "acknowledged_before_kills": acknowledged.len(),
            "read_events_per_second": rate(read.events, read.elapsed),
            "seconds": elapsed.as_secs_f64(),
            "checks": checks.as_json(),
            "ok": checks.all_hold(),
        }))?;
    } else {
        checks.print(output)?;
        output.line(format_args!(
            "\n{} events read and checked, {} events/s; {:.1} s in all",
            grouped(read.events),
            grouped(rate(read.events, read.elapsed)),
            elapsed.as_secs_f64()
        ))?;
    }
    checks.result()
}

/// What reading everything took.
struct Read {
    events: u64,
    elapsed: Duration,
}

fn verify(
    path: &Path,
    desk: &clerks::Desk,
    acknowledged: &[crash::Acknowledged],
    checks: &mut Checks,
) -> Result<Read, Failure> {
    let store = Store::open(path)?;
    let start = Instant::now();
    let (rebuilt, events) = checks.dense(&store)?;
    let read = Read { events, elapsed: start.elapsed() };
    checks.add(
        "the projection that ran live equals one built from the beginning",
        rebuilt == desk.projection,
    );
    checks.every_order_is_shipped(&store)?;
    let lost = crash::missing(&store, acknowledged)?;
    checks.add(
        format!(
            "all {} appends acknowledged before a kill are there, unchanged",
            grouped(acknowledged.len() as u64)
        ),
        lost == 0,
    );
    store.close()?;
    Ok(read)
}
