//! The order of what a commit does: write, sync, index, watermark.

use std::time::Duration;

use super::{open, seed, small};
use crate::format::files::{HEAD, LOG};
use crate::storage::memory::{CallKind, Fault, MemoryDisk};
use crate::sync::{AtomicBool, Ordering};
use crate::writer::Part;
use crate::{Durability, Error, ExpectedVersion, NewEvent, Position, Version};

fn events(count: usize) -> impl Iterator<Item = NewEvent> {
    (0..count).map(|n| NewEvent::new("Counted", n.to_string()))
}

#[test]
fn neither_index_nor_watermark_has_what_a_sync_did_not_cover() {
    let disk = MemoryDisk::simulated(seed());
    let store = open(&disk, &small()).unwrap();
    store.append("A-1", ExpectedVersion::Any, events(2)).unwrap();
    let indexed = || store.catalog().index.active().unwrap().events();
    assert_eq!((indexed(), store.head()), (2, Position(2)));
    // The write goes well, the sync behind it does not.
    disk.fail_at(disk.calls() + 1, Fault::Errno(5));
    let failed = store.append("A-1", ExpectedVersion::Any, events(3));
    assert!(matches!(failed, Err(Error::Unknown { .. })), "{failed:?}");
    assert_eq!((indexed(), store.head(), store.durable()), (2, Position(2), Position(2)));
    let index = &store.catalog().index;
    let head = index.head("A-1", index.hasher().stream("A-1")).unwrap().unwrap();
    assert_eq!(head.version, Version(2));
}

/// Two requests that looked their stream up before either was committed.
#[test]
fn an_expectation_is_held_against_what_was_committed_since_the_look_up() {
    for heads in [0, 1, 100] {
        let store = open(&MemoryDisk::simulated(seed()), &small().heads_kept(heads)).unwrap();
        let prepare = |stream: &str, expected: ExpectedVersion, count: usize| {
            let events = events(count).collect();
            let part = Part { stream: stream.into(), expected, events };
            store.prepared(vec![part], Vec::new(), None).unwrap()
        };
        let commit = |request| store.with_core(|core| core.commit(&[request])).pop().unwrap();
        // New, or there; in this segment, or with a roll in between.
        for (stream, filler, version) in [("A-1", 1, 0), ("A-1", 1, 2), ("A-1", 900, 4)] {
            let expected = ExpectedVersion::Exact(Version(version));
            let (first, late) = (prepare(stream, expected, 2), prepare(stream, expected, 1));
            commit(first).unwrap();
            for other in 0..20 {
                let filler = prepare(&format!("B-{other}"), ExpectedVersion::Any, filler);
                commit(filler).unwrap();
            }
            // What is sealed is in files then.
            while store.keep_up().unwrap() {}
            match commit(late) {
                Err(Error::Conflict(conflict)) => {
                    assert_eq!(conflict.actual, Version(version + 2), "{heads} heads");
                }
                other => panic!("{heads} heads: {other:?}"),
            }
        }
        assert!(store.info().unwrap().segments > 2, "it has rolled");
    }
}

#[test]
fn nothing_is_shown_before_the_index_has_it() {
    let disk = MemoryDisk::simulated(seed());
    let store = open(&disk, &small()).unwrap();
    store.append("A-1", ExpectedVersion::Any, events(1)).unwrap();
    let index = store.catalog().index.active().unwrap();
    let calls = disk.calls();
    std::thread::scope(|scope| {
        // As long as this looks at the index, no append gets further than its sync.
        index.look(|_| {
            scope.spawn(|| store.append("A-1", ExpectedVersion::Any, events(3)).unwrap());
            let has_synced = || disk.calls() >= calls + 2;
            let mut left = 50;
            // It is there at once; where it is not, something else is wrong, and says so.
            for _ in 0..2000 {
                std::thread::sleep(Duration::from_millis(1));
                assert_eq!((store.head(), store.durable()), (Position(1), Position(1)));
                left -= i32::from(has_synced());
                if left == 0 {
                    return;
                }
            }
            panic!("no write and no sync before the index");
        });
    });
    assert_eq!((store.head(), store.durable()), (Position(4), Position(4)));
}

#[test]
fn a_cursor_in_a_batch_is_not_seen_before_the_sync_that_covers_it() {
    // How the second batch ends if one of its calls fails, and the cursor that is seen then.
    let fails_at = |call: u64| {
        let disk = MemoryDisk::simulated(seed());
        let store = open(&disk, &small()).unwrap();
        store.append("A-1", ExpectedVersion::Any, events(2)).unwrap();
        let copy = |position| {
            let batch = store.batch().append("Copy-1", ExpectedVersion::Any, events(1));
            batch.save_cursor("copier", Position(position)).commit()
        };
        copy(1).unwrap();
        disk.fail_at(disk.calls() + call, Fault::Errno(5));
        let failed = copy(2).err()?;
        Some((store.cursor("copier").unwrap().unwrap().position, failed))
    };
    let failed: Vec<_> = (0..).map_while(fails_at).collect();
    assert!(failed.iter().all(|(seen, _)| *seen == Position(1)), "{failed:?}");
    // The last call that can fail is the sync.
    assert!(matches!(failed.last(), Some((_, Error::Unknown { .. }))), "{failed:?}");
}

#[test]
fn nothing_is_written_behind_a_clean_end_before_the_mark_is_gone() {
    let disk = MemoryDisk::simulated(seed());
    let store = open(&disk, &small()).unwrap();
    store.append("A-1", ExpectedVersion::Any, events(2)).unwrap();
    store.close().unwrap();
    // One call of the next append moves half of its bytes, and the call behind it fails.
    let fails_at = |call: u64| {
        let disk = disk.crash_keeping_everything();
        let store = open(&disk, &small()).unwrap();
        assert!(store.recovery().clean);
        let call = disk.calls() + call;
        disk.fail_at(call, Fault::ShortCount);
        disk.fail_at(call + 1, Fault::Errno(5));
        let failed = store.append("A-1", ExpectedVersion::Any, events(3)).err()?;
        drop(store);
        let after = open(&disk.crash_keeping_everything(), &small()).unwrap();
        assert_eq!(after.head(), Position(2), "{failed:?}");
        Some((matches!(failed, Error::Unknown { .. }), after.recovery().clone()))
    };
    let failed: Vec<_> = (0..).map_while(fails_at).collect();
    let may_be_there = || failed.iter().filter(|(is_unknown, _)| *is_unknown);
    assert!(may_be_there().all(|(_, report)| !report.clean), "{failed:?}");
    assert!(may_be_there().any(|(_, report)| report.bytes_cut > 0), "{failed:?}");
}

#[test]
fn a_clean_opening_syncs_nothing_and_the_first_append_behind_it_syncs_the_names_first() {
    let (disk, alone) = (MemoryDisk::simulated(seed()), small().upkeep_thread(false));
    let in_use = open(&disk, &alone).unwrap();
    in_use.append("A-1", ExpectedVersion::Any, events(2)).unwrap();
    let changes = |disk: &MemoryDisk| -> Vec<(CallKind, String)> {
        let calls = disk.trace().into_iter();
        let calls = calls.filter(|call| call.kind.may_change() && call.kind != CallKind::Lock);
        // The page that only tells other processes is in no order with the rest.
        calls.filter(|call| call.name != HEAD).map(|call| (call.kind, call.name)).collect()
    };
    let names = [(CallKind::SyncDir, String::new()), (CallKind::SyncDir, LOG.to_owned())];
    for clean in [false, true] {
        let disk = disk.crash_keeping_everything();
        if clean {
            open(&disk, &alone).unwrap().close().unwrap();
        }
        disk.start_trace();
        let store = open(&disk, &alone).unwrap();
        assert_eq!(store.recovery().clean, clean);
        let at_opening = changes(&disk);
        disk.start_trace();
        store.append("A-1", ExpectedVersion::Any, events(1)).unwrap();
        let at_append = changes(&disk);
        let (first, rest) =
            if clean { (&at_append, &at_opening) } else { (&at_opening, &at_append) };
        let at = first.iter().position(|call| *call == names[0]).expect("the names are synced");
        assert_eq!(first[at..at + 2], names, "{first:?}");
        let harmless = [CallKind::Sync, CallKind::DropCache];
        let before = first[..at].iter().all(|(kind, _)| harmless.contains(kind));
        assert!(before, "nothing changes before: {first:?}");
        assert!(!rest.iter().any(|(kind, _)| *kind == CallKind::SyncDir), "{rest:?}");
        assert!(!clean || rest.is_empty(), "{rest:?}");
    }
}

#[test]
fn what_the_watermark_shows_is_in_the_index() {
    let store = open(&MemoryDisk::new(), &small().segment_bytes(8 << 20)).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                let head = store.head();
                if head > Position::START {
                    let event = store.event(head).unwrap().expect("the newest visible event");
                    assert_eq!(event.position(), head);
                    reads += 1;
                }
            }
            reads
        });
        // Many events at once, so that the index takes a while to have them.
        for _ in 0..20 {
            store.append("A-1", ExpectedVersion::Any, events(1000)).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0, "a reader that never read");
    });
    assert_eq!(store.head(), Position(20_000));
}

#[test]
fn an_index_checkpoint_covers_only_what_is_durable() {
    let disk = MemoryDisk::simulated(seed());
    let options = small().durability(Durability::Os);
    let store = open(&disk, &options).unwrap();
    for _ in 0..4 {
        let events = vec![NewEvent::new("Filler", vec![b'x'; 5_000])];
        let part =
            Part { stream: "A-1".into(), expected: ExpectedVersion::Any, events: events.into() };
        store.commit_group(vec![vec![part]]).pop().unwrap().unwrap();
    }
    assert_eq!((store.head(), store.durable()), (Position(4), Position(0)));
    while store.keep_up_without_sync().unwrap() {}
    // A checkpoint that says more than the medium holds makes the log look damaged.
    let left = open(&disk.crash_keeping_nothing(), &options).unwrap();
    assert_eq!(left.head(), store.durable());
    assert_eq!(left.head(), Position(4), "it was synced for the checkpoint's sake");
}
