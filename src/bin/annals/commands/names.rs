//! `annals types` and `annals categories`: names with their number of events.

use annals::NameInfo;
use serde_json::json;

use super::open::open_to_read;
use crate::args::Global;
use crate::failure::Failure;
use crate::output::{Output, harmless};

pub(crate) fn types(global: &Global, output: &mut Output) -> Result<(), Failure> {
    list("event_type", &open_to_read(global)?.event_types()?, output)
}

pub(crate) fn categories(global: &Global, output: &mut Output) -> Result<(), Failure> {
    list("category", &open_to_read(global)?.categories()?, output)
}

fn list(what: &str, names: &[NameInfo], output: &mut Output) -> Result<(), Failure> {
    names.iter().try_for_each(|name| {
        if output.json() {
            output.line(json!({
                what: name.name,
                "events": name.events,
                "first_position": name.first_position.0,
                "last_position": name.last_position.0,
            }))
        } else {
            output.line(format_args!("{}\t{}", name.events, harmless(&name.name)))
        }
    })
}
