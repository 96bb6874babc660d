//! An event as it reads today.

use crate::error::{Error, Result};
use crate::event::Event;
use crate::position::{Position, Version};

use super::super::typed::{EventSet, Payload, PayloadRef};

/// A stored event as it reads today, or one part of what it became.
///
/// What a step does not touch (position, version, stream, ids, tags, times, metadata) is that of
/// the [stored](Self::stored) event, the same for all its parts.
///
/// ```
/// use annals::kit::{Payload, Upcasts};
/// use annals::{ExpectedVersion, NewEvent, Store};
/// let upcasts = Upcasts::builder()
///     .split(("Moved", 1), &[("Left", 1), ("Arrived", 1)], |payload| {
///         let part = |name: &str| Payload { event_type: name.into(), ..payload.to_owned() };
///         Ok(vec![part("Left"), part("Arrived")])
///     })
///     .build()?;
/// let store = Store::in_memory()?;
/// store.append("Parcel-1", ExpectedVersion::Any, [NewEvent::new("Moved", "")])?;
/// let parts: Vec<_> = upcasts.read_stream(&store, "Parcel-1").collect::<annals::Result<_>>()?;
/// assert_eq!((parts[1].event_type(), parts[1].version().0), ("Arrived", 1));
/// assert_eq!((parts[1].part(), parts[1].is_last_part()), (2, true));
/// assert_eq!(parts[1].stored().event_type(), "Moved");
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lifted {
    stored: Event,
    /// What it became; missing where it is as it is stored.
    payload: Option<Payload>,
    part: u32,
    parts: u32,
}

impl Lifted {
    pub(super) const fn unchanged(stored: Event) -> Self {
        Self { stored, payload: None, part: 1, parts: 1 }
    }

    pub(super) fn parts(stored: &Event, payloads: Vec<Payload>) -> Vec<Self> {
        let parts = u32::try_from(payloads.len()).unwrap_or(u32::MAX);
        let of = |(payload, part)| {
            let stored = stored.clone();
            Self { stored, payload: Some(payload), part, parts }
        };
        payloads.into_iter().zip(1..).map(of).collect()
    }

    /// The stored event.
    pub const fn stored(&self) -> &Event {
        &self.stored
    }

    /// The place of the stored event in the log.
    pub const fn position(&self) -> Position {
        self.stored.position()
    }

    /// The place of the stored event in its stream.
    pub const fn version(&self) -> Version {
        self.stored.version()
    }

    /// The stream.
    pub fn stream(&self) -> &str {
        self.stored.stream()
    }

    /// The type that it has today.
    pub fn event_type(&self) -> &str {
        self.payload().event_type
    }

    /// The schema version that it has today.
    pub fn schema_version(&self) -> u32 {
        self.payload().schema_version
    }

    /// The data that it has today.
    pub fn data(&self) -> &[u8] {
        self.payload().data
    }

    /// Type, version and data as they are today.
    pub fn payload(&self) -> PayloadRef<'_> {
        match &self.payload {
            Some(payload) => payload.as_ref(),
            None => PayloadRef::of(&self.stored),
        }
    }

    /// Which part of what the stored event became this is, from 1 on.
    pub const fn part(&self) -> u32 {
        self.part
    }

    /// Whether no part of the same stored event comes behind this one.
    pub const fn is_last_part(&self) -> bool {
        self.part == self.parts
    }

    /// The event as one of a set of types.
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] with its position; see [`EventSet::from_payload`].
    pub fn decode<E: EventSet>(&self) -> Result<E> {
        E::from_payload(self.payload()).map_err(|e| match e {
            Error::Schema(schema) => Error::Schema(schema.at(self.position())),
            e => e,
        })
    }

    /// Its data of today, read as JSON (feature `json`).
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] with its position.
    #[cfg(feature = "json")]
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_slice(self.data()).map_err(|e| {
            let why = e.to_string();
            let found = self.payload().stored_as();
            let error = crate::error::SchemaError::Undecodable { found, why };
            Error::Schema(error.at(self.position()))
        })
    }
}
