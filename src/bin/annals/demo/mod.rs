//! `annals demo`: a small shop on the kit, in a temporary store.
//!
//! Orders of last year are there, in an older schema. Clerks decide about the same orders and the
//! same stock at the same time, a reaction settles what is paid, two views follow. Then a shop in a
//! process of its own is killed in mid-load, and what it left is recovered; in the end everything
//! is read and checked. What happens is the same in every run; the times, and how often clerks get
//! in each other's way, are not.

mod checks;
mod clerks;
mod crash;
mod goods;
mod orders;
mod shop;
mod views;

use std::path::Path;
use std::time::{Duration, Instant};

use annals::Store;
use serde_json::json;

use crate::failure::Failure;
use crate::output::{Output, grouped, rate};
use checks::Checks;
use shop::Shop;

pub(crate) use crash::write_until_killed;

/// How often a shop is killed.
const KILLS: u32 = 3;

pub(crate) fn run(output: &mut Output) -> Result<(), Failure> {
    let start = Instant::now();
    let directory = tempfile::Builder::new()
        .prefix("annals-demo-")
        .tempdir()
        .map_err(|error| Failure::Demo(format!("no temporary directory: {error}")))?;
    let path = directory.path().join("shop.annals");
    let mut checks = Checks::default();

    output.say(format_args!("A shop in {} (removed at the end)\n", path.display()))?;
    let (desk, folded) = trade(&path, output, &mut checks)?;

    output.say(format_args!("\nA shop killed in mid-load, {KILLS} times, and opened again"))?;
    let mut acknowledged = Vec::new();
    for round in 1..=KILLS {
        crash::round(&path, &mut acknowledged)?.report(round, output)?;
    }

    let store = Store::open(&path)?;
    let shop = Shop::open(&store)?;
    let recovered = crash::recover(&shop)?;
    output.say(format_args!(
        "  the views were {} events behind and went on; {} orders were half done and are seen \
         through",
        grouped(recovered.behind),
        recovered.half_done
    ))?;

    output.say("\nEverything read again")?;
    let read = verify(&shop, &acknowledged, &mut checks)?;
    let elapsed = start.elapsed();
    if output.json() {
        output.line(json!({
            "events": read.events,
            "events_per_second": desk.events_per_second(),
            "commands": desk.tally.commands,
            "conflicts_retried": desk.tally.conflicts,
            "found_done": desk.tally.repeated,
            "refused": desk.tally.refused,
            "cancelled": desk.cancelled,
            "folded_behind_snapshots": folded,
            "kills": KILLS,
            "acknowledged_before_kills": acknowledged.len(),
            "half_done_orders": recovered.half_done,
            "read_events_per_second": rate(read.events * 2, read.reading),
            "rebuild_events_per_second": rate(read.events, read.rebuilding),
            "seconds": elapsed.as_secs_f64(),
            "checks": checks.as_json(),
            "ok": checks.all_hold(),
        }))?;
    } else {
        checks.print(output)?;
        output.line(format_args!(
            "\n{} events: read both ways at {} events/s, a view rebuilt from them at {} events/s; \
             {:.1} s in all",
            grouped(read.events),
            grouped(rate(read.events * 2, read.reading)),
            grouped(rate(read.events, read.rebuilding)),
            elapsed.as_secs_f64()
        ))?;
    }
    store.close()?;
    checks.result()
}

/// A day of trade, on top of last year's orders.
fn trade(
    path: &Path,
    output: &mut Output,
    checks: &mut Checks,
) -> Result<(clerks::Desk, u64), Failure> {
    let store = Store::open(path)?;
    let old = clerks::last_year(&store)?;
    output.say(format_args!("{old} orders of last year, in the schema that events had then\n"))?;
    let shop = Shop::open(&store)?;
    let desk = clerks::day(&shop)?;
    desk.report(&shop, output, checks)?;
    let folded = clerks::snapshot(&shop, output, checks)?;
    store.close()?;
    Ok((desk, folded))
}

/// What reading everything took.
struct Read {
    events: u64,
    reading: Duration,
    rebuilding: Duration,
}

fn verify(
    shop: &Shop,
    acknowledged: &[crash::Acknowledged],
    checks: &mut Checks,
) -> Result<Read, Failure> {
    let start = Instant::now();
    checks.dense(&shop.store)?;
    let reading = start.elapsed();
    let lost = crash::missing(&shop.store, acknowledged)?;
    checks.add(
        format!(
            "all {} commands acknowledged before a kill are there, unchanged",
            grouped(acknowledged.len() as u64)
        ),
        lost == 0,
    );
    checks.views("after the kills", shop)?;
    let start = Instant::now();
    let upto = views::rebuild(shop)?;
    let rebuilding = start.elapsed();
    checks.views("with one of them rebuilt from the first event", shop)?;
    checks.store(shop)?;
    let head = shop.store.head();
    checks.add("the rebuilt view is complete", upto == head);
    Ok(Read { events: head.0, reading, rebuilding })
}
