//! What a reader beside a writer takes over from it: index files that did not exist when the reader
//! began. Without them its memory and its look-ups would grow with each segment.

use super::segment::Unit;
use super::{Directory, IdRun, Index, SegmentIndex};
use crate::format::directory::SegmentRow;
use crate::format::files::LogFile;
use crate::sync::Arc;

impl Index {
    /// Puts index files that the writer has written by now in the place of what was built in
    /// memory.
    pub(crate) fn adopt_files(&self) {
        for slot in &self.tiers().segments {
            let Some(row) = slot.row.get() else { continue };
            let Some(index) = slot.index.read().clone() else { continue };
            if index.sealed_events() == Some(row.events) {
                continue;
            }
            let name = LogFile::SealedIndex { ordinal: row.ordinal, generation: row.generation };
            if let Some(sealed) = self.open_file(row, name) {
                let units = vec![Unit::Sealed(Arc::new(sealed))];
                *slot.index.write() = Some(Arc::new(SegmentIndex::new(slot.ordinal, units)));
            }
        }
    }

    /// How many segments the directory does not cover.
    pub(crate) fn uncovered(&self) -> usize {
        self.tiers().uncovered().count()
    }

    /// How many sealed segments have an index that is not just their file.
    #[cfg(test)]
    pub(crate) fn in_memory(&self) -> usize {
        let is_built = |slot: &&Arc<super::Slot>| {
            let index = slot.index.read().clone();
            let events = slot.row.get().map(|row| row.events);
            events.is_some() && index.is_some_and(|index| index.sealed_events() != events)
        };
        self.tiers().segments.iter().filter(is_built).count()
    }

    /// The sealed segments, oldest first.
    pub(crate) fn rows(&self) -> Vec<SegmentRow> {
        self.tiers().segments.iter().map_while(|slot| slot.row.get().copied()).collect()
    }

    /// Puts a newer directory and newer runs, which fit the segments, in the place of those that
    /// are in use.
    pub(crate) fn adopt_folds(&self, directory: Option<Directory>, runs: Vec<IdRun>) {
        self.change(|tiers| {
            if let Some(directory) = directory {
                tiers.directory = Some(Arc::new(directory));
            }
            tiers.runs = runs.into_iter().map(Arc::new).collect();
        });
    }
}
