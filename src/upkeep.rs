//! Layer 5: what is done beside the commits: preparing segments, building index files, folding
//! them, index checkpoints, the periodic sync of the weaker modes, and giving back the space behind
//! a cut.
//!
//! All of it is [`Upkeep::step`], which tests call themselves; a thread, started on first need,
//! does nothing but call it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::options::{Durability, Settings};
use crate::sync::{Arc, Condvar, Mutex};
use crate::writer::{Frozen, Leftover, PendingSync, Writer};

/// In `Os`, a sync runs at least so often, while there is something to sync.
const OS_SYNC_EVERY: Duration = Duration::from_secs(1);

/// The upkeep of a store that is open for writing.
#[derive(Debug)]
pub(crate) struct Upkeep {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    in_thread: bool,
}

#[derive(Debug)]
struct Shared {
    catalog: Arc<Catalog>,
    writer: Arc<Writer>,
    durability: Durability,
    checkpoint_bytes: u64,
    /// Held through a step: no two may run, and none behind the end. What one has frozen, another
    /// would have sealed meanwhile.
    alone: Mutex<()>,
    signal: Mutex<Signal>,
    changed: Condvar,
}

#[derive(Debug)]
struct Signal {
    is_wanted: bool,
    is_ending: bool,
    /// Nobody looks before being told to. Otherwise the thread looks again by itself, for a sync
    /// that will be due, so that the commits of the weaker modes need not wake it.
    is_asleep: bool,
}

impl Upkeep {
    pub(crate) fn new(catalog: Arc<Catalog>, writer: Arc<Writer>, settings: &Settings) -> Self {
        let shared = Shared {
            catalog,
            writer,
            durability: settings.durability,
            checkpoint_bytes: settings.checkpoint_bytes,
            alone: Mutex::default(),
            signal: Mutex::new(Signal { is_wanted: false, is_ending: false, is_asleep: true }),
            changed: Condvar::new(),
        };
        let in_thread = settings.upkeep_thread;
        Self { shared: Arc::new(shared), thread: Mutex::new(None), in_thread }
    }

    /// Called behind a commit: has done what there is to do, here or in the thread.
    pub(crate) fn after_commit(&self) {
        let is_behind = self.shared.is_behind();
        let has_work = self.shared.has_work();
        if !is_behind && !has_work {
            return;
        }
        if !self.in_thread {
            // What fails here is tried again behind the next commit; a failed sync has poisoned
            // the writer, which says so itself. One sync, or other appends could keep it at that.
            let mut sync_is_due = true;
            while matches!(self.shared.step(std::mem::take(&mut sync_is_due)), Ok(true)) {}
            return;
        }
        let mut signal = self.shared.signal.lock();
        if has_work || signal.is_asleep {
            signal.is_wanted = true;
            drop(signal);
            self.start();
            self.shared.changed.notify_one();
        }
    }

    /// Does one round of whatever is due. `true` where it did something.
    #[cfg(test)]
    pub(crate) fn step(&self) -> Result<bool> {
        self.shared.step(true)
    }

    /// The same where no sync of the weaker modes is due.
    #[cfg(test)]
    pub(crate) fn step_without_sync(&self) -> Result<bool> {
        self.shared.step(false)
    }

    /// Ends the thread and waits for it.
    pub(crate) fn end(&self) {
        self.shared.signal.lock().is_ending = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.lock().take() {
            // It catches its panics.
            let _ = thread.join();
        }
        // Nor does a step go on that an append has begun.
        let _alone = self.shared.alone.lock();
        // Nobody else would give it back. What fails here costs space, and nothing else.
        let _ = self.shared.release();
    }

    fn start(&self) {
        let mut thread = self.thread.lock();
        if thread.is_none() && !self.shared.signal.lock().is_ending {
            let shared = Arc::clone(&self.shared);
            let named = std::thread::Builder::new().name("annals-upkeep".into());
            // Without a thread, the writer does inline what it cannot do without.
            *thread = named.spawn(move || shared.run()).ok();
        }
    }
}

impl Shared {
    /// A cheap look whether a step would do anything now.
    fn has_work(&self) -> bool {
        self.writer.wants_upkeep() || self.catalog.index.wants_upkeep()
    }

    /// Whether a sync will be due.
    fn is_behind(&self) -> bool {
        let watermark = &self.catalog.watermark;
        self.durability != Durability::Sync && watermark.durable() < watermark.visible()
    }

    fn run(&self) {
        let mut synced_at = Instant::now();
        while self.wait(synced_at) {
            // A step can take long, so whether a sync is due is asked before each.
            let steps = || loop {
                let is_due = synced_at.elapsed() >= self.sync_every();
                if is_due {
                    synced_at = Instant::now();
                }
                if !matches!(self.step(is_due), Ok(true)) {
                    return;
                }
            };
            let step = catch_unwind(AssertUnwindSafe(steps));
            if step.is_err() {
                self.writer.core().poison(Error::Panicked { during: "upkeep" });
                return;
            }
        }
    }

    /// How long what was appended may wait for a sync.
    const fn sync_every(&self) -> Duration {
        match self.durability {
            Durability::Interval(every) => every,
            Durability::Os => OS_SYNC_EVERY,
            Durability::Sync => Duration::MAX,
        }
    }

    /// Waits until there is something to do. `false` at the end.
    fn wait(&self, synced_at: Instant) -> bool {
        let every = self.sync_every();
        let mut signal = self.signal.lock();
        signal.is_asleep = false;
        while !signal.is_ending {
            let is_behind = self.is_behind();
            let since = synced_at.elapsed();
            if (is_behind && since >= every) || std::mem::take(&mut signal.is_wanted) {
                return true;
            }
            if is_behind {
                self.changed.wait_for(&mut signal, every.saturating_sub(since));
            } else {
                signal.is_asleep = true;
                self.changed.wait(&mut signal);
                signal.is_asleep = false;
            }
        }
        false
    }

    /// Does one thing, the most urgent that is due. `true` where there was one.
    fn step(&self, sync_is_due: bool) -> Result<bool> {
        let _alone = self.alone.lock();
        if self.signal.lock().is_ending {
            return Ok(false);
        }
        Ok(self.sync(sync_is_due)?
            || self.prepare()?
            || self.seal()?
            || self.catalog.index.fold()?
            || self.checkpoint()?
            || self.release()?)
    }

    /// Gives the space behind a cut back.
    fn release(&self) -> Result<bool> {
        let leftover = self.writer.core().take_leftover();
        leftover.as_ref().map_or(Ok(()), Leftover::release)?;
        Ok(leftover.is_some())
    }

    /// Makes the next segment ready. The lock is not held while the file is filled.
    fn prepare(&self) -> Result<bool> {
        let Some(preparation) = self.writer.core().preparation()? else { return Ok(false) };
        preparation.run().map(|()| true)
    }

    /// Writes and syncs what the weaker modes hold back.
    fn sync(&self, is_due: bool) -> Result<bool> {
        if !self.is_behind() || !(is_due || self.writer.core().wants_sync()) {
            return Ok(false);
        }
        let Some(pending) = self.writer.core().begin_sync()? else { return Ok(false) };
        self.finish(&pending)?;
        Ok(true)
    }

    /// Appends go on while the sync runs.
    fn finish(&self, pending: &PendingSync) -> Result<()> {
        let synced = pending.run();
        self.writer.core().end_sync(pending, synced)
    }

    /// Writes the index file of a sealed segment.
    fn seal(&self) -> Result<bool> {
        if self.catalog.index.wants_upkeep() {
            self.catalog.save_state()?;
        }
        self.catalog.index.seal_one()
    }

    /// Writes an index checkpoint, once enough was appended since the last one.
    fn checkpoint(&self) -> Result<bool> {
        let frozen = self.writer.core().freeze(self.checkpoint_bytes)?;
        let Some(Frozen { index, units, covers, pending }) = frozen else { return Ok(false) };
        if let Some(pending) = pending {
            self.finish(&pending)?;
        }
        self.catalog.save_state()?;
        self.catalog.index.checkpoint(&index, &units, &covers, false)?;
        Ok(true)
    }
}
