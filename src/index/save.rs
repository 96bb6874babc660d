//! Writing index files: for sealed segments, and checkpoints of the active one.

use super::build::{LookUp, build};
use super::sealed::SealedIndex;
use super::segment::Unit;
use super::{Context, Index, SegmentIndex, checked};
use crate::error::Result;
use crate::format::blocks::FileKind;
use crate::format::directory::SegmentRow;
use crate::format::files::{LOG, LogFile};
use crate::format::sealed::{SealedFooter, Sections};
use crate::format::segment::Chain;
use crate::position::Timestamp;
use crate::sync::{Arc, Ordering};

/// How far the log goes that an index file covers, and all of it durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Covers {
    pub(crate) salt: [u8; 16],
    pub(crate) generation: u32,
    pub(crate) base: u64,
    pub(crate) frames: u32,
    pub(crate) end: u32,
    pub(crate) last_crc: u32,
    pub(crate) chain: Chain,
    pub(crate) first_time: Timestamp,
    pub(crate) last_time: Timestamp,
}

impl Covers {
    /// A whole sealed segment. What only a writer that goes on needs is not kept.
    pub(crate) fn sealed(row: &SegmentRow) -> Self {
        Self {
            salt: row.salt,
            generation: row.generation,
            base: row.base,
            frames: 0,
            end: row.end,
            last_crc: row.last_crc,
            chain: row.chain,
            first_time: Timestamp::default(),
            last_time: Timestamp::default(),
        }
    }
}

impl Index {
    /// Writes the index file of a sealed segment that has none yet. `true` where it did something.
    pub(crate) fn seal_one(&self) -> Result<bool> {
        let _alone = self.upkeep.lock();
        let tiers = self.tiers();
        for slot in &tiers.segments {
            let Some(row) = slot.row.get() else { continue };
            // Segments that nobody looked at have their file, or get it when they are looked at.
            let Some(index) = slot.index.read().clone() else { continue };
            let units = index.freeze();
            if matches!(units.as_slice(), [Unit::Sealed(sealed)] if !sealed.is_checkpoint) {
                continue;
            }
            let name = LogFile::SealedIndex { ordinal: row.ordinal, generation: row.generation };
            self.save(&index, &units, name, &Covers::sealed(row), false)?;
            let Context { dir, .. } = &self.context;
            let part =
                LogFile::IndexCheckpoint { ordinal: row.ordinal, generation: row.generation };
            if dir.open_if_there(&part.path())?.is_some() {
                dir.remove(&part.path())?;
            }
            return Ok(true);
        }
        self.pending.store(false, Ordering::Relaxed);
        Ok(false)
    }

    /// Lets upkeep write the files that were found missing or damaged.
    pub(super) fn want_files(&self) {
        self.pending.store(self.context.writable, Ordering::Relaxed);
    }

    /// Whether a sealed segment may be without its file.
    pub(crate) fn wants_upkeep(&self) -> bool {
        self.pending.load(Ordering::Relaxed)
    }

    /// Writes an index checkpoint of the active segment: of the units that were frozen when the
    /// log ended where `covers` says.
    pub(crate) fn checkpoint(
        &self,
        index: &SegmentIndex,
        units: &Arc<Vec<Unit>>,
        covers: &Covers,
        clean: bool,
    ) -> Result<()> {
        let _alone = self.upkeep.lock();
        let name =
            LogFile::IndexCheckpoint { ordinal: index.ordinal(), generation: covers.generation };
        self.save(index, units, name, covers, clean)
    }

    /// Says that the store is in use again, before the first append since a clean close.
    pub(crate) fn mark_dirty(&self, ordinal: u32) -> Result<()> {
        let name = LogFile::IndexCheckpoint { ordinal, generation: 0 };
        checked::mark_dirty(&self.context.dir, &name.path(), FileKind::IndexCheckpoint)
    }

    /// The bytes of the index file of some units: its body and its footer.
    pub(super) fn build(
        &self,
        units: &[Unit],
        describes: SealedFooter,
    ) -> Result<(Vec<u8>, Vec<u8>)> {
        let before = describes.ordinal;
        let previous = |name: &str, hash: u64| self.previous_of(name, hash, before);
        let look_up = LookUp { frames: self.context.frames.as_ref(), previous: &previous };
        build(units, describes, &look_up)
    }

    fn save(
        &self,
        index: &SegmentIndex,
        units: &Arc<Vec<Unit>>,
        name: LogFile,
        covers: &Covers,
        clean: bool,
    ) -> Result<()> {
        let Context { dir, store, mode, .. } = &self.context;
        let describes = describe(*store, index.ordinal(), covers);
        let (body, footer) = self.build(units, describes)?;
        let kind = match name {
            LogFile::IndexCheckpoint { .. } => FileKind::IndexCheckpoint,
            _ => FileKind::SealedIndex,
        };
        checked::write(dir, LOG, &name.path(), kind, clean, body, &footer)?;
        if let Some(sealed) = SealedIndex::open(dir, name, *mode)? {
            index.replace(units, sealed);
        }
        Ok(())
    }
}

/// The footer of an index file, without what its columns say.
pub(super) fn describe(store: [u8; 16], ordinal: u32, covers: &Covers) -> SealedFooter {
    SealedFooter {
        store,
        salt: covers.salt,
        ordinal,
        generation: covers.generation,
        base: covers.base,
        frames: covers.frames,
        end: covers.end,
        last_crc: covers.last_crc,
        chain: covers.chain,
        first_time: covers.first_time,
        last_time: covers.last_time,
        events: 0,
        terms: 0,
        types: 0,
        categories: 0,
        ids: 0,
        offset_width: 0,
        type_width: 0,
        category_width: 0,
        sections: Sections::default(),
    }
}
