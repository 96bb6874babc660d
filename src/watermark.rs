//! Layer 2: the two marks of the store, and whoever waits for them to move.
//!
//! *Visible* is the last position that anyone may see, *durable* the last one that a sync covers.
//! In `Durability::Sync` they move together.

use crate::position::Position;
use crate::sync::{AtomicU64, Ordering};

/// The marks. Each only moves forward.
#[derive(Debug, Default)]
pub(crate) struct Watermark {
    visible: AtomicU64,
    durable: AtomicU64,
}

impl Watermark {
    /// Marks of a store whose events up to `position` are durable.
    pub(crate) fn at(position: Position) -> Self {
        Self { visible: AtomicU64::new(position.0), durable: AtomicU64::new(position.0) }
    }

    /// The last position that may be seen. A reader loads it before it looks at anything else.
    pub(crate) fn visible(&self) -> Position {
        Position(self.visible.load(Ordering::Acquire))
    }

    /// The last visible position that survives a power cut. An event can be durable a moment
    /// before it is visible; whoever compares the marks shall not see that.
    pub(crate) fn durable(&self) -> Position {
        let durable = Position(self.durable.load(Ordering::Acquire));
        durable.min(self.visible())
    }

    /// Shows everything up to a position. The index has it already.
    pub(crate) fn show(&self, position: Position) {
        self.visible.fetch_max(position.0, Ordering::AcqRel);
    }

    /// Says that everything up to a position is durable.
    pub(crate) fn make_durable(&self, position: Position) {
        self.durable.fetch_max(position.0, Ordering::AcqRel);
    }
}
