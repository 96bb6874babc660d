//! Stored events: as the store gives them back.

use std::fmt;
use std::ops::Range;

use smallvec::SmallVec;

use crate::bytes::Bytes;
#[cfg(feature = "json")]
use crate::error::{Error, Result};
use crate::names::{EventId, Label, category_of};
use crate::position::{Position, Timestamp, Version};

/// The content type of JSON payloads.
pub(crate) const JSON: &str = "application/json";
/// The content type of payloads that say nothing else.
pub(crate) const BINARY: &str = "application/octet-stream";

/// A range inside the bytes of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Span {
    pub(crate) const fn range(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

/// A range near the start of an entry, from which it counts. Empty where the entry lacks the part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Near {
    pub(crate) at: u16,
    pub(crate) len: u16,
}

/// Where an entry has the text of the event type; the byte before says how long it is.
pub(crate) const TYPE_AT: u16 = 3;

/// The places of an event's parts, counted from the start of its entry. The decoder has checked
/// that they lie inside, and that those of names hold UTF-8. What an entry lacks is at 0 or empty.
///
/// Every event that is read carries them, so they are kept small: the byte before a text says how
/// long it is, an id stands behind the event type, and the data reach to the entry's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    /// The time that the caller gave, where `has_time` says so.
    pub(crate) created_at: Timestamp,
    pub(crate) metadata: Span,
    pub(crate) data_at: u32,
    pub(crate) schema_version: u32,
    pub(crate) content_type: u16,
    pub(crate) correlation: u16,
    pub(crate) causation: u16,
    /// Each tag is a length byte and its text.
    pub(crate) tags: Near,
    pub(crate) has_id: bool,
    pub(crate) has_time: bool,
    pub(crate) json: bool,
}

impl Parts {
    /// The id that its caller gave.
    pub(crate) fn id(&self, entry: &[u8]) -> Option<EventId> {
        let behind = usize::from(TYPE_AT) + text_at(entry, TYPE_AT).len();
        let id = entry.get(behind..).filter(|_| self.has_id)?.first_chunk()?;
        Some(EventId::from_bytes(*id))
    }

    pub(crate) fn tags<'a>(&self, entry: &'a [u8]) -> &'a [u8] {
        let start = usize::from(self.tags.at);
        entry.get(start..start + usize::from(self.tags.len)).unwrap_or_default()
    }

    pub(crate) fn metadata<'a>(&self, entry: &'a [u8]) -> &'a [u8] {
        entry.get(self.metadata.range()).unwrap_or_default()
    }

    pub(crate) fn data<'a>(&self, entry: &'a [u8]) -> &'a [u8] {
        entry.get(self.data_at as usize..).unwrap_or_default()
    }
}

/// The text at a place of an entry; empty where there is none.
pub(crate) fn text_at(entry: &[u8], at: u16) -> &[u8] {
    let at = usize::from(at);
    let len = at.checked_sub(1).and_then(|before| entry.get(before)).copied();
    entry.get(at..at + usize::from(len.unwrap_or(0))).unwrap_or_default()
}

/// A stored event: owned, `'static`, and cheap to clone. Its bytes are not copied; they are a
/// counted range of the segment's map (or of a buffer), which stays alive as long as the event.
///
/// ```
/// use annals::{ExpectedVersion, NewEvent, Store};
/// let store = Store::in_memory()?;
/// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("OrderPlaced", "{}")])?;
/// let event = store.read_all().into_iter().next().unwrap()?;
/// assert_eq!((event.stream(), event.version().0), ("Order-1", 1));
/// assert_eq!((event.event_type(), event.data()), ("OrderPlaced", &b"{}"[..]));
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone)]
pub struct Event {
    pub(crate) frame: Bytes,
    /// Where the frame has the name of the stream, and the entry.
    pub(crate) stream: Span,
    pub(crate) entry: Span,
    pub(crate) parts: Parts,
    pub(crate) position: Position,
    pub(crate) version: Version,
    pub(crate) committed_at: Timestamp,
}

impl Event {
    /// Its place in the log.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Its place in its stream.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The name of its stream.
    pub fn stream(&self) -> &str {
        let name = self.frame.as_slice().get(self.stream.range()).unwrap_or_default();
        str::from_utf8(name).unwrap_or_default()
    }

    /// The category of its stream.
    pub fn category(&self) -> &str {
        category_of(self.stream())
    }

    /// Its id: the caller's, or the one that the store assigned.
    pub fn id(&self) -> EventId {
        self.given_id().unwrap_or_else(|| EventId::assigned(self.position, self.frame.salt()))
    }

    /// The caller's id, if there is one.
    pub(crate) fn given_id(&self) -> Option<EventId> {
        self.parts.id(self.entry())
    }

    /// Whether the id was given by the caller (and not assigned by the store).
    pub const fn has_given_id(&self) -> bool {
        self.parts.has_id
    }

    /// Its type.
    pub fn event_type(&self) -> &str {
        self.text(TYPE_AT)
    }

    /// The version of the schema of its data.
    pub const fn schema_version(&self) -> u32 {
        self.parts.schema_version
    }

    /// When it happened: the time that the caller gave, else the time of its commit.
    pub fn created_at(&self) -> Timestamp {
        if self.parts.has_time { self.parts.created_at } else { self.committed_at }
    }

    /// When it was committed, by the store's clock, which never goes backwards.
    pub const fn committed_at(&self) -> Timestamp {
        self.committed_at
    }

    /// The media type of the data.
    pub fn content_type(&self) -> &str {
        if self.parts.json {
            JSON
        } else if self.parts.content_type == 0 {
            BINARY
        } else {
            self.text(self.parts.content_type)
        }
    }

    /// The id of the request or process that it belongs to.
    pub fn correlation_id(&self) -> Option<&str> {
        let at = self.parts.correlation;
        (at > 0).then(|| self.text(at))
    }

    /// The id of what caused it.
    pub fn causation_id(&self) -> Option<&str> {
        let at = self.parts.causation;
        (at > 0).then(|| self.text(at))
    }

    /// Its tags, in the order in which they were given.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        let mut rest = self.parts.tags(self.entry());
        std::iter::from_fn(move || {
            let (len, behind) = rest.split_first()?;
            let (tag, next) = behind.split_at_checked(usize::from(*len))?;
            rest = next;
            str::from_utf8(tag).ok()
        })
    }

    /// What it can be found by beside its stream, its type and its id.
    pub(crate) fn labels(&self) -> impl Iterator<Item = Label<'_>> {
        let tags = self.tags().map(Label::Tag);
        let correlation = self.correlation_id().map(Label::Correlation);
        tags.chain(correlation).chain(self.causation_id().map(Label::Causation))
    }

    /// Its metadata; empty where none was given.
    pub fn metadata(&self) -> &[u8] {
        self.parts.metadata(self.entry())
    }

    /// Its data.
    pub fn data(&self) -> &[u8] {
        self.parts.data(self.entry())
    }

    /// Its data, read as JSON (feature `json`).
    ///
    /// # Errors
    ///
    /// [`Error::Payload`] where the data is not JSON of that shape.
    #[cfg(feature = "json")]
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_slice(self.data()).map_err(|e| self.payload_error(&e))
    }

    /// Its metadata, read as JSON (feature `json`).
    ///
    /// # Errors
    ///
    /// [`Error::Payload`] where the metadata is not JSON of that shape.
    #[cfg(feature = "json")]
    pub fn metadata_json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_slice(self.metadata()).map_err(|e| self.payload_error(&e))
    }

    #[cfg(feature = "json")]
    fn payload_error(&self, e: &serde_json::Error) -> Error {
        Error::Payload { why: format!("event at position {}: {e}", self.position) }
    }

    /// The bytes of its entry.
    pub(crate) fn entry(&self) -> &[u8] {
        self.frame.as_slice().get(self.entry.range()).unwrap_or_default()
    }

    fn text(&self, at: u16) -> &str {
        str::from_utf8(text_at(self.entry(), at)).unwrap_or_default()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("position", &self.position)
            .field("stream", &self.stream())
            .field("version", &self.version)
            .field("event_type", &self.event_type())
            .field("id", &self.id())
            .field("data_bytes", &self.data().len())
            .finish_non_exhaustive()
    }
}

/// The result of an append: where its last event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The version of the append's last event in its stream.
    pub version: Version,
    /// The position of the append's last event.
    pub position: Position,
    /// The events were there already, from an earlier attempt with the same ids; nothing was
    /// written now.
    pub deduplicated: bool,
}

/// What an append answers with: for each part of it with events, mostly one, where the last of them
/// stands.
pub(crate) type Done = SmallVec<[Appended; 1]>;

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever reads collects and moves them.
    #[test]
    fn an_event_is_small() {
        assert!(size_of::<Event>() <= 96, "{}", size_of::<Event>());
    }
}
