//! What can be wrong with a named cursor.

use std::fmt;

use crate::names::shown;
use crate::position::Position;

/// Why a named cursor cannot be used or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CursorError {
    /// The position is beyond the last visible event.
    Ahead {
        /// The cursor.
        name: String,
        /// Where it was to be saved.
        position: Position,
        /// The last visible event.
        visible: Position,
    },
    /// The position is before what was saved. Only a reset goes back.
    Backwards {
        /// The cursor.
        name: String,
        /// Where it was to be saved.
        position: Position,
        /// Where it was saved before.
        saved: Position,
    },
    /// The log has another event at the cursor's position, or none: one of them was restored or
    /// copied without the other. Reset it.
    Diverged {
        /// The cursor.
        name: String,
        /// Where it was saved.
        position: Position,
    },
    /// It has an owner.
    InUse {
        /// The cursor.
        name: String,
    },
    /// There is none of this name.
    NotFound {
        /// The name.
        name: String,
    },
    /// There is one of this name.
    Exists {
        /// The name.
        name: String,
    },
}

impl fmt::Display for CursorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ahead { name, position, visible } => write!(
                f,
                "cursor \"{}\": position {position} is beyond the last visible one, {visible}",
                shown(name)
            ),
            Self::Backwards { name, position, saved } => write!(
                f,
                "cursor \"{}\": position {position} is before {saved}, where it is saved; only a \
                 reset goes back",
                shown(name)
            ),
            Self::Diverged { name, position } => write!(
                f,
                "cursor \"{}\": the log has another event at position {position}, or none, so the \
                 cursor is of another history; reset it",
                shown(name)
            ),
            Self::InUse { name } => write!(f, "cursor \"{}\" is in use", shown(name)),
            Self::NotFound { name } => write!(f, "there is no cursor \"{}\"", shown(name)),
            Self::Exists { name } => write!(f, "there is a cursor \"{}\" already", shown(name)),
        }
    }
}
