//! Random histories in every mode against the model: expectations, retries, crashes, all that an
//! append can answer.

use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::oracle::{Care, Committed, Model, Recorded, assert_holds, check, check_opened};
use super::{MODES, open, open_read_only, scaled, seed, small};
use crate::storage::memory::MemoryDisk;
use crate::writer::Part;
use crate::{
    Appended, Conflict, Durability, Error, EventId, ExpectedVersion, IdConflict, NewEvent,
    Position, Result, Store, StoreOptions, Version,
};

/// What is drawn at random. Streams are numbers, and appends made before are chosen by index.
#[derive(Clone, Debug)]
enum Op {
    Append(Vec<PartOp>),
    Group(Vec<Vec<PartOp>>),
    /// An append that was made before, again and maybe not quite the same.
    Retry(prop::sample::Index, Change),
    /// The same append by two callers of one group.
    Twice(Vec<PartOp>),
    /// As `Append`, asking for durability in whatever mode.
    Durably(Vec<PartOp>),
    /// Reads of a stream and of everything, from anywhere.
    Read(ReadOp),
    /// Every read and every look-up there is.
    Check,
    /// A reader beside the writer.
    ReadOnly,
    Sync,
    KeepUp,
    Reopen,
    Kill,
    PowerCut(u64),
}

#[derive(Clone, Copy, Debug)]
struct ReadOp {
    stream: u8,
    after: u8,
    limit: u8,
    backwards: bool,
}

#[derive(Clone, Debug)]
struct PartOp {
    stream: u8,
    expected: Expected,
    events: Vec<EventOp>,
}

#[derive(Clone, Copy, Debug)]
enum Expected {
    Any,
    NoStream,
    Exists,
    /// The version that the stream has, and so many more.
    Version(u8),
}

#[derive(Clone, Copy, Debug)]
struct EventOp {
    bytes: u32,
    has_id: bool,
}

/// How a retry differs from the original.
#[derive(Clone, Copy, Debug)]
enum Change {
    Nothing,
    Data,
    EventType,
    Stream,
    Order,
    /// Without its last event, and with a new one.
    OneNew,
    /// An id twice.
    Repeated,
}

/// An append as it is asked for.
type Wanted = Vec<(String, ExpectedVersion, Vec<NewEvent>)>;

/// A store on a disk, and the model of it.
struct World {
    disk: MemoryDisk,
    options: StoreOptions,
    durability: Durability,
    store: Store,
    model: Model,
    /// The ids that the store assigned.
    assigned: BTreeMap<u64, EventId>,
    /// The last position that was acknowledged.
    acknowledged: Position,
    made: u64,
}

impl World {
    fn new(options: &StoreOptions, durability: Durability, seed: u64) -> Self {
        let disk = MemoryDisk::simulated(seed);
        let options = options.clone().durability(durability);
        let store = open(&disk, &options).unwrap();
        Self {
            disk,
            options,
            durability,
            store,
            model: Model::default(),
            assigned: BTreeMap::new(),
            acknowledged: Position::START,
            made: 0,
        }
    }

    fn run(&mut self, ops: &[Op]) {
        for op in ops {
            self.op(op);
            self.model.keep_up_to(self.store.durable());
            assert_eq!(self.store.head(), Position(self.model.len()));
        }
        check_opened(&self.disk, &self.options, &self.store, &mut self.model, Care::Full);
    }

    fn op(&mut self, op: &Op) {
        match op {
            Op::Append(parts) => {
                let wanted = self.wanted(parts, &self.model.clone());
                self.append(wanted, false);
            }
            Op::Durably(parts) => {
                let wanted = self.wanted(parts, &self.model.clone());
                self.append(wanted, true);
                assert_eq!(self.store.durable(), self.store.head());
            }
            Op::Group(appends) => {
                let mut after = self.model.clone();
                let mut group = Vec::new();
                for parts in appends {
                    let wanted = self.wanted(parts, &after);
                    if let Ok((_, Some(append))) = self.answer(&wanted, &after) {
                        after.push(append, false);
                    }
                    group.push(wanted);
                }
                self.group(group);
            }
            Op::Twice(parts) => {
                let wanted = self.wanted(parts, &self.model.clone());
                self.group(vec![wanted.clone(), wanted]);
            }
            Op::Retry(which, change) => {
                if let Some(wanted) = self.again(*which, *change) {
                    self.append(wanted, false);
                }
            }
            Op::Read(read) => self.read(*read),
            Op::Check => drop(check(&self.store, &self.model)),
            Op::ReadOnly => self.read_only(),
            Op::Sync => assert_eq!(self.store.sync().unwrap(), self.store.head()),
            Op::KeepUp => while self.store.keep_up().unwrap() {},
            Op::Reopen => {
                self.store.close().unwrap();
                self.model.keep_up_to(self.store.head());
                self.reopen(self.disk.clone());
            }
            Op::Kill => {
                if self.durability == Durability::Os {
                    self.model.keep_up_to(self.acknowledged);
                }
                self.reopen(self.disk.crash_keeping_everything());
            }
            Op::PowerCut(seed) => self.reopen(self.disk.crash_seeded(*seed)),
        }
    }

    fn read(&self, ReadOp { stream, after, limit, backwards }: ReadOp) {
        let stream = format!("Stream-{stream}");
        let (mut of, mut all) =
            (self.store.read_stream(&stream).limit(limit.into()), self.store.read_all());
        all = all.limit(limit.into());
        if after > 0 {
            of = of.after(Version(after.into()));
            all = all.after(Position(after.into()));
        }
        if backwards {
            (of, all) = (of.backwards(), all.backwards());
        }
        let numbered = |events: Vec<Recorded>| -> Vec<(u64, Recorded)> {
            let numbered = (1..).zip(events);
            let is_wanted = |n: u64| match (backwards, u64::from(after)) {
                (true, 0) => true,
                (true, after) => n < after,
                (false, after) => n > after,
            };
            let mut wanted: Vec<_> = numbered.filter(|(n, _)| is_wanted(*n)).collect();
            if backwards {
                wanted.reverse();
            }
            wanted.truncate(limit.into());
            wanted
        };
        let everything: Vec<Recorded> = self.model.events().cloned().collect();
        let its = everything.iter().filter(|event| event.stream == stream).cloned().collect();
        let found: Vec<_> = of.into_iter().map(Result::unwrap).collect();
        let wanted = numbered(its);
        assert_eq!(found.len(), wanted.len(), "of {stream}");
        for (event, (version, recorded)) in found.iter().zip(&wanted) {
            assert_eq!(event.version(), Version(*version));
            assert_holds(event, recorded);
        }
        let found: Vec<_> = all.into_iter().map(Result::unwrap).collect();
        let wanted = numbered(everything);
        assert_eq!(found.len(), wanted.len(), "of everything");
        for (event, (position, recorded)) in found.iter().zip(&wanted) {
            assert_eq!(event.position(), Position(*position));
            assert_holds(event, recorded);
            let by_id = self.store.event_by_id(event.id()).unwrap().unwrap();
            assert_eq!(by_id.position(), event.position());
        }
        let version = self.model.version(&stream);
        let info = self.store.stream(&stream).unwrap();
        assert_eq!(info.map_or(0, |info| info.version.0), version);
    }

    /// What it shows was written, and is a beginning of what there is.
    fn read_only(&self) {
        let reader = open_read_only(&self.disk, &self.options).unwrap();
        assert!(reader.head() <= self.store.head() && reader.head() >= self.store.durable());
        assert_eq!(reader.durable(), self.store.durable());
        let events: Vec<_> = reader.read_all().into_iter().map(Result::unwrap).collect();
        assert_eq!(events.len() as u64, reader.head().0);
        for (event, recorded) in events.iter().zip(self.model.events()) {
            assert_holds(event, recorded);
        }
        let refused = reader.append("Stream-0", ExpectedVersion::Any, [NewEvent::new("A", "")]);
        assert!(matches!(refused, Err(Error::ReadOnly)), "{refused:?}");
    }

    fn reopen(&mut self, disk: MemoryDisk) {
        self.disk = disk;
        self.store = open(&self.disk, &self.options).unwrap();
        self.model.settle(self.store.head());
        self.acknowledged = self.store.head();
        self.assigned.split_off(&(self.store.head().0 + 1));
        check(&self.store, &self.model);
    }

    /// The append that parts drawn at random are, given what is there.
    fn wanted(&mut self, parts: &[PartOp], model: &Model) -> Wanted {
        let mut versions = HashMap::new();
        let mut wanted = Vec::new();
        for part in parts {
            let stream = format!("Stream-{}", part.stream);
            let version = versions.entry(part.stream).or_insert_with(|| model.version(&stream));
            let expected = match part.expected {
                Expected::Any => ExpectedVersion::Any,
                Expected::NoStream => ExpectedVersion::NoStream,
                Expected::Exists => ExpectedVersion::Exists,
                Expected::Version(more) => Version(*version + u64::from(more)).into(),
            };
            *version += part.events.len() as u64;
            let events = part.events.iter().map(|event| self.event(*event)).collect();
            wanted.push((stream, expected, events));
        }
        wanted
    }

    fn event(&mut self, op: EventOp) -> NewEvent {
        self.made += 1;
        let made = self.made;
        let mut data = made.to_string().into_bytes();
        data.resize(data.len() + op.bytes as usize, b'x');
        let event = NewEvent::new("Made", data).tag(format!("n:{}", made % 3));
        if op.has_id { event.id(uuid::Uuid::from_u64_pair(made, 77)) } else { event }
    }

    /// An append that was made before, as a caller makes it again who knows the ids of its events.
    fn again(&mut self, which: prop::sample::Index, change: Change) -> Option<Wanted> {
        let appends = self.model.appends();
        if appends.is_empty() {
            return None;
        }
        let index = which.index(appends.len());
        let before: u64 = appends.iter().take(index).map(|append| append.events.len() as u64).sum();
        let mut wanted: Wanted = Vec::new();
        for (position, recorded) in (before + 1..).zip(&appends[index].events) {
            let mut event = recorded.event.clone();
            event.id = event.id.or_else(|| self.assigned.get(&position).copied());
            wanted.push((recorded.stream.clone(), ExpectedVersion::NoStream, vec![event]));
        }
        let last = wanted.len() - 1;
        match change {
            Change::Nothing => {}
            Change::Data => wanted[last].2[0].data.push(b'!'),
            Change::EventType => wanted[0].2[0].event_type.push('!'),
            Change::Stream => wanted[last].0 = "Another-1".into(),
            Change::Order => wanted.reverse(),
            Change::OneNew => {
                wanted[last].2[0] = self.event(EventOp { bytes: 3, has_id: true });
            }
            Change::Repeated => {
                let twice = wanted[0].clone();
                wanted.push(twice);
            }
        }
        Some(wanted)
    }

    fn append(&mut self, wanted: Wanted, durably: bool) {
        if self.durability != Durability::Sync && !durably {
            // A commit without a thread is followed by a sync: this one is not.
            return self.group(vec![wanted]);
        }
        let expected = self.answer(&wanted, &self.model);
        let mut batch = self.store.batch();
        if durably {
            batch = batch.durability(Durability::Sync);
        }
        for (stream, expected, events) in wanted {
            batch = batch.append(stream, expected, events);
        }
        let answer = batch.commit();
        if durably && self.store.durable() < self.store.head() {
            // Nothing was written, and so nothing synced.
            self.store.sync().unwrap();
        }
        self.note(&answer, expected);
    }

    fn group(&mut self, group: Vec<Wanted>) {
        let part = |(stream, expected, events): &(String, ExpectedVersion, Vec<NewEvent>)| {
            let (stream, events) = (stream.clone(), events.clone());
            Part { stream, expected: *expected, events: events.into() }
        };
        let parts = group.iter().map(|wanted| wanted.iter().map(part).collect()).collect();
        let answers = self.store.commit_group(parts);
        for (wanted, answer) in group.iter().zip(answers) {
            let expected = self.answer(wanted, &self.model);
            self.note(&answer, expected);
        }
    }

    fn note(
        &mut self,
        answer: &Result<Vec<Appended>>,
        expected: Result<(Vec<Appended>, Option<Committed>)>,
    ) {
        let (expected, append) = match expected {
            Ok((expected, append)) => (Ok(expected), append),
            Err(e) => (Err(e), None),
        };
        assert_eq!(format!("{answer:?}"), format!("{expected:?}"));
        let Some(append) = append else { return };
        let first = self.model.len() + 1;
        for (position, recorded) in (first..).zip(&append.events) {
            if recorded.event.id.is_none() {
                let event = self.store.event(Position(position)).unwrap().unwrap();
                self.assigned.insert(position, event.id());
            }
        }
        self.model.push(append, self.durability == Durability::Sync);
        self.acknowledged = Position(self.model.len());
    }

    /// What an append has to answer, and the events that it adds.
    fn answer(&self, wanted: &Wanted, model: &Model) -> Result<(Vec<Appended>, Option<Committed>)> {
        let batch: Vec<_> =
            wanted.iter().map(|(stream, _, events)| (stream.clone(), events.clone())).collect();
        let (append, answer) = model.plan(&batch);
        if append.events.is_empty() {
            return Err(Error::EmptyAppend);
        }
        if let Some(answer) = self.retried(wanted, &append, model)? {
            return Ok((answer, None));
        }
        let mut versions = HashMap::new();
        for (stream, expected, events) in wanted {
            let version = versions.entry(stream).or_insert_with(|| model.version(stream));
            let actual = Version(*version);
            if !expected.accepts(actual) {
                let (stream, expected) = (stream.clone(), *expected);
                return Err(Error::Conflict(Conflict { stream, expected, actual }));
            }
            *version += events.len() as u64;
        }
        Ok((answer, Some(append)))
    }

    /// The answer to an append whose ids are in use, if any is.
    fn retried(
        &self,
        wanted: &Wanted,
        append: &Committed,
        model: &Model,
    ) -> Result<Option<Vec<Appended>>> {
        let refuse = |conflict| Err(Error::IdConflict(conflict));
        let mut seen = HashSet::new();
        let ids = append.events.iter().filter_map(|recorded| recorded.event.id);
        if let Some(id) = ids.clone().find(|id| !seen.insert(*id)) {
            return refuse(IdConflict::Repeated { id });
        }
        let mut holders = HashMap::new();
        for (position, recorded) in (1..).zip(model.events()) {
            let id = recorded.event.id.or_else(|| self.assigned.get(&position).copied());
            holders.extend(id.map(|id| (id, (Position(position), recorded))));
        }
        let mut first_present = None;
        for recorded in &append.events {
            // Where no id was given, there is nothing to compare; otherwise all have one.
            let Some(id) = recorded.event.id else { return Ok(None) };
            let Some((position, holder)) = holders.get(&id).copied() else { continue };
            first_present = first_present.or(Some((id, position)));
            if holder.stream != recorded.stream {
                let stream = holder.stream.clone();
                return refuse(IdConflict::OtherStream { id, stream, position });
            }
            let (old, new) = (&holder.event, &recorded.event);
            if old.event_type != new.event_type {
                let differs = "event type";
                return refuse(IdConflict::OtherContent { id, position, differs });
            }
            if old.data != new.data {
                return refuse(IdConflict::OtherContent { id, position, differs: "data" });
            }
        }
        let Some((present, position)) = first_present else { return Ok(None) };
        if let Some(absent) = ids.clone().find(|id| !holders.contains_key(id)) {
            return refuse(IdConflict::Partial { present, position, absent });
        }
        let mut next = HashMap::new();
        let mut events = append.events.iter();
        let mut answer = Vec::new();
        for (stream, _, part) in wanted {
            let mut last = None;
            for recorded in events.by_ref().take(part.len()) {
                let id = recorded.event.id.unwrap();
                let (position, holder) = holders[&id];
                if next.get(stream).is_some_and(|next| *next != holder.version) {
                    return refuse(IdConflict::Reordered { id, position });
                }
                next.insert(stream, holder.version + 1);
                let version = Version(holder.version);
                last = Some(Appended { version, position, deduplicated: true });
            }
            answer.extend(last);
        }
        Ok(Some(answer))
    }
}

fn event() -> impl Strategy<Value = EventOp> {
    let bytes = prop_oneof![20 => 0_u32..200, 3 => 4000_u32..12_000, 1 => 60_000_u32..70_000];
    (bytes, prop::bool::weighted(0.3)).prop_map(|(bytes, has_id)| EventOp { bytes, has_id })
}

fn part(events: std::ops::Range<usize>) -> impl Strategy<Value = PartOp> {
    let expected = prop_oneof![
        8 => Just(Expected::Any),
        1 => Just(Expected::NoStream),
        2 => Just(Expected::Exists),
        4 => Just(Expected::Version(0)),
        1 => (1_u8..3).prop_map(Expected::Version),
    ];
    (0_u8..6, expected, vec(event(), events)).prop_map(|(stream, expected, events)| PartOp {
        stream,
        expected,
        events,
    })
}

fn append() -> impl Strategy<Value = Vec<PartOp>> {
    prop_oneof![4 => vec(part(1..4), 1..2), 2 => vec(part(0..3), 1..5)]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => Just(Change::Nothing),
        1 => Just(Change::Data),
        1 => Just(Change::EventType),
        1 => Just(Change::Stream),
        1 => Just(Change::Order),
        1 => Just(Change::OneNew),
        1 => Just(Change::Repeated),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => append().prop_map(Op::Append),
        4 => vec(append(), 2..5).prop_map(Op::Group),
        6 => (any::<prop::sample::Index>(), change()).prop_map(|(i, c)| Op::Retry(i, c)),
        1 => append().prop_map(Op::Twice),
        1 => append().prop_map(Op::Durably),
        6 => (0_u8..7, 0_u8..20, 0_u8..9, any::<bool>()).prop_map(
            |(stream, after, limit, backwards)| Op::Read(ReadOp { stream, after, limit, backwards })
        ),
        1 => Just(Op::Check),
        1 => Just(Op::ReadOnly),
        2 => Just(Op::Sync),
        3 => Just(Op::KeepUp),
        2 => Just(Op::Reopen),
        2 => Just(Op::Kill),
        2 => any::<u64>().prop_map(Op::PowerCut),
    ]
}

/// Runs so many histories; the seed of the runner follows from the seed of all tests.
fn histories(durability: Durability, options: &StoreOptions, cases: usize) {
    let config = Config {
        cases: u32::try_from(cases).unwrap(),
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::try_from(seed() >> (at % 8 * 8) & 0xff).unwrap();
    }
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let ran = TestRunner::new_with_rng(config, rng).run(&vec(op(), 1..40), |ops| {
        World::new(options, durability, seed()).run(&ops);
        Ok(())
    });
    if let Err(e) = ran {
        panic!("seed {}, {durability:?}: {e}", seed());
    }
}

#[test]
fn a_random_history_is_what_the_model_says() {
    histories(Durability::Sync, &small(), scaled(300, 10_000));
    histories(Durability::Sync, &small().heads_kept(0), scaled(200, 10_000));
}

#[test]
fn a_random_history_in_a_weaker_mode_loses_only_a_suffix() {
    for (_, durability) in MODES.into_iter().skip(1) {
        histories(durability, &small(), scaled(200, 10_000));
    }
}

#[test]
fn a_random_history_with_colliding_hashes_is_what_the_model_says() {
    for bits in [1, 3] {
        histories(Durability::Sync, &small().hash_bits(bits), scaled(100, 5000));
    }
}
