//! What is between the two sides of a stream: the consumer's task and the history thread.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Instant;

use super::progress::Pace;
use crate::error::Result;
use crate::event::Event;
use crate::position::Position;
use crate::promise::Giver;

/// What is between the two sides.
#[expect(
    clippy::struct_excessive_bools,
    reason = "what is under way on either side, each by itself"
)]
pub(super) struct Slot {
    pub(super) events: VecDeque<Event>,
    /// Once the events are handed out, this is how far the stream has come.
    pub(super) reached: Position,
    /// The last event that was handed out.
    pub(super) given: Position,
    /// Everything up to here is processed: the consumer has asked for more.
    pub(super) processed: Position,
    /// Events that were handed out and not saved, and since when.
    pub(super) unsaved: u64,
    pub(super) saved_at: Instant,
    pub(super) saves: Vec<(Position, Giver<()>)>,
    /// What comes behind the events: an error, or nothing.
    pub(super) end: Option<End>,
    pub(super) has_ended: bool,
    pub(super) task: Option<Waker>,
    /// The consumer waits for a batch.
    pub(super) is_wanted: bool,
    pub(super) is_queued: bool,
    pub(super) is_stepping: bool,
    pub(super) is_dropped: bool,
}

/// How a stream ends: with an error, or because it was stopped.
pub(super) type End = Result<()>;

/// What a step is to do.
pub(super) struct Orders {
    pub(super) saves: Vec<(Position, Giver<()>)>,
    pub(super) processed: Position,
    pub(super) unsaved: u64,
    pub(super) is_wanted: bool,
    pub(super) is_dropped: bool,
}

impl Slot {
    pub(super) fn new(after: Position) -> Self {
        Self {
            events: VecDeque::new(),
            reached: after,
            given: after,
            processed: after,
            unsaved: 0,
            saved_at: Instant::now(),
            saves: Vec::new(),
            end: None,
            has_ended: false,
            task: None,
            is_wanted: false,
            is_queued: false,
            is_stepping: false,
            is_dropped: false,
        }
    }

    pub(super) fn position(&self) -> Position {
        if self.events.is_empty() { self.reached } else { self.given }
    }

    /// Whether the cursor is to be saved now that everything handed out is processed.
    pub(super) fn save_is_due(&self, pace: Pace) -> bool {
        self.unsaved > 0
            && (pace.events.is_some_and(|events| self.unsaved >= events)
                || pace.time.is_some_and(|time| self.saved_at.elapsed() >= time))
    }

    pub(super) fn take_orders(&mut self) -> Orders {
        self.is_queued = false;
        self.is_stepping = true;
        Orders {
            saves: std::mem::take(&mut self.saves),
            processed: self.processed,
            unsaved: self.unsaved,
            is_wanted: self.is_wanted && self.end.is_none(),
            is_dropped: self.is_dropped,
        }
    }
}
