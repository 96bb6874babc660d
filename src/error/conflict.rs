//! What did not hold.

use std::fmt;

use crate::names::shown;
use crate::position::{ExpectedVersion, Position, Version};

/// A failed expectation: which stream, what was expected, what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// The stream whose expectation failed.
    pub stream: String,
    /// What the append expected of it.
    pub expected: ExpectedVersion,
    /// The version it has: read the events after the one you knew to learn what was missed.
    pub actual: Version,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "conflict on stream \"{}\": expected {}, found version {}",
            shown(&self.stream),
            self.expected,
            self.actual
        )
    }
}

/// A condition of a batch that did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedCondition {
    /// Which condition of the batch, counted from 0 in the order in which they were added.
    pub condition: usize,
    /// Whether something had to match ([`require`](crate::Batch::require)), or nothing was allowed
    /// to ([`unless`](crate::Batch::unless)).
    pub required: bool,
    /// The newest event that matches, where none was allowed to: read what came after the one you
    /// knew to learn what was missed.
    pub position: Option<Position>,
}

impl fmt::Display for FailedCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.condition + 1;
        match self.position {
            Some(position) => write!(
                f,
                "condition {number} of the batch does not hold: the event at position {position} \
                 matches"
            ),
            None => write!(f, "condition {number} of the batch does not hold: no event matches"),
        }
    }
}
