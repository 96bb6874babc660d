//! `annals cursors`: how far named consumers have come.

use annals::{CursorInfo, Position, Store};
use serde_json::json;

use super::open::{open_to_read, store_path};
use crate::args::{Cursors, Global};
use crate::failure::Failure;
use crate::output::Output;

pub(crate) fn run(global: &Global, args: &Cursors, output: &mut Output) -> Result<(), Failure> {
    if let Cursors::List = args {
        for cursor in open_to_read(global)?.cursors()? {
            show(&cursor?, output)?;
        }
        return Ok(());
    }
    let store = Store::options().create(false).open(store_path(global)?)?;
    match args {
        Cursors::List => {}
        Cursors::Reset { name, position } => store.reset_cursor(name, Position(*position))?,
        Cursors::Delete { name } => {
            if !store.delete_cursor(name)? {
                return Err(Failure::NotFound(format!("cursor \"{name}\"")));
            }
        }
        Cursors::Rename { old, new } => store.rename_cursor(old, new)?,
    }
    Ok(store.close()?)
}

fn show(cursor: &CursorInfo, output: &mut Output) -> Result<(), Failure> {
    let CursorInfo { name, position, event_id, saved_at, lag, has_diverged, .. } = cursor;
    if output.json() {
        return output.line(json!({
            "name": name,
            "position": position.0,
            "event_id": event_id.map(|id| id.to_string()),
            "saved_at_micros": saved_at.as_micros(),
            "lag": lag,
            "has_diverged": has_diverged,
        }));
    }
    let lag = lag.map_or("diverged".into(), |lag| lag.to_string());
    output.line(format_args!("{position}\t{lag}\t{name}"))
}
