//! Errors of annals as those of the framework.

use annals::Error;
use cqrs_es::persist::PersistenceError;

/// What the framework calls it. A conflict of versions is its optimistic lock error; what cannot be
/// decoded is a deserialization error; all else is unknown to it, and carries the error itself.
pub(crate) fn persistence(error: Error) -> PersistenceError {
    match error {
        Error::Conflict(_) => PersistenceError::OptimisticLockError,
        Error::Payload { .. } => PersistenceError::DeserializationError(Box::new(error)),
        _ => PersistenceError::UnknownError(Box::new(error)),
    }
}

/// Something that the caller did and the mapping cannot express.
pub(crate) fn refused(why: &'static str) -> PersistenceError {
    PersistenceError::UnknownError(why.into())
}
