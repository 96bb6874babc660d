//! States, and what keeps them.

use crate::position::{Position, Version};

use super::super::snapshot::FoldCost;

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
    /// what it took to fold it from the last one that was loaded from here. What cannot be kept is
    /// of no consequence.
    fn offer(&self, stream: &str, state: &S, version: Version, position: Position, cost: FoldCost);
}

/// A state, and up to where it was folded.
pub(super) struct Folded<S> {
    pub(super) state: S,
    /// Of the stream; 0 where it is the state of a query.
    pub(super) version: Version,
    /// Of the last event; of a query, up to where the store was looked at.
    pub(super) position: Position,
    /// Of what was folded here.
    pub(super) cost: FoldCost,
}
