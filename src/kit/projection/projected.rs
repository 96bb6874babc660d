//! Events as projections see them.

use crate::event::Event;
use crate::names::Label;
use crate::new_event::NewEvent;
use crate::position::{Position, Timestamp, Version};
use crate::query::Facts;

/// What a stored event reads as today: its type, schema version and data, for those whose stored
/// form is an old one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiftedPayload {
    /// The event type.
    pub event_type: String,
    /// The schema version.
    pub schema_version: u32,
    /// What the data is.
    pub content_type: String,
    /// The data.
    pub data: Vec<u8>,
}

/// An event as a projection sees it: one that is stored, or one that is about to be.
#[derive(Clone, Copy, Debug)]
pub struct Projected<'a> {
    source: Source<'a>,
    lifted: Option<&'a LiftedPayload>,
    is_replaying: bool,
}

#[derive(Clone, Copy, Debug)]
enum Source<'a> {
    Stored(&'a Event),
    New { stream: &'a str, event: &'a NewEvent },
}

impl<'a> Projected<'a> {
    pub(super) const fn stored_event(event: &'a Event, is_replaying: bool) -> Self {
        Self { source: Source::Stored(event), lifted: None, is_replaying }
    }

    pub(super) const fn new_event(stream: &'a str, event: &'a NewEvent) -> Self {
        let source = Source::New { stream, event };
        Self { source, lifted: None, is_replaying: false }
    }

    pub(super) const fn lifted_to(self, lifted: &'a LiftedPayload) -> Self {
        Self { lifted: Some(lifted), ..self }
    }

    /// The name of its stream.
    pub fn stream(&self) -> &'a str {
        match self.source {
            Source::Stored(event) => event.stream(),
            Source::New { stream, .. } => stream,
        }
    }

    /// Its type, as it reads today.
    pub fn event_type(&self) -> &'a str {
        match (self.lifted, self.source) {
            (Some(lifted), _) => &lifted.event_type,
            (None, Source::Stored(event)) => event.event_type(),
            (None, Source::New { event, .. }) => event.event_type(),
        }
    }

    /// The version of the schema of its data, as it reads today.
    pub fn schema_version(&self) -> u32 {
        match (self.lifted, self.source) {
            (Some(lifted), _) => lifted.schema_version,
            (None, Source::Stored(event)) => event.schema_version(),
            (None, Source::New { event, .. }) => event.schema_version,
        }
    }

    /// What the data is, as it reads today.
    pub fn content_type(&self) -> &'a str {
        match (self.lifted, self.source) {
            (Some(lifted), _) => &lifted.content_type,
            (None, Source::Stored(event)) => event.content_type(),
            (None, Source::New { event, .. }) => &event.content_type,
        }
    }

    /// Its data, as it reads today.
    pub fn data(&self) -> &'a [u8] {
        match (self.lifted, self.source) {
            (Some(lifted), _) => &lifted.data,
            (None, Source::Stored(event)) => event.data(),
            (None, Source::New { event, .. }) => event.data(),
        }
    }

    /// Its metadata.
    pub fn metadata(&self) -> &'a [u8] {
        match self.source {
            Source::Stored(event) => event.metadata(),
            Source::New { event, .. } => &event.metadata,
        }
    }

    /// Its data as JSON (feature `json`).
    ///
    /// # Errors
    ///
    /// [`Error::Payload`](crate::Error::Payload).
    #[cfg(feature = "json")]
    pub fn json<T: serde::Deserialize<'a>>(&self) -> crate::error::Result<T> {
        let value = serde_json::from_slice(self.data());
        value.map_err(|e| crate::error::Error::Payload { why: e.to_string() })
    }

    /// The stored event, with its id, time, tags and place; `None` where it is not stored yet,
    /// because it is projected in the commit that stores it.
    pub const fn stored(&self) -> Option<&'a Event> {
        match self.source {
            Source::Stored(event) => Some(event),
            Source::New { .. } => None,
        }
    }

    /// Its place in the log; `None` as for [`stored`](Self::stored).
    pub fn position(&self) -> Option<Position> {
        self.stored().map(Event::position)
    }

    /// Its place in its stream; `None` as for [`stored`](Self::stored).
    pub fn version(&self) -> Option<Version> {
        self.stored().map(Event::version)
    }

    /// Whether the view that this one is built to replace has taken it in before: side effects were
    /// done then.
    pub const fn is_replaying(&self) -> bool {
        self.is_replaying
    }
}

/// As it is stored: queries name what is.
impl Facts for Projected<'_> {
    fn stream(&self) -> &str {
        Projected::stream(self)
    }

    fn event_type(&self) -> &str {
        match self.source {
            Source::Stored(event) => event.event_type(),
            Source::New { event, .. } => event.event_type(),
        }
    }

    fn created_at(&self) -> Timestamp {
        match self.source {
            Source::Stored(event) => event.created_at(),
            // Inline projections have no query that asks for it.
            Source::New { event, .. } => event.created_at.unwrap_or(Timestamp::from_micros(0)),
        }
    }

    fn has_label(&self, label: Label<'_>) -> bool {
        match (self.source, label) {
            (Source::Stored(event), label) => event.has_label(label),
            (Source::New { event, .. }, Label::Tag(tag)) => event.tags.iter().any(|t| t == tag),
            (Source::New { event, .. }, Label::Correlation(id)) => {
                event.correlation.as_deref() == Some(id)
            }
            (Source::New { event, .. }, Label::Causation(id)) => {
                event.causation.as_deref() == Some(id)
            }
        }
    }
}
