//! What a projector is to do.

use std::time::Duration;

use super::contract::{ApplyError, Projection};
use super::projected::{LiftedPayload, Projected};
use super::report::OnError;

/// What a stored event reads as: the events that it became, or as it is (`None`).
type Lift = dyn Fn(&Projected<'_>) -> Result<Option<Vec<LiftedPayload>>, ApplyError> + Send + Sync;

/// What is said to a builder.
pub(super) struct Settings<P> {
    pub(super) projection: P,
    pub(super) view: String,
    pub(super) batch: usize,
    pub(super) threads: usize,
    pub(super) attempts: u32,
    pub(super) backoff: Duration,
    pub(super) on_error: OnError,
    pub(super) lift: Option<Box<Lift>>,
}

impl<P: Projection> Settings<P> {
    pub(super) fn new(projection: P) -> Self {
        Self {
            view: projection.name().to_owned(),
            projection,
            batch: 1024,
            threads: 1,
            attempts: 1,
            backoff: Duration::from_millis(20),
            on_error: OnError::Stop,
            lift: None,
        }
    }
}
