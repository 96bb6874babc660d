//! Event ids make appends safe to retry, for ever: the whole table of what a second append can be,
//! with every expectation, before and after a reopen and wherever the first one lies by then.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Barrier;
use std::thread;

use annals::{
    Appended, Durability, Error, Event, EventId, ExpectedVersion, IdConflict, NewEvent, Position,
    Result, Store, StoreOptions, Timestamp, Version,
};

use crate::support::{
    Place, SMALL, all_events, id, log_files, numbered, seal_segments, sized, small_segments,
};

/// An event with everything that an event can have, to be changed in one thing.
#[derive(Clone)]
struct Full {
    event_type: &'static str,
    data: &'static str,
    schema_version: u32,
    content_type: &'static str,
    metadata: &'static str,
    tags: Vec<&'static str>,
    correlation: Option<&'static str>,
    causation: Option<&'static str>,
    created_at: Option<i64>,
}

impl Full {
    fn new(change: impl FnOnce(&mut Self)) -> Self {
        let mut full = Self {
            event_type: "OrderPaid",
            data: r#"{"total":42}"#,
            schema_version: 3,
            content_type: "application/json",
            metadata: "by hand",
            tags: vec!["customer:7", "till:2", "blue"],
            correlation: Some("request-1"),
            causation: Some("click-1"),
            created_at: Some(1_700_000_000_000_000),
        };
        change(&mut full);
        full
    }

    fn event(&self, id: EventId) -> NewEvent {
        let mut event = NewEvent::new(self.event_type, self.data)
            .id(id)
            .schema_version(self.schema_version)
            .content_type(self.content_type)
            .metadata(self.metadata)
            .tags(self.tags.iter().copied());
        if let Some(correlation) = self.correlation {
            event = event.correlation(correlation);
        }
        if let Some(causation) = self.causation {
            event = event.causation(causation);
        }
        if let Some(micros) = self.created_at {
            event = event.created_at(Timestamp::from_micros(micros));
        }
        event
    }
}

/// An append that was made once: three events with ids, behind which the stream has moved on.
struct Original {
    stream: String,
    ids: [EventId; 3],
    /// Where its first event stands.
    first: Position,
}

impl Original {
    fn make(store: &Store, number: u64) -> Self {
        let stream = format!("Order-{number}");
        let ids = [id(10 * number), id(10 * number + 1), id(10 * number + 2)];
        let mut original = Self { stream, ids, first: Position::START };
        let stream = &original.stream;
        let done = store.append(stream, ExpectedVersion::NoStream, original.events()).unwrap();
        assert_eq!((done.version, done.deduplicated), (Version(3), false));
        store.append(stream, Version(3), [numbered(number)]).unwrap();
        original.first = Position(done.position.0 - 2);
        original
    }

    fn events(&self) -> [NewEvent; 3] {
        self.events_with(&Full::new(|_| ()))
    }

    fn events_with(&self, second: &Full) -> [NewEvent; 3] {
        [
            NewEvent::new("OrderPlaced", "first").id(self.ids[0]),
            second.event(self.ids[1]),
            NewEvent::new("OrderShipped", "").id(self.ids[2]),
        ]
    }

    /// Where its n-th event stands, from 1.
    fn position(&self, event: u64) -> Position {
        Position(self.first.0 + event - 1)
    }
}

/// What a second append must come to. Events of the original are counted from 1.
#[derive(Clone, Debug)]
enum Expect {
    /// The original's answer, as of this event.
    Retry(u64),
    Partial {
        present: u64,
        absent: EventId,
    },
    Reordered(u64),
    OtherStream(u64),
    OtherContent(u64, &'static str),
    Repeated(EventId),
}

/// A second append.
struct Case {
    name: &'static str,
    stream: String,
    events: Vec<NewEvent>,
    expect: Expect,
}

/// Every second append that has to do with the ids of an original. `fresh` is the number of an
/// event that is stored nowhere, `elsewhere` another stream.
fn cases(original: &Original, fresh: u64, elsewhere: &str) -> Vec<Case> {
    use Expect::{OtherStream, Partial, Reordered, Repeated, Retry};
    let [a, b, c] = original.events();
    let absent = id(fresh);
    let new = numbered(fresh).id(absent);
    let table: [(&str, Vec<&NewEvent>, Expect); 12] = [
        ("the same again", vec![&a, &b, &c], Retry(3)),
        ("its beginning", vec![&a, &b], Retry(2)),
        ("its end", vec![&b, &c], Retry(3)),
        ("one of it", vec![&b], Retry(2)),
        ("and one more", vec![&a, &b, &c, &new], Partial { present: 1, absent }),
        ("one more and the last", vec![&new, &c], Partial { present: 3, absent }),
        ("another order", vec![&b, &a, &c], Reordered(1)),
        ("the order reversed", vec![&c, &b, &a], Reordered(2)),
        ("a gap", vec![&a, &c], Reordered(3)),
        ("a new id twice", vec![&new, &new], Repeated(absent)),
        ("a stored id twice", vec![&a, &a], Repeated(original.ids[0])),
        ("an id twice, apart", vec![&a, &b, &a], Repeated(original.ids[0])),
    ];
    let case = |stream: &str, name, events: Vec<&NewEvent>, expect| Case {
        name,
        stream: stream.into(),
        events: events.into_iter().cloned().collect(),
        expect,
    };
    let mut cases: Vec<Case> = table
        .into_iter()
        .map(|(name, events, expect)| case(&original.stream, name, events, expect))
        .collect();
    for stream in [elsewhere, &format!("New-{fresh}")] {
        cases.push(case(stream, "in another stream", vec![&a, &b, &c], OtherStream(1)));
        cases.push(case(stream, "the last in another stream", vec![&new, &c], OtherStream(3)));
    }
    for (expect, second) in contents() {
        let [a, b, c] = original.events_with(&second);
        cases.push(case(&original.stream, "another content", vec![&a, &b, &c], expect));
    }
    cases
}

/// Changes of the second event, and what each of them must come to.
fn contents() -> Vec<(Expect, Full)> {
    let other: [(&str, Full); 15] = [
        ("event type", Full::new(|e| e.event_type = "OrderPaid2")),
        ("data", Full::new(|e| e.data = r#"{"total":43}"#)),
        ("data", Full::new(|e| e.data = "")),
        ("schema version", Full::new(|e| e.schema_version = 4)),
        ("content type", Full::new(|e| e.content_type = "application/octet-stream")),
        ("content type", Full::new(|e| e.content_type = "text/plain")),
        ("metadata", Full::new(|e| e.metadata = "by machine")),
        ("metadata", Full::new(|e| e.metadata = "")),
        ("set of tags", Full::new(|e| e.tags.push("green"))),
        ("set of tags", Full::new(|e| e.tags = vec!["customer:7", "till:2"])),
        ("set of tags", Full::new(|e| e.tags = vec!["customer:7", "till:2", "Blue"])),
        ("correlation id", Full::new(|e| e.correlation = Some("request-2"))),
        ("correlation id", Full::new(|e| e.correlation = None)),
        ("causation id", Full::new(|e| e.causation = Some("click-2"))),
        ("causation id", Full::new(|e| e.causation = None)),
    ];
    let same = [
        Full::new(|e| e.tags.reverse()),
        Full::new(|e| e.created_at = Some(5)),
        Full::new(|e| e.created_at = None),
    ];
    let other = other.map(|(differs, full)| (Expect::OtherContent(2, differs), full));
    other.into_iter().chain(same.map(|full| (Expect::Retry(3), full))).collect()
}

/// Every expectation: those that hold for a stream at a version, and those that do not.
fn expectations(version: u64) -> [ExpectedVersion; 6] {
    [
        ExpectedVersion::Any,
        ExpectedVersion::NoStream,
        ExpectedVersion::Exists,
        ExpectedVersion::Exact(Version(version)),
        ExpectedVersion::Exact(Version(version + 7)),
        ExpectedVersion::Exact(Version(version.saturating_sub(1))),
    ]
}

/// Makes every second append with every expectation, and sees that nothing is written.
fn check_second_appends(store: &Store, original: &Original, elsewhere: &Original, fresh: u64) {
    let head = store.head();
    for case in cases(original, fresh, &elsewhere.stream) {
        for expected in expectations(4) {
            let what = format!("{}: {:?}, expecting {expected}", case.name, case.expect);
            let done = store.append(&case.stream, expected, case.events.clone());
            check(original, &case.expect, done, &what);
            assert_eq!(store.head(), head, "{what}: nothing is written");
        }
    }
    assert!(store.event_by_id(id(fresh)).unwrap().is_none());
}

fn check(original: &Original, expect: &Expect, done: Result<Appended>, what: &str) {
    if let Expect::Retry(event) = *expect {
        let done = done.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(done.deduplicated, "{what}");
        assert_eq!((done.version.0, done.position), (event, original.position(event)), "{what}");
        return;
    }
    let Err(e) = done else { panic!("{what}: accepted") };
    assert!(e.is_conflict() && !e.is_retryable(), "{what}: {e}");
    let Error::IdConflict(found) = e else { panic!("{what}: {e}") };
    let id_of = |event: u64| original.ids[event as usize - 1];
    match *expect {
        Expect::Retry(_) => unreachable!(),
        Expect::Partial { present, absent } => {
            let wanted = (id_of(present), original.position(present), absent);
            let IdConflict::Partial { present, position, absent } = found else {
                panic!("{what}: {found}")
            };
            assert_eq!((present, position, absent), wanted, "{what}");
        }
        Expect::Reordered(event) => {
            let IdConflict::Reordered { id, position } = found else { panic!("{what}: {found}") };
            assert_eq!((id, position), (id_of(event), original.position(event)), "{what}");
        }
        Expect::OtherStream(event) => {
            let IdConflict::OtherStream { id, ref stream, position } = found else {
                panic!("{what}: {found}")
            };
            assert_eq!((id, position), (id_of(event), original.position(event)), "{what}");
            assert_eq!(*stream, original.stream, "{what}");
        }
        Expect::OtherContent(event, wanted) => {
            let IdConflict::OtherContent { id, position, differs } = found else {
                panic!("{what}: {found}")
            };
            assert_eq!((id, position), (id_of(event), original.position(event)), "{what}");
            assert_eq!(differs, wanted, "{what}");
        }
        Expect::Repeated(wanted) => {
            let IdConflict::Repeated { id } = found else { panic!("{what}: {found}") };
            assert_eq!(id, wanted, "{what}");
        }
    }
}

/// First appends, to a new stream and to one that is there: the ids are new, so the expectation
/// decides.
fn check_first_appends(store: &Store, existing: &str, fresh: u64) {
    let mut number = fresh;
    let version_of = |stream: &str| store.stream(stream).unwrap().map_or(0, |s| s.version.0);
    for index in 0..6 {
        for is_new in [true, false] {
            number += 10;
            let stream = if is_new { format!("First-{number}") } else { existing.to_owned() };
            let version = version_of(&stream);
            let expected = expectations(version)[index];
            let what = format!("{stream} at {version}, expecting {expected}");
            let events = [numbered(number).id(id(number)), numbered(number).id(id(number + 1))];
            let head = store.head();
            match store.append(&stream, expected, events) {
                Ok(done) => {
                    assert!(expected.accepts(Version(version)), "{what}");
                    assert!(!done.deduplicated, "{what}");
                    assert_eq!((done.version.0, done.position.0), (version + 2, head.0 + 2));
                }
                Err(Error::Conflict(conflict)) => {
                    assert!(!expected.accepts(Version(version)), "{what}");
                    assert_eq!((conflict.stream, conflict.expected), (stream, expected));
                    assert_eq!(conflict.actual, Version(version));
                    assert_eq!(store.head(), head, "{what}");
                    // What was refused is not remembered.
                    assert!(store.event_by_id(id(number)).unwrap().is_none(), "{what}");
                }
                Err(e) => panic!("{what}: {e}"),
            }
        }
    }
}

fn check_table(options: &StoreOptions) {
    let place = Place::new();
    let mut fresh = 1_000_000;
    let mut check = |store: &Store, original: &Original, elsewhere: &Original| {
        fresh += 1_000;
        check_second_appends(store, original, elsewhere, fresh);
        check_first_appends(store, &elsewhere.stream, fresh);
    };
    let store = options.clone().open(place.path()).unwrap();
    let originals = [Original::make(&store, 1), Original::make(&store, 2)];
    let [original, elsewhere] = &originals;
    check(&store, original, elsewhere);
    store.close().unwrap();

    let store = options.clone().open(place.path()).unwrap();
    check(&store, original, elsewhere);
    seal_segments(&store, 2);
    check(&store, original, elsewhere);
    store.close().unwrap();

    let store = options.clone().open(place.path()).unwrap();
    assert!(store.info().unwrap().segments > 2);
    check(&store, original, elsewhere);
    // The store, reopened after a kill.
    let killed = options.clone().open(place.killed("killed")).unwrap();
    check(&killed, original, elsewhere);
    all_events(&store);
    all_events(&killed);
}

#[test]
fn the_whole_table() {
    check_table(&small_segments());
}

#[test]
fn the_whole_table_where_hashes_collide() {
    check_table(&small_segments().hash_bits(2).checkpoint_bytes(1 << 10));
}

#[test]
fn the_whole_table_with_positional_reads_and_held_writes() {
    let hour = std::time::Duration::from_secs(3600);
    let options = small_segments().durability(Durability::Interval(hour));
    check_table(&options.read_mode(annals::ReadMode::Positional));
}

#[test]
fn a_batch_is_recognised_by_its_ids_however_its_parts_are_cut() {
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    let event = |number: u64| numbered(number).id(id(number));
    let any = ExpectedVersion::Any;
    let none = ExpectedVersion::NoStream;
    let first = store
        .batch()
        .append("A-1", none, [event(1), event(2)])
        .append("B-1", none, [event(3)])
        .append("A-1", Version(2), [event(4)])
        .expect("C-1", none)
        .commit()
        .unwrap();
    let answer = |done: &[Appended]| -> Vec<(u64, u64, bool)> {
        done.iter().map(|d| (d.version.0, d.position.0, d.deduplicated)).collect()
    };
    assert_eq!(answer(&first), [(2, 2, false), (1, 3, false), (3, 4, false)]);
    // What was only checked holds no more, and neither do the expectations.
    store.append("C-1", none, [numbered(9)]).unwrap();
    store.append("A-1", any, [numbered(9)]).unwrap();
    let retries = |store: &Store| {
        let head = store.head();
        let same = store
            .batch()
            .append("A-1", none, [event(1), event(2)])
            .append("B-1", none, [event(3)])
            .append("A-1", Version(2), [event(4)])
            .expect("C-1", none)
            .commit();
        assert_eq!(answer(&same.unwrap()), [(2, 2, true), (1, 3, true), (3, 4, true)]);
        let other_way_round = store
            .batch()
            .append("B-1", any, [event(3)])
            .append("A-1", any, [event(1), event(2), event(4)])
            .commit();
        assert_eq!(answer(&other_way_round.unwrap()), [(1, 3, true), (3, 4, true)]);
        let alone = store.append("A-1", any, [event(2), event(4)]).unwrap();
        assert_eq!(answer(&[alone]), [(3, 4, true)]);

        let refusals = [
            store.batch().append("A-1", any, [event(1)]).append("A-1", any, [event(4)]),
            store.batch().append("A-1", any, [event(3)]).append("B-1", any, [event(1)]),
            store.batch().append("A-1", any, [event(1)]).append("D-1", any, [event(50)]),
            store.batch().append("D-1", any, [event(51)]).append("E-1", any, [event(51)]),
        ];
        let found = refusals.map(|batch| match batch.commit() {
            Err(Error::IdConflict(conflict)) => conflict,
            other => panic!("{other:?}"),
        });
        assert!(matches!(found[0], IdConflict::Reordered { id: found, .. } if found == id(4)));
        assert!(matches!(&found[1], IdConflict::OtherStream { stream, .. } if stream == "B-1"));
        assert!(matches!(found[2], IdConflict::Partial { absent, .. } if absent == id(50)));
        assert!(matches!(found[3], IdConflict::Repeated { id: found } if found == id(51)));
        assert_eq!(store.head(), head);
    };
    retries(&store);
    seal_segments(&store, 2);
    retries(&store);
    store.close().unwrap();
    let store = small_segments().open(place.path()).unwrap();
    retries(&store);
    all_events(&store);
}

/// Appends of four events of about 250 bytes, with ids, to a few streams in turn.
struct Long {
    appends: u64,
}

impl Long {
    const STREAMS: u64 = 5;

    fn events(append: u64) -> [NewEvent; 4] {
        let first = 1 + 4 * append;
        std::array::from_fn(|n| sized(200 + n).id(id(first + n as u64)))
    }

    fn stream(append: u64) -> String {
        format!("Long-{}", append % Self::STREAMS)
    }

    fn write(&self, store: &Store) {
        for append in 0..self.appends {
            let done =
                store.append(Self::stream(append), ExpectedVersion::Any, Self::events(append));
            assert!(!done.unwrap().deduplicated);
        }
    }

    /// Retries every `step`-th append, and looks for ids that nobody gave.
    fn retry(&self, store: &Store, step: usize) {
        let head = store.head();
        for append in (0..self.appends).step_by(step) {
            let expected = [ExpectedVersion::NoStream, ExpectedVersion::Any][append as usize % 2];
            let done = store.append(Self::stream(append), expected, Self::events(append)).unwrap();
            assert!(done.deduplicated);
            assert_eq!(done.position.0, 4 * (append + 1));
            assert_eq!(done.version.0, 4 * (append / Self::STREAMS + 1));
            let last = store.event_by_id(id(4 * (append + 1))).unwrap().unwrap();
            assert_eq!((last.position(), last.version()), (done.position, done.version));
            assert_eq!(last.stream(), Self::stream(append));
            let absent = id(1 + 4 * (self.appends + append));
            assert!(store.event_by_id(absent).unwrap().is_none());
        }
        assert_eq!(store.head(), head);
    }
}

/// How many segments the largest run of ids covers.
fn largest_run(path: &Path) -> u32 {
    let runs = log_files(path).into_iter().filter_map(|name| {
        let (first, last) = name.strip_suffix(".ids")?.split_once('-')?;
        Some(last.parse::<u32>().unwrap() - first.parse::<u32>().unwrap() + 1)
    });
    runs.max().unwrap_or(0)
}

fn check_ages(options: &StoreOptions, appends: u64, run: u32) {
    let place = Place::new();
    let long = Long { appends };
    let store = options.clone().open(place.path()).unwrap();
    long.write(&store);
    long.retry(&store, 1);
    // A copy has what upkeep has come to by now, whatever that is.
    let killed = options.clone().open(place.killed("killed")).unwrap();
    long.retry(&killed, 7);
    store.close().unwrap();
    assert!(largest_run(&place.path()) >= run, "{:?}", log_files(&place.path()));
    let store = options.clone().open(place.path()).unwrap();
    long.retry(&store, 1);
    // Events of another age than what is retried do not hide it.
    seal_segments(&store, 9);
    long.retry(&store, 3);
}

#[test]
fn ids_are_found_however_old_they_are() {
    // 72 segments and more: a run of 64 and one of 8.
    check_ages(&small_segments(), 72 * 66, 64);
}

#[test]
fn ids_are_found_among_many_of_the_same_hash() {
    check_ages(&small_segments().hash_bits(8), 10 * 66, 8);
}

/// What an export of an event would make of it.
fn exported(event: &Event) -> NewEvent {
    let mut new = NewEvent::new(event.event_type(), event.data())
        .id(event.id())
        .schema_version(event.schema_version())
        .content_type(event.content_type())
        .metadata(event.metadata())
        .created_at(event.created_at());
    if let Some(correlation) = event.correlation_id() {
        new = new.correlation(correlation);
    }
    if let Some(causation) = event.causation_id() {
        new = new.causation(causation);
    }
    event.tags().fold(new, NewEvent::tag)
}

#[test]
fn assigned_ids_are_ids_like_any_other() {
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    for number in 0..200 {
        let plain = numbered(number).tag("t:1").correlation("c");
        let stream = format!("Plain-{}", number % 3);
        store.append(&stream, ExpectedVersion::Any, [plain, sized(300)]).unwrap();
        if number % 5 == 0 {
            let given = numbered(number).id(id(number + 1));
            store.append("Given-1", ExpectedVersion::Any, [given]).unwrap();
        }
    }
    let check = |store: &Store| {
        let events = all_events(store);
        let ids: HashSet<EventId> = events.iter().map(Event::id).collect();
        assert_eq!(ids.len(), events.len(), "every id is another");
        let head = store.head();
        for event in &events {
            assert_eq!(event.has_given_id(), event.stream() == "Given-1");
            let found = store.event_by_id(event.id()).unwrap().unwrap();
            assert_eq!(found.position(), event.position());
            let done = store.append(event.stream(), ExpectedVersion::NoStream, [exported(event)]);
            let done = done.unwrap();
            assert!(done.deduplicated);
            assert_eq!((done.version, done.position), (event.version(), event.position()));
        }
        let (event, id) = (&events[0], events[0].id());
        let any = ExpectedVersion::Any;
        let Err(Error::IdConflict(IdConflict::OtherStream { id: found, .. })) =
            store.append("Thief-1", any, [exported(event)])
        else {
            panic!("an assigned id is given to another stream");
        };
        assert_eq!(found, id);
        let Err(Error::IdConflict(IdConflict::OtherContent { differs, .. })) =
            store.append(event.stream(), any, [exported(event).correlation("d")])
        else {
            panic!("an assigned id is given to another content");
        };
        assert_eq!(differs, "correlation id");
        let partial = store.append(event.stream(), any, [exported(event), numbered(7)]);
        assert!(matches!(partial, Err(Error::IdConflict(IdConflict::Partial { .. }))));
        assert_eq!(store.head(), head, "nothing of all this is written");
        events.iter().map(Event::id).collect::<Vec<_>>()
    };
    let ids = check(&store);
    store.close().unwrap();
    let store = small_segments().open(place.path()).unwrap();
    assert!(store.info().unwrap().segments > 1);
    assert_eq!(check(&store), ids, "an assigned id stays the same");
    // In another store they are what its caller gives.
    let other = Store::in_memory().unwrap();
    for round in 0..2 {
        for event in store.read_all() {
            let event = event.unwrap();
            let done = other.append(event.stream(), ExpectedVersion::Any, [exported(&event)]);
            assert_eq!(done.unwrap().deduplicated, round == 1);
        }
    }
    let copied: Vec<EventId> = all_events(&other).iter().map(Event::id).collect();
    assert_eq!(copied, ids);
}

#[cfg(feature = "transfer")]
#[test]
fn an_export_imported_into_its_own_store_adds_nothing() {
    use annals::transfer::{Import, export};
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    for number in 0..50 {
        store.append("Plain-1", ExpectedVersion::Any, [numbered(number), sized(300)]).unwrap();
        store.append("Given-1", ExpectedVersion::Any, [numbered(9).id(id(number + 1))]).unwrap();
    }
    let mut lines = Vec::new();
    export(&store, &mut lines).unwrap();
    let imported = Import::new().run(&store, &lines[..]).unwrap();
    assert_eq!((imported.appended, imported.skipped), (0, 150));
    assert_eq!(store.head(), Position(150));
}

#[test]
fn a_position_given_again_after_a_kill_has_another_id() {
    let place = Place::new();
    let hour = std::time::Duration::from_secs(3600);
    let options = || Store::options().durability(Durability::Interval(hour));
    let store = options().open(place.path()).unwrap();
    store.append("A-1", ExpectedVersion::Any, [numbered(1)]).unwrap();
    store.sync().unwrap();
    store.append("A-1", ExpectedVersion::Any, [numbered(2)]).unwrap();
    let lost = store.event(Position(2)).unwrap().unwrap();
    let store = options().open(place.killed("killed")).unwrap();
    assert_eq!(store.head(), Position(1));
    assert!(store.event_by_id(lost.id()).unwrap().is_none());
    store.append("A-1", ExpectedVersion::Any, [numbered(2)]).unwrap();
    let again = store.event(Position(2)).unwrap().unwrap();
    assert_ne!(again.id(), lost.id());
    assert!(store.event_by_id(lost.id()).unwrap().is_none());
}

#[test]
fn ids_that_are_left_out_are_derived_from_those_given() {
    let any = ExpectedVersion::Any;
    let plain = |number| numbered(number);
    let given = |number| numbered(number).id(id(number));
    let append = [plain(1), given(2), plain(3), plain(4), given(5), plain(6)];
    let write = |store: &Store| -> Vec<EventId> {
        assert!(!store.append("A-1", any, append.clone()).unwrap().deduplicated);
        let events = all_events(store);
        assert!(events.iter().all(Event::has_given_id), "a derived id counts as given");
        events.iter().map(Event::id).collect()
    };
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    let ids = write(&store);
    assert_eq!((ids[1], ids[4]), (id(2), id(5)));
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 6);
    assert_eq!(write(&Store::in_memory().unwrap()), ids, "they depend on the given ones alone");

    let check = |store: &Store| {
        let head = store.head();
        let again = |events: Vec<NewEvent>| store.append("A-1", any, events);
        let [one, two, three, four, five, six] = append.clone();
        let explicit = three.clone().id(ids[2]);
        for (events, version) in [
            (append.to_vec(), 6),
            (vec![two.clone(), three.clone(), four.clone()], 4),
            (vec![two.clone(), explicit.clone(), plain(4).id(ids[3]), five.clone()], 5),
            (vec![one, two.clone()], 2),
            (vec![five.clone(), six], 6),
        ] {
            let done = again(events).unwrap();
            assert_eq!((done.version.0, done.deduplicated), (version, true));
        }
        // One more behind has an id that nobody has; at another distance, another.
        for events in [
            vec![two.clone(), three.clone(), four.clone(), plain(4)],
            vec![five.clone(), plain(6), plain(7)],
            vec![explicit, four],
        ] {
            let Err(Error::IdConflict(IdConflict::Partial { .. })) = again(events) else {
                panic!("the derived id is not there")
            };
        }
        // The id of the third, with the content of another.
        let Err(Error::IdConflict(IdConflict::OtherContent { id, .. })) =
            again(vec![two, plain(9)])
        else {
            panic!("the derived id is there, with another content")
        };
        assert_eq!(id, ids[2]);
        assert_eq!(store.head(), head);
    };
    check(&store);
    store.close().unwrap();
    let store = small_segments().open(place.path()).unwrap();
    check(&store);
    seal_segments(&store, 2);
    check(&store);
}

#[test]
fn ids_are_derived_across_the_streams_of_a_batch() {
    let store = Store::in_memory().unwrap();
    let any = ExpectedVersion::Any;
    let commit = |last: u64| {
        store
            .batch()
            .append("A-1", any, [numbered(1).id(id(1))])
            .append("B-1", any, [numbered(2), numbered(last)])
            .commit()
    };
    assert!(commit(3).unwrap().iter().all(|done| !done.deduplicated));
    assert!(commit(3).unwrap().iter().all(|done| done.deduplicated));
    assert!(matches!(
        commit(4),
        Err(Error::IdConflict(IdConflict::OtherContent { differs: "data", .. }))
    ));
    assert_eq!(store.head(), Position(3));
}

/// Lets threads call the same thing at once, round by round, and hands over what each answered.
fn at_once<T: Send>(
    threads: usize,
    rounds: u64,
    call: impl Fn(usize, u64) -> T + Sync,
    mut check: impl FnMut(u64, Vec<T>),
) {
    let barrier = Barrier::new(threads);
    let run = |thread: usize| {
        let answer = |round| {
            barrier.wait();
            call(thread, round)
        };
        (0..rounds).map(answer).collect::<Vec<T>>().into_iter()
    };
    let run = &run;
    let mut answers: Vec<_> = thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    for round in 0..rounds {
        check(round, answers.iter_mut().map(|answers| answers.next().unwrap()).collect());
    }
}

const THREADS: usize = 8;

#[test]
fn of_the_same_appends_made_at_once_one_is_the_first() {
    let place = Place::new();
    let options = || Store::options().segment_bytes(SMALL);
    let store = options().open(place.path()).unwrap();
    let append = |thread: usize, round: u64| {
        let first = 1 + 3 * round;
        let events = [first, first + 1, first + 2].map(|n| sized(100).id(id(n)));
        // The threads may even expect different things.
        let version = ExpectedVersion::Exact(Version(3 * (round / 4)));
        let expected = [version, ExpectedVersion::Any][thread % 2];
        store.append(format!("Shared-{}", round % 4), expected, events)
    };
    at_once(THREADS, 100, append, |round, answers| {
        let answers: Vec<Appended> = answers.into_iter().map(Result::unwrap).collect();
        let firsts = answers.iter().filter(|answer| !answer.deduplicated).count();
        assert_eq!(firsts, 1, "round {round}: {answers:?}");
        for answer in &answers {
            assert_eq!(answer.version.0, 3 * (round / 4 + 1));
            assert_eq!(answer.position.0, 3 * (round + 1));
        }
    });
    assert_eq!(store.durable(), Position(300));
    assert_eq!(all_events(&store).len(), 300);
    store.close().unwrap();
    assert_eq!(all_events(&options().open(place.path()).unwrap()).len(), 300);
}

#[test]
fn of_different_appends_with_the_same_ids_made_at_once_one_wins() {
    let place = Place::new();
    let store = Store::open(place.path()).unwrap();
    // Threads 0 to 3 agree on a content; 4 and 5 have another, 6 and 7 another stream.
    let append = |thread: usize, round: u64| {
        let stream = if thread < 6 { "One-1" } else { "Two-1" };
        let content = if (4..6).contains(&thread) { "other" } else { "same" };
        let event = NewEvent::new("Contested", content).id(id(round + 1));
        store.append(stream, ExpectedVersion::Any, [event])
    };
    at_once(THREADS, 100, append, |round, answers| {
        let stored = store.event_by_id(id(round + 1)).unwrap().unwrap();
        let mut firsts = 0;
        for (thread, answer) in answers.into_iter().enumerate() {
            let stream = if thread < 6 { "One-1" } else { "Two-1" };
            let content = if (4..6).contains(&thread) { &b"other"[..] } else { b"same" };
            match answer {
                Ok(done) => {
                    assert_eq!((stored.stream(), stored.data()), (stream, content));
                    assert_eq!(done.position, stored.position());
                    firsts += usize::from(!done.deduplicated);
                }
                Err(Error::IdConflict(IdConflict::OtherStream { stream: there, .. })) => {
                    assert_eq!(there, stored.stream());
                    assert_ne!(there, stream);
                }
                Err(Error::IdConflict(IdConflict::OtherContent { position, .. })) => {
                    assert_eq!((stored.stream(), stored.position()), (stream, position));
                    assert_ne!(stored.data(), content);
                }
                Err(e) => panic!("{e}"),
            }
        }
        assert_eq!(firsts, 1, "round {round}");
    });
    assert_eq!(all_events(&store).len(), 100);
}

#[test]
fn threads_that_repeat_each_others_appends_store_each_once() {
    const APPENDS: u64 = 400;
    let place = Place::new();
    let store = Store::options().segment_bytes(SMALL).open(place.path()).unwrap();
    let mut answers: Vec<Vec<Appended>> = thread::scope(|scope| {
        let store = &store;
        let run = move |thread: u64| {
            let append = |n: u64| {
                // Each begins elsewhere, so that they meet at different ages of an id.
                let number = 1 + (n + thread * 13) % APPENDS;
                let event = sized(150).id(id(number));
                let stream = format!("Shared-{}", number % 7);
                (number, store.append(stream, ExpectedVersion::Any, [event]).unwrap())
            };
            let mut answers: Vec<_> = (0..APPENDS).map(append).collect();
            answers.sort_unstable_by_key(|(number, _)| *number);
            answers.into_iter().map(|(_, done)| done).collect()
        };
        let handles: Vec<_> = (0..16).map(|thread| scope.spawn(move || run(thread))).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    assert_eq!(all_events(&store).len() as u64, APPENDS);
    let last = answers.pop().unwrap();
    for (number, of_last) in last.into_iter().enumerate() {
        let of_all = answers.iter().map(|answers| answers[number]).chain([of_last]);
        let firsts = of_all.clone().filter(|answer| !answer.deduplicated).count();
        assert_eq!(firsts, 1, "event {number}");
        for answer in of_all {
            assert_eq!((answer.version, answer.position), (of_last.version, of_last.position));
        }
    }
}

#[test]
fn a_retry_that_asks_for_durability_gets_it() {
    let place = Place::new();
    let hour = std::time::Duration::from_secs(3600);
    for (name, durability) in [("os", Durability::Os), ("interval", Durability::Interval(hour))] {
        let store = Store::options().durability(durability).open(place.other(name)).unwrap();
        let event = || numbered(1).id(id(1));
        let any = ExpectedVersion::Any;
        store.append("A-1", any, [event()]).unwrap();
        let batch = store.batch().append("A-1", any, [event()]);
        let done = batch.durability(Durability::Sync).commit().unwrap();
        assert!(done[0].deduplicated, "{name}");
        assert!(store.durable() >= done[0].position, "{name}: the answer is durable");
    }
}
