//! A part of the state: the keys of one file, as readers see them and as writes find them.

use std::collections::{BTreeMap, VecDeque};

use super::change::Change;
use super::frames::{Frames, Written};
use super::home::Home;
use super::load::{self, Reader};
use super::range::Range;
use super::table::{Found, Table};

use crate::error::{Error, Result};
use crate::format::cursor::SavedCursor;
use crate::format::files::StateFile;
use crate::format::state::StateHeader;
use crate::format::view::{PLACE_KEY, ViewPlace};
use crate::options::Preallocate;
use crate::storage::NamedFile;
use crate::sync::{Arc, Mutex, Ordering, RwLock};

/// A reader beside a writer looks so often for the file that a compaction has replaced.
const READER_TRIES: usize = 20;

/// A key, and its value or why that cannot be known.
pub(crate) type Entry = (Arc<[u8]>, Result<Arc<[u8]>>);

/// What a scan finds.
#[derive(Debug)]
pub(crate) struct Scan {
    /// Keys in order, each with its value or with why that cannot be known.
    pub(crate) entries: Vec<Entry>,
    /// Why there may be more keys.
    pub(crate) doubt: Option<Error>,
}

/// Keys of a range as they were at one moment.
#[derive(Debug)]
pub(crate) struct Picked {
    /// In order, with where their values are.
    pub(crate) found: Vec<(Arc<[u8]>, Found)>,
    /// Why there may be more keys.
    pub(crate) doubt: Option<Error>,
    /// Where the view stood.
    pub(crate) stands: Option<SavedCursor>,
}

/// The keys of one file, read when they are first used.
#[derive(Debug)]
pub(crate) struct Part {
    pub(super) home: Home,
    pub(super) file: StateFile,
    pub(super) fill: bool,
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
    /// How far a reader has read the file that another process writes.
    pub(super) reader: Option<Reader>,
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
    /// State writes of frames that are not in the file.
    pub(super) frames: Frames,
    /// Those of all frames up to here are in the file.
    pub(super) applied: u64,
}

impl Seen {
    /// Where the file says that a view stands.
    pub(super) fn stands_in_file(&self) -> Result<Option<SavedCursor>> {
        let found = self.table.as_ref().map(|table| table.find(&PLACE_KEY));
        let value = found.map_or(Ok(None), Found::read)?;
        let path = || {
            let file = self.table.as_ref().and_then(|table| table.file.as_ref());
            file.map(|file| file.path().to_owned()).unwrap_or_default()
        };
        let place = |value: Arc<[u8]>| ViewPlace::decode(&value).map_err(|e| e.at(&path(), 0));
        Ok(value.map(place).transpose()?.map(|place| place.at))
    }

    fn find(&self, key: &[u8]) -> Found {
        if let Some((_, value)) = self.frames.newest.get(key) {
            return Found::Known(Ok(value.clone()));
        }
        self.table.as_ref().map_or(Found::Known(Ok(None)), |table| table.find(key))
    }
}

impl Part {
    /// A part, with state writes of frames that no index file covers, oldest first. `damage` is
    /// what keeps the frames up to a position from being looked through.
    pub(crate) fn new(home: &Home, file: StateFile, damage: Option<(u64, Error)>) -> Self {
        Self {
            home: home.clone(),
            file,
            fill: home.preallocate == Preallocate::Zero,
            damage,
            io: Mutex::default(),
            queue: Mutex::default(),
            seen: RwLock::default(),
        }
    }

    /// The value of a key.
    #[cfg(test)]
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Arc<[u8]>>> {
        self.load()?;
        self.find(key)
    }

    /// The value of a key, once the part is loaded. Takes O(log keys) and one read.
    pub(crate) fn find(&self, key: &[u8]) -> Result<Option<Arc<[u8]>>> {
        // Read without the lock: a commit that takes note of state writes must not wait for it.
        let found = self.seen.read().find(key);
        found.read()
    }

    /// The keys that begin with a prefix, in order, with their values.
    pub(crate) fn scan(&self, prefix: &[u8]) -> Result<Scan> {
        self.load()?;
        let Picked { found, doubt, .. } = self.pick(&Range::prefix(prefix), usize::MAX, false);
        let entries = found
            .into_iter()
            .filter_map(|(key, found)| found.read().transpose().map(|value| (key, value)))
            .collect();
        Ok(Scan { entries, doubt })
    }

    /// The keys of a range, in order, as they are at one moment, and why there may be more. Their
    /// values can be read later. Takes O(keys found), and some 60 bytes for each.
    pub(crate) fn pick(&self, range: &Range, limit: usize, backwards: bool) -> Picked {
        let seen = self.seen.read();
        let empty = BTreeMap::new();
        let slots = seen.table.as_ref().map_or(&empty, |table| &table.slots);
        let mut saved = range.of(slots, backwards).peekable();
        let mut newer = range.of(&seen.frames.newest, backwards).peekable();
        let mut found: Vec<(Arc<[u8]>, Found)> = Vec::new();
        while found.len() < limit {
            use std::cmp::Ordering::{Equal, Greater, Less};
            let order = match (saved.peek(), newer.peek()) {
                (None, None) => break,
                (Some(_), None) => Less,
                (None, Some(_)) => Greater,
                (Some((one, _)), Some((other, _))) if backwards => other.cmp(one),
                (Some((one, _)), Some((other, _))) => one.cmp(other),
            };
            if order == Equal {
                saved.next();
            }
            if order == Less {
                let Some((key, slot)) = saved.next() else { break };
                let what = seen.table.as_ref().map(|table| table.found(*slot));
                let is_there = !matches!(what, Some(Found::Known(Ok(None))));
                found.extend(what.filter(|_| is_there).map(|what| (Arc::clone(key), what)));
            } else if let Some((key, (_, Some(value)))) = newer.next() {
                found.push((Arc::clone(key), Found::Known(Ok(Some(Arc::clone(value))))));
            }
        }
        let doubt = seen.table.as_ref().and_then(|table| table.doubt.clone());
        Picked { found, doubt, stands: seen.frames.stands() }
    }

    /// How many keys a range has, and the bytes of keys and values. Takes O(keys).
    pub(crate) fn measure(&self, range: &Range) -> (u64, u64) {
        let found = self.pick(range, usize::MAX, false).found;
        let bytes = |(key, found): &(Arc<[u8]>, Found)| (key.len() + found.len()) as u64;
        (found.len() as u64, found.iter().map(bytes).sum())
    }

    /// Where a view stands, and why the file cannot be relied on. To be asked behind a load.
    pub(crate) fn stands(&self) -> (Option<SavedCursor>, Option<Error>) {
        let seen = self.seen.read();
        (seen.frames.stands(), seen.table.as_ref().and_then(|table| table.doubt.clone()))
    }

    /// How long its file is; 0 where there is none.
    pub(crate) fn file_bytes(&self) -> Result<u64> {
        load::file_bytes(&self.home.dir, self.file)
    }

    /// The newest position of a frame whose state writes are not in the file; 0 for none. A write
    /// that follows them waits until the log is durable up to there.
    pub(crate) fn pending_up_to(&self) -> u64 {
        self.seen.read().frames.ends().map_or(0, |(_, last)| last)
    }

    /// Takes note of the state writes of a frame. Called in the order of the log, before the frame
    /// becomes visible or the durable mark passes it. Does no I/O and waits for none.
    pub(super) fn apply(&self, written: Written) {
        let mut seen = self.seen.write();
        // A follower may have read them in the file already.
        if written.position > seen.applied {
            seen.frames.push(written);
        }
    }

    /// Reads the file when it is first needed; for a reader beside a writer, each time.
    pub(crate) fn load(&self) -> Result<()> {
        if self.home.writable && self.seen.read().table.is_some() {
            return Ok(());
        }
        self.load_into(&mut self.io.lock())
    }

    /// For followers, whose log has grown: takes note of what the file has of it.
    pub(super) fn settle(&self) {
        let mut seen = self.seen.write();
        let applied = seen.applied;
        if applied > 0 && applied <= self.home.log_end.load(Ordering::Acquire) && !self.is_view() {
            seen.frames.forget(applied);
        }
    }

    /// For followers: keeps what waits for the file bounded.
    pub(super) fn trim(&self, most: usize) {
        if self.seen.read().frames.bytes() <= most {
            return;
        }
        // What cannot be read now is met with by the next reader.
        let _ = self.load();
        let mut seen = self.seen.write();
        if seen.frames.bytes() > most {
            // The writer is far behind with the file. The part shows what it was, until the file
            // has caught up.
            seen.frames.clear();
            let _ = self.follow(&mut seen, true);
        }
    }

    pub(super) fn load_into(&self, io: &mut Io) -> Result<()> {
        if io.is_loaded && self.home.writable {
            return Ok(());
        }
        if let Some(reader) = &mut io.reader
            && let Some(news) = reader.news(&self.home.dir, self.file)?
        {
            let mut seen = self.seen.write();
            let Seen { table, applied, .. } = &mut *seen;
            let is_more = !news.is_empty();
            for group in news {
                group.take_in(table.get_or_insert_default(), applied);
            }
            return if is_more { self.follow(&mut seen, true) } else { Ok(()) };
        }
        let mut tries = 1;
        let mut loaded = loop {
            match load::load(&self.home, self.file) {
                Err(Error::Io { .. }) if !self.home.writable && tries < READER_TRIES => tries += 1,
                other => break other?,
            }
        };
        let mut seen = self.seen.write();
        // A mark beyond the log is of another history: what frames say is newer.
        if loaded.applied <= self.home.log_end.load(Ordering::Acquire) {
            io.applied = loaded.applied;
            if !self.is_view() {
                seen.frames.forget(loaded.applied);
            }
        }
        if !self.home.writable {
            seen.applied = loaded.applied;
        }
        io.number = loaded.number;
        io.leftover = loaded.leftover;
        io.reader = loaded.reader;
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
            (io.open, io.reader) = (None, None);
        }
        if self.file == StateFile::Snapshots && loaded.table.doubt.is_some() {
            // They are caches: what cannot be read is dropped.
            let file = loaded.table.file.take();
            loaded.table = Table { file, ..Table::default() };
            (io.open, io.reader) = (None, None);
        }
        seen.table = Some(loaded.table);
        if let Err(e) = self.follow(&mut seen, !self.home.writable) {
            (seen.table, io.reader) = (None, None);
            return Err(e);
        }
        io.is_loaded = true;
        Ok(())
    }

    /// Decides which writes of frames follow the file.
    fn follow(&self, seen: &mut Seen, keeps: bool) -> Result<()> {
        if self.is_view() {
            let stands = match seen.stands_in_file() {
                // Where it cannot be known nothing follows, and readers are told why.
                Err(e) if e.is_damage() => None,
                stands => stands?,
            };
            seen.frames.follow(stands, keeps);
        }
        Ok(())
    }

    pub(super) const fn is_view(&self) -> bool {
        matches!(self.file, StateFile::View(_))
    }
}
