//! `annals export`: events as JSON lines, as they are stored or as they read today.

use std::fs;
use std::io::Write;
use std::path::Path;

use annals::kit::{Lifted, Upcasts};
use annals::{NewEvent, transfer};

use super::open::open_to_read;
use crate::args::{Export, Global};
use crate::failure::Failure;
use crate::output::Output;

pub(crate) fn run(global: &Global, export: &Export, output: &mut Output) -> Result<(), Failure> {
    let upcasts = export.upcast.as_deref().map(read_upcasts).transpose()?;
    let store = open_to_read(global)?;
    let Some(upcasts) = upcasts else {
        transfer::export(&store, output.results())?;
        return Ok(());
    };
    for part in upcasts.apply(store.read_all()) {
        let part = part?;
        transfer::write_event_as(part.stored(), &content(&part), output.results())
            .and_then(|()| output.results().write_all(b"\n"))
            .map_err(Failure::Write)?;
    }
    Ok(())
}

/// Ids are unique, so only the first part of an event keeps it; those of the others follow from it.
fn content(part: &Lifted) -> NewEvent {
    let id = part.stored().id();
    let content = part.payload().to_owned().into_event();
    match part.part() {
        1 => content.id(id),
        number => content.id(id.derive(&format!("part {number}"))),
    }
}

/// The steps of a file.
pub(super) fn read_upcasts(path: &Path) -> Result<Upcasts, Failure> {
    let file = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| Failure::Read { file, error })?;
    Upcasts::from_json(&text).map_err(|e| Failure::Usage(format!("{}: {e}", path.display())))
}
