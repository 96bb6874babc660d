//! Writing: groups of changes, one in flight, each synced before the next begins.

use super::change::{Change, check, row};
use super::compact::{self, Plan};
use super::part::{Io, Open, Part, Waiting};
use super::table::take_in;
use crate::error::{Error, Result};
use crate::format::cursor::SavedCursor;
use crate::format::state::{GROUP_HEAD_BYTES, GroupKind, GroupPlace, MARK_BYTES, put_group};
use crate::format::statewrites::{WRITES_BOUND, write_bound};
use crate::format::view::{PLACE_KEY, ViewPlace};
use crate::sync::{Arc, Mutex};

/// A group takes at most so many bytes, but for a single write.
const GROUP_BYTES: usize = 1 << 20;

impl Part {
    /// Writes changes: all of them or none, durable when this returns. `durable` is the durable
    /// mark of the log; the state writes of frames up to there go first.
    ///
    /// Whoever gets the file first writes for all that have queued by then: one write, one sync.
    pub(crate) fn write(&self, changes: Vec<Change>, durable: u64) -> Result<()> {
        if !self.home.writable {
            return Err(Error::ReadOnly);
        }
        check(&changes)?;
        let waiting = Arc::new(Waiting { changes, durable, answer: Mutex::new(None) });
        self.queue.lock().push_back(Arc::clone(&waiting));
        let mut io = self.io.lock();
        loop {
            if let Some(answer) = waiting.answer.lock().take() {
                return answer;
            }
            let group = self.gather();
            if group.is_empty() {
                // Whoever took it has panicked before it was answered.
                return Err(self.checked(&mut io).err().unwrap_or(Error::Closed));
            }
            let durable = group.iter().map(|waiting| waiting.durable).max().unwrap_or(0);
            let changes = group.iter().flat_map(|waiting| waiting.changes.iter().cloned());
            let answer = self.save_in(&mut io, changes.collect(), durable);
            for waiting in group {
                *waiting.answer.lock() = Some(answer.clone());
            }
        }
    }

    /// Saves the state writes of frames up to the durable mark. Nothing to do where all are saved.
    pub(crate) fn save(&self, durable: u64) -> Result<()> {
        let ends = self.seen.read().frames.ends();
        if ends.is_none_or(|(first, _)| first > durable) {
            return Ok(());
        }
        self.save_in(&mut self.io.lock(), Vec::new(), durable)
    }

    /// Saves what is left, and marks the file as durable, so that the next opening goes on in it.
    pub(crate) fn close(&self, durable: u64) -> Result<()> {
        let saved = self.save(durable);
        let mut io = self.io.lock();
        let io = &mut *io;
        let was_closed = std::mem::replace(&mut io.is_closed, true);
        saved?;
        match &mut io.open {
            Some(open) if !open.is_marked && !was_closed && io.poison.is_none() => {
                let marked = append(open, GroupKind::Mark, &[], io.applied);
                open.is_marked = true;
                marked.map(drop).map_err(|e| poison(&mut io.poison, e))
            }
            _ => Ok(()),
        }
    }

    /// The queued writes of one group.
    fn gather(&self) -> Vec<Arc<Waiting>> {
        let mut queue = self.queue.lock();
        let mut group: Vec<Arc<Waiting>> = Vec::new();
        let mut bytes = 0;
        while let Some(next) = queue.front() {
            bytes += bound(&next.changes);
            if bytes > GROUP_BYTES && !group.is_empty() {
                break;
            }
            group.extend(queue.pop_front());
        }
        group
    }

    /// Whether anything may be written.
    fn checked(&self, io: &mut Io) -> Result<()> {
        if std::mem::take(&mut io.is_busy) {
            poison(&mut io.poison, Error::Panicked { during: "a write of state" });
        }
        if let Some(cause) = &io.poison {
            return Err(Error::Poisoned { cause: Arc::clone(cause) });
        }
        if io.is_closed {
            return Err(Error::Closed);
        }
        if self.home.writable { Ok(()) } else { Err(Error::ReadOnly) }
    }

    /// Writes the state writes of frames up to the durable mark, then the changes.
    fn save_in(&self, io: &mut Io, changes: Vec<Change>, durable: u64) -> Result<()> {
        self.checked(io)?;
        self.load_into(io).map_err(Error::not_written)?;
        io.is_busy = true;
        let saved = self.save_groups(io, changes, durable);
        io.is_busy = false;
        saved
    }

    fn save_groups(&self, io: &mut Io, changes: Vec<Change>, durable: u64) -> Result<()> {
        while let Some((group, applied)) = self.pending_group(durable, bound(&changes)) {
            self.write_group(io, &group, applied)?;
        }
        let mut group: Vec<Change> = {
            let seen = self.seen.read();
            seen.frames.upto(durable).flat_map(|written| &written.changes).cloned().collect()
        };
        group.extend(changes);
        if group.is_empty() {
            return Ok(());
        }
        self.write_group(io, &group, durable.max(io.applied))
    }

    /// A group of state writes of frames, if there are more than fit one with the changes.
    fn pending_group(&self, durable: u64, changes: usize) -> Option<(Vec<Change>, u64)> {
        let seen = self.seen.read();
        let (mut group, mut bytes, mut applied) = (Vec::new(), 0, 0);
        for written in seen.frames.upto(durable) {
            if bytes + changes > GROUP_BYTES && !group.is_empty() {
                return Some((group, applied));
            }
            bytes += bound(&written.changes);
            group.extend(written.changes.iter().cloned());
            applied = written.position;
        }
        None
    }

    /// Writes and syncs one group, then shows it.
    fn write_group(&self, io: &mut Io, changes: &[Change], applied: u64) -> Result<()> {
        let needed = bound(changes) as u64 + MARK_BYTES;
        let has_room = |open: &Open| open.end + needed <= open.header.len;
        if !io.open.as_ref().is_some_and(has_room) {
            self.compact(io, needed)?;
        }
        let Some(open) = &mut io.open else {
            return Err(Error::not_written(Error::Closed));
        };
        open.is_marked = false;
        match append(open, GroupKind::Writes, changes, applied) {
            Ok((place, bytes)) => {
                io.applied = applied;
                let room = open.header.len - place.offset;
                let mut seen = self.seen.write();
                if let Some(table) = &mut seen.table {
                    take_in(table, &bytes, &place, room);
                }
                seen.frames.forget(applied);
                if let Some(stands) = stands_behind(changes).filter(|_| seen.frames.is_empty()) {
                    seen.frames.follow(Some(stands), false);
                }
                Ok(())
            }
            Err(e) => Err(poison(&mut io.poison, e)),
        }
    }

    /// Goes on in a new file, which has room for so many bytes.
    fn compact(&self, io: &mut Io, room: u64) -> Result<()> {
        let old = self.seen.read().table.clone().unwrap_or_default();
        let (store, fill, applied) = (self.home.store, self.fill, io.applied);
        let number = io.number.checked_add(1).ok_or_else(|| {
            let limit = u64::from(u32::MAX);
            Error::not_written(Error::limit("files of state", limit, limit + 1))
        })?;
        let plan = Plan { file: self.file, store, number, room, applied, fill };
        // Nothing in use was touched: the next write tries again, with another file.
        let mut new = compact::write(&self.home.dir, &old, &plan).map_err(|e| {
            let _ = self.home.dir.remove(&compact::temporary(self.file, number));
            Error::not_written(e)
        })?;
        if let Err(e) = compact::put_in_place(&self.home.dir, self.file, &mut new) {
            // Either name may show after a crash, so nothing may be written to either.
            poison(&mut io.poison, e.clone());
            return Err(Error::not_written(e));
        }
        io.number = number;
        io.open = new.table.file.clone().map(|file| Open {
            file,
            header: new.header,
            end: new.end,
            is_marked: true,
        });
        let before = old.file.map(|_| self.file.path(number - 1));
        self.seen.write().table = Some(new.table);
        for name in std::mem::take(&mut io.leftover).into_iter().chain(before) {
            // A leftover does no harm, and the next opening finds it again.
            let _ = self.home.dir.remove(&name);
        }
        Ok(())
    }
}

/// Where a view stands behind changes, if they say so.
fn stands_behind(changes: &[Change]) -> Option<SavedCursor> {
    let place = changes.iter().rev().find(|change| *change.key == PLACE_KEY)?;
    ViewPlace::decode(place.value.as_deref()?).ok().map(|place| place.at)
}

/// The most bytes that a group of changes takes.
fn bound(changes: &[Change]) -> usize {
    let writes: usize = changes
        .iter()
        .map(|change| write_bound(change.key.len(), change.value.as_ref().map_or(0, |v| v.len())))
        .sum();
    GROUP_HEAD_BYTES + WRITES_BOUND + writes + 8
}

/// Writes a group behind the last one, and syncs it.
fn append(
    open: &mut Open,
    kind: GroupKind,
    changes: &[Change],
    applied: u64,
) -> Result<(GroupPlace, Vec<u8>)> {
    // One group is in flight: everything before it was synced.
    let place = GroupPlace { salt: open.header.salt, offset: open.end, applied };
    let mut bytes = Vec::new();
    put_group(&mut bytes, &place, kind, changes.iter().map(row));
    open.file.write_all_at(&bytes, open.end)?;
    open.file.sync()?;
    open.end += bytes.len() as u64;
    Ok((place, bytes))
}

fn poison(poison: &mut Option<Arc<Error>>, cause: Error) -> Error {
    let cause = Arc::new(cause);
    poison.get_or_insert_with(|| Arc::clone(&cause));
    Error::Unknown { cause }
}
