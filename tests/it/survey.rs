//! What opening makes of the files in `log/`: the rows of the survey in `docs/recovery.md`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use annals::{Durability, Error, ExpectedVersion, NewEvent, Store, StoreOptions};

use crate::support::{Place, contents};

fn options() -> StoreOptions {
    Store::options().segment_bytes(64 << 10).upkeep_thread(false).durability(Durability::Os)
}

fn append(store: &Store, events: u64) {
    for n in 0..events {
        let event = NewEvent::new("Counted", vec![b'x'; 1_000]);
        store.append(format!("A-{}", n % 5), ExpectedVersion::Any, [event]).unwrap();
    }
}

/// A store that was closed in good order.
fn closed(path: &Path, events: u64) {
    let store = options().open(path).unwrap();
    append(&store, events);
    store.close().unwrap();
}

fn segment(path: &Path, ordinal: u32) -> PathBuf {
    path.join(format!("log/{ordinal:010}.0.seg"))
}

/// The newest segment that has a first frame.
fn newest_used(path: &Path) -> u32 {
    (1..)
        .take_while(|n| fs::read(segment(path, *n)).is_ok_and(|b| b[4096..4156] != [0; 60]))
        .count() as u32
}

fn opens_with(path: &Path, events: u64) {
    let store = options().open(path).unwrap();
    assert_eq!(store.read_all().into_iter().flatten().count() as u64, events);
    append(&store, 3);
    store.close().unwrap();
    let store = options().open(path).unwrap();
    assert_eq!(store.read_all().into_iter().flatten().count() as u64, events + 3);
}

fn refuses(path: &Path) -> Error {
    let before = contents(path);
    let e = options().open(path).unwrap_err();
    // For reading it opens: what is good comes first, and then the same error.
    let store = options().open_read_only(path).unwrap();
    let mut events: Vec<_> = store.read_all().into_iter().collect();
    let end = events.pop().unwrap().unwrap_err();
    assert_eq!(end.to_string(), e.to_string());
    assert!(events.iter().all(Result::is_ok));
    assert_eq!(store.head().0, events.len() as u64);
    assert!(store.stream("Absent-1").is_err() && store.read_stream("A-0").into_iter().count() > 0);
    assert!(contents(path) == before, "a refused open changed a file: {e}");
    e
}

#[test]
fn s1_an_unfinished_preparation_is_replaced() {
    for bytes in [vec![], vec![0; 100], vec![0; 70_000], [vec![7; 50], vec![0; 9_000]].concat()] {
        let place = Place::new();
        closed(&place.path(), 20);
        let next = newest_used(&place.path()) + 1;
        fs::write(segment(&place.path(), next), &bytes).unwrap();
        opens_with(&place.path(), 20);
    }
}

#[test]
fn s1_a_segment_that_was_never_whole_is_damage_unless_the_end_is_clean() {
    for bytes in [vec![], vec![0; 100], vec![0; 70_000], [vec![7; 50], vec![0; 9_000]].concat()] {
        let place = Place::new();
        let store = options().open(place.path()).unwrap();
        append(&store, 20);
        store.sync().unwrap();
        let killed = place.killed("killed");
        fs::write(segment(&killed, newest_used(&killed) + 1), &bytes).unwrap();
        let e = refuses(&killed);
        assert!(e.is_corruption() && e.to_string().contains("a segment header"), "{e}");
    }
}

#[test]
fn s5_a_prepared_segment_that_is_too_short_is_damage_after_a_kill() {
    let place = Place::new();
    let store = options().open(place.path()).unwrap();
    append(&store, 40);
    let killed = place.killed("killed");
    let path = segment(&killed, newest_used(&killed) + 1);
    let len = fs::metadata(&path).unwrap().len();
    File::options().write(true).open(&path).unwrap().set_len(len - 1).unwrap();
    let e = refuses(&killed);
    assert!(e.is_corruption(), "{e}");
}

#[test]
fn s3_a_segment_of_a_newer_format_is_unsupported() {
    let place = Place::new();
    closed(&place.path(), 20);
    let path = segment(&place.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[10] = 2;
    let crc = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let e = refuses(&place.path());
    assert!(matches!(e, Error::UnsupportedFormat { .. }), "{e}");
}

#[test]
fn s5_a_prepared_segment_is_kept_after_a_clean_close_and_replaced_after_a_kill() {
    let place = Place::new();
    let store = options().open(place.path()).unwrap();
    append(&store, 40);
    let prepared = newest_used(&place.path()) + 1;
    let salt = |root: &Path| fs::read(segment(root, prepared)).unwrap()[32..48].to_vec();
    let before = salt(&place.path());
    let killed = place.killed("killed");
    store.close().unwrap();
    drop(store);

    let store = options().open(place.path()).unwrap();
    assert_eq!(salt(&place.path()), before, "kept");
    store.close().unwrap();

    let store = options().open(&killed).unwrap();
    assert!(!store.recovery().clean);
    assert_ne!(salt(&killed), before, "made anew");
    assert_eq!(store.read_all().into_iter().flatten().count(), 40);
}

#[test]
fn s6_a_first_frame_that_others_prove_durable_is_damage() {
    let place = Place::new();
    let store = options().durability(Durability::Sync).open(place.path()).unwrap();
    append(&store, 5);
    let killed = place.killed("killed");
    let path = segment(&killed, 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096 + 20] ^= 1;
    fs::write(&path, bytes).unwrap();
    let e = refuses(&killed);
    assert!(e.is_corruption() && e.to_string().contains("first frame"), "{e}");
}

#[test]
fn s7_only_the_newest_segment_may_be_without_a_first_frame() {
    let place = Place::new();
    closed(&place.path(), 200);
    assert!(newest_used(&place.path()) > 2);
    for ordinal in [1, 2] {
        let path = segment(&place.path(), ordinal);
        let good = fs::read(&path).unwrap();
        let mut bytes = good.clone();
        bytes[4096 + 20] ^= 1;
        fs::write(&path, bytes).unwrap();
        let e = refuses(&place.path());
        assert!(e.is_corruption(), "{e}");
        fs::write(&path, good).unwrap();
    }
    opens_with(&place.path(), 200);
}

#[test]
fn s9_no_segment_is_four_gibibytes_long() {
    let place = Place::new();
    closed(&place.path(), 5);
    let file = File::options().write(true).open(segment(&place.path(), 1)).unwrap();
    file.set_len(4 << 30).unwrap();
    let e = options().open(place.path()).unwrap_err();
    assert!(e.is_corruption() && e.to_string().contains("4 GiB"), "{e}");
}

/// Nine segments, eight of which the directory covers.
fn with_directory(path: &Path) -> u64 {
    let store = options().open(path).unwrap();
    let mut events = 0;
    while !path.join("directory-1").exists() {
        append(&store, 1);
        events += 1;
    }
    store.close().unwrap();
    events
}

#[test]
fn s11_a_directory_may_cover_the_last_segment() {
    let place = Place::new();
    let events = with_directory(&place.path());
    let last = newest_used(&place.path());
    let mut in_last = 0;
    let store = Store::options().open_read_only(place.path()).unwrap();
    let base = fs::read(segment(&place.path(), last)).unwrap()[4124..4132].to_vec();
    let base = u64::from_le_bytes(base.try_into().unwrap());
    in_last += events + 1 - base;
    drop(store);
    // As a cut leaves it whose new segment has no durable frame.
    let _ = fs::remove_file(segment(&place.path(), last + 1));
    let mut bytes = fs::read(segment(&place.path(), last)).unwrap();
    bytes[4096..].fill(0);
    fs::write(segment(&place.path(), last), bytes).unwrap();
    fs::remove_file(place.path().join(format!("log/{last:010}.0.part"))).unwrap();
    opens_with(&place.path(), events - in_last);
}

#[test]
fn s13_a_segment_that_the_directory_knows_is_missed() {
    let place = Place::new();
    with_directory(&place.path());
    for ordinal in [1, 4] {
        let path = segment(&place.path(), ordinal);
        let good = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let e = refuses(&place.path());
        assert!(e.to_string().contains(&format!("{ordinal:010}.0.seg")), "{e}");
        fs::write(&path, good).unwrap();
    }
}

#[test]
fn s21_a_segment_behind_a_seal_or_behind_what_the_directory_covers_is_missed() {
    let place = Place::new();
    with_directory(&place.path());
    let last = newest_used(&place.path());
    fs::remove_file(place.path().join(format!("log/{last:010}.0.part"))).unwrap();
    for ordinal in [last, last + 1] {
        let _ = fs::remove_file(segment(&place.path(), ordinal));
    }
    let e = refuses(&place.path());
    assert!(e.to_string().contains(&format!("{last:010}.0.seg")), "{e}");
    fs::remove_file(place.path().join("directory-1")).unwrap();
    let e = refuses(&place.path());
    assert!(e.to_string().contains(&format!("{last:010}.0.seg")), "{e}");
}

#[test]
fn s22_an_index_checkpoint_that_an_index_file_has_replaced_is_removed() {
    let place = Place::new();
    closed(&place.path(), 200);
    assert!(newest_used(&place.path()) > 1 && segment(&place.path(), 1).exists());
    let index = place.path().join("log/0000000001.0.idx");
    let checkpoint = index.with_extension("part");
    assert!(index.exists() && !checkpoint.exists());
    // As a power cut leaves it that tore the clean mark first, and then took back the removal.
    let mut bytes = fs::read(&index).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&checkpoint, bytes).unwrap();
    assert!(!annals::maintain::verify(place.path()).run().unwrap().findings.is_empty());
    opens_with(&place.path(), 200);
    assert!(!checkpoint.exists());
    let report = annals::maintain::verify(place.path()).run().unwrap();
    assert!(report.findings.is_empty(), "{report:?}");
}

#[test]
fn s20_only_our_own_leftovers_are_removed() {
    let place = Place::new();
    closed(&place.path(), 5);
    let ours = place.path().join("log/0000000001.0.idx.tmp");
    let theirs = place.path().join("log/notes.tmp");
    fs::write(&ours, "left").unwrap();
    fs::write(&theirs, "kept").unwrap();
    opens_with(&place.path(), 5);
    assert!(!ours.exists() && theirs.exists());
}
