//! The stores that are read: filled once, weighed, opened by children, killed, and opened again.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;
use crate::stats::Sample;
use crate::store::{Mode, Peer, Setup, Work};
use crate::workload::{Event, Tally, Workload};
use crate::works::{self, Scale};

/// Events per commit while filling.
const BATCH: u64 = 100;

/// The mode in which a store takes most.
fn fastest(peer: &Peer) -> Mode {
    match (peer.can(Work::Os), peer.can(Work::Interval)) {
        (true, _) => Mode::Os,
        (false, true) => Mode::Interval,
        (false, false) => Mode::Sync,
    }
}

/// Fills a store, closes it, and says how many bytes it is: used, and taken.
pub fn fill(peer: &Peer, dir: &Path, workload: &Workload, events: u64) -> Result<(u64, u64)> {
    let store = (peer.open)(dir, Setup { mode: fastest(peer), events })?;
    for first in (0..events).step_by(usize::try_from(BATCH)?) {
        let end = events.min(first + BATCH);
        let events: Vec<Event<'_>> = (first..end).map(|n| workload.event(n)).collect();
        store.append(&events)?;
    }
    store.close()?;
    works::settle();
    weigh(dir)
}

/// Bytes of all files without the zeros that each ends with, and of all blocks that are taken.
fn weigh(path: &Path) -> Result<(u64, u64)> {
    let (mut used, mut taken) = (0, 0);
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let about = path.symlink_metadata()?;
        if about.is_dir() {
            let (inner_used, inner_taken) = weigh(&path)?;
            used += inner_used;
            taken += inner_taken;
        } else if about.is_file() {
            used += without_zeros(&path)?;
            taken += about.blocks() * 512;
        }
    }
    Ok((used, taken))
}

fn without_zeros(path: &Path) -> Result<u64> {
    let file = std::fs::File::open(path)?;
    let (mut end, mut piece) = (file.metadata()?.len(), vec![0; 1 << 20]);
    while end > 0 {
        let start = end.saturating_sub(piece.len() as u64);
        let bytes = &mut piece[..usize::try_from(end - start)?];
        file.read_exact_at(bytes, start)?;
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// What children of this program are told to do.
pub const MEMORY: &str = "memory";
pub const APPEND: &str = "append";
/// What a child says begins with this: some stores write to the output themselves.
const SAYS: &str = "annals-peers: ";

fn child(what: &str, peer: &Peer, dir: &Path, scale: &Scale) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--child").arg(what).arg(peer.name).arg(dir).arg(scale.events.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    Ok(command)
}

/// Opens in a child; its anonymous memory then, and while it serves, in MiB.
pub fn memory(peer: &Peer, dir: &Path, scale: &Scale) -> Result<(Sample, Sample)> {
    let done = child(MEMORY, peer, dir, scale)?.output()?;
    let text = String::from_utf8(done.stdout)?;
    let said = text.lines().find_map(|line| line.strip_prefix(SAYS)).unwrap_or_default();
    let numbers: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers.as_slice() {
        [open, serving] if done.status.success() => Ok((Sample::of(*open), Sample::of(*serving))),
        _ => Err(format!("the child failed: {text} {}", done.status).into()),
    }
}

/// Kills a child while it appends, and opens what it leaves.
pub fn open_killed(
    peer: &Peer,
    dir: &Path,
    workload: &Workload,
    scale: &Scale,
    round: u64,
) -> Result<Sample> {
    let mut child = child(APPEND, peer, dir, scale)?.spawn()?;
    let output = child.stdout.take().ok_or("the child has no output")?;
    let lines = BufReader::new(output).lines().map_while(std::io::Result::ok);
    let is_ready = lines.into_iter().any(|line| line.strip_prefix(SAYS) == Some("ready"));
    child.kill()?;
    child.wait()?;
    (peer.after_kill)(dir);
    if !is_ready {
        return Err("the child ended by itself".into());
    }
    works::open(peer, dir, workload, round)
}

/// What a child does: the rest of the command line is the store, its directory and its size.
pub fn be_child(peer: &Peer, what: &str, dir: &Path, events: u64) -> Result<()> {
    let workload = Workload::new(events / 10);
    match what {
        MEMORY => serve(peer, dir, &workload, events),
        APPEND => append_until_killed(peer, dir, &workload, events),
        _ => Err("no such child".into()),
    }
}

fn serve(peer: &Peer, dir: &Path, workload: &Workload, events: u64) -> Result<()> {
    let before = anonymous()?;
    let mode = fastest(peer);
    let store = (peer.open)(dir, Setup { mode, events: 1000 })?;
    if peer.can(Work::Streams) {
        store.read_stream(workload.random_stream(0), &mut Tally::default())?;
    }
    let open = anonymous()? - before;
    if peer.can(Work::Streams) {
        for n in 0..10_000 {
            store.read_stream(workload.random_stream(n), &mut Tally::default())?;
        }
    }
    if peer.can(Work::Category) {
        store.read_category(Workload::category(1), &mut Tally::default())?;
    }
    for n in events..events + 200 {
        store.append(&[workload.event(n)])?;
    }
    let serving = anonymous()? - before;
    // The output belongs to the parent.
    let _ = writeln!(std::io::stdout(), "{SAYS}{open:.2} {serving:.2}");
    store.close()
}

/// Appends enough that something has to be recovered, says so, and goes on until it is killed.
fn append_until_killed(peer: &Peer, dir: &Path, workload: &Workload, events: u64) -> Result<()> {
    let setup = Setup { mode: fastest(peer), events: 1_000_000 };
    let store = (peer.open)(dir, setup)?;
    let enough = events.div_ceil(100).min(2000);
    for n in events.. {
        store.append(&[workload.event(n)])?;
        if n == events + enough {
            let mut out = std::io::stdout();
            writeln!(out, "{SAYS}ready")?;
            out.flush()?;
        }
        if n > events + 900_000 {
            break;
        }
    }
    loop {
        std::thread::park();
    }
}

/// Anonymous memory of this process, in MiB.
fn anonymous() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("no RssAnon")?;
    Ok(kib.parse::<f64>()? / 1024.0)
}
