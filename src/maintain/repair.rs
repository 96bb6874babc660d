//! Repair: a new store of every event that survives.

use std::fmt;
use std::path::{Path, PathBuf};

use super::carry::carry;
use super::plan::{Planned, plan};
use super::survivors::{RepairReport, Survivors};
use super::walk::{Gap, Visit, walk};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::format::Invalid;
use crate::format::files::{LOCK, STORE};
use crate::log::Segment;
use crate::log::segment::FrameAt;
use crate::new_event::NewEvent;
use crate::open;
use crate::options::{Durability, Limits};
use crate::position::ExpectedVersion;
use crate::storage::Dir;
use crate::storage::disk::Disk;
use crate::store::Store;
use crate::sync::Arc;

/// What the file `STORE` of an unfinished repair is called, so that nobody takes a part for all.
const UNFINISHED: &str = "STORE.unfinished";

/// Makes a new store, in the directory `to`, of every event of the store in `from` that survives.
/// `from` is only read, and must not be open for writing.
///
/// **What survives.** Every event whose bytes verify, also behind damage: frames verify by
/// themselves. Of an append of which some events are damaged, the others survive. An unfinished
/// write at the end, which opening would cut, does not.
///
/// **What moves.** Events stay in their order. Positions and versions are dense in every store, so
/// behind a lost event all positions move, and the versions of its stream; before the first lost
/// event none does. The report has both, before ([`Repair::dry_run`]) and after.
///
/// **What stays.** Stream, type, content, ids (those that the store had assigned too, which
/// become given ones), and `created_at`. `committed_at` is the time of the repair. Events of one
/// append are appended as one again. Cursors and views that stand in front of the first lost event;
/// those behind it are in the report (a view is built again, a cursor is set where the report says
/// that its position is now). Snapshots are folded again.
///
/// When the call returns, the new store is durable and closed in good order. A repair that was
/// interrupted leaves a directory that does not open as a store.
///
/// ```
/// use annals::{ExpectedVersion, NewEvent, Position, Store, maintain};
/// let dir = tempfile::tempdir().unwrap();
/// let (from, to) = (dir.path().join("old"), dir.path().join("new"));
/// let store = Store::open(&from)?;
/// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("OrderPlaced", "{}")])?;
/// store.close()?;
/// let before = maintain::repair(&from, &to).dry_run(true).run()?;
/// let after = maintain::repair(&from, &to).run()?;
/// assert!(before.is_complete() && after.is_complete());
/// assert_eq!(after.new_position(Position(1)), Some(Position(1)));
/// # Ok::<(), annals::Error>(())
/// ```
pub fn repair(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Repair<'static> {
    let (from, to) = (from.as_ref().into(), to.as_ref().into());
    Repair { from, to, dry_run: false, segment_bytes: 64 << 20, progress: None }
}

/// A repair, to be run. Made by [`repair`].
#[must_use = "a repair does nothing until it is run"]
pub struct Repair<'a> {
    from: PathBuf,
    to: PathBuf,
    dry_run: bool,
    segment_bytes: u64,
    progress: Option<Box<dyn FnMut(u64, u64) + 'a>>,
}

impl fmt::Debug for Repair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, dry_run, .. } = self;
        f.debug_struct("Repair")
            .field("from", from)
            .field("to", to)
            .field("dry_run", dry_run)
            .finish_non_exhaustive()
    }
}

impl<'a> Repair<'a> {
    /// Only says what a repair would do; `to` need not be usable.
    pub fn dry_run(self, dry_run: bool) -> Self {
        Self { dry_run, ..self }
    }

    /// What the segments of the new store grow to, as
    /// [`StoreOptions::segment_bytes`](crate::StoreOptions::segment_bytes).
    pub fn segment_bytes(self, bytes: u64) -> Self {
        Self { segment_bytes: bytes, ..self }
    }

    /// Calls back with the bytes of the old log that were read and those that are to be.
    pub fn progress(self, progress: impl FnMut(u64, u64) + 'a) -> Self {
        Self { progress: Some(Box::new(progress)), ..self }
    }

    /// Runs the repair.
    ///
    /// Memory is bounded by about 48 bytes for each stream, one append, the keys of the views, and
    /// the report.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] where `from` is open for writing; [`Error::InvalidOptions`] where `to`
    /// is not empty or lies in `from`; [`Error::NotFound`], [`Error::NotAStore`];
    /// [`Error::UnsupportedFormat`] where a newer version wrote to the old store; where the
    /// file `STORE` of the old store is damaged, [`Error::Corrupt`]: put a copy of it in its
    /// place, it never changes. Whatever appending to the new store says, and [`Error::Io`].
    pub fn run(mut self) -> Result<RepairReport> {
        let from = Dir::new(Arc::new(Disk::new(self.from.clone())));
        let header = open::read_header(&from)?;
        if open::writer_is_alive(&from)? {
            return Err(Error::Locked { path: from.path(LOCK) });
        }
        let to = Dir::new(Arc::new(Disk::new(self.to.clone())));
        let plan = plan(&from, header, None)?;
        let target = if self.dry_run { None } else { Some(self.create(&to)?) };
        let total: u64 = plan.segments.iter().map(|segment| u64::from(segment.end)).sum();
        let mut run = Run { survivors: Survivors::new(self.dry_run), target, open_end: false };
        let mut done = 0;
        for planned in &plan.segments {
            run.segment(&from, planned)?;
            done += u64::from(planned.end);
            if let Some(progress) = &mut self.progress {
                progress(done, total);
            }
        }
        let Run { mut survivors, target, open_end } = run;
        survivors.lost_before(plan.promised + 1);
        if open_end || plan.lost_tail {
            survivors.lost_end();
        }
        survivors.report.torn_bytes = plan.torn.map_or(0, |(_, _, bytes)| bytes);
        let unmoved = survivors.report.unmoved();
        survivors.report.state = carry(&from, unmoved, target.as_ref())?;
        if let Some(target) = target {
            target.close()?;
            to.rename(UNFINISHED, STORE)?;
            to.sync_dir("")?;
        }
        Ok(survivors.report)
    }

    /// Creates the new store, under a name that does not open.
    fn create(&self, to: &Dir) -> Result<Store> {
        if self.to.starts_with(&self.from) || !open::is_vacant(to)? {
            let why = format!("{}: a repair needs a new directory", self.to.display());
            return Err(Error::InvalidOptions { why });
        }
        let limits = Limits {
            event_bytes: Limits::HARD_EVENT_BYTES,
            append_bytes: Limits::HARD_APPEND_BYTES,
            ..Limits::default()
        };
        let store = Store::options()
            .durability(Durability::Os)
            .segment_bytes(self.segment_bytes)
            .limits(limits)
            .open_in(to.clone())?;
        to.rename(STORE, UNFINISHED)?;
        to.sync_dir("")?;
        Ok(store)
    }
}

/// The repair under way.
struct Run {
    survivors: Survivors,
    target: Option<Store>,
    /// The log ends in a gap of unknown size.
    open_end: bool,
}

impl Run {
    fn segment(&mut self, from: &Dir, planned: &Planned) -> Result<()> {
        self.survivors.lost_before(planned.base);
        let (progress, _) = walk(from, planned, self)?;
        let events = planned.events.unwrap_or(0).max(progress.events);
        self.survivors.lost_before(planned.base + u64::from(events));
        Ok(())
    }
}

impl Visit for Run {
    fn frame(&mut self, segment: &Segment, at: &FrameAt, _: Option<&Invalid>) -> Result<()> {
        self.open_end = false;
        let mut events = Vec::with_capacity(at.frame.events.into());
        for index in 0..at.frame.events {
            match segment.event(at, index) {
                Ok(event) => events.push(event),
                Err(e) if e.is_corruption() => {}
                Err(e) => return Err(e),
            }
        }
        if events.is_empty() {
            return Ok(());
        }
        if let Some(target) = &self.target {
            match append(target, &events) {
                Ok(true) => {}
                // Some id was stored before: then each event for itself.
                Ok(false) => return self.one_by_one(&events),
                Err(e) => return Err(e),
            }
        }
        for event in &events {
            self.survivors.keep(event);
        }
        Ok(())
    }

    fn gap(&mut self, _: &Segment, gap: &Gap) -> Result<()> {
        self.open_end = gap.lost.1.is_none();
        Ok(())
    }
}

impl Run {
    fn one_by_one(&mut self, events: &[Event]) -> Result<()> {
        for event in events {
            let stored = match &self.target {
                Some(target) => append(target, std::slice::from_ref(event))?,
                None => true,
            };
            if stored {
                self.survivors.keep(event);
            } else {
                self.survivors.skip_repeated(event.position());
            }
        }
        Ok(())
    }
}

/// Appends events as one; `false` where an id of theirs is stored already, and nothing was written.
fn append(target: &Store, events: &[Event]) -> Result<bool> {
    let mut batch = target.batch();
    for run in events.chunk_by(|a, b| a.stream() == b.stream()) {
        let stream = run.first().map(Event::stream).unwrap_or_default();
        batch = batch.append(stream, ExpectedVersion::Any, run.iter().map(again));
    }
    match batch.commit() {
        Ok(done) => Ok(!done.iter().any(|done| done.deduplicated)),
        Err(Error::IdConflict(_)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// An event, to be stored again.
fn again(event: &Event) -> NewEvent {
    NewEvent {
        id: Some(event.id()),
        event_type: event.event_type().into(),
        schema_version: event.schema_version(),
        content_type: event.content_type().to_owned().into(),
        created_at: Some(event.created_at()),
        tags: event.tags().map(Into::into).collect(),
        correlation: event.correlation_id().map(Into::into),
        causation: event.causation_id().map(Into::into),
        metadata: event.metadata().into(),
        data: event.data().into(),
    }
}
