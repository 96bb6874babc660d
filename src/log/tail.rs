//! The active end of the log: frames are staged into a group, the group is written in one call.

use super::prepare::Prepared;
use super::scan::Progress;
use super::segment::Segment;
use crate::error::Result;
use crate::format::control::{Begin, Seal};
use crate::format::directory::SegmentRow;
use crate::format::frame::{BEGIN_BYTES, Kind, SEAL_BYTES, WATERMARK_BYTES};
use crate::format::frame_writer::{self, FrameEvent, FramePlace, FrameStream};
use crate::options::ReadMode;
use crate::position::Timestamp;
use crate::storage::{Dir, NamedFile};
use crate::sync::Arc;

/// Room that every group leaves behind itself: a watermark and a seal must always fit.
const RESERVED: u32 = WATERMARK_BYTES + SEAL_BYTES;

/// The writer's end of the active segment. Staging is pure; only [`Tail::write`], [`Tail::sync`]
/// and [`Tail::flush`] touch the file.
#[derive(Debug)]
pub(crate) struct Tail {
    segment: Arc<Segment>,
    file: NamedFile,
    /// What its first frame says.
    link: Begin,
    /// Behind the last staged frame.
    progress: Progress,
    /// Frames that are staged but not written, and where they begin.
    group: Vec<u8>,
    group_at: u32,
    /// Everything before this was synced.
    durable_end: u32,
}

impl Tail {
    /// Goes on in a segment whose frames end where `progress` says, all of them durable.
    pub(crate) fn resume(
        segment: Arc<Segment>,
        file: NamedFile,
        link: Begin,
        progress: Progress,
    ) -> Self {
        let end = progress.end;
        Self { segment, file, link, progress, group: Vec::new(), group_at: end, durable_end: end }
    }

    /// Begins a prepared segment: its first frame is staged, and goes out with the first group.
    pub(crate) fn begin(
        dir: &Dir,
        mode: ReadMode,
        prepared: Prepared,
        begin: &Begin,
        time: Timestamp,
    ) -> Result<Self> {
        let Prepared { header, file } = prepared;
        let progress = Progress::start(&header);
        let segment = Segment::new(dir.clone(), mode, header, begin.base, progress.end);
        segment.adopt(file.clone())?;
        let mut tail = Self::resume(Arc::new(segment), file, *begin, progress);
        let place = tail.place(time);
        let start = tail.group.len();
        frame_writer::put_begin(&mut tail.group, &place, begin);
        tail.staged(start, Kind::Begin, 0, time);
        Ok(tail)
    }

    pub(crate) const fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// What the segment's first frame says.
    pub(crate) const fn link(&self) -> &Begin {
        &self.link
    }

    /// What the staged frames add up to.
    pub(crate) const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether a frame of so many bytes can be staged behind what is staged.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        let left = self.segment.header().len.saturating_sub(self.progress.end);
        u32::try_from(bytes)
            .is_ok_and(|bytes| bytes.checked_add(RESERVED).is_some_and(|needed| needed <= left))
    }

    /// Whether a watermark fits and still leaves room for the seal.
    pub(crate) fn has_room_for_watermark(&self) -> bool {
        self.fits(0)
    }

    /// The bytes of the segment that frames of events can take.
    pub(crate) const fn overhead() -> u32 {
        crate::format::segment::HEADER_BYTES + BEGIN_BYTES + RESERVED
    }

    /// Stages a frame of events and returns its offset.
    pub(crate) fn stage<'a>(
        &mut self,
        time: Timestamp,
        streams: impl Iterator<Item = FrameStream<'a>> + Clone,
        events: impl IntoIterator<Item = FrameEvent, IntoIter: ExactSizeIterator>,
        entries: &[u8],
        state: &[u8],
    ) -> u32 {
        let place = self.place(time);
        let start = self.group.len();
        let events = events.into_iter();
        let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
        frame_writer::put_events(&mut self.group, &place, streams, events, entries, state);
        self.staged(start, Kind::Batch, count, time);
        place.offset
    }

    /// Stages a frame that says that everything before it is durable, which it must be.
    pub(crate) fn stage_watermark(&mut self, time: Timestamp) {
        let place = self.place(time);
        let start = self.group.len();
        frame_writer::put_watermark(&mut self.group, &place);
        self.staged(start, Kind::Watermark, 0, time);
    }

    /// Stages the last frame of the segment.
    pub(crate) fn stage_seal(&mut self, time: Timestamp) {
        let place = self.place(time);
        let seal = Seal {
            frames: self.progress.frames,
            events: self.progress.events,
            first_time: self.progress.first_time,
            last_time: self.progress.last_time,
            chain: self.progress.chain,
        };
        let start = self.group.len();
        frame_writer::put_seal(&mut self.group, &place, &seal);
        self.staged(start, Kind::Seal, 0, time);
    }

    /// Writes the staged group.
    pub(crate) fn write(&mut self) -> Result<()> {
        self.file.write_all_at(&self.group, u64::from(self.group_at))?;
        self.group_at = self.progress.end;
        self.segment.set_written(self.group_at);
        self.group.clear();
        Ok(())
    }

    /// Makes the staged group readable and leaves writing it to [`Tail::flush`].
    pub(crate) fn hold(&mut self) {
        self.segment.hold(self.group_at, &self.group);
        self.group_at = self.progress.end;
        self.group.clear();
    }

    /// Writes the groups that are held.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.segment.write_held(&self.file)
    }

    /// How many bytes are held and not written.
    pub(crate) fn held_bytes(&self) -> u32 {
        self.group_at.saturating_sub(self.segment.written())
    }

    /// Syncs what was written.
    pub(crate) fn sync(&mut self) -> Result<()> {
        let written = self.segment.written();
        self.file.sync()?;
        self.durable_end = written;
        Ok(())
    }

    /// Everything before this offset is durable.
    pub(crate) const fn durable_end(&self) -> u32 {
        self.durable_end
    }

    pub(crate) const fn file(&self) -> &NamedFile {
        &self.file
    }

    /// Takes note of a sync that was made outside, of everything before `end`.
    pub(crate) fn note_durable(&mut self, end: u32) {
        self.durable_end = self.durable_end.max(end);
    }

    /// The row of the segment once it is sealed where it ends now.
    pub(crate) fn row(&self) -> SegmentRow {
        let header = self.segment.header();
        SegmentRow {
            ordinal: header.ordinal,
            generation: header.generation,
            salt: header.salt,
            base: self.segment.base(),
            events: self.progress.events,
            end: self.progress.end,
            len: header.len,
            last_crc: self.progress.last_crc,
            chain: self.progress.chain,
        }
    }

    fn place(&self, time: Timestamp) -> FramePlace {
        FramePlace {
            seed: self.segment.seed(),
            offset: self.progress.end,
            // Known when the group is written, and the same in all of its frames.
            durable_end: self.durable_end,
            previous: self.progress.last_crc,
            first: self.progress.events,
            time,
        }
    }

    /// Moves on behind the frame that was appended to the group at `start`.
    fn staged(&mut self, start: usize, kind: Kind, events: u32, time: Timestamp) {
        let bytes = self.group.get(start..).unwrap_or_default();
        let crc = crate::format::codec::u32_at(bytes, 0).unwrap_or_default();
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.progress.advance(crc, len, kind, events, time);
    }
}

/// The link to a sealed segment, for the first frame of the next.
pub(crate) fn link_to(row: &SegmentRow, cut: bool) -> Begin {
    Begin {
        base: row.base + u64::from(row.events),
        predecessor: row.ordinal,
        predecessor_end: row.end,
        predecessor_crc: row.last_crc,
        cut,
        predecessor_chain: row.chain,
    }
}

/// The link of the first segment of a store.
pub(crate) fn link_to_nothing() -> Begin {
    Begin {
        base: 1,
        predecessor: 0,
        predecessor_end: 0,
        predecessor_crc: 0,
        cut: false,
        predecessor_chain: crate::format::segment::Chain::EMPTY,
    }
}
