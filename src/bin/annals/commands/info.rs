//! `annals info`: what the store holds, in numbers.

use annals::{Result, Store};
use serde_json::json;

use super::open::{open_to_read, store_path};
use crate::args::Global;
use crate::failure::Failure;
use crate::output::{Output, grouped};

pub(crate) fn run(global: &Global, output: &mut Output) -> Result<(), Failure> {
    let store = open_to_read(global)?;
    let info = store.info()?;
    let streams = count_streams(&store)?;
    let path = store_path(global)?.display();
    let bytes = info.log_bytes + info.index_bytes;
    if output.json() {
        return output.line(json!({
            "store": path.to_string(),
            "store_id": info.store_id.to_string(),
            "events": info.events,
            "streams": streams,
            "first_position": info.first_position.0,
            "last_position": info.last_position.0,
            "segments": info.segments,
            "bytes": bytes,
            "log_bytes": info.log_bytes,
            "index_bytes": info.index_bytes,
            "preallocated_bytes": info.preallocated_bytes,
        }));
    }
    output.line(format_args!("store      {path} ({})", info.store_id))?;
    output.line(format_args!(
        "events     {} (positions {} to {})",
        grouped(info.events),
        info.first_position,
        info.last_position
    ))?;
    output.line(format_args!("streams    {}", grouped(streams)))?;
    output.line(format_args!("segments   {}", grouped(info.segments)))?;
    output.line(format_args!(
        "bytes      {} (log {}, indexes {}; {} more preallocated)",
        grouped(bytes),
        grouped(info.log_bytes),
        grouped(info.index_bytes),
        grouped(info.preallocated_bytes)
    ))
}

fn count_streams(store: &Store) -> Result<u64> {
    let mut streams = 0;
    for stream in store.streams() {
        stream?;
        streams += 1;
    }
    Ok(streams)
}
