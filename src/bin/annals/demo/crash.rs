//! The crash: this program runs itself as a shop, kills it in mid-load, and looks at what is left.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use annals::{EventId, Position, Store, Version};

use super::clerks::work;
use super::shop::{Book, Done, Shop, reaction_failure};
use super::views::{Models, Projecting, catch_up};
use crate::failure::Failure;
use crate::output::{Output, grouped};

/// Acknowledgements that a shop lives for.
const LIFE: usize = 300;
/// The first order that it sees to. Each life begins with it again.
const FIRST: u64 = 1_000;

/// A command that the killed shop said was done.
pub(super) struct Acknowledged {
    position: Position,
    stream: String,
    version: Version,
    id: EventId,
}

/// What one kill gave.
pub(super) struct Crash {
    acknowledged: usize,
    reopened: Duration,
    bytes_cut: u64,
    unacknowledged: u64,
}

/// Starts a shop, kills it in mid-load, reopens what it left.
pub(super) fn round(path: &Path, acknowledged: &mut Vec<Acknowledged>) -> Result<Crash, Failure> {
    let failed = |error: io::Error| Failure::Demo(format!("the shop: {error}"));
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
        return Err(Failure::Demo("the shop has no output".into()));
    };
    let mut lines = BufReader::new(stdout);
    let mut line = String::new();
    let mut killed = false;
    // After the kill, what it had said by then is still in the pipe; a line cut short is none.
    while lines.read_line(&mut line).map_err(failed)? > 0 && line.ends_with('\n') {
        let parsed = parse(&line)
            .ok_or_else(|| Failure::Demo(format!("the shop says {:?}", line.trim_end())))?;
        acknowledged.push(parsed);
        line.clear();
        if !killed && acknowledged.len() - before >= LIFE {
            child.kill().map_err(failed)?;
            killed = true;
        }
    }
    let status = child.wait().map_err(failed)?;
    if !killed {
        return Err(Failure::Demo(format!("the shop ended by itself: {status}")));
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
            "  {round}: {} commands acknowledged; reopened in {:.1} ms: {} events behind \
                 them were whole, {} bytes of a torn end were cut",
            grouped(self.acknowledged as u64),
            self.reopened.as_secs_f64() * 1_000.0,
            self.unacknowledged,
            grouped(self.bytes_cut)
        ))
    }
}

/// How many of the acknowledged events are not there as they were appended.
pub(super) fn missing(store: &Store, acknowledged: &[Acknowledged]) -> Result<u64, Failure> {
    let mut missing = 0;
    for one in acknowledged {
        let is_there = store.event(one.position)?.is_some_and(|event| {
            event.stream() == one.stream && event.version() == one.version && event.id() == one.id
        });
        missing += u64::from(!is_there);
    }
    Ok(missing)
}

/// What had to be done after the kills.
pub(super) struct Recovered {
    /// How many events the views were behind, together.
    pub(super) behind: u64,
    /// Orders that were half done.
    pub(super) half_done: u64,
}

/// Sees the orders through that the killed shops left half done.
pub(super) fn recover(shop: &Shop) -> Result<Recovered, Failure> {
    let behind = catch_up(shop)?;
    let mut book = Book::new(|_| {});
    let mut half_done = 0;
    for (stream, summary) in Models::of_views(&shop.store)?.orders {
        if summary.stage != "placed" {
            continue;
        }
        let number = stream.rsplit('-').next().and_then(|number| number.parse().ok());
        let order = number.ok_or_else(|| Failure::Demo(format!("a stream {stream:?}")))?;
        shop.serve(order, &mut book)?;
        half_done += 1;
    }
    let mut settling = shop.settling()?;
    settling.catch_up(|cause| shop.settle(cause, &mut book)).map_err(reaction_failure)?;
    catch_up(shop)?;
    Ok(Recovered { behind, half_done })
}

/// The other end: clerks work, views follow, and each command that appended something is told of,
/// until killed.
pub(crate) fn write_until_killed(path: &Path, output: &mut Output) -> Result<(), Failure> {
    let store = Store::open(path)?;
    let shop = Shop::open(&store)?;
    let _projecting = Projecting::start(&shop)?;
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        let shop = &shop;
        scope.spawn(move || {
            // Where nobody listens any more, there is nobody to tell.
            let tell = |done: Done| drop(sender.send(Ok(done)));
            if let Err(error) = work(shop, FIRST..u64::MAX, &tell) {
                let _ = sender.send(Err(error));
            }
        });
        for done in receiver {
            let Done { stream, version, position } = done?;
            let event = store.event(position)?;
            let id = event.ok_or_else(|| Failure::Demo("an event is missing".into()))?.id();
            let results = output.results();
            writeln!(results, "{position} {version} {id} {stream}")
                .and_then(|()| results.flush())
                .map_err(Failure::Write)?;
        }
        Ok(())
    })
}

fn parse(line: &str) -> Option<Acknowledged> {
    let mut words = line.split_ascii_whitespace();
    Some(Acknowledged {
        position: Position(words.next()?.parse().ok()?),
        version: Version(words.next()?.parse().ok()?),
        id: words.next()?.parse().ok()?,
        stream: words.next()?.into(),
    })
}
