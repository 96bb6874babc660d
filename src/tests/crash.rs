//! A power cut before every call of the storage, and what it may leave, opened again: histories
//! that are too long for the [exploration](super::explore) of all of them.

use super::history::{Act, History, Maker, Runner, filled};
use super::oracle::Model;
use super::sweep::Sweep;
use super::{MODES, scaled, seed, small};
use crate::format::segment::HEADER_BYTES;
use crate::storage::memory::MemoryDisk;
use crate::{Durability, StoreOptions};

fn sweep(name: &str, options: StoreOptions, durability: Durability) -> Sweep {
    Sweep::new(name, options, durability, (scaled(12, 300), scaled(60, 10) as u64))
}

#[test]
fn a_crash_of_a_new_store_keeps_what_was_acknowledged() {
    let mut maker = Maker::new(seed(), 4);
    let acts = [
        Act::Append(maker.one(1, 40)),
        Act::Append(maker.one(3, 200)),
        Act::Append(maker.batch(3, 100)),
        Act::Reopen,
        Act::Append(maker.one(1, 700)),
        Act::Reopen,
        Act::Reopen,
        Act::Append(maker.one(2, 10)),
    ];
    let mut sweep = sweep("a new store", small(), Durability::Sync);
    sweep.run(&MemoryDisk::simulated(seed()), &Model::default(), &acts);
    sweep.report();
}

#[test]
fn a_crash_around_payloads_that_hold_frames_takes_none_for_one() {
    let mut maker = Maker::new(seed() + 5, 3);
    let mut acts = vec![Act::Append(maker.one(1, 40)), Act::Append(maker.batch(2, 100))];
    // The same seed gives the same salt, so the frames are those that the sweep will write.
    let disk = MemoryDisk::simulated(seed());
    let mut runner = Runner::new(&disk, &small(), Durability::Sync, Model::default());
    assert!(runner.run(&acts).is_none());
    let segment = disk.files().remove("log/0000000001.0.seg").unwrap();
    let used = segment.iter().rposition(|byte| *byte != 0).unwrap();
    // At every offset modulo four, whole and cut.
    for cut in 0..5 {
        let mut event = maker.event(0);
        event.data = vec![0; cut];
        event.data.extend(&segment[HEADER_BYTES as usize + 60 * (cut / 4)..=used]);
        acts.push(Act::Append(vec![("Frames-1".into(), vec![event])]));
    }
    let mut sweep = sweep("frames in payloads", small(), Durability::Sync);
    sweep.run(&MemoryDisk::simulated(seed()), &Model::default(), &acts);
    sweep.report();
}

#[test]
fn a_crash_while_segments_roll_keeps_what_was_acknowledged() {
    let mut maker = Maker::new(seed() + 1, 5);
    let mut acts = Vec::new();
    for round in 0..8 {
        acts.push(Act::Append(maker.one(2, 7000)));
        acts.push(Act::Append(maker.batch(3, 150)));
        acts.push(Act::Append(maker.one(1, 30)));
        if round == 5 {
            acts.push(Act::Reopen);
        }
    }
    // One that does not fit a segment of the usual length.
    acts.push(Act::Append(maker.one(3, 40_000)));
    acts.push(Act::Append(maker.one(1, 30)));
    let mut sweep = sweep("rolls", small(), Durability::Sync);
    sweep.run(&MemoryDisk::simulated(seed()), &Model::default(), &acts);
    sweep.report();
}

#[test]
fn a_crash_in_a_group_of_callers_keeps_what_was_acknowledged() {
    let mut maker = Maker::new(seed() + 2, 5);
    let group = |maker: &mut Maker| {
        let sizes = [300, 9000, 20, 30_000, 15_000, 50, 100];
        Act::Group(sizes.map(|bytes| maker.one(1 + bytes % 3, bytes / 2)).into())
    };
    let acts = [group(&mut maker), group(&mut maker), Act::KeepUp, group(&mut maker)];
    let mut sweep = sweep("groups", small(), Durability::Sync);
    sweep.run(&MemoryDisk::simulated(seed()), &Model::default(), &acts);
    sweep.report();
}

/// A store in which segments are folded into the directory and the runs of ids.
pub(super) fn folding() -> History {
    let options = small();
    let (disk, model) = filled(8, &options, false);
    let mut maker = Maker::new(seed() + 3, 12);
    let mut acts: Vec<Act> = (0..6).map(|_| Act::Append(maker.one(2, 9000))).collect();
    acts.push(Act::Reopen);
    acts.push(Act::Append(maker.one(1, 30)));
    History { disk, model, options, acts }
}

#[test]
fn a_crash_while_the_index_is_folded_costs_nothing() {
    let History { mut disk, mut model, options, acts } = folding();
    for _ in 0..scaled(1, 2) {
        let mut sweep = sweep("folds", options.clone(), Durability::Sync);
        sweep.run(&disk, &model, &acts);
        sweep.report();
        (disk, model) = filled(8, &options, true);
    }
}

#[test]
fn a_crash_in_a_weaker_mode_loses_a_suffix_of_whole_appends() {
    for (name, durability) in MODES.into_iter().skip(1) {
        let mut maker = Maker::new(seed() + 4, 5);
        let mut acts = Vec::new();
        for round in 0..4 {
            acts.push(Act::Append(maker.one(1, 30)));
            acts.push(Act::Append(maker.batch(2, 100)));
            acts.push(Act::Append(maker.one(2, 9000)));
            match round {
                0 => acts.push(Act::Sync),
                1 => {
                    // The next segment is made ready while the first group of this one is not
                    // durable.
                    acts.push(Act::Append(maker.one(1, 40_000)));
                    acts.push(Act::KeepUp);
                }
                2 => acts.push(Act::Reopen),
                _ => {}
            }
        }
        let mut sweep = sweep(name, small(), durability);
        sweep.run(&MemoryDisk::simulated(seed()), &Model::default(), &acts);
        sweep.report();
    }
}

#[test]
fn the_same_seed_gives_the_same_crashes() {
    let made = || {
        let (disk, _) = filled(2, &small(), false);
        let mut files = disk.crash_seeded(9).files();
        (disk.calls(), files.remove("log/0000000001.0.seg"))
    };
    assert!(made() == made());
}
