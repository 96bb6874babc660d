//! What a query sees of events that are about to be written.

use super::request::PreparedEvent;
use crate::names::Label;
use crate::position::Timestamp;
use crate::query::Facts;

/// An event that is about to be written, as a query sees it.
pub(super) struct StagedEvent<'a> {
    pub(super) stream: &'a str,
    pub(super) event: &'a PreparedEvent,
    /// When its frame is committed.
    pub(super) time: Timestamp,
}

impl Facts for StagedEvent<'_> {
    fn stream(&self) -> &str {
        self.stream
    }

    fn event_type(&self) -> &str {
        &self.event.event_type
    }

    fn created_at(&self) -> Timestamp {
        self.event.created_at.unwrap_or(self.time)
    }

    fn has_label(&self, label: Label<'_>) -> bool {
        match label {
            Label::Tag(tag) => self.event.tags.iter().any(|found| found == tag),
            Label::Correlation(id) => self.event.correlation.as_deref() == Some(id),
            Label::Causation(id) => self.event.causation.as_deref() == Some(id),
        }
    }
}
