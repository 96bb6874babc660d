//! Folding sealed segments into the stream directory and into runs of ids.

use super::directory::{self, Directory};
use super::ids::{self, FAN_IN, IdRun};
use super::segment::Unit;
use super::{Context, Index, SealedIndex};
use crate::error::Result;
use crate::format::directory::{SegmentRow, Slot as DirectorySlot};
use crate::format::files::{self, LogFile};
use crate::sync::Arc;

/// The directory is written again when so many sealed segments are newer than it.
const FOLD_SEGMENTS: usize = 8;

/// The newest event of a stream in a segment, on its way into the directory.
struct Newer {
    slot: DirectorySlot,
    /// The segment before it that holds the stream, and the stream's last version there.
    previous: u32,
    previous_version: u64,
    /// The ordinal of the event.
    last: u32,
}

impl Index {
    /// Folds what there is enough of. `true` where it did something.
    pub(crate) fn fold(&self) -> Result<bool> {
        let _alone = self.upkeep.lock();
        Ok(self.fold_streams()? || self.fold_ids()?)
    }

    /// Sealed segments newer than the directory, oldest first, as far as they have their files.
    fn foldable(&self) -> Result<Vec<(SegmentRow, Arc<SealedIndex>)>> {
        let tiers = self.tiers();
        let mut foldable = Vec::new();
        let newer: Vec<_> = tiers.uncovered().collect();
        for slot in newer.into_iter().rev() {
            let Some(row) = slot.row.get() else { break };
            let Some(sealed) = sealed_of(&self.segment_of(slot)?.units()) else { break };
            foldable.push((*row, sealed));
        }
        Ok(foldable)
    }

    fn fold_streams(&self) -> Result<bool> {
        let foldable = self.foldable()?;
        if foldable.len() < FOLD_SEGMENTS {
            return Ok(false);
        }
        let Context { dir, store, mode, .. } = &self.context;
        let tiers = self.tiers();
        let old = tiers.directory.as_deref();
        let slots = self.merged_slots(old, &foldable)?;
        let mut rows = old.map_or_else(Vec::new, |directory| directory.segments.clone());
        rows.extend(foldable.iter().map(|(row, _)| *row));
        // Higher than any that is there, also than one that is damaged and not in use.
        let there = dir.list("")?;
        let numbers = || there.iter().filter_map(|name| files::parse_directory(name));
        let number = numbers().max().unwrap_or(0).saturating_add(1);
        directory::write(dir, number, *store, &slots, &rows)?;
        let Some(directory) = Directory::open(dir, number, *store, *mode)? else {
            return Ok(false);
        };
        self.change(|tiers| tiers.directory = Some(Arc::new(directory)));
        // Two are kept.
        for oldest in numbers().filter(|known| known + 1 < number) {
            dir.remove(&files::directory(oldest))?;
        }
        Ok(true)
    }

    /// The slots of the old directory and of newer segments, sorted.
    fn merged_slots(
        &self,
        old: Option<&Directory>,
        newer: &[(SegmentRow, Arc<SealedIndex>)],
    ) -> Result<Vec<DirectorySlot>> {
        let mut entries = Vec::new();
        for (row, sealed) in newer {
            for (hash, part) in sealed.all_terms()? {
                let last = part.last_version();
                let last = sealed.events(&part, &(last..=last))?.first().copied().unwrap_or(0);
                let slot =
                    DirectorySlot { hash, segment: row.ordinal, frame: sealed.offset(last)? };
                let previous_version = part.first_version.saturating_sub(1);
                entries.push(Newer { slot, previous: part.previous, previous_version, last });
            }
        }
        entries.sort_unstable_by_key(|entry| entry.slot);
        let old = old.map_or_else(|| Ok(Vec::new()), Directory::all)?;
        let mut slots = Vec::with_capacity(old.len() + entries.len());
        let mut old = old.into_iter().peekable();
        let mut entries = entries.into_iter().peekable();
        while let Some(hash) =
            [old.peek().map(|slot| slot.hash), entries.peek().map(|entry| entry.slot.hash)]
                .into_iter()
                .flatten()
                .min()
        {
            let start = slots.len();
            while let Some(slot) = old.next_if(|slot| slot.hash == hash) {
                slots.push(slot);
            }
            while let Some(entry) = entries.next_if(|entry| entry.slot.hash == hash) {
                self.merge(&mut slots, start, &entry)?;
            }
            if let Some(same) = slots.get_mut(start..) {
                same.sort_unstable();
            }
        }
        Ok(slots)
    }

    /// Puts a stream's newer event in the place of its older one, among the slots of one hash.
    ///
    /// The chain tells which slot is the stream's: the one in the segment that the entry names as
    /// the one before. Where two streams of one hash are both in that segment, names decide, and
    /// versions do: the last frame of one may also hold earlier events of the other.
    fn merge(&self, slots: &mut Vec<DirectorySlot>, start: usize, entry: &Newer) -> Result<()> {
        let same = slots.get(start..).unwrap_or_default();
        let in_previous = |slot: &&DirectorySlot| slot.segment == entry.previous;
        let mut candidates: Vec<usize> = (start..)
            .zip(same)
            .filter(|(_, slot)| entry.previous != 0 && in_previous(slot))
            .map(|(index, _)| index)
            .collect();
        if candidates.len() > 1 {
            let frames = &self.context.frames;
            let place = crate::place::Place {
                segment: entry.slot.segment,
                frame: entry.slot.frame,
                ordinal: entry.last,
            };
            let name = frames.stream_name(place)?;
            let mut mine = Vec::new();
            for index in candidates {
                if let Some(slot) = slots.get(index)
                    && let last = frames.last_of_stream(slot.segment, slot.frame, &name)?
                    && last.is_some_and(|(version, _)| version.0 == entry.previous_version)
                {
                    mine.push(index);
                }
            }
            candidates = mine;
        }
        match candidates.first().and_then(|index| slots.get_mut(*index)) {
            Some(slot) => *slot = entry.slot,
            None => slots.push(entry.slot),
        }
        Ok(())
    }

    fn fold_ids(&self) -> Result<bool> {
        if let Some((first, last)) = self.mergeable_runs() {
            return self.merge_runs(first, last);
        }
        let tiers = self.tiers();
        let mut stretch: Vec<(SegmentRow, Arc<SealedIndex>)> = Vec::new();
        for slot in tiers.without_run() {
            let row = slot.row.get();
            let (Some(row), Some(sealed)) = (row, sealed_of(&self.segment_of(slot)?.units()))
            else {
                break;
            };
            if stretch.last().is_some_and(|(before, _)| before.ordinal + 1 != row.ordinal) {
                stretch.clear();
            }
            stretch.push((*row, sealed));
            if stretch.len() == FAN_IN {
                break;
            }
        }
        let (Some((first, _)), Some((last, _))) = (stretch.first(), stretch.get(FAN_IN - 1)) else {
            return Ok(false);
        };
        let mut entries = Vec::new();
        for (row, sealed) in &stretch {
            let ids = sealed.all_ids()?;
            entries.extend(ids.into_iter().map(|(hash, event)| (hash, row.base + event)));
        }
        self.put_run(first, last, entries, &[])
    }

    /// The first eight neighbouring runs of one size.
    fn mergeable_runs(&self) -> Option<(usize, usize)> {
        let tiers = self.tiers();
        let mergeable = |window: &[Arc<IdRun>]| {
            let size = window.first().map(|run| run.segments());
            // Buckets count entries in 32 bits: runs that are as large as that stay apart.
            let entries = window.iter().fold(0_u64, |sum, run| sum.saturating_add(run.ids()));
            u32::try_from(entries).is_ok()
                && window.iter().all(|run| Some(run.segments()) == size)
                && window.windows(2).all(|pair| matches!(pair, [a, b] if a.last() + 1 == b.first()))
        };
        let first = tiers.runs.windows(FAN_IN).position(mergeable)?;
        Some((first, first + FAN_IN))
    }

    fn merge_runs(&self, first: usize, behind: usize) -> Result<bool> {
        let tiers = self.tiers();
        let runs = tiers.runs.get(first..behind).unwrap_or_default();
        let row = |ordinal: u32| tiers.slot(ordinal).and_then(|slot| slot.row.get());
        let ends = runs.first().zip(runs.last());
        let Some((first, last)) =
            ends.and_then(|(first, last)| row(first.first()).zip(row(last.last())))
        else {
            return Ok(false);
        };
        let mut entries = Vec::new();
        for run in runs {
            entries.extend(run.all()?);
        }
        self.put_run(first, last, entries, runs)
    }

    /// Writes a run, uses it, and removes those that it replaces.
    fn put_run(
        &self,
        first: &SegmentRow,
        last: &SegmentRow,
        entries: Vec<(u64, u64)>,
        replaced: &[Arc<IdRun>],
    ) -> Result<bool> {
        let Context { dir, store, mode, .. } = &self.context;
        ids::write(dir, *store, first, last, entries)?;
        let Some(run) = IdRun::open(dir, first.ordinal, last.ordinal, *store, *mode)? else {
            return Ok(false);
        };
        self.change(|tiers| {
            tiers.runs.retain(|old| old.first() < first.ordinal || old.last() > last.ordinal);
            tiers.runs.push(Arc::new(run));
            tiers.runs.sort_unstable_by_key(|run| run.first());
        });
        for run in replaced {
            dir.remove(&LogFile::IdRun { first: run.first(), last: run.last() }.path())?;
        }
        Ok(true)
    }
}

/// The file of an index that consists of nothing else.
fn sealed_of(units: &[Unit]) -> Option<Arc<SealedIndex>> {
    match units {
        [Unit::Sealed(sealed)] => Some(Arc::clone(sealed)),
        _ => None,
    }
}
