//! What applications build on the store: on its public calls alone.

mod decider;
mod group;
mod projection;
mod reaction;
mod repository;
mod scenario;
mod schema;
mod snapshot;
mod typed;
mod upcast;
mod view;

#[cfg(feature = "derive")]
pub use annals_derive::{EventSet, TypedEvent};
pub use decider::Decider;
pub use group::{
    Consumer, ConsumerGroup, ConsumerInfo, Delivery, GroupBuilder, GroupInfo, ParkedEvent,
    ParkedPolicy,
};
pub use projection::{
    ApplyError, InlineProjection, LiftedPayload, LiveProjection, OnError, Progress, Projected,
    Projection, ProjectionError, Projector, ProjectorBuilder, SpawnedProjector, Step,
};
pub use reaction::{Cause, Reaction, ReactionBuilder, ReactionError};
pub use repository::{
    CommandError, CommandResult, Executed, Kept, Loaded, Repository, Request, StateKeeper,
};
pub use scenario::{Decided, Scenario};
pub use schema::{CheckedSchema, SchemaCheck, SchemaReport};
pub use snapshot::{AsOf, FoldCost, Snapshots, StateAt};
pub use typed::{EventSet, Payload, PayloadRef, Schema, TypedEvent, codec};
#[cfg(feature = "async")]
pub use upcast::LiftedStream;
pub use upcast::{
    Lifted, LiftedEvents, LiftedSubscribe, LiftedSubscription, StepResult, Upcasts, UpcastsBuilder,
};
#[cfg(feature = "bincode")]
pub use view::AsBincode;
pub use view::{
    AsJson, TypedEntries, View, ViewChanges, ViewCodec, ViewDifference, ViewKey, compare_views,
    key_prefix,
};
