//! The parts of one event, handed out one by one, and where that leaves a consumer's place.

use std::vec;

use crate::error::Result;
use crate::event::Event;
use crate::position::Position;
use crate::query::Query;

use super::chains::Chains;
use super::events::is_match;
use super::lifted::Lifted;

/// What is left of the last event.
#[derive(Debug)]
pub(super) struct Parts {
    query: Query,
    left: vec::IntoIter<Lifted>,
    /// The position in front of an event that is not all delivered.
    before: Option<Position>,
}

impl Parts {
    pub(super) fn new(query: Query) -> Self {
        Self { query, left: Vec::new().into_iter(), before: None }
    }

    /// The next part that matches. With the last one the event is delivered, and without one it is
    /// behind the consumer.
    pub(super) fn next(&mut self) -> Option<Lifted> {
        let wanted = self.left.by_ref().find(|part| is_match(&self.query, part));
        if self.left.as_slice().iter().all(|part| !is_match(&self.query, part)) {
            self.left = Vec::new().into_iter();
            self.before = None;
        }
        wanted
    }

    /// Takes the next event, of which nothing is delivered yet. Where it cannot be lifted, the
    /// place stays in front of it.
    pub(super) fn take(&mut self, chains: &Chains, event: &Event) -> Result<()> {
        self.before = Some(Position(event.position().0.saturating_sub(1)));
        self.left = chains.lift_event(event)?.into_iter();
        Ok(())
    }

    /// The place of a consumer whose subscription has come to a position.
    pub(super) fn position(&self, come_to: Position) -> Position {
        self.before.unwrap_or(come_to)
    }
}
