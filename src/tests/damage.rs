//! Files that do not hold what was written to them: the same events, or an error that says so.

use std::collections::BTreeMap;

use super::history::{Act, Maker, Runner, filled};
use super::oracle::{Model, Recorded, assert_holds, check_disk, check_opened};
use super::{Random, Scene, open, open_read_only, scaled, seed, small};
use crate::format::files::{LogFile, parse_directory};
use crate::format::segment::HEADER_BYTES;
use crate::storage::memory::MemoryDisk;
use crate::{
    Durability, Error, Event, ExpectedVersion, NewEvent, Position, Result, Store, Version,
};

type Files = BTreeMap<String, Vec<u8>>;

/// A store that was left in good order or not, and is damaged in one way after the other.
struct Sweep {
    base: Files,
    model: Model,
    tally: Tally,
    random: Random,
}

#[derive(Debug, Default)]
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

/// What the damage may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allowed {
    /// Errors.
    Errors,
    /// Nothing that a user sees.
    Nothing,
    /// Errors, or the loss of everything from an event on.
    CutFrom(u64),
}

impl Sweep {
    fn new(disk: &MemoryDisk, model: Model) -> Self {
        let base = disk.crash_keeping_nothing().files();
        Self { base, model, tally: Tally::default(), random: Random(seed()) }
    }

    /// Looks at the store with other files.
    fn damaged(&mut self, files: &Files, allowed: Allowed, what: &dyn Fn() -> String) {
        let _scene = Scene(|| format!("seed {}, {}, {allowed:?}", seed(), what()));
        self.tally.damages += 1;
        let readable = self.read_only(&disk_of(files));
        let disk = disk_of(files);
        let store = match open(&disk, &small()) {
            Ok(store) => store,
            Err(e) => {
                assert_ne!(allowed, Allowed::Nothing, "{e}");
                assert_refusal(&e);
                let mut after = disk.files();
                if !files.contains_key("LOCK") {
                    after.remove("LOCK");
                }
                assert!(after == *files, "a refused opening changed a file");
                match readable {
                    true => self.tally.read_only += 1,
                    false => self.tally.closed += 1,
                }
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
            check_opened(&disk, &small(), &store, &mut model);
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
    fn read_only(&self, disk: &MemoryDisk) -> bool {
        let before = disk.files();
        let opened = open_read_only(disk, &small());
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
        assert!(disk.files() == before, "reading changed a file");
        opened.is_ok()
    }

    /// Flips one bit.
    fn flip(&mut self, name: &str, bit: usize, allowed: Allowed) {
        let mut files = self.base.clone();
        files.get_mut(name).unwrap()[bit / 8] ^= 1 << (bit % 8);
        self.damaged(&files, allowed, &|| format!("{name}: bit {} of byte {}", bit % 8, bit / 8));
    }

    /// Replaces the bytes of a file.
    fn replace(&mut self, name: &str, bytes: Vec<u8>, allowed: Allowed, what: &str) {
        let mut files = self.base.clone();
        let len = bytes.len();
        files.insert(name.into(), bytes);
        self.damaged(&files, allowed, &|| format!("{name}: {what}, {len} bytes"));
    }

    fn names(&self) -> Vec<String> {
        self.base.keys().cloned().collect()
    }

    fn report(&self, name: &str) {
        eprintln!("{name}: {:?}", self.tally);
    }
}

/// A disk with these files, all of them durable.
fn disk_of(files: &Files) -> MemoryDisk {
    let disk = MemoryDisk::simulated(seed() ^ 1);
    for (name, bytes) in files {
        disk.put(name, bytes);
    }
    disk
}

/// Damage to a file of this name costs nothing but reading the log again.
fn is_derived(name: &str) -> bool {
    let file = name.strip_prefix("log/").and_then(LogFile::parse);
    parse_directory(name).is_some() || file.is_some_and(|f| !matches!(f, LogFile::Segment { .. }))
}

fn allowed(name: &str) -> Allowed {
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

/// The end of what is used of a file.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// The bits of a file that say what the rest is, and some of the rest.
fn bits(name: &str, bytes: &[u8], random: &mut Random, sampled: usize) -> Vec<usize> {
    let (len, used) = (bytes.len(), used(bytes));
    let mut ranges = vec![0..64.min(len)];
    if name.ends_with(".seg") {
        let first_frame = HEADER_BYTES as usize;
        ranges.push(first_frame..first_frame + 60);
        ranges.push(used.saturating_sub(64)..used);
    } else {
        ranges.push(len.saturating_sub(64)..len);
    }
    let mut bits: Vec<usize> = ranges
        .into_iter()
        .filter(|range| range.end <= len)
        .flat_map(|range| range.start * 8..range.end * 8)
        .collect();
    if used > 0 {
        bits.extend((0..sampled).map(|_| random.below(used * 8)));
        bits.extend((0..sampled / 8).map(|_| random.below(len * 8)));
    }
    bits.sort_unstable();
    bits.dedup();
    bits
}

/// Lengths to which a file is cut.
fn lengths(bytes: &[u8], random: &mut Random, sampled: usize) -> Vec<usize> {
    let (len, used) = (bytes.len(), used(bytes));
    let header = HEADER_BYTES as usize;
    let mut lengths = vec![0, 1, 63, 64, header - 1, header, header + 1, header + 59, header + 60];
    lengths.extend([used.saturating_sub(1), used, used + 1, len.saturating_sub(1), len / 2]);
    lengths.extend((0..sampled).map(|_| random.below(len.max(1))));
    lengths.retain(|cut| *cut < len);
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

#[test]
fn a_flipped_bit_of_a_closed_store_costs_no_event_without_an_error() {
    let (disk, model) = filled(3, &small(), true);
    let mut sweep = Sweep::new(&disk, model);
    for name in sweep.names() {
        let sampled = scaled(60, 20_000);
        for bit in bits(&name, &sweep.base[&name], &mut sweep.random.clone(), sampled) {
            // One in four by default: neighbours mostly have the same fate.
            if bit % scaled(4, 1) == 0 {
                sweep.flip(&name, bit, allowed(&name));
            }
        }
    }
    sweep.report("flips, closed");
}

#[test]
fn a_flipped_bit_of_merged_index_files_costs_a_rebuild() {
    let (disk, model) = filled(10, &small(), true);
    let mut sweep = Sweep::new(&disk, model);
    let names = sweep.names();
    let is_merged = |name: &String| name.ends_with(".ids") || name.starts_with("directory");
    assert_eq!(names.iter().filter(|name| is_merged(name)).count(), 2, "{names:?}");
    for name in names.into_iter().filter(is_merged) {
        for bit in bits(&name, &sweep.base[&name], &mut sweep.random.clone(), scaled(20, 20_000)) {
            if bit % scaled(29, 1) == 0 {
                sweep.flip(&name, bit, Allowed::Nothing);
            }
        }
        for len in lengths(&sweep.base[&name], &mut sweep.random.clone(), scaled(2, 1000)) {
            let cut = sweep.base[&name][..len].to_vec();
            sweep.replace(&name, cut, Allowed::Nothing, "cut");
        }
        let mut without = sweep.base.clone();
        let bytes = without.remove(&name).unwrap();
        sweep.damaged(&without, Allowed::Nothing, &|| format!("{name} is missing"));
        for other in ["directory-0", "directory-4294967295", "log/0000000001-0000000009.ids"] {
            let mut renamed = without.clone();
            renamed.insert(other.into(), bytes.clone());
            sweep.damaged(&renamed, Allowed::Nothing, &|| format!("{name} is called {other}"));
        }
    }
    sweep.report("merged index files");
}

#[test]
fn a_cut_or_longer_file_costs_no_event_without_an_error() {
    let (disk, model) = filled(3, &small(), true);
    let mut sweep = Sweep::new(&disk, model);
    for name in sweep.names() {
        let bytes = sweep.base[&name].clone();
        for len in lengths(&bytes, &mut sweep.random.clone(), scaled(12, 5000)) {
            sweep.replace(&name, bytes[..len].to_vec(), allowed(&name), "cut");
            // As long as before, but empty from there on.
            for filler in [0, 0xff] {
                let mut filled = bytes[..len].to_vec();
                filled.resize(bytes.len(), filler);
                if filled != bytes {
                    sweep.replace(&name, filled, allowed(&name), "filled up");
                }
            }
        }
        for filler in [0, 0xff] {
            for more in [1, 512, 5000, 70_000] {
                let mut longer = bytes.clone();
                longer.resize(bytes.len() + more, filler);
                sweep.replace(&name, longer, allowed(&name), "longer");
            }
            sweep.replace(&name, vec![filler; bytes.len()], allowed(&name), "all one byte");
        }
    }
    sweep.report("cuts and tails");
}

#[test]
fn a_missing_or_misplaced_file_costs_no_event_without_an_error() {
    let (disk, model) = filled(3, &small(), true);
    let (other, _) = filled(3, &small().checkpoint_bytes(9 << 10), false);
    let mut sweep = Sweep::new(&disk, model);
    let foreign = other.files();
    for name in sweep.names() {
        let mut without = sweep.base.clone();
        let bytes = without.remove(&name).unwrap();
        sweep.damaged(&without, allowed(&name), &|| format!("{name} is missing"));
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        let others = [
            format!("{name}.tmp"),
            format!("{name}.old"),
            format!("log/0000000001.0.{extension}"),
            format!("log/0000000003.0.{extension}"),
            format!("log/0000000004.0.{extension}"),
            format!("log/4294967295.0.{extension}"),
            format!("log/0000000002.1.{extension}"),
            format!("log/0000000003.7.{extension}"),
        ];
        for other in others.into_iter().filter(|other| *other != name) {
            for mut files in [sweep.base.clone(), without.clone()] {
                // A segment that takes the place of a good one may do harm, whatever it was.
                let harm = if files.contains_key(&name) { allowed(&other) } else { allowed(&name) };
                let is_foreign = !is_derived(&name) && is_derived(&other);
                let harm = if is_foreign { allowed(&name) } else { harm };
                files.insert(other.clone(), bytes.clone());
                sweep.damaged(&files, harm, &|| format!("{name} is also, or only, {other}"));
            }
        }
        if let Some(bytes) = foreign.get(&name).filter(|bytes| **bytes != sweep.base[&name]) {
            sweep.replace(&name, bytes.clone(), allowed(&name), "of another store");
        }
    }
    let names = sweep.names();
    for (at, one) in names.iter().enumerate() {
        for two in &names[at + 1..] {
            let mut files = sweep.base.clone();
            files.insert(one.clone(), sweep.base[two].clone());
            files.insert(two.clone(), sweep.base[one].clone());
            let harm =
                if is_derived(one) && is_derived(two) { Allowed::Nothing } else { Allowed::Errors };
            sweep.damaged(&files, harm, &|| format!("{one} and {two} are swapped"));
        }
    }
    sweep.report("missing and misplaced");
}

#[test]
fn a_flipped_bit_of_a_killed_store_cuts_at_most_the_last_group() {
    let (base, model) = filled(2, &small(), false);
    let mut runner = Runner::new(&base, &small(), Durability::Sync, model);
    let mut maker = Maker::new(seed() + 20, 6);
    let acts: Vec<Act> = (0..6).map(|n| Act::Append(maker.one(1 + n % 2, 90))).collect();
    assert!(runner.run(&acts).is_none());
    let store = runner.store.clone().unwrap();
    let active = store.catalog().log.segments().last().cloned().unwrap();
    let (kept, before, name) = (runner.model.len(), active.written(), active.file().path());
    runner.act(&Act::Append(maker.batch(2, 200))).unwrap();
    let last_group = before as usize..active.written() as usize;
    let mut sweep = Sweep::new(&base, runner.model.clone());
    let mut random = sweep.random.clone();
    let mut bits = bits(&name, &sweep.base[&name], &mut random, scaled(400, 50_000));
    bits.extend((last_group.start * 8..last_group.end * 8).step_by(scaled(9, 1)));
    for bit in bits {
        let in_last = last_group.contains(&(bit / 8));
        let allowed = if in_last { Allowed::CutFrom(kept) } else { Allowed::Errors };
        if bit % scaled(2, 1) == 0 || in_last {
            sweep.flip(&name, bit, allowed);
        }
    }
    for name in sweep.names().into_iter().filter(|other| is_derived(other)) {
        let bytes = sweep.base[&name].clone();
        for len in lengths(&bytes, &mut sweep.random.clone(), 4) {
            sweep.replace(&name, bytes[..len].to_vec(), Allowed::Nothing, "cut");
        }
    }
    sweep.report("flips, killed");
    assert!(sweep.tally.cut > 0, "no flip in the last group cut it");
    check_disk(&disk_of(&sweep.base), &small(), &mut sweep.model);
}
