//! Upcasts for projections.

use super::super::projection::{ApplyError, LiftedPayload, Projected};
use super::super::typed::{Payload, PayloadRef};
use super::chains::Chains;
use crate::error::{Error, Result};

impl Chains {
    /// What an event reads as that a projection sees; `None` where it is as it is.
    pub(super) fn lift_projected(
        &self,
        event: &Projected<'_>,
    ) -> Result<Option<Vec<LiftedPayload>>, ApplyError> {
        let payload = PayloadRef {
            event_type: event.event_type(),
            schema_version: event.schema_version(),
            content_type: event.content_type(),
            data: event.data(),
        };
        let parts = self.lift(payload).map_err(|e| match (e, event.position()) {
            (Error::Schema(schema), Some(position)) => Error::Schema(schema.at(position)),
            (e, _) => e,
        })?;
        Ok(parts.map(|parts| {
            let of = |part: Payload| LiftedPayload {
                event_type: part.event_type,
                schema_version: part.schema_version,
                content_type: part.content_type,
                data: part.data,
            };
            parts.into_iter().map(of).collect()
        }))
    }
}
