//! One event that a group is not done with, and when it is tried again.

use std::time::{Duration, Instant};

use crate::event::Event;
use crate::names::EventId;
use crate::position::Position;
use crate::sync::Arc;

/// What other events of its key is held up by an event that is parked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParkedPolicy {
    /// The later events of its key, and no others: they are parked behind it without being handed
    /// out, and handed out in order as soon as it was replayed and acknowledged, or discarded.
    /// Order within a key holds throughout.
    #[default]
    BlocksKey,
    /// Nothing: later events of its key are handed out, so what is replayed comes out of order.
    BlocksNothing,
}

/// How often an event is tried, and how long between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    /// An event that failed so often is parked.
    pub(super) attempts: u32,
    /// How long after the first failure.
    pub(super) first: Duration,
    /// Each further delay is twice the one before, up to this.
    pub(super) most: Duration,
}

impl Retry {
    /// How long after so many failures.
    pub(super) fn delay(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.most.max(self.first))
    }
}

/// Where an event stands on its way through the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Behind an earlier one of its key.
    Queued,
    /// To be handed out.
    Ready,
    /// Handed out and not answered.
    InFlight,
    /// To be handed out again, then.
    Delayed(Instant),
    /// To be written to the parked stream by whoever pulls next.
    ToPark,
    /// What was decided of it is being written.
    Writing,
    /// In the parked stream, for somebody to decide.
    Parked,
    /// Acknowledged, or in the parked stream, which is the same for the cursor.
    Done,
}

/// An event and what has become of it so far.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) key: Arc<str>,
    pub(super) id: EventId,
    /// Not kept for those that are parked: they are read when they are handed out.
    pub(super) event: Option<Event>,
    /// How often it was handed out.
    pub(super) attempts: u32,
    /// How often since it was fetched or replayed.
    pub(super) tries: u32,
    /// Why it failed last.
    pub(super) reason: String,
    /// Parked only because it stands behind one that is.
    pub(super) is_behind: bool,
    pub(super) stage: Stage,
}

impl Item {
    pub(super) fn new(key: Arc<str>, id: EventId, event: Option<Event>) -> Self {
        let (attempts, tries, reason) = (0, 0, String::new());
        Self { key, id, event, attempts, tries, reason, is_behind: false, stage: Stage::Queued }
    }
}

/// An event to hand out. Where it is parked, it has to be read.
pub(super) struct Handed {
    pub(super) position: Position,
    pub(super) event: Option<Event>,
    pub(super) attempt: u32,
}
