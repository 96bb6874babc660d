//! Layer 3: segments in order, the active tail, sealing, and recovery.

pub(crate) mod frame_at;
pub(crate) mod head;
mod held;
pub(crate) mod prepare;
pub(crate) mod recovery;
pub(crate) mod scan;
pub(crate) mod segment;
pub(crate) mod source;
mod state_writes;
pub(crate) mod survey;
pub(crate) mod tail;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::event::Event;
use crate::format::files::LOG;
use crate::format::segment::HEADER_BYTES;
use crate::place::{Frames, LoggedEvent, Place};
use crate::position::{Position, Version};
use crate::storage::Dir;
use crate::sync::{Arc, RwLock};

use frame_at::FrameAt;
pub(crate) use segment::Segment;
use source::Fetch;

/// Makes the names of a store's files durable. A process that was killed, or whoever has copied the
/// store, may have left names that are visible and not durable: what is built on them must not
/// outlive them.
pub(crate) fn sync_names(dir: &Dir) -> Result<()> {
    dir.sync_dir("")?;
    dir.sync_dir(LOG)
}

/// All segments that hold events, oldest first: an immutable list that is replaced as a whole.
#[derive(Debug)]
pub(crate) struct Log {
    segments: RwLock<Arc<Vec<Arc<Segment>>>>,
}

impl Log {
    pub(crate) fn new(segments: Vec<Arc<Segment>>) -> Self {
        Self { segments: RwLock::new(Arc::new(segments)) }
    }

    /// The segments as they are now.
    pub(crate) fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        Arc::clone(&self.segments.read())
    }

    /// Adds the new active segment. Called before any position of it becomes visible.
    pub(crate) fn push(&self, segment: Arc<Segment>) {
        let mut segments = self.segments.write();
        let mut list = Vec::clone(&segments);
        list.push(segment);
        *segments = Arc::new(list);
    }

    /// Puts another segment in the place of the active one, which holds no event.
    pub(crate) fn replace_last(&self, segment: Arc<Segment>) {
        let mut segments = self.segments.write();
        let mut list = Vec::clone(&segments);
        list.pop();
        list.push(segment);
        *segments = Arc::new(list);
    }

    /// The segment with an ordinal.
    pub(crate) fn segment(&self, ordinal: u32) -> Result<Arc<Segment>> {
        let segments = self.segments();
        let first = segments.first().map_or(1, |segment| segment.ordinal());
        let index = ordinal.checked_sub(first).map(|index| index as usize);
        index
            .and_then(|index| segments.get(index))
            .filter(|segment| segment.ordinal() == ordinal)
            .cloned()
            .ok_or_else(|| {
                let wanted = format!("segment {ordinal}");
                Error::corrupt("log", 0, wanted, format!("{} segments", segments.len()))
            })
    }

    /// Fetches the frames at some places from the disk and into the processor's cache, all of them
    /// together, and then the events' entries, which are not with the heads in frames of many.
    pub(crate) fn touch<'a>(&self, places: impl Iterator<Item = &'a Place> + Clone) {
        let segments = self.segments();
        let first = segments.first().map_or(1, |segment| segment.ordinal());
        let segment = |place: &Place| segments.get(place.segment.wrapping_sub(first) as usize);
        let span = source::span();
        let mut before: Option<&Place> = None;
        for place in places.clone() {
            let before = before.replace(place).filter(|before| before.segment == place.segment);
            if let Fetch::One = Fetch::behind(before.map(|before| before.frame), place.frame)
                && let Some(segment) = segment(place)
            {
                segment.ask(span, place.frame);
            }
        }
        let heads = places.clone().fold(0, |all, place| {
            all ^ segment(place).map_or(0, |segment| segment.touch(place.frame))
        });
        let touched = places.fold(heads, |all, place| {
            all ^ segment(place).map_or(0, |s| s.touch_entry(place.frame, place.ordinal))
        });
        // What is read is not used, and must not be left out for that.
        std::hint::black_box(touched);
    }

    /// The base position of the segment behind one; the highest number behind the last.
    pub(crate) fn base_behind(&self, ordinal: u32) -> u64 {
        self.segment(ordinal + 1).map_or(u64::MAX, |next| next.base())
    }

    /// The segment that holds a position, which must be above 0 and visible.
    pub(crate) fn segment_of(&self, position: Position) -> Option<Arc<Segment>> {
        let segments = self.segments();
        let behind = segments.partition_point(|segment| segment.base() <= position.0);
        segments.get(behind.checked_sub(1)?).cloned()
    }
}

/// An event of the frame at an offset, as the index takes it in.
pub(crate) fn logged(frame: u32, event: &Event) -> LoggedEvent<'_> {
    LoggedEvent {
        frame,
        stream: event.stream(),
        version: event.version.0,
        event_type: event.event_type(),
        schema_version: event.schema_version(),
        created_at: event.created_at(),
        id: event.given_id(),
        labels: event.labels().collect(),
    }
}

/// A frame anywhere in a segment, of which one event is wanted.
fn frame_of_one(segment: &Segment, offset: u32) -> Result<FrameAt> {
    segment.ask_now(offset);
    segment.frame(offset, Fetch::One)
}

impl Frames for Log {
    fn stream_is(&self, place: Place, name: &str) -> Result<bool> {
        self.with_name(place, |found| found == name.as_bytes())
    }

    fn stream_name(&self, place: Place) -> Result<String> {
        self.with_name(place, |found| String::from_utf8_lossy(found).into_owned())
    }

    fn last_of_stream(
        &self,
        segment: u32,
        frame: u32,
        name: &str,
    ) -> Result<Option<(Version, Position)>> {
        let segment = self.segment(segment)?;
        let at = frame_of_one(&segment, frame)?;
        Ok(segment.last_of_stream(&at, name))
    }

    fn replay(
        &self,
        segment: u32,
        from: u32,
        events: u32,
        each: &mut dyn FnMut(&LoggedEvent<'_>) -> Result<()>,
    ) -> Result<()> {
        let segment = self.segment(segment)?;
        let mut seen = 0;
        let mut at = segment.frame(from.max(HEADER_BYTES), Fetch::Ahead)?;
        loop {
            for index in 0..at.frame.events {
                let event = segment.event(&at, index)?;
                each(&logged(at.offset, &event))?;
                seen += 1;
            }
            if seen >= events {
                return Ok(());
            }
            segment.next_frame(&mut at)?;
        }
    }
}

impl Log {
    /// Looks at the name of an event's stream, in its frame.
    fn with_name<T>(&self, place: Place, look: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let segment = self.segment(place.segment)?;
        let at = frame_of_one(&segment, place.frame)?;
        let index = place.ordinal.checked_sub(at.frame.first).and_then(|i| u16::try_from(i).ok());
        let bytes = at.bytes();
        let name = index
            .and_then(|index| at.frame.event(bytes, index))
            .and_then(|event| at.stream(bytes, event.stream))
            .and_then(|(_, span)| bytes.get(span.range()));
        name.map(look)
            .ok_or_else(|| segment.corrupt(place.frame, "the event that the index names", "none"))
    }
}
