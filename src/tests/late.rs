//! Upkeep that comes late: what it had begun is overtaken by the writer, and what an opening leaves
//! to it.

use super::{open, small};
use crate::storage::memory::{CallKind, MemoryDisk};
use crate::writer::Part;
use crate::{ExpectedVersion, NewEvent, Store};

/// Appends, with nobody to do the upkeep behind it.
fn append(store: &Store) {
    let events = vec![NewEvent::new("Filler", vec![b'x'; 5_000])];
    let part =
        Part { stream: "Filler-1".into(), expected: ExpectedVersion::Any, events: events.into() };
    store.commit_group(vec![vec![part]]).pop().unwrap().unwrap();
}

#[test]
fn a_preparation_that_comes_late_leaves_the_segment_in_use_alone() {
    let disk = MemoryDisk::new();
    let store = open(&disk, &small()).unwrap();
    for _ in 0..3 {
        // Wanted once the segment is half full, and for as long as nobody has made it.
        let late = loop {
            append(&store);
            if let Some(late) = store.late_preparation() {
                break late;
            }
        };
        let segments = store.info().unwrap().segments;
        while store.info().unwrap().segments == segments {
            append(&store);
        }
        late.run().unwrap();
        append(&store);
    }
    let head = store.head();
    store.close().unwrap();
    let store = open(&disk, &small()).unwrap();
    assert_eq!(store.read_all().into_iter().map(Result::unwrap).count() as u64, head.0);
}

#[test]
fn the_space_behind_a_cut_is_given_back_once() {
    let disk = MemoryDisk::simulated(7);
    let store = open(&disk, &small()).unwrap();
    append(&store);
    let killed = disk.crash_keeping_everything();
    let released = || {
        killed.start_trace();
        let store = open(&killed, &small()).unwrap();
        assert_eq!(store.read_all().into_iter().map(Result::unwrap).count(), 1);
        drop(store);
        let calls = killed.trace().into_iter();
        let released = calls.filter(|call| call.kind == CallKind::Release);
        released.map(|call| (call.name, call.offset, call.len)).collect::<Vec<_>>()
    };
    // Of 64 KiB the header and the append take between 8 and 12.
    let behind = ("log/0000000001.0.seg".to_owned(), 12 << 10, 52 << 10);
    assert_eq!(released(), [behind]);
    assert_eq!(released(), [], "what is closed, or cut before, has none");
}
