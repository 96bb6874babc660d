//! What projectors say.

use std::fmt;

use super::contract::ApplyError;
use crate::error::Error;
use crate::position::Position;

/// What is done with an event that a projection could not apply, after all attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnError {
    /// The projector ends with the error, behind everything before the event.
    #[default]
    Stop,
    /// The event is passed over.
    Skip,
    /// The event is passed over, and noted in the view, with the reason: see
    /// [`StoredView::parked`](crate::StoredView::parked) and
    /// [`Projector::retry_parked`](super::Projector::retry_parked).
    Park,
}

/// What a step of a projector did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// It applied events, and the view is durably complete up to a position.
    Applied {
        /// How many, passed over ones included.
        events: u64,
        /// Up to where.
        upto: Position,
    },
    /// There is nothing to apply.
    CaughtUp,
    /// It is paused.
    Paused,
}

/// How far a projector has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The position up to which the view is complete.
    pub position: Position,
    /// The last visible event.
    pub head: Position,
    /// How many events this projector has applied.
    pub applied: u64,
    /// How many of them it has passed over.
    pub skipped: u64,
    /// How many of them it has parked.
    pub parked: u64,
}

impl Progress {
    /// How many events come after the view.
    pub const fn lag(&self) -> u64 {
        self.head.0.saturating_sub(self.position.0)
    }
}

/// Why a projection does not go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProjectionError {
    /// It could not apply an event.
    Apply {
        /// Where the event is; `None` where it was about to be appended.
        position: Option<Position>,
        /// How often it was tried.
        attempts: u32,
        /// What it says.
        error: ApplyError,
    },
    /// The store could not be read, or the view not be changed.
    Store(Error),
}

impl fmt::Display for ProjectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apply { position, attempts, error } => {
                f.write_str("an event ")?;
                if let Some(position) = position {
                    write!(f, "at position {position} ")?;
                }
                write!(f, "could not be projected, in {attempts} attempts: {error}")
            }
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ProjectionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Apply { error, .. } => Some(&**error),
            Self::Store(error) => Some(error),
        }
    }
}

impl From<Error> for ProjectionError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}
