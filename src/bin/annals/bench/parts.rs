//! The processes that a bench starts: memory is that of a process, and only a process can be
//! killed.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Map, Value};

use super::report::Report;
use crate::args::{Load, Mode, Part};
use crate::failure::Failure;

/// What the part that is killed says before.
pub(super) const READY: &str = "ready";

fn start(
    part: Part,
    path: &Path,
    streams: u64,
    load: &Load,
) -> Result<(Child, BufReader<ChildStdout>), Failure> {
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.arg("bench-part").arg(match part {
        Part::Serve => "serve",
        Part::Append => "append",
    });
    command.arg("--store").arg(path).arg("--json");
    command.arg("--streams").arg(streams.to_string()).arg("--size").arg(load.size.to_string());
    command.arg("--durability").arg(match load.durability {
        Mode::Sync => "sync",
        Mode::Interval => "interval",
        Mode::Os => "os",
    });
    command.args(load.ids.then_some("--ids")).args(load.tags.then_some("--tags"));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed)?;
    let Some(output) = child.stdout.take() else {
        return Err(Failure::Bench("a part of the bench has no output".into()));
    };
    Ok((child, BufReader::new(output)))
}

/// Opens and uses the store in a process of its own.
pub(super) fn serve(
    path: &Path,
    streams: u64,
    load: &Load,
    report: &mut Report<'_>,
) -> Result<(), Failure> {
    let (mut child, mut output) = start(Part::Serve, path, streams, load)?;
    let mut text = String::new();
    let read = output.read_to_string(&mut text);
    let status = child.wait().map_err(failed)?;
    read.map_err(failed)?;
    if !status.success() {
        return Err(Failure::Bench(format!("a part of the bench failed: {status}")));
    }
    let found: Map<String, Value> = serde_json::from_str(&text)
        .map_err(|error| Failure::Bench(format!("a part of the bench says {text:?}: {error}")))?;
    report.take(found)
}

/// Lets a process append, and kills it.
pub(super) fn kill(path: &Path, streams: u64, load: &Load) -> Result<(), Failure> {
    let (mut child, mut output) = start(Part::Append, path, streams, load)?;
    let mut line = String::new();
    let read = output.read_line(&mut line);
    // It is ended also where it said something else.
    child.kill().map_err(failed)?;
    child.wait().map_err(failed)?;
    read.map_err(failed)?;
    if line.trim_end() == READY {
        return Ok(());
    }
    Err(Failure::Bench(format!("the part that is killed says {line:?}")))
}

fn failed(error: std::io::Error) -> Failure {
    Failure::Bench(format!("a part of the bench: {error}"))
}
