//! Directories that are no store, stores with something wrong about their files, other handles and
//! other processes, readers beside a writer, and disks without permission or space.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{iter, thread};

use annals::{
    Durability, Error, ExpectedVersion, Position, Preallocate, ReadMode, Result, Store,
    StoreOptions, Version,
};

use crate::support::{
    Place, all_events, child, child_path, contents, copy_tree, id, log_files, log_paths, numbered,
    sized, skip, small_segments, used_segments,
};

const ANY: ExpectedVersion = ExpectedVersion::Any;

/// Makes a store of so many events of about 700 bytes, 80 of which fill a segment, and closes it.
fn closed_store(path: &Path, events: u64) {
    let store = small_segments().open(path).unwrap();
    append(&store, events);
    store.close().unwrap();
}

fn append(store: &Store, events: u64) {
    for n in 0..events {
        let stream = format!("Stream-{}", n % 7);
        store.append(stream, ANY, [sized(700).id(id(store.head().0 + 1))]).unwrap();
    }
}

/// Both ways to open a directory.
const WAYS: [fn(&Path) -> Result<Store>; 2] =
    [|path| small_segments().open(path), |path| small_segments().open_read_only(path)];

/// Sees that neither way opens a directory, and that neither changes anything below `root`.
#[track_caller]
fn both_refuse(root: &Path, path: &Path, is_right: impl Fn(&Error) -> bool) {
    let before = contents(root);
    for open in WAYS {
        let e = open(path).expect_err("a store that is none opens");
        assert!(is_right(&e), "{e:?}");
        assert!(e.to_string().contains(&path.display().to_string()), "the error names it: {e}");
        assert_eq!(contents(root), before, "something was changed");
    }
}

#[test]
fn a_directory_that_holds_something_else() {
    for (name, is_dir) in [("notes.txt", false), ("log2", true), (".hidden", false)] {
        let place = Place::new();
        fs::create_dir(place.path()).unwrap();
        if is_dir {
            fs::create_dir(place.path().join(name)).unwrap();
        } else {
            fs::write(place.path().join(name), "mine").unwrap();
        }
        let why_names_it =
            |e: &Error| matches!(e, Error::NotAStore { why, .. } if why.contains(name));
        both_refuse(&place.other(""), &place.path(), why_names_it);
    }
}

#[test]
fn a_file_in_the_place_of_a_directory() {
    let place = Place::new();
    fs::write(place.path(), "a file").unwrap();
    both_refuse(&place.other(""), &place.path(), |e| {
        matches!(e, Error::NotAStore { .. } | Error::Io { .. })
    });
    let below = place.path().join("deeper");
    both_refuse(
        &place.other(""),
        &below,
        |e| matches!(e, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotADirectory),
    );
}

#[test]
fn a_directory_that_is_empty_becomes_a_store_and_one_that_is_missing_does_too() {
    let place = Place::new();
    let deep = place.other("a/b/c");
    fs::create_dir(place.path()).unwrap();
    for path in [place.path(), deep] {
        for open in [
            |path: &Path| Store::open_read_only(path),
            |path: &Path| Store::options().create(false).open(path),
        ] {
            let before = contents(&place.other(""));
            assert!(matches!(open(&path), Err(Error::NotFound { .. })));
            assert_eq!(contents(&place.other("")), before, "nothing is created");
        }
        let store = Store::open(&path).unwrap();
        append(&store, 1);
        store.close().unwrap();
        assert_eq!(Store::open_read_only(&path).unwrap().head(), Position(1));
        Store::options().create(false).open(&path).unwrap();
        // What is in it is nobody else's business.
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o077 == 0, path.ends_with("c"));
        let log = path.join("log").metadata().unwrap();
        assert_eq!(log.permissions().mode() & 0o077, 0);
    }
}

/// Sees that a store whose files were changed cannot be opened, or reads wrong nowhere: the good
/// events come first, then an error.
#[track_caller]
fn refused_or_cut_short(path: &Path, must_refuse: bool) -> Error {
    let before = contents(path);
    let store = match small_segments().open(path) {
        Err(e) => {
            assert!(e.is_corruption() && !e.is_conflict(), "{e:?}");
            assert_eq!(contents(path), before, "a refused open changed a file");
            // A reader may see what is there, and must not take it for everything.
            if let Ok(store) = small_segments().open_read_only(path) {
                assert!(store.read_all().into_iter().any(|event| event.is_err()));
            }
            assert_eq!(contents(path), before, "a reader changed a file");
            return e;
        }
        Ok(store) => store,
    };
    assert!(!must_refuse, "the damage is in what opening reads");
    let mut next = 1;
    for event in store.read_all() {
        match event {
            Ok(event) => assert_eq!(event.position().0, next),
            Err(e) => {
                assert!(e.is_corruption(), "{e:?}");
                return e;
            }
        }
        next += 1;
    }
    panic!("{next} events, and then the end as if nothing was wrong");
}

#[test]
fn the_store_file_is_damaged() {
    let place = Place::new();
    closed_store(&place.path(), 3);
    let file = place.path().join("STORE");
    let good = fs::read(&file).unwrap();
    let is_corrupt =
        |e: &Error| matches!(e, Error::Corrupt { path, .. } if path.ends_with("STORE"));
    let mut damaged: Vec<Vec<u8>> = [0, 1, 30, good.len() - 1]
        .into_iter()
        .map(|len| good[..len].to_vec())
        .chain(iter::once([&good[..], b"\0"].concat()))
        .collect();
    damaged.extend((0..good.len()).map(|at| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    }));
    for bytes in damaged {
        fs::write(&file, bytes).unwrap();
        both_refuse(&place.path(), &place.path(), is_corrupt);
    }
    fs::write(&file, good).unwrap();
    assert_eq!(all_events(&small_segments().open(place.path()).unwrap()).len(), 3);
}

/// Raises the version that a header asks of its readers, with its checksum.
fn of_a_newer_version(file: &Path, crc_at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[10] += 1;
    let crc = crc32fast::hash(&bytes[..crc_at]);
    bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
    fs::write(file, bytes).unwrap();
}

#[test]
fn files_of_a_newer_version() {
    let place = Place::new();
    closed_store(&place.path(), 200);
    let segments = log_paths(&place.path(), ".seg");
    let files = [(place.path().join("STORE"), 56), (segments[1].clone(), 60)];
    for (file, crc_at) in files {
        let good = fs::read(&file).unwrap();
        of_a_newer_version(&file, crc_at);
        let is_named = |e: &Error| {
            matches!(e, Error::UnsupportedFormat { path, .. } if *path == file)
                && !e.is_corruption()
        };
        if crc_at == 56 {
            both_refuse(&place.path(), &place.path(), is_named);
        } else {
            // A reader sees what is before it.
            let before = contents(&place.path());
            assert!(is_named(&small_segments().open(place.path()).unwrap_err()));
            let reader = small_segments().open_read_only(place.path()).unwrap();
            let mut events: Vec<_> = reader.read_all().into_iter().collect();
            assert!(is_named(&events.pop().unwrap().unwrap_err()));
            assert!(!events.is_empty() && events.iter().all(Result::is_ok));
            assert_eq!(contents(&place.path()), before);
        }
        // It is no damage, and a repair would lose it.
        assert!(is_named(&annals::maintain::verify(place.path()).run().unwrap_err()));
        let to = place.other("repaired");
        assert!(is_named(&annals::maintain::repair(place.path(), &to).run().unwrap_err()));
        assert!(!to.exists());
        fs::write(&file, good).unwrap();
    }
    small_segments().open(place.path()).unwrap();
}

#[test]
fn a_log_without_its_store_file() {
    let place = Place::new();
    closed_store(&place.path(), 3);
    fs::remove_file(place.path().join("STORE")).unwrap();
    both_refuse(
        &place.path(),
        &place.path(),
        |e| matches!(e, Error::NotAStore { why, .. } if why.contains("STORE")),
    );
    // Also where nothing but the log is left.
    fs::remove_file(place.path().join("LOCK")).unwrap();
    both_refuse(&place.path(), &place.path(), |e| matches!(e, Error::NotAStore { .. }));
}

#[test]
fn an_interrupted_creation_is_finished() {
    let place = Place::new();
    // What a kill at each step of a creation leaves.
    let steps: [fn(&Path); 4] = [
        |path| fs::create_dir(path).unwrap(),
        |path| fs::write(path.join("LOCK"), "").unwrap(),
        |path| fs::create_dir(path.join("log")).unwrap(),
        |path| fs::write(path.join("STORE.tmp"), "ANNAL").unwrap(),
    ];
    for count in 1..=steps.len() {
        let path = place.other(&format!("interrupted-{count}"));
        for step in &steps[..count] {
            step(&path);
        }
        let store = Store::open(&path).unwrap();
        append(&store, 3);
        drop(store);
        assert_eq!(all_events(&Store::open(&path).unwrap()).len(), 3);
        assert!(!path.join("STORE.tmp").exists());
    }
}

/// Does something to a segment, the oldest to the newest, of stores with and without a stream
/// directory: that vouches for the segments that it covers, so that opening need not read them.
fn with_every_age(test: impl Fn(&Path, &[PathBuf], usize, bool)) {
    let place = Place::new();
    for events in [300, 1_500] {
        let good = place.other(&format!("good-{events}"));
        closed_store(&good, events);
        let count = used_segments(&good).len();
        let is_directory = |path: &PathBuf| path.display().to_string().contains("/directory-");
        let has_directory = contents(&good).keys().any(is_directory);
        assert_eq!(has_directory, count > 8);
        let copy = place.other("copy");
        for index in [0, 1, count / 2, count - 2, count - 1] {
            copy_tree(&good, &copy);
            // How many of the sealed segments it covers depends on when upkeep came to it.
            let may_be_vouched_for = has_directory && index + 1 < count;
            test(&copy, &used_segments(&copy), index, may_be_vouched_for);
            fs::remove_dir_all(&copy).unwrap();
        }
    }
}

fn name_of(segment: &Path) -> &str {
    segment.file_name().unwrap().to_str().unwrap()
}

#[test]
fn a_segment_is_missing() {
    with_every_age(|store, segments, index, _| {
        fs::remove_file(&segments[index]).unwrap();
        let e = refused_or_cut_short(store, true);
        let name = name_of(&segments[index]);
        assert!(e.to_string().contains(name), "{e} does not name {name}");
    });
}

#[test]
fn a_segment_stands_in_the_place_of_another() {
    with_every_age(|store, segments, index, may_be_vouched_for| {
        let other = (index + 1) % segments.len();
        let (a, b) = (fs::read(&segments[index]).unwrap(), fs::read(&segments[other]).unwrap());
        fs::write(&segments[index], &b).unwrap();
        refused_or_cut_short(store, !may_be_vouched_for);
        fs::write(&segments[other], &a).unwrap();
        refused_or_cut_short(store, !may_be_vouched_for);
    });
}

#[test]
fn a_segment_of_another_store() {
    let place = Place::new();
    closed_store(&place.path(), 1_500);
    with_every_age(|store, segments, index, may_be_vouched_for| {
        let theirs = place.path().join("log").join(name_of(&segments[index]));
        fs::copy(theirs, &segments[index]).unwrap();
        refused_or_cut_short(store, !may_be_vouched_for);
    });
}

#[test]
fn a_segment_is_there_twice() {
    with_every_age(|store, segments, index, _| {
        let segment = &segments[index];
        let name = |ordinal: usize, generation: u32| {
            segment.with_file_name(format!("{ordinal:010}.{generation}.seg"))
        };
        let prepared = name(segments.len() + 1, 0);
        if prepared.exists() {
            fs::remove_file(&prepared).unwrap();
        }
        // Behind the last one, far behind it, and as a rewritten one in its own place.
        for twin in [prepared, name(segments.len() + 5, 0), name(index + 1, 1)] {
            fs::copy(segment, &twin).unwrap();
            refused_or_cut_short(store, true);
            fs::remove_file(twin).unwrap();
        }
        // Under a name that is none, it is nobody's business.
        let other = segment.with_extension("seg.old");
        fs::copy(segment, &other).unwrap();
        all_events(&small_segments().open(store).unwrap());
        assert!(other.exists());
    });
}

#[test]
fn an_older_copy_of_the_newest_segment() {
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    append(&store, 20);
    store.sync().unwrap();
    let old = place.killed("old");
    append(&store, 20);
    store.close().unwrap();
    let newest = used_segments(&place.path()).pop().unwrap();
    fs::copy(old.join("log").join(name_of(&newest)), &newest).unwrap();
    refused_or_cut_short(&place.path(), true);
}

#[test]
fn symlinks_are_not_followed() {
    let place = Place::new();
    closed_store(&place.path(), 300);
    let outside = place.other("outside");
    fs::create_dir(&outside).unwrap();
    let segments = log_paths(&place.path(), ".seg");
    let files = [
        (place.path().join("STORE"), true),
        (place.path().join("log"), true),
        (segments[0].clone(), true),
        (segments[segments.len() - 1].clone(), true),
        // Readers take no lock.
        (place.path().join("LOCK"), false),
    ];
    for (file, concerns_readers) in files {
        let target = outside.join(file.file_name().unwrap());
        fs::rename(&file, &target).unwrap();
        symlink(&target, &file).unwrap();
        let before = contents(&place.other(""));
        for open in &WAYS[..1 + usize::from(concerns_readers)] {
            let e = open(&place.path()).expect_err("a symlink is followed");
            let Error::Io { path, source, .. } = &e else { panic!("{e:?}") };
            assert_eq!(source.kind(), io::ErrorKind::InvalidInput, "{e}");
            assert!(path.starts_with(&file) && e.to_string().contains("symlink"), "{e}");
        }
        assert_eq!(contents(&place.other("")), before, "something was changed");
        fs::remove_file(&file).unwrap();
        fs::rename(&target, &file).unwrap();
    }
    // The store itself may be reached through one, and is the same store then.
    let link = place.other("link");
    symlink(place.path(), &link).unwrap();
    let store = small_segments().open(&link).unwrap();
    assert!(matches!(small_segments().open(place.path()), Err(Error::Locked { .. })));
    assert_eq!(all_events(&store).len(), 300);
}

#[test]
fn names_that_are_not_ours_are_left_alone_and_leftovers_do_no_harm() {
    let place = Place::new();
    let path = place.path();
    closed_store(&path, 300);
    let log = path.join("log");
    let foreign = [
        path.join("notes.txt"),
        path.join("directory-x"),
        path.join("directory-01"),
        path.join(".nfs0001"),
        log.join("README"),
        log.join("notes.tmp"),
        log.join("0000000000.0.seg"),
        log.join("0000000001.seg"),
        log.join("0000000099.0.seg.bak"),
        log.join("0000000099.00.seg"),
        log.join("9999999999.0.seg"),
        log.join(std::ffi::OsStr::from_bytes(b"\xff\xfe.seg")),
    ];
    for file in &foreign {
        fs::write(file, "mine").unwrap();
    }
    let directories = [path.join("backup"), log.join("old"), log.join("old.tmp")];
    for dir in &directories {
        fs::create_dir(dir).unwrap();
        fs::write(dir.join("file"), "mine").unwrap();
    }
    // What interrupted replacements leave.
    let leftovers = [
        path.join("STORE.tmp"),
        path.join("directory-1.tmp"),
        path.join("directory-7.tmp"),
        log.join("0000000001.0.idx.tmp"),
        log.join("0000000002.0.part.tmp"),
        log.join("0000000001-0000000008.ids.tmp"),
    ];
    for file in &leftovers {
        fs::write(file, "half").unwrap();
    }
    for round in 1..=3 {
        let before = contents(&path);
        let reader = small_segments().open_read_only(&path).unwrap();
        assert_eq!(all_events(&reader).len() as u64, 300 * round);
        assert_eq!(contents(&path), before, "a reader changed a file");
        let store = small_segments().open(&path).unwrap();
        assert!(store.recovery().clean);
        // Enough for index files of every kind to be written.
        append(&store, 300);
        assert_eq!(all_events(&store).len() as u64, 300 * (round + 1));
        store.close().unwrap();
        for file in foreign.iter().cloned().chain(directories.iter().map(|dir| dir.join("file"))) {
            assert_eq!(fs::read(&file).unwrap(), b"mine", "{}", file.display());
        }
    }
    assert!(log_files(&path).iter().all(|name| !name.ends_with(".idx.tmp")));
}

#[test]
fn a_refused_open_does_not_tidy_up() {
    let place = Place::new();
    closed_store(&place.path(), 300);
    fs::write(place.path().join("log/0000000001.0.idx.tmp"), "half").unwrap();
    // The end of the log, which is durable: its last frame is the one that closing has written.
    let newest = used_segments(&place.path()).pop().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end] ^= 1;
    fs::write(newest, bytes).unwrap();
    refused_or_cut_short(&place.path(), true);
}

#[test]
fn a_second_handle_is_locked_out_until_the_first_is_gone() {
    let place = Place::new();
    let open = || small_segments().open(place.path());
    let assert_locked = || {
        let Err(e) = open() else { panic!("two writers") };
        assert!(matches!(&e, Error::Locked { path } if path.starts_with(place.path())), "{e}");
        assert!(e.is_retryable() && !e.is_conflict());
    };
    let store = open().unwrap();
    append(&store, 3);
    assert_locked();
    let clone = store.clone();
    drop(store);
    assert_locked();
    append(&clone, 3);
    // Readers are no writers.
    let reader = small_segments().open_read_only(place.path()).unwrap();
    assert_locked();
    assert!(matches!(reader.append("A-1", ANY, [numbered(1)]), Err(Error::ReadOnly)));
    assert!(matches!(
        reader.batch().append("A-1", ANY, [numbered(1)]).commit(),
        Err(Error::ReadOnly)
    ));
    assert!(matches!(reader.sync(), Err(Error::ReadOnly)));
    drop(clone);
    let store = open().unwrap();
    assert_eq!(all_events(&store).len(), 6);
    // Nor does a reader's end let another writer in.
    reader.close().unwrap();
    drop(reader);
    assert_locked();
}

#[test]
fn a_lock_file_that_is_removed_lets_nobody_in_beside_a_writer() {
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    fs::remove_file(place.path().join("LOCK")).unwrap();
    assert!(matches!(small_segments().open(place.path()), Err(Error::Locked { .. })));
    append(&store, 3);
    store.close().unwrap();
    assert_eq!(all_events(&small_segments().open(place.path()).unwrap()).len(), 3);
}

/// In a process of its own: opens the store, appends, says so, and holds it until it is ended.
#[test]
fn child_that_holds_a_store() {
    let Some(path) = child_path() else { return };
    let store = small_segments().durability(Durability::Sync).open(path).unwrap();
    append(&store, 5);
    println!("\nholding {}", store.head());
    // Until the parent says otherwise, or is gone.
    let _ = io::stdin().read(&mut [0]);
    store.close().unwrap();
}

#[test]
fn another_process_is_locked_out_and_a_killed_one_is_not_waited_for() {
    let place = Place::new();
    let hold = || {
        let mut command = child("directories::child_that_holds_a_store", &place.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = Vec::new();
        let mut output = child.stdout.take().unwrap();
        while !said.ends_with(b"holding") {
            let mut byte = [0];
            assert_eq!(output.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&said));
            said.extend(byte);
        }
        (child, output)
    };
    let (mut holder, _output) = hold();
    assert!(matches!(small_segments().open(place.path()), Err(Error::Locked { .. })));
    // What is durable for certain can be read: all but, perhaps, the last append.
    let reader = small_segments().open_read_only(place.path()).unwrap();
    assert!(all_events(&reader).len() >= 4);
    holder.kill().unwrap();
    holder.wait().unwrap();
    let store = small_segments().open(place.path()).unwrap();
    assert!(!store.recovery().clean);
    assert_eq!(all_events(&store).len(), 5, "what was answered is there");
    drop(store);

    let (mut holder, _output) = hold();
    assert!(matches!(small_segments().open(place.path()), Err(Error::Locked { .. })));
    holder.stdin.take().unwrap().write_all(b".").unwrap();
    assert!(holder.wait().unwrap().success());
    let store = small_segments().open(place.path()).unwrap();
    assert!(store.recovery().clean, "{:?}", store.recovery());
    assert_eq!(all_events(&store).len(), 10);
}

#[test]
fn a_reader_changes_no_file() {
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    append(&store, 1_000);
    let killed = place.killed("killed");
    store.close().unwrap();
    // A torn tail, which a writer would cut.
    let torn = place.other("torn");
    copy_tree(&killed, &torn);
    let newest = used_segments(&torn).pop().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end - 10..=end].fill(0);
    fs::write(&newest, bytes).unwrap();
    let bare = place.other("bare");
    copy_tree(&place.path(), &bare);
    for file in log_paths(&bare, ".idx").into_iter().chain(log_paths(&bare, ".part")) {
        fs::remove_file(file).unwrap();
    }
    for (path, events) in [(place.path(), 1_000), (killed, 1_000), (torn, 999), (bare, 1_000)] {
        let before = contents(&path);
        let times = |path: &Path| -> Vec<(PathBuf, i64, i64)> {
            let changed = |file: &PathBuf| file.metadata().unwrap();
            let files = contents(path).into_keys();
            files
                .map(|file| (changed(&file).mtime(), changed(&file).mtime_nsec(), file))
                .map(|(seconds, nanos, file)| (file, seconds, nanos))
                .collect()
        };
        let times_before = times(&path);
        for mode in [ReadMode::Mmap, ReadMode::Positional] {
            let reader = small_segments().read_mode(mode).open_read_only(&path).unwrap();
            assert_eq!(all_events(&reader).len(), events, "{}", path.display());
            assert!(reader.event_by_id(id(500)).unwrap().is_some());
            assert_eq!(reader.stream("Stream-3").unwrap().unwrap().version, Version(143));
            reader.info().unwrap();
            reader.close().unwrap();
            drop(reader);
        }
        assert_eq!(contents(&path), before, "{}", path.display());
        assert_eq!(times(&path), times_before, "{}", path.display());
    }
}

#[test]
fn a_reader_beside_a_writer_sees_what_was_written_and_no_more() {
    let hour = Duration::from_secs(3600);
    for durability in [Durability::Sync, Durability::Os, Durability::Interval(hour)] {
        let place = Place::new();
        let options = || {
            Store::options().durability(durability).upkeep_thread(durability == Durability::Sync)
        };
        let store = Store::options().durability(durability).open(place.path()).unwrap();
        let seen = || {
            let reader = options().open_read_only(place.path()).unwrap();
            let events = all_events(&reader).len() as u64;
            assert_eq!(reader.durable(), store.durable());
            events
        };
        // What is held back is seen by nobody else.
        let is_held = durability == Durability::Interval(hour);
        append(&store, 10);
        assert_eq!(seen(), if is_held { 0 } else { 10 }, "{durability:?}");
        store.sync().unwrap();
        append(&store, 1);
        store.sync().unwrap();
        assert_eq!(seen(), 11, "{durability:?}");
        append(&store, 10);
        assert_eq!(seen(), if is_held { 11 } else { 21 }, "{durability:?}");
        store.close().unwrap();
        assert_eq!(seen(), 21, "{durability:?}");
    }
}

#[test]
fn readers_that_come_and_go_do_not_disturb_a_writer() {
    for durability in [Durability::Sync, Durability::Os] {
        let place = Place::new();
        let store = small_segments().durability(durability).open(place.path()).unwrap();
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let (store, ended, path) = (&store, &ended, place.path());
            scope.spawn(move || {
                // With long appends among them, for which prepared segments are thrown away.
                for n in 0..800 {
                    let bytes = if n % 25 == 24 { 90_000 } else { 2_000 };
                    store.append("Busy-1", Version(n), [sized(bytes)]).unwrap();
                }
                ended.store(true, Ordering::Release);
            });
            let mut seen = 0;
            let mut opened = 0;
            while !ended.load(Ordering::Acquire) {
                let mode = [ReadMode::Mmap, ReadMode::Positional][opened % 2];
                let reader = small_segments().read_mode(mode).open_read_only(&path).unwrap();
                // It follows, so what it has moves on under the reads.
                let events = reader.read_all().into_iter().map(|event| event.unwrap().position().0);
                let events: Vec<u64> = events.collect();
                let now = events.len() as u64;
                assert!(events.into_iter().eq(1..=now), "positions are dense");
                assert!(now >= seen, "a step back from {seen} to {now}");
                assert!(now <= store.head().0, "{now} events, {} visible", store.head());
                (seen, opened) = (now, opened + 1);
            }
            assert!(opened > 5, "readers came {opened} times");
        });
        assert_eq!(all_events(&store).len(), 800);
        store.close().unwrap();
        let store = small_segments().open(place.path()).unwrap();
        assert!(store.recovery().clean);
        assert_eq!(all_events(&store).len(), 800);
    }
}

fn is_root() -> bool {
    // The owner of what this process creates.
    tempfile::tempdir().unwrap().path().metadata().unwrap().uid() == 0
}

/// In a process that is not root: what it may not touch.
#[test]
fn child_without_permission() {
    let Some(root) = child_path() else { return };
    let denied = |result: Result<Store>| {
        let Err(e) = result else { panic!("opened") };
        let Error::Io { source, .. } = &e else { panic!("{e:?}") };
        assert_eq!(source.kind(), io::ErrorKind::PermissionDenied, "{e}");
        assert!(!e.is_corruption());
    };
    for open in WAYS {
        denied(open(&root.join("closed")));
        denied(open(&root.join("closed/below")));
    }
    denied(small_segments().open(root.join("readable")));
    denied(small_segments().open(root.join("none-yet")));
    let missing = small_segments().open_read_only(root.join("none-yet"));
    assert!(matches!(missing, Err(Error::NotFound { .. })));
    let before = contents(&root.join("readable"));
    let reader = small_segments().open_read_only(root.join("readable")).unwrap();
    assert_eq!(all_events(&reader).len(), 300);
    assert_eq!(contents(&root.join("readable")), before);
    println!("\nsaw what it should");
}

#[test]
fn without_permission() {
    const TEST: &str = "without_permission";
    const NOBODY: u32 = 65_534;
    let place = Place::new();
    let root = place.other("");
    closed_store(&root.join("closed"), 3);
    closed_store(&root.join("readable"), 300);
    // Everybody may read, nobody may write, the owner neither: it may be the one who looks.
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    for path in contents(&root.join("readable")).into_keys() {
        set(&path, if path.is_dir() { 0o555 } else { 0o444 }).unwrap();
    }
    set(&root.join("readable"), 0o555).unwrap();
    set(&root.join("closed"), 0).unwrap();
    set(&root, 0o555).unwrap();
    let mut command = child("directories::child_without_permission", &root);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.current_dir("/").output();
    set(&root, 0o755).unwrap();
    for dir in ["closed", "readable", "readable/log"] {
        set(&root.join(dir), 0o755).unwrap();
    }
    match output {
        Err(e) => skip(TEST, &format!("as root, and this binary does not run as nobody: {e}")),
        Ok(output) => {
            let said = crate::support::printed(&output);
            assert!(said.contains("saw what it should"), "{said}");
        }
    }
}

/// A small disk of its own, in memory.
struct SmallDisk {
    place: Place,
}

impl SmallDisk {
    const BYTES: u64 = 6 << 20;

    /// `None`, with a message, where it cannot be mounted.
    fn new(test: &str) -> Option<Self> {
        let place = Place::new();
        fs::create_dir(place.other("disk")).unwrap();
        let size = format!("size={}", Self::BYTES);
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "none"]).arg(place.other("disk"));
        match mount.output() {
            Ok(output) if output.status.success() => Some(Self { place }),
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr);
                skip(test, &format!("no small disk can be mounted: {}", why.trim()));
                None
            }
            Err(e) => {
                skip(test, &format!("no small disk can be mounted: {e}"));
                None
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.place.other("disk/store")
    }

    fn ballast(&self) -> PathBuf {
        self.place.other("disk/ballast")
    }

    /// Takes all space but some.
    fn fill_but(&self, bytes: u64) {
        let mut ballast = fs::File::create(self.ballast()).unwrap();
        let page = [1; 4096];
        while ballast.write_all(&page).is_ok() {}
        let len = ballast.metadata().unwrap().len();
        ballast.set_len(len.saturating_sub(bytes)).unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: maps of it may live.
        let _ = Command::new("umount").arg("-l").arg(self.place.other("disk")).status();
    }
}

fn is_full(e: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(e);
    while let Some(e) = cause {
        if let Some(io) = e.downcast_ref::<io::Error>() {
            return io.kind() == io::ErrorKind::StorageFull;
        }
        cause = e.source();
    }
    false
}

fn small(options: StoreOptions) -> StoreOptions {
    options.segment_bytes(256 << 10)
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_and_does_no_harm() {
    let Some(disk) = SmallDisk::new("a_full_disk_refuses_what_does_not_fit") else { return };
    for durability in [Durability::Sync, Durability::Os] {
        let options = || small(Store::options()).durability(durability);
        let store = options().open(disk.path()).unwrap();
        let before = all_events(&store).len() as u64;
        append(&store, 100);
        disk.fill_but(100 << 10);
        let mut appended = before + 100;
        let refusal = loop {
            match store.append("Large-1", ANY, [sized(20_000)]) {
                Ok(done) => appended = done.position.0,
                Err(e) => break e,
            }
            assert!(appended < 1_000, "the disk is not full");
        };
        // Again and again, and for a batch with a retry in it too: nothing is written.
        for _ in 0..3 {
            let Err(e) = store.append("Large-1", ANY, [sized(20_000)]) else { panic!("no space") };
            for e in [&e, &refusal] {
                assert!(matches!(e, Error::NotWritten { .. }), "{e:?}");
                assert!(is_full(e) && e.is_retryable() && !e.is_corruption(), "{e}");
            }
            assert_eq!(store.head().0, appended);
        }
        assert_eq!(all_events(&store).len() as u64, appended, "reads go on");
        disk.free();
        let done = store.append("Large-1", ANY, [sized(20_000)]).unwrap();
        assert_eq!(done.position.0, appended + 1, "the same handle goes on");
        store.sync().unwrap();
        store.close().unwrap();
        let store = options().open(disk.path()).unwrap();
        assert!(store.recovery().clean, "{:?}", store.recovery());
        assert_eq!(all_events(&store).len() as u64, appended + 1);
        drop(store);
        fs::remove_dir_all(disk.path()).unwrap();
    }
}

#[test]
fn a_disk_that_is_full_at_the_end_or_at_the_beginning() {
    let Some(disk) = SmallDisk::new("a_disk_that_is_full_at_the_end") else { return };
    let options = || small(Store::options());
    // No store can be made, and none is left half made.
    disk.fill_but(16 << 10);
    let e = options().open(disk.path()).expect_err("there is no space");
    assert!(matches!(e, Error::Io { .. }) && is_full(&e), "{e:?}");
    disk.free();
    let store = options().open(disk.path()).unwrap();
    append(&store, 200);
    // Closing cannot save the index, says so, and lets go of the lock.
    disk.fill_but(0);
    let e = store.close().expect_err("there is no space");
    assert!(is_full(&e), "{e:?}");
    drop(store);
    // Nor can the store be opened for writing. It can be read.
    let e = options().open(disk.path()).expect_err("there is no space");
    assert!(is_full(&e), "{e:?}");
    let reader = options().open_read_only(disk.path()).unwrap();
    assert_eq!(all_events(&reader).len(), 200);
    drop(reader);
    disk.free();
    let store = options().open(disk.path()).unwrap();
    assert_eq!(all_events(&store).len(), 200);
    append(&store, 200);
    store.close().unwrap();
    assert_eq!(all_events(&options().open(disk.path()).unwrap()).len(), 400);
}

#[test]
fn a_disk_that_fills_under_a_segment_in_use_poisons_until_it_is_reopened() {
    let Some(disk) = SmallDisk::new("a_disk_that_fills_under_a_segment") else { return };
    // Without space set aside, the write itself fails.
    let options = || small(Store::options()).preallocate(Preallocate::None);
    let store = options().open(disk.path()).unwrap();
    append(&store, 20);
    disk.fill_but(64 << 10);
    let mut answered = 20;
    let failure = loop {
        let event = sized(20_000).id(id(1_000_000 + answered));
        match store.append("Large-1", ANY, [event]) {
            Ok(done) => answered = done.position.0,
            Err(e) => break e,
        }
        assert!(answered < 1_000, "the disk is not full");
    };
    assert!(is_full(&failure) && failure.is_retryable(), "{failure:?}");
    let is_unknown = matches!(failure, Error::Unknown { .. });
    assert!(is_unknown || matches!(failure, Error::NotWritten { .. }), "{failure:?}");
    if is_unknown {
        for _ in 0..3 {
            let Err(e) = store.append("Small-1", ANY, [numbered(1)]) else { panic!("poisoned") };
            assert!(matches!(e, Error::Poisoned { .. }) && is_full(&e), "{e:?}");
        }
        assert!(matches!(store.sync(), Err(Error::Poisoned { .. })));
    }
    assert_eq!(store.head().0, answered);
    assert_eq!(all_events(&store).len() as u64, answered, "reads go on");
    disk.free();
    assert_eq!(store.close().is_err(), is_unknown);
    drop(store);
    let store = options().open(disk.path()).unwrap();
    let found = all_events(&store).len() as u64;
    assert!(found == answered || (is_unknown && found == answered + 1), "{found}, {answered}");
    // The retry with the same id, which is what a caller does who does not know.
    let event = sized(20_000).id(id(1_000_000 + answered));
    let done = store.append("Large-1", ANY, [event]).unwrap();
    assert_eq!((done.position.0, done.deduplicated), (answered + 1, found > answered));
    append(&store, 20);
    store.close().unwrap();
    let store = options().open(disk.path()).unwrap();
    assert_eq!(all_events(&store).len() as u64, answered + 21);
}
