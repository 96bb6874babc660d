//! From one segment to the next.

use super::core::{Core, Next};
use crate::error::{Error, Result};
use crate::format::segment::HEADER_BYTES;
use crate::log::prepare::{Prepared, discard, prepare, prepare_beside, put_in_place};
use crate::log::tail::{Tail, link_to};
use crate::options::{FIRST_SEGMENT_BYTES, Preallocate};
use crate::position::Position;
use crate::storage::Dir;
use crate::sync::{Arc, Mutex};

/// What a preparation needs, so that it can run outside the writer's lock.
#[derive(Debug)]
pub(crate) struct Preparation {
    dir: Dir,
    store: [u8; 16],
    ordinal: u32,
    len: u32,
    preallocate: Preallocate,
    next: Arc<Mutex<Next>>,
}

impl Preparation {
    /// Makes the segment, unless the writer was faster: one that comes late would replace a file
    /// that is in use. The writer waits for one that is under way.
    pub(crate) fn run(&self) -> Result<()> {
        let mut next = self.next.lock();
        if matches!(*next, Next::Missing) {
            *next = Next::Ready(self.prepare()?);
        }
        Ok(())
    }

    fn prepare(&self) -> Result<Prepared> {
        prepare(&self.dir, self.store, self.ordinal, self.len, self.preallocate)
    }
}

impl Core {
    /// The preparation of the next segment, once the active one is half full and there is none.
    pub(crate) fn preparation(&mut self) -> Result<Option<Preparation>> {
        let half = self.tail.segment().header().len / 2;
        let wanted = self.tail.progress().end > half && self.lacks_next();
        if !wanted || self.check_poison().is_err() {
            return Ok(None);
        }
        self.make_begin_durable()?;
        Ok(Some(self.prepare_len(self.next_len())))
    }

    /// A segment that is there durably behind one whose first frame is not would make that one look
    /// damaged: only the newest may be without a first frame.
    fn make_begin_durable(&mut self) -> Result<()> {
        if self.tail.durable_end() <= HEADER_BYTES { self.sync().map(drop) } else { Ok(()) }
    }

    /// Whether upkeep would find something to do here.
    pub(crate) fn wants_upkeep(&self) -> bool {
        let progress = self.tail.progress();
        let half = self.tail.segment().header().len / 2;
        (progress.end > half && self.lacks_next())
            || u64::from(progress.end - self.checkpoint_end) >= self.settings.checkpoint_bytes
            || self.wants_sync()
            || self.leftover.is_some()
    }

    /// Whether nobody has made the next segment, or is about to.
    fn lacks_next(&self) -> bool {
        self.next.try_lock().is_some_and(|next| matches!(*next, Next::Missing))
    }

    /// Seals the active segment and goes on in the next one, in which a frame of `frame_bound`
    /// bytes fits. What was staged has been flushed.
    pub(super) fn roll(&mut self, frame_bound: usize) -> Result<()> {
        if self.tail.progress().events == 0 {
            return self.replace_empty(frame_bound);
        }
        self.make_begin_durable()?;
        // Nothing of the old segment is touched before the next one is there: a full disk refuses
        // the appends that need it and does no harm.
        let prepared = self.take_prepared(frame_bound).map_err(Error::not_written)?;
        self.seal()?;
        let row = self.tail.row();
        let (dir, mode) = (&self.dir, self.settings.read_mode);
        let tail = Tail::begin(dir, mode, prepared, &link_to(&row, false), self.last_time)
            .map_err(|e| {
                // Behind the seal nothing may be written.
                self.poisoned_by(e.clone());
                Error::not_written(e)
            })?;
        self.catalog.log.push(tail.segment().clone());
        self.catalog.index.roll(row);
        self.active = self.catalog.index.active();
        self.checkpoint_end = tail.progress().end;
        self.tail = tail;
        Ok(())
    }

    /// Puts a longer segment in the place of one that holds no event: a sealed segment always holds
    /// some, so no two begin at one position.
    fn replace_empty(&mut self, frame_bound: usize) -> Result<()> {
        let ordinal = self.tail.segment().ordinal();
        let len = needed_len(frame_bound).map_err(Error::not_written)?;
        let len = len.max(self.tail.segment().header().len);
        let Preparation { dir, store, preallocate, .. } = self.prepare_len(len);
        let prepared = prepare_beside(&dir, store, ordinal, len, preallocate);
        let prepared = prepared.map_err(Error::not_written)?;
        // From here on the old file may be gone: nothing may be written to it any more.
        self.put_in_place(prepared).map_err(|e| {
            self.poisoned_by(e.clone());
            Error::not_written(e)
        })
    }

    fn put_in_place(&mut self, prepared: Prepared) -> Result<()> {
        let prepared = put_in_place(&self.dir, prepared)?;
        let (dir, mode, link) = (&self.dir, self.settings.read_mode, *self.tail.link());
        let tail = Tail::begin(dir, mode, prepared, &link, self.last_time)?;
        self.catalog.log.replace_last(tail.segment().clone());
        self.checkpoint_end = tail.progress().end;
        self.tail = tail;
        Ok(())
    }

    /// Writes the seal, and syncs the segment before a byte goes to the next, in every mode.
    fn seal(&mut self) -> Result<()> {
        let visible = Position(self.next_position() - 1);
        self.write_held()?;
        self.tail.stage_seal(self.last_time);
        let written = self.tail.write();
        written.map_err(|e| self.poisoned_by(e))?;
        let synced = self.tail.sync();
        synced.map_err(|e| self.poisoned_by(e))?;
        self.catalog.watermark.make_durable(visible);
        self.tell_followers();
        Ok(())
    }

    fn take_prepared(&mut self, frame_bound: usize) -> Result<Prepared> {
        let needed = needed_len(frame_bound)?;
        let next = std::mem::replace(&mut *self.next.lock(), Next::Taken);
        self.next = Arc::default();
        if let Next::Ready(prepared) = next {
            if prepared.header.len >= needed {
                return Ok(prepared);
            }
            let name = crate::format::files::LogFile::Segment {
                ordinal: prepared.header.ordinal,
                generation: prepared.header.generation,
            };
            drop(prepared);
            discard(&self.dir, &name.path())?;
        }
        self.prepare_len(self.next_len().max(needed)).prepare()
    }

    fn prepare_len(&self, len: u32) -> Preparation {
        Preparation {
            dir: self.dir.clone(),
            store: self.store,
            ordinal: self.tail.segment().ordinal() + 1,
            len,
            preallocate: self.settings.preallocate,
            next: Arc::clone(&self.next),
        }
    }

    /// Segments double up to the length that the options give.
    fn next_len(&self) -> u32 {
        let most = self.settings.segment_bytes;
        let len = u64::from(self.tail.segment().header().len).saturating_mul(2);
        u32::try_from(len.min(most).max(FIRST_SEGMENT_BYTES.min(most))).unwrap_or(u32::MAX)
    }
}

/// The length of a segment in which a frame fits.
fn needed_len(frame_bound: usize) -> Result<u32> {
    u32::try_from(frame_bound)
        .ok()
        .and_then(|bytes| bytes.checked_add(Tail::overhead()))
        .and_then(|bytes| bytes.checked_next_multiple_of(4096))
        .ok_or_else(|| {
            let limit = u64::from(u32::MAX - Tail::overhead());
            Error::limit("bytes of an append", limit, frame_bound as u64)
        })
}
