//! What a store has to hold, as plainly as it can be said, and the check that it does.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::found::check_found;
use super::{open, open_read_only};
use crate::format::codec::crc32;
use crate::maintain::Verify;
use crate::storage::Dir;
use crate::storage::memory::MemoryDisk;
use crate::sync::Arc;
use crate::{
    Appended, Error, Event, EventId, ExpectedVersion, NewEvent, Position, ReadAll, ReadStream,
    Result, Store, StoreOptions, Version,
};

/// An event as it has to be read: what it was made of, its stream, its version there.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) stream: String,
    pub(super) version: u64,
    /// With the id that it has where the caller gave one to any event of its append.
    pub(super) event: NewEvent,
}

/// The events of one append or batch, in order.
#[derive(Clone, Debug)]
pub(super) struct Committed {
    pub(super) events: Vec<Recorded>,
    /// It must be there. Otherwise it may be missing, and then everything behind it is too.
    is_kept: bool,
}

/// All appends that may be in a store, in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    appends: Vec<Committed>,
}

/// A stream and the events for it.
pub(super) type Batch = [(String, Vec<NewEvent>)];

impl Model {
    pub(super) fn events(&self) -> impl DoubleEndedIterator<Item = &Recorded> {
        self.appends().iter().flat_map(|append| &append.events)
    }

    pub(super) fn appends(&self) -> &[Committed] {
        &self.appends
    }

    /// The event at a position.
    pub(super) fn at(&self, position: u64) -> Option<&Recorded> {
        let index = usize::try_from(position.checked_sub(1)?).ok()?;
        self.events().nth(index)
    }

    /// How many events there are, which is also the last position.
    pub(super) fn len(&self) -> u64 {
        self.appends.iter().map(|append| append.events.len() as u64).sum()
    }

    /// How many events must be there.
    pub(super) fn kept(&self) -> u64 {
        let last = self.appends.iter().rposition(|append| append.is_kept);
        let kept = self.appends.iter().take(last.map_or(0, |last| last + 1));
        kept.map(|append| append.events.len() as u64).sum()
    }

    /// The version of a stream; 0 where it has no event.
    pub(super) fn version(&self, stream: &str) -> u64 {
        let last = self.events().rev().find(|recorded| recorded.stream == stream);
        last.map_or(0, |recorded| recorded.version)
    }

    /// The events of an append that is made now, and what it has to answer.
    pub(super) fn plan(&self, batch: &Batch) -> (Committed, Vec<Appended>) {
        let mut versions = HashMap::new();
        let mut position = self.len();
        let mut events = Vec::new();
        let mut answers = Vec::new();
        let ids = ids_of(batch);
        for (stream, new) in batch {
            let version = versions.entry(stream.clone()).or_insert_with(|| self.version(stream));
            for event in new {
                *version += 1;
                position += 1;
                let mut event = event.clone();
                event.id = ids.get(events.len()).copied().flatten();
                events.push(Recorded { stream: stream.clone(), version: *version, event });
            }
            if !new.is_empty() {
                let version = Version(*version);
                let position = Position(position);
                answers.push(Appended { version, position, deduplicated: false });
            }
        }
        (Committed { events, is_kept: false }, answers)
    }

    /// Takes note of an append that was acknowledged, durably or not, or whose end is unknown.
    pub(super) fn push(&mut self, append: Committed, is_kept: bool) {
        self.appends.push(Committed { is_kept, ..append });
    }

    /// Everything up to a position must be there from now on.
    pub(super) fn keep_up_to(&mut self, position: Position) {
        let mut behind = 0;
        for append in &mut self.appends {
            behind += append.events.len() as u64;
            append.is_kept |= behind <= position.0;
        }
    }

    /// Takes note of what a store turned out to hold: that is what it has to hold from now on.
    pub(super) fn settle(&mut self, head: Position) {
        let kept = self.kept();
        assert!(head.0 >= kept, "{kept} events were acknowledged, and {head} are left");
        assert!(head.0 <= self.len(), "{head} events, more than the {} made", self.len());
        self.forget_behind(head);
        self.keep_up_to(head);
    }

    /// What is behind a position may be lost after all.
    pub(super) fn forget_behind(&mut self, position: Position) {
        while self.len() > position.0 {
            self.appends.pop();
        }
        assert_eq!(self.len(), position.0, "a part of an append is there");
    }

    /// A number for all that the model says.
    pub(super) fn digest(&self) -> u64 {
        let text = |recorded: &Recorded| crc32(&recorded.event.data);
        self.events().fold(self.kept(), |digest, recorded| {
            digest.wrapping_mul(0x0000_0100_0000_01b3) ^ u64::from(text(recorded))
        })
    }
}

/// The ids that the events of a batch have to get, by the rule for appends that give only some:
/// derived from the nearest given one before, else from the first.
fn ids_of(batch: &Batch) -> Vec<Option<EventId>> {
    let given: Vec<_> = batch.iter().flat_map(|(_, events)| events).map(|event| event.id).collect();
    let nearest = |index: usize| {
        let before = given.iter().take(index + 1).rposition(Option::is_some);
        before.or_else(|| given.iter().position(Option::is_some))
    };
    let id = |index: usize| {
        let base = nearest(index)?;
        let distance = index.cast_signed() - base.cast_signed();
        let id = given.get(base).copied().flatten()?;
        Some(if distance == 0 { id } else { id.derived(distance as i64) })
    };
    (0..given.len()).map(id).collect()
}

/// Panics unless a store holds what a model says, all of it must be there, and says so by
/// whatever way it is asked. Returns the events.
pub(super) fn check(store: &Store, model: &Model) -> Vec<Event> {
    let events = check_plainly(store, model);
    check_order_and_ids(&events);
    check_all(store, &events);
    check_streams(store, &events);
    check_each(store, &events);
    check_nothing_else(store, &events);
    check_found(store, &events);
    store.catalog().index.assert_follows_from_log();
    events
}

/// The same by the two ways that go over everything: the log, and the streams of the index.
fn check_plainly(store: &Store, model: &Model) -> Vec<Event> {
    let events: Vec<Event> = store.read_all().into_iter().map(Result::unwrap).collect();
    assert_eq!(events.len() as u64, model.len(), "events that are read");
    assert_eq!(store.head(), Position(model.len()));
    assert!(store.durable() <= store.head());
    for (position, (event, recorded)) in (1..).zip(events.iter().zip(model.events())) {
        assert_eq!(event.position(), Position(position));
        assert_holds(event, recorded);
    }
    for (stream, events) in by_stream(&events) {
        let found: Vec<Event> = store.read_stream(stream).into_iter().map(Result::unwrap).collect();
        assert_same(&found, &events, || stream.to_owned());
    }
    events
}

/// How much is asked of a store that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// That all of it is there, by the log and by the index; and that it can be written, closed
    /// and opened.
    Plain,
    /// Everything that can be asked.
    Full,
}

/// Opens what is left on a disk and checks it, appends one more event, and checks that closing and
/// opening changes nothing. `model` becomes what is there now.
pub(super) fn check_disk(disk: &MemoryDisk, options: &StoreOptions, model: &mut Model) {
    let store = open(disk, options).unwrap();
    model.settle(store.head());
    check_opened(disk, options, &store, model, Care::Full);
}

/// The same of a store that was opened already.
pub(super) fn check_opened(
    disk: &MemoryDisk,
    options: &StoreOptions,
    store: &Store,
    model: &mut Model,
    care: Care,
) {
    let check = if care == Care::Full { check } else { check_plainly };
    let mut before = check(store, model);
    append_one_more(store, model);
    before.extend(store.event(store.head()).unwrap());
    store.close().unwrap();
    if care == Care::Full {
        let read_only = open_read_only(disk, options).unwrap();
        let seen: Vec<Event> = read_only.read_all().into_iter().map(Result::unwrap).collect();
        assert_same(&seen, &before, || "read only".into());
    }
    let store = open(disk, options).unwrap();
    assert!(store.recovery().clean, "{:?}", store.recovery());
    assert_eq!(store.recovery().bytes_cut, 0);
    let after = check(&store, model);
    assert_same(&after, &before, || "after closing and opening".into());
    store.close().unwrap();
}

/// Verify finds nothing in a store that was closed.
pub(super) fn assert_verifies(disk: &MemoryDisk, model: &Model) {
    let report = verify(disk).run().unwrap();
    assert!(report.findings.is_empty() && !report.uncompared, "{report:?}");
    assert_eq!(report.events, model.len());
}

fn verify(disk: &MemoryDisk) -> Verify<'static> {
    Verify::new(Dir::new(Arc::new(disk.clone())), None)
}

/// Where verify sees the end of a store that was not closed. Whatever a crash leaves, it is no
/// damage of the log. `None` where no store was created yet.
pub(super) fn verified_end(disk: &MemoryDisk) -> Option<Position> {
    match verify(&disk.crash_keeping_everything()).run() {
        Ok(report) => {
            assert!(!report.has_log_damage(), "{:?}", report.findings);
            Some(report.last_position)
        }
        Err(Error::NotFound { .. }) => None,
        Err(e) => panic!("{e}"),
    }
}

fn append_one_more(store: &Store, model: &mut Model) {
    let stream = model.events().next_back().map_or("One-more", |last| &last.stream).to_owned();
    let expected = ExpectedVersion::Exact(Version(model.version(&stream)));
    let event = NewEvent::new("OneMore", model.len().to_string());
    let (append, answer) = model.plan(&[(stream.clone(), vec![event.clone()])]);
    let done = store.append(&stream, expected, [event]).unwrap();
    assert_eq!(Some(&done), answer.first());
    model.push(append, true);
}

/// Panics unless an event is what was recorded.
pub(super) fn assert_holds(event: &Event, recorded: &Recorded) {
    let new = &recorded.event;
    assert_eq!(event.stream(), recorded.stream, "at {}", event.position());
    assert_eq!(event.version(), Version(recorded.version), "at {}", event.position());
    assert_eq!(event.event_type(), new.event_type);
    assert!(event.data() == new.data, "the data at {}", event.position());
    assert_eq!(event.metadata(), new.metadata);
    assert_eq!(event.content_type(), new.content_type);
    assert_eq!(event.schema_version(), new.schema_version);
    assert!(event.tags().eq(new.tags.iter().map(String::as_str)));
    assert_eq!(event.correlation_id(), new.correlation.as_deref());
    assert_eq!(event.causation_id(), new.causation.as_deref());
    assert_eq!(event.has_given_id(), new.id.is_some());
    assert_eq!(event.id(), new.id.unwrap_or_else(|| event.id()));
    assert_eq!(event.created_at(), new.created_at.unwrap_or_else(|| event.committed_at()));
}

fn check_order_and_ids(events: &[Event]) {
    for pair in events.windows(2) {
        assert!(pair[0].committed_at() <= pair[1].committed_at(), "the clock went backwards");
    }
    let ids: HashMap<EventId, Position> =
        events.iter().map(|event| (event.id(), event.position())).collect();
    assert_eq!(ids.len(), events.len(), "an id stands twice");
}

/// Reads of all events, from both ends and from places in between.
fn check_all(store: &Store, events: &[Event]) {
    let reversed: Vec<Event> = events.iter().rev().cloned().collect();
    let read = |read: ReadAll| -> Vec<Event> { read.into_iter().map(Result::unwrap).collect() };
    assert_same(&read(store.read_all().backwards()), &reversed, || "backwards".into());
    let len = events.len();
    let half = len / 2;
    let last = len.saturating_sub(1);
    for (after, limit) in [
        (half, usize::MAX),
        (half, 0),
        (0, 1),
        (1, 3),
        (len / 3, 2),
        (last, 9),
        (len, 1),
        (len + 1, 1),
        (usize::MAX, 1),
    ] {
        let position = Position(after as u64);
        let what = || format!("after {after}, at most {limit}");
        let wanted = limited(events.get(after..).unwrap_or_default(), limit);
        assert_same(&read(store.read_all().after(position).limit(limit)), wanted, what);
        let behind = len - after.saturating_sub(1).min(len);
        let wanted = limited(reversed.get(behind..).unwrap_or_default(), limit);
        assert_same(&read(store.read_all().backwards().after(position).limit(limit)), wanted, what);
    }
}

fn limited(events: &[Event], limit: usize) -> &[Event] {
    events.get(..limit).unwrap_or(events)
}

fn by_stream(events: &[Event]) -> BTreeMap<&str, Vec<Event>> {
    let mut streams: BTreeMap<&str, Vec<Event>> = BTreeMap::new();
    for event in events {
        streams.entry(event.stream()).or_default().push(event.clone());
    }
    streams
}

/// Reads of each stream.
fn check_streams(store: &Store, events: &[Event]) {
    for (stream, events) in by_stream(events) {
        for (version, event) in (1..).zip(&events) {
            assert_eq!(event.version(), Version(version), "versions of {stream} are not dense");
        }
        check_stream(store, stream, &events);
    }
}

fn check_stream(store: &Store, stream: &str, events: &[Event]) {
    let read = |read: ReadStream| -> Vec<Event> { read.into_iter().map(Result::unwrap).collect() };
    let reversed: Vec<Event> = events.iter().rev().cloned().collect();
    let what = || stream.to_owned();
    assert_same(&read(store.read_stream(stream)), events, what);
    assert_same(&read(store.read_stream(stream).backwards()), &reversed, what);
    let last = events.last().unwrap();
    let info = store.stream(stream).unwrap().unwrap();
    assert_eq!((info.name.as_str(), info.version), (stream, last.version()));
    assert_eq!(info.last_position, last.position());
    let len = events.len();
    for (after, limit) in [(len / 2, 2), (len, 1)] {
        let version = Version(after as u64);
        let wanted = limited(events.get(after..).unwrap_or_default(), limit);
        assert_same(&read(store.read_stream(stream).after(version).limit(limit)), wanted, what);
        let behind = len - after.saturating_sub(1).min(len);
        let wanted = limited(reversed.get(behind..).unwrap_or_default(), limit);
        let found = read(store.read_stream(stream).backwards().after(version).limit(limit));
        assert_same(&found, wanted, what);
    }
}

/// Every event by its position and by its id.
fn check_each(store: &Store, events: &[Event]) {
    for event in events {
        let by_position = store.event(event.position()).unwrap();
        let by_id = store.event_by_id(event.id()).unwrap();
        for found in [by_position, by_id] {
            let found = found.expect("an event that was read before");
            assert!(is_same(&found, event), "{found:?} instead of {event:?}");
        }
    }
}

fn check_nothing_else(store: &Store, events: &[Event]) {
    let last = events.len() as u64;
    for position in [0, last + 1, u64::MAX] {
        assert!(store.event(Position(position)).unwrap().is_none());
    }
    for absent in ["Absent-1", "absent", "A"] {
        assert!(store.stream(absent).unwrap().is_none());
        assert_eq!(store.read_stream(absent).into_iter().count(), 0);
        assert_eq!(store.read_stream(absent).backwards().into_iter().count(), 0);
    }
    for absent in [0x11, 0x77, 0xee] {
        assert!(store.event_by_id(EventId::from_bytes([absent; 16])).unwrap().is_none());
    }
    let info = store.info().unwrap();
    let expected = (last, last.min(1), last);
    assert_eq!((info.events, info.first_position.0, info.last_position.0), expected);
}

fn assert_same(found: &[Event], expected: &[Event], what: impl Fn() -> String) {
    assert_eq!(found.len(), expected.len(), "{}: how many", what());
    for (found, expected) in found.iter().zip(expected) {
        assert!(is_same(found, expected), "{}: {found:?} instead of {expected:?}", what());
    }
}

/// Whether two reads gave the same event, in everything that was not compared with the model.
pub(super) fn is_same(one: &Event, other: &Event) -> bool {
    let place = |event: &Event| (event.position(), event.version(), event.id());
    let times = |event: &Event| (event.created_at(), event.committed_at());
    place(one) == place(other)
        && times(one) == times(other)
        && one.stream() == other.stream()
        && one.event_type() == other.event_type()
        && one.data() == other.data()
}

/// What was checked already: most calls change nothing, and most crashes leave the same.
#[derive(Debug, Default)]
pub(super) struct Checked(HashSet<[u64; 2]>);

impl Checked {
    /// Whether no disk like this was there before with this model.
    pub(super) fn is_new(&mut self, disk: &MemoryDisk, model: &Model) -> bool {
        self.is_new_with(disk.digest(), model.digest())
    }

    pub(super) fn is_new_with(&mut self, disk: u64, model: u64) -> bool {
        self.0.insert([disk, model])
    }
}
