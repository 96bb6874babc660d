//! Many writers and readers at once: nothing is lost, doubled, skipped or seen too early.
//!
//! By default each of 16 threads makes 2,000 appends in the main run and 300 in each of the others,
//! which takes about ten seconds on two cores. With `ANNALS_LONG=1` it is 2,000 everywhere.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use annals::{
    Appended, Durability, Error, Event, ExpectedVersion, NewEvent, Position, ReadMode, Store,
    StoreOptions, Version,
};

use crate::support::{Place, all_events, id};

const WRITERS: u64 = 16;
const STREAMS: u64 = 6;

/// Between two looks of a reader, so that on two cores the writers come to write.
const PAUSE: Duration = Duration::from_micros(300);

fn appends(default: u64) -> u64 {
    if std::env::var_os("ANNALS_LONG").is_some_and(|long| long == "1") { 2_000 } else { default }
}

/// What an event says of the append that it belongs to: who made it, as which, of how many events,
/// and which of them it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Label {
    writer: u64,
    append: u64,
    size: u64,
    index: u64,
}

impl Label {
    fn event(self) -> NewEvent {
        let Self { writer, append, size, index } = self;
        let padding = "x".repeat((append * 37 % 200) as usize);
        let event =
            NewEvent::new("Labelled", format!("{writer} {append} {size} {index} {padding}"));
        // Some appends have ids, so that both ways through the writer are used.
        let number = 1 + (writer * 1_000_000 + append) * 4 + index;
        if append.is_multiple_of(3) { event.id(id(number)) } else { event }
    }

    fn of(event: &Event) -> Self {
        let text = str::from_utf8(event.data()).unwrap();
        let mut numbers = text.split(' ').map_while(|part| part.parse().ok());
        let mut next = || numbers.next().unwrap();
        Self { writer: next(), append: next(), size: next(), index: next() }
    }

    fn events(writer: u64, append: u64) -> Vec<NewEvent> {
        let size = 1 + (writer + append) % 4;
        (0..size).map(|index| Self { writer, append, size, index }.event()).collect()
    }
}

/// Sees that events come in whole appends.
#[derive(Default)]
struct Whole {
    open: Option<Label>,
}

impl Whole {
    fn add(&mut self, event: &Event) {
        let label = Label::of(event);
        let wanted = match self.open.take() {
            Some(before) => Label { index: before.index + 1, ..before },
            None => Label { index: 0, ..label },
        };
        assert_eq!(label, wanted, "position {}: an append is torn apart", event.position());
        self.open = (label.index + 1 < label.size).then_some(label);
    }

    fn check(&self) {
        assert_eq!(self.open, None, "half an append is visible");
    }
}

/// What the writers count.
#[derive(Default)]
struct Counts {
    attempts: AtomicU64,
    conflicts: AtomicU64,
}

/// One writer: every append names the exact version that it expects, and is tried again with the
/// version that a conflict names.
fn write(store: &Store, writer: u64, appends: u64, counts: &Counts) -> Vec<Appended> {
    let mut known: HashMap<u64, Version> = HashMap::new();
    let write = |append| {
        let stream = (writer * 7 + append * append) % STREAMS;
        let events = Label::events(writer, append);
        loop {
            let expected = known.get(&stream).copied().unwrap_or_default();
            counts.attempts.fetch_add(1, Ordering::Relaxed);
            match store.append(format!("Shared-{stream}"), expected, events.clone()) {
                Ok(done) => {
                    assert!(!done.deduplicated);
                    assert_eq!(done.version.0, expected.0 + events.len() as u64);
                    assert!(store.head() >= done.position, "what is answered is visible");
                    known.insert(stream, done.version);
                    return done;
                }
                Err(Error::Conflict(conflict)) => {
                    assert_eq!(conflict.expected, ExpectedVersion::Exact(expected));
                    assert!(conflict.actual > expected, "versions only grow: {conflict}");
                    counts.conflicts.fetch_add(1, Ordering::Relaxed);
                    known.insert(stream, conflict.actual);
                }
                Err(e) => panic!("{e}"),
            }
        }
    };
    (0..appends).map(write).collect()
}

/// Polls the whole log from where it last was.
fn poll_all(store: &Store, ended: &AtomicBool, is_sync: bool) -> u64 {
    let mut last = Position::START;
    loop {
        // Read before the log is: what was visible then must be seen.
        let (is_last, head) = (ended.load(Ordering::Acquire), store.head());
        let mut whole = Whole::default();
        for event in store.read_all().after(last) {
            let event = event.unwrap();
            assert_eq!(event.position().0, last.0 + 1, "neither a gap nor a step back");
            last = event.position();
            assert!(last <= store.head(), "an event beyond the head");
            if is_sync {
                assert!(last <= store.durable(), "an event that a crash can take back");
            }
            whole.add(&event);
        }
        whole.check();
        assert!(last >= head, "what was visible is not there");
        let durable = store.durable();
        assert!(durable <= store.head(), "durable beyond the head");
        if is_last {
            return last.0;
        }
        thread::sleep(PAUSE);
    }
}

/// Reads the newest events backwards, and looks single ones up.
fn read_backwards(store: &Store, ended: &AtomicBool) {
    let mut highest = Position::START;
    while !ended.load(Ordering::Acquire) {
        let head = store.head();
        let events: Vec<Event> =
            store.read_all().backwards().limit(40).into_iter().map(|e| e.unwrap()).collect();
        for pair in events.windows(2) {
            assert_eq!(pair[0].position().0, pair[1].position().0 + 1);
        }
        if let Some(newest) = events.first() {
            let label = Label::of(newest);
            assert_eq!(label.index + 1, label.size, "the newest event ends an append");
            assert!(newest.position() >= head && newest.position() >= highest);
            highest = newest.position();
            let same = store.event(highest).unwrap().unwrap();
            assert_eq!(same.data(), newest.data());
            let same = store.event_by_id(newest.id()).unwrap().unwrap();
            assert_eq!(same.position(), highest);
        }
        let beyond = Position(store.head().0 + 1_000_000);
        assert!(store.event(beyond).unwrap().is_none());
        thread::sleep(PAUSE);
    }
}

/// Polls one stream from where it last was, and in between reads it from its end.
fn poll_stream(store: &Store, stream: u64, ended: &AtomicBool) -> u64 {
    let name = format!("Shared-{stream}");
    let mut last = Version::NONE;
    let mut position = Position::START;
    loop {
        let is_last = ended.load(Ordering::Acquire);
        let known = store.stream(&name).unwrap();
        let mut whole = Whole::default();
        for event in store.read_stream(&name).after(last) {
            let event = event.unwrap();
            assert_eq!(event.stream(), name);
            assert_eq!(event.version().0, last.0 + 1, "neither a gap nor a step back");
            assert!(event.position() > position && event.position() <= store.head());
            (last, position) = (event.version(), event.position());
            whole.add(&event);
        }
        whole.check();
        if let Some(known) = known {
            assert!(last >= known.version && position >= known.last_position);
        }
        let newest = store.read_stream(&name).backwards().limit(1).into_iter().next();
        if let Some(newest) = newest {
            let newest = newest.unwrap();
            assert!(newest.version() >= last, "a step back");
            let label = Label::of(&newest);
            assert_eq!(label.index + 1, label.size, "half an append is visible");
        }
        if is_last {
            return last.0;
        }
        thread::sleep(PAUSE);
    }
}

/// What is in the store at the end is what the writers were told, once, and in their order.
fn check_end(store: &Store, answers: &[Vec<Appended>]) {
    let events = all_events(store);
    let mut whole = Whole::default();
    let mut appends: HashMap<(u64, u64), &Event> = HashMap::new();
    for event in &events {
        whole.add(event);
        let Label { writer, append, size, index } = Label::of(event);
        if index + 1 == size {
            let before = appends.insert((writer, append), event);
            assert!(before.is_none(), "append {append} of writer {writer} is doubled");
        }
    }
    whole.check();
    assert_eq!(appends.len(), answers.iter().map(Vec::len).sum::<usize>(), "none is lost");
    for (writer, answers) in (0..).zip(answers) {
        assert!(answers.windows(2).all(|pair| pair[0].position < pair[1].position));
        for (append, answer) in (0..).zip(answers) {
            let event = appends[&(writer, append)];
            assert_eq!((event.version(), event.position()), (answer.version, answer.position));
        }
    }
}

fn torture(options: &StoreOptions, durability: Durability, appends: u64) {
    let place = Place::new();
    let options = options.clone().durability(durability);
    let store = options.clone().open(place.path()).unwrap();
    let counts = Counts::default();
    let ended = AtomicBool::new(false);
    let is_sync = durability == Durability::Sync;
    let answers: Vec<Vec<Appended>> = thread::scope(|scope| {
        let (store, counts, ended) = (&store, &counts, &ended);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || write(store, writer, appends, counts)))
            .collect();
        let poller = scope.spawn(move || poll_all(store, ended, is_sync));
        let streams: Vec<_> =
            (0..2).map(|stream| scope.spawn(move || poll_stream(store, stream, ended))).collect();
        let backwards = scope.spawn(move || read_backwards(store, ended));
        // The readers end however the writers do.
        let answers: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        ended.store(true, Ordering::Release);
        let polled = poller.join().unwrap();
        assert_eq!(polled, store.head().0, "the poller has seen everything");
        for (stream, polled) in (0..).zip(streams) {
            let name = format!("Shared-{stream}");
            let info = store.stream(name).unwrap().unwrap();
            assert_eq!(polled.join().unwrap(), info.version.0);
        }
        backwards.join().unwrap();
        answers.into_iter().map(Result::unwrap).collect()
    });
    let (attempts, conflicts) = (counts.attempts.into_inner(), counts.conflicts.into_inner());
    assert_eq!(attempts, WRITERS * appends + conflicts, "every attempt ends one way or the other");
    assert!(conflicts > 0, "the writers never met");
    check_end(&store, &answers);
    assert_eq!(store.sync().unwrap(), store.head());
    if is_sync {
        // What was answered needs no close.
        check_end(&options.clone().open(place.killed("killed")).unwrap(), &answers);
    }
    store.close().unwrap();
    drop(store);
    let store = options.open(place.path()).unwrap();
    assert!(store.recovery().clean, "{:?}", store.recovery());
    check_end(&store, &answers);
}

#[test]
fn sync_with_maps() {
    torture(&Store::options(), Durability::Sync, 2_000);
}

#[test]
fn sync_with_maps_and_short_segments() {
    torture(&Store::options().segment_bytes(64 << 10), Durability::Sync, appends(300));
}

#[test]
fn sync_with_positional_reads() {
    let options = Store::options().read_mode(ReadMode::Positional).segment_bytes(256 << 10);
    torture(&options, Durability::Sync, appends(300));
}

#[test]
fn os_with_maps_and_short_segments() {
    let options = Store::options().segment_bytes(64 << 10).checkpoint_bytes(20 << 10);
    torture(&options, Durability::Os, appends(300));
}

#[test]
fn os_with_positional_reads_and_no_thread() {
    let options = Store::options().read_mode(ReadMode::Positional).upkeep_thread(false);
    let options = options.segment_bytes(64 << 10).checkpoint_bytes(1 << 10);
    torture(&options, Durability::Os, appends(300));
}

#[test]
fn interval_with_maps() {
    let options = Store::options().segment_bytes(256 << 10);
    torture(&options, Durability::Interval(Duration::from_millis(3)), appends(300));
}

#[test]
fn interval_with_positional_reads_and_short_segments() {
    let options = Store::options().read_mode(ReadMode::Positional);
    let options = options.segment_bytes(64 << 10).checkpoint_bytes(20 << 10);
    torture(&options, Durability::Interval(Duration::from_secs(3600)), appends(300));
}

#[test]
fn where_hashes_collide() {
    let options = Store::options().hash_bits(2).segment_bytes(64 << 10);
    torture(&options, Durability::Os, appends(60));
}

/// The race for the next segment: upkeep makes it while the writer needs it. Large events fill the
/// shortest segments so fast that upkeep is always late.
#[test]
fn segments_that_fill_faster_than_upkeep_makes_them() {
    const APPENDS: u64 = 30;
    for in_thread in [true, false] {
        let place = Place::new();
        let options = || Store::options().segment_bytes(64 << 10).durability(Durability::Os);
        let store = options().upkeep_thread(in_thread).open(place.path()).unwrap();
        thread::scope(|scope| {
            let store = &store;
            for writer in 0..8 {
                scope.spawn(move || {
                    for append in 0..APPENDS {
                        // Some are longer than a segment, so that what was prepared is no use.
                        let bytes = if append % 9 == 8 { 100 << 10 } else { 20 << 10 };
                        let event = NewEvent::new("Large", vec![writer as u8; bytes]);
                        let stream = format!("Large-{writer}");
                        let done = store.append(stream, Version(append), [event]).unwrap();
                        assert_eq!(done.version.0, append + 1);
                    }
                });
            }
        });
        assert_eq!(all_events(&store).len() as u64, 8 * APPENDS);
        let killed = options().open(place.killed("killed")).unwrap();
        assert_eq!(all_events(&killed).len() as u64, 8 * APPENDS);
        store.close().unwrap();
        let store = options().open(place.path()).unwrap();
        assert_eq!(all_events(&store).len() as u64, 8 * APPENDS);
    }
}
