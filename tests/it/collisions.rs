//! Hashes only propose: with so few bits that everything collides, the store is as exact as ever.

use std::collections::BTreeMap;

use annals::{
    Durability, EventId, ExpectedVersion, IdConflict, NewEvent, Position, Store, Version,
};

const STREAMS: u64 = 150;

fn id_of(n: u64) -> EventId {
    let mut bytes = [0x40; 16];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    EventId::from_bytes(bytes)
}

fn name_of(n: u64) -> String {
    // Streams come and go, so that some stand in many segments and some in one.
    format!("Stream-{}", (n * 7919 + n / 900 * 31) % STREAMS)
}

/// Positions by stream, as they must be.
fn expected(events: u64) -> BTreeMap<String, Vec<u64>> {
    let mut streams: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for n in 0..events {
        streams.entry(name_of(n)).or_default().push(n + 1);
    }
    streams
}

fn check(store: &Store, events: u64, context: &str) {
    for (name, positions) in expected(events) {
        let read = |backwards: bool| -> Vec<(u64, u64)> {
            let read = store.read_stream(&name);
            let read = if backwards { read.backwards() } else { read };
            read.into_iter()
                .map(|event| event.unwrap())
                .map(|event| (event.version().0, event.position().0))
                .collect()
        };
        let wanted: Vec<(u64, u64)> = (1..).zip(positions.iter().copied()).collect();
        assert_eq!(read(false), wanted, "{name} {context}");
        assert!(read(true).iter().eq(wanted.iter().rev()), "{name} backwards {context}");
        let middle = wanted.len() as u64 / 2;
        let after = store.read_stream(&name).after(Version(middle)).into_iter().count();
        assert_eq!(after as u64, wanted.len() as u64 - middle, "{name} after {middle} {context}");
        let version = store.stream(&name).unwrap().unwrap().version;
        assert_eq!(version.0, wanted.len() as u64, "{name} {context}");
    }
    assert_eq!(store.stream("Stream-none").unwrap(), None);
    for n in (0..events).step_by(37) {
        let event = store.event_by_id(id_of(n)).unwrap().unwrap();
        assert_eq!(event.position(), Position(n + 1), "{context}");
    }
    assert!(store.event_by_id(id_of(events + 1)).unwrap().is_none());
}

fn with_bits(bits: u32, events: u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let open = || {
        Store::options()
            .hash_bits(bits)
            .segment_bytes(64 << 10)
            .checkpoint_bytes(16 << 10)
            .upkeep_thread(false)
            .durability(Durability::Os)
            .open(&path)
            .unwrap()
    };
    let mut versions: BTreeMap<String, u64> = BTreeMap::new();
    let mut store = open();
    for n in 0..events {
        let name = name_of(n);
        let version = versions.entry(name.clone()).or_default();
        let event = || NewEvent::new("Counted", vec![b'x'; 200]).id(id_of(n));
        // Appends rest on exact versions, so a wrong look-up could not go unnoticed.
        let done = store.append(&name, Version(*version), [event()]).unwrap();
        *version += 1;
        assert_eq!((done.version.0, done.deduplicated), (*version, false));
        if n % 500 == 250 {
            let again = store.append(&name, ExpectedVersion::NoStream, [event()]).unwrap();
            assert!(again.deduplicated);
            let elsewhere = store.append("Other-1", ExpectedVersion::Any, [event()]);
            let Err(annals::Error::IdConflict(IdConflict::OtherStream { .. })) = elsewhere else {
                panic!("must be refused");
            };
        }
        if n % 1_500 == 1_499 {
            store.close().unwrap();
            store = open();
        }
    }
    let segments = store.info().unwrap().segments;
    assert!(segments > events / 250, "segments enough for a directory where events are many");
    check(&store, events, "as written");
    store.close().unwrap();
    let store = open();
    check(&store, events, "after a reopen");
    store.close().unwrap();
    let read_only = Store::options().hash_bits(bits).open_read_only(&path).unwrap();
    check(&read_only, events, "read only");
}

#[test]
fn hashes_of_eight_bits_change_nothing() {
    with_bits(8, 3_000);
}

#[test]
fn hashes_of_one_bit_change_nothing() {
    with_bits(1, 700);
}
