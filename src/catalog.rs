//! The log, its index and the state beside it: what both the writer and the readers look things
//! up in.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::event::Event;
use crate::format::cursor::SavedCursor;
use crate::index::{Index, Stretch};
use crate::log::frame_at::FrameAt;
use crate::log::source::Fetch;
use crate::log::{Log, Segment};
use crate::names::EventId;
use crate::place::Place;
use crate::position::{Position, Timestamp};
use crate::state::State;
use crate::sync::Arc;
use crate::watermark::{Watermark, Woken};

/// What a store holds, as far as it is visible or about to be.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) log: Arc<Log>,
    pub(crate) index: Index,
    pub(crate) state: State,
    pub(crate) watermark: Watermark,
    /// Why the log ends where it does, in a damaged store that was opened for reading.
    pub(crate) damage: OnceLock<Error>,
    /// Where news comes from, where another process is the writer.
    pub(crate) feed: Option<Box<dyn Feed>>,
}

/// What brings a catalog up to date with a writer in another process.
pub(crate) trait Feed: fmt::Debug + Send + Sync {
    /// Takes in what has become visible since the last time. Cheap where that is nothing. Damage is
    /// left in the catalog: what is in front of it can still be read.
    fn refresh(&self, catalog: &Catalog) -> Result<()>;
}

/// A waiting follower looks so often at first, and so often after half a second without news.
const POLL_FIRST: Duration = Duration::from_millis(1);
const POLL_LAST: Duration = Duration::from_millis(8);
/// The pause between two looks is this part of the time without news.
const POLL_PART: u32 = 64;

/// The frame that was read last. Events that are read together are mostly of one append, and to
/// verify the head of a large one for each of them would take long.
pub(crate) type LastFrame = Option<(Arc<Segment>, FrameAt)>;

impl Catalog {
    /// Saves the state writes of frames, as far as the frames are durable. Done before an index
    /// file is written that covers them: an opening looks for state writes behind those.
    pub(crate) fn save_state(&self) -> Result<()> {
        self.state.save(self.watermark.durable().0)
    }

    /// A value of the state that is no view's and no snapshot.
    pub(crate) fn value(&self, key: &[u8]) -> Result<Option<Arc<[u8]>>> {
        self.state.values.load()?;
        // What a follower has of the log may be behind what it finds in the file.
        self.refresh()?;
        self.state.values.find(key)
    }

    /// Whether the log has another event than a saved place says, or none.
    pub(crate) fn has_diverged(&self, saved: &SavedCursor) -> Result<bool> {
        let position = Position(saved.position);
        if position == Position::START {
            return Ok(false);
        }
        // A follower looks for news behind its look at the place, which is never ahead of them.
        if position > self.pin()? {
            return Ok(true);
        }
        let event = self.event(position)?;
        let is_same_id = uuid::Uuid::from(event.id()).into_bytes() == saved.event;
        // An id that was computed from the position tells less than one of the caller.
        let is_same_time = event.has_given_id() || event.committed_at() == saved.event_time;
        Ok(!is_same_id || !is_same_time)
    }

    /// A visible position as it is saved, with the event there.
    pub(crate) fn place_at(&self, position: Position, saved_at: Timestamp) -> Result<SavedCursor> {
        let mut saved = SavedCursor { position: position.0, saved_at, ..SavedCursor::default() };
        if position > Position::START {
            let event = self.event(position)?;
            saved.event = uuid::Uuid::from(event.id()).into_bytes();
            saved.event_time = event.committed_at();
        }
        Ok(saved)
    }

    /// The damage that ends the log, in the form in which it is met with.
    pub(crate) fn damage(&self) -> Option<Error> {
        self.damage.get().cloned()
    }

    /// Brings a follower up to date; does nothing beside the writer itself.
    pub(crate) fn refresh(&self) -> Result<()> {
        self.feed.as_ref().map_or(Ok(()), |feed| feed.refresh(self))
    }

    /// The last position that may be seen now. Whoever reads calls it before anything else.
    pub(crate) fn pin(&self) -> Result<Position> {
        self.refresh()?;
        Ok(self.watermark.visible())
    }

    /// Waits as [`Watermark::wait_behind`] does. A follower looks for news meanwhile, at first each
    /// millisecond, and less often the longer there are none: nobody wakes it from elsewhere.
    pub(crate) fn wait_behind(
        &self,
        position: Position,
        deadline: Option<Instant>,
        is_off: &dyn Fn() -> bool,
    ) -> Woken {
        if self.feed.is_none() {
            return self.watermark.wait_behind(position, deadline, is_off);
        }
        let began = Instant::now();
        loop {
            if let Err(e) = self.refresh() {
                return Woken::Ended(e);
            }
            let now = Instant::now();
            let pause = (now.duration_since(began) / POLL_PART).clamp(POLL_FIRST, POLL_LAST);
            let until = now + pause;
            let is_last = deadline.is_some_and(|deadline| deadline <= until);
            let until = deadline.filter(|_| is_last).unwrap_or(until);
            match self.watermark.wait_behind(position, Some(until), is_off) {
                Woken::TimedOut if !is_last => {}
                woken => return woken,
            }
        }
    }

    /// The answer where nothing is found: not even that can be said of a damaged log.
    pub(crate) fn nothing<T>(&self) -> Result<Option<T>> {
        self.damage().map_or(Ok(None), Err)
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
        if let Some((segment, at)) = last
            && segment.ordinal() == place.segment
        {
            if at.offset == place.frame {
                at.list_streams();
            } else {
                let fetch = Fetch::behind(Some(at.offset), place.frame);
                *at = segment.frame(place.frame, fetch)?;
            }
            return segment.event_with_ordinal(at, place.ordinal);
        }
        let segment = self.log.segment(place.segment)?;
        if last.is_none() {
            segment.ask_now(place.frame);
        }
        let at = segment.frame(place.frame, Fetch::One)?;
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
