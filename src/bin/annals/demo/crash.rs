//! The crash: this program runs itself as a writer, kills it in mid-load, and looks at what is
//! left.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use annals::{ExpectedVersion, NewEvent, Position, Result, Store, Version};
use serde_json::json;

use super::shop::number;
use crate::failure::Failure;
use crate::output::{Output, grouped};

/// Threads of the writer.
const WRITERS: u64 = 4;
/// Streams of each thread.
const STREAMS: u64 = 8;
/// Acknowledgements that a writer lives for.
const LIFE: usize = 300;

/// An append that the killed writer said was durable.
pub(super) struct Acknowledged {
    position: Position,
    stream: String,
    version: Version,
}

/// What one kill gave.
pub(super) struct Crash {
    acknowledged: usize,
    reopened: Duration,
    bytes_cut: u64,
    unacknowledged: u64,
}

/// Starts a writer, kills it in mid-load, reopens what it left.
pub(super) fn round(path: &Path, acknowledged: &mut Vec<Acknowledged>) -> Result<Crash, Failure> {
    let failed = |error: io::Error| Failure::Demo(format!("the writer: {error}"));
    let before = acknowledged.len();
    let mut child = Command::new(std::env::current_exe().map_err(failed)?)
        .arg("demo-writer")
        .arg("--store")
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let Some(stdout) = child.stdout.take() else {
        return Err(Failure::Demo("the writer has no output".into()));
    };
    let mut lines = BufReader::new(stdout);
    let mut line = String::new();
    let mut killed = false;
    // After the kill, what it had said by then is still in the pipe; a line cut short is none.
    while lines.read_line(&mut line).map_err(failed)? > 0 && line.ends_with('\n') {
        let parsed = parse(&line)
            .ok_or_else(|| Failure::Demo(format!("the writer says {:?}", line.trim_end())))?;
        acknowledged.push(parsed);
        line.clear();
        if !killed && acknowledged.len() - before >= LIFE {
            child.kill().map_err(failed)?;
            killed = true;
        }
    }
    let status = child.wait().map_err(failed)?;
    if !killed {
        return Err(Failure::Demo(format!("the writer ended by itself: {status}")));
    }
    let start = Instant::now();
    let store = Store::open(path)?;
    let reopened = start.elapsed();
    let last = acknowledged.iter().map(|one| one.position).max().unwrap_or_default();
    let crash = Crash {
        acknowledged: acknowledged.len() - before,
        reopened,
        bytes_cut: store.recovery().bytes_cut,
        unacknowledged: store.head().0.saturating_sub(last.0),
    };
    store.close()?;
    Ok(crash)
}

impl Crash {
    pub(super) fn report(&self, round: u32, output: &mut Output) -> Result<(), Failure> {
        output.say(format_args!(
            "  {round}: {} appends acknowledged; reopened in {:.1} ms: {} events behind \
                 them were whole, {} bytes of a torn end were cut",
            grouped(self.acknowledged as u64),
            self.reopened.as_secs_f64() * 1_000.0,
            self.unacknowledged,
            grouped(self.bytes_cut)
        ))
    }
}

/// How many of the acknowledged appends are not there as they were made.
pub(super) fn missing(store: &Store, acknowledged: &[Acknowledged]) -> Result<u64> {
    let mut missing = 0;
    for one in acknowledged {
        let there = match store.event(one.position)? {
            Some(event) => {
                event.stream() == one.stream
                    && event.version() == one.version
                    && number(&event, "scan")? == one.version.0
            }
            None => false,
        };
        missing += u64::from(!there);
    }
    Ok(missing)
}

/// The other end: appends from several threads, each event synced, and says so, until killed.
pub(crate) fn write_until_killed(path: &Path, output: &mut Output) -> Result<(), Failure> {
    let store = Store::open(path)?;
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (store, sender) = (&store, sender.clone());
            scope.spawn(move || {
                if let Err(error) = write(store, writer, &sender) {
                    // Where nobody listens any more, there is nobody to tell.
                    let _ = sender.send(Err(error));
                }
            });
        }
        drop(sender);
        for line in receiver {
            let results = output.results();
            results
                .write_all(line?.as_bytes())
                .and_then(|()| results.flush())
                .map_err(Failure::Write)?;
        }
        Ok(())
    })
}

fn write(store: &Store, writer: u64, said: &Sender<Result<String>>) -> Result<()> {
    let streams: Vec<_> = (0..STREAMS).map(|n| format!("Parcel-{writer}-{n}")).collect();
    loop {
        for stream in &streams {
            let version = store.stream(stream)?.map_or(Version::NONE, |info| info.version);
            let event = NewEvent::json("ParcelScanned", &json!({ "scan": version.0 + 1 }))?;
            let appended = store.append(stream, ExpectedVersion::Exact(version), [event])?;
            let line = format!("{} {} {stream}\n", appended.position, appended.version);
            if said.send(Ok(line)).is_err() {
                return Ok(());
            }
        }
    }
}

fn parse(line: &str) -> Option<Acknowledged> {
    let mut words = line.split_ascii_whitespace();
    Some(Acknowledged {
        position: Position(words.next()?.parse().ok()?),
        version: Version(words.next()?.parse().ok()?),
        stream: words.next()?.into(),
    })
}
