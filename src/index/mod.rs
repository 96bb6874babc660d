//! Layer 3: everything derived. The log is the truth; whatever is here can be built again from it.
//!
//! Three tiers answer where a stream or an id is: the active segment's index in memory, one index
//! file for each sealed segment, chained per stream, and over them the stream directory and the
//! merged runs of ids. A damaged file of any of them is left out or built again, and never decides.

mod adopt;
mod build;
mod chain;
mod checked;
mod compare;
mod directory;
mod fold;
mod hash;
mod heads;
mod heal;
mod ids;
mod labels;
mod listing;
mod live;
mod part;
#[cfg(test)]
mod rebuilt;
mod run;
mod save;
mod scan;
mod sealed;
mod segment;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;
use std::sync::OnceLock;

pub(crate) use chain::Link;
pub(crate) use compare::{Difference, Rebuild, directory_difference, run_has};
pub(crate) use directory::Directory;
pub(crate) use hash::Hasher;
pub(crate) use heads::Head;
pub(crate) use ids::IdRun;
pub(crate) use labels::Stretch;
pub(crate) use listing::Naming;
pub(crate) use live::Indexed;
pub(crate) use part::StreamPart;
pub(crate) use save::Covers;
pub(crate) use scan::Columns;
pub(crate) use sealed::SealedIndex;
pub(crate) use segment::SegmentIndex;
pub(crate) use segment::Unit;

use crate::error::{Error, Result};
use crate::format::directory::SegmentRow;
use crate::format::files::LogFile;
use crate::options::ReadMode;
use crate::place::{Frames, Place};
use crate::position::{Position, Version};
use crate::storage::Dir;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, RwLock};
use heads::Heads;
use live::UNRESOLVED;

/// What an index needs of the store.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) dir: Dir,
    pub(crate) store: [u8; 16],
    pub(crate) mode: ReadMode,
    pub(crate) hasher: Hasher,
    pub(crate) frames: Arc<dyn Frames>,
    /// Whether files may be written.
    pub(crate) writable: bool,
    /// How many heads are kept in memory, of each part of them.
    pub(crate) heads_kept: usize,
}

/// The index of a store.
pub(crate) struct Index {
    context: Context,
    tiers: RwLock<Arc<Tiers>>,
    heads: Heads,
    /// Held by whoever changes files, so that no two do.
    upkeep: Mutex<()>,
    /// A sealed segment may be without its file.
    pending: AtomicBool,
}

/// The tiers as they are at a moment: an immutable value that is replaced as a whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tiers {
    directory: Option<Arc<Directory>>,
    /// Runs of ids, in order, none covering a segment that another covers.
    runs: Vec<Arc<IdRun>>,
    /// All segments, in order; the last one is active.
    segments: Vec<Arc<Slot>>,
}

/// The index of a segment, opened when it is first needed.
#[derive(Debug)]
pub(crate) struct Slot {
    ordinal: u32,
    base: u64,
    /// What the segment is, once it is sealed.
    row: OnceLock<SegmentRow>,
    index: RwLock<Option<Arc<SegmentIndex>>>,
}

impl Slot {
    pub(crate) fn sealed(row: SegmentRow) -> Self {
        let slot = Self {
            ordinal: row.ordinal,
            base: row.base,
            row: OnceLock::new(),
            index: RwLock::new(None),
        };
        let _ = slot.row.set(row);
        slot
    }

    pub(crate) fn active(base: u64, index: SegmentIndex) -> Self {
        Self {
            ordinal: index.ordinal(),
            base,
            row: OnceLock::new(),
            index: RwLock::new(Some(Arc::new(index))),
        }
    }
}

impl Tiers {
    pub(crate) fn new(directory: Option<Directory>, runs: Vec<IdRun>, segments: Vec<Slot>) -> Self {
        Self {
            directory: directory.map(Arc::new),
            runs: runs.into_iter().map(Arc::new).collect(),
            segments: segments.into_iter().map(Arc::new).collect(),
        }
    }

    fn slot(&self, ordinal: u32) -> Option<&Arc<Slot>> {
        let first = self.segments.first()?.ordinal;
        self.segments.get(ordinal.checked_sub(first)? as usize)
    }

    /// The segments that the directory does not cover, newest first.
    fn uncovered(&self) -> impl Iterator<Item = &Arc<Slot>> {
        let covered = self.directory.as_ref().map_or(0, |directory| directory.covered());
        self.segments.iter().rev().take_while(move |slot| slot.ordinal > covered)
    }

    /// The segments whose ids are in no run.
    fn without_run(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.segments.iter().filter(|slot| {
            !self.runs.iter().any(|run| (run.first()..=run.last()).contains(&slot.ordinal))
        })
    }
}

impl Index {
    pub(crate) fn new(context: Context, tiers: Tiers) -> Self {
        let pending = AtomicBool::new(context.writable);
        let (tiers, heads) = (RwLock::new(Arc::new(tiers)), Heads::new(context.heads_kept));
        Self { context, tiers, heads, upkeep: Mutex::new(()), pending }
    }

    pub(crate) const fn hasher(&self) -> &Hasher {
        &self.context.hasher
    }

    /// Goes on from a segment that is sealed, as `row` says, to the next.
    pub(crate) fn roll(&self, row: SegmentRow) {
        self.seal_last(row);
        self.begin(row.ordinal + 1, row.base + u64::from(row.events));
    }

    /// Takes note of what the last segment is, now that it is sealed.
    pub(crate) fn seal_last(&self, row: SegmentRow) {
        if let Some(last) = self.tiers().segments.last() {
            // Set once: a segment is sealed once.
            let _ = last.row.set(row);
        }
        self.pending.store(true, Ordering::Relaxed);
    }

    /// Adds the index of a new active segment, before any position of it becomes visible.
    pub(crate) fn begin(&self, ordinal: u32, base: u64) {
        let next = Slot::active(base, SegmentIndex::new(ordinal, Vec::new()));
        self.change(|tiers| tiers.segments.push(Arc::new(next)));
    }

    /// Adds a segment that is sealed already. Its index is opened when it is first needed.
    pub(crate) fn add_sealed(&self, row: SegmentRow) {
        self.change(|tiers| tiers.segments.push(Arc::new(Slot::sealed(row))));
    }

    /// The index of the active segment.
    pub(crate) fn active(&self) -> Option<Arc<SegmentIndex>> {
        let tiers = self.tiers();
        tiers.segments.last().and_then(|slot| slot.index.read().clone())
    }

    /// The last event of a stream.
    pub(crate) fn head(&self, name: &str, hash: u64) -> Result<Option<Head>> {
        match self.heads.get(name, hash) {
            Some(head) => Ok(Some(head)),
            None => self.healing(|| self.head_before(name, hash, u32::MAX)),
        }
    }

    /// Takes note of the last event of a stream, which is indexed and not yet visible.
    pub(crate) fn remember_head(&self, name: &str, hash: u64, head: Head) {
        self.heads.put(name, hash, head);
    }

    /// The events of a stream in a segment: the first version, how many, the segment before.
    pub(crate) fn span(&self, segment: u32, name: &str, hash: u64) -> Result<Option<StreamPart>> {
        self.healing(|| {
            let index = self.segment(segment)?;
            let mut span = index.stream(name, hash, &|place| self.is(place, name))?;
            if let Some(span) = &mut span
                && span.previous == UNRESOLVED
            {
                span.previous = self.previous_of(name, hash, segment)?;
            }
            Ok(span)
        })
    }

    /// Where the events of a stream at some versions are, all of which are in one segment.
    pub(crate) fn places(
        &self,
        segment: u32,
        name: &str,
        hash: u64,
        versions: &RangeInclusive<u64>,
    ) -> Result<Vec<Place>> {
        self.healing(|| {
            let index = self.segment(segment)?;
            index.places(name, hash, versions, &|place| self.is(place, name))
        })
    }

    /// Where an event is.
    pub(crate) fn place(&self, segment: u32, ordinal: u32) -> Result<Place> {
        self.healing(|| {
            let frame = self.segment(segment)?.offset(ordinal)?;
            let path = || LogFile::SealedIndex { ordinal: segment, generation: 0 }.path();
            let frame = frame.ok_or_else(|| {
                Error::corrupt(path(), 0, format!("event {ordinal}"), "the end of the index")
            })?;
            Ok(Place { segment, frame, ordinal })
        })
    }

    /// The last event of a stream if it came after a position; one that did not may be found, or
    /// not. Only what came after it is looked for in the tiers, mostly in memory.
    pub(crate) fn head_after(
        &self,
        name: &str,
        hash: u64,
        after: Position,
    ) -> Result<Option<Head>> {
        if let Some(head) = self.heads.get(name, hash) {
            return Ok(Some(head));
        }
        self.healing(|| {
            for slot in self.tiers().segments.iter().rev() {
                let index = self.segment_of(slot)?;
                let first = u32::try_from((after.0 + 1).saturating_sub(slot.base));
                let first = first.unwrap_or(u32::MAX);
                let is = |place: Place| self.is(place, name);
                if let Some(part) = index.newest_from(name, hash, first, &is)? {
                    let version = Version(part.last_version());
                    return Ok(Some(Head { version, segment: slot.ordinal }));
                }
                if slot.base <= after.0 + 1 {
                    break;
                }
            }
            Ok(None)
        })
    }

    /// Bytes of all index files that are known of.
    pub(crate) fn file_bytes(&self) -> Result<u64> {
        let tiers = self.tiers();
        let mut bytes = tiers.directory.as_ref().map_or(0, |directory| directory.bytes());
        bytes += tiers.runs.iter().map(|run| run.bytes()).sum::<u64>();
        for slot in &tiers.segments {
            let index = self.segment_of(slot)?;
            for unit in index.units().iter() {
                if let Unit::Sealed(sealed) = unit {
                    bytes += sealed.bytes();
                }
            }
        }
        Ok(bytes)
    }

    fn tiers(&self) -> Arc<Tiers> {
        Arc::clone(&self.tiers.read())
    }

    fn change(&self, change: impl FnOnce(&mut Tiers)) {
        let mut tiers = self.tiers.write();
        let mut next = Tiers::clone(&tiers);
        change(&mut next);
        *tiers = Arc::new(next);
    }

    fn is(&self, place: Place, name: &str) -> Result<bool> {
        self.context.frames.stream_is(place, name)
    }

    /// The last event of a stream in the segments before one.
    fn head_before(&self, name: &str, hash: u64, before: u32) -> Result<Option<Head>> {
        let tiers = self.tiers();
        let covered = tiers.directory.as_ref().map_or(0, |directory| directory.covered());
        for slot in tiers.segments.iter().rev().filter(|slot| slot.ordinal < before) {
            if slot.ordinal <= covered && before > covered {
                break;
            }
            let index = self.segment_of(slot)?;
            if let Some(part) = index.newest(name, hash, &|place| self.is(place, name))? {
                let version = Version(part.last_version());
                return Ok(Some(Head { version, segment: slot.ordinal }));
            }
        }
        let Some(directory) = tiers.directory.as_ref().filter(|_| before > covered) else {
            return Ok(None);
        };
        // The last frame of another stream of the hash may hold earlier events of this one.
        let mut head: Option<Head> = None;
        for slot in directory.find(hash)? {
            let last = self.context.frames.last_of_stream(slot.segment, slot.frame, name)?;
            if let Some((version, _)) = last
                && head.is_none_or(|head| head.version < version)
            {
                head = Some(Head { version, segment: slot.segment });
            }
        }
        Ok(head)
    }

    fn segment(&self, ordinal: u32) -> Result<Arc<SegmentIndex>> {
        let tiers = self.tiers();
        let slot = tiers.slot(ordinal).ok_or_else(|| {
            let count = tiers.segments.len();
            Error::corrupt("log", 0, format!("segment {ordinal}"), format!("{count} segments"))
        })?;
        self.segment_of(slot)
    }

    fn segment_of(&self, slot: &Slot) -> Result<Arc<SegmentIndex>> {
        if let Some(index) = slot.index.read().as_ref() {
            return Ok(Arc::clone(index));
        }
        let mut index = slot.index.write();
        if let Some(index) = index.as_ref() {
            return Ok(Arc::clone(index));
        }
        let row = slot.row.get().ok_or_else(|| {
            Error::corrupt("log", 0, format!("segment {}", slot.ordinal), "no description")
        })?;
        let name = LogFile::SealedIndex { ordinal: row.ordinal, generation: row.generation };
        let units = match self.open_file(row, name) {
            Some(sealed) => vec![Unit::Sealed(Arc::new(sealed))],
            None => self.read_again(row)?,
        };
        let opened = Arc::new(SegmentIndex::new(slot.ordinal, units));
        *index = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// The newest segment before one that holds a stream; 0 where none does.
    fn previous_of(&self, name: &str, hash: u64, before: u32) -> Result<u32> {
        Ok(self.head_before(name, hash, before)?.map_or(0, |head| head.segment))
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("tiers", &self.tiers).finish_non_exhaustive()
    }
}
