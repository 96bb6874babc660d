//! What is too long, too many or not a name is refused with a typed error that names the value and
//! the limit, and nothing is written; what is just within the limits comes back as it was given.

use std::fs;
use std::time::Duration;

use annals::{
    Durability, Error, EventId, ExpectedVersion, Limits, MAX_EVENT_TYPE, MAX_LABEL,
    MAX_STREAM_NAME, MAX_TAGS, NewEvent, Position, Preallocate, Result, Store, StoreOptions,
    Timestamp, Version,
};

use crate::support::{Place, SMALL, all_events, id, log_paths, numbered, sized};

const ANY: ExpectedVersion = ExpectedVersion::Any;

/// Sees that a call is refused, and that it leaves no trace in the store.
#[track_caller]
fn refused<T>(store: &Store, call: impl FnOnce(&Store) -> Result<T>) -> Error {
    let before = (store.head(), store.durable(), store.info().unwrap().log_bytes);
    let Err(e) = call(store) else { panic!("accepted") };
    let after = (store.head(), store.durable(), store.info().unwrap().log_bytes);
    assert_eq!(before, after, "nothing is written");
    assert!(!e.is_retryable() && !e.is_corruption(), "{e}");
    e
}

#[track_caller]
fn assert_invalid(e: &Error, named: &str, bad: &str) {
    let Error::InvalidName { what, name, .. } = e else { panic!("{e}") };
    assert_eq!(*what, named, "{e}");
    assert!(name.chars().count() < 80 && !name.contains(char::is_control), "{name:?}");
    assert!(bad.is_empty() || !name.is_empty(), "{bad:?} is not named in: {e}");
}

#[track_caller]
fn assert_limit(e: &Error, named: &str, most: u64, given: u64) {
    let Error::LimitExceeded { what, limit, found } = e else { panic!("{e}") };
    assert_eq!((&**what, *limit, *found), (named, most, given));
    let text = e.to_string();
    assert!(text.contains(&most.to_string()) && text.contains(&given.to_string()), "{text}");
}

fn limits(event_bytes: u64, append_bytes: u64, append_events: u64) -> Limits {
    let mut limits = Limits::default();
    (limits.event_bytes, limits.append_bytes) = (event_bytes, append_bytes);
    limits.append_events = append_events;
    limits
}

/// Texts that are no name of any kind.
const NO_NAMES: [&str; 7] = ["", "a\nb", "\0", "tab\t", "a\u{7f}", "\u{85}", "\u{9f}x"];

#[test]
fn stream_names() {
    let store = Store::in_memory().unwrap();
    store.append("There-1", ANY, [numbered(1)]).unwrap();
    let too_long = "x".repeat(MAX_STREAM_NAME + 1);
    let one_byte_too_long = format!("{}x", "\u{e9}".repeat(MAX_STREAM_NAME / 2));
    assert_eq!(one_byte_too_long.len(), MAX_STREAM_NAME + 1);
    let all_calls: [fn(&Store, &str) -> Result<()>; 6] = [
        |store, name| store.append(name, ANY, [numbered(1)]).map(drop),
        |store, name| {
            let batch = store.batch().append("Good-1", ANY, [numbered(1)]);
            batch.append(name, ANY, [numbered(2)]).commit().map(drop)
        },
        |store, name| {
            let batch = store.batch().append("Good-1", ANY, [numbered(1)]);
            batch.expect(name, ANY).commit().map(drop)
        },
        |store, name| store.stream(name).map(drop),
        |store, name| store.read_stream(name).into_iter().try_for_each(|e| e.map(drop)),
        |store, name| store.read_stream(name).backwards().into_iter().try_for_each(|e| e.map(drop)),
    ];
    for call in all_calls {
        for bad in NO_NAMES.into_iter().chain(["$", "$all", "-", "-1"]) {
            assert_invalid(&refused(&store, |store| call(store, bad)), "stream name", bad);
        }
        for long in [&too_long, &one_byte_too_long] {
            let e = refused(&store, |store| call(store, long));
            assert_limit(&e, "bytes of a stream name", 512, 513);
        }
    }
    for good in ["x", " ", "a-", "\u{6771}\u{4eac}-1", "a$", "a b/c.d:e", "\u{1f980}-\u{301}"] {
        let longest = format!("{good}{}", "y".repeat(MAX_STREAM_NAME - good.len()));
        for name in [good, &longest] {
            let done = store.append(name, ExpectedVersion::NoStream, [numbered(1)]).unwrap();
            let event = store.event(done.position).unwrap().unwrap();
            assert_eq!(event.stream(), name);
            assert_eq!(store.stream(name).unwrap().unwrap().version, Version(1));
        }
    }
    all_events(&store);
}

#[test]
fn the_longest_name_of_two_byte_letters_survives_a_reopen() {
    let place = Place::new();
    let name = "\u{e9}".repeat(MAX_STREAM_NAME / 2);
    assert_eq!(name.len(), MAX_STREAM_NAME);
    for version in 0..3 {
        let store = Store::options().segment_bytes(SMALL).open(place.path()).unwrap();
        let read: Vec<_> = store.read_stream(&name).into_iter().map(|e| e.unwrap()).collect();
        assert_eq!(read.len(), version);
        assert!(read.iter().all(|event| event.stream() == name && event.category() == name));
        // Enough to fill a segment with nothing but the name.
        store.append("Filler-1", ANY, (0..100).map(|_| sized(700))).unwrap();
        store.append(&name, Version(version as u64), [numbered(1)]).unwrap();
        store.close().unwrap();
    }
}

#[test]
fn types_tags_and_labels() {
    type Set = fn(NewEvent, String) -> NewEvent;
    let labels: [(&str, &str, usize, Set); 5] = [
        ("event type", "bytes of an event type", MAX_EVENT_TYPE, |_, text| NewEvent::new(text, "")),
        ("tag", "bytes of a tag", MAX_LABEL, |event, text| event.tag("a").tag(text)),
        ("correlation id", "bytes of a correlation id", MAX_LABEL, NewEvent::correlation),
        ("causation id", "bytes of a causation id", MAX_LABEL, NewEvent::causation),
        ("content type", "bytes of a content type", MAX_LABEL, NewEvent::content_type),
    ];
    let store = Store::in_memory().unwrap();
    for (named, limited, most, set) in labels {
        let append = |text: &str| {
            let event = set(numbered(1), text.into());
            // Not the first event: those before it are not written either.
            store.append("A-1", ANY, [numbered(0), event])
        };
        for bad in NO_NAMES {
            assert_invalid(&refused(&store, |_| append(bad)), named, bad);
        }
        for long in ["x".repeat(most + 1), format!("{}xx", "\u{e9}".repeat(most / 2))] {
            let e = refused(&store, |_| append(&long));
            assert_limit(&e, limited, most as u64, most as u64 + 1);
        }
        for good in ["x".into(), "$".into(), "-".into(), "x".repeat(most)] {
            let done = append(&good).unwrap();
            let event = store.event(done.position).unwrap().unwrap();
            let found = match named {
                "event type" => Some(event.event_type()),
                "tag" => event.tags().nth(1),
                "correlation id" => event.correlation_id(),
                "causation id" => event.causation_id(),
                _ => Some(event.content_type()),
            };
            assert_eq!(found, Some(&*good), "{named}");
        }
    }
}

#[test]
fn tags_are_counted_once_each() {
    let store = Store::in_memory().unwrap();
    let tags = |count: usize| (0..count).map(|n| format!("tag:{n}"));
    let append = |event| store.append("A-1", ANY, [event]);
    let e = refused(&store, |_| append(numbered(1).tags(tags(MAX_TAGS + 1))));
    assert_limit(&e, "tags of an event", 64, 65);
    let twice = numbered(1).tags(tags(MAX_TAGS)).tags(tags(MAX_TAGS));
    let done = append(twice).unwrap();
    let event = store.event(done.position).unwrap().unwrap();
    assert!(event.tags().eq(tags(MAX_TAGS)));
    // The most there can be of everything, at once.
    let most = "x".repeat(MAX_LABEL - 7);
    let full = NewEvent::new("y".repeat(MAX_EVENT_TYPE), "")
        .tags(tags(MAX_TAGS).map(|tag| format!("{most}{tag:.>7}")))
        .correlation("c".repeat(MAX_LABEL))
        .causation("d".repeat(MAX_LABEL))
        .content_type("e".repeat(MAX_LABEL))
        .schema_version(u32::MAX)
        .created_at(Timestamp::from_micros(i64::MIN));
    let done = append(full).unwrap();
    let event = store.event(done.position).unwrap().unwrap();
    assert_eq!(event.tags().map(str::len).collect::<Vec<_>>(), [MAX_LABEL; MAX_TAGS]);
    assert_eq!((event.schema_version(), event.data()), (u32::MAX, &[][..]));
    assert_eq!(event.created_at(), Timestamp::from_micros(i64::MIN));
}

#[test]
fn the_nil_id_is_no_id() {
    let store = Store::in_memory().unwrap();
    let nil = || numbered(1).id(EventId::from_bytes([0; 16]));
    for events in [vec![nil()], vec![numbered(1), nil()], vec![numbered(1).id(id(1)), nil()]] {
        let e = refused(&store, |store| store.append("A-1", ANY, events));
        assert_invalid(&e, "event id", "00000000-0000-0000-0000-000000000000");
    }
    assert!(store.event_by_id(EventId::from_bytes([0; 16])).unwrap().is_none());
    let most = EventId::from_bytes([0xff; 16]);
    store.append("A-1", ANY, [numbered(1).id(most)]).unwrap();
    assert_eq!(store.event_by_id(most).unwrap().unwrap().position(), Position(1));
}

#[test]
fn numbers_out_of_bounds_find_nothing_and_match_nothing() {
    let store = Store::in_memory().unwrap();
    store.append("A-1", ANY, [numbered(1), numbered(2)]).unwrap();
    for version in [3, u64::MAX] {
        let e = refused(&store, |store| store.append("A-1", Version(version), [numbered(3)]));
        let Error::Conflict(conflict) = e else { panic!("{e}") };
        assert_eq!(conflict.actual, Version(2));
        assert_eq!(conflict.expected, ExpectedVersion::Exact(Version(version)));
    }
    for position in [0, 3, u64::MAX] {
        assert!(store.event(Position(position)).unwrap().is_none());
    }
    for beyond in [2, u64::MAX] {
        assert_eq!(store.read_all().after(Position(beyond)).into_iter().count(), 0);
        assert_eq!(store.read_stream("A-1").after(Version(beyond)).into_iter().count(), 0);
    }
    for beyond in [3, u64::MAX] {
        assert_eq!(store.read_all().backwards().after(Position(beyond)).into_iter().count(), 2);
        let back = store.read_stream("A-1").backwards().after(Version(beyond));
        assert_eq!(back.into_iter().count(), 2);
    }
    for before in [0, 1] {
        assert_eq!(store.read_all().backwards().after(Position(before)).into_iter().count(), 0);
        let back = store.read_stream("A-1").backwards().after(Version(before));
        assert_eq!(back.into_iter().count(), 0);
    }
    assert_eq!(store.read_all().limit(0).into_iter().count(), 0);
    assert_eq!(store.read_stream("A-1").limit(0).into_iter().count(), 0);
}

#[test]
fn appends_without_events() {
    let place = Place::new();
    let store = Store::open(place.path()).unwrap();
    let calls: [fn(&Store) -> Result<()>; 4] = [
        |store| store.append("A-1", ANY, []).map(drop),
        |store| store.batch().commit().map(drop),
        |store| store.batch().expect("A-1", ANY).commit().map(drop),
        |store| store.batch().append("A-1", Version(7), []).commit().map(drop),
    ];
    for call in calls {
        assert!(matches!(refused(&store, call), Error::EmptyAppend));
    }
    // A part without events is a check like any other.
    let batch = || store.batch().append("A-1", ANY, [numbered(1)]);
    let e = refused(&store, |_| batch().append("B-1", Version(1), []).commit());
    assert!(matches!(e, Error::Conflict(_)));
    assert_eq!(batch().append("B-1", Version(0), []).commit().unwrap().len(), 1);
}

#[test]
fn options_that_cannot_work_are_refused_and_create_nothing() {
    let limits = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        Store::options().limits(limits)
    };
    let bad = [
        Store::options().durability(Durability::Interval(Duration::ZERO)),
        Store::options().segment_bytes(0),
        Store::options().segment_bytes(SMALL - 1),
        Store::options().segment_bytes(4 << 30),
        Store::options().segment_bytes(u64::MAX),
        limits(|l| l.event_bytes = 0),
        limits(|l| l.append_bytes = 0),
        limits(|l| l.append_events = 0),
        limits(|l| l.event_bytes = Limits::HARD_EVENT_BYTES + 1),
        limits(|l| l.append_bytes = Limits::HARD_APPEND_BYTES + 1),
        limits(|l| l.append_events = Limits::HARD_APPEND_EVENTS + 1),
        limits(|l| l.event_bytes = l.append_bytes + 1),
    ];
    let place = Place::new();
    for options in bad {
        let opens: [fn(StoreOptions, &Place) -> Result<Store>; 3] = [
            |options, place| options.open(place.path()),
            |options, place| options.open_read_only(place.path()),
            |options, _| options.in_memory(),
        ];
        for open in opens {
            let Err(Error::InvalidOptions { why }) = open(options.clone(), &place) else {
                panic!("accepted: {options:?}")
            };
            assert!(!why.is_empty());
        }
        assert!(!place.path().exists(), "{options:?}");
    }
}

#[test]
fn the_ends_of_what_options_take_work() {
    let hard =
        limits(Limits::HARD_EVENT_BYTES, Limits::HARD_APPEND_BYTES, Limits::HARD_APPEND_EVENTS);
    let place = Place::new();
    let ends = [
        Store::options().segment_bytes((4 << 30) - (1 << 20)).limits(hard),
        Store::options().segment_bytes(SMALL).preallocate(Preallocate::None).checkpoint_bytes(0),
        Store::options().durability(Durability::Interval(Duration::from_nanos(1))),
        Store::options().durability(Durability::Interval(Duration::MAX)).upkeep_thread(false),
        Store::options().durability(Durability::Interval(Duration::MAX)),
    ];
    // One after the other on the same store: options belong to a handle, not to the store.
    for (n, options) in ends.into_iter().enumerate() {
        let store = options.open(place.path()).unwrap();
        for _ in 0..20 {
            store.append("A-1", ANY, [sized(10_000)]).unwrap();
        }
        store.sync().unwrap();
        assert_eq!(all_events(&store).len(), 20 * (n + 1));
        store.close().unwrap();
    }
}

/// The largest data that is accepted, between one that is and one that is not.
fn largest(mut good: usize, mut bad: usize, accepts: impl Fn(usize) -> bool) -> usize {
    assert!(accepts(good) && !accepts(bad));
    while good + 1 < bad {
        let middle = usize::midpoint(good, bad);
        if accepts(middle) { good = middle } else { bad = middle }
    }
    good
}

#[test]
fn limits_that_are_set_hold_to_the_byte() {
    let store = Store::options().limits(limits(1_000, 5_000, 10)).in_memory().unwrap();
    let append = |sizes: &[usize]| store.append("A-1", ANY, sizes.iter().map(|n| sized(*n)));
    // The encoding of an event takes some bytes, and so does the frame around an append.
    let event = largest(900, 1_000, |bytes| append(&[bytes]).is_ok());
    for bytes in [event + 1, 1_000, 1_001, 4_000] {
        let e = refused(&store, |_| append(&[1, bytes]));
        let Error::LimitExceeded { what, limit: 1_000, found } = e else { panic!("{e}") };
        assert_eq!(what, "bytes of an event");
        assert!(found > 1_000 && found < bytes as u64 + 100, "{bytes}: {found}");
    }
    let last = largest(0, event, |bytes| append(&[event, event, event, event, bytes]).is_ok());
    let e = refused(&store, |_| append(&[event, event, event, event, last + 5]));
    let Error::LimitExceeded { what, limit: 5_000, found } = e else { panic!("{e}") };
    assert_eq!(what, "bytes of an append");
    assert!(found > 5_000 && found < 5_100, "{found}");
    // Of the metadata every byte counts as well.
    let e = refused(&store, |_| {
        store.append("A-1", ANY, [sized(500).metadata(vec![b'm'; event - 500 + 1])])
    });
    assert!(matches!(e, Error::LimitExceeded { limit: 1_000, .. }));

    append(&[1; 10]).unwrap();
    let e = refused(&store, |_| append(&[1; 11]));
    assert_limit(&e, "events of an append", 10, 11);
    let e = refused(&store, |store| {
        let five = || (0..5).map(numbered);
        let batch = store.batch().append("A-1", ANY, five()).append("B-1", ANY, five());
        batch.append("C-1", ANY, [numbered(1)]).commit()
    });
    assert_limit(&e, "events of an append", 10, 11);
    all_events(&store);
}

#[test]
fn the_default_limits() {
    let store = Store::in_memory().unwrap();
    let e = refused(&store, |store| store.append("A-1", ANY, [sized((16 << 20) + 1)]));
    assert_limit(&e, "bytes of an event", 16 << 20, (16 << 20) + 1);
    let five = (0..5).map(|_| sized(13 << 20));
    let e = refused(&store, |store| store.append("A-1", ANY, five));
    assert!(matches!(e, Error::LimitExceeded { limit: 0x400_0000, found, .. } if found > 65 << 20));
    let e = refused(&store, |store| store.append("A-1", ANY, (0..65_536).map(numbered)));
    assert_limit(&e, "events of an append", 65_535, 65_536);
}

#[test]
fn an_event_of_sixteen_mebibytes() {
    let place = Place::new();
    let data: Vec<u8> = (0..(16 << 20) - 200).map(|n: u32| (n % 251) as u8).collect();
    let large = || NewEvent::new("Large", data.clone()).id(id(1));
    let store = Store::open(place.path()).unwrap();
    store.append("A-1", ANY, [numbered(1)]).unwrap();
    let done = store.append("A-1", ANY, [large()]).unwrap();
    store.append("A-1", ANY, [numbered(2)]).unwrap();
    assert!(store.append("A-1", ANY, [large()]).unwrap().deduplicated);
    let kept = store.event(done.position).unwrap().unwrap();
    store.close().unwrap();
    drop(store);
    for mode in [annals::ReadMode::Mmap, annals::ReadMode::Positional] {
        let store = Store::options().read_mode(mode).open(place.path()).unwrap();
        let events = all_events(&store);
        assert_eq!(events.len(), 3);
        assert!(events[1].data() == data, "the data came back otherwise");
        assert!(store.append("A-1", ANY, [large()]).unwrap().deduplicated);
    }
    assert!(kept.data() == data, "an event outlives its store");
}

#[test]
fn appends_that_fit_no_segment_get_one_of_their_own() {
    let place = Place::new();
    let options = || Store::options().segment_bytes(SMALL).durability(Durability::Os);
    let lengths = || -> Vec<u64> {
        let segments = log_paths(&place.path(), ".seg").into_iter();
        segments.map(|path| fs::metadata(path).unwrap().len()).collect()
    };
    let store = options().open(place.path()).unwrap();
    // In the place of the first segment, behind a small one, twice in a row, and small again.
    let sizes = [300_000, 10, 300_000, 300_000, 10, 70_000, 10, 60_000, 1_000_000, 10];
    for (n, bytes) in sizes.into_iter().enumerate() {
        let done = store.append("Sized-1", Version(n as u64), [sized(bytes)]).unwrap();
        assert_eq!(done.position, Position(n as u64 + 1));
    }
    assert!(lengths().iter().filter(|len| **len > 300_000).count() == 4, "{:?}", lengths());
    let check = |store: &Store, count: usize| {
        let events = all_events(store);
        let found: Vec<usize> = events.iter().map(|event| event.data().len()).collect();
        assert_eq!(found, sizes.repeat(count));
    };
    check(&store, 1);
    check(&options().open(place.killed("killed")).unwrap(), 1);
    store.close().unwrap();
    drop(store);
    // A long segment does not make those behind it long.
    let store = options().open(place.path()).unwrap();
    check(&store, 1);
    for bytes in sizes {
        store.append("Sized-1", ExpectedVersion::Exists, [sized(bytes)]).unwrap();
    }
    check(&store, 2);
    store.close().unwrap();
    assert!(lengths().contains(&SMALL), "{:?}", lengths());
    check(&options().open(place.path()).unwrap(), 2);
}

#[test]
fn appends_around_the_length_of_a_segment() {
    let place = Place::new();
    let options = || Store::options().segment_bytes(SMALL).durability(Durability::Os);
    let sizes: Vec<usize> = (60_900..61_500).step_by(14).collect();
    let store = options().open(place.path()).unwrap();
    for bytes in &sizes {
        store.append("Sized-1", ANY, [sized(*bytes)]).unwrap();
    }
    store.close().unwrap();
    let lengths: Vec<u64> = log_paths(&place.path(), ".seg")
        .into_iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .collect();
    assert!(lengths.contains(&SMALL), "the smallest fit: {lengths:?}");
    assert!(lengths.iter().any(|len| *len > SMALL), "the largest do not: {lengths:?}");
    let store = options().open(place.path()).unwrap();
    let found: Vec<usize> = all_events(&store).iter().map(|event| event.data().len()).collect();
    assert_eq!(found, sizes);
}

#[test]
fn the_most_events_of_an_append() {
    const MOST: u64 = 65_535;
    let place = Place::new();
    let events = || (0..MOST).map(|n| numbered(n).id(id(n + 1)));
    let store = Store::open(place.path()).unwrap();
    store.append("Before-1", ANY, [numbered(1)]).unwrap();
    let done = store.append("Many-1", ANY, events()).unwrap();
    assert_eq!((done.version, done.position), (Version(MOST), Position(MOST + 1)));
    let check = |store: &Store| {
        assert_eq!(all_events(store).len() as u64, MOST + 1);
        let again = store.append("Many-1", ANY, events()).unwrap();
        assert_eq!((again.version, again.deduplicated), (done.version, true));
        let middle = store.event_by_id(id(40_000)).unwrap().unwrap();
        assert_eq!((middle.version(), middle.data()), (Version(40_000), &b"39999"[..]));
    };
    check(&store);
    check(&Store::open(place.killed("killed")).unwrap());
    store.close().unwrap();
    let store = Store::open(place.path()).unwrap();
    check(&store);
}

/// Commits one event to each of so many streams.
fn commit_over(
    store: &Store,
    streams: u64,
    expected: ExpectedVersion,
) -> Result<Vec<annals::Appended>> {
    let batch = (0..streams).fold(store.batch(), |batch, n| {
        batch.append(format!("Stream-{n}"), expected, [numbered(n)])
    });
    batch.commit()
}

#[test]
fn a_batch_over_the_most_streams() {
    const MOST: u64 = 65_535;
    let place = Place::new();
    let store = Store::open(place.path()).unwrap();
    let commit = |streams| commit_over(&store, streams, ExpectedVersion::NoStream);
    assert!(matches!(commit(MOST + 1), Err(Error::LimitExceeded { .. })));
    let done = commit(MOST).unwrap();
    assert!(done.iter().map(|done| done.position.0).eq(1..=MOST));
    let check = |store: &Store| {
        for n in [0, 1, 40_000, MOST - 1] {
            let event = store.read_stream(format!("Stream-{n}")).into_iter().next().unwrap();
            let event = event.unwrap();
            assert_eq!((event.position(), event.version()), (Position(n + 1), Version(1)));
            assert_eq!(event.data(), n.to_string().as_bytes());
        }
    };
    check(&store);
    check(&Store::open(place.killed("killed")).unwrap());
}

#[test]
fn a_batch_over_hundreds_of_streams() {
    const STREAMS: u64 = 300;
    let place = Place::new();
    let store = Store::open(place.path()).unwrap();
    let commit = |expected| commit_over(&store, STREAMS, expected);
    let done = commit(ExpectedVersion::NoStream).unwrap();
    assert!(done.iter().map(|done| done.position.0).eq(1..=STREAMS));
    assert!(done.iter().all(|done| done.version == Version(1)));
    let Err(Error::Conflict(conflict)) = commit(ExpectedVersion::NoStream) else {
        panic!("the streams exist")
    };
    assert_eq!(conflict.stream, "Stream-0");
    assert_eq!(store.head(), Position(STREAMS));
    commit(ExpectedVersion::Exact(Version(1))).unwrap();
    store.close().unwrap();
    assert_eq!(all_events(&Store::open(place.path()).unwrap()).len() as u64, 2 * STREAMS);
}
