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

/// Entry points for the fuzzers in `fuzz/`, which are built with `--cfg fuzzing`.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    use crate::format::entry;
    use crate::format::frame::Frame;
    use crate::format::segment::{Seed, SegmentHeader};

    /// Whatever the bytes: no panic, and no place outside the frame.
    pub fn frame(bytes: &[u8]) {
        let room = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let _ = SegmentHeader::decode(bytes);
        let Ok(frame) = Frame::parse(bytes, Seed::of(&[0; 16]), 4096, room) else {
            return;
        };
        let _ = frame.verify_body(bytes);
        for index in 0..frame.events {
            if let Some(place) = frame.event(bytes, index)
                && let Some(entry) = bytes.get(place.entry.range())
            {
                let _ = entry::parts(entry, place.entry.start);
                let _ = frame.stream(bytes, place.stream);
            }
        }
    }

    /// Whatever the bytes: no panic.
    pub fn entry(bytes: &[u8]) {
        let _ = entry::parts(bytes, 0);
    }
}

#[cfg(test)]
mod tests;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
