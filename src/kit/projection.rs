//! Projections: code that folds events into a view.

mod builder;
mod contract;
mod inline;
mod lanes;
mod live;
mod projected;
mod projector;
mod rebuild;
mod report;
mod settings;
mod spawned;

pub use builder::ProjectorBuilder;
pub use contract::{ApplyError, Projection};
pub use inline::InlineProjection;
pub use live::LiveProjection;
pub use projected::{LiftedPayload, Projected};
pub use projector::Projector;
pub use report::{OnError, Progress, ProjectionError, Step};
pub use spawned::SpawnedProjector;
