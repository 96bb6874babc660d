//! Fails when something new slips past the harnesses: a call of the storage, a kind of file, or a
//! public operation that none of them uses.
//!
//! The sweeps crash and fail every call of their histories, so a call is covered where it is in the
//! trace of one.

use std::collections::BTreeSet;

use super::history::Runner;
use super::{crash, cursors, damage, explore, faults, snapshots, views};
use crate::Durability;
use crate::format::files::{LogFile, StateFile, TEMPORARY, parse_directory};
use crate::state::tests::damaged_names as state_damaged_names;
use crate::storage::memory::{Call, CallKind};

/// The calls of the storage: the traits' methods, and what the simulated disk counts them as.
/// `None` are those that cannot fail and change nothing: they say something at once.
const CALLS: [(&str, Option<CallKind>); 22] = [
    ("root", None),
    ("create_dir", Some(CallKind::CreateDir)),
    ("list", Some(CallKind::List)),
    ("sync_dir", Some(CallKind::SyncDir)),
    ("create", Some(CallKind::Create)),
    ("open", Some(CallKind::Open)),
    ("rename", Some(CallKind::Rename)),
    ("remove", Some(CallKind::Remove)),
    ("lock", Some(CallKind::Lock)),
    ("is_locked", Some(CallKind::Lock)),
    ("shared_page", Some(CallKind::SharedPage)),
    ("now", None),
    ("fill_random", Some(CallKind::Random)),
    ("len", Some(CallKind::Len)),
    ("read_at", Some(CallKind::Read)),
    ("read_direct", Some(CallKind::ReadDirect)),
    ("write_at", Some(CallKind::Write)),
    ("sync", Some(CallKind::Sync)),
    ("grow", Some(CallKind::Grow)),
    ("drop_cache", Some(CallKind::DropCache)),
    ("release", Some(CallKind::Release)),
    ("map", Some(CallKind::Map)),
];

/// The kinds of files, as `format/files.rs` declares them.
const FILES: [&str; 12] = [
    "STORE",
    "LOCK",
    "HEAD",
    "TEMPORARY",
    "DIRECTORY",
    "VALUES",
    "SNAPSHOTS",
    "VIEW",
    "Segment",
    "SealedIndex",
    "IndexCheckpoint",
    "IdRun",
];

/// The harnesses, by what their text calls. Each drives a store through crashes or faults.
const HARNESSES: [(&str, &str); 9] = [
    ("cursors", include_str!("cursors.rs")),
    ("found", include_str!("found.rs")),
    ("history", include_str!("history.rs")),
    ("model", include_str!("model.rs")),
    ("oracle", include_str!("oracle.rs")),
    ("schedules", include_str!("schedules.rs")),
    ("snapshots", include_str!("snapshots.rs")),
    ("views", include_str!("views.rs")),
    ("mod", include_str!("mod.rs")),
];

/// The files with public operations.
const FACADE: [(&str, &str); 20] = [
    ("store", include_str!("../store.rs")),
    ("reads", include_str!("../store/reads.rs")),
    ("options", include_str!("../store/options.rs")),
    ("batch", include_str!("../batch.rs")),
    ("all", include_str!("../reader/all.rs")),
    ("stream", include_str!("../reader/stream.rs")),
    ("listing", include_str!("../reader/listing.rs")),
    ("subscribe", include_str!("../subscription/begin.rs")),
    ("subscription", include_str!("../subscription.rs")),
    ("transact", include_str!("../store/transact.rs")),
    ("cursors", include_str!("../store/cursors.rs")),
    ("owned", include_str!("../cursor/owned.rs")),
    ("appends", include_str!("../store/appends.rs")),
    ("events", include_str!("../subscription/stream.rs")),
    ("views", include_str!("../store/views.rs")),
    ("stored", include_str!("../view/stored.rs")),
    ("update", include_str!("../view/update.rs")),
    ("scan", include_str!("../view/scan.rs")),
    ("snapshots", include_str!("../store/snapshots.rs")),
    ("snapshot", include_str!("../snapshot.rs")),
];

/// Every public operation, with the harness that uses it, or the reason why none does.
const OPERATIONS: [(&str, &str, Result<&str, &str>); 140] = [
    ("store", "open", Err("the options' `open` on the directory of the system")),
    ("store", "open_read_only", Err("the options' `open_read_only` on such a directory")),
    ("store", "in_memory", Err("a disk that does not break; `it` uses it everywhere")),
    ("store", "options", Ok("mod")),
    ("store", "append", Ok("schedules")),
    ("store", "batch", Ok("history")),
    ("reads", "read_stream", Ok("oracle")),
    ("reads", "read_all", Ok("oracle")),
    ("reads", "event", Ok("oracle")),
    ("reads", "event_by_id", Ok("oracle")),
    ("reads", "stream", Ok("oracle")),
    ("store", "head", Ok("oracle")),
    ("store", "durable", Ok("oracle")),
    ("store", "sync", Ok("history")),
    ("store", "close", Ok("history")),
    ("store", "recovery", Ok("oracle")),
    ("store", "info", Ok("oracle")),
    ("options", "durability", Ok("history")),
    ("options", "read_mode", Err("a simulated disk has no maps: all of its reads are positional")),
    ("options", "preallocate", Ok("schedules")),
    ("options", "limits", Err("refuses before anything is written: `it/limits`")),
    ("options", "segment_bytes", Ok("mod")),
    ("options", "checkpoint_bytes", Ok("schedules")),
    ("options", "create", Err("refuses before anything is written: `it/lifecycle`")),
    ("options", "upkeep_thread", Ok("mod")),
    (
        "options",
        "hash_bits",
        Err("changes what is looked at, not what is written: `it/collisions`"),
    ),
    ("options", "heads_kept", Ok("mod")),
    ("options", "open", Err("`open_in` behind it is what every harness calls")),
    ("options", "open_read_only", Err("`open_read_only_in` behind it is what the oracle calls")),
    ("options", "in_memory", Err("a disk that does not break; `it` uses it everywhere")),
    ("batch", "append", Ok("history")),
    ("batch", "expect", Err("a part without events: refuses or writes nothing, `it/append`")),
    ("batch", "durability", Err("a group that asks for a sync is synced as in `Sync`: `it`")),
    ("batch", "commit", Ok("history")),
    ("all", "after", Ok("oracle")),
    ("all", "backwards", Ok("oracle")),
    ("all", "limit", Ok("oracle")),
    ("stream", "after", Ok("oracle")),
    ("stream", "backwards", Ok("oracle")),
    ("stream", "limit", Ok("oracle")),
    ("store", "verify", Err("`Verify` behind it is what the oracle runs")),
    ("reads", "read", Err("the way of `read_all` with a query: `it/query`")),
    ("reads", "subscribe", Ok("found")),
    ("reads", "streams", Ok("found")),
    ("reads", "categories", Ok("found")),
    ("reads", "event_types", Ok("found")),
    ("reads", "schemas", Ok("found")),
    ("reads", "position_at", Ok("found")),
    ("batch", "unless", Err("refuses before anything is written: `it/conditions`")),
    ("batch", "require", Err("refuses before anything is written: `it/conditions`")),
    ("all", "explain", Err("makes the read and counts: `it/query`")),
    ("listing", "category", Err("leaves out rows of the list: `it/query`")),
    ("listing", "prefix", Err("leaves out rows of the list: `it/query`")),
    ("subscribe", "matching", Err("a query like that of a read: `it/subscribe`")),
    ("subscribe", "after", Err("where a read begins: `it/subscribe`")),
    ("subscribe", "fell_behind_after", Err("when a mark is given: `it/subscribe`")),
    ("subscribe", "start", Ok("found")),
    ("subscription", "stop", Err("writes nothing and reads nothing: `it/subscribe`")),
    ("subscription", "is_stopped", Err("writes nothing and reads nothing: `it/subscribe`")),
    ("subscription", "try_next", Ok("found")),
    ("subscription", "next_timeout", Err("`try_next` with a wait: `it/subscribe`")),
    ("subscription", "next_signal", Err("`try_next` with marks: `it/subscribe`")),
    ("subscribe", "cursor", Err("owns a cursor, which `cursors` does: `it/subscribe`")),
    ("subscribe", "save_every", Err("saves a cursor, which `cursors` does: `it/subscribe`")),
    ("subscribe", "save_interval", Err("saves a cursor, which `cursors` does: `it/subscribe`")),
    ("subscription", "save", Err("saves a cursor, which `cursors` does: `it/subscribe`")),
    ("subscription", "position", Err("writes nothing and reads nothing: `it/subscribe`")),
    ("subscription", "lag", Err("writes nothing and reads nothing: `it/subscribe`")),
    ("subscription", "stop_handle", Err("writes nothing and reads nothing: `it/subscribe`")),
    ("batch", "save_cursor", Ok("cursors")),
    ("transact", "read_stream", Err("passes the call on to the store's own: `it/transact`")),
    ("transact", "read_all", Err("passes the call on to the store's own: `it/transact`")),
    ("transact", "read", Err("passes the call on to the store's own: `it/transact`")),
    ("transact", "stream", Err("passes the call on to the store's own: `it/transact`")),
    ("transact", "event", Err("passes the call on to the store's own: `it/transact`")),
    ("transact", "event_by_id", Err("passes the call on to the store's own: `it/transact`")),
    ("transact", "head", Err("passes the call on to the store's own: `it/transact`")),
    ("transact", "batch", Err("passes the call on to the store's own: `it/transact`")),
    ("transact", "transact", Err("the commit of a group of one request: `it/transact`")),
    ("cursors", "save_cursor", Ok("cursors")),
    ("cursors", "cursor", Ok("cursors")),
    ("cursors", "cursors", Ok("cursors")),
    ("cursors", "reset_cursor", Ok("cursors")),
    ("cursors", "delete_cursor", Ok("cursors")),
    ("cursors", "rename_cursor", Ok("cursors")),
    ("cursors", "own_cursor", Ok("cursors")),
    ("cursors", "wait_for", Ok("cursors")),
    ("owned", "name", Ok("cursors")),
    ("owned", "position", Ok("cursors")),
    ("owned", "save", Ok("cursors")),
    ("options", "pending_bytes", Err("bounds a queue in memory: `it/tasks`")),
    ("batch", "commit_async", Err("`commit` on another thread: `it/tasks`")),
    ("subscribe", "start_stream", Err("reads as `start`, on another thread: `it/tasks`")),
    ("appends", "append_async", Err("`append` on another thread: `it/tasks`")),
    ("events", "save", Err("saves a cursor, which `cursors` does: `it/tasks`")),
    ("events", "save_upto", Err("saves a cursor, which `cursors` does: `kit/streams`")),
    ("events", "position", Err("writes nothing and reads nothing: `it/tasks`")),
    ("events", "lag", Err("writes nothing and reads nothing: `it/tasks`")),
    ("events", "stop_handle", Err("writes nothing and reads nothing: `it/tasks`")),
    ("batch", "update_view", Ok("views")),
    ("views", "create_view", Ok("views")),
    ("views", "view", Ok("views")),
    ("views", "views", Ok("views")),
    ("views", "reset_view", Ok("views")),
    ("views", "delete_view", Ok("views")),
    ("views", "rename_view", Ok("views")),
    ("views", "wait_for_view", Err("waits for commits, which `views` makes: `it/views`")),
    ("stored", "name", Err("writes nothing and reads nothing: `it/views`")),
    ("stored", "schema", Ok("views")),
    ("stored", "position", Ok("views")),
    ("stored", "info", Ok("views")),
    ("stored", "get", Ok("views")),
    ("stored", "scan", Ok("views")),
    ("stored", "update", Ok("views")),
    ("stored", "commit", Ok("views")),
    ("stored", "parked", Err("reads notes that are committed as entries are: `it/views`")),
    ("update", "put", Ok("views")),
    ("update", "delete", Ok("views")),
    ("update", "park", Err("a note that is committed as an entry is: `it/views`")),
    ("update", "unpark", Err("a note that is committed as an entry is: `it/views`")),
    ("update", "name", Err("writes nothing and reads nothing: `it/views`")),
    ("update", "from", Err("writes nothing and reads nothing: `it/views`")),
    ("update", "len", Err("writes nothing and reads nothing: `it/views`")),
    ("update", "is_empty", Err("writes nothing and reads nothing: `it/views`")),
    ("scan", "prefix", Ok("views")),
    ("scan", "after", Ok("views")),
    ("scan", "before", Ok("views")),
    ("scan", "limit", Ok("views")),
    ("scan", "backwards", Ok("views")),
    ("scan", "read", Ok("views")),
    ("scan", "position", Ok("views")),
    ("snapshots", "save_snapshot", Ok("snapshots")),
    ("snapshots", "snapshot", Ok("snapshots")),
    ("snapshots", "find_snapshot", Ok("snapshots")),
    ("snapshots", "snapshots", Ok("snapshots")),
    ("snapshots", "snapshots_of", Ok("snapshots")),
    ("snapshots", "delete_snapshots", Ok("snapshots")),
    ("snapshot", "new", Ok("snapshots")),
    ("snapshot", "schema", Ok("snapshots")),
    ("snapshot", "keep", Ok("snapshots")),
];

/// The names behind `start` and before `(` in a text, tests and what only they see left out.
fn functions(text: &str, start: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let names = text.lines().filter_map(|line| line.trim_start().strip_prefix(start));
    let name = |rest: &str| rest.split(['(', '<']).next().unwrap_or_default().to_owned();
    names.map(name).collect()
}

/// What kind a file is, in the words of [`FILES`].
fn kind_of(name: &str) -> Option<&'static str> {
    let entry = name.rsplit('/').next().unwrap_or_default();
    Some(match entry {
        "STORE" => "STORE",
        "LOCK" => "LOCK",
        "head" => "HEAD",
        _ if entry.ends_with(TEMPORARY) => "TEMPORARY",
        _ if parse_directory(entry).is_some() => "DIRECTORY",
        _ if let Some((file, _)) = StateFile::parse(entry) => match file {
            StateFile::Values => "VALUES",
            StateFile::Snapshots => "SNAPSHOTS",
            StateFile::View(_) => "VIEW",
        },
        _ => match LogFile::parse(entry)? {
            LogFile::Segment { .. } => "Segment",
            LogFile::SealedIndex { .. } => "SealedIndex",
            LogFile::IndexCheckpoint { .. } => "IndexCheckpoint",
            LogFile::IdRun { .. } => "IdRun",
        },
    })
}

fn trace(history: super::history::History) -> Vec<Call> {
    let super::history::History { disk, model, options, acts } = history;
    disk.start_trace();
    let mut runner = Runner::new(&disk, &options, Durability::Sync, model);
    assert!(runner.run(&acts).is_none());
    runner.close().unwrap();
    disk.trace()
}

/// Panics unless every call and every kind of file is in what a harness goes through.
fn assert_all_seen(harness: &str, calls: &[Call], not: &[(&str, &str)]) {
    let kinds: BTreeSet<String> = calls.iter().map(|call| format!("{:?}", call.kind)).collect();
    let files: BTreeSet<&str> = calls.iter().filter_map(|call| kind_of(&call.name)).collect();
    let is_excused = |what: &str| not.iter().any(|(excused, _)| *excused == what);
    for (method, kind) in CALLS {
        let seen = kind.is_none_or(|kind| kinds.contains(&format!("{kind:?}")));
        assert_ne!(seen, is_excused(method), "{harness}: {method} is seen: {seen}");
    }
    for file in FILES {
        assert_ne!(files.contains(file), is_excused(file), "{harness}: {file}");
    }
}

#[test]
fn the_table_of_storage_calls_is_that_of_the_traits() {
    let text = include_str!("../storage/mod.rs");
    let traits = ["pub(crate) trait Storage", "pub(crate) trait File"];
    let methods: Vec<String> = traits
        .iter()
        .flat_map(|start| {
            let body = text.split(start).nth(1).unwrap().split("\n}").next().unwrap();
            functions(body, "fn ")
        })
        .collect();
    assert_eq!(methods, CALLS.map(|(method, _)| method), "a call of the storage is new or gone");
}

#[test]
fn the_table_of_files_is_that_of_the_format() {
    let text = include_str!("../format/files.rs");
    let variants = text.split("enum LogFile {").nth(1).unwrap().split("\n}").next().unwrap();
    let variants = variants.lines().filter_map(|line| line.trim().split_once(" {"));
    let constant = |line: &str| {
        let rest = line.strip_prefix("pub(crate) const ").or(line.strip_prefix("const "))?;
        rest.split_once(": &str").map(|(name, _)| name.to_owned())
    };
    let mut declared: BTreeSet<String> = text.lines().filter_map(constant).collect();
    for directory in ["LOG", "STATE"] {
        assert!(declared.remove(directory), "the name of the directory {directory}");
    }
    declared.extend(variants.map(|(name, _)| name.to_owned()));
    assert_eq!(declared, FILES.map(str::to_owned).into(), "a kind of file is new or gone");
}

#[test]
fn every_call_and_every_file_is_crashed() {
    let mut calls = trace(crash::folding());
    for base in explore::BASES {
        for call in explore::CALLS {
            calls.extend(trace(explore::history(base, &[call])));
        }
    }
    calls.extend(cursors::trace());
    calls.extend(views::trace());
    assert_all_seen("the crash sweeps", &calls, NOT_SEEN);
}

#[test]
fn every_call_and_every_file_fails() {
    let mut calls = trace(faults::standard_history());
    calls.extend(trace(crash::folding()));
    calls.extend(cursors::trace());
    calls.extend(views::trace());
    assert_all_seen("the sweep of failing calls", &calls, NOT_SEEN);
}

/// What no sweep goes through, and why.
const NOT_SEEN: &[(&str, &str)] =
    &[("grow", "only `Preallocate::None` grows a file; the random schedules do")];

#[test]
fn every_kind_of_file_is_damaged() {
    let mut names = damage::names();
    names.extend(state_damaged_names());
    names.extend([views::damaged_name(), snapshots::DAMAGED.to_owned()]);
    let kinds: BTreeSet<&str> = names.iter().filter_map(|name| kind_of(name)).collect();
    assert_eq!(kinds, FILES.into(), "a kind of file is missing from the damage sweeps");
}

#[test]
fn every_public_operation_is_used_by_a_harness_or_has_a_reason() {
    for (file, text) in FACADE {
        let mut names = functions(text, "pub fn ");
        names.extend(functions(text, "pub const fn "));
        names.sort_unstable();
        let mut known: Vec<_> =
            OPERATIONS.iter().filter(|(of, ..)| *of == file).map(|(_, name, _)| *name).collect();
        known.sort_unstable();
        assert_eq!(names, known, "a public operation of {file} is new or gone");
    }
    for (file, name, covered) in OPERATIONS {
        match covered {
            Err(reason) => assert!(reason.split(' ').count() > 3, "{file}::{name}: {reason}"),
            Ok(harness) => {
                let text = HARNESSES.iter().find(|(known, _)| *known == harness).unwrap().1;
                let called = [format!(".{name}("), format!("::{name}(")];
                let is_called = called.iter().any(|called| text.contains(called));
                assert!(is_called, "{harness} does not call {file}::{name}");
            }
        }
    }
}
