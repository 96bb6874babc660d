//! What is derived equals what the log gives, also after it was merged many times.

use super::{open, small};
use crate::storage::memory::MemoryDisk;
use crate::{Durability, EventId, ExpectedVersion, NewEvent, Store};

/// Long events, so that few of them fill a segment.
const DATA: usize = 4 << 10;
const EVENTS: u64 = 1_150;

fn id_of(n: u64) -> EventId {
    let mut bytes = [0x41; 16];
    for (to, from) in bytes.iter_mut().zip(n.to_string().bytes()) {
        *to = from;
    }
    EventId::from_bytes(bytes)
}

fn check(store: &Store, context: &str) {
    let index = &store.catalog().index;
    index.assert_follows_from_log();
    let (covered, runs) = index.folded();
    assert!(covered >= 64, "{context}: the directory covers {covered} segments");
    assert!(runs.contains(&64), "{context}: runs of {runs:?} segments");
    for n in (0..EVENTS).step_by(31) {
        let event = store.event_by_id(id_of(n)).unwrap().unwrap();
        assert_eq!(event.position().0, n + 1, "{context}");
    }
}

#[test]
fn an_index_that_was_folded_twice_follows_from_the_log() {
    let disk = MemoryDisk::new();
    let options = || small().durability(Durability::Os);
    let store = open(&disk, &options()).unwrap();
    for n in 0..EVENTS {
        let stream = format!("Stream-{}", n * n % 97);
        let event = NewEvent::new("Counted", vec![b'x'; DATA]).id(id_of(n));
        store.append(&stream, ExpectedVersion::Any, [event]).unwrap();
    }
    check(&store, "as written");
    store.close().unwrap();
    let store = open(&disk, &options()).unwrap();
    check(&store, "after a reopen");
    assert_eq!(store.recovery().events_replayed, 0);
}
