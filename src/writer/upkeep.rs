//! What is done with the writer's state beside the commits: syncs, index checkpoints, the end.

use super::core::Core;
use crate::error::Result;
use crate::index::{Covers, SegmentIndex, Unit};
use crate::log::tail::Tail;
use crate::position::Position;
use crate::storage::NamedFile;
use crate::sync::Arc;

/// A sync that runs while appends go on.
#[derive(Debug)]
pub(crate) struct PendingSync {
    file: NamedFile,
    segment: u32,
    end: u32,
    position: Position,
}

impl PendingSync {
    pub(crate) fn run(&self) -> Result<()> {
        self.file.sync()
    }
}

/// An index that was frozen where the log was durable, ready to be saved.
pub(crate) type Frozen = (Arc<SegmentIndex>, Arc<Vec<Unit>>, Covers);

impl Core {
    /// Ends in good order: everything is written, marked with a watermark frame, and synced.
    /// Returns the index to save as clean, unless it is saved already.
    pub(crate) fn finish(&mut self) -> Result<Option<Frozen>> {
        self.check_poison()?;
        if self.marked_clean {
            return Ok(None);
        }
        self.sync()?;
        if self.tail.has_room_for_watermark() {
            self.tail.stage_watermark(self.last_time);
        }
        let written = self.tail.write();
        written.map_err(|e| self.poisoned_by(e))?;
        self.sync_tail()?;
        self.tell_followers();
        self.freeze(0)
    }

    /// Bytes that were written to the active segment and not synced.
    pub(crate) fn unsynced_bytes(&self) -> u64 {
        u64::from(self.tail.segment().written().saturating_sub(self.tail.durable_end()))
    }

    /// Writes what is held back, and says what to sync; `None` where nothing is left to do.
    pub(crate) fn begin_sync(&mut self) -> Result<Option<PendingSync>> {
        self.check_poison()?;
        self.write_held()?;
        self.tell_followers();
        if self.unsynced_bytes() == 0 {
            return Ok(None);
        }
        Ok(Some(PendingSync {
            file: self.tail.file().clone(),
            segment: self.tail.segment().ordinal(),
            end: self.tail.segment().written(),
            position: Position(self.next_position() - 1),
        }))
    }

    /// Takes note of how a sync ended.
    pub(crate) fn end_sync(&mut self, pending: &PendingSync, synced: Result<()>) -> Result<()> {
        synced.map_err(|e| self.poisoned_by(e))?;
        // A roll in between has synced the segment itself.
        if pending.segment == self.tail.segment().ordinal() {
            self.tail.note_durable(pending.end);
        }
        self.catalog.watermark.make_durable(pending.position);
        self.tell_followers();
        Ok(())
    }

    /// Freezes the index of the active segment, if so many bytes were appended since the last
    /// checkpoint. Everything that it holds is durable.
    pub(crate) fn freeze(&mut self, bytes: u64) -> Result<Option<Frozen>> {
        let end = self.tail.progress().end;
        if u64::from(end.saturating_sub(self.checkpoint_end)) < bytes || self.poisoned() {
            return Ok(None);
        }
        let Some(active) = self.catalog.index.active() else { return Ok(None) };
        if self.tail.durable_end() < end {
            self.sync()?;
        }
        self.checkpoint_end = end;
        let units = active.freeze();
        Ok(Some((active, units, covers(&self.tail))))
    }
}

/// What an index of everything up to a tail's end covers.
pub(crate) fn covers(tail: &Tail) -> Covers {
    let (header, progress) = (tail.segment().header(), tail.progress());
    Covers {
        salt: header.salt,
        generation: header.generation,
        base: tail.segment().base(),
        frames: progress.frames,
        end: progress.end,
        last_crc: progress.last_crc,
        chain: progress.chain,
        first_time: progress.first_time,
        last_time: progress.last_time,
    }
}
