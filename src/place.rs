//! Where events are, and what the index may ask of the log to be sure of them.

use crate::error::Result;
use crate::names::{EventId, Label};
use crate::position::{Position, Timestamp, Version};

/// Where an event's bytes are: the one way in which the index tells the log what to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The ordinal of its segment.
    pub(crate) segment: u32,
    /// The offset of its frame.
    pub(crate) frame: u32,
    /// Its own ordinal in the segment.
    pub(crate) ordinal: u32,
}

/// What the log says of an event, as far as the index keeps it.
#[derive(Clone, Debug)]
pub(crate) struct LoggedEvent<'a> {
    /// The offset of its frame.
    pub(crate) frame: u32,
    pub(crate) stream: &'a str,
    pub(crate) version: u64,
    pub(crate) event_type: &'a str,
    pub(crate) schema_version: u32,
    pub(crate) created_at: Timestamp,
    /// Its id, where the caller gave one.
    pub(crate) id: Option<EventId>,
    pub(crate) labels: Vec<Label<'a>>,
}

/// The log, as the index sees it: hashes propose, names in frames decide, and whatever the index
/// holds can be read again from here.
pub(crate) trait Frames: Send + Sync {
    /// Whether an event belongs to a stream.
    fn stream_is(&self, place: Place, name: &str) -> Result<bool>;

    /// The name of an event's stream.
    fn stream_name(&self, place: Place) -> Result<String>;

    /// The last event that a frame holds of a stream; `None` where it holds none.
    fn last_of_stream(
        &self,
        segment: u32,
        frame: u32,
        name: &str,
    ) -> Result<Option<(Version, Position)>>;

    /// Hands over the first `events` events of a segment, beginning with the frame at `from` (the
    /// segment's first where that is 0).
    fn replay(
        &self,
        segment: u32,
        from: u32,
        events: u32,
        each: &mut dyn FnMut(&LoggedEvent<'_>) -> Result<()>,
    ) -> Result<()>;
}
