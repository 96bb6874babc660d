//! The whole harness at a tiny size: every work, by the stores that build in seconds.

use std::path::Path;
use std::process::{Command, Output};

const PEERS: &str = "raw,raw-gathering,raw-direct,annals,rusqlite,redb";

fn run(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals-peers"));
    command.args(["--smoke", "--dir"]).arg(dir).args(args).output().unwrap()
}

/// On the disk of the build, since the harness refuses to measure in memory.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[test]
fn every_work_is_done_and_shown_and_nothing_is_left_behind() {
    let dir = scratch();
    let (data, out) = (dir.path().join("data"), dir.path().join("out"));
    let done = run(&data, &["--peers", PEERS, "--out", out.to_str().unwrap()]);
    let table = String::from_utf8(done.stdout).unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success(), "{said}");
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0);
    assert_eq!(std::fs::read_to_string(out.join("table.md")).unwrap(), table);
    // A row for each store in each section, but where it does not have that.
    let rows = |title: &str| {
        let section = table.split("\n## ").find(|section| section.starts_with(title));
        let section = section.unwrap_or_else(|| panic!("no section {title} in {table}"));
        section.lines().filter(|line| line.starts_with("| ")).count() - 1
    };
    for (title, stores) in [
        ("In short", 18),
        ("Durable append, 1 thread, 1 event per commit", 6),
        ("Durable append, 16 threads", 6),
        ("Durable append, 1 thread, 100 events", 6),
        ("Durable append, 1 thread, 1,024", 1),
        ("Relaxed append, 1 event per commit, each", 3),
        ("Relaxed append, 1 event per commit, buffered", 3),
        ("Durable append, 1 thread, if no event", 1),
        ("Read random streams", 4),
        ("Scan everything", 4),
        ("Read a category", 3),
        ("Read a type", 3),
        ("Open after a close", 4),
        ("Open after a kill", 4),
        ("Bytes per event on disk, without", 4),
        ("Bytes per event on disk, all", 4),
        ("Anonymous memory, open", 3),
        ("Anonymous memory, serving", 3),
        ("Append has returned", 2),
    ] {
        assert_eq!(rows(title), stores, "{title}\n{table}");
    }
    let charts = std::fs::read_dir(&out).unwrap().count() - 1;
    assert_eq!(charts, 18);
    let chart = std::fs::read_to_string(out.join("durable-16.svg")).unwrap();
    assert!(chart.contains("annals") && chart.contains("rusqlite"), "{chart}");
}

#[test]
fn what_is_not_known_is_refused() {
    let dir = scratch();
    for args in [["--peers", "nothing"], ["--only", "nothing"], ["--nothing", "1"]] {
        let done = run(dir.path(), &args);
        assert!(!done.status.success() && done.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn a_directory_in_memory_is_refused() {
    if !Path::new("/dev/shm").is_dir() {
        return;
    }
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let done = run(dir.path(), &["--only", "durable-1"]);
    assert!(String::from_utf8(done.stderr).unwrap().contains("in memory"));
}
