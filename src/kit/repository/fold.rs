//! From events to the state.

use crate::error::Result;
use crate::position::{Position, Version};
use crate::query::Query;

use super::super::decider::Decider;
use super::Shared;

/// A state of a stream that is kept somewhere, and what it is the state of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept<S> {
    /// The state.
    pub state: S,
    /// The version of the stream behind which it is.
    pub version: Version,
    /// The position of the event at that version.
    pub position: Position,
}

/// What keeps states of streams, so that they need not be folded from the first event: snapshots.
///
/// What it keeps is only ever a shortcut. Where it has nothing that is right, it says so with
/// `None`, and everything is folded.
pub trait StateKeeper<S>: Send + Sync {
    /// A state of a stream, the newest that is not behind a version (any, where none is given).
    fn load(&self, stream: &str, upto: Option<Version>) -> Option<Kept<S>>;

    /// Offers a state to keep: that of a stream at the version of an event, with its position, and
    /// how many events were folded since the last one that was loaded from here. What cannot be
    /// kept is of no consequence.
    fn offer(&self, stream: &str, state: &S, version: Version, position: Position, folded: u64);
}

/// A state, and up to where it was folded.
pub(super) struct Folded<S> {
    pub(super) state: S,
    /// Of the stream; 0 where it is the state of a query.
    pub(super) version: Version,
    /// Of the last event; of a query, up to where the store was looked at.
    pub(super) position: Position,
    /// How many events were folded here.
    pub(super) events: u64,
}

impl<D: Decider> Shared<D> {
    /// What is kept of a stream, or the initial state.
    pub(super) fn begin(&self, stream: &str, upto: Option<Version>) -> Folded<D::State> {
        match self.keeper.as_ref().and_then(|keeper| keeper.load(stream, upto)) {
            Some(Kept { state, version, position }) => {
                Folded { state, version, position, events: 0 }
            }
            None => self.initial(),
        }
    }

    /// Folds the events of a stream behind those that are folded, up to a version.
    pub(super) fn fold_stream(
        &self,
        mut folded: Folded<D::State>,
        stream: &str,
        upto: Option<Version>,
    ) -> Result<Folded<D::State>> {
        for event in self.store.read_stream(stream).after(folded.version) {
            let event = event?;
            if upto.is_some_and(|upto| event.version() > upto) {
                break;
            }
            for part in self.upcasts.lift(&event)? {
                folded = self.evolve(folded, &part.decode()?);
            }
            (folded.version, folded.position) = (event.version(), event.position());
        }
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
        folded.events += 1;
        folded
    }
}
