//! The commands, a file each.

mod append;
mod cat;
mod cursors;
mod explain;
mod export;
mod import;
mod info;
mod names;
mod open;
mod repair;
mod schema;
mod streams;
mod tail;
mod verify;
mod view;

use crate::args::{Args, Command};
use crate::demo;
use crate::failure::Failure;
use crate::output::Output;
use open::store_path;

/// Runs the command that the arguments name.
pub(crate) fn run(args: &Args, output: &mut Output) -> Result<(), Failure> {
    let global = &args.global;
    match &args.command {
        Command::Demo => demo::run(output),
        Command::DemoWriter => demo::write_until_killed(store_path(global)?, output),
        Command::Import(import) => import::run(global, import, output),
        Command::Export(export) => export::run(global, export, output),
        Command::Append(append) => append::run(global, append, output),
        Command::Cat(cat) => cat::run(global, cat, output),
        Command::Tail(tail) => tail::run(global, tail, output),
        Command::Explain(filter) => explain::run(global, filter, output),
        Command::Types => names::types(global, output),
        Command::Categories => names::categories(global, output),
        Command::Streams(streams) => streams::run(global, streams, output),
        Command::Schema(schema) => schema::run(global, schema, output),
        Command::Cursors(cursors) => cursors::run(global, cursors, output),
        Command::View(view) => view::run(global, view, output),
        Command::Info => info::run(global, output),
        Command::Verify => verify::run(global, output),
        Command::Repair(repair) => repair::run(repair, output),
    }
}
