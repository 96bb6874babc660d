//! What applications build on the store: on its public calls alone.

mod decider;
mod group;
mod reaction;
mod repository;
mod scenario;
mod schema;
mod typed;
mod upcast;

#[cfg(feature = "derive")]
pub use annals_derive::{EventSet, TypedEvent};
pub use decider::Decider;
pub use group::{
    Consumer, ConsumerGroup, ConsumerInfo, Delivery, GroupBuilder, GroupInfo, ParkedEvent,
    ParkedPolicy,
};
pub use reaction::{Cause, Reaction, ReactionBuilder, ReactionError};
pub use repository::{CommandError, Executed, Kept, Loaded, Repository, Request, StateKeeper};
pub use scenario::{Decided, Scenario};
pub use schema::{CheckedSchema, SchemaCatalogue, SchemaCheck, SchemaInfo, SchemaReport};
pub use typed::{EventSet, Payload, PayloadRef, Schema, TypedEvent, codec};
pub use upcast::{
    Lifted, LiftedEvents, LiftedSubscribe, LiftedSubscription, StepResult, Upcasts, UpcastsBuilder,
};
