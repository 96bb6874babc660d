//! Events to append: as a caller gives them.

use std::borrow::Cow;
use std::fmt;

use crate::error::{Error, Result};
use crate::event::BINARY;
#[cfg(feature = "json")]
use crate::event::JSON;
use crate::names::{self, EventId, MAX_TAGS};
use crate::options::Limits;
use crate::position::Timestamp;

/// An event to append.
///
/// Names, sizes and tags are checked when it is appended.
///
/// ```
/// use annals::NewEvent;
/// let event = NewEvent::new("OrderPlaced", r#"{"total":42}"#)
///     .tag("customer:7")
///     .correlation("request-1")
///     .schema_version(2);
/// assert_eq!(event.event_type(), "OrderPlaced");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct NewEvent {
    pub(crate) id: Option<EventId>,
    pub(crate) event_type: String,
    pub(crate) schema_version: u32,
    pub(crate) content_type: Cow<'static, str>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) tags: Vec<String>,
    pub(crate) correlation: Option<String>,
    pub(crate) causation: Option<String>,
    pub(crate) metadata: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

impl NewEvent {
    /// An event of a type with bytes as its data.
    pub fn new(event_type: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self {
            id: None,
            event_type: event_type.into(),
            schema_version: 1,
            content_type: Cow::Borrowed(BINARY),
            created_at: None,
            tags: Vec::new(),
            correlation: None,
            causation: None,
            metadata: Vec::new(),
            data: data.into(),
        }
    }

    /// An event of a type with a value as JSON as its data (feature `json`).
    ///
    /// # Errors
    ///
    /// [`Error::Payload`] where the value cannot be written as JSON.
    ///
    /// ```
    /// use annals::NewEvent;
    /// let event = NewEvent::json("OrderPaid", &("cash", 42))?;
    /// assert_eq!(event.data(), br#"["cash",42]"#);
    /// # Ok::<(), annals::Error>(())
    /// ```
    #[cfg(feature = "json")]
    pub fn json<T>(event_type: impl Into<String>, data: &T) -> Result<Self>
    where
        T: serde::Serialize + ?Sized,
    {
        let data = serde_json::to_vec(data).map_err(|e| Error::Payload { why: e.to_string() })?;
        Ok(Self { content_type: Cow::Borrowed(JSON), ..Self::new(event_type, data) })
    }

    /// Gives the event an id, which makes appending it safe to retry, for ever.
    pub fn id(mut self, id: impl Into<EventId>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The id of the request or process that the event belongs to: 1 to 255 bytes.
    pub fn correlation(mut self, id: impl Into<String>) -> Self {
        self.correlation = Some(id.into());
        self
    }

    /// The id of what caused the event: 1 to 255 bytes.
    pub fn causation(mut self, id: impl Into<String>) -> Self {
        self.causation = Some(id.into());
        self
    }

    /// Adds a tag: 1 to 255 bytes, by convention `key:value`. At most 64; one given twice counts
    /// once.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        let tag = tag.into();
        if !self.tags.contains(&tag) {
            self.tags.push(tag);
        }
        self
    }

    /// Adds tags, as [`NewEvent::tag`] does one.
    pub fn tags<T: Into<String>>(self, tags: impl IntoIterator<Item = T>) -> Self {
        tags.into_iter().fold(self, Self::tag)
    }

    /// Bytes about the event that are not its data; by convention JSON.
    pub fn metadata(mut self, metadata: impl Into<Vec<u8>>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// A value as JSON as the metadata (feature `json`).
    ///
    /// # Errors
    ///
    /// [`Error::Payload`] where the value cannot be written as JSON.
    #[cfg(feature = "json")]
    pub fn metadata_json<T: serde::Serialize + ?Sized>(self, metadata: &T) -> Result<Self> {
        let bytes =
            serde_json::to_vec(metadata).map_err(|e| Error::Payload { why: e.to_string() })?;
        Ok(self.metadata(bytes))
    }

    /// The version of the data's schema; 1 unless given.
    pub fn schema_version(mut self, version: u32) -> Self {
        self.schema_version = version;
        self
    }

    /// When the event happened, where that is not when it is stored: history keeps its dates.
    pub fn created_at(mut self, time: impl Into<Timestamp>) -> Self {
        self.created_at = Some(time.into());
        self
    }

    /// What the data is: a media type of 1 to 255 bytes. `application/octet-stream` unless given.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Cow::Owned(content_type.into());
        self
    }

    /// The event type.
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The data.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Checks everything about the event that does not depend on where it goes.
    pub(crate) fn check(&self, limits: &Limits) -> Result<()> {
        names::check_event_type(&self.event_type)?;
        // What is borrowed is a name of our own.
        if let Cow::Owned(content_type) = &self.content_type {
            names::check_label("content type", content_type)?;
        }
        for (what, label) in
            [("correlation id", &self.correlation), ("causation id", &self.causation)]
        {
            if let Some(label) = label {
                names::check_label(what, label)?;
            }
        }
        if self.tags.len() > MAX_TAGS {
            let found = self.tags.len() as u64;
            return Err(Error::limit("tags of an event", MAX_TAGS as u64, found));
        }
        for tag in &self.tags {
            names::check_label("tag", tag)?;
        }
        if self.id.is_some_and(|id| id.is_nil()) {
            return Err(Error::InvalidName {
                what: "event id",
                name: EventId::from_bytes([0; 16]).to_string(),
                why: "the nil UUID is not an id",
            });
        }
        let bytes = self.data.len() as u64 + self.metadata.len() as u64;
        if bytes > limits.event_bytes {
            return Err(Error::limit("bytes of an event", limits.event_bytes, bytes));
        }
        Ok(())
    }
}

impl fmt::Debug for NewEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Payloads do not belong into logs.
        f.debug_struct("NewEvent")
            .field("event_type", &self.event_type)
            .field("id", &self.id)
            .field("data_bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}
