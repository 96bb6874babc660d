//! State writes of frames that a part's file does not have yet.
//!
//! Writes to a view say where it stood when they were made. They count only where that is where it
//! stands: behind the file alone, or behind the writes that count already. So a file that is older
//! than the log, or of another history, never gets changes that were made from something else.

use std::collections::{BTreeMap, VecDeque};

use super::change::Change;
use crate::format::cursor::SavedCursor;
use crate::sync::Arc;

/// A key's newest value in a frame, `None` where it was deleted, and the frame's last position.
pub(super) type Newest = BTreeMap<Arc<[u8]>, (u64, Option<Arc<[u8]>>)>;

/// The writes of one frame to one part.
#[derive(Clone, Debug)]
pub(super) struct Written {
    /// The position of the frame's last event.
    pub(super) position: u64,
    /// For a view: where it stood before, and where it stands behind the frame.
    pub(super) link: Option<(SavedCursor, SavedCursor)>,
    pub(super) changes: Vec<Change>,
}

/// What is not in the file, oldest first.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The second says whether they count.
    queue: VecDeque<(Written, bool)>,
    pub(super) newest: Newest,
    /// Where a view stands, once its file was looked at.
    stands: Option<SavedCursor>,
    bytes: usize,
}

impl Written {
    fn bytes(&self) -> usize {
        let size =
            |change: &Change| change.key.len() + change.value.as_ref().map_or(0, |v| v.len());
        self.changes.iter().map(size).sum::<usize>() + 64 * self.changes.len()
    }
}

impl Frames {
    /// Takes in the writes of a frame, which comes behind all others.
    pub(super) fn push(&mut self, written: Written) {
        self.bytes += written.bytes();
        let counts = self.count(&written);
        self.queue.push_back((written, counts));
    }

    /// Takes writes into what readers see, if they count.
    fn count(&mut self, written: &Written) -> bool {
        if let Some((before, behind)) = written.link {
            if !self.stands.is_some_and(|stands| is_same(&stands, &before)) {
                return false;
            }
            self.stands = Some(behind);
        }
        for Change { key, value } in &written.changes {
            self.newest.insert(Arc::clone(key), (written.position, value.clone()));
        }
        true
    }

    /// Forgets the writes of frames up to a position, which the file has.
    pub(super) fn forget(&mut self, applied: u64) {
        while let Some((written, _)) = self.queue.front()
            && written.position <= applied
        {
            self.bytes -= written.bytes();
            self.queue.pop_front();
        }
        self.newest.retain(|_, (position, _)| *position > applied);
    }

    /// The file was read, and has a view as it stood then (`None`: that cannot be known). Decides
    /// anew what counts. What does not is kept where another file may come that it follows.
    pub(super) fn follow(&mut self, stands: Option<SavedCursor>, keeps: bool) {
        self.stands = stands;
        self.newest.clear();
        for (mut written, _) in std::mem::take(&mut self.queue) {
            let counts = self.count(&written);
            let is_old = stands.is_some_and(|stands| written.position <= stands.position);
            if counts || (keeps && !is_old) {
                self.queue.push_back((written, counts));
            } else {
                self.bytes -= written.bytes();
                written.changes.clear();
            }
        }
    }

    /// Where a view stands, as far as that is known.
    pub(super) const fn stands(&self) -> Option<SavedCursor> {
        self.stands
    }

    pub(super) fn clear(&mut self) {
        *self = Self { stands: self.stands, ..Self::default() };
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The first and the last position.
    pub(super) fn ends(&self) -> Option<(u64, u64)> {
        Some((self.queue.front()?.0.position, self.queue.back()?.0.position))
    }

    /// The writes that count, of frames up to a position.
    pub(super) fn upto(&self, durable: u64) -> impl Iterator<Item = &Written> {
        let before = self.queue.iter().take_while(move |(written, _)| written.position <= durable);
        before.filter(|(_, counts)| *counts).map(|(written, _)| written)
    }
}

/// Whether two places are the same event of the same history.
fn is_same(one: &SavedCursor, other: &SavedCursor) -> bool {
    (one.position, one.event, one.event_time) == (other.position, other.event, other.event_time)
}
