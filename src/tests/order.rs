//! The order of what a commit does: write, sync, index, watermark.

use super::{open, seed, small};
use crate::storage::memory::{Fault, MemoryDisk};
use crate::sync::{AtomicBool, Ordering};
use crate::{Error, ExpectedVersion, NewEvent, Position};

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
        for _ in 0..60 {
            store.append("A-1", ExpectedVersion::Any, events(2000)).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0, "a reader that never read");
    });
    assert_eq!(store.head(), Position(120_000));
}
