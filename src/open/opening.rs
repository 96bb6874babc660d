//! From what was found to a store: the log, its index, and the end that the writer goes on from.

use std::sync::OnceLock;

use super::folded::usable_runs;
use super::follow::{End, Place};
use super::recover::Examined;

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::format::control::Begin;
use crate::format::directory::SegmentRow;
use crate::format::files::LogFile;
use crate::format::frame::time_that_fits;
use crate::format::segment::SegmentHeader;
use crate::format::store::StoreHeader;
use crate::index::{Context, Directory, Hasher, Index, SegmentIndex, Slot, Tiers, Unit};
use crate::log::prepare::{Prepared, discard, prepare};
use crate::log::recovery::Decision;
use crate::log::source::Fetch;
use crate::log::survey::{Last, Listing, Survey, Unused};
use crate::log::tail::{Tail, link_to, link_to_nothing};
use crate::log::{Log, Segment};
use crate::options::{FIRST_SEGMENT_BYTES, ReadMode, Settings};
use crate::place::Frames;
use crate::position::{Position, Timestamp};
use crate::state::{Change, FrameEnd};
use crate::storage::{Access, Dir};
use crate::sync::Arc;
use crate::watermark::Watermark;
use crate::writer::{self, Leftover};

/// What is known of the log before anything is decided.
pub(super) struct Surveyed {
    pub(super) header: StoreHeader,
    pub(super) listing: Listing,
    pub(super) directory: Option<Directory>,
    pub(super) survey: Survey,
}

/// What file systems give back at a time.
const BLOCK_BYTES: u32 = 4096;

/// State writes that were found in frames.
#[derive(Debug, Default)]
pub(super) struct FoundState {
    /// By the last event of their frame, oldest first.
    pub(super) changes: Vec<(FrameEnd, Vec<Change>)>,
    /// A sealed segment that cannot be read: up to which position, and why.
    pub(super) damage: Option<(u64, Error)>,
}

/// What opening has gathered, on its way to a store.
pub(super) struct Opening<'a> {
    pub(super) dir: &'a Dir,
    pub(super) settings: &'a Settings,
    pub(super) found: Surveyed,
    pub(super) writable: bool,
    pub(super) replayed: u64,
    pub(super) state: FoundState,
}

impl<'a> Opening<'a> {
    pub(super) fn new(
        dir: &'a Dir,
        settings: &'a Settings,
        found: Surveyed,
        writable: bool,
    ) -> Self {
        Self { dir, settings, found, writable, replayed: 0, state: FoundState::default() }
    }

    /// The index over the sealed segments, and slots for more.
    pub(super) fn index(&mut self, log: &Arc<Log>, more: Vec<Slot>) -> Index {
        let Surveyed { header, listing, directory, survey } = &mut self.found;
        let mode = self.settings.read_mode;
        let frames: Arc<dyn Frames> = Arc::<Log>::clone(log);
        let context = Context {
            dir: self.dir.clone(),
            store: header.id,
            mode,
            hasher: Hasher::new(&header.hash_key, self.settings.hash_bits),
            frames,
            writable: self.writable,
            heads_kept: self.settings.heads_kept,
        };
        let runs = usable_runs(self.dir, header.id, mode, listing, &survey.sealed);
        let mut slots: Vec<Slot> = survey.sealed.iter().map(|row| Slot::sealed(*row)).collect();
        slots.extend(more);
        Index::new(context, Tiers::new(directory.take(), runs, slots))
    }

    /// The log of the sealed segments, and one more.
    fn log(&self, last: Option<Arc<Segment>>) -> Arc<Log> {
        let store = self.found.header.id;
        let sealed = self.found.survey.sealed.iter().map(|row| {
            let header = SegmentHeader {
                store,
                salt: row.salt,
                ordinal: row.ordinal,
                generation: row.generation,
                len: row.len,
            };
            self.segment(header, row.base, row.end)
        });
        Arc::new(Log::new(sealed.chain(last).collect()))
    }

    fn segment(&self, header: SegmentHeader, base: u64, end: u32) -> Arc<Segment> {
        Arc::new(Segment::new(self.dir.clone(), self.settings.read_mode, header, base, end))
    }

    /// Makes the last segment readable: its index is what the checkpoint has, and the rest of the
    /// log replayed.
    fn load(&mut self, last: &Last, examined: &mut Examined) -> Result<(Arc<Log>, Index)> {
        let progress = examined.progress;
        // Somebody else may write to it while this reads.
        let mode = if self.writable { self.settings.read_mode } else { ReadMode::Positional };
        let (dir, base) = (self.dir.clone(), last.begin.base);
        let segment = Arc::new(Segment::new(dir, mode, last.header, base, progress.end));
        let log = self.log(Some(segment));
        // Here, because the index takes the directory.
        self.find_state_of_sealed(&log);
        let checkpoint = examined.checkpoint.take();
        let resumed =
            checkpoint.as_ref().map_or((0, 0), |index| (index.footer.events, index.footer.end));
        let units = checkpoint.map(|index| Unit::Sealed(Arc::new(index))).into_iter().collect();
        let ordinal = last.header.ordinal;
        let slot = Slot::active(last.begin.base, SegmentIndex::new(ordinal, units));
        let index = self.index(&log, vec![slot]);
        let (known, from) = resumed;
        let missing = progress.events - known;
        if missing > 0 {
            replay(&log, &index, ordinal, from, missing)?;
            self.replayed += u64::from(missing);
            self.find_state(&log, ordinal, from)?;
        }
        Ok((log, index))
    }

    /// For readers: what there is, up to its end.
    pub(super) fn show(
        &mut self,
        last: &Last,
        mut examined: Examined,
        damage: Option<Error>,
    ) -> Result<(Catalog, Place)> {
        let sealed = self.found.survey.sealed.last().copied();
        let (log, index) = self.load(last, &mut examined)?;
        let head = last.begin.base + u64::from(examined.progress.events) - 1;
        let (state, watermark) = (self.state(head), Watermark::at(Position(head)));
        let segment = log.segment(last.header.ordinal)?;
        let end = End::new(segment, last.file.clone(), examined.progress);
        let damage = damage.map_or_else(OnceLock::new, OnceLock::from);
        let catalog = Catalog { log, index, state, watermark, damage, feed: None };
        Ok((catalog, Place { sealed, end: Some(end), is_believed: false }))
    }

    /// For the writer: carries out what was decided about the last segment.
    pub(super) fn take_over(
        &mut self,
        last: Last,
        mut examined: Examined,
        unused: Option<Unused>,
    ) -> Result<writer::Parts> {
        // Where the medium has lost the first frame, its time is still known, and the clock of the
        // store never goes back.
        let time = examined.progress.last_time.max(last.begun_at);
        match examined.decision {
            Decision::Continue => self.go_on(last, &mut examined, unused),
            Decision::Replace => {
                discard_unused(self.dir, unused)?;
                let log = self.log(None);
                self.find_state_of_sealed(&log);
                let index = self.index(&log, Vec::new());
                // A segment without a frame has no time: commits go on behind the one before.
                let time = time.max(last_commit(&log, &index, last.begin.base)?);
                self.begin_next(&log, index, &last.begin, last.header.ordinal, time)
            }
            Decision::Cut | Decision::Refuse(_) => {
                let (log, index) = self.load(&last, &mut examined)?;
                let row = sealed_row(&last, &examined);
                let cut = !examined.progress.sealed;
                index.seal_last(row);
                let link = link_to(&row, cut);
                let mut parts = self.begin_next(&log, index, &link, row.ordinal + 1, time)?;
                // The block that holds the end is left alone.
                let from = row.end.next_multiple_of(BLOCK_BYTES);
                if cut && from < row.len {
                    let name = LogFile::Segment { ordinal: row.ordinal, generation: 0 };
                    let file = self.dir.open(&name.path(), Access::ReadWrite)?;
                    parts.leftover = Some(Leftover { file, from, end: row.len });
                }
                Ok(parts)
            }
        }
    }

    /// Goes on in the segment that was left in good order.
    fn go_on(
        &mut self,
        last: Last,
        examined: &mut Examined,
        unused: Option<Unused>,
    ) -> Result<writer::Parts> {
        let (log, index) = self.load(&last, examined)?;
        let ordinal = last.header.ordinal;
        let segment = log.segment(ordinal)?;
        let name = LogFile::Segment { ordinal, generation: last.header.generation };
        let file = self.dir.open(&name.path(), Access::ReadWrite)?;
        segment.adopt(file.clone())?;
        let prepared = match unused {
            Some(unused) => self.adopt_prepared(unused)?,
            None => None,
        };
        let progress = examined.progress;
        let head = Position(segment.base() + u64::from(progress.events) - 1);
        let tail = Tail::resume(segment, file, last.begin, progress);
        let parts = Parts { log, index, tail, head, time: progress.last_time };
        Ok(self.finish(parts, prepared, true))
    }

    /// A segment that was prepared before the store was closed in good order.
    fn adopt_prepared(&self, unused: Unused) -> Result<Option<Prepared>> {
        let name = LogFile::Segment { ordinal: unused.ordinal, generation: 0 }.path();
        match unused.header {
            Some(header) if unused.file.len()? >= u64::from(header.len) => {
                let file = self.dir.open(&name, Access::ReadWrite)?;
                Ok(Some(Prepared { header, file }))
            }
            _ => discard(self.dir, &name).map(|()| None),
        }
    }

    /// Begins the first segment of a store.
    pub(super) fn begin_first(&mut self) -> Result<writer::Parts> {
        let log = self.log(None);
        let index = self.index(&log, Vec::new());
        let now = time_that_fits(self.dir.now());
        self.begin_next(&log, index, &link_to_nothing(), 1, now)
    }

    /// Begins a new segment, durably, in the place of one that holds no event: from then on what
    /// its first frame says of the one before holds. Ends with an index checkpoint that names it.
    fn begin_next(
        &mut self,
        log: &Arc<Log>,
        index: Index,
        link: &Begin,
        ordinal: u32,
        time: Timestamp,
    ) -> Result<writer::Parts> {
        let most = u32::try_from(self.settings.segment_bytes).unwrap_or(u32::MAX);
        let first = u32::try_from(FIRST_SEGMENT_BYTES).unwrap_or(u32::MAX).min(most);
        let store = self.found.header.id;
        let prepared = prepare(self.dir, store, ordinal, first, self.settings.preallocate)?;
        let mode = self.settings.read_mode;
        let mut tail = Tail::begin(self.dir, mode, prepared, link, time)?;
        tail.write()?;
        tail.sync()?;
        log.push(Arc::clone(tail.segment()));
        index.begin(ordinal, link.base);
        checkpoint(&index, &tail)?;
        let head = Position(link.base - 1);
        let parts = Parts { log: Arc::clone(log), index, tail, head, time };
        Ok(self.finish(parts, None, false))
    }

    fn finish(&mut self, parts: Parts, prepared: Option<Prepared>, clean: bool) -> writer::Parts {
        let Parts { log, index, tail, head, time } = parts;
        let (state, watermark) = (self.state(head.0), Watermark::at(head));
        writer::Parts {
            dir: self.dir.clone(),
            store: self.found.header.id,
            settings: self.settings.clone(),
            catalog: Arc::new(Catalog {
                log,
                index,
                state,
                watermark,
                damage: OnceLock::new(),
                feed: None,
            }),
            tail,
            prepared,
            last_time: time,
            marked_clean: clean,
            leftover: None,
        }
    }
}

/// A store that is nearly open.
struct Parts {
    log: Arc<Log>,
    index: Index,
    tail: Tail,
    head: Position,
    time: Timestamp,
}

/// Saves the index of the active segment, all of which is durable.
fn checkpoint(index: &Index, tail: &Tail) -> Result<()> {
    let Some(active) = index.active() else { return Ok(()) };
    let units = active.freeze();
    index.checkpoint(&active, &units, &writer::covers(tail), false)
}

/// The time of the commit of the event before a position.
fn last_commit(log: &Log, index: &Index, base: u64) -> Result<Timestamp> {
    let head = Position(base.saturating_sub(1));
    let Some(segment) = log.segment_of(head) else { return Ok(Timestamp::default()) };
    let ordinal = u32::try_from(head.0 - segment.base()).unwrap_or(u32::MAX);
    let place = index.place(segment.ordinal(), ordinal)?;
    Ok(segment.frame(place.frame, Fetch::One)?.frame.time)
}

/// Reads events of the last segment into its index.
fn replay(log: &Log, index: &Index, ordinal: u32, from: u32, events: u32) -> Result<()> {
    let hasher = *index.hasher();
    let Some(active) = index.active() else { return Ok(()) };
    let end = active.events() + events;
    log.replay(ordinal, from, events, &mut |event| {
        if active.events() >= end {
            return Ok(());
        }
        active.add(&hasher.indexed(event, &hasher.labels(event)));
        Ok(())
    })
}

fn sealed_row(last: &Last, examined: &Examined) -> SegmentRow {
    let (header, progress) = (&last.header, &examined.progress);
    SegmentRow {
        ordinal: header.ordinal,
        generation: header.generation,
        salt: header.salt,
        base: last.begin.base,
        events: progress.events,
        end: progress.end,
        len: header.len,
        last_crc: progress.last_crc,
        chain: progress.chain,
    }
}

fn discard_unused(dir: &Dir, unused: Option<Unused>) -> Result<()> {
    match unused {
        Some(Unused { ordinal, .. }) => {
            discard(dir, &LogFile::Segment { ordinal, generation: 0 }.path())
        }
        None => Ok(()),
    }
}
