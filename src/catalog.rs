//! The log, its index and the state beside it: what both the writer and the readers look things
//! up in.

use crate::error::{Error, Result};
use crate::event::Event;
use crate::index::{Index, Stretch};
use crate::log::segment::{FrameAt, READ_ONE};
use crate::log::{Log, Segment};
use crate::names::EventId;
use crate::place::Place;
use crate::position::Position;
use crate::state::State;
use crate::sync::Arc;
use crate::watermark::Watermark;

/// What a store holds, as far as it is visible or about to be.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) log: Arc<Log>,
    pub(crate) index: Index,
    pub(crate) state: State,
    pub(crate) watermark: Watermark,
    /// Why the log ends where it does, in a damaged store that was opened for reading.
    pub(crate) damage: Option<Error>,
}

/// The frame that was read last. Events that are read together are mostly of one append, and to
/// verify the head of a large one for each of them would take long.
pub(crate) type LastFrame = Option<(Arc<Segment>, FrameAt)>;

impl Catalog {
    /// Saves the state writes of frames, as far as the frames are durable. Done before an index
    /// file is written that covers them: an opening looks for state writes behind those.
    pub(crate) fn save_state(&self) -> Result<()> {
        self.state.save(self.watermark.durable().0)
    }

    /// The answer where nothing is found: not even that can be said of a damaged log.
    pub(crate) fn nothing<T>(&self) -> Result<Option<T>> {
        self.damage.clone().map_or(Ok(None), Err)
    }

    /// The event at a position, which must have been committed.
    pub(crate) fn event(&self, position: Position) -> Result<Event> {
        self.event_behind(position, &mut None)
    }

    pub(crate) fn event_behind(&self, position: Position, last: &mut LastFrame) -> Result<Event> {
        let segment = self.log.segment_of(position).ok_or_else(|| {
            Error::corrupt("log", 0, format!("a segment with position {position}"), "none")
        })?;
        let ordinal = u32::try_from(position.0 - segment.base()).map_err(|_| {
            Error::corrupt("log", 0, format!("a segment with position {position}"), "none")
        })?;
        self.event_at(self.index.place(segment.ordinal(), ordinal)?, last)
    }

    /// The event at a place.
    pub(crate) fn event_at(&self, place: Place, last: &mut LastFrame) -> Result<Event> {
        let is_same = |(segment, at): &&(Arc<Segment>, FrameAt)| {
            (segment.ordinal(), at.offset) == (place.segment, place.frame)
        };
        if let Some((segment, at)) = last.as_ref().filter(is_same) {
            return segment.event_with_ordinal(at, place.ordinal);
        }
        let segment = self.log.segment(place.segment)?;
        let at = segment.frame(place.frame, READ_ONE)?;
        let (segment, at) = last.insert((segment, at));
        segment.event_with_ordinal(at, place.ordinal)
    }

    /// The event with an id, among those after a position and up to another.
    pub(crate) fn event_by_id(
        &self,
        id: EventId,
        after: Position,
        upto: Position,
        last: &mut LastFrame,
    ) -> Result<Option<Event>> {
        let is_wanted = |position: &Position| *position > after && *position <= upto;
        // An assigned id says where its event is, if it is one of this store's.
        if let Some(position) = id.assigned_position().filter(is_wanted) {
            let event = self.event_behind(position, last)?;
            if event.id() == id {
                return Ok(Some(event));
            }
        }
        let hash = self.index.hasher().id(id);
        let stretch = Stretch { first: after.0 + 1, last: upto.0, backwards: false };
        for position in self.index.keyed(hash, &stretch, usize::MAX)?.into_iter().map(Position) {
            let event = self.event_behind(position, last)?;
            if event.id() == id {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}
