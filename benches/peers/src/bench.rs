//! The rounds: each work by each store, in turns, so that a drift of the machine favours none.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use crate::Result;
use crate::args::Args;
use crate::check::check;
use crate::filled;
use crate::stats::{Sample, Summary};
use crate::store::{Peer, Work};
use crate::workload::Workload;
use crate::works;

/// What was measured, by work and by the store's place in the list.
#[derive(Default)]
pub struct Results {
    samples: BTreeMap<(Work, usize), Vec<Sample>>,
    pub failures: Vec<String>,
}

impl Results {
    pub fn summary(&self, work: Work, peer: usize) -> Option<Summary> {
        Summary::of(self.samples.get(&(work, peer))?)
    }

    fn add(&mut self, work: Work, peer: usize, sample: Sample) {
        self.samples.entry((work, peer)).or_default().push(sample);
    }
}

/// Some works take a child, or much time: fewer rounds of them.
fn rounds(work: Work, wanted: usize) -> usize {
    match work {
        Work::MemoryOpen => wanted.min(3),
        Work::OpenKilled | Work::Follow => wanted.min(5),
        _ => wanted,
    }
}

pub fn run(args: &mut Args, dir: &Path) -> Result<Results> {
    let mut results = Results::default();
    // A store that does not give back what it was given is not measured at all.
    args.peers.retain(|peer| {
        say(&format!("checks {}", peer.name));
        let place = dir.join("check");
        let checked = check(peer, &place).and_then(|()| Ok(std::fs::remove_dir_all(&place)?));
        if let Err(error) = &checked {
            say(&error.to_string());
            results.failures.push(format!("check before measuring: {error}"));
            // Whatever is left is removed in the end.
            let _ = std::fs::remove_dir_all(&place);
        }
        checked.is_ok()
    });
    let args = &*args;
    for work in args.works.iter().filter(|work| !work.needs_filled()) {
        turns(*work, args, &mut results, &mut |peer, _| {
            let place = dir.join("new");
            let sample = works::on_new(*work, peer, &place, &args.scale);
            (peer.after_kill)(&place);
            std::fs::remove_dir_all(&place)?;
            sample
        });
    }
    if args.works.iter().any(|work| work.needs_filled()) {
        on_filled(args, dir, &mut results)?;
    }
    Ok(results)
}

fn on_filled(args: &Args, dir: &Path, results: &mut Results) -> Result<()> {
    let scale = &args.scale;
    let workload = Workload::new(scale.events / 10);
    let has = |work| args.works.contains(&work);
    for (index, peer) in args.peers.iter().enumerate() {
        if !Work::ALL.iter().any(|work| work.needs_filled() && peer.can(*work)) {
            continue;
        }
        say(&format!("fills {}", peer.name));
        let (used, taken) = filled::fill(peer, &dir.join(peer.name), &workload, scale.events)?;
        for (work, bytes) in [(Work::BytesUsed, used), (Work::BytesTaken, taken)] {
            if has(work) {
                results.add(work, index, Sample::of(bytes as f64 / scale.events as f64));
            }
        }
    }
    for work in [Work::Streams, Work::Scan, Work::Category, Work::Type, Work::OpenClean] {
        if has(work) {
            turns(work, args, results, &mut |peer, round| {
                works::on_filled(work, peer, &dir.join(peer.name), &workload, scale, round)
            });
        }
    }
    // Here stores grow.
    if has(Work::MemoryOpen) || has(Work::MemoryServing) {
        let mut serving = Vec::new();
        turns(Work::MemoryOpen, args, results, &mut |peer, _| {
            let (open, while_serving) = filled::memory(peer, &dir.join(peer.name), scale)?;
            serving.push((peer.name, while_serving));
            Ok(open)
        });
        for (name, sample) in serving {
            let index = args.peers.iter().position(|peer| peer.name == name).unwrap_or(0);
            results.add(Work::MemoryServing, index, sample);
        }
    }
    if has(Work::OpenKilled) {
        turns(Work::OpenKilled, args, results, &mut |peer, round| {
            filled::open_killed(peer, &dir.join(peer.name), &workload, scale, round)
        });
    }
    Ok(())
}

/// Every round begins with another store. A store that fails once is left out from then on, and the
/// failure stays in the report.
fn turns(
    work: Work,
    args: &Args,
    results: &mut Results,
    run: &mut dyn FnMut(&'static Peer, u64) -> Result<Sample>,
) {
    let started = Instant::now();
    let mut peers: Vec<usize> =
        (0..args.peers.len()).filter(|index| args.peers[*index].can(work)).collect();
    for round in 0..rounds(work, args.scale.rounds) {
        for turn in 0..peers.len() {
            let Some(index) = peers.get((turn + round) % peers.len().max(1)).copied() else {
                continue;
            };
            let peer = args.peers[index];
            works::settle();
            match run(peer, round as u64) {
                Ok(sample) => results.add(work, index, sample),
                Err(error) => {
                    let failure = format!("{}, {}: {error}", peer.name, work.title());
                    say(&failure);
                    results.failures.push(failure);
                    peers.retain(|other| *other != index);
                }
            }
        }
    }
    say(&format!("{}: {:.0} s", work.title(), started.elapsed().as_secs_f64()));
}

/// Says how far it is, to standard error.
pub fn say(text: &str) {
    // There is nowhere left to say that standard error is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}
