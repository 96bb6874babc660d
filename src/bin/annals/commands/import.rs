//! `annals import`: JSON lines from files or standard input into the store.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::time::Instant;

use annals::transfer::{self, ImportErrorCause, Imported};
use annals::{Durability, Store};
use flate2::bufread::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::open::open_to_write;
use crate::args::{Global, Import};
use crate::failure::Failure;
use crate::output::{Output, grouped, rate};

const BUFFER_BYTES: usize = 256 << 10;

pub(crate) fn run(global: &Global, args: &Import, output: &mut Output) -> Result<(), Failure> {
    // A file that is not there is found before a store is made for it.
    for file in &args.files {
        if file.as_os_str() != "-" {
            file.metadata().map_err(|error| cannot_read(file, error))?;
        }
    }
    let start = Instant::now();
    // The import syncs by itself before it reports.
    let store = open_to_write(global, Durability::Os, output)?;
    let (mut lines, mut appended, mut skipped) = (0, 0, 0);
    for file in &args.files {
        let imported = import_file(&store, file, args, output)?;
        lines += imported.lines;
        appended += imported.appended;
        skipped += imported.skipped;
    }
    let head = store.head();
    store.close()?;
    let elapsed = start.elapsed();
    if output.json() {
        return output.line(json!({
            "lines": lines,
            "appended": appended,
            "skipped": skipped,
            "last_position": head.0,
            "seconds": elapsed.as_secs_f64(),
        }));
    }
    output.line(format_args!(
        "{} lines: {} events appended, {} there already; {:.2} s, {} events/s",
        grouped(lines),
        grouped(appended),
        grouped(skipped),
        elapsed.as_secs_f64(),
        grouped(rate(appended + skipped, elapsed))
    ))
}

fn import_file(
    store: &Store,
    file: &Path,
    args: &Import,
    output: &Output,
) -> Result<Imported, Failure> {
    let bar = progress_bar(file, output);
    let reader = open(file, &bar).map_err(|error| cannot_read(file, error))?;
    let import = transfer::Import::new().batch(args.batch).new_ids(args.new_ids);
    let imported = import.run_with(store, reader, |so_far| {
        bar.set_message(format!("{} events durable", grouped(so_far.appended + so_far.skipped)));
    });
    bar.finish_and_clear();
    imported.map_err(|error| {
        let (stored, there) = (error.imported.appended, error.imported.skipped);
        output.note(format_args!(
            "of the lines before line {}, {} were stored and {} were there already{}",
            error.line,
            grouped(stored),
            grouped(there),
            match error.cause {
                ImportErrorCause::Store(_) => "",
                _ => "; the import can be run again",
            }
        ));
        Failure::Import { file: shown(file), error: Box::new(error) }
    })
}

/// Opens a file, or standard input, and looks through gzip.
fn open(file: &Path, bar: &ProgressBar) -> io::Result<Box<dyn BufRead>> {
    let input: Box<dyn Read> =
        if file.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(File::open(file)?) };
    let mut input = BufReader::with_capacity(BUFFER_BYTES, bar.wrap_read(input));
    let gzip = input.fill_buf()?.starts_with(&[0x1f, 0x8b])
        || file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    if gzip {
        let text = MultiGzDecoder::new(input);
        return Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, text)));
    }
    Ok(Box::new(input))
}

/// A bar over the bytes of the file, or a counter where their number is not known.
fn progress_bar(file: &Path, output: &Output) -> ProgressBar {
    if !output.shows_progress() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match file.metadata() {
        Ok(meta) if meta.is_file() => (
            ProgressBar::new(meta.len()),
            "{prefix} [{bar:30}] {bytes}/{total_bytes}, {msg}, {eta} left",
        ),
        _ => (ProgressBar::no_length(), "{prefix} {bytes}, {msg}"),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.with_prefix(shown(file)).with_message("0 events durable")
}

fn cannot_read(file: &Path, error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::NotFound {
        return Failure::NotFound(shown(file));
    }
    Failure::Read { file: shown(file), error }
}

fn shown(file: &Path) -> String {
    if file.as_os_str() == "-" { "standard input".into() } else { file.display().to_string() }
}
