//! Upkeep that comes late: what it had begun is overtaken by the writer.

use super::{open, small};
use crate::storage::memory::MemoryDisk;
use crate::writer::Part;
use crate::{ExpectedVersion, NewEvent, Store};

/// Appends, with nobody to do the upkeep behind it.
fn append(store: &Store) {
    let events = vec![NewEvent::new("Filler", vec![b'x'; 5_000])];
    let part = Part { stream: "Filler-1".into(), expected: ExpectedVersion::Any, events };
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
