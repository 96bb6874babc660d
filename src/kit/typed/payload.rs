//! What an event says, apart from where it stands: type, version, data.

use std::fmt;

use crate::error::{Error, Result, SchemaError, StoredAs};
use crate::event::Event;
use crate::new_event::NewEvent;

/// An event type and a schema version of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Schema {
    /// The event type, as it is stored.
    pub event_type: &'static str,
    /// The schema version.
    pub version: u32,
}

impl Schema {
    /// A type at a version.
    pub const fn new(event_type: &'static str, version: u32) -> Self {
        Self { event_type, version }
    }

    /// Whether no two have the same event type. Callable where constants are computed, so that a
    /// set with a name twice does not compile.
    ///
    /// ```
    /// use annals::kit::Schema;
    /// const ORDER: [Schema; 2] = [Schema::new("OrderPlaced", 2), Schema::new("OrderPaid", 1)];
    /// const _: () = assert!(Schema::are_distinct(&ORDER));
    /// ```
    pub const fn are_distinct(schemas: &[Self]) -> bool {
        let mut rest = schemas;
        while let [first, behind @ ..] = rest {
            let mut others = behind;
            while let [other, more @ ..] = others {
                if is_same(first.event_type.as_bytes(), other.event_type.as_bytes()) {
                    return false;
                }
                others = more;
            }
            rest = behind;
        }
        true
    }
}

const fn is_same(mut a: &[u8], mut b: &[u8]) -> bool {
    while let ([x, more_a @ ..], [y, more_b @ ..]) = (a, b) {
        if *x != *y {
            return false;
        }
        (a, b) = (more_a, more_b);
    }
    a.is_empty() && b.is_empty()
}

/// What an event says: its type, the schema version, how its data is encoded, and the data.
///
/// ```
/// use annals::kit::{Payload, codec};
/// let payload = Payload::new("PhotoTaken", 1, codec::RAW, vec![1, 2]);
/// assert_eq!(payload.as_ref().data, [1, 2]);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    /// The event type.
    pub event_type: String,
    /// The schema version.
    pub schema_version: u32,
    /// How the data is encoded.
    pub content_type: String,
    /// The data.
    pub data: Vec<u8>,
}

impl Payload {
    /// A payload of these parts.
    pub fn new(
        event_type: impl Into<String>,
        schema_version: u32,
        content_type: impl Into<String>,
        data: impl Into<Vec<u8>>,
    ) -> Self {
        Self {
            event_type: event_type.into(),
            schema_version,
            content_type: content_type.into(),
            data: data.into(),
        }
    }

    /// The same, borrowed.
    pub fn as_ref(&self) -> PayloadRef<'_> {
        PayloadRef {
            event_type: &self.event_type,
            schema_version: self.schema_version,
            content_type: &self.content_type,
            data: &self.data,
        }
    }

    /// An event of it, to append.
    pub fn into_event(self) -> NewEvent {
        NewEvent::new(self.event_type, self.data)
            .schema_version(self.schema_version)
            .content_type(self.content_type)
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// A borrowed [`Payload`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PayloadRef<'a> {
    /// The event type.
    pub event_type: &'a str,
    /// The schema version.
    pub schema_version: u32,
    /// How the data is encoded.
    pub content_type: &'a str,
    /// The data.
    pub data: &'a [u8],
}

impl<'a> PayloadRef<'a> {
    /// What a stored event says.
    pub fn of(event: &'a Event) -> Self {
        Self {
            event_type: event.event_type(),
            schema_version: event.schema_version(),
            content_type: event.content_type(),
            data: event.data(),
        }
    }

    /// Its type and version, for an error.
    pub fn stored_as(self) -> StoredAs {
        StoredAs::new(self.event_type, self.schema_version)
    }

    /// The same with data of its own.
    pub fn to_owned(self) -> Payload {
        Payload::new(self.event_type, self.schema_version, self.content_type, self.data)
    }

    /// That a set does not have its type: for [`EventSet::from_payload`](super::EventSet).
    pub fn unknown_type(self) -> Error {
        Error::Schema(SchemaError::UnknownType { found: self.stored_as() })
    }

    /// That its data is not what the type's codec writes: for
    /// [`TypedEvent::decode`](super::TypedEvent::decode).
    pub fn undecodable(self, why: impl fmt::Display) -> Error {
        let (found, why) = (self.stored_as(), why.to_string());
        Error::Schema(SchemaError::Undecodable { found, why })
    }

    /// Refuses another version than the one that the type has today.
    ///
    /// # Errors
    ///
    /// [`SchemaError::UnknownVersion`].
    pub fn expect_version(self, current: u32) -> Result<()> {
        if self.schema_version == current {
            return Ok(());
        }
        let found = self.stored_as();
        Err(Error::Schema(SchemaError::UnknownVersion { found, current }))
    }
}

impl fmt::Debug for PayloadRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Payloads do not belong into logs.
        f.debug_struct("Payload")
            .field("event_type", &self.event_type)
            .field("schema_version", &self.schema_version)
            .field("content_type", &self.content_type)
            .field("data_bytes", &self.data.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_with_a_name_twice_are_told() {
        let of = |names: &[&'static str]| -> Vec<_> {
            names.iter().map(|name| Schema::new(name, 1)).collect()
        };
        for good in [&[][..], &["a"], &["a", "b", "ab", "ba"], &["", "a"]] {
            assert!(Schema::are_distinct(&of(good)), "{good:?}");
        }
        for bad in [&["a", "a"][..], &["x", "ab", "y", "ab"], &["", ""]] {
            assert!(!Schema::are_distinct(&of(bad)), "{bad:?}");
        }
    }
}
