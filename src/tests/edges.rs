//! Where things begin and end exactly: limits, what is due, and what a sync covers.

use std::time::Duration;

use super::{open, small};
use crate::format::segment::HEADER_BYTES;
use crate::log::head::HeadReader;
use crate::state::Change;
use crate::storage::Dir;
use crate::storage::memory::{CallKind, Fault, MemoryDisk};
use crate::sync::Arc;
use crate::writer::{Core, Part, Request};
use crate::{Durability, Error, EventId, ExpectedVersion, Limits, NewEvent, Position, Store};

const WEAK: Durability = Durability::Interval(Duration::from_secs(3600));

fn part(stream: &str, events: Vec<NewEvent>) -> Vec<Part> {
    vec![Part { stream: stream.into(), expected: ExpectedVersion::Any, events: events.into() }]
}

fn filler(bytes: usize) -> NewEvent {
    NewEvent::new("Filler", vec![b'x'; bytes])
}

/// Appends, with nobody to do the upkeep behind it.
fn append(store: &Store, bytes: usize) {
    store.commit_group(vec![part("Filler-1", vec![filler(bytes)])]).pop().unwrap().unwrap();
}

#[test]
fn what_is_exactly_as_large_as_a_limit_is_taken() {
    let prepare = |limits: &Limits| {
        let events = vec![filler(100), filler(300), filler(200)];
        Request::prepare(&mut part("A-1", events), Vec::new(), None, limits)
    };
    let roomy = Limits::default();
    let request = prepare(&roomy).unwrap();
    let largest = (0..3).map(|event| request.entry(event).len() as u64).max().unwrap();
    let limits = Limits { append_events: 3, event_bytes: largest, ..roomy };
    let limits = Limits { append_bytes: request.frame_bound as u64, ..limits };
    prepare(&limits).unwrap();
    let less = [
        ("events of an append", Limits { append_events: 2, ..limits }),
        ("bytes of an event", Limits { event_bytes: largest - 1, ..limits }),
        ("bytes of an append", Limits { append_bytes: limits.append_bytes - 1, ..limits }),
    ];
    for (limited, limits) in less {
        match prepare(&limits) {
            Err(Error::LimitExceeded { what, limit, found }) => {
                assert_eq!((&*what, found), (limited, limit + 1));
            }
            other => panic!("{limited}: {other:?}"),
        }
    }
}

#[test]
fn state_writes_count_into_the_size_of_an_append() {
    let roomy = Limits::default();
    let prepare = || Request::prepare(&mut part("A-1", vec![filler(9)]), Vec::new(), None, &roomy);
    let changes = || vec![Change { key: Arc::from(*b"key"), value: Some(Arc::from([7; 500])) }];
    let before = prepare().unwrap().frame_bound;
    let mut request = prepare().unwrap();
    request.add_state(changes(), &roomy).unwrap();
    assert!(request.state.len() > 500);
    assert_eq!(request.frame_bound, before + request.state.len());
    let append_bytes = request.frame_bound as u64;
    let add =
        |append_bytes| prepare().unwrap().add_state(changes(), &Limits { append_bytes, ..roomy });
    add(append_bytes).unwrap();
    let refused = add(append_bytes - 1);
    assert!(matches!(refused, Err(Error::LimitExceeded { .. })), "{refused:?}");
}

#[test]
fn an_append_is_stored_where_the_events_of_all_its_ids_are() {
    let store = open(&MemoryDisk::new(), &small()).unwrap();
    let id = |n: u8| EventId::from_bytes([n; 16]);
    store.append("A-1", ExpectedVersion::Any, [filler(1).id(id(1))]).unwrap();
    let is_stored = |ids: &[Option<u8>]| {
        let event = |given: &Option<u8>| match given {
            Some(n) => filler(1).id(id(*n)),
            None => filler(1),
        };
        let parts = part("A-1", ids.iter().map(event).collect());
        store.prepared(parts, Vec::new(), None).unwrap().is_stored()
    };
    assert!(is_stored(&[Some(1)]));
    assert!(!is_stored(&[Some(2)]) && !is_stored(&[Some(1), Some(2)]) && !is_stored(&[None]));
}

#[test]
fn a_retry_that_asks_for_more_is_not_answered_before_that_is_done() {
    let disk = MemoryDisk::simulated(3);
    let store = open(&disk, &small().durability(WEAK)).unwrap();
    let append = |durability| {
        let parts = part("A-1", vec![filler(1).id(EventId::from_bytes([1; 16]))]);
        store.commit_group_of(vec![(parts, Vec::new(), durability)]).pop().unwrap()
    };
    append(None).unwrap();
    assert!(store.durable() < store.head());
    assert!(append(None).unwrap()[0].deduplicated, "which asks for nothing");
    assert!(store.durable() < store.head());
    // What is held back is written; then the sync fails.
    disk.fail_at(disk.calls() + 1, Fault::Errno(5));
    let failed = append(Some(Durability::Sync));
    assert!(failed.is_err(), "{failed:?}");
}

#[test]
fn os_asks_for_a_sync_once_sixteen_mebibytes_were_written_without_one() {
    let options = small().segment_bytes(64 << 20).checkpoint_bytes(64 << 20);
    for (durability, asks) in [(Durability::Os, true), (Durability::Sync, false), (WEAK, false)] {
        let store = open(&MemoryDisk::new(), &options.clone().durability(durability)).unwrap();
        // A segment that has room for all of it, and another behind it.
        let begin = |bytes: usize| {
            while store.late_preparation().map(|next| next.run().unwrap()).is_some() {}
            append(&store, bytes);
        };
        while store.catalog().log.segments().last().unwrap().header().len < 64 << 20 {
            begin(1 << 20);
        }
        store.sync().unwrap();
        for mib in 1..=16 {
            assert!(!store.wants_upkeep(), "{durability:?}: {mib} MiB");
            append(&store, 1 << 20);
        }
        assert_eq!(store.wants_upkeep(), asks, "{durability:?}");
        store.sync().unwrap();
        assert!(!store.wants_upkeep(), "{durability:?}: it was synced");
    }
}

#[test]
fn a_sync_that_a_roll_overtakes_says_nothing_of_the_next_segment() {
    let store = open(&MemoryDisk::new(), &small().durability(WEAK)).unwrap();
    append(&store, 10_000);
    let ordinal = || store.catalog().log.segments().last().unwrap().ordinal();
    let durable_end = || store.with_core(|core| core.durable_end());
    let pending = store.with_core(Core::begin_sync).unwrap().expect("something to sync");
    let (first, end) = (ordinal(), pending.end());
    while ordinal() == first {
        append(&store, 10_000);
    }
    let before = durable_end();
    assert!(before < end);
    store.with_core(|core| core.end_sync(&pending, Ok(()))).unwrap();
    assert_eq!(durable_end(), before);
    // One that is not overtaken says how far its segment is durable.
    let pending = store.with_core(Core::begin_sync).unwrap().expect("something to sync");
    store.with_core(|core| core.end_sync(&pending, Ok(()))).unwrap();
    assert_eq!((durable_end(), store.durable()), (pending.end(), store.head()));
}

#[test]
fn a_roll_makes_durable_what_stands_in_front_of_it_and_no_more() {
    let store = open(&MemoryDisk::new(), &small().durability(WEAK)).unwrap();
    let segments = || store.catalog().log.segments().len();
    while segments() == 1 {
        append(&store, 10_000);
    }
    assert_eq!(store.durable(), Position(store.head().0 - 1));
}

#[test]
fn an_index_is_frozen_once_exactly_so_much_was_appended() {
    let store = open(&MemoryDisk::new(), &small()).unwrap();
    let end = || store.with_core(|core| u64::from(core.end()));
    let before = end();
    append(&store, 1000);
    let appended = end() - before;
    assert!(store.with_core(|core| core.freeze(appended + 1)).unwrap().is_none());
    assert!(store.with_core(|core| core.freeze(appended)).unwrap().is_some());
    assert!(store.with_core(|core| core.freeze(1)).unwrap().is_none(), "nothing came since");
}

#[test]
fn the_next_segment_is_not_made_before_this_one_has_begun_durably() {
    let disk = MemoryDisk::simulated(5);
    let store = open(&disk, &small().durability(WEAK)).unwrap();
    let second = || store.catalog().log.segments().len() == 2;
    while !second() {
        append(&store, 10_000);
    }
    assert_eq!(store.with_core(|core| core.durable_end()), HEADER_BYTES);
    let late = loop {
        disk.start_trace();
        match store.late_preparation() {
            Some(late) => break late,
            None => append(&store, 10_000),
        }
    };
    let synced = disk.trace().into_iter().filter(|call| call.kind == CallKind::Sync);
    let synced: Vec<_> = synced.map(|call| call.name).collect();
    assert_eq!(synced, ["log/0000000002.0.seg"]);
    late.run().unwrap();
}

#[test]
fn followers_are_told_of_what_is_written_and_visible_only() {
    let disk = MemoryDisk::new();
    let store = open(&disk, &small().durability(WEAK)).unwrap();
    let dir = Dir::new(Arc::new(disk.clone()));
    let told = || {
        let reader = HeadReader::open(&dir, store.info().unwrap().store_id.into_bytes())
            .expect("the page of this store");
        Position(reader.look().expect("a whole page").visible)
    };
    append(&store, 1000);
    assert_eq!((store.head(), told()), (Position(1), Position::START), "it is held back");
    store.sync().unwrap();
    assert_eq!(told(), Position(1));
}

#[test]
fn a_thread_is_refused_the_writer_that_it_holds_and_no_other() {
    let [held, other] = [(); 2].map(|()| open(&MemoryDisk::new(), &small()).unwrap());
    let append = |store: &Store| store.append("A-1", ExpectedVersion::Any, [filler(1)]);
    let is_refused = || matches!(append(&held), Err(Error::Reentrant));
    held.transact(|view| {
        assert!(is_refused());
        other.transact(|view| {
            assert!(is_refused() && matches!(append(&other), Err(Error::Reentrant)));
            Ok::<_, Error>(view.batch().append("A-1", ExpectedVersion::Any, [filler(1)]))
        })?;
        append(&other)?;
        assert!(is_refused(), "it is still held");
        Ok::<_, Error>(view.batch().append("A-1", ExpectedVersion::Any, [filler(1)]))
    })
    .unwrap();
    append(&held).unwrap();
    assert_eq!((held.head(), other.head()), (Position(2), Position(2)));
}

#[test]
fn a_view_of_a_batch_stands_at_its_last_event() {
    let store = open(&MemoryDisk::new(), &small()).unwrap();
    append(&store, 1);
    append(&store, 1);
    let view = store.create_view("notes", 1).unwrap();
    let batch = store.batch().append("A-1", ExpectedVersion::Any, (0..4).map(filler));
    batch.update_view(view.update(Position::START).put("a", "1")).commit().unwrap();
    let info = view.info().unwrap();
    assert_eq!(info.position, Position(6));
    assert_eq!(info.event_id, store.event(Position(6)).unwrap().map(|event| event.id()));
}
