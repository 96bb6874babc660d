//! The log and its index, together: what both the writer and the readers look things up in.

use crate::error::{Error, Result};
use crate::event::Event;
use crate::index::Index;
use crate::log::Log;
use crate::log::segment::READ_ONE;
use crate::names::EventId;
use crate::place::Place;
use crate::position::Position;
use crate::sync::Arc;
use crate::watermark::Watermark;

/// What a store holds, as far as it is visible or about to be.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) log: Arc<Log>,
    pub(crate) index: Index,
    pub(crate) watermark: Watermark,
    /// Why the log ends where it does, in a damaged store that was opened for reading.
    pub(crate) damage: Option<Error>,
}

impl Catalog {
    /// The event at a position, which must have been committed.
    pub(crate) fn event(&self, position: Position) -> Result<Event> {
        let segment = self.log.segment_of(position).ok_or_else(|| {
            Error::corrupt("log", 0, format!("a segment with position {position}"), "none")
        })?;
        let ordinal = u32::try_from(position.0 - segment.base()).map_err(|_| {
            Error::corrupt("log", 0, format!("a segment with position {position}"), "none")
        })?;
        self.event_at(self.index.place(segment.ordinal(), ordinal)?)
    }

    /// The event at a place.
    pub(crate) fn event_at(&self, place: Place) -> Result<Event> {
        let segment = self.log.segment(place.segment)?;
        let at = segment.frame(place.frame, READ_ONE)?;
        segment.event_with_ordinal(&at, place.ordinal)
    }

    /// The event with an id, among those after a position and up to another.
    pub(crate) fn event_by_id(
        &self,
        id: EventId,
        after: Position,
        upto: Position,
    ) -> Result<Option<Event>> {
        let is_wanted = |position: &Position| *position > after && *position <= upto;
        // An assigned id says where its event is, if it is one of this store's.
        if let Some(position) = id.assigned_position().filter(is_wanted) {
            let event = self.event(position)?;
            if event.id() == id {
                return Ok(Some(event));
            }
        }
        let hash = self.index.hasher().id(id);
        for position in self.index.ids(hash, after)?.into_iter().filter(is_wanted) {
            let event = self.event(position)?;
            if event.id() == id {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}
