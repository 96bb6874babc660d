//! What the requests of one group see of each other: each is decided as if those before it had been
//! committed alone.

use super::{open, seed, small};
use crate::format::files::LogFile;
use crate::storage::memory::{CallKind, MemoryDisk};
use crate::writer::{Condition, Part};
use crate::{
    Durability, Error, EventId, ExpectedVersion, NewEvent, Position, Query, Store, Timestamp,
    Version,
};

fn part(stream: &str, events: Vec<NewEvent>) -> Vec<Part> {
    vec![Part { stream: stream.into(), expected: ExpectedVersion::Any, events: events.into() }]
}

fn store() -> (MemoryDisk, Store) {
    let disk = MemoryDisk::simulated(seed());
    let store = open(&disk, &small()).unwrap();
    (disk, store)
}

fn unless(query: Query) -> Vec<Condition> {
    vec![Condition { query, requires: false }]
}

/// Whether the second of two requests of a group is refused because of the first, which the query
/// of its condition may match.
fn is_refused(first: NewEvent, query: &Query) -> bool {
    let (_, store) = store();
    store.append("Other-1", ExpectedVersion::Any, [NewEvent::new("Before", "")]).unwrap();
    let second = part("Order-2", vec![NewEvent::new("Placed", "")]);
    let filler = NewEvent::new("Filler", "");
    let answers = store.commit_group_of(vec![
        (part("Order-1", vec![filler.clone(), first, filler]), Vec::new(), None),
        (second, unless(query.clone()), None),
    ]);
    answers[0].as_ref().unwrap();
    match &answers[1] {
        Ok(_) => false,
        Err(Error::ConditionFailed(failed)) => {
            assert_eq!((failed.condition, failed.required), (0, false));
            assert_eq!(failed.position, Some(Position(3)), "the event in the middle");
            true
        }
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn a_condition_sees_the_events_that_are_staged_before_it() {
    let event = || {
        NewEvent::new("Paid", "")
            .tag("red")
            .tag("blue")
            .correlation("one")
            .causation("two")
            .created_at(Timestamp::from_micros(1000))
    };
    let paid = Query::new().event_type("Paid");
    let at = |micros| Timestamp::from_micros(micros);
    let matching = [
        paid.clone(),
        paid.clone().stream("Order-1"),
        paid.clone().stream_prefix("Ord"),
        paid.clone().category("Order"),
        Query::new().tag("blue"),
        Query::new().tag("red").tag("blue"),
        Query::new().correlation("one"),
        Query::new().causation("two"),
        paid.clone().since(at(1000)).until(at(1001)),
        paid.clone().after(Position(2)),
    ];
    for query in &matching {
        assert!(is_refused(event(), query), "{query:?}");
    }
    let others = [
        paid.clone().stream("Order-2"),
        paid.clone().stream_prefix("Stock"),
        paid.clone().category("Ord"),
        Query::new().event_type("Pai"),
        Query::new().tag("green"),
        Query::new().tag("one"),
        Query::new().correlation("two"),
        Query::new().causation("one"),
        paid.clone().until(at(1000)),
        paid.clone().since(at(1001)),
        paid.after(Position(3)),
    ];
    for query in &others {
        assert!(!is_refused(event(), query), "{query:?}");
    }
    // Without a time of its own an event is created when it is committed.
    let untimed = NewEvent::new("Paid", "");
    assert!(is_refused(untimed.clone(), &Query::new().event_type("Paid").since(at(1001))));
    assert!(!is_refused(untimed, &Query::new().event_type("Paid").until(at(1001))));
}

#[test]
fn a_condition_sees_what_was_there_before_its_group_and_what_came_meanwhile() {
    let (_, store) = store();
    let paid = || NewEvent::new("Paid", "");
    let query = Query::new().event_type("Paid");
    let require = || vec![Condition { query: query.clone(), requires: true }];
    let conditional = |conditions| {
        let group = vec![(part("Order-2", vec![NewEvent::new("Sent", "")]), conditions, None)];
        store.commit_group_of(group).remove(0)
    };
    let missing = conditional(require()).unwrap_err();
    let Error::ConditionFailed(failed) = missing else { panic!("{missing}") };
    assert_eq!((failed.required, failed.position), (true, None));
    store.append("Order-1", ExpectedVersion::Any, [paid(), paid()]).unwrap();
    conditional(require()).unwrap();
    let refused = conditional(unless(query.clone())).unwrap_err();
    let Error::ConditionFailed(failed) = refused else { panic!("{refused}") };
    assert_eq!(failed.position, Some(Position(2)), "the newest");
    conditional(unless(query.clone().after(Position(2)))).unwrap();
    // The second condition is the one that fails.
    let both = [require(), unless(query.clone())].concat();
    let Error::ConditionFailed(failed) = conditional(both).unwrap_err() else { panic!() };
    assert_eq!(failed.condition, 1);
}

#[test]
fn a_repeated_append_in_its_own_group_is_answered_as_the_first() {
    let (_, store) = store();
    store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("Before", "")]).unwrap();
    let id = |n: u128| EventId::from_bytes((n | 1 << 70).to_le_bytes());
    let events = |from: u128, count: u128, tag: &str| -> Vec<NewEvent> {
        let event = |n: u128| NewEvent::new("Paid", n.to_string()).id(id(n)).tag(tag);
        (from..from + count).map(event).collect()
    };
    let answers = store.commit_group_of(vec![
        (part("Other-1", events(50, 2, "red")), Vec::new(), None),
        (part("Order-1", events(1, 3, "red")), Vec::new(), None),
        (part("Order-1", events(1, 3, "red")), Vec::new(), None),
        // A part of it is the same append, as far as it goes; other content is none.
        (part("Order-1", events(2, 2, "red")), Vec::new(), None),
        (part("Order-1", events(2, 2, "blue")), Vec::new(), None),
    ]);
    let first = answers[1].as_ref().unwrap()[0];
    assert_eq!(
        (first.version, first.position, first.deduplicated),
        (Version(4), Position(6), false)
    );
    for repeated in [&answers[2], &answers[3]] {
        let repeated = repeated.as_ref().unwrap()[0];
        assert!(repeated.deduplicated);
        assert_eq!((repeated.version, repeated.position), (first.version, first.position));
    }
    assert!(answers[4].as_ref().unwrap_err().is_conflict(), "{:?}", answers[4]);
    assert_eq!(store.head(), Position(6));
}

#[test]
fn one_request_that_asks_for_a_sync_makes_its_group_durable() {
    let ways = [
        (None, Durability::Interval(std::time::Duration::from_secs(3600)), 0, 0),
        (Some(Durability::Os), Durability::Interval(std::time::Duration::from_secs(3600)), 1, 0),
        (Some(Durability::Sync), Durability::Interval(std::time::Duration::from_secs(3600)), 1, 1),
        (None, Durability::Os, 1, 0),
        (Some(Durability::Sync), Durability::Os, 1, 1),
    ];
    for (asked, of_store, writes, syncs) in ways {
        let disk = MemoryDisk::simulated(seed());
        let store = open(&disk, &small().durability(of_store)).unwrap();
        put(&store, 10);
        assert_eq!((store.durable(), store.sync().unwrap()), (Position(0), Position(1)));
        disk.start_trace();
        let one = |n: u32| part("Order-1", vec![NewEvent::new("Counted", n.to_string())]);
        let answers = store.commit_group_of(vec![
            (one(1), Vec::new(), None),
            (one(2), Vec::new(), asked),
            (one(3), Vec::new(), None),
        ]);
        assert!(answers.iter().all(Result::is_ok));
        let calls = |kind| disk.trace().iter().filter(|call| call.kind == kind).count();
        let made = (calls(CallKind::Write), calls(CallKind::Sync));
        assert_eq!(made, (writes, syncs), "{asked:?} in {of_store:?}");
        assert_eq!(store.durable(), Position(if syncs == 1 { 4 } else { 1 }));
    }
}

#[test]
fn a_repeated_append_that_asks_for_a_sync_is_answered_when_the_first_is_durable() {
    let hour = Durability::Interval(std::time::Duration::from_secs(3600));
    let disk = MemoryDisk::simulated(seed());
    let store = open(&disk, &small().durability(hour)).unwrap();
    let event = || vec![NewEvent::new("Paid", "").id(EventId::from_bytes([7; 16]))];
    let repeat = |durability| {
        disk.start_trace();
        let group = vec![(part("Order-1", event()), Vec::new(), durability)];
        let done = store.commit_group_of(group).remove(0).unwrap()[0];
        let syncs = disk.trace().iter().filter(|call| call.kind == CallKind::Sync).count();
        (done.deduplicated, syncs, store.durable())
    };
    assert_eq!(repeat(None), (false, 0, Position(0)));
    assert_eq!(repeat(None), (true, 0, Position(0)), "nobody asks");
    assert_eq!(repeat(Some(Durability::Sync)), (true, 1, Position(1)));
    assert_eq!(repeat(Some(Durability::Sync)), (true, 0, Position(1)), "it is durable");
}

#[cfg(feature = "async")]
#[test]
fn a_group_is_bounded_in_requests_and_in_bytes() {
    let disk = MemoryDisk::simulated(seed());
    let store = open(&disk, &crate::StoreOptions::default().upkeep_thread(false)).unwrap();
    // Into a segment that has room for all that follows: a roll would sync, too.
    (0..8).for_each(|_| put(&store, 900 << 10));
    let syncs_of = |sizes: Vec<usize>| {
        disk.start_trace();
        let append = |size: usize| part("Order-1", vec![NewEvent::new("Put", vec![7; size])]);
        let answers = store.submit_all(sizes.into_iter().map(append).collect());
        assert!(answers.iter().all(Result::is_ok));
        disk.trace().iter().filter(|call| call.kind == CallKind::Sync).count()
    };
    assert_eq!(syncs_of(vec![0; 1024]), 1);
    assert_eq!(syncs_of(vec![0; 1025]), 2);
    let third = (1 << 20) / 3;
    assert_eq!(syncs_of(vec![third - 1000; 3]), 1, "three that fit a MiB with their heads");
    assert_eq!(syncs_of(vec![third + 1000; 3]), 2, "two, and the third");
    assert_eq!(syncs_of(vec![2 << 20, 10, 10]), 2, "one that is too large goes by itself");
}

/// Appends as a leader does, without the upkeep behind it.
fn put(store: &Store, size: usize) {
    let event = NewEvent::new("Put", vec![7; size]);
    store.commit_group(vec![part("Order-1", vec![event])]).remove(0).unwrap();
}

#[test]
fn the_next_segment_is_prepared_when_half_of_one_is_used() {
    let disk = MemoryDisk::simulated(seed());
    let store = open(&disk, &small().checkpoint_bytes(1 << 30)).unwrap();
    // Of 64 KiB the header takes 4: 28 KiB are left to the half.
    put(&store, 27 << 10);
    assert!(!store.wants_upkeep() && store.late_preparation().is_none());
    put(&store, 2 << 10);
    assert!(store.wants_upkeep());
    store.late_preparation().unwrap().run().unwrap();
    assert!(!store.wants_upkeep() && store.late_preparation().is_none(), "it is there");
}

#[test]
fn an_index_checkpoint_is_made_when_enough_was_appended() {
    let disk = MemoryDisk::simulated(seed());
    let store = open(&disk, &small().checkpoint_bytes(10_000)).unwrap();
    // Twice: what counts is what came since the last one.
    for _ in 0..2 {
        put(&store, 9_000);
        assert!(!store.wants_upkeep() && !store.keep_up().unwrap(), "too little");
        put(&store, 1_000);
        assert!(store.wants_upkeep() && store.keep_up().unwrap());
        assert!(!store.wants_upkeep() && !store.keep_up().unwrap(), "once");
    }
}

#[test]
fn segments_double_and_a_large_append_gets_one_in_which_it_fits() {
    let disk = MemoryDisk::simulated(seed());
    let options = crate::StoreOptions::default().segment_bytes(4 << 20).upkeep_thread(false);
    let store = open(&disk, &options).unwrap();
    let append = |size: usize| {
        let event = NewEvent::new("Put", vec![7; size]);
        store.append("Order-1", ExpectedVersion::Any, [event]).unwrap();
    };
    let lengths = || -> Vec<usize> {
        let files = disk.files();
        let is_segment = |name: &str| {
            let file = name.strip_prefix("log/").and_then(LogFile::parse);
            matches!(file, Some(LogFile::Segment { .. }))
        };
        let segments = files.iter().filter(|(name, _)| is_segment(name));
        segments.map(|(_, bytes)| bytes.len() >> 10).collect()
    };
    append(10);
    assert_eq!(lengths(), [1 << 10]);
    for _ in 0..3 {
        append(900 << 10);
    }
    assert_eq!(lengths()[..2], [1 << 10, 2 << 10]);
    append(9 << 20);
    let all = lengths();
    // Its header, its first frame, and room for the end: rounded up to pages.
    assert!(all.iter().any(|kib| ((9 << 10) + 4..(9 << 10) + 20).contains(kib)), "{all:?}");
    append(10);
    append(3 << 20);
    assert_eq!(lengths().last(), Some(&(4 << 10)), "no longer than the options say");
}
