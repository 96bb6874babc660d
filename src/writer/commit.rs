//! The commit: a state machine that one caller at a time drives, without threads and locks.
//!
//! A group is staged request by request (ids, then expectations, then numbers), written in one
//! call, synced once, indexed, and only then shown.

use std::collections::HashMap;

use super::ids::{Content, Holder, compare};
use super::request::Request;
use super::upkeep::Frozen;
use crate::catalog::Catalog;
use crate::error::{Conflict, Error, Result};
use crate::event::{Appended, Event};
use crate::format::frame::{FrameEvent, FrameStream};
use crate::index::{Head, Indexed};
use crate::log::prepare::Prepared;
use crate::log::tail::Tail;
use crate::names::EventId;
use crate::options::{Durability, Settings};
use crate::position::{Position, Timestamp, Version};
use crate::storage::Dir;
use crate::sync::Arc;

/// In `Interval`, groups are written early once so many bytes wait.
const HELD_BYTES: u32 = 1 << 20;

/// What a core is made of when the store has been opened.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) dir: Dir,
    pub(crate) store: [u8; 16],
    pub(crate) settings: Settings,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) tail: Tail,
    pub(crate) prepared: Option<Prepared>,
    /// The newest commit time of the log.
    pub(crate) last_time: Timestamp,
    /// The index checkpoint says that the store was closed in good order.
    pub(crate) marked_clean: bool,
}

/// The writer's state.
#[derive(Debug)]
pub(crate) struct Core {
    pub(super) dir: Dir,
    pub(super) store: [u8; 16],
    pub(super) settings: Settings,
    pub(super) catalog: Arc<Catalog>,
    pub(super) tail: Tail,
    /// The segment that comes next, if it is ready.
    pub(super) prepared: Option<Prepared>,
    pub(super) last_time: Timestamp,
    marked_clean: bool,
    /// The first failure of a write or a sync. Nothing is written after it.
    poison: Option<Arc<Error>>,
    /// Where the last index checkpoint of the active segment ends.
    pub(super) checkpoint_end: u32,
}

/// The answer to a request, and what it depends on.
#[derive(Debug)]
enum Verdict {
    /// Its events are staged.
    Staged(Vec<Appended>),
    /// The answer rests on what was committed before.
    Answer(Result<Vec<Appended>>),
    /// The answer rests on events that are staged and not yet durable.
    Resting(Result<Vec<Appended>>),
}

/// Events that are staged: numbered and framed, but not written.
#[derive(Debug, Default)]
struct Staged {
    /// Streams as they will be, and the segment that holds them then.
    heads: HashMap<String, Head>,
    /// Which event has an id, as (request, event).
    ids: HashMap<EventId, (usize, usize)>,
    frames: Vec<StagedFrame>,
    /// Some request asks for a sync.
    wants_sync: bool,
}

#[derive(Debug)]
struct StagedFrame {
    request: usize,
    offset: u32,
    time: Timestamp,
    first_position: u64,
    /// For each stream of the request: the version before the frame, and the segment before.
    before: Vec<(u64, u32)>,
}

impl Core {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { dir, store, settings, catalog, tail, prepared, last_time, marked_clean } =
            parts;
        let checkpoint_end = tail.progress().end;
        Self {
            dir,
            store,
            settings,
            catalog,
            tail,
            prepared,
            last_time,
            marked_clean,
            poison: None,
            checkpoint_end,
        }
    }

    /// Commits a group and answers each request, in order.
    pub(crate) fn commit(&mut self, group: &[Request]) -> Vec<Result<Vec<Appended>>> {
        if let Err(e) = self.ready() {
            return group.iter().map(|_| Err(e.clone())).collect();
        }
        let mut verdicts: Vec<Verdict> = Vec::with_capacity(group.len());
        let mut settled = 0;
        let mut staged = Staged::default();
        for (index, request) in group.iter().enumerate() {
            let verdict = match self.stage(group, index, &mut staged) {
                Ok(verdict) => verdict,
                Err(Full) => {
                    // The frame does not fit: what is staged goes out, then the segment is rolled.
                    let outcome = self.flush(group, &staged);
                    settle(&mut verdicts, &mut settled, outcome.as_ref());
                    staged = Staged::default();
                    match outcome.and_then(|()| self.roll(request.frame_bound)) {
                        Ok(()) => self
                            .stage(group, index, &mut staged)
                            .unwrap_or_else(|Full| Verdict::Answer(Err(too_large(request)))),
                        Err(e) => Verdict::Answer(Err(e)),
                    }
                }
            };
            verdicts.push(verdict);
        }
        let outcome = self.flush(group, &staged);
        settle(&mut verdicts, &mut settled, outcome.as_ref());
        verdicts
            .into_iter()
            .map(|verdict| match verdict {
                Verdict::Staged(done) => Ok(done),
                Verdict::Answer(answer) | Verdict::Resting(answer) => answer,
            })
            .collect()
    }

    /// Writes and syncs whatever is not, and says up to where everything is durable.
    pub(crate) fn sync(&mut self) -> Result<Position> {
        self.check_poison()?;
        self.write_held()?;
        self.sync_tail()?;
        Ok(self.catalog.watermark.durable())
    }

    /// Ends in good order: everything is written, marked with a watermark frame, and synced.
    /// Returns the index to save as clean, unless it is saved already.
    pub(crate) fn finish(&mut self) -> Result<Option<Frozen>> {
        self.check_poison()?;
        if self.marked_clean {
            return Ok(None);
        }
        self.sync()?;
        self.tail.stage_watermark(self.last_time);
        let written = self.tail.write();
        written.map_err(|e| self.poisoned_by(e))?;
        self.sync_tail()?;
        self.freeze(0)
    }

    /// Takes note of a failure outside the core that must stop the writer: a panic, or a sync that
    /// was made elsewhere.
    pub(crate) fn poison(&mut self, cause: Error) -> Error {
        self.poisoned_by(cause)
    }

    /// The first failure, if there was one.
    pub(crate) fn check_poison(&self) -> Result<()> {
        match &self.poison {
            Some(cause) => Err(Error::Poisoned { cause: Arc::clone(cause) }),
            None => Ok(()),
        }
    }

    pub(super) const fn poisoned(&self) -> bool {
        self.poison.is_some()
    }

    /// Before a group: nothing failed earlier, and the clean mark of an earlier close is gone.
    fn ready(&mut self) -> Result<()> {
        self.check_poison()?;
        if self.marked_clean {
            let ordinal = self.tail.segment().ordinal();
            self.catalog.index.mark_dirty(ordinal).map_err(Error::not_written)?;
            self.marked_clean = false;
        }
        Ok(())
    }

    /// Decides about one request against what is committed and what is staged before it.
    fn stage(
        &mut self,
        group: &[Request],
        index: usize,
        staged: &mut Staged,
    ) -> Result<Verdict, Full> {
        let Some(request) = group.get(index) else {
            return Ok(Verdict::Answer(Err(Error::EmptyAppend)));
        };
        match self.retry_of(group, request, staged) {
            Ok(None) => {}
            Ok(Some((done, false))) => return Ok(Verdict::Answer(Ok(done))),
            Ok(Some((done, true))) => return Ok(Verdict::Resting(Ok(done))),
            Err((e, false)) => return Ok(Verdict::Answer(Err(e))),
            Err((e, true)) => return Ok(Verdict::Resting(Err(e))),
        }
        let heads = match self.heads(request, staged) {
            Ok(heads) => heads,
            Err(e) => return Ok(Verdict::Answer(Err(Error::not_written(e)))),
        };
        let mut versions: Vec<u64> = heads.iter().map(|(head, _)| head.version.0).collect();
        for part in &request.parts {
            let Some(version) = versions.get_mut(part.stream) else { continue };
            if !part.expected.accepts(Version(*version)) {
                let rests = heads.get(part.stream).is_some_and(|(_, is_staged)| *is_staged);
                let refusal = Err(conflict(request, part.stream, part.expected, *version));
                return Ok(if rests {
                    Verdict::Resting(refusal)
                } else {
                    Verdict::Answer(refusal)
                });
            }
            *version = version.saturating_add(part.events.len() as u64);
        }
        if !self.tail.fits(request.frame_bound) {
            return Err(Full);
        }
        if self.next_position().saturating_add(request.events.len() as u64) > Position::MAX.0 {
            let limit = Error::limit("events in a store", Position::MAX.0, u64::MAX);
            return Ok(Verdict::Answer(Err(limit)));
        }
        let before = heads.iter().map(|(head, _)| (head.version.0, head.segment)).collect();
        Ok(Verdict::Staged(self.number(request, index, before, staged)))
    }

    /// Gives a request its place: numbers its events and stages its frame.
    fn number(
        &mut self,
        request: &Request,
        index: usize,
        before: Vec<(u64, u32)>,
        staged: &mut Staged,
    ) -> Vec<Appended> {
        let first_position = self.next_position();
        self.last_time = self.last_time.max(self.dir.now());
        let mut next: Vec<u64> = before.iter().map(|(version, _)| *version).collect();
        // Streams that are only checked do not stand in the frame.
        let mut numbers = vec![0_u16; request.streams.len()];
        let written = request.streams.iter().zip(&mut numbers).filter(|(s, _)| s.written);
        for (count, (_, number)) in (0..).zip(written) {
            *number = count;
        }
        let mut events = Vec::with_capacity(request.events.len());
        for event in &request.events {
            let first = before.get(event.stream).map_or(0, |(version, _)| *version);
            let version = next.get_mut(event.stream).map_or(0, |version| {
                *version += 1;
                *version
            });
            events.push(FrameEvent {
                crc: event.crc,
                end: event.end,
                stream: numbers.get(event.stream).copied().unwrap_or_default(),
                version_offset: u16::try_from(version - first - 1).unwrap_or(u16::MAX),
            });
        }
        let streams: Vec<FrameStream<'_>> = request
            .streams
            .iter()
            .zip(&before)
            .filter(|(stream, _)| stream.written)
            .map(|(stream, (version, _))| FrameStream {
                name: &stream.name,
                first_version: version + 1,
            })
            .collect();
        let time = self.last_time;
        let offset = self.tail.stage(time, streams.into_iter(), &events, &request.entries, &[]);
        let segment = self.tail.segment().ordinal();
        for (stream, version) in request.streams.iter().zip(&next).filter(|(s, _)| s.written) {
            let head = Head { version: Version(*version), segment };
            staged.heads.insert(stream.name.clone(), head);
        }
        for (event, prepared) in request.events.iter().enumerate() {
            if let Some(id) = prepared.id {
                staged.ids.insert(id, (index, event));
            }
        }
        staged.wants_sync |= request.durability == Durability::Sync;
        let result = appended(request, &before, first_position);
        staged.frames.push(StagedFrame { request: index, offset, time, first_position, before });
        result
    }

    /// The streams of a request as they are now, and whether that rests on staged events.
    fn heads(&self, request: &Request, staged: &Staged) -> Result<Vec<(Head, bool)>> {
        let none = Head { version: Version::NONE, segment: 0 };
        request
            .streams
            .iter()
            .map(|stream| {
                if let Some(head) = staged.heads.get(&stream.name) {
                    return Ok((*head, true));
                }
                let after = request.looked_up_to;
                let newer = self.catalog.index.head_after(&stream.name, stream.hash, after)?;
                Ok((newer.or(stream.head).unwrap_or(none), false))
            })
            .collect()
    }

    /// Whether the request was made before, and whether that rests on staged events.
    #[expect(clippy::type_complexity, reason = "used once, and said in the line above")]
    fn retry_of(
        &self,
        group: &[Request],
        request: &Request,
        staged: &Staged,
    ) -> Result<Option<(Vec<Appended>, bool)>, (Error, bool)> {
        if request.events.iter().all(|event| event.id.is_none()) {
            return Ok(None);
        }
        // What was committed since the request looked its ids up.
        let upto = Position(self.catalog.watermark.visible().0);
        let mut newer: Vec<Option<Event>> = Vec::with_capacity(request.events.len());
        for event in &request.events {
            let found = match event.id {
                Some(id) => self.catalog.event_by_id(id, request.looked_up_to, upto),
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

    /// Sends out what is staged: one write, one sync, then index, then watermark.
    fn flush(&mut self, group: &[Request], staged: &Staged) -> Result<()> {
        if staged.frames.is_empty() {
            return Ok(());
        }
        let sync = match self.settings.durability {
            Durability::Sync => true,
            Durability::Os | Durability::Interval(_) => staged.wants_sync,
        };
        if sync || self.settings.durability == Durability::Os {
            self.write_held()?;
            let written = self.tail.write();
            written.map_err(|e| self.poisoned_by(e))?;
        } else {
            self.tail.hold();
            if self.tail.held_bytes() >= HELD_BYTES {
                self.write_held()?;
            }
        }
        if sync {
            let synced = self.tail.sync();
            synced.map_err(|e| self.poisoned_by(e))?;
        }
        if let Some(active) = self.catalog.index.active() {
            let hasher = self.catalog.index.hasher();
            active.add_all(staged.indexed(group, *hasher));
        }
        let visible = Position(self.next_position() - 1);
        if sync {
            self.catalog.watermark.make_durable(visible);
        }
        self.catalog.watermark.show(visible);
        Ok(())
    }

    /// Writes the groups that `Interval` holds back.
    pub(super) fn write_held(&mut self) -> Result<()> {
        let flushed = self.tail.flush();
        flushed.map_err(|e| self.poisoned_by(e))
    }

    /// Syncs what was written. Everything that is visible has been written then.
    pub(super) fn sync_tail(&mut self) -> Result<()> {
        let written = Position(self.next_position() - 1);
        let synced = self.tail.sync();
        synced.map_err(|e| self.poisoned_by(e))?;
        self.catalog.watermark.make_durable(written);
        Ok(())
    }

    pub(super) fn poisoned_by(&mut self, cause: Error) -> Error {
        let cause = Arc::new(cause);
        self.poison.get_or_insert_with(|| Arc::clone(&cause));
        Error::Unknown { cause }
    }

    /// The position of the next event.
    pub(super) fn next_position(&self) -> u64 {
        self.tail.segment().base() + u64::from(self.tail.progress().events)
    }
}

/// The frame does not fit the segment.
struct Full;

impl Staged {
    /// The staged event that has an id.
    fn holder<'a>(&self, group: &'a [Request], request: usize, event: usize) -> Option<Holder<'a>> {
        let frame = self.frames.iter().find(|frame| frame.request == request)?;
        let request = group.get(request)?;
        let prepared = request.events.get(event)?;
        let earlier = request.events.get(..event)?;
        let same = earlier.iter().filter(|earlier| earlier.stream == prepared.stream).count();
        let (before, _) = frame.before.get(prepared.stream)?;
        Some(Holder {
            position: Position(frame.first_position + event as u64),
            version: Version(before + 1 + same as u64),
            stream: &request.streams.get(prepared.stream)?.name,
            content: Content::of_entry(request.entry(event))?,
        })
    }

    /// The staged events, as the index takes them in.
    fn indexed<'a>(
        &'a self,
        group: &'a [Request],
        hasher: crate::index::Hasher,
    ) -> impl Iterator<Item = Indexed<'a>> {
        self.frames.iter().flat_map(move |frame| {
            let request = group.get(frame.request);
            let mut next: Vec<u64> = frame.before.iter().map(|(version, _)| *version).collect();
            let events = request.map(|request| request.events.as_slice()).unwrap_or_default();
            events.iter().filter_map(move |event| {
                let stream = request?.streams.get(event.stream)?;
                let version = next.get_mut(event.stream)?;
                *version += 1;
                Some(Indexed {
                    frame: frame.offset,
                    stream: &stream.name,
                    stream_hash: stream.hash,
                    version: *version,
                    previous: frame.before.get(event.stream)?.1,
                    event_type: &event.event_type,
                    created_at: event.created_at.unwrap_or(frame.time),
                    id_hash: event.id.map(|id| hasher.id(id)),
                })
            })
        })
    }
}

/// Answers that rest on a group become what the group became.
fn settle(verdicts: &mut [Verdict], settled: &mut usize, outcome: Result<&(), &Error>) {
    let open = verdicts.get_mut(*settled..).unwrap_or_default();
    if let Err(e) = outcome {
        for verdict in open {
            match verdict {
                Verdict::Staged(_) | Verdict::Resting(Ok(_)) => {
                    *verdict = Verdict::Answer(Err(e.clone()));
                }
                // A refusal that rests on events that are not there now: nothing was written.
                Verdict::Resting(Err(_)) => {
                    *verdict = Verdict::Answer(Err(Error::not_written(e.clone())));
                }
                Verdict::Answer(_) => {}
            }
        }
    }
    *settled = verdicts.len();
}

fn conflict(
    request: &Request,
    stream: usize,
    expected: crate::position::ExpectedVersion,
    actual: u64,
) -> Error {
    let stream = request.streams.get(stream).map(|stream| stream.name.clone()).unwrap_or_default();
    Error::Conflict(Conflict { stream, expected, actual: Version(actual) })
}

fn too_large(request: &Request) -> Error {
    Error::limit("bytes of an append", u64::from(u32::MAX), request.frame_bound as u64)
}

/// The result of each part that has events.
fn appended(request: &Request, before: &[(u64, u32)], first_position: u64) -> Vec<Appended> {
    let mut next: Vec<u64> = before.iter().map(|(version, _)| *version).collect();
    let mut results = Vec::with_capacity(request.parts.len());
    for part in &request.parts {
        let Some(version) = next.get_mut(part.stream) else { continue };
        *version += part.events.len() as u64;
        if !part.events.is_empty() {
            results.push(Appended {
                version: Version(*version),
                position: Position(first_position + part.events.end as u64 - 1),
                deduplicated: false,
            });
        }
    }
    results
}
