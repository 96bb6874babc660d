//! What one caller asks for, prepared on its own thread: validated, encoded, hashed, looked up.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::conditions::{Condition, PreparedCondition};
use crate::catalog::Catalog;
use crate::error::{Error, IdConflict, Result};
use crate::event::Event;
use crate::format::codec::crc32;
use crate::format::entry::put_entry;
use crate::format::frame_writer::events_frame_bound;
use crate::index::Head;
use crate::names::{EventId, Label, check_stream_name};
use crate::new_event::NewEvent;
use crate::options::{Durability, Limits};
use crate::position::{ExpectedVersion, Position, Timestamp};
use crate::state::{self, Change};
use crate::sync::Arc;

/// One append of a batch: a stream, what is expected of it, and its events (none to check only).
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) stream: String,
    pub(crate) expected: ExpectedVersion,
    pub(crate) events: SmallVec<[NewEvent; 1]>,
}

/// A request as the leader takes it.
#[derive(Debug)]
pub(crate) struct Request {
    /// The streams that it names, each once.
    pub(crate) streams: SmallVec<[PreparedStream; 1]>,
    /// The expectations, in the order in which they are checked.
    pub(crate) parts: SmallVec<[PreparedPart; 1]>,
    pub(crate) events: SmallVec<[PreparedEvent; 1]>,
    /// The entries of the events, one behind the other.
    pub(crate) entries: Vec<u8>,
    /// The most bytes that its frame can take.
    pub(crate) frame_bound: usize,
    /// What the caller asks for beyond the store's own mode.
    pub(crate) durability: Option<Durability>,
    /// What must hold of other events.
    pub(crate) conditions: Vec<PreparedCondition>,
    /// Everything up to here was looked at when the streams and ids were looked up.
    pub(crate) looked_up_to: Position,
    /// The stored events that have the ids of this request, as far as there were any.
    pub(crate) stored: Vec<Option<Event>>,
    /// The state writes that commit with its events, and their encoding.
    pub(crate) changes: Vec<Change>,
    pub(crate) state: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct PreparedStream {
    pub(crate) name: String,
    pub(crate) hash: u64,
    pub(crate) head: Option<Head>,
    /// How many events go to it; none where it is only checked.
    pub(crate) events: u32,
    /// Its number among those that events go to.
    pub(crate) number: u16,
}

#[derive(Debug)]
pub(crate) struct PreparedPart {
    pub(crate) stream: usize,
    pub(crate) expected: ExpectedVersion,
    /// How many events of the request stand before its own in its stream.
    pub(crate) before: u32,
    /// Its events, as a range of the request's.
    pub(crate) events: std::ops::Range<usize>,
}

#[derive(Debug)]
pub(crate) struct PreparedEvent {
    pub(crate) stream: usize,
    /// How many events of the request stand before it in its stream.
    pub(crate) nth: u32,
    /// Where its entry ends in the entries.
    pub(crate) end: u32,
    pub(crate) crc: u32,
    pub(crate) id: Option<EventId>,
    pub(crate) event_type: String,
    pub(crate) schema_version: u32,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) tags: Vec<String>,
    pub(crate) correlation: Option<String>,
    pub(crate) causation: Option<String>,
    /// The hashes of its labels, once they are looked up.
    pub(crate) label_hashes: Vec<u64>,
}

impl PreparedStream {
    pub(crate) const fn is_written(&self) -> bool {
        self.events > 0
    }
}

impl PreparedEvent {
    const fn has_labels(&self) -> bool {
        !self.tags.is_empty() || self.correlation.is_some() || self.causation.is_some()
    }

    fn labels(&self) -> impl Iterator<Item = Label<'_>> {
        let tags = self.tags.iter().map(|tag| Label::Tag(tag));
        let correlation = self.correlation.as_deref().map(Label::Correlation);
        tags.chain(correlation).chain(self.causation.as_deref().map(Label::Causation))
    }
}

impl Request {
    /// Checks and encodes, without looking anything up. What the parts hold is taken out of them.
    pub(crate) fn prepare(
        parts: &mut [Part],
        conditions: Vec<Condition>,
        durability: Option<Durability>,
        limits: &Limits,
    ) -> Result<Box<Self>> {
        let count: usize = parts.iter().map(|part| part.events.len()).sum();
        if count == 0 {
            return Err(Error::EmptyAppend);
        }
        if count as u64 > limits.append_events {
            return Err(Error::limit("events of an append", limits.append_events, count as u64));
        }
        conditions.iter().try_for_each(|condition| condition.query.check())?;
        let events = parts.iter().flat_map(|part| &part.events);
        // In a box: it is handed from place to place, and is large.
        let mut request = Box::new(Self {
            streams: SmallVec::with_capacity(parts.len()),
            parts: SmallVec::with_capacity(parts.len()),
            events: SmallVec::with_capacity(count),
            entries: Vec::with_capacity(events.map(entry_bytes).sum()),
            frame_bound: 0,
            durability,
            conditions: conditions.into_iter().map(PreparedCondition::new).collect(),
            looked_up_to: Position::START,
            stored: Vec::new(),
            changes: Vec::new(),
            state: Vec::new(),
        });
        let ids = ids_of(parts)?;
        let mut ids = ids.into_iter();
        // A few streams are looked through faster than looked up.
        let mut known = (parts.len() > 8).then(HashMap::new);
        for part in parts {
            request.add(part, known.as_mut(), &mut ids, limits)?;
        }
        let written = request.streams.iter_mut().filter(|stream| stream.is_written());
        for (number, stream) in written.enumerate() {
            // There are no more of them than events, which a u16 counts.
            stream.number = u16::try_from(number).unwrap_or(u16::MAX);
        }
        let names = request.streams.iter().map(|stream| stream.name.len());
        request.frame_bound = events_frame_bound(names, count, request.entries.len(), 0);
        let bytes = request.frame_bound as u64;
        if bytes > limits.append_bytes {
            return Err(Error::limit("bytes of an append", limits.append_bytes, bytes));
        }
        Ok(request)
    }

    fn add(
        &mut self,
        part: &mut Part,
        mut known: Option<&mut HashMap<String, usize>>,
        ids: &mut impl Iterator<Item = Option<EventId>>,
        limits: &Limits,
    ) -> Result<()> {
        check_stream_name(&part.stream)?;
        let found = match &known {
            Some(known) => known.get(&part.stream).copied(),
            None => self.streams.iter().position(|stream| stream.name == part.stream),
        };
        let stream = found.unwrap_or_else(|| {
            let next = self.streams.len();
            if let Some(known) = &mut known {
                known.insert(part.stream.clone(), next);
            }
            let (name, hash, head) = (std::mem::take(&mut part.stream), 0, None);
            self.streams.push(PreparedStream { name, hash, head, events: 0, number: 0 });
            next
        });
        let first = self.events.len();
        let before = self.streams.get(stream).map_or(0, |stream| stream.events);
        let mut nth = before;
        for event in part.events.drain(..) {
            event.check(limits)?;
            let start = self.entries.len();
            let id = ids.next().flatten();
            put_entry(&mut self.entries, &event, id);
            let entry = self.entries.get(start..).unwrap_or_default();
            if entry.len() as u64 > limits.event_bytes {
                let found = entry.len() as u64;
                return Err(Error::limit("bytes of an event", limits.event_bytes, found));
            }
            let crc = crc32(entry);
            let end = u32::try_from(self.entries.len()).map_err(|_| {
                let found = self.entries.len() as u64;
                Error::limit("bytes of an append", limits.append_bytes, found)
            })?;
            let NewEvent { event_type, schema_version, created_at, .. } = event;
            let NewEvent { tags, correlation, causation, .. } = event;
            self.events.push(PreparedEvent {
                stream,
                nth,
                end,
                crc,
                id,
                event_type,
                schema_version,
                created_at,
                tags,
                correlation,
                causation,
                label_hashes: Vec::new(),
            });
            nth += 1;
        }
        // The caller keeps the part until it has its answer.
        part.events.shrink_to_fit();
        let events = first..self.events.len();
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.events = nth;
        }
        self.parts.push(PreparedPart { stream, expected: part.expected, before, events });
        Ok(())
    }

    /// Adds state writes that commit with the events.
    pub(crate) fn add_state(&mut self, changes: Vec<Change>, limits: &Limits) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        state::check(&changes)?;
        self.state = state::encode(&changes);
        self.changes = changes;
        self.frame_bound += self.state.len();
        let bytes = self.frame_bound as u64;
        if bytes > limits.append_bytes {
            return Err(Error::limit("bytes of an append", limits.append_bytes, bytes));
        }
        Ok(())
    }

    /// Whether the events of all its ids are stored: it was made before, or is refused.
    pub(crate) fn is_stored(&self) -> bool {
        !self.stored.is_empty() && self.stored.iter().all(Option::is_some)
    }

    /// Looks up streams and ids, so that the leader need not.
    pub(crate) fn look_up(&mut self, catalog: &Arc<Catalog>) -> Result<()> {
        // What is visible is indexed, so whatever the look-ups miss comes after this position.
        let upto = catalog.watermark.visible();
        self.looked_up_to = upto;
        for stream in &mut self.streams {
            stream.hash = catalog.index.hasher().stream(&stream.name);
            stream.head = catalog.index.head(&stream.name, stream.hash)?;
        }
        for condition in &mut self.conditions {
            condition.look_up(catalog, upto)?;
        }
        let hasher = catalog.index.hasher();
        for event in self.events.iter_mut().filter(|event| event.has_labels()) {
            event.label_hashes = event.labels().map(|label| hasher.label(label)).collect();
        }
        if self.events.iter().any(|event| event.id.is_some()) {
            let mut last = None;
            self.stored = self
                .events
                .iter()
                .map(|event| match event.id {
                    Some(id) => catalog.event_by_id(id, Position::START, upto, &mut last),
                    None => Ok(None),
                })
                .collect::<Result<_>>()?;
        }
        Ok(())
    }

    /// The bytes of an event's entry.
    pub(crate) fn entry(&self, event: usize) -> &[u8] {
        let end = |event: usize| self.events.get(event).map_or(0, |event| event.end as usize);
        let start = event.checked_sub(1).map_or(0, end);
        self.entries.get(start..end(event)).unwrap_or_default()
    }
}

/// About how many bytes the entry of an event takes: enough for all but those with many labels.
fn entry_bytes(event: &NewEvent) -> usize {
    64 + event.event_type.len() + event.metadata.len() + event.data.len()
}

/// The ids of all events of a request: given, or derived from the nearest given one before (else
/// the first). Empty where none is given.
fn ids_of(parts: &[Part]) -> Result<Vec<Option<EventId>>> {
    let given = || parts.iter().flat_map(|part| part.events.iter().map(|event| event.id));
    let Some(first) = given().position(|id| id.is_some()) else {
        return Ok(Vec::new());
    };
    let given: Vec<Option<EventId>> = given().collect();
    let mut base = first;
    let mut ids = Vec::with_capacity(given.len());
    for (index, id) in given.iter().enumerate() {
        if id.is_some() {
            base = index;
        }
        let distance = index.cast_signed() - base.cast_signed();
        let derived = given.get(base).copied().flatten();
        ids.push(id.or_else(|| derived.map(|id| id.derived(distance as i64))));
    }
    let mut seen = std::collections::HashSet::with_capacity(ids.len());
    match ids.iter().flatten().find(|id| !seen.insert(**id)) {
        Some(id) => Err(Error::IdConflict(IdConflict::Repeated { id: *id })),
        None => Ok(ids),
    }
}
