//! Reading the log in its global order.

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::log::Segment;
use crate::log::segment::{FrameAt, READ_AHEAD};
use crate::position::Position;
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
    after: Option<Position>,
    backwards: bool,
    limit: usize,
}

impl ReadAll {
    pub(crate) const fn new(catalog: Result<Arc<Catalog>>) -> Self {
        Self { catalog, after: None, backwards: false, limit: usize::MAX }
    }

    /// Only events behind a position: above it, or below it when reading backwards.
    pub const fn after(mut self, position: Position) -> Self {
        self.after = Some(position);
        self
    }

    /// From the newest event to the oldest.
    pub const fn backwards(mut self) -> Self {
        self.backwards = true;
        self
    }

    /// At most so many events.
    pub const fn limit(mut self, events: usize) -> Self {
        self.limit = events;
        self
    }
}

impl IntoIterator for ReadAll {
    type Item = Result<Event>;
    type IntoIter = AllEvents;

    fn into_iter(self) -> AllEvents {
        let source = self.catalog.map(|catalog| {
            let head = catalog.watermark.visible().0;
            let segments = catalog.log.segments();
            let (first, last) = match self.after {
                Some(Position(after)) if self.backwards => (1, head.min(after.saturating_sub(1))),
                Some(Position(after)) => (after.saturating_add(1), head),
                None => (1, head),
            };
            let damage = catalog.damage.clone();
            Source { segments, catalog, first, last, at: None, damage }
        });
        AllEvents { source: Some(source), backwards: self.backwards, left: self.limit }
    }
}

/// The iterator over all events. It ends with `None`, or with one error.
#[derive(Debug)]
pub struct AllEvents {
    source: Option<Result<Source>>,
    backwards: bool,
    left: usize,
}

/// What is left to read.
#[derive(Debug)]
struct Source {
    catalog: Arc<Catalog>,
    /// The segments as they were when the read began: they hold all that it may see.
    segments: Arc<Vec<Arc<Segment>>>,
    first: u64,
    last: u64,
    /// The frame that was read last, and the place of its segment in the list.
    at: Option<(usize, FrameAt)>,
    damage: Option<Error>,
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
        if source.first > source.last || (self.backwards && source.damage.is_some()) {
            let damage = source.damage.take();
            self.source = None;
            return damage.map(Err);
        }
        let read = if self.backwards { source.read_last() } else { source.read_first() };
        self.left -= 1;
        if read.is_err() {
            self.source = None;
        }
        Some(read)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.source {
            Some(Ok(source)) => {
                let events = (source.last + 1).saturating_sub(source.first);
                // One more for an error at the end.
                let events = usize::try_from(events).unwrap_or(usize::MAX).saturating_add(1);
                (0, Some(events.min(self.left)))
            }
            Some(Err(_)) => (1, Some(1)),
            None => (0, Some(0)),
        }
    }
}

impl Source {
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
        self.seek(position)
    }

    /// Finds the frame of a position by the index.
    fn seek(&mut self, position: u64) -> Result<()> {
        let behind = self.segments.partition_point(|segment| segment.base() <= position);
        let found =
            behind.checked_sub(1).and_then(|index| Some((index, self.segments.get(index)?)));
        let (index, segment) = found.ok_or_else(|| missing(position))?;
        let ordinal = u32::try_from(position - segment.base()).map_err(|_| missing(position))?;
        let place = self.catalog.index.place(segment.ordinal(), ordinal)?;
        let at = segment.frame(place.frame, READ_AHEAD)?;
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
