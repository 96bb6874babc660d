//! annals beside other event stores, databases and logs, and beside what the disk allows: the same
//! work, the same guarantees, in turns, in one run. `docs/benchmarks.md` says how to read it.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates for people, and records of known length"
)]

mod args;
mod bench;
mod chart;
mod check;
mod filled;
mod machine;
mod peers;
mod stats;
mod store;
mod table;
mod workload;
mod works;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::store::Work;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["--child", what, peer, dir, events] => child(what, peer, dir, events),
        ["--rates", report, out] => std::fs::read_to_string(report)
            .map_err(Into::into)
            .and_then(|report| chart::write_rates(Path::new(out), &report)),
        words => run(words),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            bench::say(&format!("annals-peers: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn child(what: &str, peer: &str, dir: &str, events: &str) -> Result<()> {
    let all = peers::all();
    let peer = all.iter().find(|other| other.name == peer).ok_or("no such store")?;
    filled::be_child(peer, what, Path::new(dir), events.parse()?)
}

fn run(words: &[&str]) -> Result<()> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let mut out = std::io::stdout();
    let Some(mut args) = args::read(&peers::all(), &words)? else {
        out.write_all(args::USAGE.as_bytes())?;
        return Ok(());
    };
    std::fs::create_dir_all(&args.dir)?;
    if machine::is_in_memory(&args.dir)? {
        return Err(
            format!("{} is in memory, where a sync costs nothing", args.dir.display()).into()
        );
    }
    // Removed with everything in it, also after an error.
    let dir = tempfile::Builder::new().prefix("peers-").tempdir_in(&args.dir)?;
    let before = machine::load();
    let machine = machine::describe(dir.path())?;
    let results = bench::run(&mut args, dir.path())?;
    let mut about = format!("Machine: {machine}. Load average {before} before, ");
    let scale = &args.scale;
    write!(
        about,
        "{} after.\n\nEvents of 280 bytes (238 of payload, names, id). {} rounds in turns, of {} s \
         each at most; {} events in {} streams where stores are read.",
        machine::load(),
        scale.rounds,
        scale.time.as_secs_f64(),
        scale.events,
        scale.events / 10
    )?;
    let text = table::write(&args.peers, &args.works, &results, &about);
    out.write_all(text.as_bytes())?;
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out)?;
        std::fs::write(out.join("table.md"), &text)?;
        for work in Work::ALL {
            chart::write(out, &args.peers, work, &results)?;
        }
    }
    if results.failures.is_empty() {
        Ok(())
    } else {
        Err("not everything could be measured".into())
    }
}
