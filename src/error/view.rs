//! What can be wrong with a view.

use std::fmt;

use crate::names::shown;
use crate::position::Position;

/// Why a view cannot be used or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ViewError {
    /// It stands elsewhere than where the changes were made from: somebody else has changed it.
    Moved {
        /// The view.
        name: String,
        /// From where the changes were made.
        expected: Position,
        /// Where it stands.
        actual: Position,
    },
    /// It was to stand beyond the last visible event.
    Ahead {
        /// The view.
        name: String,
        /// Where it was to stand.
        position: Position,
        /// The last visible event.
        visible: Position,
    },
    /// It was to stand before where it stands.
    Backwards {
        /// The view.
        name: String,
        /// Where it was to stand.
        position: Position,
        /// Where it stands.
        actual: Position,
    },
    /// The log has another event where the view stands, or none: one of them was restored or copied
    /// without the other. Rebuild it.
    Diverged {
        /// The view.
        name: String,
        /// Where it stands.
        position: Position,
    },
    /// There is one of this name with another schema.
    OtherSchema {
        /// The view.
        name: String,
        /// The schema that was asked for.
        expected: u32,
        /// The one that it has.
        found: u32,
    },
    /// It was reset, deleted, or another one took its name since the handle was made.
    Replaced {
        /// The view.
        name: String,
    },
    /// There is none of this name.
    NotFound {
        /// The name.
        name: String,
    },
}

impl fmt::Display for ViewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Moved { name, .. }
        | Self::Ahead { name, .. }
        | Self::Backwards { name, .. }
        | Self::Diverged { name, .. }
        | Self::OtherSchema { name, .. }
        | Self::Replaced { name }
        | Self::NotFound { name }) = self;
        if let Self::NotFound { name } = self {
            return write!(f, "there is no view \"{}\"", shown(name));
        }
        write!(f, "view \"{}\": ", shown(name))?;
        match self {
            Self::Moved { expected, actual, .. } => {
                write!(f, "the changes were made from position {expected}, and it is at {actual}")
            }
            Self::Ahead { position, visible, .. } => {
                write!(f, "position {position} is beyond the last visible one, {visible}")
            }
            Self::Backwards { position, actual, .. } => {
                write!(f, "position {position} is before {actual}, where it is")
            }
            Self::Diverged { position, .. } => write!(
                f,
                "the log has another event at position {position}, or none, so the view is of \
                 another history; rebuild it"
            ),
            Self::OtherSchema { expected, found, .. } => {
                write!(f, "it has schema {found}, not {expected}; rebuild it beside")
            }
            Self::Replaced { .. } => f.write_str("another one has taken its place"),
            Self::NotFound { .. } => Ok(()),
        }
    }
}
