//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::Result;
use crate::store::{Peer, Work};
use crate::works::Scale;

pub const USAGE: &str = "\
annals-peers [--quick | --smoke] [--only WORK,...] [--peers NAME,...] [--rounds N]
             [--seconds S] [--events N] [--dir DIR] [--out DIR]
annals-peers --rates REPORT DIR

Measures the event stores, databases and logs that this build has (see its features), side by side.
Prints Markdown; with --out, also writes it to DIR/table.md, and charts beside it. With --rates it
only draws DIR/rates.svg of what `annals bench --json` has reported.

--quick     small: about a minute per work
--smoke     tiny: only to see that everything works
--only      these works (a name or its beginning, such as `durable`)
--peers     these stores
--rounds    alternating rounds of each work (9)
--seconds   a run of appends or of stream reads ends after so long (0.5), or after --events
--events    events of the stores that are read, and of a run of relaxed appends (1,000,000)
--dir       where the stores are made and removed again: on the disk that is to be measured
";

pub struct Args {
    pub scale: Scale,
    pub works: Vec<Work>,
    pub peers: Vec<&'static Peer>,
    pub dir: PathBuf,
    pub out: Option<PathBuf>,
}

/// Reads the command line; `None` where help is asked for.
pub fn read(all: &[&'static Peer], words: &[String]) -> Result<Option<Args>> {
    let mut args = Args {
        scale: Scale { events: 1_000_000, time: Duration::from_millis(500), warm: 100, rounds: 9 },
        works: Work::ALL.to_vec(),
        peers: all.to_vec(),
        dir: concat!(env!("CARGO_MANIFEST_DIR"), "/target").into(),
        out: None,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--help" | "-h" => return Ok(None),
            "--quick" => {
                args.scale.events = 50_000;
                args.scale.time = Duration::from_millis(200);
                args.scale.rounds = 3;
            }
            "--smoke" => {
                args.scale =
                    Scale { events: 2000, time: Duration::from_millis(20), warm: 5, rounds: 1 };
            }
            "--only" => args.works = works(value()?)?,
            "--peers" => args.peers = peers(all, value()?)?,
            "--rounds" => args.scale.rounds = value()?.parse::<usize>()?.max(1),
            "--seconds" => args.scale.time = Duration::from_secs_f64(value()?.parse()?),
            "--events" => args.scale.events = value()?.parse::<u64>()?.max(100),
            "--dir" => args.dir = value()?.into(),
            "--out" => args.out = Some(value()?.into()),
            _ => return Err(format!("unknown argument {word}\n\n{USAGE}").into()),
        }
    }
    Ok(Some(args))
}

fn works(names: &str) -> Result<Vec<Work>> {
    let mut found = Vec::new();
    for name in names.split(',') {
        let of = Work::ALL.into_iter().filter(|work| work.key().starts_with(name));
        let before = found.len();
        found.extend(of);
        if found.len() == before {
            let keys = Work::ALL.map(Work::key).join(", ");
            return Err(format!("no work is called {name}; there are {keys}").into());
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn peers(all: &[&'static Peer], names: &str) -> Result<Vec<&'static Peer>> {
    let find = |name| {
        all.iter().copied().find(|peer| peer.name == name).ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|peer| peer.name).collect();
            format!("no store is called {name}; this build has {}", names.join(", ")).into()
        })
    };
    names.split(',').map(find).collect()
}
