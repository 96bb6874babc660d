//! From events to the state.

use std::time::Instant;

use crate::error::Result;
use crate::position::{Position, Version};
use crate::query::Query;

use super::super::decider::Decider;
use super::super::snapshot::FoldCost;
use super::super::typed::EventSet;
use super::keeper::{Folded, Kept};
use super::shared::Shared;

impl<D: Decider> Shared<D> {
    /// What is kept of a stream, or the initial state.
    pub(super) fn begin(&self, stream: &str, upto: Option<Version>) -> Folded<D::State> {
        match self.keeper.as_ref().and_then(|keeper| keeper.load(stream, upto)) {
            Some(Kept { state, version, position }) => {
                Folded { state, version, position, cost: FoldCost::default() }
            }
            None => self.initial(),
        }
    }

    /// Offers a state of a stream to whoever keeps them, where anything was folded.
    pub(super) fn offer(&self, stream: &str, folded: &Folded<D::State>) {
        let Folded { state, version, position, cost } = folded;
        if let Some(keeper) = self.keeper.as_ref().filter(|_| cost.events > 0) {
            keeper.offer(stream, state, *version, *position, *cost);
        }
    }

    /// The version of the last event of a stream up to a position.
    pub(super) fn version_at(&self, stream: &str, position: Position) -> Result<Version> {
        for event in self.store.read_stream(stream).backwards() {
            let event = event?;
            if event.position() <= position {
                return Ok(event.version());
            }
        }
        Ok(Version(0))
    }

    /// Folds the events of a stream behind those that are folded, up to a version.
    pub(super) fn fold_stream(
        &self,
        mut folded: Folded<D::State>,
        stream: &str,
        upto: Option<Version>,
    ) -> Result<Folded<D::State>> {
        let began = Instant::now();
        for event in self.store.read_stream(stream).after(folded.version) {
            let event = event?;
            if upto.is_some_and(|upto| event.version() > upto) {
                break;
            }
            if self.upcasts.is_current(&event) {
                folded = self.evolve(folded, &D::Event::from_event(&event)?);
            } else {
                for part in self.upcasts.lift(&event)? {
                    folded = self.evolve(folded, &part.decode()?);
                }
            }
            (folded.version, folded.position) = (event.version(), event.position());
        }
        folded.cost.took += began.elapsed();
        Ok(folded)
    }

    /// Folds what a query finds behind the position up to which it was folded, up to a position.
    pub(super) fn fold_query(
        &self,
        mut folded: Folded<D::State>,
        query: &Query,
        upto: Option<Position>,
    ) -> Result<Folded<D::State>> {
        // Before the read, which sees at least as much.
        let head = self.store.head();
        let behind = query.clone().after(folded.position.max(query.excluded()));
        for part in self.upcasts.read(&self.store, behind) {
            let part = part?;
            if upto.is_some_and(|upto| part.position() > upto) {
                break;
            }
            folded = self.evolve(folded, &part.decode()?);
            folded.position = folded.position.max(part.position());
        }
        folded.position = folded.position.max(head);
        Ok(folded)
    }

    pub(super) fn evolve(
        &self,
        mut folded: Folded<D::State>,
        event: &D::Event,
    ) -> Folded<D::State> {
        folded.state = self.decider.evolve(folded.state, event);
        folded.cost.events += 1;
        folded
    }
}
