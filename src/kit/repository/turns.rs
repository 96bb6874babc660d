//! Turns for those that lost a race, so that each gets through.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::sync::{Mutex, MutexGuard};

/// A lock for the streams of each hash. Commands that win at once never take one.
pub(super) struct Turns {
    stripes: [Mutex<()>; STRIPES],
}

const STRIPES: usize = 64;

/// Nobody waits longer than this for a turn: behind it, racing is no worse. A decider that executes
/// commands itself would else wait for its own turn for ever.
const PATIENCE: Duration = Duration::from_millis(200);

impl Default for Turns {
    fn default() -> Self {
        Self { stripes: std::array::from_fn(|_| Mutex::new(())) }
    }
}

impl Turns {
    /// Waits for the turn of a stream; `None` where it takes too long.
    pub(super) fn take(&self, stream: &str) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        stream.hash(&mut hasher);
        let stripe = usize::try_from(hasher.finish() % STRIPES as u64).unwrap_or(0);
        self.stripes.get(stripe)?.try_lock_for(PATIENCE)
    }
}
