//! What several modules need: stores in directories of their own, and looks at whole stores.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use annals::{Durability, Event, EventId, NewEvent, Position, Store, StoreOptions};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A directory on the disk for one store, removed with the value.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// Where the store is.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// Where another one may be.
    pub(crate) fn other(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a kill at this moment would leave behind: a copy of the files as they are.
    pub(crate) fn killed(&self, name: &str) -> PathBuf {
        let copy = self.other(name);
        copy_tree(&self.path(), &copy);
        copy
    }
}

/// The shortest segments there are, so that a few events fill many.
pub(crate) const SMALL: u64 = 64 << 10;

/// A store of short segments that answers without a sync.
pub(crate) fn small_segments() -> StoreOptions {
    Store::options().segment_bytes(SMALL).durability(Durability::Os)
}

/// The id of a number; each number has its own.
pub(crate) fn id(number: u64) -> EventId {
    let mut bytes = *b"annals\x40\0\x80\0\0\0\0\0\0\0";
    bytes[8..].copy_from_slice(&(number | 1 << 63).to_be_bytes());
    EventId::from_bytes(bytes)
}

/// A plain event that says its number.
pub(crate) fn numbered(number: u64) -> NewEvent {
    NewEvent::new("Counted", number.to_string())
}

/// An event with so many bytes of data.
pub(crate) fn sized(bytes: usize) -> NewEvent {
    NewEvent::new("Sized", vec![b'x'; bytes])
}

/// Every event of a store. Fails where positions or the versions of a stream have a gap, or where
/// a stream reads otherwise by itself.
pub(crate) fn all_events(store: &Store) -> Vec<Event> {
    let mut events = Vec::new();
    let mut streams: HashMap<String, Vec<Position>> = HashMap::new();
    for event in store.read_all() {
        let event = event.unwrap();
        assert_eq!(event.position().0, events.len() as u64 + 1, "positions are dense");
        let stream = streams.entry(event.stream().to_owned()).or_default();
        stream.push(event.position());
        let version = event.version().0;
        assert_eq!(version, stream.len() as u64, "versions of {} are dense", event.stream());
        events.push(event);
    }
    assert_eq!(store.head().0, events.len() as u64, "the head is the last event");
    for (stream, positions) in streams {
        let read = store.read_stream(&stream).into_iter().map(|event| event.unwrap().position());
        assert!(read.eq(positions), "stream {stream} reads otherwise by itself");
    }
    events
}

/// Appends to a stream of its own until so many more segments are sealed.
pub(crate) fn seal_segments(store: &Store, more: u64) {
    let goal = store.info().unwrap().segments + more;
    while store.info().unwrap().segments < goal {
        store.append("Filler-1", annals::ExpectedVersion::Any, [sized(8 << 10)]).unwrap();
    }
}

/// The names of the files in the log of a store.
pub(crate) fn log_files(store: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(store.join("log"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// The files of the log with an ending, in order.
pub(crate) fn log_paths(store: &Path, ending: &str) -> Vec<PathBuf> {
    let names = log_files(store).into_iter();
    names.filter(|name| name.ends_with(ending)).map(|name| store.join("log").join(name)).collect()
}

/// The segments that hold something: not one that is only prepared.
pub(crate) fn used_segments(store: &Path) -> Vec<PathBuf> {
    let mut segments = log_paths(store, ".seg");
    segments.retain(|path| fs::read(path).unwrap()[4096..].iter().any(|byte| *byte != 0));
    segments
}

/// The name of everything below a directory, with what tells one content from another.
pub(crate) fn contents(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let kind = path.symlink_metadata().unwrap().file_type();
        if kind.is_dir() {
            found.extend(contents(&path));
            found.insert(path, "directory".into());
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            found.insert(path, format!("symlink to {}", target.display()));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, format!("{} bytes, {:x}", bytes.len(), Sha256::digest(&bytes)));
        }
    }
    found
}

pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            match fs::copy(entry.path(), target) {
                // Upkeep goes on under the copy: it puts files in the place of others.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                copied => drop(copied.unwrap()),
            }
        }
    }
}

/// Says on the terminal, also where output is captured, that a test did not test anything.
pub(crate) fn skip(test: &str, why: &str) {
    use std::io::Write;
    // Captured output is what `println!` makes; this goes past it.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}

/// Runs one test of this binary in a process of its own, with a path for it to find.
pub(crate) fn child(test: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env(CHILD, path);
    command
}

/// The path that [`child`] gave, in the process that it started.
pub(crate) fn child_path() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

const CHILD: &str = "ANNALS_IT_CHILD";

/// What a child printed; fails with it where the child failed.
pub(crate) fn printed(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the child failed:\n{text}\n{error}");
    text
}
