//! What a group has staged so far: what later requests of it look at, and what goes out with it.

use std::collections::HashMap;

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::facts::StagedEvent;
use super::ids::{Content, Holder};
use super::request::{PreparedStream, Request};
use crate::index::{Hasher, Head, Indexed};
use crate::names::EventId;
use crate::options::Durability;
use crate::position::{Position, Timestamp, Version};
use crate::query::Query;
use crate::state::{Change, FrameEnd};

/// Events that are staged: numbered and framed, but not written.
#[derive(Debug, Default)]
pub(super) struct Staged {
    /// Streams as they will be.
    heads: HashTable<StagedHead>,
    /// Which event has an id, as (request, event).
    pub(super) ids: HashMap<EventId, (usize, usize)>,
    pub(super) frames: SmallVec<[StagedFrame; 1]>,
    /// Some request asks for a sync, or at least for a write.
    pub(super) wants_sync: bool,
    pub(super) wants_write: bool,
}

/// A stream as it will be: of its request it is known by name.
#[derive(Debug)]
struct StagedHead {
    hash: u64,
    request: usize,
    stream: usize,
    head: Head,
}

#[derive(Debug)]
pub(super) struct StagedFrame {
    pub(super) request: usize,
    pub(super) offset: u32,
    pub(super) time: Timestamp,
    pub(super) first_position: u64,
    pub(super) before: Before,
}

/// For each stream of a request, mostly one: its head before the request's frame, and whether that
/// is staged.
pub(super) type Before = SmallVec<[(Head, bool); 1]>;

impl Staged {
    /// A stream as it will be, where something is staged for it.
    pub(super) fn head(&self, group: &[Box<Request>], stream: &PreparedStream) -> Option<Head> {
        let is_it = |staged: &StagedHead| staged.is(group, stream);
        self.heads.find(stream.hash, is_it).map(|staged| staged.head)
    }

    /// Takes note of the streams of a request as they are behind its frame.
    pub(super) fn add_heads(
        &mut self,
        group: &[Box<Request>],
        request: usize,
        before: &Before,
        segment: u32,
    ) {
        let Some(prepared) = group.get(request) else { return };
        for (stream, prepared, head) in heads_behind(prepared, before, segment) {
            let hash = prepared.hash;
            match self.heads.find_mut(hash, |staged| staged.is(group, prepared)) {
                Some(staged) => staged.head = head,
                None => {
                    let staged = StagedHead { hash, request, stream, head };
                    self.heads.insert_unique(hash, staged, |staged| staged.hash);
                }
            }
        }
    }

    /// Takes note of what a request asks for beyond the store's own mode, if it does.
    pub(super) fn ask(&mut self, request: &Request) -> bool {
        let (sync, write) = match request.durability {
            Some(Durability::Sync) => (true, true),
            Some(Durability::Os) => (false, true),
            Some(Durability::Interval(_)) | None => (false, false),
        };
        self.wants_sync |= sync;
        self.wants_write |= write;
        write
    }

    /// The newest staged event that matches a query.
    pub(super) fn newest_match(&self, group: &[Box<Request>], query: &Query) -> Option<Position> {
        self.frames.iter().rev().find_map(|frame| {
            let request = group.get(frame.request)?;
            let position = |index: usize| Position(frame.first_position + index as u64);
            let events = request.events.iter().enumerate().rev();
            let mut events = events.filter(|(index, _)| position(*index) > query.excluded());
            let found = events.find(|(_, event)| {
                let stream = request.streams.get(event.stream);
                let stream = stream.map_or("", |stream| stream.name.as_str());
                query.admits(&StagedEvent { stream, event, time: frame.time })
            });
            found.map(|(index, _)| position(index))
        })
    }

    /// The staged event that has an id.
    pub(super) fn holder<'a>(
        &self,
        group: &'a [Box<Request>],
        request: usize,
        event: usize,
    ) -> Option<Holder<'a>> {
        let frame = self.frames.iter().find(|frame| frame.request == request)?;
        let request = group.get(request)?;
        let prepared = request.events.get(event)?;
        let (before, _) = frame.before.get(prepared.stream)?;
        Some(Holder {
            position: Position(frame.first_position + event as u64),
            version: Version(before.version.0 + 1 + u64::from(prepared.nth)),
            stream: &request.streams.get(prepared.stream)?.name,
            content: Content::of_entry(request.entry(event))?,
        })
    }

    /// The state writes of the staged frames, with the last event of each.
    pub(super) fn state<'a>(
        &'a self,
        group: &'a [Box<Request>],
        salt: &'a [u8; 16],
    ) -> impl Iterator<Item = (FrameEnd, &'a [Change])> {
        self.frames.iter().filter_map(move |frame| {
            let request = group.get(frame.request).filter(|r| !r.changes.is_empty())?;
            let position = frame.first_position + request.events.len() as u64 - 1;
            let given = request.events.last().and_then(|event| event.id);
            let id = given.unwrap_or_else(|| EventId::assigned(Position(position), salt));
            let event = uuid::Uuid::from(id).into_bytes();
            Some((FrameEnd { position, event, time: frame.time }, request.changes.as_slice()))
        })
    }

    /// The streams of the staged frames, in order, and each as it is behind its frame.
    pub(super) fn heads_behind_frames<'a>(
        &'a self,
        group: &'a [Box<Request>],
        segment: u32,
    ) -> impl Iterator<Item = (&'a PreparedStream, Head)> {
        self.frames.iter().flat_map(move |frame| {
            let request = group.get(frame.request).map(Box::as_ref);
            let heads = move |r| heads_behind(r, &frame.before, segment);
            request.into_iter().flat_map(heads).map(|(_, stream, head)| (stream, head))
        })
    }

    /// The staged events, as the index takes them in.
    pub(super) fn indexed<'a>(
        &'a self,
        group: &'a [Box<Request>],
        hasher: Hasher,
    ) -> impl Iterator<Item = Indexed<'a>> {
        self.frames.iter().flat_map(move |frame| {
            let request = group.get(frame.request);
            let events = request.map(|request| request.events.as_slice()).unwrap_or_default();
            events.iter().filter_map(move |event| {
                let stream = request?.streams.get(event.stream)?;
                let (head, _) = frame.before.get(event.stream)?;
                Some(Indexed {
                    frame: frame.offset,
                    stream: &stream.name,
                    stream_hash: stream.hash,
                    version: head.version.0 + 1 + u64::from(event.nth),
                    previous: head.segment,
                    event_type: &event.event_type,
                    schema_version: event.schema_version,
                    created_at: event.created_at.unwrap_or(frame.time),
                    id_hash: event.id.map(|id| hasher.id(id)),
                    labels: &event.label_hashes,
                })
            })
        })
    }
}

impl StagedHead {
    fn is(&self, group: &[Box<Request>], stream: &PreparedStream) -> bool {
        let staged = group.get(self.request).and_then(|request| request.streams.get(self.stream));
        self.hash == stream.hash && staged.is_some_and(|staged| staged.name == stream.name)
    }
}

/// The streams that a request writes to, as they are behind its frame, each with its place in the
/// request.
fn heads_behind<'a>(
    request: &'a Request,
    before: &'a Before,
    segment: u32,
) -> impl Iterator<Item = (usize, &'a PreparedStream, Head)> {
    let streams = request.streams.iter().zip(before).enumerate();
    let written = streams.filter(|(_, (stream, _))| stream.is_written());
    written.map(move |(index, (stream, (head, _)))| {
        let version = Version(head.version.0 + u64::from(stream.events));
        (index, stream, Head { version, segment })
    })
}
