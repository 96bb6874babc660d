//! Followers on the simulated disk: every call that they make can fail, and what they hold in
//! memory does not grow with what they have followed.

use super::{Scene, open, open_read_only, small};
use crate::storage::memory::{Fault, MemoryDisk};
use crate::{Event, ExpectedVersion, NewEvent, Position, Result, Store};

fn append(store: &Store, n: u64) {
    let events = (0..=n % 3).map(|index| {
        let event = NewEvent::new("Filled", vec![b'x'; 3_000]).tag(format!("mod:{}", n % 5));
        if index == 0 { event.correlation("some") } else { event }
    });
    store.append(format!("Filler-{}", n % 7), ExpectedVersion::Any, events).unwrap();
}

fn positions(events: impl IntoIterator<Item = Result<Event>>) -> Result<Vec<Position>> {
    events.into_iter().map(|event| event.map(|event| event.position())).collect()
}

/// Everything that this asks of a store.
fn asked(store: &Store) -> Result<Vec<Vec<Position>>> {
    let mut answers = vec![positions(store.read_all())?, positions(store.read_all().backwards())?];
    for n in 0..7 {
        answers.push(positions(store.read_stream(format!("Filler-{n}")))?);
        answers.push(positions(store.read_all().tag(format!("mod:{n}")))?);
    }
    Ok(answers)
}

/// A writer that has gone on, over several segments, behind the back of a follower.
fn behind(seed: u64) -> (MemoryDisk, Store, Store) {
    let disk = MemoryDisk::simulated(seed);
    let store = open(&disk, &small()).unwrap();
    (0..5).for_each(|n| append(&store, n));
    let follower = open_read_only(&disk, &small()).unwrap();
    assert_eq!(follower.head(), store.head());
    (5..30).for_each(|n| append(&store, n));
    assert!(store.info().unwrap().segments > 2);
    (disk, store, follower)
}

#[test]
fn any_call_of_a_follower_can_fail_and_it_goes_on_behind_it() {
    let (disk, store, follower) = behind(3);
    let before = disk.calls();
    let expected = asked(&store).unwrap();
    let read_by_writer = disk.calls();
    assert_eq!(asked(&follower).unwrap(), expected);
    let calls = disk.calls() - read_by_writer;
    assert!(calls > 30 && read_by_writer > before);
    let mut failed = 0;
    for call in 0..calls {
        // Another kind of failure at each call, and all of them over the calls.
        let fault = match call % 3 {
            0 => Fault::Errno(5),
            1 => Fault::Errno(24),
            _ => Fault::ShortCount,
        };
        let _scene = Scene(|| format!("call {call} of {calls}: {fault:?}"));
        let (disk, store, follower) = behind(3);
        disk.fail_at(disk.calls() + call, fault);
        match asked(&follower) {
            Ok(answers) => assert_eq!(answers, expected),
            Err(e) => {
                assert!(!e.is_corruption(), "a call that fails is no damage: {e}");
                failed += 1;
            }
        }
        disk.heal();
        append(&store, 30);
        assert_eq!(follower.head(), store.head());
        assert_eq!(positions(follower.read_all()).unwrap(), positions(store.read_all()).unwrap());
        if call % 16 == 0 {
            assert_eq!(asked(&follower).unwrap(), asked(&store).unwrap());
            follower.catalog().index.assert_follows_from_log();
        }
    }
    assert!(failed > 20, "{failed} failures were seen");
}

#[test]
fn what_a_follower_holds_in_memory_does_not_grow_with_what_it_follows() {
    let disk = MemoryDisk::new();
    let store = open(&disk, &small()).unwrap();
    let follower = open_read_only(&disk, &small()).unwrap();
    let mut most = (0, 0);
    for n in 0..1_500 {
        append(&store, n);
        assert_eq!(follower.head(), store.head());
        let index = &follower.catalog().index;
        most = (most.0.max(index.uncovered()), most.1.max(index.in_memory()));
    }
    let segments = store.info().unwrap().segments;
    assert!(segments > 100, "{segments} segments");
    assert!(most.0 <= 24 && most.1 <= 4, "uncovered, in memory: {most:?} of {segments}");
    assert_eq!(asked(&follower).unwrap(), asked(&store).unwrap());
    follower.catalog().index.assert_follows_from_log();
}
