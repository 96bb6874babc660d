//! The embedded event store: link one crate, open a directory, and you have an append-only log of
//! events with streams, versions and a dense global order.

mod batch;
mod bytes;
mod catalog;
mod error;
mod event;
mod format;
mod index;
mod log;
mod names;
mod new_event;
mod open;
mod options;
mod place;
mod position;
mod reader;
mod storage;
mod store;
mod sync;
mod upkeep;
mod watermark;
mod writer;

pub use batch::Batch;
pub use error::{Conflict, Error, IdConflict, Result};
pub use event::{Appended, Event};
pub use names::{
    EventId, MAX_EVENT_TYPE, MAX_LABEL, MAX_STREAM_NAME, MAX_TAGS, StreamName, category_of,
};
pub use new_event::NewEvent;
pub use open::{IndexCheckpoint, RecoveryReport};
pub use options::{Durability, Limits, Preallocate, ReadMode};
pub use position::{ExpectedVersion, Position, Timestamp, Version};
pub use reader::{AllEvents, ReadAll, ReadStream, StreamEvents};
pub use store::{Info, Store, StoreOptions, StreamInfo};

#[cfg(feature = "transfer")]
pub mod transfer;

#[cfg(test)]
mod tests;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
