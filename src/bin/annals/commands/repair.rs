//! `annals repair`: a new store of what survives damage.

use annals::Position;
use annals::maintain::{self, LeftBehind, LostRange, RepairReport};
use serde_json::json;

use crate::args::Repair;
use crate::failure::Failure;
use crate::output::{Output, grouped, harmless};
use crate::progress::over_bytes;

pub(crate) fn run(args: &Repair, output: &mut Output) -> Result<(), Failure> {
    let bar = over_bytes("repair", output);
    let report = maintain::repair(&args.from, &args.to)
        .dry_run(args.dry_run)
        .progress(|done, total| {
            bar.set_length(total);
            bar.set_position(done);
        })
        .run();
    bar.finish_and_clear();
    let report = report?;
    if output.json() { write_json(&report, output) } else { write_text(&report, args, output) }
}

fn write_json(report: &RepairReport, output: &mut Output) -> Result<(), Failure> {
    for range in &report.kept {
        output.line(json!({
            "kind": "kept",
            "first": range.first.0,
            "last": range.last.0,
            "new_first": range.new_first.0,
        }))?;
    }
    for range in &report.lost {
        let last = range.last.map(|last| last.0);
        output.line(json!({ "kind": "lost", "first": range.first.0, "last": last }))?;
    }
    for gap in &report.streams {
        output.line(json!({
            "kind": "stream",
            "stream": gap.stream,
            "first_lost": gap.first.0,
            "last_lost": gap.last.0,
            "new_version": gap.new_version.0,
        }))?;
    }
    for position in &report.repeated {
        output.line(json!({ "kind": "repeated", "position": position.0 }))?;
    }
    for name in &report.state.cursors {
        output.line(json!({ "kind": "cursor", "name": name }))?;
    }
    for name in &report.state.views {
        output.line(json!({ "kind": "view", "name": name }))?;
    }
    for left in &report.state.left {
        let (what, name, position) = told(left);
        let position = position.map(|position| position.0);
        output.line(json!({ "kind": "left", "what": what, "name": name, "position": position }))?;
    }
    output.line(json!({
        "kind": "summary",
        "dry_run": report.dry_run,
        "complete": report.is_complete(),
        "events": report.events,
        "torn_bytes": report.torn_bytes,
    }))
}

fn write_text(report: &RepairReport, args: &Repair, output: &mut Output) -> Result<(), Failure> {
    for range in &report.kept {
        let (first, last, new) = (range.first, range.last, range.new_first);
        if first == new {
            output.line(format_args!("kept    {first} to {last}"))?;
        } else {
            output.line(format_args!("kept    {first} to {last}, now from {new} on"))?;
        }
    }
    for LostRange { first, last, .. } in &report.lost {
        match last {
            Some(last) => output.line(format_args!("lost    {first} to {last}"))?,
            None => output.line(format_args!("lost    from {first} on, nothing says how many"))?,
        }
    }
    for gap in &report.streams {
        output.line(format_args!(
            "stream  \"{}\" lost versions {} to {}; the one behind them is now {}",
            harmless(&gap.stream),
            gap.first,
            gap.last,
            gap.new_version
        ))?;
    }
    for position in &report.repeated {
        output.line(format_args!("left    {position}: its id was stored before it"))?;
    }
    if report.torn_bytes > 0 {
        let bytes = grouped(report.torn_bytes);
        output.line(format_args!("cut     {bytes} bytes of a write that was never finished"))?;
    }
    for name in &report.state.cursors {
        output.line(format_args!("cursor  \"{}\"", harmless(name)))?;
    }
    for name in &report.state.views {
        output.line(format_args!("view    \"{}\"", harmless(name)))?;
    }
    for left in &report.state.left {
        match told(left) {
            (what, Some(name), Some(position)) => {
                let name = harmless(name);
                output.line(format_args!("left    {what} \"{name}\", at position {position}"))?;
            }
            (what, Some(name), None) => {
                let name = harmless(name);
                output.line(format_args!("left    {what} \"{name}\", which cannot be read"))?;
            }
            (what, None, _) => {
                output.line(format_args!("left    each {what} that cannot be read"))?;
            }
        }
    }
    let would = if report.dry_run { " would be" } else { "" };
    let target = harmless(&args.to.display().to_string());
    output.line(format_args!("{} events{would} in {target}", grouped(report.events)))
}

/// What is not in the new store: what it is, its name, and where it stands in the old one.
fn told(left: &LeftBehind) -> (&'static str, Option<&str>, Option<Position>) {
    match left {
        LeftBehind::Cursor { name, position } => ("cursor", Some(name), *position),
        LeftBehind::View { name, position } => ("view", Some(name), *position),
        LeftBehind::UnreadableViews => ("view", None, None),
        _ => ("cursor", None, None),
    }
}
