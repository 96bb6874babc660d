//! What opening found and did.

use std::fmt;
use std::time::Duration;

use crate::cursor::CursorsFound;

/// What opening a store found, and what it did about it.
///
/// ```
/// let store = annals::Store::in_memory()?;
/// assert_eq!(store.recovery().bytes_cut, 0);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The store was closed in good order, or it is new.
    pub clean: bool,
    /// Bytes of a write that was never finished, and that exist no more.
    pub bytes_cut: u64,
    /// Events that were read from the log because no index file had them.
    pub events_replayed: u64,
    /// What became of the index checkpoint.
    pub index_checkpoint: IndexCheckpoint,
    /// What was found of the named cursors.
    pub cursors: CursorsFound,
    /// How long opening took.
    pub elapsed: Duration,
}

/// What became of the index checkpoint when a store was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexCheckpoint {
    /// The store is new.
    NewStore,
    /// There is none for the active segment.
    Missing,
    /// It was used for this many events.
    Used {
        /// How many events it has.
        events: u64,
    },
    /// It was not used.
    Ignored {
        /// What is wrong with it.
        why: String,
    },
}

impl fmt::Display for IndexCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewStore => f.write_str("new store"),
            Self::Missing => f.write_str("missing"),
            Self::Used { events } => write!(f, "used for {events} events"),
            Self::Ignored { why } => write!(f, "ignored: {why}"),
        }
    }
}
