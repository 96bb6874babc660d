//! `annals explain`: what it costs to find events.

use serde_json::json;

use super::open::open_to_read;
use crate::args::{Filter, Global};
use crate::failure::Failure;
use crate::output::{Output, grouped};

pub(crate) fn run(global: &Global, filter: &Filter, output: &mut Output) -> Result<(), Failure> {
    let store = open_to_read(global)?;
    let cost = store.read(filter.query()).explain()?;
    let rows = [
        ("matched", cost.matched),
        ("decoded", cost.decoded),
        ("segments_touched", cost.segments_touched),
        ("segments_skipped", cost.segments_skipped),
        ("lists_read", cost.lists_read),
        ("postings_read", cost.postings_read),
    ];
    if output.json() {
        let object: serde_json::Map<_, _> =
            rows.iter().map(|(name, value)| ((*name).into(), json!(value))).collect();
        return output.line(json!(object));
    }
    rows.iter().try_for_each(|(name, value)| {
        output.line(format_args!("{}\t{}", name.replace('_', " "), grouped(*value)))
    })
}
