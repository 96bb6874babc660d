//! The writer's state, and what every step on it shares.

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::index::SegmentIndex;
use crate::log::head::HeadWriter;
use crate::log::prepare::Prepared;
use crate::log::tail::Tail;
use crate::options::Settings;
use crate::position::{Position, Timestamp};
use crate::storage::{Dir, NamedFile};
use crate::sync::{Arc, Mutex};

/// The segment that comes next, as far as it is there.
#[derive(Debug, Default)]
pub(super) enum Next {
    #[default]
    Missing,
    Ready(Prepared),
    /// The writer has gone on to it, or makes it itself.
    Taken,
}

/// What a core is made of when the store has been opened.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) dir: Dir,
    pub(crate) store: [u8; 16],
    pub(crate) settings: Settings,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) tail: Tail,
    pub(crate) prepared: Option<Prepared>,
    /// The newest commit time of the log.
    pub(crate) last_time: Timestamp,
    /// The index checkpoint says that the store was closed in good order.
    pub(crate) marked_clean: bool,
    pub(crate) leftover: Option<Leftover>,
}

/// What stands behind the end of a segment that a recovery has cut, durably: it exists no more, and
/// its space can be given back. That takes longer than the rest of an opening, so it waits for the
/// upkeep.
#[derive(Debug)]
pub(crate) struct Leftover {
    pub(crate) file: NamedFile,
    pub(crate) from: u32,
    pub(crate) end: u32,
}

impl Leftover {
    pub(crate) fn release(&self) -> Result<()> {
        self.file.release(u64::from(self.from), u64::from(self.end - self.from))
    }
}

/// The writer's state.
#[derive(Debug)]
pub(crate) struct Core {
    pub(super) dir: Dir,
    pub(super) store: [u8; 16],
    pub(super) settings: Settings,
    pub(super) catalog: Arc<Catalog>,
    pub(super) tail: Tail,
    /// The index of the active segment.
    pub(super) active: Option<Arc<SegmentIndex>>,
    /// The segment that comes next. Whoever works on its file holds the lock.
    pub(super) next: Arc<Mutex<Next>>,
    pub(super) last_time: Timestamp,
    pub(super) marked_clean: bool,
    /// The first failure of a write or a sync. Nothing is written after it.
    poison: Option<Arc<Error>>,
    /// Where the last index checkpoint of the active segment ends.
    pub(super) checkpoint_end: u32,
    pub(super) leftover: Option<Leftover>,
    /// What tells followers in other processes.
    head: HeadWriter,
}

impl Core {
    pub(crate) fn new(parts: Parts, head: HeadWriter) -> Self {
        let Parts {
            dir,
            store,
            settings,
            catalog,
            tail,
            prepared,
            last_time,
            marked_clean,
            leftover,
        } = parts;
        let checkpoint_end = tail.progress().end;
        let active = catalog.index.active();
        let mut core = Self {
            dir,
            store,
            settings,
            catalog,
            tail,
            active,
            next: Arc::new(Mutex::new(prepared.map_or(Next::Missing, Next::Ready))),
            last_time,
            marked_clean,
            poison: None,
            checkpoint_end,
            leftover,
            head,
        };
        core.tell_followers();
        core
    }

    /// Says to followers how far they may read. What is visible here and still held back is not
    /// there for them before it is written.
    pub(super) fn tell_followers(&mut self) {
        let segment = self.tail.segment();
        let visible = Position(self.next_position() - 1);
        let watermark = &self.catalog.watermark;
        if segment.written() == self.tail.progress().end && watermark.visible() >= visible {
            self.head.say(segment, visible, watermark.durable());
        }
    }

    /// Writes and syncs whatever is not, and says up to where everything is durable.
    pub(crate) fn sync(&mut self) -> Result<Position> {
        self.check_poison()?;
        self.write_held()?;
        self.sync_tail()?;
        self.tell_followers();
        Ok(self.catalog.watermark.durable())
    }

    /// What is left to give back behind a cut, once.
    pub(crate) fn take_leftover(&mut self) -> Option<Leftover> {
        self.leftover.take()
    }

    /// Takes note of a failure outside the core that must stop the writer: a panic, or a sync that
    /// was made elsewhere.
    pub(crate) fn poison(&mut self, cause: Error) -> Error {
        self.poisoned_by(cause)
    }

    /// The first failure, if there was one.
    pub(crate) fn check_poison(&self) -> Result<()> {
        match &self.poison {
            Some(cause) => Err(Error::Poisoned { cause: Arc::clone(cause) }),
            None => Ok(()),
        }
    }

    /// Where the active segment ends.
    #[cfg(test)]
    pub(crate) const fn end(&self) -> u32 {
        self.tail.progress().end
    }

    /// How far the active segment is known to be durable.
    #[cfg(test)]
    pub(crate) const fn durable_end(&self) -> u32 {
        self.tail.durable_end()
    }

    pub(super) const fn poisoned(&self) -> bool {
        self.poison.is_some()
    }

    /// Writes the groups that `Interval` holds back.
    pub(super) fn write_held(&mut self) -> Result<()> {
        let flushed = self.tail.flush();
        flushed.map_err(|e| self.poisoned_by(e))
    }

    /// Syncs what was written. Everything that is visible has been written then.
    pub(super) fn sync_tail(&mut self) -> Result<()> {
        let written = Position(self.next_position() - 1);
        let synced = self.tail.sync();
        synced.map_err(|e| self.poisoned_by(e))?;
        self.catalog.watermark.make_durable(written);
        Ok(())
    }

    pub(super) fn poisoned_by(&mut self, cause: Error) -> Error {
        let cause = Arc::new(cause);
        self.poison.get_or_insert_with(|| Arc::clone(&cause));
        self.catalog.watermark.end(Error::Poisoned { cause: Arc::clone(&cause) });
        Error::Unknown { cause }
    }

    /// The position of the next event.
    pub(super) fn next_position(&self) -> u64 {
        self.tail.segment().base() + u64::from(self.tail.progress().events)
    }
}
