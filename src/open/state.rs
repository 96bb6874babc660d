//! The state writes that only the log has: those of frames that no index file covers.

use super::opening::{FoundState, Opening};
use crate::error::Result;
use crate::format::files::LogFile;
use crate::index::Directory;
use crate::log::Log;
use crate::state::{FrameEnd, Home, State, changes_of};
use crate::sync::{Arc, AtomicU64};

impl Opening<'_> {
    /// Looks through the sealed segments that have no index file: one is written only once the
    /// state writes of its segment are saved. There are few, mostly none.
    pub(super) fn find_state_of_sealed(&mut self, log: &Log) {
        let covered = self.found.directory.as_ref().map_or(0, Directory::covered);
        let others = &self.found.listing.others;
        let has_index = |ordinal: u32| {
            let its = |file: &LogFile| match file {
                LogFile::SealedIndex { ordinal, .. } => Some(*ordinal),
                _ => None,
            };
            others.iter().filter_map(its).any(|indexed| indexed == ordinal)
        };
        let rows: Vec<_> = self
            .found
            .survey
            .sealed
            .iter()
            .filter(|row| row.ordinal > covered && !has_index(row.ordinal))
            .map(|row| (row.ordinal, row.base + u64::from(row.events) - 1))
            .collect();
        for (ordinal, last) in rows {
            // Damage in a sealed segment refuses no opening. What was saved before it may be old.
            if let Err(e) = self.find_state(log, ordinal, 0) {
                self.state.damage = Some((last, e));
            }
        }
    }

    /// Takes note of the state writes of a segment from an offset on.
    pub(super) fn find_state(&mut self, log: &Log, ordinal: u32, from: u32) -> Result<()> {
        for (last, bytes) in log.state_writes(ordinal, from)? {
            let path = LogFile::Segment { ordinal, generation: 0 }.path();
            let changes =
                changes_of(&bytes).map_err(|invalid| invalid.at(&self.dir.path(&path), 0))?;
            self.state.changes.push((FrameEnd::of(&last), changes));
        }
        Ok(())
    }

    /// The state of the store whose log ends at a position.
    pub(super) fn state(&mut self, opened_at: u64) -> State {
        let FoundState { changes, damage } = std::mem::take(&mut self.state);
        let (store, preallocate) = (self.found.header.id, self.settings.preallocate);
        let log_end = Arc::new(AtomicU64::new(opened_at));
        let (dir, writable) = (self.dir.clone(), self.writable);
        State::new(Home { dir, store, writable, preallocate, log_end }, changes, damage)
    }
}
