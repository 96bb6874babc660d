//! Every history of up to two calls, crashed before every call of the storage.
//!
//! From a new store, from one with sealed segments, from one that a power cut left and from one
//! whose next append rolls; in every mode. A crash leaves every subset of up to ten choices, or the
//! corners and samples; and some of what it leaves is crashed again inside its opening.
//!
//! `ANNALS_LONG=1` takes more samples, histories of three calls and one seed after the other, until
//! `ANNALS_IMAGES` images (20 million unless given) were made or `ANNALS_MINUTES` are over.
//! `ANNALS_REPLAY=base/mode/call+call/n` makes of all that the crash before the n-th storage call
//! of one history; a failure prints it.

use std::env;
use std::time::{Duration, Instant};

use super::history::{Act, History, Maker, Runner};
use super::oracle::Model;
use super::sweep::{Sweep, Tally};
use super::{MODES, scaled, seed, small};
use crate::storage::memory::MemoryDisk;
use crate::{Durability, StoreOptions};

/// What a history is made of. Each ends with closing, so closing is crashed behind each of them.
pub(super) const CALLS: [&str; 8] =
    ["append", "append-n", "batch", "group", "roll", "keep-up", "sync", "reopen"];

/// What it begins with.
pub(super) const BASES: [&str; 4] = ["fresh", "sealed", "cut", "full"];

/// Images that are made on every change, in each mode.
const ENOUGH: usize = 70_000;

/// What a segment grows to, unless an event needs more.
const SEGMENT_BYTES: u64 = 16 << 10;

/// Every checkpoint that can be due is due.
fn options() -> StoreOptions {
    small().segment_bytes(SEGMENT_BYTES).checkpoint_bytes(1)
}

fn act(call: &str, maker: &mut Maker) -> Act {
    match call {
        "append" => Act::Append(maker.one(1, 40)),
        "append-n" => Act::Append(maker.one(3, 400)),
        "batch" => Act::Append(maker.batch(3, 120)),
        "group" => Act::Group(vec![maker.one(1, 700), maker.one(2, 60)]),
        // Fits no segment but one that is made for it.
        "roll" => Act::Append(maker.one(1, 17_000)),
        "keep-up" => Act::KeepUp,
        "sync" => Act::Sync,
        "reopen" => Act::Reopen,
        other => panic!("{other} is no call"),
    }
}

fn base(name: &str, seed: u64) -> (MemoryDisk, Model) {
    let disk = MemoryDisk::simulated(seed);
    if name == "fresh" {
        return (disk, Model::default());
    }
    let mut maker = Maker::new(seed ^ 0xBA5E, 4);
    let mut runner = Runner::new(&disk, &options(), Durability::Sync, Model::default());
    let mut acts = vec![
        Act::Append(maker.one(2, 50)),
        Act::Append(maker.batch(2, 30)),
        // Begins the second segment, made for it, and leaves hardly any room.
        Act::Append(maker.one(1, 11_848)),
    ];
    match name {
        // The segment behind it is ready.
        "full" => acts.push(Act::KeepUp),
        _ => acts.extend([Act::Append(maker.one(2, 500)), Act::Append(maker.one(1, 20))]),
    }
    assert!(runner.run(&acts).is_none());
    let segments = runner.store.as_ref().unwrap().info().unwrap().segments;
    assert_eq!(segments, if name == "full" { 2 } else { 3 });
    if name == "cut" {
        // A group of which a part is there.
        disk.crash_at(disk.calls() + 1);
        assert!(runner.act(&Act::Append(maker.one(3, 400))).is_err());
        let left = disk.crash_seeded(seed);
        return (left, runner.model);
    }
    runner.close().unwrap();
    (disk.crash_keeping_everything(), runner.model)
}

/// A history by the names of its calls.
pub(super) fn history(name: &str, calls: &[&str]) -> History {
    let (disk, model) = base(name, seed());
    let mut maker = Maker::new(seed() ^ 0xAC7, 5);
    let acts = calls.iter().map(|call| act(call, &mut maker)).collect();
    History { disk, model, options: options(), acts }
}

/// Every history of so many calls.
fn histories(len: usize) -> Vec<Vec<&'static str>> {
    if len == 0 {
        return vec![Vec::new()];
    }
    let shorter = histories(len - 1);
    let longer = |call: &'static str| {
        shorter.iter().map(move |history| [history.as_slice(), &[call]].concat())
    };
    CALLS.into_iter().flat_map(longer).collect()
}

/// One exploration with one seed. What was seen of a base is kept, since histories that begin alike
/// leave alike disks.
fn explore(
    mode: &str,
    seed: u64,
    len: usize,
    how: (usize, u64),
    until: &dyn Fn(&Tally) -> bool,
) -> Tally {
    let replay = env::var("ANNALS_REPLAY").ok();
    let replay: Option<Vec<&str>> = replay.as_ref().map(|replay| replay.split('/').collect());
    let durability = MODES.into_iter().find(|(name, _)| *name == mode).unwrap().1;
    let mut tally = Tally::default();
    for name in BASES {
        let (disk, model) = base(name, seed);
        let mut sweep = Sweep::new(name, options(), durability, how);
        sweep.care = 8;
        sweep.seed = seed;
        for history in (0..=len).flat_map(histories) {
            let calls = history.join("+");
            let mut sum = tally;
            sum.add(&sweep.tally);
            if until(&sum) {
                break;
            }
            if let Some(replay) = &replay {
                let [of, in_mode, of_calls, call] = replay.as_slice() else {
                    panic!("ANNALS_REPLAY=base/mode/calls/number")
                };
                if [*of, *in_mode, *of_calls] != [name, mode, &calls] {
                    continue;
                }
                sweep.only = call.parse().ok();
            }
            sweep.name = format!("{name}/{mode}/{calls}");
            let test = "cargo test --lib tests::explore -- --nocapture";
            sweep.replay =
                format!("ANNALS_SEED={seed} ANNALS_REPLAY={name}/{mode}/{calls}/CALL {test}");
            let mut maker = Maker::new(seed ^ 0xAC7, 5);
            let acts: Vec<Act> = history.iter().map(|call| act(call, &mut maker)).collect();
            sweep.run(&disk, &model, &acts);
        }
        tally.add(&sweep.tally);
    }
    tally
}

fn every_history(mode: &str) {
    let started = Instant::now();
    if scaled(0, 1) == 1 {
        return explore_on(mode, started);
    }
    let tally = explore(mode, seed(), 2, (12, 8), &|_| false);
    report(mode, &tally, started);
    assert!(env::var_os("ANNALS_REPLAY").is_some() || tally.all_images() >= ENOUGH);
}

/// One seed after the other: every second one with longer histories and fewer samples.
fn explore_on(mode: &str, started: Instant) {
    let number = |name, otherwise| {
        env::var(name).map_or(otherwise, |number| number.parse().expect("a number"))
    };
    let wanted = usize::try_from(number("ANNALS_IMAGES", 20_000_000)).unwrap() / MODES.len();
    let most = Duration::from_secs(60 * number("ANNALS_MINUTES", 24 * 60));
    let mut tally = Tally::default();
    for round in 0.. {
        if tally.all_images() >= wanted || started.elapsed() >= most {
            break;
        }
        let (len, how) = if round % 2 == 0 { (2, (1024, 10)) } else { (3, (64, 40)) };
        let before = tally;
        tally.add(&explore(mode, seed() + round / 2, len, how, &|now| {
            before.all_images() + now.all_images() >= wanted || started.elapsed() >= most
        }));
        report(mode, &tally, started);
    }
}

fn report(mode: &str, tally: &Tally, started: Instant) {
    let (images, different) = (tally.all_images(), tally.all_different());
    let took = started.elapsed();
    eprintln!("{mode}: {images} images, {different} of them different: {tally:?}, {took:.0?}");
}

#[test]
fn every_history_of_two_calls_survives_every_crash_in_sync() {
    every_history("sync");
}

#[test]
fn every_history_of_two_calls_survives_every_crash_in_os() {
    every_history("os");
}

#[test]
fn every_history_of_two_calls_survives_every_crash_in_interval() {
    every_history("interval");
}
