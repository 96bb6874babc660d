use std::collections::BTreeMap;

use super::change::WRITE_CHANGES;
use super::frames::Written;
use super::*;
use crate::error::{Error, Result};
use crate::format::files::StateFile;
use crate::format::statewrites::{MAX_KEY, MAX_VALUE};
use crate::options::Preallocate;
use crate::storage::Dir;
use crate::storage::memory::{CallKind, Fault, MemoryDisk};
use crate::sync::{Arc, AtomicU64};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

const STORE: [u8; 16] = [9; 16];

fn dir(disk: &MemoryDisk) -> Dir {
    Dir::new(Arc::new(disk.clone()))
}

/// A part, with what frames of a log that ends at a position wrote.
fn part(disk: &MemoryDisk, writable: bool, end: u64, found: Vec<(u64, Vec<Change>)>) -> Part {
    let (dir, log_end) = (dir(disk), Arc::new(AtomicU64::new(end)));
    let home = Home { dir, store: STORE, writable, preallocate: Preallocate::Zero, log_end };
    let part = Part::new(&home, StateFile::Values, None);
    for (position, changes) in found {
        part.apply(plain(position, changes));
    }
    part
}

fn plain(position: u64, changes: Vec<Change>) -> Written {
    Written { position, link: None, changes }
}

fn open(disk: &MemoryDisk) -> Part {
    part(disk, true, 0, Vec::new())
}

fn open_read_only(disk: &MemoryDisk) -> Part {
    part(disk, false, 0, Vec::new())
}

fn change(key: &[u8], value: Option<&[u8]>) -> Change {
    Change { key: Arc::from(key), value: value.map(Arc::from) }
}

fn disk() -> MemoryDisk {
    let disk = MemoryDisk::simulated(7);
    dir(&disk).create_dir("").unwrap();
    disk
}

/// Every n-th of a sweep, or all of it.
fn every(n: usize) -> usize {
    if std::env::var_os("ANNALS_LONG").is_some_and(|long| long != "0") { 1 } else { n }
}

/// Everything that a state holds, where all of it can be read.
fn all(state: &Part) -> Result<Model> {
    let Scan { entries, doubt } = state.scan(b"")?;
    if let Some(e) = doubt {
        return Err(e);
    }
    entries.into_iter().map(|(key, value)| Ok((key.to_vec(), value?.to_vec()))).collect()
}

fn set(model: &mut Model, changes: &[Change]) {
    for Change { key, value } in changes {
        match value {
            Some(value) => drop(model.insert(key.to_vec(), value.to_vec())),
            None => drop(model.remove(&key[..])),
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888);
        (self.0 >> 33) % bound
    }

    /// One to three changes of few keys, now and then a large value, so that files fill up.
    fn changes(&mut self) -> Vec<Change> {
        let count = 1 + self.below(3);
        (0..count)
            .map(|_| {
                let key = format!("key-{}", self.below(5));
                let len = [3, 40, 600, 16_000][usize::try_from(self.below(4)).unwrap()];
                let value = vec![u8::try_from(self.below(256)).unwrap(); len];
                let is_value = self.below(4) != 0;
                change(key.as_bytes(), is_value.then_some(&value[..]))
            })
            .collect()
    }
}

#[test]
fn values_come_back_in_order_and_across_openings() {
    let disk = disk();
    let state = open(&disk);
    assert_eq!(state.get(b"a").unwrap(), None);
    assert!(!disk.files().keys().any(|name| name.starts_with("state/")), "a read makes no file");
    state.write(vec![change(b"b", Some(b"2")), change(b"a", Some(b"1"))], 0).unwrap();
    state.write(vec![change(b"b", None), change(b"ab", Some(b"")), change(b"c", None)], 0).unwrap();
    let expected = [(b"a".to_vec(), b"1".to_vec()), (b"ab".to_vec(), Vec::new())];
    assert_eq!(all(&state).unwrap(), BTreeMap::from(expected.clone()));
    let a: Vec<_> = state.scan(b"ab").unwrap().entries.into_iter().map(|(key, _)| key).collect();
    assert_eq!(a, [Arc::from(&b"ab"[..])]);
    state.close(0).unwrap();
    assert!(matches!(state.write(vec![change(b"a", None)], 0), Err(Error::Closed)));
    for state in [open(&disk), open_read_only(&disk)] {
        assert_eq!(all(&state).unwrap(), BTreeMap::from(expected.clone()));
    }
    let refused = open_read_only(&disk).write(vec![change(b"a", None)], 0);
    assert!(matches!(refused, Err(Error::ReadOnly)));
}

#[test]
fn limits_are_errors_and_write_nothing() {
    let disk = disk();
    let state = open(&disk);
    let long = vec![0; MAX_KEY + 1];
    let large: Arc<[u8]> = vec![0; MAX_VALUE + 1].into();
    for changes in [
        vec![change(b"", Some(b"1"))],
        vec![change(&long, Some(b"1"))],
        vec![Change { key: Arc::from(&b"a"[..]), value: Some(large) }],
        vec![change(b"a", None); WRITE_CHANGES + 1],
    ] {
        let refused = state.write(changes, 0);
        assert!(matches!(refused, Err(Error::LimitExceeded { .. })), "{refused:?}");
    }
    state.write(vec![change(b"a", Some(&vec![3; MAX_VALUE]))], 0).unwrap();
    state.close(0).unwrap();
    assert_eq!(open(&disk).get(b"a").unwrap().unwrap().len(), MAX_VALUE);
}

#[test]
fn a_clean_file_is_continued_and_any_other_replaced() {
    let disk = disk();
    let names = || -> Vec<String> {
        disk.files().into_keys().filter(|name| name.starts_with("state/")).collect()
    };
    let state = open(&disk);
    state.write(vec![change(b"a", Some(b"1"))], 0).unwrap();
    state.close(0).unwrap();
    assert_eq!(names(), ["state/values-1"]);
    let state = open(&disk);
    state.write(vec![change(b"a", Some(b"2"))], 0).unwrap();
    assert_eq!(names(), ["state/values-1"], "closed in good order");
    drop(state);
    let state = open(&disk);
    assert_eq!(state.get(b"a").unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(names(), ["state/values-1"], "reading changes nothing");
    state.write(vec![change(b"b", Some(b"3"))], 0).unwrap();
    assert_eq!(names(), ["state/values-2"], "killed");
    state.close(0).unwrap();
    assert_eq!(all(&open(&disk)).unwrap().len(), 2);
}

#[test]
fn state_writes_of_frames_are_seen_at_once_and_saved_in_order() {
    let disk = disk();
    let state = open(&disk);
    state.apply(plain(3, vec![change(b"a", Some(b"3")), change(b"b", Some(b"3"))]));
    state.apply(plain(5, vec![change(b"a", Some(b"5"))]));
    assert_eq!(state.get(b"a").unwrap().as_deref(), Some(&b"5"[..]));
    assert_eq!(state.pending_up_to(), 5);
    state.save(2).unwrap();
    assert!(!disk.files().keys().any(|name| name.starts_with("state/")), "nothing is durable");
    // What is saved directly comes behind what frames wrote before.
    state.write(vec![change(b"b", Some(b"9"))], 4).unwrap();
    assert_eq!(state.pending_up_to(), 5);
    let reread = || all(&open_read_only(&disk)).unwrap();
    let value = |model: &Model, key: &[u8]| model.get(key).map(|value| value[0]);
    assert_eq!((value(&reread(), b"a"), value(&reread(), b"b")), (Some(b'3'), Some(b'9')));
    assert_eq!(state.get(b"a").unwrap().as_deref(), Some(&b"5"[..]));
    state.save(5).unwrap();
    assert_eq!((value(&reread(), b"a"), state.pending_up_to()), (Some(b'5'), 0));
    // Frames up to 5 are in the file, so that an opening that finds them again passes them over.
    let found = vec![(5, vec![change(b"b", Some(b"5"))]), (6, vec![change(b"c", Some(b"6"))])];
    let again = part(&disk, true, 6, found.clone());
    let model = all(&again).unwrap();
    assert_eq!((value(&model, b"b"), value(&model, b"c")), (Some(b'9'), Some(b'6')));
    // In a log that ends before them they are of another history, and what frames say is newer.
    let found = found.into_iter().map(|(position, changes)| (position - 3, changes)).collect();
    let other = part(&disk, true, 3, found);
    assert_eq!(value(&all(&other).unwrap(), b"b"), Some(b'5'));
}

#[test]
fn many_callers_share_groups() {
    let disk = disk();
    let state = open(&disk);
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let state = &state;
            scope.spawn(move || {
                for n in 0..50_u8 {
                    state
                        .write(vec![change(&[thread], Some(&[n])), change(&[9], None)], 0)
                        .unwrap();
                    assert_eq!(state.get(&[thread]).unwrap().as_deref(), Some(&[n][..]));
                }
            });
        }
    });
    drop(state);
    let expected: Model = (0..4).map(|thread| (vec![thread], vec![49])).collect();
    assert_eq!(all(&open(&disk)).unwrap(), expected);
}

/// A history, up to its first failure: what is acknowledged, and what may be there beside.
fn history(disk: &MemoryDisk, seed: u64, mut went: impl FnMut(&Result<()>)) -> (Model, Model) {
    let mut random = Random(seed);
    let mut model = Model::new();
    for _ in 0..4 {
        let state = open(disk);
        for _ in 0..12 {
            let changes = random.changes();
            let written = state.write(changes.clone(), 0);
            went(&written);
            let before = model.clone();
            set(&mut model, &changes);
            if written.is_err() {
                let again = state.write(changes, 0);
                assert!(
                    !matches!(written, Err(Error::Unknown { .. }))
                        || matches!(again, Err(Error::Poisoned { .. })),
                    "{again:?} behind {written:?}"
                );
                return (before, model);
            }
        }
        if random.below(3) != 0 {
            let closed = state.close(0);
            went(&closed);
            if closed.is_err() {
                return (model.clone(), model);
            }
        }
    }
    (model.clone(), model)
}

#[test]
fn a_crash_at_any_call_keeps_what_was_acknowledged_and_no_part_of_a_group() {
    let (mut crashes, mut images) = (0, 0);
    for seed in 0..3 {
        let whole = disk();
        history(&whole, seed, |written| assert!(written.is_ok()));
        assert!(!whole.files().contains_key("state/values-1"), "files fill up: {seed}");
        for call in (0..=whole.calls()).step_by(every(3)) {
            let disk = disk();
            disk.crash_at(call + 1);
            crashes += 1;
            let (before, after) = history(&disk, seed, |_| ());
            let mut left = vec![disk.crash_keeping_everything(), disk.crash_keeping_nothing()];
            left.extend((0..4).map(|n| disk.crash_seeded(call * 4 + n)));
            for image in left {
                images += 1;
                let found = all(&open_read_only(&image)).unwrap();
                assert!(found == before || found == after, "seed {seed}, call {call}");
                // Going on decides it, and a crash right behind that keeps the decision.
                let state = open(&image);
                let decided = all(&state).unwrap();
                assert!(decided == before || decided == after, "seed {seed}, call {call}");
                state.write(vec![change(b"next", Some(b"1"))], 0).unwrap();
                let found = all(&open(&image.crash_keeping_nothing())).unwrap();
                let mut expected = decided;
                expected.insert(b"next".to_vec(), b"1".to_vec());
                assert_eq!(found, expected, "seed {seed}, call {call}");
            }
        }
    }
    eprintln!("{crashes} crashes, {images} images");
}

#[test]
fn a_crash_in_an_opening_behind_a_crash_keeps_it_too() {
    let mut images = 0;
    let whole = disk();
    history(&whole, 1, |_| ());
    for call in (0..=whole.calls()).step_by(every(17)) {
        let disk = disk();
        disk.crash_at(call + 1);
        let (before, after) = history(&disk, 1, |_| ());
        for second in 0..25 {
            let image = disk.crash_seeded(call);
            image.crash_at(second);
            let state = open(&image);
            let written = state.write(vec![change(b"next", Some(b"1"))], 0);
            let image = image.crash_seeded(second);
            images += 1;
            let mut found = all(&open(&image)).unwrap();
            let next = found.remove(&b"next"[..]);
            assert!(next.is_some() || written.is_err(), "call {call}, then {second}");
            assert!(found == before || found == after, "call {call}, then {second}");
        }
    }
    eprintln!("{images} images");
}

#[test]
fn a_fault_at_any_call_is_typed_and_loses_nothing() {
    let whole = disk();
    history(&whole, 2, |_| ());
    let calls = whole.calls();
    let mut failures = 0;
    for call in (1..calls).step_by(every(3)) {
        for fault in [Fault::Errno(5), Fault::Error(std::io::ErrorKind::StorageFull)] {
            for is_lasting in [false, true] {
                let disk = disk();
                if is_lasting {
                    disk.fail_from(call, fault);
                } else {
                    disk.fail_at(call, fault);
                }
                let (before, after) = history(&disk, 2, |written| {
                    if let Err(e) = written {
                        failures += 1;
                        assert!(!e.is_corruption(), "{e}");
                        assert!(e.is_retryable(), "{e}");
                    }
                });
                for image in [disk.crash_keeping_everything(), disk.crash_keeping_nothing()] {
                    let found = all(&open(&image)).unwrap();
                    // What was tried again behind a failure that wrote nothing may be there.
                    assert!(found == before || found == after, "call {call}, {fault:?}");
                }
            }
        }
    }
    eprintln!("{calls} calls, {failures} failures");
    assert!(failures > 100);
}

#[test]
fn a_failed_sync_is_not_tried_again() {
    let disk = disk();
    let state = open(&disk);
    state.write(vec![change(b"a", Some(b"1"))], 0).unwrap();
    disk.start_trace();
    disk.fail_at(disk.calls() + 1, Fault::Errno(5));
    let failed = state.write(vec![change(b"a", Some(b"2"))], 0);
    assert!(matches!(failed, Err(Error::Unknown { .. })), "{failed:?}");
    assert_eq!(disk.trace().last().map(|call| call.kind), Some(CallKind::Sync));
    let calls = disk.calls();
    let again = state.write(vec![change(b"b", Some(b"2"))], 0);
    assert!(matches!(again, Err(Error::Poisoned { .. })), "{again:?}");
    assert!(state.close(0).is_ok());
    assert_eq!(disk.calls(), calls, "nothing is written behind it");
    assert_eq!(state.get(b"a").unwrap().as_deref(), Some(&b"1"[..]), "reads go on");
    // The cache shows the failed write as if it were there; an opening looks at the medium.
    let state = open(&disk);
    assert_eq!(state.get(b"a").unwrap().as_deref(), Some(&b"1"[..]));
    state.write(vec![change(b"b", Some(b"3"))], 0).unwrap();
    let found = all(&open(&disk.crash_keeping_nothing())).unwrap();
    assert_eq!(
        found,
        Model::from([(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"3".to_vec())])
    );
}

/// A file with a few keys, one of them deleted, closed in good order or not.
fn sample(is_closed: bool) -> (MemoryDisk, Model) {
    let disk = disk();
    let state = open(&disk);
    let mut model = Model::new();
    for changes in [
        vec![change(b"a", Some(b"old")), change(b"b", Some(b"bee"))],
        vec![change(b"gone", Some(b"x"))],
        vec![change(b"a", Some(b"new")), change(b"gone", None)],
        vec![change(b"c", Some(&[7; 300]))],
    ] {
        set(&mut model, &changes);
        state.write(changes, 0).unwrap();
    }
    if is_closed {
        state.close(0).unwrap();
    }
    (disk, model)
}

/// What damage may do: each key reads as it was or as a typed error, and what is written over it
/// reads as that, also in the file that follows.
fn assert_honest(disk: &MemoryDisk, model: &Model) -> usize {
    let state = open(disk);
    let mut errors = 0;
    for key in [&b"a"[..], b"b", b"c", b"gone", b"never"] {
        match state.get(key) {
            Ok(value) => assert_eq!(value.as_deref(), model.get(key).map(Vec::as_slice)),
            Err(e) => {
                assert!(e.is_corruption(), "{e}");
                errors += 1;
            }
        }
    }
    match all(&state) {
        Ok(found) => assert_eq!((&found, errors), (model, 0)),
        Err(e) => assert!(e.is_corruption() && errors > 0, "{e}"),
    }
    state.write(vec![change(b"b", Some(b"reset"))], 0).unwrap();
    state.close(0).unwrap();
    let again = open(disk);
    assert_eq!(again.get(b"b").unwrap().as_deref(), Some(&b"reset"[..]));
    let mut left = 0;
    for key in [&b"a"[..], b"c", b"gone", b"never"] {
        match again.get(key) {
            Ok(value) => assert_eq!(value.as_deref(), model.get(key).map(Vec::as_slice)),
            Err(e) => {
                assert!(e.is_corruption(), "{e}");
                left += 1;
            }
        }
    }
    assert!(left + 1 >= errors, "an error is no longer one where nothing was written");
    errors
}

#[test]
fn every_flipped_byte_and_every_cut_gives_the_same_or_a_typed_error() {
    const NAME: &str = "state/values-1";
    let (disk, model) = sample(true);
    let bytes = disk.files().remove(NAME).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 40;
    let (mut damaged, mut detected) = (0, 0);
    for offset in (0..64).chain(4096..used).step_by(every(2)) {
        for bit in [0x01, 0x80] {
            let copy = disk.crash_keeping_everything();
            copy.corrupt(NAME, offset, bit);
            damaged += 1;
            detected += usize::from(assert_honest(&copy, &model) > 0);
        }
    }
    for len in (0..64).chain(4090..used).step_by(every(5)).chain([bytes.len() / 2, bytes.len() - 1])
    {
        let copy = disk.crash_keeping_everything();
        copy.put(NAME, &bytes[..len]);
        damaged += 1;
        assert!(assert_honest(&copy, &model) > 0, "cut to {len}");
    }
    eprintln!("{damaged} damaged files, {detected} flips that hide something");
    assert!(detected > 100);
}

#[test]
fn in_a_killed_store_only_the_last_group_can_be_taken_for_a_torn_one() {
    const NAME: &str = "state/values-1";
    let (disk, model) = sample(false);
    let mut without_last = model.clone();
    without_last.remove(&b"c"[..]);
    let bytes = disk.files().remove(NAME).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 8;
    // The group's head and key take 37 bytes, and `used` counts 7 zeros.
    let last = used - 7 - 300 - 37;
    let mut torn = 0;
    for offset in (0..64).chain(4096..used) {
        let copy = disk.crash_keeping_everything();
        copy.corrupt(NAME, offset, 0x10);
        match all(&open(&copy)) {
            Ok(found) if found == without_last => {
                assert!(offset >= last, "{offset}");
                torn += 1;
            }
            _ => drop(assert_honest(&copy, &model)),
        }
    }
    assert!((300..=345).contains(&torn), "{torn}");
}

#[test]
fn files_of_a_later_version_are_left_alone() {
    let (disk, _) = sample(true);
    let mut bytes = disk.files().remove("state/values-1").unwrap();
    bytes[10] = 2;
    let crc = crate::format::codec::crc32(&bytes[..60]);
    crate::format::codec::patch_u32(&mut bytes, 60, crc);
    disk.put("state/values-1", &bytes);
    let state = open(&disk);
    assert!(matches!(state.get(b"a"), Err(Error::UnsupportedFormat { .. })));
    let refused = state.write(vec![change(b"a", None)], 0).unwrap_err();
    let Error::NotWritten { cause } = &refused else { panic!("{refused:?}") };
    assert!(matches!(**cause, Error::UnsupportedFormat { .. }), "{refused:?}");
    assert_eq!(disk.files().remove("state/values-1").unwrap(), bytes);
}
