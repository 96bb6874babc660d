//! What is done with the writer's state beside the commits: syncs, index checkpoints, the end.

use super::core::Core;
use crate::error::Result;
use crate::index::{Covers, SegmentIndex, Unit};
use crate::log::tail::Tail;
use crate::options::Durability;
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

    /// How far its segment is durable then.
    #[cfg(test)]
    pub(crate) const fn end(&self) -> u32 {
        self.end
    }
}

/// In `Os`, a sync is due each time so many bytes were written.
const OS_SYNC_BYTES: u64 = 16 << 20;

/// An index that was frozen, to be saved once the log is durable up to where it ends.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) index: Arc<SegmentIndex>,
    pub(crate) units: Arc<Vec<Unit>>,
    pub(crate) covers: Covers,
    /// The sync that has to come first, if one has to.
    pub(crate) pending: Option<PendingSync>,
}

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

    /// Whether a sync is due because much was written since the last one.
    pub(crate) fn wants_sync(&self) -> bool {
        self.settings.durability == Durability::Os && self.unsynced_bytes() >= OS_SYNC_BYTES
    }

    /// Bytes that were written to the active segment and not synced.
    fn unsynced_bytes(&self) -> u64 {
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
    /// checkpoint.
    pub(crate) fn freeze(&mut self, bytes: u64) -> Result<Option<Frozen>> {
        let end = self.tail.progress().end;
        if u64::from(end.saturating_sub(self.checkpoint_end)) < bytes || self.poisoned() {
            return Ok(None);
        }
        let Some(index) = self.active.clone() else { return Ok(None) };
        let pending = if self.tail.durable_end() < end { self.begin_sync()? } else { None };
        self.checkpoint_end = end;
        // At the end, nothing is to follow.
        let units = if bytes > 0 { index.freeze_and_go_on() } else { index.freeze() };
        Ok(Some(Frozen { index, units, covers: covers(&self.tail), pending }))
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
