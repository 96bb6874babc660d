//! Snapshots of the whole store: one that is read is the state of its stream at its version; one
//! that cannot be used is as if it were not there, and never an error.

use super::{MODES, Scene, open, open_read_only, scaled, seed, small};
use crate::storage::memory::{Fault, MemoryDisk};
use crate::{Error, ExpectedVersion, NewEvent, NewSnapshot, Result, Store, StoreOptions, Version};

/// The state of a stream at a version: the sum of the lengths of its events' data.
fn state_at(store: &Store, stream: &str, version: Version) -> Result<Vec<u8>> {
    let mut sum = 0;
    for event in store.read_stream(stream) {
        let event = event?;
        sum += if event.version() <= version { event.data().len() } else { 0 };
    }
    Ok(sum.to_string().into_bytes())
}

fn append(store: &Store, stream: &str, len: usize) -> Result<Version> {
    let event = NewEvent::new("Added", vec![b'x'; len]);
    Ok(store.append(stream, ExpectedVersion::Any, [event])?.version)
}

/// Appends and saves, up to the first error. Says the version of the last snapshot that was
/// acknowledged for each of three streams.
pub(super) fn history(disk: &MemoryDisk, options: &StoreOptions) -> ([u64; 3], Result<()>) {
    let mut told = [0; 3];
    let mut go = || -> Result<()> {
        let mut store = open(disk, options)?;
        for n in 0..70 {
            let stream = format!("Cart-{}", n % 3);
            let version = append(&store, &stream, 1 + n * 211 % 1500)?;
            if n % 4 == 0 {
                let snapshot = NewSnapshot::new(version, state_at(&store, &stream, version)?);
                store.save_snapshot(&stream, "sum", snapshot.keep(2))?;
                told[n % 3] = version.0;
            }
            match n % 20 {
                9 => drop(store.keep_up()?),
                19 => {
                    store.close()?;
                    store = open(disk, options)?;
                }
                _ => {}
            }
        }
        store.close()
    };
    let ended = go();
    (told, ended)
}

fn check(store: &Store, told: [u64; 3]) {
    for (n, told) in (0..).zip(told) {
        let stream = format!("Cart-{n}");
        let found = store.snapshot(&stream, "sum").unwrap();
        assert!(found.as_ref().map_or(0, |found| found.info.version.0) >= told, "{found:?}");
        for info in store.snapshots_of(&stream).unwrap() {
            let found = store.find_snapshot(&stream, "sum", |i| i.version == info.version);
            let found = found.unwrap().expect("it was listed");
            assert_eq!(found.data, state_at(store, &stream, info.version).unwrap(), "{info}");
            assert_eq!(found.info.bytes, found.data.len());
        }
        assert!(store.snapshots_of(&stream).unwrap().count() <= 2);
    }
}

#[test]
fn a_snapshot_is_the_state_at_its_version_behind_a_crash_or_a_fault_at_any_call() {
    for (name, durability) in MODES {
        let options = small().durability(durability);
        let whole = MemoryDisk::simulated(seed());
        history(&whole, &options).1.unwrap();
        for call in (1..=whole.calls()).step_by(scaled(43, 1)) {
            let _scene = Scene(move || format!("{name}, call {call}"));
            let (crashed, failed) = (MemoryDisk::simulated(seed()), MemoryDisk::simulated(seed()));
            crashed.crash_at(call);
            failed.fail_at(call, Fault::Errno(5));
            for disk in [crashed, failed] {
                let (told, ended) = history(&disk, &options);
                assert!(!matches!(ended, Err(Error::Corrupt { .. })), "{ended:?}");
                let seeded = disk.crash_seeded(call);
                for image in [disk.crash_keeping_everything(), disk.crash_keeping_nothing(), seeded]
                {
                    if let Ok(store) = open_read_only(&image, &options) {
                        check(&store, told);
                    }
                    check(&open(&image, &options).unwrap(), told);
                }
            }
        }
    }
}

#[test]
fn snapshots_are_kept_found_listed_and_deleted() {
    let disk = MemoryDisk::simulated(seed());
    let store = open(&disk, &small()).unwrap();
    for _ in 0..9 {
        append(&store, "Cart-1", 1).unwrap();
    }
    append(&store, "Cart-11", 1).unwrap();
    for version in [2, 4, 6, 8] {
        let snapshot = NewSnapshot::new(Version(version), format!("{version}")).keep(3);
        store
            .save_snapshot("Cart-1", "sum", snapshot.schema(u32::try_from(version).unwrap()))
            .unwrap();
    }
    store.save_snapshot("Cart-1", "other", NewSnapshot::new(Version(1), "o")).unwrap();
    store.save_snapshot("Cart-11", "sum", NewSnapshot::new(Version(1), "e")).unwrap();
    let list = |store: &Store| -> Vec<(String, String, u64)> {
        let snapshots = store.snapshots().unwrap();
        snapshots.map(|info| (info.stream, info.kind, info.version.0)).collect()
    };
    let expected = [("Cart-1", "other", 1), ("Cart-1", "sum", 4), ("Cart-1", "sum", 6)]
        .into_iter()
        .chain([("Cart-1", "sum", 8), ("Cart-11", "sum", 1)])
        .map(|(stream, kind, version)| (stream.to_owned(), kind.to_owned(), version));
    let expected: Vec<_> = expected.collect();
    assert_eq!(list(&store), expected);
    let below = |most: u64| {
        let found = store.find_snapshot("Cart-1", "sum", |info| info.version.0 <= most).unwrap();
        found.map(|found| (found.info.version.0, found.info.schema, found.data))
    };
    assert_eq!(below(9), Some((8, 8, b"8".to_vec())));
    assert_eq!(below(7), Some((6, 6, b"6".to_vec())));
    assert_eq!(below(3), None);
    // Saving an older one keeps it, and the newest.
    store.save_snapshot("Cart-1", "sum", NewSnapshot::new(Version(5), "5").keep(2)).unwrap();
    assert_eq!((below(7), below(9).unwrap().0), (Some((6, 6, b"6".to_vec())), 8));
    assert_eq!(below(5), Some((5, 1, b"5".to_vec())));
    assert_eq!(store.snapshots_of("Cart-11").unwrap().count(), 1);
    assert_eq!(store.delete_snapshots("Cart-1", Some("sum")).unwrap(), 3);
    assert_eq!(store.delete_snapshots("Cart-1", None).unwrap(), 1);
    assert_eq!(store.delete_snapshots("Cart-1", None).unwrap(), 0);
    store.close().unwrap();
    assert_eq!(list(&open_read_only(&disk, &small()).unwrap()).len(), 1);
    let store = open(&disk, &small()).unwrap();
    for version in [0, 10] {
        let refused = store.save_snapshot("Cart-1", "sum", NewSnapshot::new(Version(version), ""));
        let Err(Error::Conflict(conflict)) = refused else { panic!("{refused:?}") };
        assert_eq!(conflict.actual, Version(9));
    }
    let named = store.save_snapshot("Cart-1", "a\0b", NewSnapshot::new(Version(1), ""));
    assert!(matches!(named, Err(Error::InvalidName { .. })));
    let large = NewSnapshot::new(Version(1), vec![0; 16 << 20]);
    let large = store.save_snapshot("Cart-1", "sum", large);
    assert!(matches!(large, Err(Error::LimitExceeded { .. })));
    store.close().unwrap();
    assert!(matches!(store.snapshot("Cart-1", "sum"), Err(Error::Closed)));
    let closed = store.save_snapshot("Cart-1", "sum", NewSnapshot::new(Version(1), ""));
    assert!(matches!(closed, Err(Error::Closed)));
}

/// The name of what is damaged below.
pub(super) const DAMAGED: &str = "state/snapshots-1";

#[test]
fn whatever_is_wrong_with_a_snapshot_it_is_never_an_error() {
    let disk = MemoryDisk::simulated(seed());
    let store = open(&disk, &small()).unwrap();
    let version = append(&store, "Cart-1", 3).unwrap();
    store.close().unwrap();
    let shorter = disk.crash_keeping_everything();
    let store = open(&disk, &small()).unwrap();
    store.save_snapshot("Cart-1", "sum", NewSnapshot::new(version, "3")).unwrap();
    let newer = append(&store, "Cart-1", 4).unwrap();
    store.save_snapshot("Cart-1", "sum", NewSnapshot::new(newer, "7").keep(2)).unwrap();
    store.save_cursor("billing", crate::Position(1)).unwrap();
    store.close().unwrap();
    let bytes = disk.files().remove(DAMAGED).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut dropped = 0;
    for offset in (0..64).chain(4096..used).step_by(scaled(3, 1)) {
        let _scene = Scene(move || format!("byte {offset}"));
        let copy = disk.crash_keeping_everything();
        copy.corrupt(DAMAGED, offset, 0x21);
        for store in [open_read_only(&copy, &small()).unwrap(), open(&copy, &small()).unwrap()] {
            let found = store.snapshot("Cart-1", "sum").unwrap();
            dropped += usize::from(found.as_ref().is_none_or(|found| found.data != b"7"));
            if let Some(found) = found {
                assert_eq!(found.data, state_at(&store, "Cart-1", found.info.version).unwrap());
            }
            assert!(store.snapshots().unwrap().count() <= 2);
            assert!(store.cursor("billing").unwrap().is_some());
        }
        let store = open(&copy, &small()).unwrap();
        store.save_snapshot("Cart-1", "sum", NewSnapshot::new(newer, "7")).unwrap();
        store.close().unwrap();
        let store = open(&copy, &small()).unwrap();
        assert_eq!(store.snapshot("Cart-1", "sum").unwrap().unwrap().data, b"7");
    }
    assert!(dropped > 20, "{dropped}");
    // Too new for a log that was restored without it: the older one counts. Then other events.
    for (name, bytes) in disk.files().into_iter().filter(|(name, _)| name.starts_with("state/")) {
        shorter.put(&name, &bytes);
    }
    let store = open(&shorter, &small()).unwrap();
    assert_eq!(store.snapshot("Cart-1", "sum").unwrap().unwrap().data, b"3");
    append(&store, "Cart-1", 40).unwrap();
    assert_eq!(store.snapshot("Cart-1", "sum").unwrap().unwrap().data, b"3", "another event");
    store.close().unwrap();
    shorter.put(DAMAGED, b"");
    for store in [open_read_only(&shorter, &small()).unwrap(), open(&shorter, &small()).unwrap()] {
        assert!(store.snapshot("Cart-1", "sum").unwrap().is_none());
    }
}
