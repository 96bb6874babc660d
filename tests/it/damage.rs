//! Damage on disk: the same events, or a typed refusal; never fewer without an error, never a
//! panic, and never a file changed by an open that refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use annals::{Durability, Error, EventId, ExpectedVersion, NewEvent, Store, StoreOptions};

use crate::support::copy_tree;

const EVENTS: u64 = 500;

fn options() -> StoreOptions {
    Store::options()
        .segment_bytes(64 << 10)
        .checkpoint_bytes(24 << 10)
        .upkeep_thread(false)
        .durability(Durability::Os)
}

/// A store of three segments, closed in good order.
fn closed_store(path: &Path) {
    let store = options().open(path).unwrap();
    for n in 0..EVENTS {
        let event = NewEvent::new("Counted", format!("{n} {}", "x".repeat(200))).id(id(n));
        store.append(format!("Stream-{}", n % 11), ExpectedVersion::Any, [event]).unwrap();
    }
    assert!(store.info().unwrap().segments >= 3);
    store.close().unwrap();
}

fn contents(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for dir in ["", "log"] {
        for entry in fs::read_dir(path.join(dir)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let name = format!("{dir}/{}", entry.file_name().to_str().unwrap());
                files.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    files
}

fn is_derived(file: &str) -> bool {
    [".idx", ".part", ".ids"].iter().any(|end| file.ends_with(end)) || file.contains("directory-")
}

/// Opens a damaged store and looks at all of it.
fn check(path: &Path, file: &str, what: &str) {
    let before = contents(path);
    let store = match options().open(path) {
        Ok(store) => store,
        Err(e) => {
            assert!(!is_derived(file), "{file}, {what}: derived data must not matter: {e}");
            let is_typed = e.is_corruption()
                || matches!(e, Error::UnsupportedFormat { .. } | Error::NotAStore { .. });
            assert!(is_typed, "{file}, {what}: {e}");
            check_reading(path, file, what);
            assert!(contents(path) == before, "{file}, {what}: a refused open changed a file");
            return;
        }
    };
    let mut read = 0;
    for event in store.read_all() {
        match event {
            Ok(event) => {
                let number = format!("{read} ");
                assert!(event.data().starts_with(number.as_bytes()), "{file}, {what}: wrong event");
                read += 1;
            }
            Err(e) => {
                assert!(!is_derived(file), "{file}, {what}: derived data must not matter: {e}");
                assert!(e.is_corruption(), "{file}, {what}: {e}");
                return;
            }
        }
    }
    assert_eq!(read, EVENTS, "{file}, {what}: fewer events, and no error");
    for n in 0..11_u64 {
        let name = format!("Stream-{n}");
        let wanted = (EVENTS - n).div_ceil(11);
        let mut found = 0;
        for event in store.read_stream(&name) {
            match event {
                Ok(event) => assert_eq!(event.stream(), name, "{file}, {what}"),
                Err(e) => {
                    assert!(!is_derived(file) && e.is_corruption(), "{file}, {what}: {e}");
                    return;
                }
            }
            found += 1;
        }
        assert_eq!(found, wanted, "{file}, {what}: {name}");
    }
    let more = store.append("Stream-0", ExpectedVersion::Exists, [NewEvent::new("Counted", "")]);
    assert!(more.is_ok() || !is_derived(file), "{file}, {what}: {more:?}");
}

fn id(n: u64) -> EventId {
    let mut id = [1; 16];
    id[..8].copy_from_slice(&n.to_le_bytes());
    EventId::from_bytes(id)
}

/// Reads a store that is refused for writing: what is good is shown, then comes a typed error, and
/// nothing that was there is ever said to be absent.
fn check_reading(path: &Path, file: &str, what: &str) {
    let store = match options().open_read_only(path) {
        Ok(store) => store,
        Err(e) => {
            assert!(file.ends_with("STORE"), "{file}, {what}: refused for reading too: {e}");
            return;
        }
    };
    let mut read = 0;
    let mut end = None;
    for event in store.read_all() {
        match event {
            Ok(event) => {
                assert!(event.data().starts_with(format!("{read} ").as_bytes()), "{file}, {what}");
                read += 1;
            }
            Err(e) => end = Some(e),
        }
    }
    let end = end.unwrap_or_else(|| panic!("{file}, {what}: {read} events, and no error"));
    assert!(end.is_corruption() || matches!(end, Error::UnsupportedFormat { .. }), "{end}");
    assert_eq!(store.head().0, read, "{file}, {what}: the head is what can be read");
    assert!(store.read_all().backwards().into_iter().next().unwrap().is_err(), "{file}, {what}");
    if read > 0 {
        let inside = annals::Position(read + 1);
        let back = store.read_all().after(inside).backwards().into_iter();
        assert_eq!(back.map(Result::unwrap).count() as u64, read, "{file}, {what}");
    }
    assert!(store.stream("Absent-1").is_err(), "{file}, {what}: absent is never assumed");
    assert!(store.event_by_id(id(EVENTS)).is_err(), "{file}, {what}: absent is never assumed");
    for n in 0..EVENTS {
        match store.event_by_id(id(n)) {
            Ok(Some(event)) => assert_eq!(event.position().0, n + 1, "{file}, {what}"),
            Ok(None) => panic!("{file}, {what}: event {n} is said to be absent"),
            Err(e) => assert!(e.is_corruption() || n >= read, "{file}, {what}: {e}"),
        }
    }
    for n in 0..11_u64 {
        let name = format!("Stream-{n}");
        let events: Vec<_> = store.read_stream(&name).into_iter().collect();
        assert!(events.last().is_some_and(Result::is_err), "{file}, {what}: {name} ends");
        let shown = read.saturating_sub(n).div_ceil(11);
        assert_eq!(events.len() as u64, shown + 1, "{file}, {what}: {name}");
    }
    let refused = store.append("A-1", ExpectedVersion::Any, [NewEvent::new("X", "")]);
    assert!(matches!(refused, Err(Error::ReadOnly)));
}

/// Damages each file of a closed store in each of the given ways.
fn sweep(damage: impl Fn(&str, &[u8]) -> Vec<(String, Vec<u8>)>) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good");
    closed_store(&good);
    let mut count = 0;
    for (file, bytes) in contents(&good) {
        if file.ends_with("LOCK") {
            continue;
        }
        for (what, damaged) in damage(&file, &bytes) {
            let copy = dir.path().join("copy");
            copy_tree(&good, &copy);
            fs::write(copy.join(file.trim_start_matches('/')), damaged).unwrap();
            check(&copy, &file, &what);
            fs::remove_dir_all(&copy).unwrap();
            count += 1;
        }
    }
    count
}

/// Which bytes to flip: all of what is small and decides much, samples of the rest.
fn samples(len: usize) -> impl Iterator<Item = usize> {
    let step = if std::env::var_os("ANNALS_LONG").is_some() { 13 } else { 997 };
    let heads = (0..64).step_by(7).chain((4096..4180).step_by(5));
    let tail = len.saturating_sub(60)..len;
    heads.chain((0..len).step_by(step)).chain(tail.step_by(3)).filter(move |at| *at < len)
}

#[test]
fn flipped_bits_never_cost_an_event_in_silence() {
    let count = sweep(|_, bytes| {
        samples(bytes.len())
            .map(|at| {
                let mut damaged = bytes.to_vec();
                damaged[at] ^= 1 << (at % 8);
                (format!("bit {} of byte {at} flipped", at % 8), damaged)
            })
            .collect()
    });
    assert!(count > 400, "{count}");
}

#[test]
fn shortened_and_overwritten_files_never_cost_an_event_in_silence() {
    sweep(|_, bytes| {
        let len = bytes.len();
        let cuts = [0, 1, 63, 64, 4095, 4096, 4156, len / 2, len.saturating_sub(1)];
        let mut damaged: Vec<(String, Vec<u8>)> = cuts
            .into_iter()
            .filter(|cut| *cut < len)
            .map(|cut| (format!("cut to {cut} bytes"), bytes[..cut].to_vec()))
            .collect();
        for fill in [0, 0xff] {
            let mut overwritten = bytes.to_vec();
            overwritten[len / 3..].fill(fill);
            damaged.push((format!("{fill:#x} from byte {}", len / 3), overwritten));
        }
        damaged
    });
}

#[test]
fn missing_and_misplaced_files_never_cost_an_event_in_silence() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good");
    let other = dir.path().join("other");
    closed_store(&good);
    closed_store(&other);
    let names: Vec<String> = contents(&good).into_keys().filter(|n| !n.ends_with("LOCK")).collect();
    let copy = dir.path().join("copy");
    let at = |root: &Path, name: &str| root.join(name.trim_start_matches('/'));
    for name in &names {
        copy_tree(&good, &copy);
        fs::remove_file(at(&copy, name)).unwrap();
        check(&copy, name, "removed");
        fs::remove_dir_all(&copy).unwrap();
        if at(&other, name).exists() {
            copy_tree(&good, &copy);
            fs::copy(at(&other, name), at(&copy, name)).unwrap();
            check(&copy, name, "of another store");
            fs::remove_dir_all(&copy).unwrap();
        }
    }
    let segments: Vec<&String> = names.iter().filter(|n| n.contains(".seg")).collect();
    for (a, b) in [(0, 1), (1, 2), (0, 2)] {
        copy_tree(&good, &copy);
        fs::copy(at(&good, segments[a]), at(&copy, segments[b])).unwrap();
        check(&copy, segments[b], "replaced by a segment before it");
        fs::copy(at(&good, segments[b]), at(&copy, segments[a])).unwrap();
        check(&copy, segments[a], "swapped");
        fs::remove_dir_all(&copy).unwrap();
    }
}
