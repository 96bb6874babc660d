//! A power cut before every call of the storage, and what it may leave, opened again.

use super::history::{Act, Maker, Runner, filled};
use super::oracle::{Checked, Model, check_disk, check_opened};
use super::{MODES, Random, Scene, open, scaled, seed, small};
use crate::format::segment::HEADER_BYTES;
use crate::storage::memory::{Choice, Keep, MemoryDisk};
use crate::{Durability, StoreOptions};

/// What was done to how much, for the account at the end.
#[derive(Debug, Default)]
struct Tally {
    /// Calls before which the power went.
    crashes: usize,
    /// What crashes left, and how much of it was not checked before.
    images: usize,
    different: usize,
    /// Crashes inside the opening of what an earlier crash left.
    second_crashes: usize,
}

/// Crashes a history everywhere.
struct Sweep {
    name: &'static str,
    seed: u64,
    options: StoreOptions,
    durability: Durability,
    /// How many images of a crash are made where there are too many to make all.
    images: usize,
    /// Of so many different images one is crashed again at every call of its opening.
    again: usize,
    random: Random,
    /// Images that were checked, with what was known of them.
    checked: Checked,
    tally: Tally,
}

impl Sweep {
    fn new(name: &'static str, options: StoreOptions, durability: Durability) -> Self {
        Self {
            name,
            seed: seed(),
            options,
            durability,
            images: scaled(12, 300),
            again: scaled(60, 10),
            random: Random(seed()),
            checked: Checked::default(),
            tally: Tally::default(),
        }
    }

    /// Runs a history from a disk on, with the power going before each of its calls.
    fn run(&mut self, base: &MemoryDisk, model: &Model, acts: &[Act]) {
        let calls = {
            let disk = base.crash_keeping_everything();
            let mut runner = Runner::new(&disk, &self.options, self.durability, model.clone());
            assert!(runner.run(acts).is_none(), "{}: without a crash", self.name);
            runner.close().unwrap();
            let calls = disk.calls();
            check_disk(&disk, &self.options, &mut runner.model);
            calls
        };
        for call in 0..=calls {
            let (name, seed) = (self.name, self.seed);
            let _scene = Scene(move || format!("{name}, seed {seed}, no power from call {call}"));
            self.tally.crashes += 1;
            let disk = base.crash_keeping_everything();
            disk.crash_at(call);
            let mut runner = Runner::new(&disk, &self.options, self.durability, model.clone());
            let failure = runner.run(acts);
            let closed = runner.close();
            assert!(failure.is_some() || closed.is_err() || disk.calls() <= call);
            let durable = runner.model;
            let mut killed = durable.clone();
            if self.durability == Durability::Os {
                // What was acknowledged was handed to the system.
                killed.keep_up_to(runner.acknowledged);
            }
            let image = disk.crash_keeping_everything();
            let is_new = self.checked.is_new_in_cache(&image, &killed);
            self.image(is_new, &image, &killed, &durable);
            for image in images(&disk, self.images, self.seed ^ call) {
                let is_new = self.checked.is_new(&image, &durable);
                self.image(is_new, &image, &durable, &durable);
            }
        }
    }

    /// Checks what a crash left, unless the same was checked before. `durable` is what a power cut
    /// would leave of the model before the disk is opened.
    fn image(&mut self, is_new: bool, image: &MemoryDisk, model: &Model, durable: &Model) {
        self.tally.images += 1;
        if !is_new {
            return;
        }
        self.tally.different += 1;
        if self.random.one_in(self.again) {
            self.crash_opening(image, model, durable);
        }
        let disk = image.crash_keeping_everything();
        let store = open(&disk, &self.options).unwrap();
        let mut model = model.clone();
        model.settle(store.head());
        // What opening has decided stays, even if the power goes right behind it.
        let behind = open(&disk.crash_keeping_nothing(), &self.options).unwrap();
        assert_eq!(behind.head(), store.head(), "after a power cut behind the opening");
        drop(behind);
        check_opened(&disk, &self.options, &store, &mut model);
    }

    /// Opens what a crash left, with the power going before each call of that.
    fn crash_opening(&mut self, image: &MemoryDisk, model: &Model, durable: &Model) {
        let calls = {
            let disk = image.crash_keeping_everything();
            drop(open(&disk, &self.options).unwrap());
            disk.calls()
        };
        let every = scaled(4, 1);
        for call in (self.random.below(every) as u64..calls).step_by(every) {
            let _scene = Scene(move || format!("  and again from call {call} of the opening"));
            self.tally.second_crashes += 1;
            let disk = image.crash_keeping_everything();
            disk.crash_at(call);
            let (mut killed, mut durable) = (model.clone(), durable.clone());
            if let Ok(store) = open(&disk, &self.options) {
                killed.settle(store.head());
                durable = killed.clone();
            }
            let image = disk.crash_keeping_everything();
            if self.checked.is_new_in_cache(&image, &killed) {
                check_disk(&image, &self.options, &mut killed);
            }
            let (all, some) = (disk.crash(&mut |_| Keep::New), self.random.next());
            for image in [disk.crash_keeping_nothing(), all, disk.crash_seeded(some)] {
                if self.checked.is_new(&image, &durable) {
                    check_disk(&image, &self.options, &mut durable.clone());
                }
            }
        }
    }

    fn report(&self) {
        eprintln!("{}: {:?}", self.name, self.tally);
    }
}

/// What a power cut may leave: nothing, everything, and all in between where that is little,
/// otherwise so many seeded ones.
fn images(disk: &MemoryDisk, many: usize, seed: u64) -> Vec<MemoryDisk> {
    let mut all = Vec::new();
    let mut path = Vec::new();
    loop {
        let (image, taken) = follow(disk, &path);
        all.push(image);
        if all.len() > 2 * many.max(16) {
            break;
        }
        let Some(next) = next_path(taken) else { return all };
        path = next;
    }
    all.truncate(1);
    all.push(disk.crash(&mut |_| Keep::New));
    all.extend((0..many as u64).map(|n| disk.crash_seeded(seed.wrapping_mul(31).wrapping_add(n))));
    all
}

/// A decision: which of how many.
type Decision = (usize, usize);

/// Crashes with the given decisions, and the first ones behind them.
fn follow(disk: &MemoryDisk, path: &[usize]) -> (MemoryDisk, Vec<Decision>) {
    let mut taken = Vec::new();
    let image = disk.crash(&mut |choice| {
        let keeps: &[Keep] = match choice {
            Choice::Sector { .. } => &[Keep::Old, Keep::New, Keep::Torn],
            Choice::Entry { .. } | Choice::Length { .. } => &[Keep::Old, Keep::New],
        };
        let decision = path.get(taken.len()).copied().unwrap_or(0);
        taken.push((decision, keeps.len()));
        keeps[decision]
    });
    (image, taken)
}

/// The decisions that come next when all are tried, the last one first.
fn next_path(mut taken: Vec<Decision>) -> Option<Vec<usize>> {
    while let Some((decision, of)) = taken.pop() {
        if decision + 1 < of {
            let mut path: Vec<usize> = taken.into_iter().map(|(decision, _)| decision).collect();
            path.push(decision + 1);
            return Some(path);
        }
    }
    None
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
    let mut sweep = Sweep::new("a new store", small(), Durability::Sync);
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
    let mut sweep = Sweep::new("frames in payloads", small(), Durability::Sync);
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
    let mut sweep = Sweep::new("rolls", small(), Durability::Sync);
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
    let mut sweep = Sweep::new("groups", small(), Durability::Sync);
    sweep.run(&MemoryDisk::simulated(seed()), &Model::default(), &acts);
    sweep.report();
}

#[test]
fn a_crash_while_the_index_is_folded_costs_nothing() {
    for is_closed in [false, true].into_iter().take(scaled(1, 2)) {
        let options = small();
        let (disk, model) = filled(8, &options, is_closed);
        let mut maker = Maker::new(seed() + 3, 12);
        let mut acts: Vec<Act> = (0..6).map(|_| Act::Append(maker.one(2, 9000))).collect();
        acts.push(Act::Reopen);
        acts.push(Act::Append(maker.one(1, 30)));
        let mut sweep = Sweep::new("folds", options, Durability::Sync);
        sweep.run(&disk, &model, &acts);
        sweep.report();
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
        let mut sweep = Sweep::new(name, small(), durability);
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
