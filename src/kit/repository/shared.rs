//! What all handles of a repository share, and what a decision rests on.

use crate::names::EventId;
use crate::position::{Position, Version};
use crate::query::Query;
use crate::store::Store;
use crate::sync::Arc;

use super::super::decider::Decider;
use super::super::snapshot::FoldCost;
use super::super::upcast::Upcasts;
use super::keeper::{Folded, StateKeeper};
use super::turns::Turns;

pub(super) struct Shared<D: Decider> {
    pub(super) store: Store,
    pub(super) decider: Arc<D>,
    pub(super) upcasts: Upcasts,
    pub(super) keeper: Option<Arc<dyn StateKeeper<D::State>>>,
    pub(super) attempts: u32,
    pub(super) turns: Arc<Turns>,
}

/// What a decision rests on.
#[derive(Clone, Copy)]
pub(super) enum Scope<'a> {
    /// The stream that is appended to.
    Stream,
    /// What matches a query.
    Query(&'a Query),
}

impl<D: Decider> Shared<D> {
    pub(super) fn initial(&self) -> Folded<D::State> {
        Folded {
            state: self.decider.initial(),
            version: Version(0),
            position: Position::START,
            cost: FoldCost::default(),
        }
    }
}

/// The id of an event that a command leads to, counted from 0.
pub(super) fn event_id(command: EventId, number: usize) -> EventId {
    command.derive(&format!("event {number}"))
}
