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
    let mut list = store.streams();
    if let Some(category) = &args.category {
        list = list.category(category);
    }
    if let Some(prefix) = &args.prefix {
        list = list.prefix(prefix);
    }
    // By name, with the version and the first and the last position.
    let mut streams = BTreeMap::new();
    for stream in list {
        let stream = stream?;
        let row = (stream.version.0, stream.first_position.0, stream.last_position.0);
        streams.insert(stream.name, row);
    }
    for (stream, (version, first, last)) in streams {
        if output.json() {
            output.line(json!({
                "stream_id": stream,
                "category": category_of(&stream),
                "events": version,
                "first_position": first,
                "last_position": last,
            }))?;
        } else {
            output.line(format_args!("{version}\t{stream}"))?;
        }
    }
    Ok(())
}
