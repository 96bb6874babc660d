//! Following a writer in another process: what has become visible there is taken in whenever
//! somebody here looks.
//!
//! The head page says how far the log may be read. The frames up to there are read from the
//! unsealed segment, verified as recovery verifies them, and given to the same index as the
//! writer's own events. Where the writer has gone on to another segment, that one's first frame
//! says where the one before ended.

use super::folded::{newest_directory, usable_runs};
use crate::catalog::{Catalog, Feed};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::format::Invalid;
use crate::format::directory::SegmentRow;
use crate::format::files::LogFile;
use crate::format::frame::{Begin, Frame};
use crate::format::head::{Head, salt_word};
use crate::format::segment::{HEADER_BYTES, SegmentHeader};
use crate::log::head::HeadReader;
use crate::log::scan::{Progress, Scanner, Stop};
use crate::log::survey::{self, Look};
use crate::log::{Segment, logged};
use crate::options::ReadMode;
use crate::position::Position;
use crate::state::{FrameEnd, changes_of};
use crate::storage::{Dir, NamedFile};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};

/// How often a step is tried that fails while the writer goes on.
const TRIES: usize = 16;
/// With more segments than this that the directory does not cover, a newer one is looked for.
const UNCOVERED: usize = 10;
/// No change of the page has this number: changes are even.
const NO_CHANGE: u64 = u64::MAX;

/// What keeps the catalog of a follower up to date.
#[derive(Debug)]
pub(crate) struct Follower {
    dir: Dir,
    store: [u8; 16],
    mode: ReadMode,
    head: HeadReader,
    /// The last change of the page that was taken in.
    seen: AtomicU64,
    place: Mutex<Place>,
}

/// How far a follower has come.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The last segment that is sealed.
    pub(super) sealed: Option<SegmentRow>,
    /// The one behind it, if something of it was read.
    pub(super) end: Option<End>,
    /// Whether the page is the word of a writer that lives. One that was there before may be a dead
    /// writer's, and speak of bytes that a power cut has taken.
    pub(super) is_believed: bool,
}

impl Place {
    /// The position of the last event that was taken in.
    fn visible(&self) -> Position {
        let sealed = self.sealed.map_or(0, |row| row.base + u64::from(row.events) - 1);
        self.end.as_ref().map_or(Position(sealed), End::visible)
    }
}

/// The end of an unsealed segment.
#[derive(Debug)]
pub(super) struct End {
    segment: Arc<Segment>,
    file: NamedFile,
    progress: Progress,
}

/// A segment at first sight.
struct Found {
    file: NamedFile,
    header: SegmentHeader,
    begin: Begin,
}

impl End {
    pub(super) const fn new(segment: Arc<Segment>, file: NamedFile, progress: Progress) -> Self {
        Self { segment, file, progress }
    }

    /// The position of the last event in front of it.
    fn visible(&self) -> Position {
        Position(self.segment.base() + u64::from(self.progress.events) - 1)
    }

    /// Takes in the frames up to an end.
    fn read_to(&mut self, until: u32, catalog: &Catalog) -> Result<()> {
        let header = self.segment.header();
        if until <= self.progress.end {
            return Ok(());
        }
        if until > header.len {
            return Err(self.wrong("frames inside the segment", "an end behind it"));
        }
        let segment = Arc::clone(&self.segment);
        let mut scanner = Scanner::new(&self.file, segment.seed(), until);
        let stop = scanner.walk(&mut self.progress, until, |offset, frame, bytes| {
            take_in(catalog, &segment, offset, frame, bytes)
        })?;
        match stop {
            Stop::Invalid(invalid) => {
                Err(invalid.at(self.file.path(), u64::from(self.progress.end)))
            }
            Stop::End if self.progress.end == until => Ok(()),
            Stop::End => Err(self.wrong("another frame", "a seal")),
        }
    }

    /// What the segment is, now that the next one begins as `begin` says.
    fn sealed_by(&self, begin: &Begin) -> Result<SegmentRow> {
        let Progress { end, last_crc, chain, events, .. } = self.progress;
        let row = row(self.segment.header(), self.segment.base(), begin)?;
        let is_it =
            (row.end, row.last_crc, row.chain, row.events) == (end, last_crc, chain, events);
        is_it.then_some(row).ok_or_else(|| {
            self.wrong("the end that the next segment names", "other frames in front of it")
        })
    }

    fn wrong(&self, expected: &str, found: &str) -> Error {
        self.segment.corrupt(self.progress.end, expected, found)
    }
}

/// Gives the events of a frame that was verified to the index.
fn take_in(
    catalog: &Catalog,
    segment: &Segment,
    offset: u32,
    frame: &Frame,
    bytes: &[u8],
) -> Result<()> {
    let bytes = bytes.get(..frame.len as usize).unwrap_or_default().to_vec();
    let wrong = |invalid: Invalid| segment.corrupt(offset, &invalid.expected, &invalid.found);
    let changes = frame.state_writes(&bytes).map_err(wrong)?;
    let changes =
        if changes.is_empty() { Vec::new() } else { changes_of(changes).map_err(wrong)? };
    let at = segment.frame_of(offset, *frame, bytes);
    // All of them or none, so that the index always ends with a frame.
    let events = (0..frame.events).map(|index| segment.event(&at, index));
    let events = events.collect::<Result<Vec<Event>>>()?;
    if let Some(last) = events.last() {
        catalog.state.apply(&FrameEnd::of(last), changes);
    }
    segment.set_written(offset + frame.len);
    let hasher = catalog.index.hasher();
    let Some(active) = catalog.index.active() else { return Ok(()) };
    for event in &events {
        let event = logged(offset, event);
        active.add(&hasher.indexed(&event, &hasher.labels(&event)));
    }
    Ok(())
}

/// The row of a segment, as the first frame of the next one describes it.
fn row(header: &SegmentHeader, base: u64, next: &Begin) -> Result<SegmentRow> {
    let events = next.base.checked_sub(base).and_then(|events| u32::try_from(events).ok());
    let is_inside = (HEADER_BYTES..=header.len).contains(&next.predecessor_end);
    let wrong = || {
        let file = LogFile::Segment { ordinal: header.ordinal, generation: header.generation };
        Error::corrupt(file.path(), 0, "the segment that the next one follows", "another one")
    };
    let follows = is_inside && next.predecessor == header.ordinal;
    let events = events.filter(|_| follows).ok_or_else(wrong)?;
    Ok(SegmentRow {
        ordinal: header.ordinal,
        generation: header.generation,
        salt: header.salt,
        base,
        events,
        end: next.predecessor_end,
        len: header.len,
        last_crc: next.predecessor_crc,
        chain: next.predecessor_chain,
    })
}

impl Follower {
    pub(super) fn new(
        dir: &Dir,
        store: [u8; 16],
        mode: ReadMode,
        (head, known): (HeadReader, Option<u64>),
        mut place: Place,
    ) -> Self {
        place.is_believed = known.is_some();
        let seen = AtomicU64::new(known.unwrap_or(NO_CHANGE));
        Self { dir: dir.clone(), store, mode, head, seen, place: Mutex::new(place) }
    }

    /// Takes in everything up to where the page says.
    fn advance(&self, place: &mut Place, catalog: &Catalog, head: &Head) -> Result<()> {
        let mut rolled = false;
        loop {
            match &mut place.end {
                Some(end) if end.segment.ordinal() > head.ordinal => {
                    return Err(end.wrong("the active segment", "an older one"));
                }
                Some(end) if is_of(end.segment.header(), head) => {
                    end.read_to(head.end, catalog)?;
                    if end.progress.end == head.end && end.visible().0 != head.visible {
                        let expected = format!("{} events so far", head.visible);
                        return Err(end.wrong(&expected, &end.visible().0.to_string()));
                    }
                    break;
                }
                Some(end) => {
                    self.replace_if_empty(end, catalog)?;
                    if end.segment.ordinal() < head.ordinal {
                        let row = self.seal(end, catalog)?;
                        (place.sealed, place.end) = (Some(row), None);
                        rolled = true;
                    } else if !is_of(end.segment.header(), head) {
                        return Err(end.wrong("the active segment", "another one"));
                    }
                }
                None => self.enter(place, catalog, head)?,
            }
        }
        if rolled { self.adopt(catalog) } else { Ok(()) }
    }

    /// Takes over the index files that the writer has made by now.
    fn adopt(&self, catalog: &Catalog) -> Result<()> {
        let index = &catalog.index;
        index.adopt_files();
        if index.uncovered() > UNCOVERED {
            let listing = survey::list(&self.dir)?;
            let rows = index.rows();
            let directory = newest_directory(&self.dir, self.store, self.mode)?;
            let directory = directory.filter(|known| rows.starts_with(&known.segments));
            let runs = usable_runs(&self.dir, self.store, self.mode, &listing, &rows);
            index.adopt_folds(directory, runs);
        }
        Ok(())
    }

    /// A segment without an event may have been replaced by another one.
    fn replace_if_empty(&self, end: &mut End, catalog: &Catalog) -> Result<()> {
        if end.progress.events > 0 {
            return Ok(());
        }
        let Found { file, header, begin } = self.look(end.segment.ordinal())?;
        if header == *end.segment.header() {
            return Ok(());
        }
        if begin.base != end.segment.base() {
            return Err(end.wrong("a segment at the same position", "another one"));
        }
        let segment = self.segment(ReadMode::Positional, header, begin.base, HEADER_BYTES);
        catalog.log.replace_last(Arc::clone(&segment));
        *end = End::new(segment, file, Progress::start(&header));
        Ok(())
    }

    /// Takes in the rest of a segment behind which there is another one.
    fn seal(&self, end: &mut End, catalog: &Catalog) -> Result<SegmentRow> {
        let next = self.look(end.segment.ordinal() + 1)?.begin;
        if next.predecessor_end < end.progress.end {
            return Err(end.wrong("everything that was shown", "an end before it"));
        }
        end.read_to(next.predecessor_end, catalog)?;
        let row = end.sealed_by(&next)?;
        catalog.index.seal_last(row);
        // From now on no byte of it changes, so it can be mapped.
        let header = *end.segment.header();
        catalog.log.replace_last(self.segment(self.mode, header, row.base, row.end));
        Ok(row)
    }

    /// Goes on to the segment behind the last sealed one.
    fn enter(&self, place: &mut Place, catalog: &Catalog, head: &Head) -> Result<()> {
        let last = place.sealed.as_ref();
        let ordinal = last.map_or(1, |row| row.ordinal + 1);
        let Found { file, header, begin } = self.look(ordinal)?;
        let expected = last.map_or((0, 1), |row| (row.ordinal, row.base + u64::from(row.events)));
        let follows = last.is_none_or(|row| {
            (begin.predecessor_end, begin.predecessor_crc, begin.predecessor_chain)
                == (row.end, row.last_crc, row.chain)
        });
        if !follows || (begin.predecessor, begin.base) != expected {
            let at = u64::from(HEADER_BYTES);
            let expected = format!("a link to segment {} and position {}", expected.0, expected.1);
            return Err(Error::corrupt(file.path(), at, expected, "another one"));
        }
        if ordinal < head.ordinal {
            // Sealed already: what is in it is looked at when it is needed.
            let row = row(&header, begin.base, &self.look(ordinal + 1)?.begin)?;
            catalog.log.push(self.segment(self.mode, header, row.base, row.end));
            self.find_state(catalog, ordinal);
            catalog.index.add_sealed(row);
            place.sealed = Some(row);
            return Ok(());
        }
        if !is_of(&header, head) {
            return Err(Error::corrupt(file.path(), 0, "the active segment", "another one"));
        }
        let segment = self.segment(ReadMode::Positional, header, begin.base, HEADER_BYTES);
        catalog.log.push(Arc::clone(&segment));
        catalog.index.begin(ordinal, begin.base);
        place.end = Some(End::new(segment, file, Progress::start(&header)));
        Ok(())
    }

    /// Takes note of the state writes of a sealed segment. One with an index file has none that the
    /// state's files lack. What cannot be read now leaves views where they stand.
    fn find_state(&self, catalog: &Catalog, ordinal: u32) {
        let index = LogFile::SealedIndex { ordinal, generation: 0 };
        if matches!(self.dir.open_if_there(&index.path()), Ok(Some(_))) {
            return;
        }
        for (last, bytes) in catalog.log.state_writes(ordinal, 0).unwrap_or_default() {
            if let Ok(changes) = changes_of(&bytes) {
                catalog.state.apply(&FrameEnd::of(&last), changes);
            }
        }
    }

    fn look(&self, ordinal: u32) -> Result<Found> {
        let name = LogFile::Segment { ordinal, generation: 0 }.path();
        let Some(file) = self.dir.open_if_there(&name)? else {
            return Err(survey::missing(&self.dir, ordinal));
        };
        match survey::look(&file, self.store, (ordinal, 0), false)? {
            Look::Used(header, begin, _) => Ok(Found { file, header, begin }),
            Look::Unused(_) => Err(Error::corrupt(file.path(), 0, "a segment in use", "none")),
        }
    }

    fn segment(&self, mode: ReadMode, header: SegmentHeader, base: u64, end: u32) -> Arc<Segment> {
        Arc::new(Segment::new(self.dir.clone(), mode, header, base, end))
    }
}

/// Whether the page speaks of a segment.
fn is_of(header: &SegmentHeader, head: &Head) -> bool {
    (header.ordinal, salt_word(&header.salt)) == (head.ordinal, head.salt)
}

impl Feed for Follower {
    fn refresh(&self, catalog: &Catalog) -> Result<()> {
        if self.head.change() == self.seen.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut place = self.place.lock();
        let mut tries = 1;
        loop {
            // Nothing is said while a writer opens the store.
            let Some(head) = self.head.look() else { return Ok(()) };
            if head.change == self.seen.load(Ordering::Acquire) || catalog.damage().is_some() {
                return Ok(());
            }
            let advanced = self.advance(&mut place, catalog, &head);
            // What was verified is there, whatever came behind it.
            catalog.watermark.make_durable(Position(head.durable));
            catalog.watermark.show(place.visible());
            catalog.state.log_grew(place.visible().0);
            match advanced {
                Ok(()) => {
                    place.is_believed = true;
                    self.seen.store(head.change, Ordering::Release);
                    return Ok(());
                }
                // The writer has gone on, and may have replaced what was looked for.
                Err(_) if self.head.change() != head.change && tries < TRIES => tries += 1,
                Err(e) if e.is_damage() && !place.is_believed => {
                    // What is there of it was written; what is not is not to come. The next change
                    // is that of a writer that has looked.
                    place.is_believed = true;
                    self.seen.store(head.change, Ordering::Release);
                    return Ok(());
                }
                Err(e) if e.is_damage() => {
                    catalog.watermark.end(e.clone());
                    // The first stays.
                    let _ = catalog.damage.set(e);
                    return Ok(());
                }
                Err(e) => return Err(e),
            }
        }
    }
}
