//! What can go wrong in here.

use mnesis_store::envelope::EnvelopeError;
use mnesis_store::value::ValueError;
use mnesis_store::wire::WireError;

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// annals says why.
    #[error(transparent)]
    Store(#[from] annals::Error),
    /// A stored event is not one that the framework can hold.
    #[error("an event cannot be given to the framework: {0}")]
    Value(#[from] ValueError),
    /// A stored event does not fit into a frame of the framework.
    #[error("an event cannot be framed: {0}")]
    Wire(#[from] WireError),
    /// The framework refuses the frame of a stored event.
    #[error("an event cannot be enveloped: {0}")]
    Envelope(#[from] EnvelopeError),
    /// The name of a stream was not made by this adapter, or what is beside an event.
    #[error("{0}")]
    Foreign(&'static str),
    /// A stored snapshot is shorter than its head, or its numbers make no sense.
    #[error("the snapshot cannot be read")]
    Snapshot,
    /// The version of the stream would pass the last one.
    #[error("the version of the stream would pass the last one")]
    VersionOverflow,
}
