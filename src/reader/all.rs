//! Reading the log in its global order.

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::log::Segment;
use crate::log::frame_at::FrameAt;
use crate::log::source::Fetch;
use crate::position::Position;
use crate::query::{Query, filters};
use crate::search::{Explanation, Search};
use crate::sync::Arc;

/// A read of all events, in global order: a builder, and what a `for` loop takes.
///
/// The read sees what is visible when the loop begins: it never waits, and never sees half an
/// append. Each event's checksum is verified when it is read.
///
/// ```
/// use annals::{ExpectedVersion, NewEvent, Position, Store};
/// let store = Store::in_memory()?;
/// for n in 1..=3 {
///     store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("Counted", [n])])?;
/// }
/// let seen: Vec<u64> =
///     store.read_all().after(Position(1)).into_iter().map(|e| Ok(e?.position().0))
///     .collect::<annals::Result<_>>()?;
/// assert_eq!(seen, [2, 3]);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a read does nothing until it is iterated"]
pub struct ReadAll {
    catalog: Result<Arc<Catalog>>,
    query: Query,
    after: Option<Position>,
    backwards: bool,
    limit: usize,
}

impl ReadAll {
    pub(crate) fn new(catalog: Result<Arc<Catalog>>, query: Query) -> Self {
        Self { catalog, query, after: None, backwards: false, limit: usize::MAX }
    }

    filters!();

    /// Only events behind a position: above it, or below it when reading backwards.
    pub fn after(mut self, position: Position) -> Self {
        self.after = Some(position);
        self
    }

    /// From the newest event to the oldest.
    pub fn backwards(mut self) -> Self {
        self.backwards = true;
        self
    }

    /// At most so many events.
    pub fn limit(mut self, events: usize) -> Self {
        self.limit = events;
        self
    }

    /// Makes the read, and says what it cost instead of what it found.
    ///
    /// # Errors
    ///
    /// The first error of the read.
    ///
    /// ```
    /// use annals::{ExpectedVersion, NewEvent, Store};
    /// let store = Store::in_memory()?;
    /// for n in 1..=100 {
    ///     let event = NewEvent::new("Counted", "").tag(format!("n:{n}"));
    ///     store.append("Counter-1", ExpectedVersion::Any, [event])?;
    /// }
    /// let cost = store.read_all().tag("n:42").explain()?;
    /// assert_eq!((cost.matched, cost.decoded), (1, 1));
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn explain(self) -> Result<Explanation> {
        let limit = self.limit;
        let (catalog, first, last) = self.bounds(None)?;
        let mut search =
            Search::new(Arc::clone(&catalog), self.query, first, last, self.backwards)?;
        let mut left = limit;
        while left > 0 && search.next()?.is_some() {
            left -= 1;
        }
        let mut explanation = search.explanation;
        let of = |position: u64| catalog.log.segment_of(Position(position)).map(|s| s.ordinal());
        if let (true, Some(from), Some(to)) = (first <= last, of(first), of(last)) {
            let all = u64::from(to - from) + 1;
            explanation.segments_skipped = all.saturating_sub(explanation.segments_touched);
        }
        Ok(explanation)
    }

    /// The read, up to a position that is visible.
    pub(crate) fn upto(self, head: Position) -> AllEvents {
        let (backwards, left) = (self.backwards, self.limit);
        AllEvents { source: Some(self.source(Some(head))), backwards, left }
    }

    /// The catalog, and the positions to read.
    fn bounds(&self, head: Option<Position>) -> Result<(Arc<Catalog>, u64, u64)> {
        let catalog = Arc::clone(self.catalog.as_ref().map_err(Clone::clone)?);
        let head = head.map_or_else(|| catalog.pin(), Ok)?.0;
        let (first, last) = match self.after {
            Some(Position(after)) if self.backwards => (1, head.min(after.saturating_sub(1))),
            Some(Position(after)) => (after.saturating_add(1), head),
            None => (1, head),
        };
        Ok((catalog, first.max(self.query.excluded().0.saturating_add(1)), last))
    }

    fn source(self, head: Option<Position>) -> Result<Source> {
        let (catalog, first, last) = self.bounds(head)?;
        // Backwards from a position that is there, the damaged end is not met.
        let visible = catalog.watermark.visible().0;
        let is_inside = self.after.is_some_and(|after| after.0 <= visible.saturating_add(1));
        let damage = catalog.damage().filter(|_| !(self.backwards && is_inside));
        let way = if self.query.is_everything() {
            let segments = catalog.log.segments();
            Way::All(Box::new(Walk { segments, catalog, first, last, at: None }))
        } else {
            Way::Found(Box::new(Search::new(catalog, self.query, first, last, self.backwards)?))
        };
        Ok(Source { way, damage })
    }
}

impl IntoIterator for ReadAll {
    type Item = Result<Event>;
    type IntoIter = AllEvents;

    fn into_iter(self) -> AllEvents {
        let (backwards, left) = (self.backwards, self.limit);
        AllEvents { source: Some(self.source(None)), backwards, left }
    }
}

/// The iterator over the events of a [`ReadAll`]. It ends with `None`, or with one error.
#[derive(Debug)]
pub struct AllEvents {
    source: Option<Result<Source>>,
    backwards: bool,
    left: usize,
}

#[derive(Debug)]
struct Source {
    way: Way,
    damage: Option<Error>,
}

/// How the events are come by.
#[derive(Debug)]
enum Way {
    All(Box<Walk>),
    Found(Box<Search>),
}

impl Way {
    #[inline]
    fn next(&mut self, backwards: bool) -> Option<Result<Event>> {
        match self {
            Self::All(walk) if walk.first > walk.last => {
                let passed = if backwards { Ok(()) } else { walk.pass_rest() };
                passed.err().map(Err)
            }
            Self::All(walk) if backwards => Some(walk.read_last()),
            Self::All(walk) => Some(walk.read_first()),
            Self::Found(search) => search.next().transpose(),
        }
    }
}

/// What is left to read.
#[derive(Debug)]
struct Walk {
    catalog: Arc<Catalog>,
    /// The segments as they were when the read began: they hold all that it may see.
    segments: Arc<Vec<Arc<Segment>>>,
    first: u64,
    last: u64,
    /// The frame that was read last, and the place of its segment in the list.
    at: Option<(usize, FrameAt)>,
}

impl Iterator for AllEvents {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        if self.left == 0 {
            return None;
        }
        let Ok(source) = self.source.as_mut()? else {
            return self.source.take().and_then(Result::err).map(Err);
        };
        // The end of the log is what is damaged, so backwards it is met first.
        let read = match &source.damage {
            Some(damage) if self.backwards => Some(Err(damage.clone())),
            _ => source.way.next(self.backwards),
        };
        match &read {
            Some(Ok(_)) => {
                self.left -= 1;
                read
            }
            Some(Err(_)) => {
                self.source = None;
                read
            }
            None => {
                let damage = source.damage.take();
                self.source = None;
                damage.map(Err)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.source {
            Some(Ok(source)) => {
                let events = match &source.way {
                    Way::All(walk) => (walk.last + 1).saturating_sub(walk.first),
                    Way::Found(search) => search.left(),
                };
                // One more for an error at the end.
                let events = usize::try_from(events).unwrap_or(usize::MAX).saturating_add(1);
                (0, Some(events.min(self.left)))
            }
            Some(Err(_)) => (1, Some(1)),
            None => (0, Some(0)),
        }
    }
}

impl Walk {
    #[inline]
    fn read_first(&mut self) -> Result<Event> {
        let position = self.first;
        self.seek_forwards(position)?;
        self.first += 1;
        self.event(position)
    }

    fn read_last(&mut self) -> Result<Event> {
        let position = self.last;
        if !self.holds(position) {
            self.seek(position)?;
        }
        self.last -= 1;
        self.event(position)
    }

    /// Moves to the frame of a position that is not before the current one.
    fn seek_forwards(&mut self, position: u64) -> Result<()> {
        let end_of = |segments: &[Arc<Segment>], index: usize| {
            segments.get(index + 1).map_or(u64::MAX, |next| next.base())
        };
        if let Some((index, at)) = &mut self.at
            && position < end_of(&self.segments, *index)
            && let Some(segment) = self.segments.get(*index)
        {
            let behind = |at: &FrameAt| {
                segment.base() + u64::from(at.frame.first) + u64::from(at.frame.events)
            };
            while position >= behind(at) {
                segment.next_frame(at)?;
            }
            return Ok(());
        }
        self.pass_rest()?;
        self.seek(position)
    }

    /// Passes the frames without events behind the last one: nothing else would ever look at them,
    /// and damage is to be seen.
    fn pass_rest(&mut self) -> Result<()> {
        if let Some((index, at)) = &mut self.at
            && let Some(segment) = self.segments.get(*index)
        {
            while at.offset + at.frame.len < segment.written() {
                segment.next_frame(at)?;
                if at.frame.events > 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Finds the frame of a position by the index.
    fn seek(&mut self, position: u64) -> Result<()> {
        let behind = self.segments.partition_point(|segment| segment.base() <= position);
        let found =
            behind.checked_sub(1).and_then(|index| Some((index, self.segments.get(index)?)));
        let (index, segment) = found.ok_or_else(|| missing(position))?;
        let ordinal = u32::try_from(position - segment.base()).map_err(|_| missing(position))?;
        let place = self.catalog.index.place(segment.ordinal(), ordinal)?;
        let at = segment.frame(place.frame, Fetch::Ahead)?;
        self.at = Some((index, at));
        if self.holds(position) {
            return Ok(());
        }
        Err(segment.corrupt(place.frame, "the frame that the index names", "another"))
    }

    fn holds(&self, position: u64) -> bool {
        self.current().is_some_and(|(segment, at)| {
            let first = segment.base() + u64::from(at.frame.first);
            (first..first + u64::from(at.frame.events)).contains(&position)
        })
    }

    fn current(&self) -> Option<(&Arc<Segment>, &FrameAt)> {
        let (index, at) = self.at.as_ref()?;
        Some((self.segments.get(*index)?, at))
    }

    #[inline]
    fn event(&self, position: u64) -> Result<Event> {
        let (segment, at) = self.current().ok_or_else(|| missing(position))?;
        let first = segment.base() + u64::from(at.frame.first);
        // A frame that follows may say that it begins further on.
        let index = position.checked_sub(first).and_then(|index| u16::try_from(index).ok());
        let index = index.ok_or_else(|| missing(position))?;
        segment.event(at, index)
    }
}

fn missing(position: u64) -> Error {
    Error::corrupt("log", 0, format!("a segment with position {position}"), "none")
}
