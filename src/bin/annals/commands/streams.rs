//! `annals streams`: the streams of the store with their number of events.

use std::collections::BTreeMap;

use annals::category_of;
use serde_json::json;

use super::open::open_to_read;
use crate::args::{Global, Streams};
use crate::failure::Failure;
use crate::output::Output;

pub(crate) fn run(global: &Global, args: &Streams, output: &mut Output) -> Result<(), Failure> {
    let store = open_to_read(global)?;
    // By name, with the version and the position of the last event.
    let mut streams = BTreeMap::<String, (u64, u64)>::new();
    for event in store.read_all() {
        let event = event?;
        if args.category.as_ref().is_some_and(|category| category != event.category()) {
            continue;
        }
        let last = (event.version().0, event.position().0);
        match streams.get_mut(event.stream()) {
            Some(known) => *known = last,
            None => {
                streams.insert(event.stream().into(), last);
            }
        }
    }
    for (stream, (version, position)) in streams {
        if output.json() {
            output.line(json!({
                "stream_id": stream,
                "category": category_of(&stream),
                "events": version,
                "last_position": position,
            }))?;
        } else {
            output.line(format_args!("{version}\t{stream}"))?;
        }
    }
    Ok(())
}
