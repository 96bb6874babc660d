//! Commands that were executed before.

use crate::error::Result;
use crate::names::EventId;
use crate::position::{Position, Version};
use crate::query::Query;

use super::super::decider::Decider;
use super::outcome::{CommandError, DoneBy, Executed};
use super::shared::{Scope, Shared, event_id};

impl<D: Decider> Shared<D> {
    /// What came of a command when it was executed before, if it was.
    pub(super) fn done_before(
        &self,
        scope: Scope<'_>,
        stream: &str,
        command: Option<EventId>,
    ) -> Result<Option<DoneBy<D>>, CommandError<D::Error>> {
        let Some(command) = command else { return Ok(None) };
        let Some(first) = self.store.event_by_id(event_id(command, 0))? else {
            return Ok(None);
        };
        if first.stream() != stream {
            let (stream, position) = (first.stream().into(), first.position());
            return Err(CommandError::OtherStream { command, stream, position });
        }
        let before = Version(first.version().0.saturating_sub(1));
        let mut events = Vec::new();
        let (mut version, mut position) = (before, Position::START);
        for (number, event) in self.store.read_stream(stream).after(before).into_iter().enumerate()
        {
            let event = event?;
            if event.id() != event_id(command, number) {
                break;
            }
            for part in self.upcasts.lift(&event)? {
                events.push(part.decode()?);
            }
            (version, position) = (event.version(), event.position());
        }
        let state = match scope {
            Scope::Stream => {
                let kept = self.begin(stream, Some(version));
                self.fold_stream(kept, stream, Some(version))?.state
            }
            Scope::Query(query) => self.state_over(query, first.position(), &events)?,
        };
        let (is_repeated, attempts) = (true, 0);
        Ok(Some(Executed { state, version, position, events, is_repeated, attempts }))
    }

    /// What a query found in front of a command's first event, and then the command's events.
    fn state_over(&self, query: &Query, first: Position, events: &[D::Event]) -> Result<D::State> {
        let before = Position(first.0.saturating_sub(1));
        let folded = self.fold_query(self.initial(), query, Some(before))?;
        Ok(events.iter().fold(folded, |folded, event| self.evolve(folded, event)).state)
    }
}
