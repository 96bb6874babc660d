//! A process that appends is killed at any moment, also while it recovers from the kill before, and
//! another one looks whether everything that was acknowledged is there.
//!
//! The process is this very test binary, started again for one test. `ANNALS_LONG=1` kills 2,000
//! times instead of 20; `ANNALS_SEED=n` takes other moments. A failure names the directory, which
//! is kept then.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use annals::{
    EventId, ExpectedVersion, NewEvent, Position, Query, Store, StoreOptions, StoredView,
    ViewUpdate,
};

/// Where the process that is to be killed finds its store, and its number.
const STORE: &str = "ANNALS_KILL_STORE";
const ROUND: &str = "ANNALS_KILL_ROUND";
const THREADS: u64 = 3;
/// A store is killed so often, then the next one begins.
const ROUNDS_OF_A_STORE: u64 = 20;

/// Who made an append: the round, the thread, and the thread's number for it.
type Author = (u64, u64, u64);

fn options() -> StoreOptions {
    // Small, so that a short life meets rolls, index files and index checkpoints too.
    Store::options().segment_bytes(128 << 10).checkpoint_bytes(16 << 10)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Splitmix64.
fn next(random: &mut u64) -> u64 {
    *random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*random ^ (*random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn id_of((round, thread, n): Author) -> EventId {
    uuid::Uuid::from_u64_pair(1 + round, (thread << 48) | n).into()
}

#[test]
#[ignore = "is started by the test below, in a process of its own"]
fn the_process_that_is_killed() {
    let Some(store) = std::env::var_os(STORE) else { return };
    let round = number(ROUND).unwrap();
    let store = options().open(Path::new(&store)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || append_for_ever(store, round, thread));
        }
    });
}

fn append_for_ever(store: &Store, round: u64, thread: u64) {
    for n in 0.. {
        let count = n % 3 + 1;
        let padding = "x".repeat(usize::try_from(n * 37 % 900).unwrap());
        let events = (0..count).map(|index| {
            let data = format!("{round} {thread} {n} {index} {count} {padding}");
            let event = NewEvent::new("Loaded", data);
            if index == 0 { event.id(id_of((round, thread, n))) } else { event }
        });
        let stream = format!("Load-{}", n % 11);
        let done = store.append(stream, ExpectedVersion::Any, events).unwrap();
        let line = format!("ACK {round} {thread} {n} {}\n", done.position);
        // One write, so that a line is there or cut, and never mixed with another.
        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
        std::io::stdout().lock().flush().unwrap();
    }
}

/// Starts the process, kills it, and returns what it acknowledged: who, and the last position.
fn kill(dir: &Path, round: u64, after: Duration) -> Vec<(Author, u64)> {
    kill_process("the_process_that_is_killed", dir, round, after)
}

fn kill_process(name: &str, dir: &Path, round: u64, after: Duration) -> Vec<(Author, u64)> {
    let out = dir.join("out");
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env(STORE, dir.join("store"))
        .env(ROUND, round.to_string())
        .stdout(File::create(&out).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(after);
    assert!(process.try_wait().unwrap().is_none(), "round {round} ended by itself");
    process.kill().unwrap();
    process.wait().unwrap();
    let text = std::fs::read_to_string(&out).unwrap();
    // A line without its end was not told.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    // The harness leaves the name of the test without a line's end before the first one.
    let lines = whole.lines().filter_map(|line| line.split_once("ACK ").map(|(_, ack)| ack));
    lines
        .map(|ack| {
            let numbers: Vec<u64> = ack.split(' ').map(|n| n.parse().unwrap()).collect();
            let [round, thread, n, position] = numbers[..] else { panic!("a line {ack:?}") };
            ((round, thread, n), position)
        })
        .collect()
}

/// Checks that a store is dense, holds whole appends only, and each that was acknowledged.
fn check(store: &Store, acknowledged: &[(Author, u64)]) {
    let mut versions: HashMap<String, u64> = HashMap::new();
    let mut appends: HashMap<Author, u64> = HashMap::new();
    let mut position = 0;
    let mut left = 0;
    for event in store.read_all() {
        let event = event.unwrap();
        position += 1;
        assert_eq!(event.position().0, position);
        let version = versions.entry(event.stream().to_owned()).or_default();
        *version += 1;
        assert_eq!(event.version().0, *version, "{} at {position}", event.stream());
        if event.event_type() != "Loaded" {
            assert_eq!(left, 0, "half an append before {position}");
            continue;
        }
        let text = String::from_utf8(event.data().to_vec()).unwrap();
        let numbers: Vec<u64> = text.split(' ').take(5).map(|n| n.parse().unwrap()).collect();
        let [round, thread, n, index, count] = numbers[..] else { panic!("{text:?}") };
        assert_eq!(left, if index == 0 { 0 } else { count - index }, "a part at {position}");
        left = count - index - 1;
        if left == 0 {
            let before = appends.insert((round, thread, n), position);
            assert_eq!(before, None, "twice: {text:?}");
        }
    }
    assert_eq!(left, 0, "half an append at the end");
    assert_eq!(store.head().0, position);
    for (author, position) in acknowledged {
        assert_eq!(appends.get(author), Some(position), "acknowledged by {author:?}");
        let found = store.event_by_id(id_of(*author)).unwrap();
        assert!(found.is_some(), "{author:?} by its id");
    }
    for (stream, last) in versions {
        assert_eq!(store.read_stream(&stream).into_iter().count() as u64, last, "{stream}");
    }
}

#[test]
fn what_was_acknowledged_is_there_after_every_kill() {
    let is_long = std::env::var_os("ANNALS_LONG").is_some_and(|long| long != "0");
    let rounds: u64 = if is_long { 2_000 } else { 20 };
    let seed = number("ANNALS_SEED").unwrap_or(20_260_821);
    let mut random = seed;
    let mut dir = tempfile::tempdir().unwrap().keep();
    let (mut acknowledged, mut acks, mut while_opening) = (Vec::new(), 0, 0);
    for round in 0..rounds {
        eprintln!("round {round} of seed {seed}, in {}", dir.display());
        // A quarter of them while the store is being opened, or a little behind that.
        let is_early = next(&mut random).is_multiple_of(4);
        let within = if is_early { 15_000 } else { 150_000 };
        let after = Duration::from_micros(1_000 + next(&mut random) % within);
        let mut new = kill(&dir, round, after);
        acks += new.len();
        while_opening += usize::from(new.is_empty());
        acknowledged.append(&mut new);
        let path = dir.join("store");
        if path.join("STORE").exists() {
            // Looking changes nothing, so the next process recovers from this kill, and may be
            // killed at that.
            check(&Store::open_read_only(&path).unwrap(), &acknowledged);
            if next(&mut random).is_multiple_of(5) {
                let store = options().open(&path).unwrap();
                check(&store, &acknowledged);
                let head = store.head().0;
                let checked = [NewEvent::new("Checked", "")];
                let done = store.append("Check-1", ExpectedVersion::Any, checked).unwrap();
                assert_eq!(done.position.0, head + 1);
                store.close().unwrap();
            }
        } else {
            assert!(acknowledged.is_empty(), "the store is gone");
        }
        if (round + 1) % ROUNDS_OF_A_STORE == 0 {
            std::fs::remove_dir_all(&dir).unwrap();
            dir = tempfile::tempdir().unwrap().keep();
            acknowledged.clear();
        }
    }
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(acks > 0, "no append was ever acknowledged");
    eprintln!("{rounds} kills, {while_opening} before the first append, {acks} acknowledged");
}

/// Counts an event: how often each key was put, and what last.
fn count(update: ViewUpdate, counts: &mut BTreeMap<String, u64>, data: &str) -> ViewUpdate {
    let (key, value) = data.split_once('=').unwrap();
    let count = counts.entry(key.into()).or_default();
    *count += 1;
    update.put(key, format!("{count} {value}"))
}

/// The counts of a view, as far as its events are about them.
fn counts_of(view: &StoredView) -> BTreeMap<String, u64> {
    let entries = view.scan().read().unwrap().map(|entry| {
        let (key, value) = entry.unwrap();
        let text = String::from_utf8(value.to_vec()).unwrap();
        let count = text.split(' ').next().unwrap().parse().unwrap();
        (String::from_utf8(key).unwrap(), count)
    });
    entries.collect()
}

#[test]
#[ignore = "is started by the test below, in a process of its own"]
fn the_process_with_a_view_that_is_killed() {
    let Some(store) = std::env::var_os(STORE) else { return };
    let round = number(ROUND).unwrap();
    let store = options().open(Path::new(&store)).unwrap();
    let view = store.create_view("counts", 1).unwrap();
    let mut random = round;
    let mut counts = counts_of(&view);
    for n in 0_usize.. {
        let data = || format!("{}={}", n * 7 % 13, "v".repeat(n * 31 % 700));
        let (inline, from) = (next(&mut random).is_multiple_of(2), view.position().unwrap());
        if !inline {
            let event = NewEvent::new("Put", data());
            store.append("Load-1", ExpectedVersion::Any, [event]).unwrap();
        }
        if !inline && next(&mut random).is_multiple_of(2) {
            continue;
        }
        let mut update = view.update(from);
        let mut upto = from;
        for event in store.read_all().after(from) {
            let event = event.unwrap();
            upto = event.position();
            update = count(update, &mut counts, str::from_utf8(event.data()).unwrap());
        }
        if inline {
            update = count(update, &mut counts, &data());
            let event = NewEvent::new("Put", data());
            let batch = store.batch().append("Load-1", ExpectedVersion::Any, [event]);
            let batch = batch.unless(Query::new().after(upto)).update_view(update);
            upto = batch.commit().unwrap()[0].position;
        } else {
            view.commit(update, upto).unwrap();
        }
        let line = format!("ACK {round} 0 {n} {upto}\n");
        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
        std::io::stdout().lock().flush().unwrap();
    }
}

/// The view is the fold of the log up to where it stands. Says where that is.
fn check_view(store: &Store) -> Position {
    let Some(view) = store.view("counts").unwrap() else { return Position::START };
    let entries = view.scan().read().unwrap();
    let position = entries.position();
    let found: BTreeMap<Vec<u8>, Vec<u8>> =
        entries.map(|entry| entry.map(|(key, value)| (key, value.to_vec())).unwrap()).collect();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut expected = BTreeMap::new();
    for event in store.read_all() {
        let event = event.unwrap();
        if event.position() > position {
            break;
        }
        let (key, value) = str::from_utf8(event.data()).unwrap().split_once('=').unwrap();
        let count = counts.entry(key.into()).or_default();
        *count += 1;
        expected.insert(key.as_bytes().to_vec(), format!("{count} {value}").into_bytes());
    }
    assert_eq!(found, expected, "at {position}");
    position
}

#[test]
fn a_view_is_the_fold_of_the_log_after_every_kill() {
    let is_long = std::env::var_os("ANNALS_LONG").is_some_and(|long| long != "0");
    let rounds: u64 = if is_long { 1_000 } else { 12 };
    let seed = number("ANNALS_SEED").unwrap_or(20_260_822);
    let mut random = seed;
    let dir = tempfile::tempdir().unwrap().keep();
    let (path, mut acks, mut last) = (dir.join("store"), 0, 0);
    for round in 0..rounds {
        eprintln!("round {round} of seed {seed}, in {}", dir.display());
        let after = Duration::from_micros(1_000 + next(&mut random) % 500_000);
        let told = kill_process("the_process_with_a_view_that_is_killed", &dir, round, after);
        acks += told.len();
        let least = told.last().map_or(last, |(_, position)| *position);
        if !path.join("STORE").exists() {
            continue;
        }
        // Looking changes nothing; the next process recovers from this kill.
        last = check_view(&Store::open_read_only(&path).unwrap()).0;
        assert!(last >= least, "{last}, told {least}");
        if next(&mut random).is_multiple_of(3) {
            let store = options().open(&path).unwrap();
            assert_eq!(check_view(&store).0, last);
            store.close().unwrap();
            assert_eq!(check_view(&options().open(&path).unwrap()).0, last);
        }
    }
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(acks > 0, "no commit was ever acknowledged");
    eprintln!("{rounds} kills, {acks} commits acknowledged, the view at {last}");
}
