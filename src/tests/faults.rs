//! Every call of the storage fails, once or from then on, and errors say what is true.

use std::io::ErrorKind;

use super::history::{Act, Maker, Runner};
use super::oracle::{Checked, Model, assert_holds, check_disk};
use super::{Scene, scaled, seed, small};
use crate::storage::memory::{CallKind, Fault, MemoryDisk};
use crate::{Durability, Error, Result, Store, StoreOptions};

const DISK_ERROR: Fault = Fault::Errno(5);
const TOO_MANY_FILES: Fault = Fault::Errno(24);
const FULL: Fault = Fault::Error(ErrorKind::StorageFull);
const INTERRUPTED: Fault = Fault::Error(ErrorKind::Interrupted);
const REFUSED: Fault = Fault::Error(ErrorKind::PermissionDenied);
const FAULTS: [Fault; 6] =
    [DISK_ERROR, FULL, INTERRUPTED, TOO_MANY_FILES, REFUSED, Fault::ShortCount];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasting {
    Once,
    ForEver,
}

/// What a run is, and what was seen of all its variants.
struct Sweep {
    options: StoreOptions,
    durability: Durability,
    acts: Vec<Act>,
    checked: Checked,
    runs: usize,
    failures: usize,
    disks: usize,
}

impl Sweep {
    fn new(acts: Vec<Act>, durability: Durability) -> Self {
        Self {
            options: small(),
            durability,
            acts,
            checked: Checked::default(),
            runs: 0,
            failures: 0,
            disks: 0,
        }
    }

    fn run(&mut self, base: &MemoryDisk, model: &Model) {
        let disk = base.crash_keeping_everything();
        disk.start_trace();
        let mut runner = Runner::new(&disk, &self.options, self.durability, model.clone());
        assert!(runner.run(&self.acts).is_none(), "without a fault");
        runner.close().unwrap();
        let trace = disk.trace();
        for (call, traced) in trace.iter().enumerate() {
            let reads = [CallKind::Read, CallKind::Len, CallKind::Map, CallKind::Open];
            // One error of a read is like the other, unless it is of those that are no error.
            let is_told_apart = |fault: &Fault| ![TOO_MANY_FILES, FULL, REFUSED].contains(fault);
            let all = scaled(0, 1) == 1 || !reads.contains(&traced.kind);
            for fault in FAULTS.into_iter().filter(|fault| all || is_told_apart(fault)) {
                for lasting in [Lasting::Once, Lasting::ForEver] {
                    let seed = seed();
                    let _scene = Scene(move || {
                        format!("seed {seed}, {fault:?} {lasting:?} at call {call}, {traced:?}")
                    });
                    self.fail(base, model, call as u64, fault, lasting, traced.kind);
                }
            }
        }
        let Self { runs, failures, disks, .. } = self;
        eprintln!("{} calls: {runs} runs, {failures} failures, {disks} disks", trace.len());
    }

    fn fail(
        &mut self,
        base: &MemoryDisk,
        model: &Model,
        call: u64,
        fault: Fault,
        lasting: Lasting,
        kind: CallKind,
    ) {
        self.runs += 1;
        let disk = base.crash_keeping_everything();
        match lasting {
            Lasting::Once => disk.fail_at(call, fault),
            Lasting::ForEver => disk.fail_from(call, fault),
        }
        let mut runner = Runner::new(&disk, &self.options, self.durability, model.clone());
        let failures = go_on(&mut runner, &self.acts, lasting);
        self.failures += failures;
        let moves_bytes = [CallKind::Read, CallKind::Write, CallKind::ReadDirect].contains(&kind);
        let is_harmless = match fault {
            Fault::ShortCount => true,
            INTERRUPTED => lasting == Lasting::Once && moves_bytes,
            _ => false,
        };
        assert!(failures == 0 || !is_harmless, "the caller sees a fault that is none");
        let model = &runner.model;
        let killed = disk.crash_keeping_everything();
        if self.checked.is_new_in_cache(&killed, model) {
            self.disks += 1;
            check_disk(&killed, &self.options, &mut model.clone());
        }
        for left in [disk.crash_keeping_nothing(), disk.crash_seeded(call)] {
            if self.checked.is_new(&left, model) {
                self.disks += 1;
                check_disk(&left, &self.options, &mut model.clone());
            }
        }
    }
}

/// Does everything, whatever fails, and says how much did.
fn go_on(runner: &mut Runner<'_>, acts: &[Act], lasting: Lasting) -> usize {
    let mut failures = 0;
    let mut note = |result: Result<()>| {
        if let Err(e) = &result {
            failures += 1;
            assert_typed(e);
        }
        result.is_ok()
    };
    note(open_twice(runner, lasting));
    for act in acts {
        if matches!(act, Act::Reopen) {
            note(runner.close());
            note(open_twice(runner, lasting));
        } else if runner.store.is_some() {
            let was_stopped = runner.is_stopped;
            let is_append = matches!(act, Act::Append(_) | Act::Group(_));
            let went_well = note(runner.act(act));
            assert!(!went_well || !was_stopped || !is_append, "an append after the poison");
            if let Some(store) = runner.store.as_ref().filter(|_| runner.is_stopped) {
                assert_reads_go_on(store, &runner.model, lasting);
            }
        }
    }
    note(runner.close());
    failures
}

/// A failed opening leaves nothing behind that keeps the next one from succeeding.
fn open_twice(runner: &mut Runner<'_>, lasting: Lasting) -> Result<()> {
    let Err(first) = runner.open() else { return Ok(()) };
    let again = runner.open();
    assert!(again.is_ok() || lasting == Lasting::ForEver, "{again:?} behind {first:?}");
    assert!(!matches!(again, Err(Error::Locked { .. })), "the lock is held by a failed opening");
    Err(first)
}

/// An error of the medium is that, and no word on what the files hold.
fn assert_typed(e: &Error) {
    match e {
        Error::Io { .. } => {}
        Error::NotWritten { cause } | Error::Unknown { cause } | Error::Poisoned { cause } => {
            assert_typed(cause);
        }
        other => panic!("{other:?}"),
    }
}

/// A writer that is stopped leaves its readers alone.
fn assert_reads_go_on(store: &Store, model: &Model, lasting: Lasting) {
    let mut read = 0;
    for (found, recorded) in store.read_all().into_iter().zip(model.events()) {
        match found {
            Ok(event) => {
                read += 1;
                assert_holds(&event, recorded);
            }
            Err(e) => {
                assert_eq!(lasting, Lasting::ForEver, "{e}");
                assert_typed(&e);
                return;
            }
        }
    }
    assert_eq!(read, store.head().0);
}

/// A store that is created, rolls, saves its index, is closed and opened.
fn standard() -> Vec<Act> {
    let mut maker = Maker::new(seed() + 10, 5);
    let sizes = [9000, 20, 14_000, 30_000, 50, 15_000, 100];
    let group = sizes.map(|bytes| maker.one(1 + bytes % 2, bytes));
    vec![
        // One that does not fit the first segment while that is empty.
        Act::Append(maker.one(1, 70_000)),
        Act::Append(maker.one(2, 30)),
        Act::Group(group.into()),
        Act::Append(maker.batch(2, 90)),
        Act::Append(maker.one(1, 20)),
        Act::Reopen,
        Act::Append(maker.one(1, 9000)),
        Act::KeepUp,
        Act::Append(maker.batch(3, 400)),
        Act::Append(maker.one(1, 70_000)),
        Act::Append(maker.one(1, 20)),
    ]
}

#[test]
fn a_fault_in_a_standard_run_is_typed_and_loses_nothing() {
    let disk = MemoryDisk::simulated(seed());
    Sweep::new(standard(), Durability::Sync).run(&disk, &Model::default());
}

#[test]
fn a_fault_in_a_weaker_mode_is_typed_and_loses_nothing_durable() {
    for (name, durability) in super::MODES.into_iter().skip(1) {
        let _scene = Scene(move || name.into());
        let mut acts = standard();
        acts.insert(4, Act::Sync);
        acts.insert(9, Act::KeepUp);
        let disk = MemoryDisk::simulated(seed());
        Sweep::new(acts, durability).run(&disk, &Model::default());
    }
}

#[test]
fn a_fault_while_a_killed_store_is_opened_is_typed_and_loses_nothing() {
    let disk = MemoryDisk::simulated(seed());
    let mut runner = Runner::new(&disk, &small(), Durability::Sync, Model::default());
    assert!(runner.run(&standard()).is_none());
    let mut maker = Maker::new(seed() + 11, 5);
    // An index checkpoint that ends with events, and a last write of which parts are there.
    for bytes in [9000, 9000, 10] {
        runner.act(&Act::Append(maker.one(1, bytes))).unwrap();
    }
    disk.fail_at(disk.calls() + 1, DISK_ERROR);
    assert!(runner.act(&Act::Append(maker.one(3, 900))).is_err());
    let acts = [Act::Append(maker.one(1, 70_000)), Act::Append(maker.one(2, 20))];
    for base in [disk.crash_keeping_everything(), disk.crash_seeded(3)] {
        Sweep::new(acts.to_vec(), Durability::Sync).run(&base, &runner.model);
    }
}
