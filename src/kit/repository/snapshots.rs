//! Snapshots of the store as what keeps a repository's states.

use crate::position::{Position, Version};

use super::super::snapshot::{FoldCost, Snapshots, StateAt};
use super::super::view::ViewCodec;
use super::keeper::{Kept, StateKeeper};

impl<S, C: ViewCodec<S>> StateKeeper<S> for Snapshots<S, C> {
    fn load(&self, stream: &str, upto: Option<Version>) -> Option<Kept<S>> {
        let StateAt { state, version, position, .. } = Self::load(self, stream, upto)?;
        Some(Kept { state, version, position })
    }

    fn offer(&self, stream: &str, state: &S, version: Version, _: Position, cost: FoldCost) {
        if self.is_due(cost) {
            let _ = self.save(stream, state, version);
        }
    }
}
