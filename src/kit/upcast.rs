//! Schema evolution: stored events as what they would be today. Stored bytes never change.

mod build;
mod chains;
mod events;
mod lifted;
mod parts;
mod projected;
#[cfg(feature = "json")]
mod rules;
#[cfg(feature = "async")]
mod stream;
mod subscription;

use std::fmt;

use crate::error::Result;
use crate::event::Event;
use crate::query::Query;
use crate::reader::AllEvents;
use crate::reader::StreamEvents;
use crate::store::Store;
use crate::sync::Arc;

use super::projection::{ApplyError, LiftedPayload, Projected};
use super::typed::{Payload, PayloadRef};
pub use build::UpcastsBuilder;
use chains::Chains;
pub use chains::StepResult;
pub use events::LiftedEvents;
pub use lifted::Lifted;
#[cfg(feature = "async")]
pub use stream::LiftedStream;
pub use subscription::{LiftedSubscribe, LiftedSubscription};

/// What a projection sees in place of an event: see [`super::ProjectorBuilder::lift`].
type Payloads = Option<Vec<LiftedPayload>>;

/// Chains of steps that bring stored events to what they would be today, each from one version of a
/// type to the next: by changing fields, under another name, as several events, or as none.
///
/// They work wherever events are read: [`read`](Self::read) and [`read_stream`](Self::read_stream),
/// [`subscribe`](Self::subscribe), and for an event that came by any other way (a consumer group, a
/// parked event, a stream for a task, a follower's handle) [`lift`](Self::lift). A repository and
/// its decider see lifted events alone.
///
/// Of an event that became several, each [part](Lifted::part) has its position and version; a
/// cursor moves behind the last of them. An event that became none moves it too.
///
/// Clones share the steps. The default has none.
///
/// ```
/// # #[cfg(feature = "json")] {
/// use annals::kit::Upcasts;
/// use annals::{ExpectedVersion, NewEvent, Query, Store};
/// let upcasts = Upcasts::builder()
///     .change("OrderPlaced", 1, |fields| {
///         let cents = fields.remove("total").and_then(|t| t.as_u64()).ok_or("no total")?;
///         fields.insert("total_cents".into(), (cents * 100).into());
///         Ok(())
///     })
///     .rename(("OrderSent", 1), ("OrderShipped", 1))
///     .drop_event("OrderViewed", 1)
///     .build()?;
///
/// let store = Store::in_memory()?;
/// for name in ["OrderPlaced", "OrderViewed", "OrderSent"] {
///     let event = NewEvent::new(name, r#"{"total":4}"#);
///     store.append("Order-1", ExpectedVersion::Any, [event])?;
/// }
/// let mut today = Vec::new();
/// for event in upcasts.read_stream(&store, "Order-1") {
///     let event = event?;
///     today.push((event.version().0, event.event_type().to_owned(), event.schema_version()));
/// }
/// assert_eq!(today, [(1, "OrderPlaced".into(), 2), (3, "OrderShipped".into(), 1)]);
///
/// // Queries name types of today.
/// let shipped = upcasts.read(&store, Query::new().event_type("OrderShipped"));
/// assert_eq!(shipped.count(), 1);
/// # }
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Upcasts {
    chains: Arc<Chains>,
}

impl Upcasts {
    /// Begins to describe steps.
    pub fn builder() -> UpcastsBuilder {
        UpcastsBuilder::default()
    }

    /// Steps from the text of a file, for tools into which no code can be loaded (feature `json`).
    ///
    /// A JSON object with a list `steps`. Each step has the `type` that it begins at, and its
    /// `version` (1 where absent). It leads `to` the next version of that type, or to another
    /// `type` and `version`; or it says `"drop": true`. In between it changes the fields of the
    /// data, a JSON object, in this order: `keep` (a list: all others go), `rename` (old name to
    /// new), `remove` (a list), `set` (name to value), `default` (the same, where the field is
    /// absent). A field that is kept, renamed or removed may be absent. A step with `split`, a list
    /// of parts, makes several events of one, in this order: each part has `to` and such changes of
    /// its own, and begins with all fields. Beside the steps `current` may say the version that
    /// each type has today, which is then [checked](UpcastsBuilder::current).
    ///
    /// ```
    /// use annals::kit::{Payload, Upcasts, codec};
    /// let upcasts = Upcasts::from_json(
    ///     r#"{
    ///         "current": {"OrderPlaced": 2, "OrderShipped": 1, "OrderLeft": 1, "OrderArrived": 1},
    ///         "steps": [
    ///             {"type": "OrderPlaced", "rename": {"total": "cents"}, "set": {"in": "EUR"}},
    ///             {"type": "OrderSent", "to": {"type": "OrderShipped"}, "default": {"by": null}},
    ///             {"type": "OrderViewed", "drop": true},
    ///             {"type": "OrderMoved", "split": [
    ///                 {"to": {"type": "OrderLeft"}, "keep": ["from"]},
    ///                 {"to": {"type": "OrderArrived"}, "keep": ["at"]}
    ///             ]}
    ///         ]
    ///     }"#,
    /// )?;
    /// let old = Payload::new("OrderPlaced", 1, codec::JSON, r#"{"total":4}"#);
    /// let lifted = upcasts.lift_payload(old.as_ref())?;
    /// assert_eq!(lifted[0].data, br#"{"cents":4,"in":"EUR"}"#);
    /// let moved = Payload::new("OrderMoved", 1, codec::JSON, r#"{"from":"here","at":"sea"}"#);
    /// let parts = upcasts.lift_payload(moved.as_ref())?;
    /// assert_eq!((parts.len(), parts[1].event_type.as_str()), (2, "OrderArrived"));
    /// assert_eq!(parts[1].data, br#"{"at":"sea"}"#);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOptions`](crate::Error::InvalidOptions) where the text is not of this shape,
    /// which says where; [`SchemaError::Chain`](crate::SchemaError::Chain) where the steps do not
    /// go together.
    #[cfg(feature = "json")]
    pub fn from_json(text: &str) -> Result<Self> {
        rules::read(text)?.build()
    }

    /// Whether there are no steps: every event is read as it is stored.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// What a payload would be today: itself, something else, several things or nothing. Steps run
    /// one after the other; it costs what they cost.
    ///
    /// # Errors
    ///
    /// [`SchemaError::StepFailed`](crate::SchemaError::StepFailed), without a position.
    ///
    /// ```
    /// use annals::kit::{Payload, Upcasts, codec};
    /// let upcasts = Upcasts::builder().rename(("Sent", 1), ("Shipped", 1)).build()?;
    /// let lifted = upcasts.lift_payload(Payload::new("Sent", 1, codec::RAW, "").as_ref())?;
    /// assert_eq!(lifted[0].event_type, "Shipped");
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn lift_payload(&self, payload: PayloadRef<'_>) -> Result<Vec<Payload>> {
        Ok(self.chains.lift(payload)?.unwrap_or_else(|| vec![payload.to_owned()]))
    }

    /// Whether an event is today what it was when it was stored.
    ///
    /// ```
    /// use annals::kit::Upcasts;
    /// use annals::{ExpectedVersion, NewEvent, Position, Store};
    /// let store = Store::in_memory()?;
    /// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("Sent", "")])?;
    /// let upcasts = Upcasts::builder().rename(("Sent", 1), ("Shipped", 1)).build()?;
    /// assert!(!upcasts.is_current(&store.event(Position(1))?.unwrap()));
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn is_current(&self, event: &Event) -> bool {
        self.chains.is_current(event)
    }

    /// What an event would be today: the parts that it became, in order; none where it was dropped.
    /// One that needs no step is not copied.
    ///
    /// # Errors
    ///
    /// [`SchemaError::StepFailed`](crate::SchemaError::StepFailed) with its position.
    ///
    /// ```
    /// use annals::kit::Upcasts;
    /// use annals::{ExpectedVersion, NewEvent, Position, Store};
    /// let store = Store::in_memory()?;
    /// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("Viewed", "")])?;
    /// let upcasts = Upcasts::builder().drop_event("Viewed", 1).build()?;
    /// assert!(upcasts.lift(&store.event(Position(1))?.unwrap())?.is_empty());
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn lift(&self, event: &Event) -> Result<Vec<Lifted>> {
        self.chains.lift_event(event)
    }

    /// The events of any read, lifted. Parts stand in their order, also where the read goes
    /// backwards. Where a query is to be held against what events are today,
    /// [`expand`](Self::expand) it for the read, and say it again with
    /// [`LiftedEvents::matching`].
    pub fn apply<I>(&self, events: I) -> LiftedEvents<I::IntoIter>
    where
        I: IntoIterator<Item = Result<Event>>,
    {
        LiftedEvents::new(&self.chains, events.into_iter())
    }

    /// The events that match a query today, in the order of their positions. Types in the query are
    /// types of today.
    pub fn read(&self, store: &Store, query: Query) -> LiftedEvents<AllEvents> {
        self.apply(store.read(self.expand(query.clone()))).matching(query)
    }

    /// The events of a stream, as they are today.
    pub fn read_stream(
        &self,
        store: &Store,
        stream: impl AsRef<str>,
    ) -> LiftedEvents<StreamEvents> {
        self.apply(store.read_stream(stream))
    }

    /// A query that finds, among the stored events, all that can match the given one once they are
    /// lifted: in the place of each type stand the stored types that can become it, and the type
    /// itself. It finds too much where only some versions of a type become another; what was found
    /// is to be held against the query itself.
    ///
    /// ```
    /// use annals::Query;
    /// use annals::kit::Upcasts;
    /// let upcasts = Upcasts::builder().rename(("Sent", 1), ("Shipped", 1)).build()?;
    /// let stored = upcasts.expand(Query::new().event_type("Shipped"));
    /// assert_eq!(stored, Query::new().types(["Sent", "Shipped"]));
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn expand(&self, query: Query) -> Query {
        self.chains.expand(query)
    }

    /// Describes a subscription to the events that match a query today.
    pub fn subscribe(&self, store: &Store, query: Query) -> LiftedSubscribe {
        LiftedSubscribe::new(&self.chains, store, query)
    }

    /// What [`ProjectorBuilder::lift`](super::ProjectorBuilder::lift) takes, so that a projection
    /// sees events as they are today. The projection's query names stored types:
    /// [`expand`](Self::expand) it there.
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// use annals::kit::{ApplyError, AsJson, Projected, Projection, Projector};
    /// use annals::kit::{Upcasts, ViewChanges};
    /// use annals::{ExpectedVersion, NewEvent, Store};
    /// struct Types;
    /// impl Projection for Types {
    ///     type Key = String;
    ///     type Value = u64;
    ///     type Codec = AsJson;
    ///     fn name(&self) -> &str {
    ///         "types"
    ///     }
    ///     fn apply(
    ///         &self,
    ///         event: &Projected<'_>,
    ///         view: &mut ViewChanges<String, u64, AsJson>,
    ///     ) -> Result<(), ApplyError> {
    ///         let name = event.event_type().to_owned();
    ///         Ok(view.change(&name, |count| Some(count.unwrap_or(0) + 1))?)
    ///     }
    /// }
    /// let upcasts = Upcasts::builder()
    ///     .rename(("Sent", 1), ("Shipped", 1))
    ///     .drop_event("Viewed", 1)
    ///     .build()?;
    /// let store = Store::in_memory()?;
    /// for name in ["Sent", "Viewed", "Shipped"] {
    ///     store.append("Order-1", ExpectedVersion::Any, [NewEvent::new(name, "")])?;
    /// }
    /// let projector = Projector::builder(&store, Types).lift(upcasts.for_projection());
    /// let mut projector = projector.start()?;
    /// projector.run_until_caught_up()?;
    /// assert_eq!(projector.view().get(&"Shipped".to_owned())?, Some(2));
    /// assert_eq!(projector.view().get(&"Viewed".to_owned())?, None);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn for_projection(
        &self,
    ) -> impl Fn(&Projected<'_>) -> Result<Payloads, ApplyError> + Send + Sync + use<> {
        let upcasts = self.clone();
        move |event| upcasts.chains.lift_projected(event)
    }

    /// The types that were said to be [current](UpcastsBuilder::current), with their versions, in
    /// order of their names.
    ///
    /// ```
    /// use annals::kit::Upcasts;
    /// let upcasts = Upcasts::builder().current_type("Shipped", 2).build()?;
    /// assert_eq!(upcasts.current_types(), [("Shipped", 2)]);
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn current_types(&self) -> Vec<(&str, u32)> {
        self.chains.current.iter().map(|(name, version)| (name.as_str(), *version)).collect()
    }

    /// The stored types and versions that have a step, in order.
    ///
    /// ```
    /// use annals::kit::Upcasts;
    /// let upcasts = Upcasts::builder().drop_event("Viewed", 1).build()?;
    /// assert_eq!(upcasts.steps(), [("Viewed", 1)]);
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn steps(&self) -> Vec<(&str, u32)> {
        self.chains.steps()
    }
}

impl UpcastsBuilder {
    /// The upcasts, once it is checked that they go together.
    ///
    /// # Errors
    ///
    /// [`SchemaError::Chain`](crate::SchemaError::Chain): two steps that begin at the same type and
    /// version; a circle; a version without a step between others that have one; a step that leads
    /// to another version of its type than the next; where [current](Self::current) types were
    /// named, a chain that ends elsewhere, or a step that begins at one of them.
    ///
    /// ```
    /// use annals::kit::Upcasts;
    /// use annals::{ChainFault, Error, SchemaError};
    /// let circle = Upcasts::builder().rename(("A", 1), ("B", 1)).rename(("B", 1), ("A", 1));
    /// let Err(Error::Schema(SchemaError::Chain { fault, .. })) = circle.build() else { panic!() };
    /// assert_eq!(fault, ChainFault::Cycle);
    /// ```
    pub fn build(self) -> Result<Upcasts> {
        Ok(Upcasts { chains: Arc::new(self.checked()?) })
    }
}

impl fmt::Debug for Upcasts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upcasts").field("steps", &self.steps()).finish()
    }
}
