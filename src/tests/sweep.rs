//! A power cut before every call of the storage, and what it may leave, opened again: how one
//! history is crashed everywhere.

use std::cell::Cell;

use super::history::{Act, Runner};
use super::oracle::{
    Care, Checked, Model, assert_verifies, check_disk, check_opened, verified_end,
};
use super::{Random, Scene, images, open, seed};
use crate::storage::memory::{Keep, MemoryDisk};
use crate::{Durability, StoreOptions};

/// What was done to how much, for the account at the end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Calls before which the power went, and how many different disks that made.
    pub(super) crashes: usize,
    pub(super) states: usize,
    /// Cuts that no caller was told about.
    pub(super) unnoticed: usize,
    /// What those crashes left, and how much of it no earlier one had left with the same history:
    /// that was opened and checked.
    pub(super) images: usize,
    pub(super) different: usize,
    /// The same of crashes inside the opening of what an earlier crash left.
    pub(super) second_crashes: usize,
    pub(super) second_images: usize,
    pub(super) second_different: usize,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.crashes += other.crashes;
        self.states += other.states;
        self.unnoticed += other.unnoticed;
        self.images += other.images;
        self.different += other.different;
        self.second_crashes += other.second_crashes;
        self.second_images += other.second_images;
        self.second_different += other.second_different;
    }

    pub(super) const fn all_images(&self) -> usize {
        self.images + self.second_images
    }

    pub(super) const fn all_different(&self) -> usize {
        self.different + self.second_different
    }
}

/// Crashes histories everywhere.
pub(super) struct Sweep {
    pub(super) name: String,
    /// How to do again what fails at the call CALL.
    pub(super) replay: String,
    pub(super) seed: u64,
    options: StoreOptions,
    durability: Durability,
    /// How many images of a crash are made at random where there are too many to make all.
    samples: usize,
    /// Of so many different images one is crashed again at every call of its opening.
    again: u64,
    /// Of so many one is checked with full care.
    pub(super) care: u64,
    /// Only the crash before this call, where something is replayed.
    pub(super) only: Option<u64>,
    /// Crashes and images that were looked at, with what was known of them.
    states: Checked,
    checked: Checked,
    pub(super) tally: Tally,
}

impl Sweep {
    pub(super) fn new(
        name: &str,
        options: StoreOptions,
        durability: Durability,
        (samples, again): (usize, u64),
    ) -> Self {
        Self {
            name: name.into(),
            replay: "the same test".into(),
            seed: seed(),
            options,
            durability,
            samples,
            again,
            care: 1,
            only: None,
            states: Checked::default(),
            checked: Checked::default(),
            tally: Tally::default(),
        }
    }

    /// Runs a history from a disk on, with the power going before each of its calls.
    pub(super) fn run(&mut self, base: &MemoryDisk, model: &Model, acts: &[Act]) {
        let calls = {
            let disk = base.crash_keeping_everything();
            let mut runner = Runner::new(&disk, &self.options, self.durability, model.clone());
            assert!(runner.run(acts).is_none(), "{}: without a crash", self.name);
            runner.close().unwrap();
            let calls = disk.calls();
            check_disk(&disk, &self.options, &mut runner.model);
            calls
        };
        let (name, seed, replay) = (self.name.clone(), self.seed, self.replay.clone());
        let at = Cell::new(0);
        let _scene = Scene(|| {
            let replay = replay.replace("CALL", &at.get().to_string());
            format!("{name}, seed {seed}, no power from call {}\n  again: {replay}", at.get())
        });
        for call in 0..=calls {
            if self.only.is_none_or(|only| only == call) {
                at.set(call);
                self.crash_at(call, base, model, acts);
            }
        }
    }

    fn crash_at(&mut self, call: u64, base: &MemoryDisk, model: &Model, acts: &[Act]) {
        self.tally.crashes += 1;
        let disk = base.crash_keeping_everything();
        disk.crash_at(call);
        let mut runner = Runner::new(&disk, &self.options, self.durability, model.clone());
        let failure = runner.run(acts);
        let closed = runner.close();
        // What fails unnoticed is upkeep, which is tried again behind the next commit.
        self.tally.unnoticed +=
            usize::from(failure.is_none() && closed.is_ok() && call < disk.calls());
        let durable = runner.model;
        let mut killed = durable.clone();
        if self.durability == Durability::Os {
            // What was acknowledged was handed to the system.
            killed.keep_up_to(runner.acknowledged);
        }
        let state = disk.digest();
        if !self.states.is_new_with(state, killed.digest() ^ durable.digest().rotate_left(1)) {
            return;
        }
        self.tally.states += 1;
        self.image(&disk.crash_keeping_everything(), &killed, &durable);
        images::of(&disk, self.samples, self.seed ^ state, &mut |image| {
            self.image(&image, &durable, &durable);
        });
    }

    /// Checks what a crash left, unless the same was checked before. `durable` is what a power cut
    /// would leave of the model before the disk is opened.
    fn image(&mut self, image: &MemoryDisk, model: &Model, durable: &Model) {
        self.tally.images += 1;
        let digest = image.digest();
        if !self.checked.is_new_with(digest, model.digest()) {
            return;
        }
        self.tally.different += 1;
        if digest.is_multiple_of(self.again) {
            self.crash_opening(image, digest, model, durable);
        }
        self.check(image, digest, &mut model.clone());
    }

    /// Opens what a crash left and checks it: with full care every so often, by what is in it.
    fn check(&self, image: &MemoryDisk, digest: u64, model: &mut Model) {
        let disk = image.crash_keeping_everything();
        let store = open(&disk, &self.options).unwrap();
        model.settle(store.head());
        if !(digest >> 32).is_multiple_of(self.care) {
            check_opened(&disk, &self.options, &store, model, Care::Plain);
            return;
        }
        // What opening has decided stays, even if the power goes right behind it.
        let behind = open(&disk.crash_keeping_nothing(), &self.options).unwrap();
        assert_eq!(behind.head(), store.head(), "after a power cut behind the opening");
        drop(behind);
        let end = verified_end(image).unwrap_or_default();
        assert_eq!(end, store.head(), "verify sees the end that opening does");
        check_opened(&disk, &self.options, &store, model, Care::Full);
        assert_verifies(&disk, model);
    }

    /// Opens what a crash left, with the power going before each call of that, and of the closing,
    /// that makes a difference.
    fn crash_opening(&mut self, image: &MemoryDisk, digest: u64, model: &Model, durable: &Model) {
        let mut random = Random(self.seed ^ digest);
        for call in calls_of_opening(image, &self.options) {
            let _scene = Scene(move || format!("  and again from call {call} of the opening"));
            self.tally.second_crashes += 1;
            let disk = image.crash_keeping_everything();
            disk.crash_at(call);
            let (mut killed, mut durable) = (model.clone(), durable.clone());
            if let Ok(store) = open(&disk, &self.options) {
                killed.settle(store.head());
                durable = killed.clone();
            }
            if !self.states.is_new_with(disk.digest(), killed.digest()) {
                continue;
            }
            self.second_image(&disk.crash_keeping_everything(), &killed);
            self.second_image(&disk.crash_keeping_nothing(), &durable);
            self.second_image(&disk.crash(&mut |_| Keep::New), &durable);
            for _ in 0..self.samples.clamp(2, 8) {
                self.second_image(&disk.crash_seeded(random.next()), &durable);
            }
        }
    }

    fn second_image(&mut self, image: &MemoryDisk, model: &Model) {
        self.tally.second_images += 1;
        let digest = image.digest();
        if self.checked.is_new_with(digest, model.digest()) {
            self.tally.second_different += 1;
            self.check(image, digest, &mut model.clone());
        }
    }

    pub(super) fn report(&self) {
        eprintln!("{}: {:?}", self.name, self.tally);
    }
}

/// The calls of opening and closing before which a power cut can leave something of its own: those
/// around a change. Before any other call there is what was there before the change in front of it,
/// and nothing was promised in between. The end of the opening is one of them: from there on what
/// it found has to stay.
fn calls_of_opening(image: &MemoryDisk, options: &StoreOptions) -> Vec<u64> {
    let disk = image.crash_keeping_everything();
    disk.start_trace();
    let store = open(&disk, options).unwrap();
    let opened = disk.calls();
    drop(store);
    let trace = disk.trace();
    let changes = |call: u64| {
        let call = usize::try_from(call).ok().and_then(|call| trace.get(call));
        call.is_some_and(|call| call.kind.may_change())
    };
    let end = disk.calls();
    let differs = |call: &u64| {
        let around = *call == 0 || *call == opened || *call == end;
        around || changes(*call) || changes(*call - 1)
    };
    (0..=end).filter(differs).collect()
}
