//! What a store says of itself and of its streams.

use crate::position::{Position, Version};

/// A stream as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// Its name.
    pub name: String,
    /// The version of its last event, which is also how many events it has.
    pub version: Version,
    /// The position of its last event.
    pub last_position: Position,
}

/// What a store holds and takes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// The store's identity.
    pub store_id: uuid::Uuid,
    /// How many events are visible.
    pub events: u64,
    /// The position of the first event; 0 in an empty store.
    pub first_position: Position,
    /// The position of the last event; 0 in an empty store.
    pub last_position: Position,
    /// Segments that hold events, or are about to.
    pub segments: u64,
    /// Bytes of the log that are used: headers and frames.
    pub log_bytes: u64,
    /// Bytes of the index files.
    pub index_bytes: u64,
    /// Bytes of segments that wait for their use, zeros or given back.
    pub preallocated_bytes: u64,
}
