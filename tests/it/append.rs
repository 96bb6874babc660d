use std::time::Duration;

use annals::{Durability, Error, EventId, ExpectedVersion, NewEvent, Position, Store, Version};

fn event(n: usize) -> NewEvent {
    NewEvent::new("Counted", format!("{n}"))
}

#[test]
fn versions_and_positions_are_dense() {
    let store = Store::in_memory().unwrap();
    for n in 0..100 {
        let stream = format!("Order-{}", n % 7);
        let done = store.append(&stream, ExpectedVersion::Any, [event(n)]).unwrap();
        assert_eq!(done.position, Position(n as u64 + 1));
        assert_eq!(done.version, Version(n as u64 / 7 + 1));
        assert!(!done.deduplicated);
    }
    let mut next = 1;
    for read in store.read_all() {
        let read = read.unwrap();
        assert_eq!(read.position(), Position(next));
        assert_eq!(read.data(), (next - 1).to_string().as_bytes());
        next += 1;
    }
    assert_eq!(next, 101);
    let backwards: Vec<u64> =
        store.read_all().backwards().into_iter().map(|e| e.unwrap().position().0).collect();
    assert!(backwards.iter().copied().eq((1..=100).rev()));
    let order: Vec<u64> =
        store.read_stream("Order-3").into_iter().map(|e| e.unwrap().version().0).collect();
    assert!(order.iter().copied().eq(1..=14));
}

#[test]
fn expectations_hold_or_nothing_is_written() {
    let store = Store::in_memory().unwrap();
    store.append("A-1", ExpectedVersion::NoStream, [event(1)]).unwrap();
    for expected in [
        ExpectedVersion::NoStream,
        ExpectedVersion::Exact(Version(0)),
        ExpectedVersion::Exact(Version(2)),
    ] {
        let Err(Error::Conflict(conflict)) = store.append("A-1", expected, [event(2)]) else {
            panic!("must be refused");
        };
        assert_eq!((conflict.stream.as_str(), conflict.actual), ("A-1", Version(1)));
        assert_eq!(conflict.expected, expected);
    }
    let refused = store.append("A-2", ExpectedVersion::Exists, [event(2)]);
    assert!(refused.unwrap_err().is_conflict());
    assert_eq!(store.head(), Position(1));
    store.append("A-1", Version(1), [event(2), event(3)]).unwrap();
    assert_eq!(store.stream("A-1").unwrap().unwrap().version, Version(3));
    assert_eq!(store.stream("A-2").unwrap(), None);
}

#[test]
fn a_retry_that_asks_for_more_makes_the_original_durable() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::options()
        .durability(Durability::Interval(Duration::from_secs(3600)))
        .open(dir.path().join("s"))
        .unwrap();
    let event = || event(1).id(EventId::from_bytes([7; 16]));
    store.append("A-1", ExpectedVersion::Any, [event()]).unwrap();
    assert_eq!((store.head(), store.durable()), (Position(1), Position(0)));
    let again = store.append("A-1", ExpectedVersion::Any, [event()]).unwrap();
    assert!(again.deduplicated);
    assert_eq!(store.durable(), Position(0), "the store's own mode asks for no more");
    let batch = store.batch().append("A-1", ExpectedVersion::Any, [event()]);
    let again = batch.durability(Durability::Sync).commit().unwrap();
    assert!(again[0].deduplicated);
    assert_eq!(store.durable(), Position(1));
}
