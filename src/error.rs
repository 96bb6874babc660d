//! One error type. Each variant says what was expected, what was found, and what is true now.

mod conflict;
mod cursor;
mod schema;
mod view;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, io};

pub use conflict::{Conflict, FailedCondition};
pub use cursor::CursorError;
pub use schema::{ChainFault, SchemaError, StoredAs};
pub use view::ViewError;

use crate::names::{EventId, shown};
use crate::position::Position;

/// The result of an operation of the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation of the store did not succeed.
///
/// Three predicates answer what a caller mostly asks: [`is_conflict`](Error::is_conflict) (read
/// what was missed and decide again), [`is_retryable`](Error::is_retryable) (the same call again
/// cannot store anything twice), [`is_corruption`](Error::is_corruption) (look at the disk).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// An expectation did not hold. Nothing was written.
    Conflict(Conflict),
    /// A condition of a batch did not hold. Nothing was written.
    ConditionFailed(FailedCondition),
    /// Event ids of an append are in use in a way that is not a retry. Nothing was written.
    IdConflict(IdConflict),
    /// A name breaks a rule. Nothing was written.
    InvalidName {
        /// What was named: a stream name, an event type, a tag and so on.
        what: &'static str,
        /// The name, escaped and cut to 64 characters.
        name: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// A value is above a limit. Nothing was written.
    LimitExceeded {
        /// What is limited, with its unit.
        what: Cow<'static, str>,
        /// The most that is allowed.
        limit: u64,
        /// What was given.
        found: u64,
    },
    /// An append or a batch without events. Nothing was written.
    EmptyAppend,
    /// A call that changes the store, made from inside a decision of
    /// [`Store::transact`](crate::Store::transact): it would wait for itself. Nothing was done.
    Reentrant,
    /// A named cursor cannot be used or changed like that. Nothing was written.
    Cursor(CursorError),
    /// The same of a view.
    View(ViewError),
    /// Options that do not go together, or a value that an option does not take.
    InvalidOptions {
        /// What is wrong with them.
        why: String,
    },
    /// A payload could not be encoded or decoded.
    Payload {
        /// What the codec says.
        why: String,
    },
    /// An event cannot be read as a typed one, or upcasts do not go together.
    Schema(SchemaError),
    /// The append was not written; the same call again is safe.
    NotWritten {
        /// What kept it from being written.
        cause: Arc<Error>,
    },
    /// The append may or may not be there after a reopen. Retry it with the same event ids.
    Unknown {
        /// What happened while it was written.
        cause: Arc<Error>,
    },
    /// An earlier write or sync failed, so the store takes no more appends until it is reopened;
    /// or no more cursors, where the write of one failed. Reads go on. Nothing was written.
    Poisoned {
        /// What failed first.
        cause: Arc<Error>,
    },
    /// The store was closed.
    Closed,
    /// A write through a handle that only reads.
    ReadOnly,
    /// Another process, or another handle of this one, has the store open for writing.
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The directory holds something, but not a store.
    NotAStore {
        /// The directory.
        path: PathBuf,
        /// What is missing or wrong.
        why: String,
    },
    /// There is no store at the path, and none was to be created.
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// The files were written by a version of annals that this one cannot read.
    UnsupportedFormat {
        /// The file.
        path: PathBuf,
        /// What this version reads.
        expected: String,
        /// What the file says.
        found: String,
    },
    /// A file does not hold what was written to it. Nothing on disk was changed.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// An earlier handle of this process still has events of the store mapped, and the file system
    /// has no direct reads, so what is on disk cannot be seen. Drop the events and open again.
    StillMapped {
        /// The file that is mapped.
        path: PathBuf,
    },
    /// An operation on a file failed.
    Io {
        /// What was done.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// A panic inside the store, caught before it could leave others waiting. This is a bug.
    Panicked {
        /// Where it was caught.
        during: &'static str,
    },
}

impl Error {
    /// Something is not as the call takes it to be: read what is there and decide again.
    pub fn is_conflict(&self) -> bool {
        use Error::{ConditionFailed, Conflict, IdConflict, View};
        let has_moved = matches!(self, View(ViewError::Moved { .. }));
        has_moved || matches!(self, Conflict(_) | ConditionFailed(_) | IdConflict(_))
    }

    /// Nothing was written, or the same event ids make a second attempt harmless: the same call
    /// may succeed when made again (after a reopen, where the store is poisoned or closed).
    ///
    /// `Unknown` counts only for appends whose events carry ids of the caller.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::NotWritten { .. }
                | Self::Unknown { .. }
                | Self::Poisoned { .. }
                | Self::Closed
                | Self::Locked { .. }
                | Self::StillMapped { .. }
        )
    }

    /// What is on disk is not what was written there.
    pub fn is_corruption(&self) -> bool {
        match self {
            Self::Corrupt { .. } => true,
            Self::NotWritten { cause } | Self::Unknown { cause } | Self::Poisoned { cause } => {
                cause.is_corruption()
            }
            _ => false,
        }
    }

    /// Bytes are there that this code cannot take for what was written.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::UnsupportedFormat { .. })
    }

    pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>, e: io::Error) -> Self {
        Self::Io { operation, path: path.into(), source: Arc::new(e) }
    }

    pub(crate) fn corrupt(
        path: impl Into<PathBuf>,
        offset: u64,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Corrupt { path: path.into(), offset, expected: expected.into(), found: found.into() }
    }

    pub(crate) fn limit(what: impl Into<Cow<'static, str>>, limit: u64, found: u64) -> Self {
        Self::LimitExceeded { what: what.into(), limit, found }
    }

    pub(crate) fn not_written(cause: Error) -> Self {
        Self::NotWritten { cause: Arc::new(cause) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(conflict) => conflict.fmt(f),
            Self::ConditionFailed(failed) => failed.fmt(f),
            Self::IdConflict(conflict) => conflict.fmt(f),
            Self::InvalidName { what, name, why } => write!(f, "invalid {what} \"{name}\": {why}"),
            Self::LimitExceeded { what, limit, found } => {
                write!(f, "too many {what}: at most {limit} allowed, found {found}")
            }
            Self::EmptyAppend => f.write_str("an append without events"),
            Self::Reentrant => f.write_str("a change of the store from inside a transaction of it"),
            Self::Cursor(cursor) => cursor.fmt(f),
            Self::View(view) => view.fmt(f),
            Self::InvalidOptions { why } => write!(f, "invalid options: {why}"),
            Self::Payload { why } => write!(f, "payload: {why}"),
            Self::Schema(schema) => schema.fmt(f),
            Self::NotWritten { cause } => write!(f, "not written: {cause}"),
            Self::Unknown { cause } => write!(
                f,
                "the outcome is unknown until the store is reopened (retry with the same event \
                 ids): {cause}"
            ),
            Self::Poisoned { cause } => write!(
                f,
                "the store takes no more writes of this kind until it is reopened, because of: \
                 {cause}"
            ),
            Self::Closed => f.write_str("the store is closed"),
            Self::ReadOnly => f.write_str("the store is open for reading only"),
            Self::Locked { path } => {
                write!(f, "{}: the store is open for writing elsewhere", path.display())
            }
            Self::NotAStore { path, why } => write!(f, "{}: not a store: {why}", path.display()),
            Self::NotFound { path } => write!(f, "{}: no store there", path.display()),
            Self::UnsupportedFormat { path, expected, found } => {
                write!(f, "{}: unsupported format: {found}, expected {expected}", path.display())
            }
            Self::Corrupt { path, offset, expected, found } => write!(
                f,
                "{}: corrupt at byte {offset}: expected {expected}, found {found}",
                path.display()
            ),
            Self::StillMapped { path } => write!(
                f,
                "{}: events of an earlier handle still map the file, and its true content cannot \
                 be read past them here",
                path.display()
            ),
            Self::Io { operation, path, source } => {
                write!(f, "{}: cannot {operation}: {source}", path.display())
            }
            Self::Panicked { during } => write!(f, "a panic during {during} (a bug in annals)"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source.as_ref()),
            Self::NotWritten { cause } | Self::Unknown { cause } | Self::Poisoned { cause } => {
                Some(cause.as_ref())
            }
            _ => None,
        }
    }
}

/// Event ids of an append that are in use, but not by the same append made before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdConflict {
    /// Some events of the append are stored already and some are not.
    Partial {
        /// The first id of the append that is stored already.
        present: EventId,
        /// Where it is stored.
        position: Position,
        /// The first id of the append that is not stored.
        absent: EventId,
    },
    /// All are stored, but not at consecutive versions in the order given.
    Reordered {
        /// The first id that stands elsewhere than right behind the one before it.
        id: EventId,
        /// Where it is stored.
        position: Position,
    },
    /// An id is stored in another stream.
    OtherStream {
        /// The id.
        id: EventId,
        /// The stream that holds it.
        stream: String,
        /// Where it is stored.
        position: Position,
    },
    /// An id is stored with another type, content, tags or the like.
    OtherContent {
        /// The id.
        id: EventId,
        /// Where it is stored.
        position: Position,
        /// What differs: the event type, the data and so on.
        differs: &'static str,
    },
    /// The same id stands twice in one append.
    Repeated {
        /// The id.
        id: EventId,
    },
}

impl fmt::Display for IdConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partial { present, position, absent } => write!(
                f,
                "event {present} is stored already at position {position}, but event {absent} of \
                 the same append is not"
            ),
            Self::Reordered { id, position } => write!(
                f,
                "event {id} is stored at position {position}, but not in the order of this append"
            ),
            Self::OtherStream { id, stream, position } => write!(
                f,
                "event {id} is stored already at position {position} in stream \"{}\"",
                shown(stream)
            ),
            Self::OtherContent { id, position, differs } => {
                write!(f, "event {id} is stored at position {position} with another {differs}")
            }
            Self::Repeated { id } => write!(f, "event {id} stands twice in one append"),
        }
    }
}
