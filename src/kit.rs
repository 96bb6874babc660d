//! What applications build on the store: on its public calls alone.

mod group;
mod projection;
mod snapshot;
mod view;

pub use group::{
    Consumer, ConsumerGroup, ConsumerInfo, Delivery, GroupBuilder, GroupInfo, ParkedEvent,
    ParkedPolicy,
};
pub use projection::{
    ApplyError, InlineProjection, LiftedPayload, LiveProjection, OnError, Progress, Projected,
    Projection, ProjectionError, Projector, ProjectorBuilder, SpawnedProjector, Step,
};
pub use snapshot::{AsOf, Snapshots, StateAt};
#[cfg(feature = "bincode")]
pub use view::AsBincode;
pub use view::{
    AsJson, TypedEntries, View, ViewChanges, ViewCodec, ViewDifference, ViewKey, compare_views,
    key_prefix,
};
