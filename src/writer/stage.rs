//! Staging: what becomes of one request, given what is committed and what is staged before it.

use super::core::Core;
use super::ids::{Holder, compare};
use super::request::Request;
use super::staged::{Before, Staged, StagedFrame};
use crate::error::{Conflict, Error, FailedCondition, Result};
use crate::event::{Appended, Done, Event};
use crate::format::frame::time_that_fits;
use crate::format::frame_writer::{FrameEvent, FrameStream};
use crate::index::Head;
use crate::position::{ExpectedVersion, Position, Version};

/// The answer to a request, and what it rests on.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) answer: Result<Done>,
    pub(super) rests_on: Rests,
}

/// What an answer rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rests {
    /// Only on what was committed before.
    Not,
    /// On events that are staged and not yet durable: its own, or those of others.
    OnStaged,
}

impl Verdict {
    pub(super) const fn settled(answer: Result<Done>) -> Self {
        Self { answer, rests_on: Rests::Not }
    }

    const fn new(answer: Result<Done>, is_resting: bool) -> Self {
        Self { answer, rests_on: if is_resting { Rests::OnStaged } else { Rests::Not } }
    }
}

/// The frame does not fit the segment.
pub(super) struct Full;

impl Core {
    /// Decides about one request against what is committed and what is staged before it.
    pub(super) fn stage(
        &mut self,
        group: &[Box<Request>],
        index: usize,
        staged: &mut Staged,
    ) -> Result<Verdict, Full> {
        let Some(request) = group.get(index) else {
            return Ok(Verdict::settled(Err(Error::EmptyAppend)));
        };
        match self.retry_of(group, request, staged) {
            Ok(None) => {}
            Ok(Some((done, rests))) => {
                // The answer comes once the original is as durable as this caller asks.
                let durable = self.catalog.watermark.durable();
                let asks = done.iter().any(|done| done.position > durable) && staged.ask(request);
                return Ok(Verdict::new(Ok(done), rests || asks));
            }
            Err((e, rests)) => return Ok(Verdict::new(Err(e), rests)),
        }
        let before = match self.heads(group, request, staged) {
            Ok(heads) => heads,
            Err(e) => return Ok(Verdict::settled(Err(Error::not_written(e)))),
        };
        for part in &request.parts {
            let Some((head, is_staged)) = before.get(part.stream) else { continue };
            let version = head.version.0.saturating_add(u64::from(part.before));
            if !part.expected.accepts(Version(version)) {
                let refusal = Err(conflict(request, part.stream, part.expected, version));
                return Ok(Verdict::new(refusal, *is_staged));
            }
        }
        match self.failed_condition(group, request, staged) {
            Ok(None) => {}
            Ok(Some((failed, rests))) => {
                return Ok(Verdict::new(Err(Error::ConditionFailed(failed)), rests));
            }
            Err(e) => return Ok(Verdict::settled(Err(Error::not_written(e)))),
        }
        if !self.tail.fits(request.frame_bound) {
            return Err(Full);
        }
        if self.next_position().saturating_add(request.events.len() as u64) > Position::MAX.0 {
            let limit = Error::limit("events in a store", Position::MAX.0, u64::MAX);
            return Ok(Verdict::settled(Err(limit)));
        }
        Ok(Verdict::new(Ok(self.number(group, request, index, before, staged)), true))
    }

    /// The first condition that does not hold, and whether that rests on staged events.
    fn failed_condition(
        &self,
        group: &[Box<Request>],
        request: &Request,
        staged: &Staged,
    ) -> Result<Option<(FailedCondition, bool)>> {
        let visible = self.catalog.watermark.visible();
        for (condition, prepared) in request.conditions.iter().enumerate() {
            let required = prepared.condition.requires;
            let in_group = staged.newest_match(group, &prepared.condition.query);
            let position = match in_group {
                Some(position) => Some(position),
                None => prepared.newest(&self.catalog, request.looked_up_to, visible)?,
            };
            if position.is_some() != required {
                let failed = FailedCondition { condition, required, position };
                return Ok(Some((failed, in_group.is_some())));
            }
        }
        Ok(None)
    }

    /// Gives a request its place: numbers its events and stages its frame.
    fn number(
        &mut self,
        group: &[Box<Request>],
        request: &Request,
        index: usize,
        before: Before,
        staged: &mut Staged,
    ) -> Done {
        let first_position = self.next_position();
        self.last_time = self.last_time.max(time_that_fits(self.dir.now()));
        // Streams that are only checked do not stand in the frame.
        let streams = request.streams.iter().zip(&before).filter(|(stream, _)| stream.is_written());
        let streams = streams.map(|(stream, (head, _))| FrameStream {
            name: &stream.name,
            first_version: head.version.0 + 1,
        });
        let events = request.events.iter().map(|event| FrameEvent {
            crc: event.crc,
            end: event.end,
            stream: request.streams.get(event.stream).map_or(0, |stream| stream.number),
            version_offset: u16::try_from(event.nth).unwrap_or(u16::MAX),
        });
        let time = self.last_time;
        let (entries, state) = (&request.entries, &request.state);
        let offset = self.tail.stage(time, streams, events, entries, state);
        // Only later requests of the group look these up.
        if index + 1 < group.len() {
            let segment = self.tail.segment().ordinal();
            staged.add_heads(group, index, &before, segment);
            let ids = request.events.iter().enumerate();
            let ids = ids.filter_map(|(event, prepared)| Some((prepared.id?, (index, event))));
            staged.ids.extend(ids);
        }
        staged.ask(request);
        let result = appended(request, &before, first_position);
        staged.frames.push(StagedFrame { request: index, offset, time, first_position, before });
        result
    }

    /// The streams of a request as they are now, and whether that rests on staged events.
    fn heads(&self, group: &[Box<Request>], request: &Request, staged: &Staged) -> Result<Before> {
        let none = Head { version: Version::NONE, segment: 0 };
        // Whatever was committed is visible by now, so mostly nothing came since the look-up.
        let is_current = request.looked_up_to == self.catalog.watermark.visible();
        let mut heads = Before::with_capacity(request.streams.len());
        for stream in &request.streams {
            if let Some(head) = staged.head(group, stream) {
                heads.push((head, true));
                continue;
            }
            let mut head = stream.head;
            if !is_current {
                let after = request.looked_up_to;
                let newer = self.catalog.index.head_after(&stream.name, stream.hash, after)?;
                head = newer.or(head);
            }
            heads.push((head.unwrap_or(none), false));
        }
        Ok(heads)
    }

    /// Whether the request was made before, and whether that rests on staged events.
    fn retry_of(
        &self,
        group: &[Box<Request>],
        request: &Request,
        staged: &Staged,
    ) -> Result<Option<(Done, bool)>, (Error, bool)> {
        if request.events.iter().all(|event| event.id.is_none()) {
            return Ok(None);
        }
        // What was committed since the request looked its ids up.
        let upto = Position(self.catalog.watermark.visible().0);
        let mut last = None;
        let mut newer: Vec<Option<Event>> = Vec::with_capacity(request.events.len());
        for event in &request.events {
            let found = match event.id {
                Some(id) => self.catalog.event_by_id(id, request.looked_up_to, upto, &mut last),
                None => Ok(None),
            };
            newer.push(found.map_err(|e| (Error::not_written(e), false))?);
        }
        let mut rests = false;
        let mut holders = Vec::with_capacity(request.events.len());
        for (index, event) in request.events.iter().enumerate() {
            let stored = request.stored.get(index).and_then(Option::as_ref);
            let committed = stored.or(newer.get(index).and_then(Option::as_ref));
            let holder = match committed {
                Some(event) => Some(Holder::of_event(event)),
                None => event.id.and_then(|id| {
                    let (request, event) = *staged.ids.get(&id)?;
                    rests = true;
                    staged.holder(group, request, event)
                }),
            };
            holders.push(holder);
        }
        match compare(request, &holders) {
            Ok(Some(done)) => Ok(Some((done, rests))),
            Ok(None) => Ok(None),
            Err(e) => Err((e, rests)),
        }
    }
}

fn conflict(request: &Request, stream: usize, expected: ExpectedVersion, actual: u64) -> Error {
    let stream = request.streams.get(stream).map(|stream| stream.name.clone()).unwrap_or_default();
    Error::Conflict(Conflict { stream, expected, actual: Version(actual) })
}

/// The result of each part that has events.
fn appended(request: &Request, before: &Before, first_position: u64) -> Done {
    let mut done = Done::new();
    for part in request.parts.iter().filter(|part| !part.events.is_empty()) {
        let Some((head, _)) = before.get(part.stream) else { continue };
        let version = head.version.0 + u64::from(part.before) + part.events.len() as u64;
        let position = first_position + part.events.end as u64 - 1;
        let (version, position) = (Version(version), Position(position));
        done.push(Appended { version, position, deduplicated: false });
    }
    done
}
