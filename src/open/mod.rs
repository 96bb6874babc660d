//! Layer 5: opening a store. Lock, look, decide, load or rebuild, publish.

mod folded;
mod follow;
mod opening;
mod recover;
mod report;
mod scaffold;
mod state;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use folded::newest_directory;
use follow::{Follower, Place};
use opening::{Opening, Surveyed};
use recover::Examined;
pub(crate) use recover::examine;
pub use report::{IndexCheckpoint, RecoveryReport};
pub(crate) use scaffold::{read_header, writer_is_alive};

use crate::catalog::Catalog;
use crate::cursor::CursorsFound;
use crate::error::{Error, Result};
use crate::format::directory::SegmentRow;
use crate::format::files::{LOG, LogFile};
use crate::format::store::StoreHeader;
use crate::index::SealedIndex;
use crate::log::Log;
use crate::log::head::{HeadReader, HeadWriter};
use crate::log::recovery::Decision;
use crate::log::survey::{self, Last, Listing, Survey, Unused};
use crate::options::{ReadMode, Settings};
use crate::position::Position;
use crate::storage::{Dir, Lock};
use crate::sync::Arc;
use crate::watermark::Watermark;
use crate::writer;

/// How often a reader looks at a store that a writer changes meanwhile, and how long in between.
const READER_TRIES: usize = 20;
const READER_PAUSE: Duration = Duration::from_millis(1);

/// A store that was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) header: StoreHeader,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) report: RecoveryReport,
    /// Missing where the store was opened for reading only.
    pub(crate) writer: Option<(writer::Core, Locks)>,
}

/// What keeps other writers out.
#[derive(Debug)]
pub(crate) struct Locks {
    _writer: Box<dyn Lock>,
    /// Says to readers that a writer is alive.
    _alive: Box<dyn Lock>,
}

/// Opens a store for writing, creating it if there is none.
pub(crate) fn open(dir: &Dir, settings: &Settings) -> Result<Opened> {
    let started = Instant::now();
    let (header, lock, is_new) = scaffold::claim(dir, settings.create)?;
    let alive = scaffold::say_alive(dir)?;
    let locks = Locks { _writer: lock, _alive: alive };
    let mut found = look(dir, header, settings.read_mode)?;
    if let Some(damage) = found.survey.damage.take() {
        return Err(damage);
    }
    let last = found.survey.last.take();
    let examined = last
        .as_ref()
        .map(|last| examine(dir, header.id, settings.read_mode, last, false))
        .transpose()?;
    if let (Some(last), Some(examined)) = (&last, &examined)
        && let Decision::Refuse(damage) = &examined.decision
    {
        return Err(damage.error(last.file.path()));
    }
    if let (Some(last), Some(examined)) = (&last, &examined)
        && let Some(missing) = missing_next(dir, last, examined, found.survey.unused.as_ref())
    {
        return Err(missing);
    }
    let clean = is_new || examined.as_ref().is_some_and(|e| e.decision == Decision::Continue);
    let bytes_cut = examined.as_ref().map_or(0, |examined| examined.bytes_behind);
    let checkpoint_state = examined
        .as_ref()
        .map_or(IndexCheckpoint::NewStore, |examined| examined.checkpoint_state.clone());
    let unused = found.survey.unused.take();
    if !clean && let Some(unused) = &unused {
        unused.check()?;
    }
    // Nothing is refused any more, so files may change. Behind a clean end nothing is built on them
    // before the first append.
    if !clean {
        crate::log::sync_names(dir)?;
    }
    remove_temporary(dir, &found.listing)?;
    remove_superseded(dir, &found.listing, last.as_ref())?;
    let head = HeadWriter::open(dir, header.id);
    let mut opening = Opening::new(dir, settings, found, true);
    let parts = match (last, examined) {
        (Some(last), Some(examined)) => opening.take_over(last, examined, unused)?,
        _ => opening.begin_first()?,
    };
    let report = RecoveryReport {
        clean,
        bytes_cut,
        events_replayed: opening.replayed,
        index_checkpoint: checkpoint_state,
        cursors: CursorsFound::default(),
        elapsed: started.elapsed(),
    };
    let catalog = Arc::clone(&parts.catalog);
    let writer = Some((writer::Core::new(parts, head), locks));
    Ok(Opened { header, catalog, report, writer })
}

/// Opens a store for reading, beside a running writer or without one. Changes nothing, and shows
/// what there is now.
///
/// `in_use`: a handle of this process is open, and is taken for a running writer.
pub(crate) fn open_read_only(dir: &Dir, settings: &Settings, in_use: bool) -> Result<Opened> {
    picture(dir, settings, in_use).map(Picture::still)
}

/// The same, and goes on with what is written from now on.
pub(crate) fn follow(dir: &Dir, settings: &Settings) -> Result<Opened> {
    picture(dir, settings, false)?.followed(dir, settings)
}

/// A store as it is at a moment.
struct Picture {
    header: StoreHeader,
    catalog: Catalog,
    report: RecoveryReport,
    place: Place,
    head: Option<HeadReader>,
    /// The change of the head page that says nothing that is not in the picture, if there is one.
    known: Option<u64>,
}

impl Picture {
    fn still(self) -> Opened {
        let Self { header, catalog, report, .. } = self;
        Opened { header, catalog: Arc::new(catalog), report, writer: None }
    }

    fn followed(mut self, dir: &Dir, settings: &Settings) -> Result<Opened> {
        if let Some(head) = self.head.take()
            && self.catalog.damage().is_none()
        {
            let place = std::mem::take(&mut self.place);
            let mode = settings.read_mode;
            let follower = Follower::new(dir, self.header.id, mode, (head, self.known), place);
            self.catalog.feed = Some(Box::new(follower));
            self.catalog.refresh()?;
        }
        Ok(self.still())
    }
}

fn picture(dir: &Dir, settings: &Settings, in_use: bool) -> Result<Picture> {
    let mut tries = 1;
    loop {
        let header = read_header(dir)?;
        let head = HeadReader::open(dir, header.id);
        let change = head.as_ref().map(HeadReader::change);
        let live_writer = in_use || writer_is_alive(dir)?;
        let beside = open_beside(dir, settings, header, live_writer);
        // A writer goes on under the look: files come and go between their listing and their
        // opening. What is really damaged is so each time. One that came during the look may not
        // have shown what was seen of it.
        let is_whole = beside.as_ref().is_ok_and(|(catalog, ..)| catalog.damage().is_none());
        let came = !live_writer
            && (head.as_ref().map(HeadReader::change) != change || writer_is_alive(dir)?);
        let is_settled = !came && (is_whole || !live_writer);
        if is_settled || tries == READER_TRIES {
            let (catalog, report, place) = beside?;
            // Without a writer the page is a dead one's, and may speak of what a power cut took.
            let known = change.filter(|_| !live_writer);
            return Ok(Picture { header, catalog, report, place, head, known });
        }
        tries += 1;
        std::thread::sleep(READER_PAUSE);
    }
}

/// Takes the decisions of opening in memory, and shows what is good in front of damage.
fn open_beside(
    dir: &Dir,
    settings: &Settings,
    header: StoreHeader,
    live_writer: bool,
) -> Result<(Catalog, RecoveryReport, Place)> {
    let started = Instant::now();
    let mut found = look(dir, header, settings.read_mode)?;
    let last = found.survey.last.take();
    let unused = found.survey.unused.take();
    let mut damage = found.survey.damage.take();
    let mut opening = Opening::new(dir, settings, found, false);
    let mut report = RecoveryReport {
        clean: true,
        bytes_cut: 0,
        events_replayed: 0,
        index_checkpoint: IndexCheckpoint::NewStore,
        cursors: CursorsFound::default(),
        elapsed: started.elapsed(),
    };
    let examined = last
        .as_ref()
        .map(|last| examine(dir, header.id, settings.read_mode, last, live_writer))
        .transpose()?;
    if let (Some(last), Some(examined)) = (&last, &examined) {
        report.clean = examined.decision == Decision::Continue;
        report.bytes_cut = examined.bytes_behind;
        report.index_checkpoint = examined.checkpoint_state.clone();
        if let Decision::Refuse(refused) = &examined.decision {
            // It comes before whatever the survey met.
            damage = Some(refused.error(last.file.path()));
        }
        if damage.is_none() && !live_writer {
            damage = missing_next(dir, last, examined, unused.as_ref());
        }
    }
    let clean = examined.is_some() && report.clean;
    if damage.is_none()
        && !clean
        && !live_writer
        && let Some(Err(e)) = unused.map(|unused| unused.check())
    {
        damage = Some(if e.is_damage() { e } else { return Err(e) });
    }
    report.clean &= damage.is_none();
    let (catalog, place) = if let (Some(last), Some(examined)) = (last, examined) {
        opening.show(&last, examined, damage)?
    } else {
        let log = Arc::new(Log::new(Vec::new()));
        let index = opening.index(&log, Vec::new());
        let (state, watermark) = (opening.state(0), Watermark::at(Position::START));
        let damage = damage.map_or_else(OnceLock::new, OnceLock::from);
        (Catalog { log, index, state, watermark, damage, feed: None }, Place::default())
    };
    report.events_replayed = opening.replayed;
    report.elapsed = started.elapsed();
    Ok((catalog, report, place))
}

/// Reads what there is: the names in `log/`, the directory, the headers that it does not know.
fn look(dir: &Dir, header: StoreHeader, mode: ReadMode) -> Result<Surveyed> {
    let listing = survey::list(dir)?;
    let directory = newest_directory(dir, header.id, mode)?;
    let known = directory.as_ref().map(|d| d.segments.as_slice()).unwrap_or_default();
    let mut survey = survey::survey(dir, header.id, &listing, known)?;
    if survey.damage.is_none() {
        survey.damage = missing_behind(dir, header.id, &listing, &survey);
    }
    // Rows of segments that are not there in this form prove the directory stale.
    let directory = directory.filter(|directory| {
        survey.sealed.get(..directory.segments.len()) == Some(directory.segments.as_slice())
    });
    Ok(Surveyed { header, listing, directory, survey })
}

/// An index file of a segment behind the last one proves that this segment had what it covers, and
/// be that the first frame alone; and a segment that has begun may be replaced until it has events,
/// but is always there. Without this, losing the newest file of the log would look like a shorter
/// log.
fn missing_behind(dir: &Dir, store: [u8; 16], listing: &Listing, survey: &Survey) -> Option<Error> {
    let sealed = survey.sealed.last().map_or(0, |row| row.ordinal);
    let last = survey.last.as_ref().map_or(sealed, |last| last.header.ordinal);
    for file in &listing.others {
        let (LogFile::IndexCheckpoint { ordinal, .. } | LogFile::SealedIndex { ordinal, .. }) =
            file
        else {
            continue;
        };
        if *ordinal > last
            && let Ok(Some(index)) = SealedIndex::open(dir, *file, ReadMode::Positional)
            && index.footer.store == store
            && (index.footer.events > 0 || !listing.segments.contains_key(ordinal))
        {
            return Some(survey::missing(dir, *ordinal));
        }
    }
    None
}

/// A segment is sealed when the next one is there, and covered by the directory when that one has
/// begun; and from then on it is replaced, but not removed.
fn missing_next(
    dir: &Dir,
    last: &Last,
    examined: &Examined,
    next: Option<&Unused>,
) -> Option<Error> {
    let was_there = examined.progress.sealed || last.known_end > 0;
    (was_there && next.is_none()).then(|| survey::missing(dir, last.header.ordinal + 1))
}

/// The table of segments of the newest directory that can be opened.
pub(crate) fn directory_rows(
    dir: &Dir,
    store: [u8; 16],
    mode: ReadMode,
) -> Result<Vec<SegmentRow>> {
    Ok(newest_directory(dir, store, mode)?.map_or_else(Vec::new, |directory| directory.segments))
}

/// Whether nothing is in a directory, so that a store can be created there.
pub(crate) fn is_vacant(dir: &Dir) -> Result<bool> {
    scaffold::is_vacant(dir)
}

/// Removes the index checkpoints that a crash has left beside the index files that replaced them.
/// Nobody looks at them any more, so nobody would mend one that the crash has torn.
fn remove_superseded(dir: &Dir, listing: &Listing, last: Option<&Last>) -> Result<()> {
    let last = last.map_or(0, |last| last.header.ordinal);
    let is_superseded = |file: &&LogFile| match **file {
        LogFile::IndexCheckpoint { ordinal, generation } => {
            let by = LogFile::SealedIndex { ordinal, generation };
            ordinal < last && listing.others.contains(&by)
        }
        _ => false,
    };
    let mut superseded = listing.others.iter().filter(is_superseded).peekable();
    if superseded.peek().is_some() {
        dir.sync_dir(LOG)?;
    }
    superseded.try_for_each(|file| dir.remove(&file.path()))
}

fn remove_temporary(dir: &Dir, listing: &Listing) -> Result<()> {
    for name in &listing.temporary {
        dir.remove(&format!("{LOG}/{name}"))?;
    }
    Ok(())
}
