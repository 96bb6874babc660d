//! How a transfer ends: what was imported, and what can be wrong with a line, an import, an export.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::error::Error;

/// Why a line is not an event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineError {
    /// The line is not UTF-8.
    NotUtf8 {
        /// How many bytes of the line are.
        valid_bytes: usize,
    },
    /// The line is not a JSON object.
    NotAnObject {
        /// Where in the line, counted in bytes from 1; 0 where the line is empty.
        column: usize,
        /// What the JSON reader says.
        why: String,
    },
    /// The line has no end within the bytes that a line may have.
    TooLong {
        /// The most bytes that a line may have.
        limit: u64,
    },
    /// A field that no event has; perhaps a misspelled one.
    UnknownField {
        /// The field, escaped and cut to 64 characters.
        field: String,
    },
    /// A field that every event has is not there.
    MissingField {
        /// The field.
        field: &'static str,
    },
    /// A field stands twice, perhaps once under its short name.
    Repeated {
        /// The field, as it stands the second time.
        field: &'static str,
    },
    /// A field that does not hold what it should.
    Invalid {
        /// The field.
        field: &'static str,
        /// What it should hold.
        why: &'static str,
    },
}

impl LineError {
    pub(super) const fn invalid(field: &'static str, why: &'static str) -> Self {
        Self::Invalid { field, why }
    }
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 { valid_bytes } => {
                write!(f, "not UTF-8 behind the first {valid_bytes} bytes")
            }
            Self::NotAnObject { column, why } => {
                write!(f, "not an event as a JSON object: {why} (column {column})")
            }
            Self::TooLong { limit } => write!(f, "longer than {limit} bytes"),
            Self::UnknownField { field } => write!(f, "unknown field \"{field}\""),
            Self::MissingField { field } => write!(f, "field \"{field}\" is missing"),
            Self::Repeated { field } => write!(f, "field \"{field}\" stands there a second time"),
            Self::Invalid { field, why } => write!(f, "field \"{field}\": {why}"),
        }
    }
}

impl std::error::Error for LineError {}

/// What an import did. All of it is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// The lines it is through with, blank ones among them.
    pub lines: u64,
    /// The events it stored.
    pub appended: u64,
    /// The lines that the store held already.
    pub skipped: u64,
}

/// An import that stopped: at which line, why, and what of it is stored.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImportError {
    /// The line, counted from 1. Every event line before it was imported; none behind it.
    pub line: u64,
    /// Why.
    pub cause: ImportErrorCause,
    /// What was imported before it and is known to be durable.
    pub imported: Imported,
}

/// Why an import stopped.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ImportErrorCause {
    /// The line is not an event.
    Line(LineError),
    /// The store does not take the event, or failed.
    Store(Error),
    /// The line cannot be read.
    Read(Arc<io::Error>),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line;
        match &self.cause {
            ImportErrorCause::Line(cause) => write!(f, "line {line}: {cause}"),
            ImportErrorCause::Store(cause) => write!(f, "line {line}: {cause}"),
            ImportErrorCause::Read(cause) => write!(f, "line {line}: cannot read it: {cause}"),
        }
    }
}

impl std::error::Error for ImportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            ImportErrorCause::Line(cause) => Some(cause),
            ImportErrorCause::Store(cause) => Some(cause),
            ImportErrorCause::Read(cause) => Some(cause.as_ref()),
        }
    }
}

/// Why an export stopped.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExportError {
    /// An event cannot be read.
    Store(Error),
    /// A line cannot be written.
    Write(io::Error),
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(cause) => cause.fmt(f),
            Self::Write(cause) => write!(f, "cannot write: {cause}"),
        }
    }
}

impl std::error::Error for ExportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(cause) => Some(cause),
            Self::Write(cause) => Some(cause),
        }
    }
}
