//! Following a writer from another handle or another process: exactly the committed prefix, live,
//! and nothing on disk changes for it.
//!
//! By default the torture runs for six seconds. With `ANNALS_LONG=1` it runs for five minutes.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use annals::{
    Durability, Error, Event, ExpectedVersion, NewEvent, Position, Query, ReadMode, Signal, Store,
    StoreOptions, Timestamp,
};

use crate::support::{
    Place, all_events, child, child_path, contents, id, numbered, small_segments, used_segments,
};

const MODES: [Durability; 3] =
    [Durability::Sync, Durability::Os, Durability::Interval(Duration::from_millis(5))];
const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(20);

fn options(durability: Durability) -> StoreOptions {
    small_segments().checkpoint_bytes(32 << 10).durability(durability)
}

fn append(store: &Store, stream: &str, number: u64) -> Position {
    store.append(stream, ExpectedVersion::Any, [numbered(number)]).unwrap().position
}

/// The events of the n-th append: one to four, each says which append it is of, and how far in it.
fn events_of(n: u64) -> Vec<NewEvent> {
    let size = n % 4 + 1;
    let event = |index: u64| {
        let text = format!("{n} {size} {index} {}", "x".repeat((n * 37 % 300) as usize));
        let event = NewEvent::new(format!("Type{}", n % 3), text)
            .tag(format!("mod:{}", n % 7))
            .schema_version((n % 5) as u32)
            .correlation(format!("run-{}", n % 5))
            .created_at(Timestamp::from_micros((n as i64) * 1000));
        if n.is_multiple_of(2) { event.id(id(n * 8 + index)) } else { event }
    };
    (0..size).map(event).collect()
}

fn append_nth(store: &Store, n: u64) -> Position {
    let stream = format!("Load{}-{}", n % 2, n % 13);
    store.append(stream, ExpectedVersion::Any, events_of(n)).unwrap().position
}

/// Sees that events come densely and in whole appends.
#[derive(Default)]
struct Reader {
    last: u64,
    open: Option<(u64, u64, u64)>,
}

impl Reader {
    fn add(&mut self, event: &Event) {
        assert_eq!(event.position().0, self.last + 1, "a gap, or a step back");
        self.last += 1;
        let text = str::from_utf8(event.data()).unwrap();
        let mut numbers = text.split(' ').map_while(|part| part.parse::<u64>().ok());
        let mut next = || numbers.next().unwrap();
        let (append, size, index) = (next(), next(), next());
        let wanted =
            self.open.take().map_or((append, size, 0), |(append, size, i)| (append, size, i + 1));
        assert_eq!((append, size, index), wanted, "an append is torn apart");
        self.open = (index + 1 < size).then_some((append, size, index));
    }

    /// Reads on from where it is, as far as there is something.
    fn read_on(&mut self, store: &Store) {
        for event in store.read_all().after(Position(self.last)) {
            self.add(&event.unwrap());
        }
        assert_eq!(self.open, None, "half an append is visible");
        assert!(store.head().0 >= self.last, "the head steps back");
    }
}

/// All that an event says.
fn told(event: &Event) -> String {
    format!(
        "{} {} {} {} {} {:?} {:?} {:?} {} {} {:?}",
        event.position(),
        event.stream(),
        event.version(),
        event.id(),
        event.event_type(),
        event.tags().collect::<Vec<_>>(),
        event.correlation_id(),
        event.metadata(),
        event.created_at().as_micros(),
        event.committed_at().as_micros(),
        event.data(),
    )
}

fn all_told(store: &Store) -> Vec<String> {
    all_events(store).iter().map(told).collect()
}

/// Everything that can be asked of a store.
fn assert_same(writer: &Store, follower: &Store) {
    assert!(all_told(writer) == all_told(follower), "the events differ");
    assert_eq!(writer.head(), follower.head());
    let listed = |store: &Store| -> Vec<_> {
        let streams = store.streams().into_iter().map(|stream| {
            let stream = stream.unwrap();
            (stream.name, stream.version, stream.first_position, stream.last_position)
        });
        let mut streams: Vec<_> = streams.collect();
        streams.sort();
        streams
    };
    assert_eq!(listed(writer), listed(follower));
    let named = |store: &Store| {
        let names = [store.categories().unwrap(), store.event_types().unwrap()].concat();
        let row = |name: annals::NameInfo| {
            (name.name, name.events, name.first_position, name.last_position)
        };
        names.into_iter().map(row).collect::<Vec<_>>()
    };
    assert_eq!(named(writer), named(follower));
    assert_eq!(writer.schemas().unwrap(), follower.schemas().unwrap());
    let found = |store: &Store, query: &Query, backwards: bool| {
        let read = store.read(query.clone());
        let read = if backwards { read.backwards() } else { read };
        read.into_iter().map(|event| event.unwrap().position().0).collect::<Vec<_>>()
    };
    for query in [
        Query::new().tag("mod:3"),
        Query::new().tag("mod:3").category("Load1"),
        Query::new().types(["Type1", "Type2"]).stream_prefix("Load0-1"),
        Query::new().correlation("run-4"),
        Query::new().tag("absent"),
        Query::new().stream("Load0-2"),
        Query::new().since(Timestamp::from_micros(20_000)).until(Timestamp::from_micros(90_000)),
    ] {
        for backwards in [false, true] {
            assert_eq!(found(writer, &query, backwards), found(follower, &query, backwards));
        }
    }
    for micros in [0, 50_000, 10_000_000] {
        let time = Timestamp::from_micros(micros);
        assert_eq!(writer.position_at(time).unwrap(), follower.position_at(time).unwrap());
    }
    for event in writer.read_all().into_iter().step_by(17) {
        let event = event.unwrap();
        let by_id = follower.event_by_id(event.id()).unwrap().unwrap();
        let by_position = follower.event(event.position()).unwrap().unwrap();
        assert_eq!([told(&by_id), told(&by_position)], [told(&event), told(&event)]);
        let stream = follower.stream(event.stream()).unwrap().unwrap();
        assert_eq!(stream, writer.stream(event.stream()).unwrap().unwrap());
    }
    assert!(follower.event_by_id(id(u64::MAX >> 2)).unwrap().is_none());
    assert!(follower.stream("Load0-absent").unwrap().is_none());
}

/// Readers and subscribers of a second handle, while a writer rolls, seals, checkpoints and folds.
#[test]
fn a_follower_sees_the_committed_prefix_and_answers_as_the_writer() {
    for (durability, mode) in
        MODES.into_iter().zip([ReadMode::Mmap, ReadMode::Mmap, ReadMode::Positional])
    {
        let appends = if durability == Durability::Sync { 700 } else { 4_000 };
        let place = Place::new();
        let store = options(durability).open(place.path()).unwrap();
        let follower = small_segments().read_mode(mode).open_read_only(place.path()).unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut reader = Reader::default();
                    while !done.load(Ordering::SeqCst) {
                        reader.read_on(&follower);
                        let head = follower.head();
                        assert!(head <= store.head(), "a follower is ahead of the writer");
                        thread::sleep(Duration::from_micros(300));
                    }
                    reader.read_on(&follower);
                    assert_eq!(reader.last, store.head().0);
                });
            }
            scope.spawn(|| {
                let mut reader = Reader::default();
                let mut events = follower.subscribe().start().unwrap();
                while !done.load(Ordering::SeqCst) || reader.last < store.head().0 {
                    if let Some(event) = events.next_timeout(SHORT).unwrap() {
                        reader.add(&event);
                    }
                }
            });
            for n in 0..appends {
                append_nth(&store, n);
            }
            store.sync().unwrap();
            done.store(true, Ordering::SeqCst);
        });
        let segments = store.info().unwrap().segments;
        assert!(segments > 4, "{segments} segments: the writer rolls");
        assert_eq!(follower.info().unwrap().segments, segments);
        assert_same(&store, &follower);
        assert_eq!(follower.durable(), store.durable());
    }
}

/// A cursor that the writer saves behind what the follower has looked at is of the same history.
#[test]
fn a_follower_sees_cursors_where_the_writer_saved_them() {
    for durability in MODES {
        let place = Place::new();
        let writer = options(durability).open(place.path()).unwrap();
        append(&writer, "A-1", 1);
        writer.save_cursor("billing", Position(1)).unwrap();
        let follower = Store::open_read_only(place.path()).unwrap();
        for n in 2..6 {
            let position = append(&writer, "A-1", n);
            append(&writer, "B-1", n);
            writer.save_cursor("billing", position).unwrap();
            // Saving syncs what the cursor covers, and the event behind it may be held back.
            writer.sync().unwrap();
            let cursor = follower.cursor("billing").unwrap().unwrap();
            assert_eq!((cursor.position, cursor.has_diverged), (position, false));
            assert_eq!(cursor.lag, Some(1), "{durability:?}");
            let listed = follower.cursors().unwrap().next().unwrap().unwrap();
            assert_eq!((listed.position, listed.lag), (position, Some(1)));
        }
    }
}

#[test]
fn what_is_held_back_is_not_there_for_others_until_it_is_written() {
    let place = Place::new();
    let store = options(Durability::Interval(LONG)).open(place.path()).unwrap();
    let follower = Store::open_read_only(place.path()).unwrap();
    for n in 1..=3 {
        append(&store, "Order-1", n);
        assert_eq!(follower.head(), Position(n - 1));
        assert_eq!(follower.read_all().into_iter().count() as u64, n - 1);
        store.sync().unwrap();
        assert_eq!((follower.head(), follower.durable()), (Position(n), Position(n)));
        assert_eq!(follower.read_stream("Order-1").into_iter().count() as u64, n);
    }
    append(&store, "Order-1", 4);
    store.close().unwrap();
    assert_eq!(follower.head(), Position(4));
}

#[test]
fn in_the_weakest_mode_what_is_written_is_seen_before_it_is_durable() {
    let place = Place::new();
    let store = options(Durability::Os).open(place.path()).unwrap();
    let follower = Store::open_read_only(place.path()).unwrap();
    append(&store, "Order-1", 1);
    assert_eq!(follower.head(), Position(1));
    assert!(follower.durable() <= Position(1));
    store.sync().unwrap();
    assert_eq!(follower.durable(), Position(1));
}

/// Nobody looks for a long time, and many segments are sealed and folded meanwhile.
#[test]
fn many_rolls_at_once_are_taken_in() {
    let place = Place::new();
    let store = options(Durability::Os).open(place.path()).unwrap();
    let early = Store::open_read_only(place.path()).unwrap();
    for n in 0..50 {
        append_nth(&store, n);
    }
    let begun = Store::open_read_only(place.path()).unwrap();
    assert_eq!(begun.head(), store.head());
    for n in 50..6_000 {
        append_nth(&store, n);
    }
    assert!(store.info().unwrap().segments > 20);
    for follower in [&early, &begun] {
        Reader::default().read_on(follower);
        assert_same(&store, follower);
        assert_eq!(follower.info().unwrap().segments, store.info().unwrap().segments);
    }
    // And on, in each of them.
    for n in 6_000..6_100 {
        append_nth(&store, n);
        assert_eq!((early.head(), begun.head()), (store.head(), store.head()));
    }
    assert_same(&store, &early);
}

/// A segment without an event is replaced where an append does not fit it.
#[test]
fn an_empty_segment_that_is_replaced_is_followed() {
    let place = Place::new();
    let store = options(Durability::Sync).open(place.path()).unwrap();
    let follower = Store::open_read_only(place.path()).unwrap();
    assert_eq!(follower.head(), Position::START);
    let large = NewEvent::new("Large", vec![b'x'; 200 << 10]);
    store.append("Large-1", ExpectedVersion::Any, [large]).unwrap();
    assert_eq!(follower.head(), Position(1));
    assert_eq!(all_told(&follower), all_told(&store));
    append(&store, "Order-1", 1);
    assert_eq!(all_told(&follower), all_told(&store));
}

#[test]
fn closing_and_reopening_the_writer_is_followed() {
    for durability in MODES {
        let place = Place::new();
        drop(options(durability).open(place.path()).unwrap());
        let follower = Store::open_read_only(place.path()).unwrap();
        let mut reader = Reader::default();
        for round in 0..12 {
            let store = options(durability).open(place.path()).unwrap();
            for n in 0..round * 7 {
                append_nth(&store, n);
            }
            if round % 3 == 1 {
                store.sync().unwrap();
                reader.read_on(&follower);
                assert_eq!(reader.last, store.head().0);
            }
            let head = store.head();
            store.close().unwrap();
            if round % 2 == 0 {
                reader.read_on(&follower);
                assert_eq!(reader.last, head.0, "after a clean close");
            }
        }
        assert_same(&Store::open_read_only(place.path()).unwrap(), &follower);
    }
}

#[test]
fn a_subscription_lives_on_and_ends_with_its_handle() {
    let place = Place::new();
    let store = options(Durability::Sync).open(place.path()).unwrap();
    append(&store, "Order-1", 0);
    let follower = Store::open_read_only(place.path()).unwrap();
    let mut events = follower.subscribe().category("Order").start().unwrap();
    assert!(matches!(events.next_signal(LONG).unwrap(), Some(Signal::Event(_))));
    assert!(matches!(events.next_signal(LONG).unwrap(), Some(Signal::CaughtUp(Position(1)))));
    assert!(events.next_timeout(SHORT).unwrap().is_none());
    let waits = thread::spawn(move || {
        let first = events.next().unwrap().unwrap();
        (first.position(), events.next().unwrap().unwrap_err())
    });
    append(&store, "Cart-1", 1);
    thread::sleep(SHORT);
    append(&store, "Order-2", 2);
    // The writer ends, and waiting goes on: another one may come.
    store.close().unwrap();
    thread::sleep(SHORT);
    assert!(!waits.is_finished());
    follower.close().unwrap();
    let (position, ended) = waits.join().unwrap();
    assert_eq!(position, Position(3));
    assert!(matches!(ended, Error::Closed), "{ended}");
    assert!(matches!(follower.read_all().into_iter().next(), Some(Err(Error::Closed))));
}

#[test]
fn a_follower_changes_nothing() {
    let place = Place::new();
    let store = options(Durability::Os).upkeep_thread(false).open(place.path()).unwrap();
    let early = Store::open_read_only(place.path()).unwrap();
    for n in 0..1_500 {
        append_nth(&store, n);
    }
    store.sync().unwrap();
    let before = contents(&place.path());
    let late = Store::open_read_only(place.path()).unwrap();
    for follower in [early, late] {
        assert_same(&store, &follower);
        let mut events = follower.subscribe().tag("mod:1").start().unwrap();
        while events.next_timeout(SHORT).unwrap().is_some() {}
        follower.close().unwrap();
    }
    // Not even the head page, which the writer alone stores to.
    assert_eq!(contents(&place.path()), before);
    store.close().unwrap();
    let before = contents(&place.path());
    let follower = Store::open_read_only(place.path()).unwrap();
    assert_eq!(all_events(&follower).len() as u64, follower.head().0);
    follower.close().unwrap();
    assert_eq!(contents(&place.path()), before);
}

/// Without a page, or with one that says nothing, a handle shows the moment of its opening.
#[test]
fn without_a_page_of_this_store_a_handle_stays_a_picture() {
    let other = Place::new();
    let foreign = options(Durability::Sync).open(other.path()).unwrap();
    append(&foreign, "Foreign-1", 1);
    let bytes = fs::read(other.path().join("head")).unwrap();
    for page in [None, Some(Vec::new()), Some(vec![0; 4096]), Some(vec![0xFF; 4096]), Some(bytes)] {
        let place = Place::new();
        let store = options(Durability::Sync).open(place.path()).unwrap();
        append(&store, "Order-1", 1);
        let path = place.path().join("head");
        let damaged = place.path().join("head.new");
        // Another file: the writer keeps the one that it has.
        if let Some(page) = &page {
            fs::write(&damaged, page).unwrap();
            fs::rename(&damaged, &path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        let reader = Store::open_read_only(place.path()).unwrap();
        let seen = reader.head();
        assert!(seen <= Position(1));
        append(&store, "Order-1", 2);
        assert_eq!(reader.head(), seen);
        assert_eq!(reader.read_all().into_iter().count() as u64, seen.0);
        drop(store);
        // The next writer makes it good.
        let store = options(Durability::Sync).open(place.path()).unwrap();
        let follower = Store::open_read_only(place.path()).unwrap();
        append(&store, "Order-1", 3);
        assert_eq!((follower.head(), all_events(&follower).len()), (Position(3), 3));
    }
}

/// The page of a writer that is gone may speak of bytes that a power cut has taken.
#[test]
fn a_page_that_a_dead_writer_left_is_not_believed() {
    let place = Place::new();
    let store = options(Durability::Os).open(place.path()).unwrap();
    append(&store, "Order-1", 1);
    store.sync().unwrap();
    let synced = place.killed("synced");
    append(&store, "Order-1", 2);
    let cut = place.killed("cut");
    drop(store);
    // The log as it was, the page as it became.
    for segment in used_segments(&synced) {
        fs::copy(&segment, cut.join("log").join(segment.file_name().unwrap())).unwrap();
    }
    let follower = Store::open_read_only(&cut).unwrap();
    assert_eq!(all_events(&follower).len(), 1);
    // Nor beside a writer that lives and has not come to say anything yet.
    let opening = fs::File::open(cut.join("STORE")).unwrap();
    opening.lock().unwrap();
    let beside = Store::open_read_only(&cut).unwrap();
    assert_eq!(all_events(&beside).len(), 1);
    drop(opening);
    let store = options(Durability::Os).open(&cut).unwrap();
    append(&store, "Order-1", 3);
    for follower in [&follower, &beside] {
        assert_eq!(all_told(follower), all_told(&store));
        assert_eq!(follower.head(), Position(2));
    }
}

/// Whatever takes away what a follower has shown: it says so, and goes on showing it.
#[test]
fn what_was_shown_and_is_gone_is_a_typed_error() {
    let place = Place::new();
    let store = options(Durability::Os).open(place.path()).unwrap();
    for n in 1..=5 {
        append(&store, "Order-1", n);
    }
    let killed = place.killed("killed");
    drop(store);
    let follower = Store::open_read_only(&killed).unwrap();
    assert_eq!(follower.head(), Position(5));
    let mut events = follower.subscribe().after(Position(5)).start().unwrap();
    let segment = used_segments(&killed).pop().unwrap();
    let used = fs::read(&segment).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
    file.write_all_at(&[0; 16], used as u64 - 15).unwrap();
    let store = options(Durability::Os).open(&killed).unwrap();
    assert_eq!(store.head(), Position(4), "the last append was cut");
    append(&store, "Order-1", 6);
    assert_eq!(follower.head(), Position(5));
    let ended = events.next().unwrap().unwrap_err();
    assert!(ended.is_corruption(), "{ended}");
    let mut read = follower.read_all().into_iter();
    let refused = read.by_ref().find_map(Result::err).unwrap();
    assert!(refused.is_corruption(), "{refused}");
    assert_eq!(store.head(), Position(5));
}

/// Damage in what a follower has still to read ends it with an error, behind what is good.
#[test]
fn damage_in_front_of_a_follower_is_named() {
    let place = Place::new();
    let store = options(Durability::Os).open(place.path()).unwrap();
    append(&store, "Order-1", 1);
    let follower = Store::open_read_only(place.path()).unwrap();
    assert_eq!(follower.head(), Position(1));
    append(&store, "Order-1", 2);
    append(&store, "Order-1", 3);
    let segment = used_segments(&place.path()).pop().unwrap();
    let used = fs::read(&segment).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
    file.write_all_at(b"?", used as u64 - 4).unwrap();
    let mut read = follower.read_all().into_iter();
    assert_eq!(read.by_ref().map_while(Result::ok).count(), 2);
    assert_eq!(follower.head(), Position(2));
    let damage = follower.event(Position(3)).unwrap_err();
    assert!(damage.is_corruption(), "{damage}");
}

/// Followers that are opened while a store is created, filled, closed and opened again.
#[test]
fn a_follower_can_be_opened_at_any_moment() {
    let place = Place::new();
    let path = place.path();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut opened = 0;
                let mut most = 0;
                while !done.load(Ordering::SeqCst) {
                    match Store::open_read_only(&path) {
                        Ok(follower) => {
                            let mut reader = Reader::default();
                            reader.read_on(&follower);
                            assert!(reader.last >= most, "what was seen is gone");
                            thread::sleep(Duration::from_millis(1));
                            reader.read_on(&follower);
                            most = reader.last;
                            opened += 1;
                        }
                        Err(Error::NotFound { .. }) => {}
                        Err(e) => panic!("{e}"),
                    }
                }
                assert!(opened > 3);
            });
        }
        let mut n = 0;
        for round in 0..25 {
            let mode = MODES[round % MODES.len()];
            let store = options(mode).open(&path).unwrap();
            for _ in 0..round * 4 {
                append_nth(&store, n);
                n += 1;
            }
            store.close().unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
}

/// Who a test starts as a process of its own.
const WRITERS: &str = "follow::a_process_that_writes";
const FOLLOWERS: &str = "follow::a_process_that_follows";
const MODE: &str = "ANNALS_IT_MODE";
const STOP: &str = "stop";
const OUT: &str = "ANNALS_IT_OUT";

/// Appends from eight threads until it is killed; does nothing where no test has started it.
#[test]
fn a_process_that_writes() {
    let (Some(path), Ok(mode)) = (child_path(), std::env::var(MODE)) else { return };
    let mode = MODES[mode.parse::<usize>().unwrap()];
    let store = options(mode).open(path).unwrap();
    // Numbers that no life of this process before has used.
    let first = store.head().0 * 64;
    thread::scope(|scope| {
        for writer in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for n in 0.. {
                    append_nth(store, first + n * 8 + writer);
                    // So that followers come to run on two cores, and the store stays small.
                    thread::sleep(Duration::from_micros(1_500));
                }
            });
        }
    });
}

fn start_writers(path: &Path, mode: usize) -> Child {
    let mut command = child(WRITERS, path);
    command.env(MODE, mode.to_string()).stdout(Stdio::null()).stderr(Stdio::inherit());
    command.spawn().unwrap()
}

/// What subscribers of a follower ask for.
fn queries() -> [Query; 4] {
    [
        Query::new(),
        Query::new().tag("mod:3"),
        Query::new().category("Load1").types(["Type0", "Type2"]),
        Query::new().correlation("run-2").stream_prefix("Load0-"),
    ]
}

/// A number for all that an event says.
fn digest(event: &Event) -> u32 {
    told(event).bytes().fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)))
}

/// Subscribes until it is stopped and has everything up to the position that it is told; then its
/// list of what it got. The position where it ends is the last that it may have seen.
fn subscribed(follower: &Store, query: Query, end: &dyn Fn() -> Option<u64>) -> Vec<(u64, u32)> {
    let mut events = follower.subscribe().matching(query).start().unwrap();
    let mut seen: Vec<(u64, u32)> = Vec::new();
    while end().is_none_or(|end| events.position().0 < end) {
        if let Some(Signal::Event(event)) = events.next_signal(SHORT).unwrap() {
            let position = event.position().0;
            assert!(
                seen.last().is_none_or(|(last, _)| *last < position),
                "doubled, or a step back"
            );
            seen.push((position, digest(&event)));
        }
    }
    seen
}

/// What a read of the finished store gives a query.
fn expected(store: &Store, query: &Query) -> Vec<(u64, u32)> {
    let events = store.read(query.clone()).into_iter();
    events.map(|event| event.unwrap()).map(|event| (event.position().0, digest(&event))).collect()
}

/// Writers are killed and begin again while a follower subscribes: nothing is skipped, doubled, or
/// seen and then gone.
#[test]
fn killed_writers_are_followed() {
    for (mode, durability) in MODES.into_iter().enumerate() {
        let place = Place::new();
        drop(options(durability).open(place.path()).unwrap());
        let follower = Store::open_read_only(place.path()).unwrap();
        let stop = AtomicU64::new(0);
        let end = || Some(stop.load(Ordering::SeqCst)).filter(|end| *end > 0);
        thread::scope(|scope| {
            let subscribers = queries().map(|query| {
                let (follower, end) = (&follower, &end);
                scope.spawn(move || subscribed(follower, query, end))
            });
            let reader = scope.spawn(|| {
                let mut reader = Reader::default();
                while end().is_none() {
                    reader.read_on(&follower);
                    thread::sleep(Duration::from_millis(2));
                }
                reader.read_on(&follower);
                reader.last
            });
            for round in 0..8 {
                let mut writers = start_writers(&place.path(), mode);
                thread::sleep(Duration::from_millis(60 + round * 20));
                writers.kill().unwrap();
                writers.wait().unwrap();
            }
            let store = options(durability).open(place.path()).unwrap();
            append_nth(&store, 1 << 40);
            store.sync().unwrap();
            assert!(store.info().unwrap().segments > 4);
            stop.store(store.head().0, Ordering::SeqCst);
            for (query, subscriber) in queries().iter().zip(subscribers) {
                let seen = subscriber.join().unwrap();
                assert!(seen == expected(&store, query), "not what the log has");
            }
            assert_eq!(reader.join().unwrap(), store.head().0);
            assert_same(&store, &follower);
        });
    }
}

/// Follows with four filtered subscribers, in a process that a test started.
#[test]
fn a_process_that_follows() {
    let (Some(path), Some(out)) = (child_path(), std::env::var_os(OUT)) else { return };
    let out = Path::new(&out);
    let follower = Store::open_read_only(path).unwrap();
    let end = || fs::read_to_string(out.join(STOP)).ok().and_then(|text| text.parse().ok());
    thread::scope(|scope| {
        for (n, query) in queries().into_iter().enumerate() {
            let (follower, end) = (&follower, &end);
            scope.spawn(move || {
                let seen = subscribed(follower, query, end);
                let lines: String = seen.iter().map(|(at, sum)| format!("{at} {sum}\n")).collect();
                let name = format!("{}-{n}", std::process::id());
                fs::write(out.join(name), lines).unwrap();
            });
        }
    });
}

/// 8 writers, 8 filtered subscribers in 2 processes, `kill -9` each second (or each half, in the
/// short run).
#[test]
fn torture_with_followers_in_other_processes() {
    let is_long = std::env::var_os("ANNALS_LONG").is_some_and(|long| long == "1");
    let kills = if is_long { 300 } else { 6 };
    let life = Duration::from_millis(if is_long { 1_000 } else { 500 });
    let place = Place::new();
    drop(options(Durability::Sync).open(place.path()).unwrap());
    let out = place.other("out");
    fs::create_dir(&out).unwrap();
    let followers = [(); 2].map(|()| {
        let mut command = child(FOLLOWERS, &place.path());
        command.env(OUT, &out).stdout(Stdio::null()).stderr(Stdio::inherit());
        command.spawn().unwrap()
    });
    for round in 0..kills {
        let mut writers = start_writers(&place.path(), round % MODES.len());
        thread::sleep(life);
        writers.kill().unwrap();
        writers.wait().unwrap();
    }
    let store = options(Durability::Sync).open(place.path()).unwrap();
    append_nth(&store, 1 << 40);
    fs::write(out.join("stop.new"), store.head().to_string()).unwrap();
    fs::rename(out.join("stop.new"), out.join(STOP)).unwrap();
    for mut follower in followers {
        let pid = follower.id();
        assert!(follower.wait().unwrap().success(), "a follower failed");
        for (n, query) in queries().iter().enumerate() {
            let lines = fs::read_to_string(out.join(format!("{pid}-{n}"))).unwrap();
            let wanted = expected(&store, query);
            let wanted: String = wanted.iter().map(|(at, sum)| format!("{at} {sum}\n")).collect();
            assert!(lines == wanted, "subscriber {n} of process {pid} got something else");
        }
    }
    let segments = store.info().unwrap().segments;
    println!("{kills} kills, {} events, {segments} segments", store.head());
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// From the return of an append to the moment at which a follower has the event.
#[test]
#[ignore = "measures: needs a quiet machine, and --release"]
fn measure_how_soon_a_follower_has_an_event() {
    for (name, pause, spins) in [
        ("subscription, an append each 3 ms", Duration::from_millis(3), false),
        ("subscription, an append each 700 ms", Duration::from_millis(700), false),
        ("a thread that asks all the time", Duration::from_millis(3), true),
    ] {
        let place = Place::new();
        let store = Store::open(place.path()).unwrap();
        let follower = Store::open_read_only(place.path()).unwrap();
        let count = if pause > Duration::from_millis(100) { 40 } else { 1_000 };
        let (returned, had) = thread::scope(|scope| {
            let had = scope.spawn(|| {
                let mut had = Vec::new();
                if spins {
                    while had.len() < count {
                        if follower.head().0 > had.len() as u64 {
                            had.push(Instant::now());
                        }
                    }
                } else {
                    let events = follower.subscribe().start().unwrap();
                    had.extend(
                        events.take(count).map(|event| event.map(|_| Instant::now()).unwrap()),
                    );
                }
                had
            });
            let mut returned = Vec::new();
            for n in 0..count as u64 {
                thread::sleep(pause);
                append(&store, "Order-1", n);
                returned.push(Instant::now());
            }
            (returned, had.join().unwrap())
        });
        let late = returned
            .iter()
            .zip(&had)
            .map(|(returned, had)| had.saturating_duration_since(*returned));
        let late: Vec<_> = late.collect();
        let most = late.iter().max().unwrap();
        println!("{name}: p50 {:?}, most {most:?}", median(late.clone()));
    }
}

/// Appends to a store with a head page and to one without, in turn.
#[test]
#[ignore = "measures: needs a quiet machine, and --release"]
fn measure_what_the_head_page_costs() {
    let (with, without) = (Place::new(), Place::new());
    // A directory in its place: there is no page.
    drop(Store::open(without.path()).unwrap());
    fs::remove_file(without.path().join("head")).unwrap();
    fs::create_dir(without.path().join("head")).unwrap();
    let open =
        |place: &Place| Store::options().durability(Durability::Os).open(place.path()).unwrap();
    let stores = [open(&with), open(&without)];
    let mut each = [Vec::new(), Vec::new()];
    for round in 0..60 {
        for (store, times) in stores.iter().zip(&mut each) {
            let started = Instant::now();
            for n in 0..2_000 {
                append(store, "Order-1", n);
            }
            if round > 5 {
                times.push(started.elapsed() / 2_000);
            }
        }
    }
    let [with, without] = each.map(median);
    println!("an append in Os: {with:?} with the page, {without:?} without");
}
