//! `annals verify`: everything on disk against everything else.

use annals::maintain::{self, Finding, Severity, VerifyReport};
use serde_json::json;

use super::open::store_path;
use crate::args::Global;
use crate::failure::Failure;
use crate::output::{Output, grouped, harmless};
use crate::progress::over_bytes;

pub(crate) fn run(global: &Global, output: &mut Output) -> Result<(), Failure> {
    let path = store_path(global)?;
    let bar = over_bytes("verify", output);
    let report = maintain::verify(path)
        .progress(|done, total| {
            bar.set_length(total);
            bar.set_position(done);
        })
        .run();
    bar.finish_and_clear();
    let report = report?;
    for finding in &report.findings {
        write_finding(finding, output)?;
    }
    let count =
        |severity| report.findings.iter().filter(|finding| finding.severity == severity).count();
    let (log, derived) = (count(Severity::Log), count(Severity::Derived));
    write_summary(&report, output)?;
    if report.has_log_damage() {
        let more = if report.more_findings > 0 { " or more" } else { "" };
        let what = format!("{}: {log}{more} damaged places in the log", path.display());
        return Err(Failure::Damaged(what));
    }
    if derived > 0 {
        output.note(format_args!(
            "no event is affected: what is damaged is derived from the log, passed over, and built \
             again when it is needed"
        ));
    }
    Ok(())
}

fn write_finding(finding: &Finding, output: &mut Output) -> Result<(), Failure> {
    if !output.json() {
        return output.line(harmless(&finding.to_string()));
    }
    output.line(json!({
        "severity": name(finding.severity),
        "file": finding.file.display().to_string(),
        "offset": finding.offset,
        "expected": finding.expected,
        "found": finding.found,
    }))
}

fn write_summary(report: &VerifyReport, output: &mut Output) -> Result<(), Failure> {
    if output.json() {
        return output.line(json!({
            "clean": report.is_clean(),
            "log_damage": report.has_log_damage(),
            "events": report.events,
            "streams": report.streams,
            "frames": report.frames,
            "segments": report.segments,
            "index_files": report.index_files,
            "bytes": report.bytes,
            "last_position": report.last_position.0,
            "findings": report.findings.len() as u64 + report.more_findings,
            "uncompared": report.uncompared,
        }));
    }
    if report.more_findings > 0 {
        output.line(format_args!("and {} more", grouped(report.more_findings)))?;
    }
    output.line(format_args!(
        "{}: {} events of {} streams in {} segments ({} bytes), {} index files",
        if report.has_log_damage() { "damaged" } else { "the log is whole" },
        grouped(report.events),
        grouped(report.streams),
        grouped(report.segments),
        grouped(report.bytes),
        grouped(report.index_files)
    ))
}

fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::TornTail => "torn_tail",
        Severity::Derived => "derived",
        _ => "log",
    }
}
