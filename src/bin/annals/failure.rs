//! How a command can fail, and the exit code that says so.

use std::fmt;
use std::io;

use annals::transfer::{ExportError, ImportError, ImportErrorCause, LineError};
use annals::{CursorError, Error, ViewError};

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments do not make sense together, or say nothing that can be used.
    Usage(String),
    /// What was asked for by name is not there.
    NotFound(String),
    /// The store says no.
    Store(Error),
    /// A file stopped being importable at a line.
    Import { file: String, error: Box<ImportError> },
    /// A line of standard input is not an event.
    Line { line: u64, error: LineError },
    /// A file, or standard input, cannot be read.
    Read { file: String, error: io::Error },
    /// A result cannot be written.
    Write(io::Error),
    /// A check found that the log is damaged.
    Damaged(String),
    /// A check found events that cannot be read as what they should be today.
    Unreadable(String),
    /// The demo found that something is not as it should be.
    Demo(String),
}

impl Failure {
    /// Whether whoever reads the output has had enough of it.
    pub(crate) fn is_closed_output(&self) -> bool {
        matches!(self, Self::Write(e) if e.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn exit_code(&self) -> u8 {
        const FAILURE: u8 = 1;
        const USAGE: u8 = 2;
        const CORRUPTION: u8 = 5;
        match self {
            Self::Usage(_)
            | Self::Store(Error::InvalidName { .. } | Error::InvalidOptions { .. }) => USAGE,
            Self::NotFound(_) => 3,
            Self::Damaged(_) => CORRUPTION,
            Self::Store(error) => exit_code(error).unwrap_or(FAILURE),
            Self::Import { error, .. } => match &error.cause {
                ImportErrorCause::Store(error) => exit_code(error).unwrap_or(FAILURE),
                _ => FAILURE,
            },
            Self::Line { .. }
            | Self::Read { .. }
            | Self::Write(_)
            | Self::Unreadable(_)
            | Self::Demo(_) => FAILURE,
        }
    }
}

/// The exit code of its own that an error of the store has.
fn exit_code(error: &Error) -> Option<u8> {
    match error {
        error if error.is_corruption() => Some(5),
        Error::NotFound { .. }
        | Error::Cursor(CursorError::NotFound { .. })
        | Error::View(ViewError::NotFound { .. }) => Some(3),
        Error::Conflict(_)
        | Error::ConditionFailed(_)
        | Error::IdConflict(_)
        | Error::Cursor(_)
        | Error::View(_) => Some(4),
        Error::Locked { .. } => Some(6),
        Error::UnsupportedFormat { .. } => Some(7),
        _ => None,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(why) | Self::Damaged(why) | Self::Unreadable(why) => f.write_str(why),
            Self::NotFound(what) => write!(f, "{what}: not found"),
            Self::Store(error) => error.fmt(f),
            Self::Import { file, error } => write!(f, "{file}: {error}"),
            Self::Line { line, error } => write!(f, "line {line}: {error}"),
            Self::Read { file, error } => write!(f, "{file}: cannot read: {error}"),
            Self::Write(error) => write!(f, "cannot write the output: {error}"),
            Self::Demo(what) => write!(f, "the demo failed: {what}"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Store(error) => Self::Store(error),
            ExportError::Write(error) => Self::Write(error),
            error => Self::Write(io::Error::other(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::sync::Arc;

    #[test]
    fn each_kind_of_failure_has_its_code() {
        let path = PathBuf::from("x");
        let corrupt = Error::Corrupt {
            path: path.clone(),
            offset: 0,
            expected: String::new(),
            found: String::new(),
        };
        let unsupported = Error::UnsupportedFormat {
            path: path.clone(),
            expected: String::new(),
            found: String::new(),
        };
        for (error, code) in [
            (Error::EmptyAppend, 1),
            (Error::InvalidOptions { why: String::new() }, 2),
            (Error::NotFound { path: path.clone() }, 3),
            (corrupt.clone(), 5),
            (Error::Unknown { cause: Arc::new(corrupt) }, 5),
            (Error::Locked { path }, 6),
            (unsupported, 7),
        ] {
            assert_eq!(Failure::Store(error.clone()).exit_code(), code, "{error}");
        }
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        assert!(Failure::Write(io::ErrorKind::BrokenPipe.into()).is_closed_output());
        assert!(!Failure::Write(io::ErrorKind::StorageFull.into()).is_closed_output());
    }
}
