//! Instructions of the hot paths, counted by callgrind and compared with `instructions.toml`: times
//! are noisy, counts are not. `docs/benchmarks.md` says how to read them.
//!
//! `cargo bench --bench instructions` compares, and fails where a path takes more than the
//! tolerance allows; `-- --update` writes the counts that it finds; `-- --test` only runs each
//! path, without valgrind.

#![allow(
    missing_docs,
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    reason = "a program that measures, not a library"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use annals::{Durability, ExpectedVersion, NewEvent, Query, Store, StoreOptions};

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.toml");
/// What callgrind counts in, by a part of its name.
const REGION: &str = "*measured_region*";
/// Per cent. Names are hashed with keys of the store, so that counts differ a little each time.
const TOLERANCE: f64 = 3.0;
const EVENTS: u64 = 4_000;
const STREAMS: u64 = 400;

/// A path: what is prepared on a filled store, and so many operations that are counted.
struct Hot {
    name: &'static str,
    run: fn(&Path) -> u64,
}

const PATHS: [Hot; 9] = [
    Hot { name: "append_one", run: append_one },
    Hot { name: "append_to_new_stream", run: append_to_new_stream },
    Hot { name: "append_batch_of_100", run: append_batch_of_100 },
    Hot { name: "append_on_condition", run: append_on_condition },
    Hot { name: "read_stream_of_10", run: read_stream_of_10 },
    Hot { name: "scan_event", run: scan_event },
    Hot { name: "category_event", run: category_event },
    Hot { name: "catch_up_event", run: catch_up_event },
    Hot { name: "open", run: open },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--test"] => {
            for path in PATHS {
                in_a_directory(path.run);
            }
            ExitCode::SUCCESS
        }
        ["--path", name] => {
            let path = PATHS.into_iter().find(|path| path.name == *name);
            let operations = in_a_directory(path.expect("a path of this program").run);
            say(&format!("operations {operations}\n"));
            ExitCode::SUCCESS
        }
        [] => compare(),
        ["--update"] => update(),
        _ => {
            say("usage: instructions [--update | --test]\n");
            ExitCode::from(2)
        }
    }
}

fn say(text: &str) {
    // There is nowhere left to say that the output is closed.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// In memory where the system has such a directory: without the upkeep thread each append syncs,
/// and what a disk takes for that is not what is counted.
fn in_a_directory(run: fn(&Path) -> u64) -> u64 {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory } else { Path::new(env!("CARGO_TARGET_TMPDIR")) };
    let dir = tempfile::tempdir_in(base).expect("a directory");
    run(&dir.path().join("store"))
}

/// What is counted, with everything that it calls.
#[inline(never)]
fn measured_region<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

/// No other thread: what it did would depend on the moment.
fn options() -> StoreOptions {
    Store::options().durability(Durability::Os).upkeep_thread(false)
}

fn stream(n: u64) -> String {
    let category = if n.is_multiple_of(10) { "Order" } else { "Stock" };
    format!("{category}-{n:08}")
}

fn event() -> NewEvent {
    NewEvent::new("OrderPlaced", vec![b'x'; 238])
}

fn append(store: &Store, n: u64, event: NewEvent) {
    let stream = stream(n * 7919 % STREAMS);
    store.append(&stream, ExpectedVersion::Any, [event]).expect("an append");
}

/// A store that was closed: all of it is in the index's files.
fn filled(dir: &Path) -> Store {
    let store = options().upkeep_thread(true).open(dir).expect("a store");
    (0..EVENTS).for_each(|n| append(&store, n, event()));
    store.close().expect("a clean close");
    options().open(dir).expect("a store")
}

/// Most of it in the index's files, some of it live, as in a store in use.
fn filled_and_opened(dir: &Path) -> Store {
    let store = filled(dir);
    (0..EVENTS / 4).for_each(|n| append(&store, n, event()));
    store
}

fn append_one(dir: &Path) -> u64 {
    let store = filled(dir);
    measured_region(|| (0..1000).for_each(|n| append(&store, n, event())));
    1000
}

fn append_to_new_stream(dir: &Path) -> u64 {
    let store = filled_and_opened(dir);
    measured_region(|| {
        for n in 0..1000 {
            let name = format!("Fresh-{n:08}");
            store.append(&name, ExpectedVersion::NoStream, [event()]).expect("an append");
        }
    });
    1000
}

fn append_batch_of_100(dir: &Path) -> u64 {
    let store = filled(dir);
    measured_region(|| {
        for n in 0..20 {
            let events = (0..100).map(|_| event());
            store.append(stream(n), ExpectedVersion::Any, events).expect("an append");
        }
    });
    20
}

fn append_on_condition(dir: &Path) -> u64 {
    let store = filled_and_opened(dir);
    (0..1000).for_each(|n| append(&store, n, event().tag(format!("customer:{n}"))));
    measured_region(|| {
        for n in 0..500 {
            let tag = format!("unseen:{n}");
            let batch = store.batch().append(stream(n), ExpectedVersion::Any, [event().tag(&tag)]);
            batch.unless(Query::new().tag(&tag)).commit().expect("an append");
        }
    });
    500
}

fn read_stream_of_10(dir: &Path) -> u64 {
    let store = filled(dir);
    measured_region(|| {
        for n in 0..500 {
            let read = store.read_stream(stream(n * 7919 % STREAMS));
            let bytes: usize = read.into_iter().map(|event| event.unwrap().data().len()).sum();
            assert_eq!(black_box(bytes), 2380);
        }
    });
    500
}

fn scan_event(dir: &Path) -> u64 {
    let store = filled_and_opened(dir);
    let bytes: usize = measured_region(|| {
        store.read_all().into_iter().map(|event| event.unwrap().data().len()).sum()
    });
    (bytes / 238) as u64
}

fn category_event(dir: &Path) -> u64 {
    let store = filled_and_opened(dir);
    let bytes: usize = measured_region(|| {
        let read = store.read_all().category("Order");
        read.into_iter().map(|event| event.unwrap().data().len()).sum()
    });
    (bytes / 238) as u64
}

fn catch_up_event(dir: &Path) -> u64 {
    let store = filled_and_opened(dir);
    let mut following = store.subscribe().start().expect("a subscription");
    measured_region(|| {
        let mut events = 0;
        while following.try_next().expect("a read").is_some() {
            events += 1;
        }
        events
    })
}

fn open(dir: &Path) -> u64 {
    filled(dir).close().expect("a clean close");
    for _ in 0..10 {
        let store = measured_region(|| options().open(dir).expect("a store"));
        store.close().expect("a clean close");
    }
    10
}

/// Runs this program under callgrind once per path: instructions per operation. `None` where there
/// is no valgrind.
fn count() -> Option<BTreeMap<String, f64>> {
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        return None;
    }
    Some(PATHS.iter().map(|path| (path.name.to_owned(), count_path(path.name))).collect())
}

fn count_path(name: &str) -> f64 {
    let made = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect={REGION}"))
        .arg(std::env::current_exe().expect("this program"))
        .args(["--path", name])
        .output()
        .expect("valgrind");
    let (out, log) = (String::from_utf8_lossy(&made.stdout), String::from_utf8_lossy(&made.stderr));
    assert!(made.status.success(), "{name} failed under valgrind: {out}{log}");
    let number = |text: &str, behind: &str| -> Option<f64> {
        let line = text.lines().find(|line| line.contains(behind))?;
        line.split_whitespace().next_back()?.parse().ok()
    };
    let counted = number(&log, "Collected :").expect("a count");
    counted / number(&out, "operations").expect("a number of operations")
}

fn baseline() -> BTreeMap<String, f64> {
    let text = std::fs::read_to_string(BASELINE).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(" = "));
    lines.filter_map(|(name, count)| Some((name.to_owned(), count.parse().ok()?))).collect()
}

fn compare() -> ExitCode {
    let Some(counted) = count() else {
        say("skipped: valgrind is not installed\n");
        return ExitCode::SUCCESS;
    };
    let baseline = baseline();
    if baseline.is_empty() {
        say("skipped: benches/instructions.toml has no counts yet; -- --update writes them\n");
        return ExitCode::SUCCESS;
    }
    let (mut text, mut is_worse) = (String::new(), false);
    for (name, count) in counted {
        let Some(before) = baseline.get(&name) else {
            is_worse = true;
            let _ = writeln!(text, "{name:<24} {count:>12.0}  not in the baseline");
            continue;
        };
        let change = (count / before - 1.0) * 100.0;
        let verdict = if change > TOLERANCE {
            is_worse = true;
            "WORSE"
        } else if change < -TOLERANCE {
            "better: update the baseline"
        } else {
            ""
        };
        let _ = writeln!(text, "{name:<24} {count:>12.0}  {change:>+7.2} %  {verdict}");
    }
    say(&text);
    if !is_worse {
        return ExitCode::SUCCESS;
    }
    say("more instructions than benches/instructions.toml allows; where that is meant:\n\
         cargo bench --bench instructions -- --update\n");
    ExitCode::FAILURE
}

fn update() -> ExitCode {
    let Some(counted) = count() else {
        say("valgrind is not installed\n");
        return ExitCode::FAILURE;
    };
    let mut text = format!(
        "# Instructions per operation of the hot paths, counted by callgrind on {}.\n\
         # Written by `cargo bench --bench instructions -- --update`; more than\n\
         # {TOLERANCE} per cent above these is a failure. Another compiler counts differently.\n\n",
        std::env::consts::ARCH
    );
    for (name, count) in counted {
        let _ = writeln!(text, "{name} = {count:.0}");
    }
    std::fs::write(PathBuf::from(BASELINE), &text).expect("a file that can be written");
    say(&text);
    ExitCode::SUCCESS
}
