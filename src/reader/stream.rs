//! Reading one stream, along the chain of the segments that hold it.

use std::collections::VecDeque;

use crate::catalog::{Catalog, LastFrame};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::index::Link;
use crate::names::check_stream_name;
use crate::place::Place;
use crate::position::{Position, Version};
use crate::sync::Arc;

/// How many places are looked up at a time.
const CHUNK: u64 = 256;
/// How many frames are fetched into the processor's cache together.
const TOGETHER: usize = 16;

/// A read of one stream, in order of its versions: a builder, and what a `for` loop takes.
///
/// A stream that does not exist is empty. The read sees what is visible when the loop begins.
///
/// ```
/// use annals::{ExpectedVersion, NewEvent, Store, Version};
/// let store = Store::in_memory()?;
/// let events = ["OrderPlaced", "OrderPaid", "OrderShipped"].map(|name| NewEvent::new(name, ""));
/// store.append("Order-1", ExpectedVersion::NoStream, events)?;
/// let newest = store.read_stream("Order-1").backwards().limit(1).into_iter().next().unwrap()?;
/// assert_eq!(newest.event_type(), "OrderShipped");
/// assert_eq!(store.read_stream("Order-1").after(Version(1)).into_iter().count(), 2);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a read does nothing until it is iterated"]
pub struct ReadStream {
    catalog: Result<Arc<Catalog>>,
    stream: String,
    after: Option<Version>,
    backwards: bool,
    limit: usize,
}

impl ReadStream {
    pub(crate) fn new(catalog: Result<Arc<Catalog>>, stream: &str) -> Self {
        Self { catalog, stream: stream.into(), after: None, backwards: false, limit: usize::MAX }
    }

    /// Only events behind a version: above it, or below it when reading backwards.
    pub fn after(mut self, version: Version) -> Self {
        self.after = Some(version);
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

    fn source(self) -> Result<Source> {
        let catalog = self.catalog?;
        check_stream_name(&self.stream)?;
        let visible = catalog.pin()?;
        let hash = catalog.index.hasher().stream(&self.stream);
        let head = catalog.index.head(&self.stream, hash)?;
        let (mut first, mut last) = (1, head.map_or(0, |head| head.version.0));
        match self.after {
            Some(Version(after)) if self.backwards => last = last.min(after.saturating_sub(1)),
            Some(Version(after)) => first = after.saturating_add(1),
            None => {}
        }
        if !self.backwards {
            let limit = u64::try_from(self.limit).unwrap_or(u64::MAX);
            last = last.min(first.saturating_add(limit).saturating_sub(1));
        }
        // Backwards from a version that is there, the damaged end is not met.
        let newest = head.map_or(0, |head| head.version.0);
        let is_inside = self.after.is_some_and(|after| after.0 <= newest.saturating_add(1));
        let damage = catalog.damage().filter(|_| !(self.backwards && is_inside));
        let (name, backwards) = (self.stream, self.backwards);
        let mut source = Source {
            catalog,
            name,
            hash,
            visible,
            first,
            last,
            backwards,
            chain: Vec::new(),
            places: VecDeque::new(),
            last_frame: None,
            damage,
        };
        if let Some(head) = head
            && first <= last
        {
            source.follow_chain(head.segment)?;
        }
        Ok(source)
    }
}

impl IntoIterator for ReadStream {
    type Item = Result<Event>;
    type IntoIter = StreamEvents;

    fn into_iter(self) -> StreamEvents {
        let left = self.limit;
        StreamEvents { source: Some(self.source()), left }
    }
}

/// The iterator over a stream's events. It ends with `None`, or with one error.
#[derive(Debug)]
pub struct StreamEvents {
    source: Option<Result<Source>>,
    left: usize,
}

#[derive(Debug)]
struct Source {
    catalog: Arc<Catalog>,
    name: String,
    hash: u64,
    visible: Position,
    /// The versions that are left to read.
    first: u64,
    last: u64,
    backwards: bool,
    /// The segments to read from, the next one last.
    chain: Vec<Link>,
    /// Looked up, not yet read.
    places: VecDeque<Place>,
    last_frame: LastFrame,
    damage: Option<Error>,
}

impl Iterator for StreamEvents {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        if self.left == 0 {
            return None;
        }
        let read = match self.source.as_mut()? {
            Ok(source) => source.next().transpose(),
            Err(_) => self.source.take().and_then(Result::err).map(Err),
        };
        match &read {
            Some(Ok(_)) => self.left -= 1,
            _ => self.source = None,
        }
        read
    }
}

impl Source {
    fn next(&mut self) -> Result<Option<Event>> {
        if self.backwards
            && let Some(damage) = self.damage.take()
        {
            return Err(damage);
        }
        loop {
            let Some(place) = self.next_place()? else {
                return self.damage.take().map_or(Ok(None), Err);
            };
            let event = self.catalog.event_at(place, &mut self.last_frame)?;
            if event.stream() != self.name {
                let segment = self.catalog.log.segment(place.segment)?;
                return Err(segment.corrupt(place.frame, "an event of the stream", "another's"));
            }
            // Indexed already, but not yet visible when the read began.
            if event.position() > self.visible {
                if self.backwards {
                    continue;
                }
                return Ok(None);
            }
            return Ok(Some(event));
        }
    }

    fn next_place(&mut self) -> Result<Option<Place>> {
        if self.places.is_empty() && self.first <= self.last {
            self.look_up()?;
            if !self.backwards {
                self.fetch_together();
            }
        }
        Ok(if self.backwards { self.places.pop_back() } else { self.places.pop_front() })
    }

    /// Fetches the next frames together, those of the next segments too where one has few of them.
    /// Not backwards: there it is mostly the newest event alone that is wanted.
    fn fetch_together(&mut self) {
        while self.places.len() < TOGETHER && self.first <= self.last {
            // Met again, and said, behind the events that are there.
            if self.look_up().is_err() {
                break;
            }
        }
        self.catalog.log.touch(self.places.iter().take(TOGETHER));
    }

    /// Looks up the places of the next few versions, which are all in one segment, and which follow
    /// those that are there.
    fn look_up(&mut self) -> Result<()> {
        self.move_to_link()?;
        let Some(link) = self.chain.last() else {
            self.last = 0;
            return Ok(());
        };
        let versions = if self.backwards {
            let low = link.first.max(self.first).max((self.last + 1).saturating_sub(CHUNK));
            low..=self.last
        } else {
            self.first..=link.last.min(self.last).min(self.first + CHUNK - 1)
        };
        let index = &self.catalog.index;
        self.places.extend(index.link_places(link, &self.name, self.hash, &versions)?);
        if self.backwards {
            self.last = versions.start() - 1;
        } else {
            self.first = versions.end() + 1;
        }
        Ok(())
    }

    /// Moves to the segment that holds the next version to read, at the end of the chain.
    fn move_to_link(&mut self) -> Result<()> {
        while let Some(link) = self.chain.last() {
            let holds =
                if self.backwards { link.first <= self.last } else { self.first <= link.last };
            if holds {
                return Ok(());
            }
            let previous = link.previous;
            self.chain.pop();
            if self.backwards && previous != 0 {
                self.chain.extend(self.link(previous)?);
            }
        }
        Ok(())
    }

    /// Collects the segments from the newest one that holds the stream back to the one that holds
    /// the first version to read. Backwards, links are followed one by one as they are needed.
    fn follow_chain(&mut self, newest: u32) -> Result<()> {
        let mut next = newest;
        while next != 0 {
            let Some(link) = self.link(next)? else { break };
            let is_enough = self.backwards || link.first <= self.first;
            next = if is_enough { 0 } else { link.previous };
            self.chain.push(link);
        }
        Ok(())
    }

    fn link(&self, segment: u32) -> Result<Option<Link>> {
        self.catalog.index.link(segment, &self.name, self.hash)
    }
}
