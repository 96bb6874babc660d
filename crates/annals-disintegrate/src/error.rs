//! What can go wrong in here.

use std::error::Error as StdError;

/// Why the event store did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something that the decision rests on has changed since. Nothing was written: decide again.
    #[error("concurrent modification: the event at position {0:?} came between")]
    Concurrency(Option<u64>),
    /// annals says why.
    #[error(transparent)]
    Store(annals::Error),
    /// The data of a stored event is not what the format says.
    #[error(transparent)]
    Deserialization(#[from] disintegrate::serde::Error),
    /// A stored event matches the query, and is none of its type.
    #[error("an event that matches is none of the query's: {0}")]
    QueryEventMapping(#[source] Box<dyn StdError + Send + Sync>),
    /// A position that the framework's id of an event does not hold, or a negative one.
    #[error("{0} is not the id of an event")]
    EventId(i128),
}

impl From<annals::Error> for Error {
    fn from(error: annals::Error) -> Self {
        match error {
            annals::Error::ConditionFailed(failed) => {
                Self::Concurrency(failed.position.map(|position| position.0))
            }
            error => Self::Store(error),
        }
    }
}
