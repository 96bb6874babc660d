//! The filling of a store, and how its rate goes over time.

use std::path::Path;
use std::time::Instant;

use annals::Store;
use serde_json::json;

use super::load::Events;
use super::report::Report;
use crate::failure::Failure;
use crate::output::{grouped, rate};

#[expect(clippy::cast_precision_loss, reason = "a mean for people")]
/// Appends all events, closes, and says how large the store is.
pub(super) fn fill(
    path: &Path,
    events: u64,
    load: &Events,
    report: &mut Report<'_>,
) -> Result<(), Failure> {
    // A rate per million events; of less than twenty million, per twentieth.
    let step = (events / 20).clamp(1, 1_000_000);
    let store = Store::options().durability(load.durability()).open(path)?;
    let started = Instant::now();
    let (mut rates, mut begun, mut first) = (Vec::new(), started, 0);
    for n in 0..events {
        load.append(&store, n, events)?;
        let done = n + 1;
        if done - first == step || done == events {
            let now = Instant::now();
            let per_second = rate(done - first, now - begun);
            rates.push(json!({ "events": done, "per_second": per_second }));
            report.say(format_args!(
                "  {:>13} events, the last at {:>9} /s",
                grouped(done),
                grouped(per_second)
            ))?;
            (begun, first) = (now, done);
        }
    }
    report.rate("fill_per_second", events, started.elapsed())?;
    report.add("fill", json!(rates))?;
    let started = Instant::now();
    store.close()?;
    drop(store);
    report.millis("close_ms", started.elapsed())?;
    let info = Store::open_read_only(path)?.info()?;
    report.add("segments", json!(info.segments))?;
    let per_event = |bytes: u64| json!(bytes as f64 / events as f64);
    report.add("log_bytes_per_event", per_event(info.log_bytes))?;
    report.add("index_bytes_per_event", per_event(info.index_bytes))
}
