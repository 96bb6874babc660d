//! One verdict: opening, reading, verify and repair say the same of every damaged store.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use annals::maintain::{self, RepairReport, Severity, VerifyReport};
use annals::{Durability, Event, ExpectedVersion, NewEvent, Position, Store, StoreOptions};

use crate::support::{Place, contents, copy_tree, id, log_paths};

fn options() -> StoreOptions {
    Store::options()
        .segment_bytes(64 << 10)
        .checkpoint_bytes(24 << 10)
        .upkeep_thread(false)
        .durability(Durability::Os)
}

fn event(n: u64, bytes: usize) -> NewEvent {
    let event = NewEvent::new("Counted", format!("{n} {}", "x".repeat(bytes))).tag("a:1");
    // Every third one has the id that the store assigns.
    if n.is_multiple_of(3) { event } else { event.id(id(n)) }
}

/// Appends so many events: lone ones, and batches of two streams.
fn fill(store: &Store, from: u64, events: u64, bytes: usize) {
    let mut n = from;
    while n < from + events {
        if n.is_multiple_of(7) && n + 3 <= from + events {
            let [a, b, c] = [n, n + 1, n + 2].map(|n| event(n, bytes));
            let batch = store.batch().append("Pair-a", ExpectedVersion::Any, [a]);
            batch.append("Pair-b", ExpectedVersion::Any, [b, c]).commit().unwrap();
            n += 3;
        } else {
            let stream = format!("Stream-{}", n % 11);
            store.append(stream, ExpectedVersion::Any, [event(n, bytes)]).unwrap();
            n += 1;
        }
    }
}

/// Whether a segment has a first frame. One byte of a checksum may well be 0.
fn is_used(segment: &Path) -> bool {
    fs::read(segment).unwrap()[4096..4100] != [0; 4]
}

/// Every event of a whole store.
fn truth(path: &Path) -> Vec<Event> {
    let store = options().open_read_only(path).unwrap();
    store.read_all().into_iter().map(Result::unwrap).collect()
}

/// What reading a store shows, read in every way.
struct Reading {
    /// Something failed: opening, or a read.
    failed: bool,
    /// The positions that can be read, each by itself.
    positions: BTreeSet<u64>,
}

fn read(path: &Path, truth: &[Event]) -> Reading {
    let mut positions = BTreeSet::new();
    let Ok(store) = options().open_read_only(path) else {
        return Reading { failed: true, positions };
    };
    let mut failed = false;
    for event in store.read_all() {
        match event {
            Ok(event) => _ = positions.insert(event.position().0),
            Err(_) => failed = true,
        }
    }
    let streams: BTreeSet<&str> = truth.iter().map(Event::stream).collect();
    for stream in streams {
        failed |= store.read_stream(stream).into_iter().any(|event| event.is_err());
    }
    if failed {
        for position in 1..=store.head().0 {
            let one = store.read_all().after(Position(position - 1)).limit(1);
            if let Some(Ok(event)) = one.into_iter().next() {
                positions.insert(event.position().0);
            }
        }
    }
    Reading { failed, positions }
}

fn same(a: &Event, b: &Event) -> bool {
    (a.stream(), a.event_type(), a.id(), a.data()) == (b.stream(), b.event_type(), b.id(), b.data())
        && (a.created_at(), a.content_type()) == (b.created_at(), b.content_type())
        && a.tags().eq(b.tags())
}

/// Repairs a store, and checks that the new one is what the report says.
fn check_repair(path: &Path, to: &Path, truth: &[Event], what: &str) -> RepairReport {
    let mut before = maintain::repair(path, to).dry_run(true).run().unwrap();
    assert!(!to.exists(), "{what}: a dry run writes nothing");
    let after = maintain::repair(path, to).segment_bytes(64 << 10).run().unwrap();
    assert!(before.dry_run && !after.dry_run, "{what}");
    before.dry_run = false;
    assert_eq!(before, after, "{what}: before and after");
    let repaired = options().open_read_only(to).unwrap();
    assert!(repaired.recovery().clean, "{what}");
    let events: Vec<Event> = repaired.read_all().into_iter().map(Result::unwrap).collect();
    assert_eq!(events.len() as u64, after.events, "{what}");
    let mut next = 0;
    for old in truth {
        let moved = after.new_position(old.position());
        let is_lost = after.lost.iter().any(|lost| {
            lost.first <= old.position() && lost.last.is_none_or(|last| old.position() <= last)
        });
        let is_torn = after.torn_bytes > 0 && moved.is_none();
        assert!(moved.is_some() != is_lost || is_torn, "{what}: {} {after:?}", old.position());
        if let Some(moved) = moved {
            let new = &events[next];
            assert_eq!(moved, new.position(), "{what}");
            assert!(same(old, new), "{what}: {old:?} became {new:?}");
            let found = repaired.event_by_id(old.id()).unwrap().unwrap();
            assert_eq!(found.position(), moved, "{what}: ids lead to the new places");
            next += 1;
        }
    }
    assert_eq!(next, events.len(), "{what}: nothing but what was there");
    let verified = maintain::verify(to).run().unwrap();
    assert!(verified.is_clean(), "{what}: {:?}", verified.findings);
    assert_eq!(verified.events, after.events, "{what}");
    fs::remove_dir_all(to).unwrap();
    after
}

/// Asserts that all agree about a store; says what verify found.
fn agree(path: &Path, truth: &[Event], what: &str) -> Option<VerifyReport> {
    let before = contents(path);
    let to = path.with_extension("repaired");
    let reading = read(path, truth);
    let report = match maintain::verify(path).run() {
        Ok(report) => report,
        Err(e) => {
            assert!(reading.failed, "{what}: verify says {e}, and reading says nothing");
            assert!(maintain::repair(path, &to).run().is_err(), "{what}");
            return None;
        }
    };
    if options().open_read_only(path).is_ok() {
        // Where the log is whole, what would be done says it all.
        let repaired = if report.findings.iter().all(|f| f.severity == Severity::Derived)
            && !report.findings.is_empty()
        {
            maintain::repair(path, &to).dry_run(true).run().unwrap()
        } else {
            check_repair(path, &to, truth, what)
        };
        assert_eq!(repaired.events, report.events, "{what}: verify and repair count alike");
        for position in &reading.positions {
            let kept = repaired.new_position(Position(*position));
            assert!(kept.is_some(), "{what}: {position} can be read and was not kept");
        }
        assert_eq!(repaired.is_complete(), repaired.lost.is_empty(), "{what}");
        assert!(repaired.lost.is_empty() || report.has_log_damage(), "{what}: lost in silence");
    } else {
        assert!(report.has_log_damage(), "{what}");
    }
    assert!(contents(path) == before, "{what}: looking changed a file");
    // Last, because opening for writing may change files.
    let refused = options().open(path).err();
    let failed = reading.failed || refused.is_some();
    assert_eq!(
        report.has_log_damage(),
        failed,
        "{what}: {:?}, reading failed: {}, refused: {refused:?}",
        report.findings,
        reading.failed,
    );
    Some(report)
}

/// Damages a store in each of some ways, one at a time, and asks everybody.
fn sweep(
    good: &Path,
    damage: impl Fn(&Path, &[u8]) -> Vec<(String, Option<Vec<u8>>)>,
) -> Vec<(PathBuf, Severity)> {
    let truth = truth(good);
    let mut found = Vec::new();
    let mut count = 0;
    let files: Vec<PathBuf> = contents(good)
        .into_keys()
        .filter(|path| path.is_file() && !path.ends_with("LOCK"))
        .collect();
    for file in files {
        let name = file.strip_prefix(good).unwrap();
        for (what, damaged) in damage(name, &fs::read(&file).unwrap()) {
            let copy = good.with_extension("copy");
            copy_tree(good, &copy);
            match damaged {
                Some(bytes) => fs::write(copy.join(name), bytes).unwrap(),
                None => fs::remove_file(copy.join(name)).unwrap(),
            }
            let what = format!("{}: {what}", name.display());
            if let Some(report) = agree(&copy, &truth, &what) {
                let worst = report.findings.iter().map(|finding| finding.severity).max();
                let is_derived =
                    name.extension().is_none_or(|end| end != "seg") && !name.ends_with("STORE");
                assert!(!is_derived || worst != Some(Severity::Log), "{what}: {report:?}");
                found.extend(worst.map(|worst| (name.to_owned(), worst)));
            }
            fs::remove_dir_all(&copy).unwrap();
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
    let of = |severity| found.iter().filter(|(_, worst)| *worst == severity).count();
    #[allow(clippy::print_stderr, reason = "a sweep says how far it went")]
    {
        eprintln!(
            "{count} damaged stores: {} log, {} derived, {} torn",
            of(Severity::Log),
            of(Severity::Derived),
            of(Severity::TornTail)
        );
    }
    found
}

fn flipped(bytes: &[u8], at: usize) -> (String, Option<Vec<u8>>) {
    let mut damaged = bytes.to_vec();
    damaged[at] ^= 1 << (at % 8);
    (format!("bit {} of byte {at}", at % 8), Some(damaged))
}

fn step(long: usize, short: usize) -> usize {
    if std::env::var_os("ANNALS_LONG").is_some() { long } else { short }
}

/// A store with every kind of file, closed in good order.
fn with_all_files(path: &Path) {
    let store = options().open(path).unwrap();
    fill(&store, 0, 900, 700);
    store.close().unwrap();
    for end in [".idx", ".part", ".ids"] {
        assert!(!log_paths(path, end).is_empty(), "no {end}");
    }
    assert!(path.join("directory-1").exists());
}

#[test]
fn a_whole_store_is_clean_for_all() {
    let place = Place::new();
    with_all_files(&place.path());
    let truth = truth(&place.path());
    let report = agree(&place.path(), &truth, "untouched").unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!((report.events, report.last_position), (900, Position(900)));
    assert_eq!(report.streams, 13);
    let derived = [".idx", ".part", ".ids"].map(|end| log_paths(&place.path(), end).len() as u64);
    assert_eq!(report.index_files, derived.iter().sum::<u64>() + 1);
    assert!(!report.uncompared);
}

#[test]
fn all_agree_about_flipped_bits() {
    let place = Place::new();
    with_all_files(&place.path());
    let found = sweep(&place.path(), |name, bytes| {
        let sparse = step(997, 31_013);
        let tail = bytes.len().saturating_sub(60)..bytes.len();
        let heads = (0..64).step_by(11).chain((4096..4300).step_by(step(5, 61)));
        let is_first = name.to_str().unwrap().contains("0000000001") || !name.starts_with("log");
        heads
            .filter(|_| is_first)
            .chain((17..bytes.len()).step_by(sparse))
            .chain(tail.step_by(29).filter(|_| name.extension().is_none_or(|end| end != "seg")))
            .filter(|at| *at < bytes.len())
            .map(|at| flipped(bytes, at))
            .collect()
    });
    for worst in [Severity::Log, Severity::Derived] {
        assert!(found.iter().any(|(_, severity)| *severity == worst), "{worst}");
    }
}

#[test]
fn all_agree_about_cut_overwritten_and_missing_files() {
    let place = Place::new();
    with_all_files(&place.path());
    sweep(&place.path(), |name, bytes| {
        let len = bytes.len();
        let cuts = if name.ends_with("0000000002.0.seg") {
            vec![0, 64, 4156, len / 2]
        } else {
            vec![len / 2]
        };
        let cuts =
            cuts.into_iter().map(|cut| (format!("cut to {cut}"), Some(bytes[..cut].to_vec())));
        let fill = |fill: u8| {
            let mut damaged = bytes.to_vec();
            damaged[len / 3..len / 3 + len / 8].fill(fill);
            (format!("{fill:#x} in the middle"), Some(damaged))
        };
        cuts.chain([fill(0), fill(0xff), ("removed".into(), None)]).collect()
    });
}

/// The control frames are the ones that no look-up needs.
#[test]
fn all_agree_about_seals_begin_frames_and_watermarks() {
    let place = Place::new();
    let path = place.path();
    let store = options().open(&path).unwrap();
    fill(&store, 0, 250, 700);
    store.close().unwrap();
    let store = options().open(&path).unwrap();
    fill(&store, 250, 20, 700);
    store.close().unwrap();
    let truth = truth(&path);
    let mut count = 0;
    for file in log_paths(&path, ".seg") {
        let bytes = fs::read(&file).unwrap();
        let name = file.strip_prefix(&path).unwrap();
        for at in (4096..bytes.len() - 60).step_by(4) {
            let kind = bytes.get(at + 15).copied().unwrap_or(0);
            let len = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) & !3;
            let is_control = matches!((kind, len), (0x81 | 0x84, 60) | (0xc1, 28));
            if !is_control {
                continue;
            }
            for inside in [0, 15, 20, len as usize - 1] {
                let copy = path.with_extension("copy");
                copy_tree(&path, &copy);
                fs::write(copy.join(name), flipped(&bytes, at + inside).1.unwrap()).unwrap();
                let what = format!("{}: kind {kind:#x} at {at}, byte {inside}", name.display());
                let report = agree(&copy, &truth, &what).unwrap();
                assert!(report.has_log_damage(), "{what}");
                fs::remove_dir_all(&copy).unwrap();
                count += 1;
            }
        }
    }
    // A begin frame for each segment, seals, and two watermarks at least.
    assert!(count >= 4 * 9, "{count}");
}

#[test]
fn all_agree_about_a_store_that_was_killed() {
    let place = Place::new();
    let store = options().open(place.path()).unwrap();
    fill(&store, 0, 180, 700);
    let killed = place.killed("killed");
    drop(store);
    let found = sweep(&killed, |name, bytes| {
        if name.extension().is_none_or(|end| end != "seg") {
            return Vec::new();
        }
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        let last = (used.saturating_sub(900)..used).step_by(step(7, 90));
        let spread = (64..used).step_by(step(499, 9_001));
        let mut damaged: Vec<_> = last.chain(spread).map(|at| flipped(bytes, at)).collect();
        let mut torn = bytes.to_vec();
        if used > 5_000 {
            torn[used - 300..].fill(0);
            damaged.push(("a torn end".into(), Some(torn)));
        }
        damaged
    });
    for worst in [Severity::Log, Severity::TornTail] {
        assert!(found.iter().any(|(_, severity)| *severity == worst), "{worst}");
    }
}

#[test]
fn all_agree_about_swapped_and_foreign_files() {
    let place = Place::new();
    let (good, other) = (place.path(), place.other("other"));
    with_all_files(&good);
    with_all_files(&other);
    let truth = truth(&good);
    let segments = log_paths(&good, ".seg");
    let copy = place.other("copy");
    let check = |from: &Path, over: &Path, what: &str| {
        copy_tree(&good, &copy);
        let over = copy.join(over.strip_prefix(&good).unwrap());
        fs::copy(from, &over).unwrap();
        agree(&copy, &truth, what);
        fs::remove_dir_all(&copy).unwrap();
    };
    check(&segments[0], &segments[1], "the first segment again as the second");
    check(&segments[2], &segments[1], "the third segment as the second");
    check(segments.last().unwrap(), &segments[0], "the last segment as the first");
    for end in [".seg", ".idx", ".part", ".ids"] {
        let mine = log_paths(&good, end);
        for (from, over) in [log_paths(&other, end).first(), log_paths(&other, end).last()]
            .into_iter()
            .flatten()
            .zip([&mine[0], &mine[mine.len() - 1]])
        {
            check(from, over, &format!("the {end} of another store"));
        }
    }
    check(&other.join("directory-1"), &good.join("directory-1"), "the directory of another store");
    check(&other.join("STORE"), &good.join("STORE"), "the name of another store");
}

/// The salt of a segment is known from elsewhere, and its frames verify with it.
#[test]
fn a_damaged_header_or_first_frame_costs_no_event() {
    let place = Place::new();
    let path = place.path();
    with_all_files(&path);
    let truth = truth(&path);
    let segments = log_paths(&path, ".seg");
    let used = segments.iter().filter(|file| is_used(file)).count();
    for file in [&segments[0], &segments[4], &segments[used - 1]] {
        let good = fs::read(file).unwrap();
        for at in [0, 10, 20, 33, 47, 49, 57, 60, 4096, 4100, 4111, 4116, 4124, 4140, 4155] {
            fs::write(file, flipped(&good, at).1.unwrap()).unwrap();
            let what = format!("{}: byte {at}", file.display());
            let report = check_repair(&path, &place.other("new"), &truth, &what);
            assert!(report.is_complete(), "{what}: {report:?}");
            assert_eq!(report.kept.len(), 1, "{what}: nothing has moved");
            assert!(maintain::verify(&path).run().unwrap().has_log_damage(), "{what}");
        }
        fs::write(file, good).unwrap();
    }
}

#[test]
fn what_is_lost_is_named_exactly() {
    let place = Place::new();
    let path = place.path();
    with_all_files(&path);
    let truth = truth(&path);
    let segments = log_paths(&path, ".seg");
    let used = segments.iter().filter(|file| is_used(file)).count();
    let base = |n: usize| {
        let bytes = fs::read(&segments[n]).unwrap();
        u64::from_le_bytes(bytes[4124..4132].try_into().unwrap())
    };
    let lost = |report: &RepairReport| -> Vec<(u64, Option<u64>)> {
        report.lost.iter().map(|lost| (lost.first.0, lost.last.map(|last| last.0))).collect()
    };
    // A segment in the middle, and the last one: index files say how many events there were.
    for (gone, range) in [(3, base(3)..base(4)), (used - 1, base(used - 1)..901)] {
        let good = fs::read(&segments[gone]).unwrap();
        fs::remove_file(&segments[gone]).unwrap();
        let report = check_repair(&path, &place.other("new"), &truth, "a segment is gone");
        assert_eq!(lost(&report), [(range.start, Some(range.end - 1))]);
        assert_eq!(report.events, 900 - (range.end - range.start));
        fs::write(&segments[gone], good).unwrap();
    }
    // One event of a batch: the others of the batch stay, and its stream has moved.
    let needle = format!("{} x", 7 * 30);
    let event = &truth[7 * 30];
    assert!(event.data().starts_with(needle.as_bytes()));
    let (file, at) = segments
        .iter()
        .find_map(|file| {
            let bytes = fs::read(file).unwrap();
            let at = bytes.windows(needle.len()).position(|found| found == needle.as_bytes())?;
            Some((file, at))
        })
        .unwrap();
    let good = fs::read(file).unwrap();
    fs::write(file, flipped(&good, at + 40).1.unwrap()).unwrap();
    let report = check_repair(&path, &place.other("new"), &truth, "one event of a batch");
    let position = event.position().0;
    assert_eq!(lost(&report), [(position, Some(position))]);
    assert_eq!(report.events, 899);
    let [gap] = &report.streams[..] else { panic!("{:?}", report.streams) };
    assert_eq!(
        (gap.stream.as_str(), gap.first, gap.last),
        (event.stream(), event.version(), event.version())
    );
    assert_eq!(gap.new_version, event.version());
    // All of the second half of the last segment: nothing but the index checkpoint says how many.
    fs::write(file, good).unwrap();
    let last = &segments[used - 1];
    let good = fs::read(last).unwrap();
    let used = good.iter().rposition(|byte| *byte != 0).unwrap();
    let mut bytes = good.clone();
    bytes[4096 + (used - 4096) / 2..].fill(0xff);
    fs::write(last, &bytes).unwrap();
    let report = check_repair(&path, &place.other("new"), &truth, "half of the last segment");
    assert_eq!(lost(&report), [(report.events + 1, None)]);
    fs::write(last, good).unwrap();
}
