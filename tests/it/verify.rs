//! Verify, in what damaged files do not show: beside a writer, with hashes that collide, and on
//! files whose checksums are right and whose content is wrong.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use annals::maintain::{self, Severity, VerifyReport};
use annals::{Durability, ExpectedVersion, NewEvent, Position, Store};

use crate::support::{Place, SMALL, id, log_paths, numbered, sized, small_segments};

fn run(path: &Path) -> VerifyReport {
    maintain::verify(path).run().unwrap()
}

#[test]
fn a_store_is_clean_beside_its_writer_and_from_its_own_handle() {
    let place = Place::new();
    let store = small_segments().checkpoint_bytes(16 << 10).open(place.path()).unwrap();
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..3_u64 {
            let (store, is_done) = (&store, &is_done);
            scope.spawn(move || {
                for n in 0.. {
                    if is_done.load(Ordering::Relaxed) {
                        break;
                    }
                    let event = sized(600).id(id(n * 3 + writer + 1));
                    store.append(format!("A-{}", n % 20), ExpectedVersion::Any, [event]).unwrap();
                }
            });
        }
        let mut last = Position(0);
        while last < Position(1_500) {
            let mut seen = 0;
            let own = store.verify().progress(|done, total| seen = done.min(total)).run().unwrap();
            let beside = run(&place.path());
            for report in [&own, &beside] {
                assert!(report.findings.is_empty(), "{:?}", report.findings);
                assert_eq!(report.events, report.last_position.0);
            }
            assert!(seen > 0);
            assert!(own.last_position >= last, "what was seen stays");
            last = own.last_position;
        }
        is_done.store(true, Ordering::Relaxed);
    });
    // Everything that is visible is looked at, also what a reader beside would not see yet.
    assert_eq!(store.verify().run().unwrap().last_position, store.head());
    store.close().unwrap();
    let closed = run(&place.path());
    assert!(closed.findings.is_empty() && closed.index_files > 10, "{closed:?}");
    let reader = Store::open_read_only(place.path()).unwrap();
    assert_eq!(reader.verify().run().unwrap().events, closed.events);
}

#[test]
fn hashes_that_collide_are_no_damage() {
    for bits in [1, 8] {
        let place = Place::new();
        let options = small_segments().hash_bits(bits).upkeep_thread(false);
        let store = options.open(place.path()).unwrap();
        for n in 0..1_500 {
            let event = sized(400).id(id(n + 1));
            store.append(format!("A-{}", n % 37), ExpectedVersion::Any, [event]).unwrap();
        }
        store.close().unwrap();
        let report = maintain::verify(place.path()).hash_bits(bits).run().unwrap();
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        assert_eq!((report.events, report.streams), (1_500, 37));
        assert!(place.path().join("directory-1").exists(), "something was folded");
    }
}

#[test]
fn stores_in_memory_and_empty_ones_are_clean() {
    let store = Store::in_memory().unwrap();
    assert_eq!(store.verify().run().unwrap().events, 0);
    store.append("A-1", ExpectedVersion::Any, [numbered(1)]).unwrap();
    let report = store.verify().run().unwrap();
    assert!(report.is_clean() && report.events == 1, "{report:?}");
    let place = Place::new();
    Store::open(place.path()).unwrap().close().unwrap();
    let report = run(&place.path());
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert!(matches!(
        maintain::verify(place.other("nothing")).run(),
        Err(annals::Error::NotFound { .. })
    ));
}

/// Makes the checksums of a derived file right again after its body was changed at a place.
fn forge(bytes: &mut [u8], changed: usize) {
    const BLOCK: usize = 4096;
    let trailer = bytes.len() - 48;
    let body = u64::from_le_bytes(bytes[trailer + 24..trailer + 32].try_into().unwrap()) as usize;
    assert!(changed < body);
    let block = changed / BLOCK;
    let crc = crc32fast::hash(&bytes[block * BLOCK..body.min((block + 1) * BLOCK)]);
    bytes[body + 4 * block..][..4].copy_from_slice(&crc.to_le_bytes());
    let table = crc32fast::hash(&bytes[body..trailer]);
    bytes[trailer + 40..trailer + 44].copy_from_slice(&table.to_le_bytes());
    let own = crc32fast::hash(&bytes[trailer..trailer + 44]);
    bytes[trailer + 44..].copy_from_slice(&own.to_le_bytes());
}

#[test]
fn derived_files_with_right_checksums_and_wrong_content_are_found() {
    let place = Place::new();
    let path = place.path();
    let store = small_segments().upkeep_thread(false).open(&path).unwrap();
    for n in 0..1_000 {
        let event = sized(600).id(id(n + 1));
        store.append(format!("A-{}", n % 29), ExpectedVersion::Any, [event]).unwrap();
    }
    store.close().unwrap();
    let mut files = vec![path.join("directory-1")];
    for end in [".idx", ".part", ".ids"] {
        files.push(log_paths(&path, end).remove(0));
    }
    for file in files {
        let good = fs::read(&file).unwrap();
        let trailer = good.len() - 48;
        let body = u64::from_le_bytes(good[trailer + 24..trailer + 32].try_into().unwrap());
        // In the directory, what is no slot in use says nothing.
        let is_directory = file.ends_with("directory-1");
        let says = |at: &usize| !is_directory || good[*at] != 0;
        let places: Vec<usize> = (0..body as usize).filter(says).collect();
        let places: Vec<usize> = places.iter().copied().step_by(places.len() / 60 + 1).collect();
        assert!(places.len() > 10, "{}", file.display());
        for at in places {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            forge(&mut bytes, at);
            fs::write(&file, bytes).unwrap();
            let report = run(&path);
            // What it says of segments is evidence against a log that is otherwise: then opening
            // refuses too.
            let refuses = || small_segments().open(&path).is_err();
            let name = file.display();
            if report.has_log_damage() {
                assert!(refuses(), "{name}, byte {at}: {report:?}");
                continue;
            }
            let found = report
                .findings
                .iter()
                .any(|finding| finding.severity == Severity::Derived && finding.file == file);
            assert!(found, "{name}, byte {at}: {:?}", report.findings);
        }
        fs::write(&file, good).unwrap();
    }
    assert!(run(&path).findings.is_empty());
}

/// The frames of a segment of lone events, with what is needed to write them again.
struct Frames {
    bytes: Vec<u8>,
    /// Offset, used bytes, whole length, and where the head ends.
    frames: Vec<(usize, usize, usize, usize)>,
}

impl Frames {
    fn read(bytes: Vec<u8>) -> Self {
        let (mut at, mut frames) = (4096, Vec::new());
        loop {
            let len = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
            if len == 0 {
                return Self { bytes, frames };
            }
            let (used, whole) = ((len & !3) - (len & 3), len & !3);
            let head = match bytes[at + 15] {
                // A version and a length of one byte each, the name, the entry's checksum.
                0x82 => 28 + 2 + usize::from(bytes[at + 29]) + 4,
                _ => used,
            };
            frames.push((at, used, whole, head));
            at += whole;
        }
    }

    /// The place of the n-th lone event's parts in the file: version, entry.
    fn event(&self, n: usize) -> (usize, Range<usize>) {
        let mut events = self.frames.iter().filter(|(at, ..)| self.bytes[at + 15] == 0x82);
        let (at, used, _, head) = *events.nth(n).unwrap();
        (at + 28, at + head..at + used)
    }

    /// Makes every checksum right again.
    fn forge(mut self) -> Vec<u8> {
        let seed = crc32fast::hash(&self.bytes[32..48]);
        let mut previous = self.bytes[60..64].to_vec();
        for (at, used, _, head) in self.frames {
            if self.bytes[at + 15] == 0x82 {
                let entry = crc32fast::hash(&self.bytes[at + head..at + used]);
                self.bytes[at + head - 4..at + head].copy_from_slice(&entry.to_le_bytes());
            }
            self.bytes[at + 20..at + 24].copy_from_slice(&previous);
            let mut hasher = crc32fast::Hasher::new_with_initial(seed);
            hasher.update(&(at as u32).to_le_bytes());
            hasher.update(&self.bytes[at + 4..at + head]);
            previous = hasher.finalize().to_le_bytes().to_vec();
            self.bytes[at..at + 4].copy_from_slice(&previous);
        }
        self.bytes
    }
}

/// Nothing but an error in the engine, or somebody who knows the format, writes such a log.
#[test]
fn logs_with_right_checksums_and_wrong_content_are_found() {
    let place = Place::new();
    let store = Store::options()
        .segment_bytes(SMALL)
        .durability(Durability::Os)
        .upkeep_thread(false)
        .open(place.path())
        .unwrap();
    for n in 1..=9 {
        let event = NewEvent::new("Counted", n.to_string()).id(id(n));
        store.append(format!("A-{}", n % 2), ExpectedVersion::Any, [event]).unwrap();
    }
    let change = |name: &str, change: &dyn Fn(&mut Frames)| {
        let copy = place.killed(name);
        let file = log_paths(&copy, ".seg").remove(0);
        let mut frames = Frames::read(fs::read(&file).unwrap());
        change(&mut frames);
        fs::write(&file, frames.forge()).unwrap();
        let report = run(&copy);
        assert_eq!(report.events, 9, "{name}: {:?}", report.findings);
        report
    };
    assert!(change("as-it-is", &|_| ()).findings.is_empty());
    let expect = |name: &str, says: &str, frames: &dyn Fn(&mut Frames)| {
        let report = change(name, frames);
        assert!(report.has_log_damage(), "{name}: {:?}", report.findings);
        let text = format!("{:?}", report.findings);
        assert!(text.contains(says), "{name}: {text}");
    };
    expect("versions-jump", "version 3 of stream", &|frames| {
        let (version, _) = frames.event(4);
        frames.bytes[version] += 4;
    });
    expect("versions-repeat", "version 3 of stream", &|frames| {
        let (version, _) = frames.event(4);
        frames.bytes[version] -= 1;
    });
    expect("ids-repeat", "again at position 8", &|frames| {
        let (_, first) = frames.event(2);
        let (_, second) = frames.event(7);
        let entry = frames.bytes[first].to_vec();
        frames.bytes[second].copy_from_slice(&entry);
    });
    expect("time-goes-back", "a time not before", &|frames| {
        let (version, _) = frames.event(6);
        frames.bytes[version - 28 + 12] -= 1;
    });
    drop(store);
}

/// A later version may end a checkpoint's part of the log with a kind of frame of its own, of any
/// size, that an older version skips.
#[test]
fn a_checkpoint_may_end_with_a_frame_of_an_unknown_kind() {
    let place = Place::new();
    let path = place.path();
    let store = Store::open(&path).unwrap();
    for n in 1..=9 {
        store.append("A-1", ExpectedVersion::Any, [numbered(n)]).unwrap();
    }
    store.close().unwrap();
    let file = log_paths(&path, ".seg").remove(0);
    let mut frames = Frames::read(fs::read(&file).unwrap());
    let (at, ..) = frames.frames.pop().unwrap();
    assert_eq!(frames.bytes[at + 15], 0xc1, "a watermark is the last frame");
    frames.bytes[at + 4] = 32;
    frames.bytes[at + 15] = 0xd5;
    frames.frames.push((at, 32, 32, 32));
    let places: Vec<usize> = frames.frames.iter().map(|(at, ..)| *at).collect();
    let forged = frames.forge();
    let crcs = places.iter().map(|at| &forged[*at..at + 4]);
    let chain = crcs.flatten().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let part = log_paths(&path, ".part").remove(0);
    let mut bytes = fs::read(&part).unwrap();
    let trailer = bytes.len() - 48;
    let footer = u64::from_le_bytes(bytes[trailer + 32..trailer + 40].try_into().unwrap()) as usize;
    bytes[footer + 56..footer + 60].copy_from_slice(&(at as u32 + 32).to_le_bytes());
    bytes[footer + 60..footer + 64].copy_from_slice(&forged[at..at + 4]);
    bytes[footer + 64..footer + 72].copy_from_slice(&chain.to_le_bytes());
    forge(&mut bytes, footer + 56);
    fs::write(&part, bytes).unwrap();
    fs::write(&file, forged).unwrap();

    let report = run(&path);
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let store = Store::open(&path).unwrap();
    assert!(store.recovery().clean, "{:?}", store.recovery());
    store.append("A-1", ExpectedVersion::Any, [numbered(10)]).unwrap();
    assert_eq!(store.read_all().into_iter().map(Result::unwrap).count(), 10);
    store.close().unwrap();
    assert!(run(&path).findings.is_empty());
}

#[test]
fn repair_leaves_out_an_id_that_stands_twice() {
    let place = Place::new();
    let store = Store::options().segment_bytes(SMALL).upkeep_thread(false);
    let store = store.open(place.path()).unwrap();
    for n in 1..=9 {
        let event = NewEvent::new("Counted", n.to_string()).id(id(n));
        store.append("A-1", ExpectedVersion::Any, [event]).unwrap();
    }
    let copy = place.killed("copy");
    drop(store);
    let file = log_paths(&copy, ".seg").remove(0);
    let mut frames = Frames::read(fs::read(&file).unwrap());
    let ((_, first), (_, second)) = (frames.event(2), frames.event(7));
    let entry = frames.bytes[first].to_vec();
    frames.bytes[second].copy_from_slice(&entry);
    fs::write(&file, frames.forge()).unwrap();
    let report = maintain::repair(&copy, place.other("new")).run().unwrap();
    assert_eq!((report.events, &report.repeated[..]), (8, &[Position(8)][..]));
    assert!(!report.is_complete() && report.lost.is_empty());
    assert_eq!(report.new_position(Position(9)), Some(Position(8)));
    assert_eq!(report.new_position(Position(8)), None);
    assert!(run(&place.other("new")).is_clean());
}

#[test]
fn repair_refuses_what_could_harm() {
    let place = Place::new();
    let (from, to) = (place.path(), place.other("new"));
    let store = Store::open(&from).unwrap();
    store.append("A-1", ExpectedVersion::Any, [numbered(1)]).unwrap();
    let refused = |to: &Path| maintain::repair(&from, to).run().unwrap_err();
    assert!(matches!(refused(&to), annals::Error::Locked { .. }));
    store.close().unwrap();
    assert!(matches!(refused(&from), annals::Error::InvalidOptions { .. }));
    assert!(matches!(refused(&from.join("new")), annals::Error::InvalidOptions { .. }));
    assert!(!to.exists());
    maintain::repair(&from, &to).run().unwrap();
    assert!(matches!(refused(&to), annals::Error::InvalidOptions { .. }));
    // What an interrupted repair leaves does not open, and is not repaired into again.
    fs::rename(to.join("STORE"), to.join("STORE.unfinished")).unwrap();
    assert!(matches!(Store::open(&to), Err(annals::Error::NotAStore { .. })));
    assert!(matches!(Store::open_read_only(&to), Err(annals::Error::NotAStore { .. })));
    assert!(matches!(refused(&to), annals::Error::InvalidOptions { .. }));
}
