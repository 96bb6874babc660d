//! Layer 6: the store as its users see it. A thin facade: every room behind it does its own work.

#[cfg(feature = "async")]
mod appends;
#[cfg(feature = "async")]
mod commits;
mod cursors;
mod info;
mod options;
mod reads;
mod snapshots;
mod transact;
mod views;
mod writing;

use std::path::Path;
use std::time::Instant;

#[cfg(feature = "async")]
pub use appends::{AppendFuture, CommitFuture};
#[cfg(feature = "async")]
use commits::Commits;
pub use info::{Info, StreamInfo};
pub use options::StoreOptions;
pub use transact::View;
pub(crate) use writing::Beside;
use writing::Writing;

use crate::batch::Batch;
use crate::catalog::Catalog;
use crate::cursor::Cursors;
use crate::error::{Error, Result};
use crate::event::Appended;
use crate::format::store::StoreHeader;
use crate::maintain::verify::Verify;
use crate::new_event::NewEvent;
use crate::open::{Opened, RecoveryReport};
use crate::options::Settings;
use crate::position::{ExpectedVersion, Position};
use crate::snapshot::Snapshots;
use crate::storage::Dir;
#[cfg(feature = "async")]
use crate::subscription::History;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use crate::upkeep::Upkeep;
use crate::view::Views;
use crate::writer::{Frozen, Part, Writer, reentry};

/// An event store: one directory, one writing process.
///
/// A `Store` is a handle; clones are cheap and the same store, and any number of threads may use
/// them. Appends of many threads share writes and syncs. Reads never wait for appends.
///
/// ```
/// use annals::{ExpectedVersion, NewEvent, Store};
/// let dir = tempfile::tempdir().unwrap();
/// let store = Store::open(dir.path().join("shop.annals"))?;
/// let done = store.append(
///     "Order-1001",
///     ExpectedVersion::NoStream,
///     [NewEvent::new("OrderPlaced", r#"{"total":42}"#)],
/// )?;
/// assert_eq!((done.version.0, done.position.0), (1, 1));
/// store.close()?;
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: Dir,
    header: StoreHeader,
    catalog: Arc<Catalog>,
    report: RecoveryReport,
    is_closed: AtomicBool,
    cursors: Arc<Cursors>,
    views: Arc<Views>,
    snapshots: Snapshots,
    /// Missing where the store was opened for reading only.
    writing: Option<Arc<Writing>>,
    /// The same, for appends of tasks.
    #[cfg(feature = "async")]
    commits: Option<Commits>,
    /// The reads of subscriptions of tasks.
    #[cfg(feature = "async")]
    history: Arc<History>,
}

impl Store {
    /// Opens the store in a directory with the default options, creating it if there is none. See
    /// [`StoreOptions::open`].
    ///
    /// # Errors
    ///
    /// As [`StoreOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().open(path)
    }

    /// Opens the store in a directory for reading. See [`StoreOptions::open_read_only`].
    ///
    /// # Errors
    ///
    /// As [`StoreOptions::open_read_only`].
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().open_read_only(path)
    }

    /// A new store in memory, which is gone with its last handle: for tests.
    ///
    /// # Errors
    ///
    /// None that can be provoked from outside.
    pub fn in_memory() -> Result<Self> {
        Self::options().in_memory()
    }

    /// The options, to be changed before opening.
    pub fn options() -> StoreOptions {
        StoreOptions::default()
    }

    /// Appends events to a stream: all of them or none, with consecutive versions.
    ///
    /// With [`Durability::Sync`](crate::Durability::Sync) they survive a power cut once this
    /// returns. Where events carry ids of the caller, making the same append again is safe for
    /// ever, and answers with the original result, marked [`deduplicated`](Appended::deduplicated);
    /// ids are looked at before versions.
    ///
    /// # Errors
    ///
    /// Nothing was written with [`Error::Conflict`] (the expectation does not hold),
    /// [`Error::IdConflict`], [`Error::InvalidName`], [`Error::LimitExceeded`],
    /// [`Error::EmptyAppend`], [`Error::NotWritten`], [`Error::Poisoned`], [`Error::Closed`] and
    /// [`Error::ReadOnly`]. After [`Error::Unknown`] the events may be there after a reopen.
    pub fn append(
        &self,
        stream: impl AsRef<str>,
        expected: impl Into<ExpectedVersion>,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Result<Appended> {
        let mut part = Part {
            stream: stream.as_ref().into(),
            expected: expected.into(),
            events: events.into_iter().collect(),
        };
        let parts = std::slice::from_mut(&mut part);
        let writing = self.writing()?;
        let request = writing.prepare(parts, Vec::new(), None)?;
        let done = writing.commit(request, &Beside::default())?;
        done.last().copied().ok_or(Error::EmptyAppend)
    }

    /// Begins a batch: one atomic write to several streams, with any expectations.
    ///
    /// ```
    /// use annals::{ExpectedVersion, NewEvent, Store};
    /// let store = Store::in_memory()?;
    /// let done = store
    ///     .batch()
    ///     .append("Account-a", ExpectedVersion::NoStream, [NewEvent::new("Opened", "")])
    ///     .append("Account-b", ExpectedVersion::NoStream, [NewEvent::new("Opened", "")])
    ///     .expect("Customer-9", ExpectedVersion::NoStream)
    ///     .commit()?;
    /// assert_eq!(done.len(), 2);
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn batch(&self) -> Batch {
        Batch::new(self.clone())
    }

    /// The position of the last visible event; 0 in an empty store.
    pub fn head(&self) -> Position {
        // What cannot be looked at now is met with by the next read.
        let _ = self.inner.catalog.refresh();
        self.inner.catalog.watermark.visible()
    }

    /// The position of the last event that survives a power cut. The same as [`Store::head`] with
    /// [`Durability::Sync`](crate::Durability::Sync).
    pub fn durable(&self) -> Position {
        let _ = self.inner.catalog.refresh();
        self.inner.catalog.watermark.durable()
    }

    /// Writes and syncs everything that was appended, and says up to where that is. Nothing to do
    /// with [`Durability::Sync`](crate::Durability::Sync).
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] where the write or the sync fails, which poisons the store;
    /// [`Error::Poisoned`], [`Error::Closed`], [`Error::ReadOnly`].
    pub fn sync(&self) -> Result<Position> {
        let writing = self.writing()?;
        if writing.writer.is_closed() {
            return Err(Error::Closed);
        }
        let mut core = writing.writer.core();
        core.check_poison()?;
        if self.durable() == self.head() {
            return Ok(self.durable());
        }
        core.sync()
    }

    /// Ends the store for all its handles: the appends under way finish, later calls get
    /// [`Error::Closed`], everything is synced, and the lock is released, even while events live.
    ///
    /// Dropping the last handle closes too, but cannot say what failed.
    ///
    /// # Errors
    ///
    /// What the last write or sync reports, or why the store was poisoned before. The lock is
    /// released all the same.
    pub fn close(&self) -> Result<()> {
        self.inner.close()
    }

    /// A check of everything on disk, up to what is handed to the files now. See
    /// [`maintain::verify`](crate::maintain::verify).
    ///
    /// ```
    /// use annals::{ExpectedVersion, NewEvent, Store};
    /// let store = Store::in_memory()?;
    /// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("OrderPlaced", "{}")])?;
    /// let report = store.verify().run()?;
    /// assert!(report.is_clean());
    /// assert_eq!(report.events, 1);
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn verify(&self) -> Verify<'static> {
        let segments = self.inner.catalog.log.segments();
        let written = segments.last().map(|last| (last.ordinal(), last.written()));
        Verify::new(self.inner.dir.clone(), Some(written.unwrap_or((0, 0))))
    }

    /// What opening found and did.
    pub fn recovery(&self) -> &RecoveryReport {
        &self.inner.report
    }

    /// What the store holds and takes.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`], [`Error::Io`], [`Error::Closed`].
    pub fn info(&self) -> Result<Info> {
        let catalog = self.readable()?;
        let last_position = catalog.pin()?;
        let segments = catalog.log.segments();
        let mut log_bytes = 0;
        let mut preallocated_bytes = 0;
        for segment in segments.iter() {
            let used = u64::from(segment.written());
            log_bytes += used;
            preallocated_bytes += u64::from(segment.header().len).saturating_sub(used);
        }
        Ok(Info {
            store_id: uuid::Uuid::from_bytes(self.inner.header.id),
            events: last_position.0,
            first_position: Position(last_position.0.min(1)),
            last_position,
            segments: segments.len() as u64,
            log_bytes,
            index_bytes: catalog.index.file_bytes()?,
            preallocated_bytes,
        })
    }

    fn assemble(dir: Dir, opened: Opened, settings: &Settings) -> Self {
        let Opened { header, catalog, mut report, writer } = opened;
        let (core, locks) = writer.unzip();
        let writer = core.map(|core| Arc::new(Writer::new(core)));
        let cursors = Arc::new(Cursors::new(&dir, &catalog, writer.as_ref()));
        let started = Instant::now();
        report.cursors = cursors.look();
        report.elapsed += started.elapsed();
        let views = Arc::new(Views::new(&dir, &catalog, writer.as_ref()));
        let snapshots = Snapshots::new(&dir, &catalog, writer.as_ref());
        let writing = writer.map(|writer| {
            let upkeep = Upkeep::new(Arc::clone(&catalog), Arc::clone(&writer), settings);
            upkeep.after_commit();
            Arc::new(Writing {
                catalog: Arc::clone(&catalog),
                cursors: Arc::clone(&cursors),
                views: Arc::clone(&views),
                limits: settings.limits,
                writer,
                upkeep,
                locks: Mutex::new(locks),
            })
        });
        let inner = Inner {
            dir,
            cursors,
            views,
            snapshots,
            header,
            catalog,
            report,
            is_closed: AtomicBool::new(false),
            #[cfg(feature = "async")]
            commits: writing.as_ref().map(|w| Commits::new(w, settings.pending_bytes)),
            #[cfg(feature = "async")]
            history: Arc::default(),
            writing,
        };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn writing(&self) -> Result<&Writing> {
        let writing = self.inner.writing.as_deref().ok_or(Error::ReadOnly)?;
        reentry::check(&writing.writer)?;
        Ok(writing)
    }

    fn readable(&self) -> Result<Arc<Catalog>> {
        if self.inner.is_closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        Ok(Arc::clone(&self.inner.catalog))
    }
}

impl Inner {
    fn close(&self) -> Result<()> {
        // First of all: a close that is refused has closed nothing.
        if let Some(writing) = &self.writing {
            reentry::check(&writing.writer)?;
        }
        self.cursors.close();
        self.views.close();
        let Some(writing) = &self.writing else {
            self.is_closed.store(true, Ordering::Release);
            self.catalog.watermark.end(Error::Closed);
            #[cfg(feature = "async")]
            self.history.end();
            return Ok(());
        };
        let is_first = writing.writer.close();
        self.is_closed.store(true, Ordering::Release);
        self.catalog.watermark.end(Error::Closed);
        if !is_first {
            return Ok(());
        }
        #[cfg(feature = "async")]
        self.end_tasks();
        writing.upkeep.end();
        let ended = self.end(writing);
        // Last of all, and whatever happened: now another process may write.
        *writing.locks.lock() = None;
        ended
    }

    /// Ends the threads that work for tasks, and answers whoever waits for them.
    #[cfg(feature = "async")]
    fn end_tasks(&self) {
        if let Some(commits) = &self.commits {
            commits.end();
        }
        self.history.end();
    }

    /// Leaves the store in good order: everything durable, and its index saved.
    fn end(&self, writing: &Writing) -> Result<()> {
        let frozen = writing.writer.core().finish()?;
        // Before the index files, which say that state writes are saved up to where they end.
        self.catalog.state.close(self.catalog.watermark.durable().0)?;
        let index = &self.catalog.index;
        while index.seal_one()? {}
        while index.fold()? {}
        // All of it is synced, so nothing is pending.
        if let Some(Frozen { index: active, units, covers, .. }) = frozen {
            index.checkpoint(&active, &units, &covers, true)?;
        }
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Whoever wants to know calls `close`; the next open finds whatever is not in order.
        let _ = self.close();
    }
}

/// What tests of the whole store drive by hand.
#[cfg(test)]
impl Store {
    /// Commits requests as one group, as the leader of so many callers does, without the upkeep
    /// behind it. Requests that are refused before they would queue are answered at once.
    pub(crate) fn commit_group(&self, group: Vec<Vec<Part>>) -> Vec<Result<Vec<Appended>>> {
        self.commit_group_of(group.into_iter().map(|parts| (parts, Vec::new(), None)).collect())
    }

    /// The same, each with its conditions and the durability that it asks for.
    pub(crate) fn commit_group_of(
        &self,
        group: Vec<(Vec<Part>, Vec<crate::writer::Condition>, Option<crate::Durability>)>,
    ) -> Vec<Result<Vec<Appended>>> {
        let mut answers: Vec<Option<Error>> = Vec::with_capacity(group.len());
        let mut requests = Vec::with_capacity(group.len());
        for (parts, conditions, durability) in group {
            match self.prepared(parts, conditions, durability) {
                Ok(request) => {
                    requests.push(request);
                    answers.push(None);
                }
                Err(e) => answers.push(Some(e)),
            }
        }
        let mut committed = self.with_core(|core| core.commit(&requests)).into_iter();
        let answer = |early: Option<Error>| match early {
            Some(e) => Err(e),
            None => committed
                .next()
                .expect("an answer for each request")
                .map(crate::event::Done::into_vec),
        };
        answers.into_iter().map(answer).collect()
    }

    /// A request, ready to be committed.
    pub(crate) fn prepared(
        &self,
        mut parts: Vec<Part>,
        conditions: Vec<crate::writer::Condition>,
        durability: Option<crate::Durability>,
    ) -> Result<Box<crate::writer::Request>> {
        let writing = self.inner.writing.as_ref().expect("the store is open for writing");
        let mut request = writing.prepare(&mut parts, conditions, durability)?;
        writing.look_up(&mut request)?;
        Ok(request)
    }

    /// The writer itself.
    pub(crate) fn with_core<T>(&self, what: impl FnOnce(&mut crate::writer::Core) -> T) -> T {
        let writing = self.inner.writing.as_ref().expect("the store is open for writing");
        what(&mut writing.writer.core())
    }

    /// Commits appends of one thread, each as that of a caller of its own.
    #[cfg(feature = "async")]
    pub(crate) fn submit_all(&self, appends: Vec<Vec<Part>>) -> Vec<Result<Vec<Appended>>> {
        let writing = self.inner.writing.as_ref().expect("the store is open for writing");
        let prepare = |parts| self.prepared(parts, Vec::new(), None).expect("a right append");
        let answers = writing.writer.submit_all(appends.into_iter().map(prepare).collect());
        answers.into_iter().map(|answer| answer.map(crate::event::Done::into_vec)).collect()
    }

    /// Whether the writer has work for the upkeep.
    pub(crate) fn wants_upkeep(&self) -> bool {
        self.inner.writing.as_ref().is_some_and(|writing| writing.writer.core().wants_upkeep())
    }

    /// Whether a write or a sync has failed, told or not.
    pub(crate) fn is_poisoned(&self) -> bool {
        let writing = self.inner.writing.as_ref();
        writing.is_some_and(|writing| writing.writer.core().check_poison().is_err())
    }

    /// What upkeep would make ready now, for a test to do so later.
    pub(crate) fn late_preparation(&self) -> Option<crate::writer::Preparation> {
        self.with_core(|core| core.preparation().expect("a writer without faults"))
    }

    /// Does one round of upkeep. `true` where there was something to do.
    pub(crate) fn keep_up(&self) -> Result<bool> {
        self.inner.writing.as_ref().map_or(Ok(false), |writing| writing.upkeep.step())
    }

    /// The same where no sync of the weaker modes is due.
    pub(crate) fn keep_up_without_sync(&self) -> Result<bool> {
        self.inner.writing.as_ref().map_or(Ok(false), |writing| writing.upkeep.step_without_sync())
    }
}
