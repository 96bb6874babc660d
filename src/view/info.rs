//! What is said of a view.

use crate::names::{EventId, shown};
use crate::position::{Position, Timestamp};

/// A view as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ViewInfo {
    /// Its name.
    pub name: String,
    /// The schema that it was created with: a number of the caller's.
    pub schema: u32,
    /// It is complete up to here.
    pub position: Position,
    /// The event there; `None` at [`Position::START`].
    pub event_id: Option<EventId>,
    /// When it was last committed, by the store's clock.
    pub committed_at: Timestamp,
    /// How many visible events come after it; `None` where it diverged.
    pub lag: Option<u64>,
    /// The log has another event there, or none. Reading it is an error until it is rebuilt.
    pub has_diverged: bool,
    /// How many entries it has.
    pub entries: u64,
    /// The bytes of their keys and values.
    pub bytes: u64,
    /// How many events are parked.
    pub parked: u64,
}

impl std::fmt::Display for ViewInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "view \"{}\" at position {}", shown(&self.name), self.position)?;
        match self.lag {
            Some(lag) => write!(f, ", {lag} behind"),
            None => f.write_str(", diverged"),
        }
    }
}
