//! One damaged store after the other, and what may become of each.

use std::collections::BTreeMap;

use crate::format::files::{LogFile, parse_directory};
use crate::storage::memory::MemoryDisk;
use crate::tests::oracle::{Care, Model, Recorded, assert_holds, check_opened};
use crate::tests::{Scene, open, open_read_only, seed, small};
use crate::{Error, Event, ExpectedVersion, NewEvent, Position, Result, Store, Version};

pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// A store that was left in good order or not, and is damaged in one way after the other.
pub(super) struct Sweep {
    pub(super) base: Files,
    /// The same as a disk, from which damaged ones are cheap copies.
    disk: MemoryDisk,
    pub(super) model: Model,
    tally: Tally,
    /// What came of it, by what was damaged.
    tallies: BTreeMap<String, Tally>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Ways in which the store was damaged.
    damages: usize,
    /// The store does not open, not even for reading.
    closed: usize,
    /// It opens for reading only.
    read_only: usize,
    /// It opens, and some reads fail.
    failing: usize,
    /// Everything is there.
    whole: usize,
    /// The last group is cut off.
    cut: usize,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.damages += other.damages;
        self.closed += other.closed;
        self.read_only += other.read_only;
        self.failing += other.failing;
        self.whole += other.whole;
        self.cut += other.cut;
    }
}

/// What the damage may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// Errors.
    Errors,
    /// Nothing that a user sees.
    Nothing,
    /// Errors, or the loss of everything from an event on.
    CutFrom(u64),
}

impl Sweep {
    pub(super) fn new(disk: &MemoryDisk, model: Model) -> Self {
        let base = disk.crash_keeping_nothing().files();
        let disk = disk_of(&base);
        Self { base, disk, model, tally: Tally::default(), tallies: BTreeMap::new() }
    }

    /// Looks at the store with other files.
    pub(super) fn damaged(&mut self, files: &Files, allowed: Allowed, what: &dyn Fn() -> String) {
        self.look_at(&disk_of(files), allowed, what);
    }

    fn look_at(&mut self, damaged: &MemoryDisk, allowed: Allowed, what: &dyn Fn() -> String) {
        let _scene = Scene(|| format!("seed {}, {}, {allowed:?}", seed(), what()));
        self.tally.damages += 1;
        let readable = self.read_only(damaged);
        let disk = damaged.crash_keeping_everything();
        let store = match open(&disk, &small()) {
            Ok(store) => store,
            Err(e) => {
                assert_ne!(allowed, Allowed::Nothing, "{e}");
                assert_refusal(&e);
                assert!(are_same(&disk, damaged), "a refused opening changed a file");
                self.tally.read_only += usize::from(readable);
                self.tally.closed += usize::from(!readable);
                return;
            }
        };
        let mut model = self.model.clone();
        if let Allowed::CutFrom(kept) = allowed
            && store.head().0 < model.len()
        {
            assert_eq!(store.head().0, kept, "more is cut than the last group");
            model.forget_behind(Position(kept));
            self.tally.cut += 1;
        }
        if allowed == Allowed::Nothing {
            model.settle(store.head());
            check_opened(&disk, &small(), &store, &mut model, Care::Full);
            self.tally.whole += 1;
            return;
        }
        let errors = read_everything(&store, &model) + append(&store, &mut model);
        match errors {
            0 => self.tally.whole += 1,
            _ => self.tally.failing += 1,
        }
        // Whatever was done about it by then: nothing has gone.
        drop(store);
        match open(&disk, &small()) {
            Ok(store) => drop(read_everything(&store, &model)),
            Err(e) => assert_refusal(&e),
        }
    }

    /// What is good can be read, or not even that. Nothing changes.
    fn read_only(&self, damaged: &MemoryDisk) -> bool {
        let disk = damaged.crash_keeping_everything();
        let opened = open_read_only(&disk, &small());
        match &opened {
            Ok(store) => {
                for (event, recorded) in store.read_all().into_iter().zip(self.model.events()) {
                    match event {
                        Ok(event) => assert_holds(&event, recorded),
                        Err(e) => assert!(e.is_corruption(), "{e:?}"),
                    }
                }
            }
            Err(e) => assert_refusal(e),
        }
        assert!(are_same(&disk, damaged), "reading changed a file");
        opened.is_ok()
    }

    /// Flips one bit.
    pub(super) fn flip(&mut self, name: &str, bit: usize, allowed: Allowed) {
        let disk = self.disk.crash_keeping_everything();
        disk.corrupt(name, bit / 8, 1 << (bit % 8));
        self.look_at(&disk, allowed, &|| format!("{name}: bit {} of byte {}", bit % 8, bit / 8));
    }

    /// Replaces the bytes of a file.
    pub(super) fn replace(&mut self, name: &str, bytes: Vec<u8>, allowed: Allowed, what: &str) {
        let mut files = self.base.clone();
        let len = bytes.len();
        files.insert(name.into(), bytes);
        self.damaged(&files, allowed, &|| format!("{name}: {what}, {len} bytes"));
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.base.keys().cloned().collect()
    }

    /// How many of the damaged stores did not open for writing.
    pub(super) const fn refused(&self) -> usize {
        self.tally.closed + self.tally.read_only
    }

    /// Counts what was done since the last time under a name.
    pub(super) fn count_as(&mut self, name: &str) {
        let tally = std::mem::take(&mut self.tally);
        self.tallies.entry(name.into()).or_default().add(&tally);
    }

    /// Prints what came of everything; returns how often the last group was cut off.
    pub(super) fn report(mut self, what: &str) -> usize {
        self.count_as("the rest");
        let mut all = Tally::default();
        for (name, tally) in &self.tallies {
            eprintln!("{what}, {name}: {tally:?}");
            all.add(tally);
        }
        eprintln!("{what}, all: {all:?}");
        all.cut
    }
}

/// Whether a disk has the files that it had, but for the lock, which may be new.
fn are_same(disk: &MemoryDisk, before: &MemoryDisk) -> bool {
    if disk.digest() == before.digest() {
        return true;
    }
    let (mut disk, before) = (disk.files(), before.files());
    if !before.contains_key("LOCK") {
        disk.remove("LOCK");
    }
    disk == before
}

/// A disk with these files, all of them durable.
pub(super) fn disk_of(files: &Files) -> MemoryDisk {
    let disk = MemoryDisk::simulated(seed() ^ 1);
    for (name, bytes) in files {
        disk.put(name, bytes);
    }
    disk
}

/// Damage to a file of this name costs nothing but reading the log again.
pub(super) fn is_derived(name: &str) -> bool {
    let file = name.strip_prefix("log/").and_then(LogFile::parse);
    parse_directory(name).is_some() || file.is_some_and(|f| !matches!(f, LogFile::Segment { .. }))
}

pub(super) fn allowed(name: &str) -> Allowed {
    if is_derived(name) || name == "LOCK" { Allowed::Nothing } else { Allowed::Errors }
}

fn assert_refusal(e: &Error) {
    let is_typed = matches!(
        e,
        Error::Corrupt { .. } | Error::NotAStore { .. } | Error::UnsupportedFormat { .. }
    );
    assert!(is_typed, "{e:?}");
}

/// Asks in every way for what has to be there. Whatever is not given is an error that says so;
/// returns how many of those there were.
fn read_everything(store: &Store, model: &Model) -> usize {
    let recorded: Vec<&Recorded> = model.events().collect();
    let mut errors = sequence(store.read_all(), recorded.iter().copied());
    errors += sequence(store.read_all().backwards(), recorded.iter().rev().copied());
    let mut streams: BTreeMap<&str, Vec<&Recorded>> = BTreeMap::new();
    for event in &recorded {
        streams.entry(&event.stream).or_default().push(event);
    }
    for (stream, events) in &streams {
        errors += sequence(store.read_stream(stream), events.iter().copied());
        errors += sequence(store.read_stream(stream).backwards(), events.iter().rev().copied());
        errors += match store.stream(stream) {
            Ok(info) => {
                assert_eq!(info.map(|info| info.version.0), Some(events.len() as u64), "{stream}");
                0
            }
            Err(e) => corruption(&e),
        };
    }
    for (position, event) in (1..).zip(&recorded) {
        errors += one(store.event(Position(position)), event);
        if let Some(id) = event.event.id {
            errors += one(store.event_by_id(id), event);
        }
    }
    errors
}

fn sequence<'a>(
    read: impl IntoIterator<Item = Result<Event>>,
    recorded: impl ExactSizeIterator<Item = &'a Recorded>,
) -> usize {
    let mut read = read.into_iter();
    for recorded in recorded {
        match read.next().expect("a read that ends early says why") {
            Ok(event) => assert_holds(&event, recorded),
            Err(e) => return corruption(&e),
        }
    }
    match read.next() {
        None => 0,
        Some(Err(e)) => corruption(&e),
        Some(Ok(event)) => panic!("{event:?} was never appended"),
    }
}

fn one(read: Result<Option<Event>>, recorded: &Recorded) -> usize {
    match read {
        Ok(event) => {
            assert_holds(&event.expect("an event that is not given is an error"), recorded);
            0
        }
        Err(e) => corruption(&e),
    }
}

fn corruption(e: &Error) -> usize {
    assert!(e.is_corruption(), "{e:?}");
    1
}

/// Appends behind what is there: an append whose checks need what cannot be read is not written,
/// and none is refused as a conflict or accepted where it should not be.
fn append(store: &Store, model: &mut Model) -> usize {
    let mut errors = 0;
    let streams: Vec<String> = model.events().map(|event| event.stream.clone()).collect();
    for stream in streams.into_iter().step_by(7) {
        let version = Version(model.version(&stream));
        let batch = [(stream.clone(), vec![NewEvent::new("Behind", version.to_string())])];
        let (append, expected) = model.plan(&batch);
        let [(_, events)] = batch;
        match store.append(&stream, ExpectedVersion::Exact(version), events) {
            Ok(done) => {
                assert_eq!(Some(&done), expected.first());
                model.push(append, true);
            }
            Err(e) => {
                assert!(matches!(e, Error::NotWritten { .. }), "{e:?}");
                errors += corruption(&e);
            }
        }
    }
    // An append that was made is made again: it is known, or that cannot be said.
    let known = model.appends().iter().filter_map(|append| match append.events.as_slice() {
        [only] if only.event.id.is_some() => Some(only.clone()),
        _ => None,
    });
    for Recorded { stream, event, .. } in known.collect::<Vec<_>>() {
        match store.append(stream, ExpectedVersion::NoStream, [event]) {
            Ok(done) => assert!(done.deduplicated, "stored twice"),
            Err(e) => errors += corruption(&e),
        }
    }
    errors
}
