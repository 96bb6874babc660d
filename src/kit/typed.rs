//! Typed events: Rust types with a stored name and a schema version.

pub mod codec;
mod payload;

use crate::error::{Error, Result};
use crate::event::Event;
use crate::new_event::NewEvent;
pub use payload::{Payload, PayloadRef, Schema};

/// One type of event: its stored name, its schema version, and how it becomes bytes.
///
/// The derive (feature `derive`) writes it for a struct; the name is always said, so that the
/// struct may be renamed, and moved, at any time. Data of older versions is brought to the current
/// one by upcasts when it is read.
///
/// ```
/// # #[cfg(all(feature = "derive", feature = "json"))] {
/// use annals::kit::{EventSet, TypedEvent};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(TypedEvent, Serialize, Deserialize)]
/// #[event(name = "OrderPlaced", version = 2)]
/// struct OrderPlaced {
///     #[event(tag = "customer")]
///     customer: u32,
///     total: u64,
/// }
///
/// let event = OrderPlaced { customer: 7, total: 42 }.to_event()?;
/// assert_eq!(event.event_type(), "OrderPlaced");
/// assert_eq!(event.data(), br#"{"customer":7,"total":42}"#);
/// # }
/// # Ok::<(), annals::Error>(())
/// ```
///
/// By hand, for bytes of one's own:
///
/// ```
/// use annals::kit::{EventSet, PayloadRef, TypedEvent, codec};
/// use annals::{ExpectedVersion, Result, Store};
///
/// struct Photo(Vec<u8>);
///
/// impl TypedEvent for Photo {
///     const NAME: &'static str = "PhotoTaken";
///     const VERSION: u32 = 1;
///     const CONTENT_TYPE: &'static str = codec::RAW;
///
///     fn encode(&self) -> Result<Vec<u8>> {
///         Ok(self.0.clone())
///     }
///     fn decode(payload: PayloadRef<'_>) -> Result<Self> {
///         Ok(Self(payload.data.to_vec()))
///     }
/// }
///
/// let store = Store::in_memory()?;
/// store.append("Album-1", ExpectedVersion::Any, [Photo(vec![1, 2]).to_event()?])?;
/// for event in store.read_stream("Album-1") {
///     assert_eq!(Photo::from_event(&event?)?.0, [1, 2]);
/// }
/// # Ok::<(), annals::Error>(())
/// ```
pub trait TypedEvent: Sized {
    /// The event type, as it is stored.
    const NAME: &'static str;
    /// The schema version that is written today; from 1 on.
    const VERSION: u32;
    /// The content type that is stored with the bytes.
    const CONTENT_TYPE: &'static str;

    /// The data of the event.
    ///
    /// # Errors
    ///
    /// [`Error::Payload`] where it cannot be written.
    fn encode(&self) -> Result<Vec<u8>>;

    /// The event from data of the current version.
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] where the data is not what [`encode`](Self::encode) writes.
    fn decode(payload: PayloadRef<'_>) -> Result<Self>;

    /// The tags that the event gets; none unless said otherwise.
    fn tags(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A set of event types, such as those of one decider: mostly an enum with a variant for each.
///
/// Each [`TypedEvent`] is a set of one. The derive (feature `derive`) writes it for an enum; a
/// variant has named fields, none, or is around one value. Each says its stored name, or is
/// `typed`, where the value's type does.
///
/// ```
/// # #[cfg(all(feature = "derive", feature = "json"))] {
/// use annals::kit::EventSet;
/// use annals::{ExpectedVersion, Store};
///
/// #[derive(EventSet, Debug, PartialEq)]
/// enum Order {
///     #[event(name = "OrderPlaced", version = 2)]
///     Placed {
///         #[event(tag = "customer")]
///         customer: u32,
///         total: u64,
///     },
///     #[event(name = "OrderShipped")]
///     Shipped,
///     #[event(name = "LabelPrinted", codec = "raw")]
///     Label(Vec<u8>),
/// }
///
/// let store = Store::in_memory()?;
/// let events = [Order::Placed { customer: 7, total: 42 }, Order::Shipped, Order::Label(vec![1])];
/// let new = events.iter().map(EventSet::to_event).collect::<annals::Result<Vec<_>>>()?;
/// store.append("Order-1", ExpectedVersion::NoStream, new)?;
/// for (event, written) in store.read_stream("Order-1").into_iter().zip(&events) {
///     assert_eq!(Order::from_event(&event?)?, *written);
/// }
/// let placed = store.read_all().tag("customer:7").into_iter().next().unwrap()?;
/// assert_eq!(placed.schema_version(), 2);
/// # }
/// # Ok::<(), annals::Error>(())
/// ```
///
/// A stored name that stands twice does not compile, also where a type says it itself:
///
/// ```compile_fail
/// use annals::kit::{EventSet, TypedEvent};
/// #[derive(TypedEvent, serde::Serialize, serde::Deserialize)]
/// #[event(name = "OrderPlaced")]
/// struct Placed;
/// #[derive(EventSet)]
/// enum Order {
///     #[event(typed)]
///     Placed(Placed),
///     #[event(name = "OrderPlaced")]
///     Again,
/// }
/// ```
pub trait EventSet: Sized {
    /// The types of the set, each with the version that it has today. Names are unique.
    const SCHEMAS: &'static [Schema];

    /// The type, version and data of the event.
    ///
    /// # Errors
    ///
    /// [`Error::Payload`] where it cannot be written.
    fn to_payload(&self) -> Result<Payload>;

    /// The event from a type, a version and data.
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] where the set does not have the type, or has it at another version, or the
    /// data is not what the type's codec writes.
    fn from_payload(payload: PayloadRef<'_>) -> Result<Self>;

    /// The tags that the event gets; none unless said otherwise.
    fn tags(&self) -> Vec<String> {
        Vec::new()
    }

    /// The event as it is appended.
    ///
    /// # Errors
    ///
    /// As [`to_payload`](Self::to_payload).
    fn to_event(&self) -> Result<NewEvent> {
        Ok(self.to_payload()?.into_event().tags(self.tags()))
    }

    /// The event from a stored one of a current version. Older ones are for upcasts.
    ///
    /// # Errors
    ///
    /// As [`from_payload`](Self::from_payload), with the event's position.
    fn from_event(event: &Event) -> Result<Self> {
        Self::from_payload(PayloadRef::of(event)).map_err(|e| match e {
            Error::Schema(schema) => Error::Schema(schema.at(event.position())),
            e => e,
        })
    }
}

impl<T: TypedEvent> EventSet for T {
    const SCHEMAS: &'static [Schema] = &[Schema::new(T::NAME, T::VERSION)];

    fn to_payload(&self) -> Result<Payload> {
        Ok(Payload::new(T::NAME, T::VERSION, T::CONTENT_TYPE, self.encode()?))
    }

    fn from_payload(payload: PayloadRef<'_>) -> Result<Self> {
        if payload.event_type != T::NAME {
            return Err(payload.unknown_type());
        }
        payload.expect_version(T::VERSION)?;
        T::decode(payload)
    }

    fn tags(&self) -> Vec<String> {
        TypedEvent::tags(self)
    }
}
