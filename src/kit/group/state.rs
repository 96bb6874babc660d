//! What stands under a group's lock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::info::ConsumerInfo;
use super::work::Work;
use crate::cursor::OwnedCursor;
use crate::error::Error;
use crate::position::Position;
use crate::subscription::{StopHandle, Subscription};
use crate::sync::Arc;

/// Where nothing was to do for so long the cursor is saved.
const IDLE: Duration = Duration::from_millis(20);

/// Where the group's subscription is.
pub(super) enum Feed {
    Here(Box<Subscription>),
    /// Somebody leads, and looks up from the log then at the latest.
    Led {
        until: Option<Instant>,
        stop: StopHandle,
    },
    /// It was stopped, or its leader panicked: to be started again behind what was fetched.
    Gone,
}

pub(super) struct State {
    pub(super) work: Work,
    pub(super) feed: Feed,
    /// Given back when the group is closed.
    pub(super) cursor: Option<Arc<OwnedCursor>>,
    pub(super) saved: Position,
    pub(super) is_saving: bool,
    pub(super) answered: u64,
    pub(super) answered_at: Instant,
    /// How many wait on the condvar.
    pub(super) waiting: usize,
    pub(super) consumers: BTreeMap<u64, ConsumerInfo>,
    pub(super) next_consumer: u64,
    /// Why nothing can be fetched any more.
    pub(super) failed: Option<Error>,
    pub(super) is_closed: bool,
}

impl State {
    pub(super) fn new(work: Work, cursor: OwnedCursor, saved: Position) -> Self {
        Self {
            work,
            feed: Feed::Gone,
            cursor: Some(Arc::new(cursor)),
            saved,
            is_saving: false,
            answered: 0,
            answered_at: Instant::now(),
            waiting: 0,
            consumers: BTreeMap::new(),
            next_consumer: 1,
            failed: None,
            is_closed: false,
        }
    }

    pub(super) fn can_lead(&self) -> bool {
        !matches!(self.feed, Feed::Led { .. }) && self.work.has_room()
    }

    /// When the cursor is to be saved though nobody is done with much more; `None` where there is
    /// nothing to save or somebody is saving.
    pub(super) fn save_at(&self, every: u64) -> Option<Instant> {
        if self.is_saving || self.work.low_water() <= self.saved {
            return None;
        }
        let wait = if self.answered >= every { Duration::ZERO } else { IDLE };
        Some(self.answered_at + wait)
    }
}
