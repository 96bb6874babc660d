//! Layer 5: snapshots: saved states of streams, which can always be folded again.
//!
//! They are values of a part of `state/` of their own. Whatever is wrong with one (damaged, of
//! another history, of a log that is shorter now), it is as if it were not there.

use std::fmt;

use crate::catalog::Catalog;
use crate::error::{Conflict, Error, Result};
use crate::event::Event;
use crate::format::view::{SnapshotHead, of_snapshot, snapshot_key, snapshots_of};
use crate::names::{EventId, check_snapshot_kind, check_stream_name, shown};
use crate::position::{ExpectedVersion, Position, Timestamp, Version};
use crate::reader::ReadStream;
use crate::state::{Change, Range};
use crate::storage::Dir;
use crate::sync::Arc;
use crate::writer::{Writer, reentry};

/// A snapshot to save. See [`Store::save_snapshot`](crate::Store::save_snapshot).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a snapshot is nothing until it is saved"]
pub struct NewSnapshot {
    version: Version,
    schema: u32,
    keep: usize,
    data: Vec<u8>,
}

impl NewSnapshot {
    /// The state of a stream at a version, as bytes: up to 16 MiB less 44 bytes.
    pub fn new(version: Version, data: impl Into<Vec<u8>>) -> Self {
        Self { version, schema: 1, keep: 1, data: data.into() }
    }

    /// The schema of the bytes, so that a reader knows whether it understands them: 1 unless said.
    pub const fn schema(mut self, schema: u32) -> Self {
        self.schema = schema;
        self
    }

    /// How many snapshots of the stream and kind stay, the newest: 1 unless said, and at least 1.
    /// Older ones make reading old states fast.
    pub const fn keep(mut self, snapshots: usize) -> Self {
        self.keep = snapshots;
        self
    }
}

/// What is said of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// The stream that it is a state of.
    pub stream: String,
    /// What kind of state: a name of the caller's.
    pub kind: String,
    /// It is the state behind the event with this version.
    pub version: Version,
    /// The position of that event.
    pub position: Position,
    /// The id of that event.
    pub event_id: EventId,
    /// When that event was committed.
    pub committed_at: Timestamp,
    /// The schema that was given for its bytes.
    pub schema: u32,
    /// When it was saved, by the store's clock.
    pub saved_at: Timestamp,
    /// The length of its bytes.
    pub bytes: usize,
}

/// A snapshot.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// What it is of.
    pub info: SnapshotInfo,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// The snapshots of a store.
#[derive(Debug)]
pub(crate) struct Snapshots {
    dir: Dir,
    catalog: Arc<Catalog>,
    writer: Option<Arc<Writer>>,
}

impl Snapshots {
    pub(crate) fn new(dir: &Dir, catalog: &Arc<Catalog>, writer: Option<&Arc<Writer>>) -> Self {
        Self { dir: dir.clone(), catalog: Arc::clone(catalog), writer: writer.cloned() }
    }

    fn writer(&self) -> Result<&Writer> {
        let writer = self.writer.as_deref().ok_or(Error::ReadOnly)?;
        reentry::check(writer)?;
        if writer.is_closed() { Err(Error::Closed) } else { Ok(writer) }
    }

    pub(crate) fn save(&self, stream: &str, kind: &str, new: NewSnapshot) -> Result<()> {
        let writer = self.writer()?;
        check_stream_name(stream)?;
        check_snapshot_kind(kind)?;
        let NewSnapshot { version, schema, keep, data } = new;
        let Some(event) = self.event(stream, version)? else {
            return Err(self.beyond(stream, version)?);
        };
        let head = SnapshotHead {
            position: event.position().0,
            event: uuid::Uuid::from(event.id()).into_bytes(),
            event_time: event.committed_at(),
            schema,
            saved_at: self.dir.now(),
        };
        let key = snapshot_key(stream, kind, version.0);
        let mut changes = self.older(stream, kind, &key, keep.max(1))?;
        changes.push(Change { key: key.into(), value: Some(head.encode(&data).into()) });
        if self.catalog.watermark.durable() < event.position() {
            writer.core().sync()?;
        }
        self.catalog.state.snapshots.write(changes, 0)
    }

    /// Deletions of all but the newest snapshots, one that comes counted.
    fn older(&self, stream: &str, kind: &str, new: &[u8], keep: usize) -> Result<Vec<Change>> {
        let part = &self.catalog.state.snapshots;
        part.load()?;
        let range = Range::prefix(&snapshots_of(stream, kind));
        let others = part.pick(&range, usize::MAX, true).found.into_iter();
        let mut keys: Vec<Arc<[u8]>> = others.map(|(key, _)| key).collect();
        if !keys.iter().any(|key| **key == *new) {
            keys.push(Arc::from(new));
            keys.sort_unstable_by(|one, other| other.cmp(one));
        }
        let old = keys.into_iter().skip(keep).filter(|key| **key != *new);
        Ok(old.map(|key| Change { key, value: None }).collect())
    }

    /// Why there is no state of a stream at a version.
    fn beyond(&self, stream: &str, version: Version) -> Result<Error> {
        let newest = ReadStream::new(Ok(Arc::clone(&self.catalog)), stream).backwards().limit(1);
        let newest = newest.into_iter().next().transpose()?;
        let actual = newest.map_or(Version::NONE, |event| event.version());
        let expected = ExpectedVersion::Exact(version);
        Ok(Error::Conflict(Conflict { stream: stream.into(), expected, actual }))
    }

    fn event(&self, stream: &str, version: Version) -> Result<Option<Event>> {
        let Some(before) = version.0.checked_sub(1) else { return Ok(None) };
        let read = ReadStream::new(Ok(Arc::clone(&self.catalog)), stream);
        read.after(Version(before)).limit(1).into_iter().next().transpose()
    }

    /// The newest snapshot that can be used and that is accepted.
    pub(crate) fn find(
        &self,
        stream: &str,
        kind: &str,
        mut accept: impl FnMut(&SnapshotInfo) -> bool,
    ) -> Result<Option<Snapshot>> {
        check_stream_name(stream)?;
        check_snapshot_kind(kind)?;
        let part = &self.catalog.state.snapshots;
        if part.load().is_err() {
            return Ok(None);
        }
        let range = Range::prefix(&snapshots_of(stream, kind));
        for (key, found) in part.pick(&range, usize::MAX, true).found {
            let Ok(Some(value)) = found.read() else { continue };
            let Some((info, data)) = info(&key, &value) else { continue };
            if accept(&info) && self.is_sound(&info) {
                return Ok(Some(Snapshot { info, data: data.to_vec() }));
            }
        }
        Ok(None)
    }

    /// Whether the stream has the event of a snapshot.
    fn is_sound(&self, info: &SnapshotInfo) -> bool {
        // What cannot be read is met with by whoever folds the events.
        let Ok(Some(event)) = self.event(&info.stream, info.version) else { return false };
        let is_same_time = event.has_given_id() || event.committed_at() == info.committed_at;
        event.version() == info.version
            && event.position() == info.position
            && event.id() == info.event_id
            && is_same_time
    }

    /// All snapshots, or those of one stream, by stream, kind and version. Those that cannot be
    /// read are left out.
    pub(crate) fn list(&self, stream: Option<&str>) -> Result<Vec<SnapshotInfo>> {
        let part = &self.catalog.state.snapshots;
        if part.load().is_err() {
            return Ok(Vec::new());
        }
        let prefix = match stream {
            Some(stream) => {
                check_stream_name(stream)?;
                [stream.as_bytes(), &[0]].concat()
            }
            None => Vec::new(),
        };
        let found = part.pick(&Range::prefix(&prefix), usize::MAX, false).found;
        let read = |(key, found): (Arc<[u8]>, crate::state::Found)| {
            info(&key, &found.read().ok()??).map(|(info, _)| info)
        };
        Ok(found.into_iter().filter_map(read).collect())
    }

    /// Deletes the snapshots of a stream, of one kind or of all, and says how many.
    pub(crate) fn delete(&self, stream: &str, kind: Option<&str>) -> Result<usize> {
        self.writer()?;
        check_stream_name(stream)?;
        kind.map_or(Ok(()), check_snapshot_kind)?;
        let part = &self.catalog.state.snapshots;
        part.load()?;
        let prefix = kind
            .map_or_else(|| [stream.as_bytes(), &[0]].concat(), |kind| snapshots_of(stream, kind));
        let found = part.pick(&Range::prefix(&prefix), usize::MAX, false).found;
        let changes: Vec<Change> =
            found.into_iter().map(|(key, _)| Change { key, value: None }).collect();
        let deleted = changes.len();
        if deleted > 0 {
            part.write(changes, 0)?;
        }
        Ok(deleted)
    }
}

/// What a value says, with its bytes; `None` where it is no snapshot.
fn info<'a>(key: &[u8], value: &'a [u8]) -> Option<(SnapshotInfo, &'a [u8])> {
    let (stream, kind, version) = of_snapshot(key)?;
    let (head, data) = SnapshotHead::decode(value).ok()?;
    let info = SnapshotInfo {
        stream: stream.into(),
        kind: kind.into(),
        version: Version(version),
        position: Position(head.position),
        event_id: uuid::Uuid::from_bytes(head.event).into(),
        committed_at: head.event_time,
        schema: head.schema,
        saved_at: head.saved_at,
        bytes: data.len(),
    };
    Some((info, data))
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("info", &self.info).finish_non_exhaustive()
    }
}

impl fmt::Display for SnapshotInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stream, kind) = (shown(&self.stream), shown(&self.kind));
        write!(f, "snapshot \"{kind}\" of \"{stream}\" at version {}", self.version)
    }
}
