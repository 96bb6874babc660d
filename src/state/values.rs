//! The state of a store, as readers see it and as writes find it.

use std::collections::{BTreeMap, VecDeque};

use super::change::Change;
use super::load;
use super::table::{Found, Table};

use crate::error::{Error, Result};
use crate::format::state::StateHeader;
use crate::options::Preallocate;
use crate::storage::{Dir, NamedFile};
use crate::sync::{Arc, Mutex, RwLock};

/// A reader beside a writer looks so often for the file that a compaction has replaced.
const READER_TRIES: usize = 20;

/// A key, and its value or why that cannot be known.
pub(crate) type Entry = (Arc<[u8]>, Result<Arc<[u8]>>);
/// A key's newest value in a frame, `None` where it was deleted, and the frame's last position.
type Newest = BTreeMap<Arc<[u8]>, (u64, Option<Arc<[u8]>>)>;

/// What a scan finds.
#[derive(Debug)]
pub(crate) struct Scan {
    /// Keys in order, each with its value or with why that cannot be known.
    pub(crate) entries: Vec<Entry>,
    /// Why there may be more keys.
    pub(crate) doubt: Option<Error>,
}

/// The state of a store, read when it is first used.
#[derive(Debug)]
pub(crate) struct State {
    pub(super) dir: Dir,
    pub(super) store: [u8; 16],
    pub(super) writable: bool,
    pub(super) fill: bool,
    /// The last position of the log when the store was opened.
    pub(super) opened_at: u64,
    /// Frames up to this position may have state writes that cannot be read.
    pub(super) damage: Option<(u64, Error)>,
    // Taken in this order: io, then one of the others for a moment.
    pub(super) io: Mutex<Io>,
    pub(super) queue: Mutex<VecDeque<Arc<Waiting>>>,
    pub(super) seen: RwLock<Seen>,
}

/// A write that waits for its group.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) changes: Vec<Change>,
    pub(super) durable: u64,
    pub(super) answer: Mutex<Option<Result<()>>>,
}

/// The end of the file, which one caller at a time works on.
#[derive(Debug, Default)]
pub(super) struct Io {
    pub(super) is_loaded: bool,
    /// The newest number that a file has, or may have.
    pub(super) number: u32,
    /// The file, as long as it may be continued.
    pub(super) open: Option<Open>,
    pub(super) leftover: Vec<String>,
    pub(super) applied: u64,
    /// The first write or sync that failed. Nothing is written after it.
    pub(super) poison: Option<Arc<Error>>,
    /// A group is under way; found set by the next caller only behind a panic.
    pub(super) is_busy: bool,
    pub(super) is_closed: bool,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) file: NamedFile,
    pub(super) header: StateHeader,
    pub(super) end: u64,
    /// Nothing was written behind the last mark.
    pub(super) is_marked: bool,
}

/// What readers see.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) table: Option<Table>,
    /// State writes of frames that are not in the file, oldest first, by the frame's last position.
    pub(super) pending: VecDeque<(u64, Vec<Change>)>,
    /// The newest of them for each key.
    pub(super) newest: Newest,
}

impl Seen {
    fn apply(&mut self, position: u64, changes: Vec<Change>) {
        for Change { key, value } in &changes {
            self.newest.insert(Arc::clone(key), (position, value.clone()));
        }
        self.pending.push_back((position, changes));
    }

    /// Forgets the state writes of frames up to a position, which the table has.
    pub(super) fn forget(&mut self, applied: u64) {
        while self.pending.front().is_some_and(|(position, _)| *position <= applied) {
            self.pending.pop_front();
        }
        self.newest.retain(|_, (position, _)| *position > applied);
    }

    fn find(&self, key: &[u8]) -> Found {
        if let Some((_, value)) = self.newest.get(key) {
            return Found::Known(Ok(value.clone()));
        }
        self.table.as_ref().map_or(Found::Known(Ok(None)), |table| table.find(key))
    }
}

impl State {
    /// The state of a store whose log ends at a position, with the state writes of frames that no
    /// index file covers, each with its frame's last position, oldest first. `damage` is what keeps
    /// the frames up to a position from being looked through.
    pub(crate) fn new(
        dir: &Dir,
        store: [u8; 16],
        writable: bool,
        preallocate: Preallocate,
        opened_at: u64,
        found: Vec<(u64, Vec<Change>)>,
        damage: Option<(u64, Error)>,
    ) -> Self {
        let mut seen = Seen::default();
        for (position, changes) in found {
            seen.apply(position, changes);
        }
        Self {
            dir: dir.clone(),
            store,
            writable,
            fill: preallocate == Preallocate::Zero,
            opened_at,
            damage,
            io: Mutex::default(),
            queue: Mutex::default(),
            seen: RwLock::new(seen),
        }
    }

    /// The value of a key. Takes O(log keys) and one read.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Arc<[u8]>>> {
        self.load()?;
        // Read without the lock: a commit that takes note of state writes must not wait for it.
        let found = self.seen.read().find(key);
        found.read()
    }

    /// The keys that begin with a prefix, in order, with their values.
    pub(crate) fn scan(&self, prefix: &[u8]) -> Result<Scan> {
        self.load()?;
        let (found, doubt) = {
            let seen = self.seen.read();
            let mut found: BTreeMap<Arc<[u8]>, Found> = BTreeMap::new();
            if let Some(table) = &seen.table {
                for (key, slot) in range(&table.slots, prefix) {
                    found.insert(Arc::clone(key), table.found(*slot));
                }
            }
            for (key, (_, value)) in range(&seen.newest, prefix) {
                found.insert(Arc::clone(key), Found::Known(Ok(value.clone())));
            }
            (found, seen.table.as_ref().and_then(|table| table.doubt.clone()))
        };
        let entries = found
            .into_iter()
            .filter_map(|(key, found)| found.read().transpose().map(|value| (key, value)))
            .collect();
        Ok(Scan { entries, doubt })
    }

    /// How long the file is that keeps the state; 0 where there is none.
    pub(crate) fn file_bytes(&self) -> Result<u64> {
        load::file_bytes(&self.dir)
    }

    /// The newest position of a frame whose state writes are not in the file; 0 for none. A write
    /// that follows them waits until the log is durable up to there.
    pub(crate) fn pending_up_to(&self) -> u64 {
        self.seen.read().pending.back().map_or(0, |(position, _)| *position)
    }

    /// Takes note of the state writes of a frame. Called in the order of the log, before the frame
    /// becomes visible or the durable mark passes it. Does no I/O and waits for none.
    pub(crate) fn apply(&self, position: u64, changes: Vec<Change>) {
        if !changes.is_empty() {
            self.seen.write().apply(position, changes);
        }
    }

    /// Reads the file when it is first needed; for a reader beside a writer, each time.
    fn load(&self) -> Result<()> {
        if self.writable && self.seen.read().table.is_some() {
            return Ok(());
        }
        self.load_into(&mut self.io.lock())
    }

    pub(super) fn load_into(&self, io: &mut Io) -> Result<()> {
        if io.is_loaded && self.writable {
            return Ok(());
        }
        let mut tries = 1;
        let mut loaded = loop {
            match load::load(&self.dir, self.store, self.writable) {
                Err(Error::Io { .. }) if !self.writable && tries < READER_TRIES => tries += 1,
                other => break other?,
            }
        };
        let mut seen = self.seen.write();
        // A mark beyond the log is of another history: what frames say is newer.
        if loaded.applied <= self.opened_at {
            seen.forget(loaded.applied);
            io.applied = loaded.applied;
        }
        io.number = loaded.number;
        io.leftover = loaded.leftover;
        let file = loaded.table.file.clone();
        io.open = loaded.goes_on.zip(file).map(|((header, end), file)| Open {
            file,
            header,
            end,
            is_marked: true,
        });
        if let Some((_, e)) = self.damage.clone().filter(|(upto, _)| *upto > io.applied) {
            loaded.table.hole(e);
            // The doubt is written down with the next write.
            io.open = None;
        }
        seen.table = Some(loaded.table);
        io.is_loaded = true;
        Ok(())
    }
}

/// The entries whose keys begin with a prefix.
fn range<'a, T>(
    map: &'a BTreeMap<Arc<[u8]>, T>,
    prefix: &'a [u8],
) -> impl Iterator<Item = (&'a Arc<[u8]>, &'a T)> {
    use std::ops::Bound::{Included, Unbounded};
    map.range::<[u8], _>((Included(prefix), Unbounded))
        .take_while(move |(key, _)| key.starts_with(prefix))
}
