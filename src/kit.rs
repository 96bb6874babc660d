//! What applications build on the store: on its public calls alone.

mod group;
mod typed;
mod upcast;

#[cfg(feature = "derive")]
pub use annals_derive::{EventSet, TypedEvent};
pub use group::{
    Consumer, ConsumerGroup, ConsumerInfo, Delivery, GroupBuilder, GroupInfo, ParkedEvent,
    ParkedPolicy,
};
pub use typed::{EventSet, Payload, PayloadRef, Schema, TypedEvent, codec};
pub use upcast::{
    Lifted, LiftedEvents, LiftedSubscribe, LiftedSubscription, StepResult, Upcasts, UpcastsBuilder,
};
