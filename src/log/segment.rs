//! One segment as readers see it: frames and events at offsets, from a map, by positional reads,
//! or from commit buffers that were not written yet.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::frame_at::FrameAt;
use super::held::Held;
use super::source::{Fetch, Source, span, touch};
use crate::bytes::Bytes;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::format::entry;
use crate::format::files::LogFile;
use crate::format::frame::{BEGIN_BYTES, Frame};
use crate::format::segment::{HEADER_BYTES, Seed, SegmentHeader};
use crate::options::ReadMode;
use crate::position::{Position, Version};
use crate::storage::{Access, Dir, NamedFile};
use crate::sync::{AtomicU32, Ordering, RwLock};

/// The entries of frames above this length are asked for by themselves.
const LARGE: u32 = 8 << 10;

/// A segment that holds (or is about to hold) frames.
pub(crate) struct Segment {
    header: SegmentHeader,
    seed: Seed,
    base: u64,
    dir: Dir,
    mode: ReadMode,
    /// Opened when it is first asked for.
    source: OnceLock<Source>,
    /// The end of the frames that were handed to the file. No byte below it changes.
    written: AtomicU32,
    /// Groups behind `written` that are visible but still wait to be written.
    held: RwLock<Held>,
}

impl Segment {
    /// A segment whose frames end at `end`.
    pub(crate) fn new(
        dir: Dir,
        mode: ReadMode,
        header: SegmentHeader,
        base: u64,
        end: u32,
    ) -> Self {
        Self {
            header,
            seed: Seed::of(&header.salt),
            base,
            dir,
            mode,
            source: OnceLock::new(),
            written: AtomicU32::new(end),
            held: RwLock::default(),
        }
    }

    pub(crate) const fn ordinal(&self) -> u32 {
        self.header.ordinal
    }

    pub(crate) const fn header(&self) -> &SegmentHeader {
        &self.header
    }

    pub(crate) const fn seed(&self) -> Seed {
        self.seed
    }

    /// The position of its first event.
    pub(crate) const fn base(&self) -> u64 {
        self.base
    }

    /// The end of the frames that were handed to the file.
    pub(crate) fn written(&self) -> u32 {
        self.written.load(Ordering::Acquire)
    }

    /// The position of the event with an ordinal.
    pub(crate) const fn position(&self, ordinal: u32) -> Position {
        Position(self.base + ordinal as u64)
    }

    pub(crate) fn file(&self) -> LogFile {
        LogFile::Segment { ordinal: self.header.ordinal, generation: self.header.generation }
    }

    /// Uses an already open file instead of opening it on first use.
    pub(crate) fn adopt(&self, file: NamedFile) -> Result<()> {
        let source = self.source_of(&file)?;
        // Lost only against another thread that has just done the same.
        let _ = self.source.set(source);
        Ok(())
    }

    /// Says that frames up to `end` were handed to the file. None was held back.
    pub(crate) fn set_written(&self, end: u32) {
        self.written.store(end, Ordering::Release);
    }

    /// Makes a group readable before it is written. It follows what is written or held.
    pub(crate) fn hold(&self, offset: u32, group: &[u8]) {
        self.held.write().push(offset, group);
    }

    /// Hands the groups that are held back to the file, and lets them go.
    pub(crate) fn write_held(&self, file: &NamedFile) -> Result<()> {
        let written = self.held.read().write_to(file)?;
        if let Some(end) = written {
            // In this order: who does not find a frame among those that are held looks again.
            self.set_written(end);
            self.held.write().clear();
        }
        Ok(())
    }

    /// A frame of this segment that was read and verified elsewhere, with its own bytes.
    pub(crate) fn frame_of(&self, offset: u32, frame: Frame, bytes: Vec<u8>) -> FrameAt {
        let window = self.window(bytes);
        let mut at = FrameAt::new(offset, frame, window, Fetch::Ahead);
        at.list_streams();
        at
    }

    /// The frame at an offset, its head verified.
    pub(crate) fn frame(&self, offset: u32, fetch: Fetch) -> Result<FrameAt> {
        let mut bytes = self.bytes_from(offset, fetch, fetch.bytes())?;
        let mut has_all = false;
        let is_for_one = fetch != Fetch::Ahead;
        let parse = if is_for_one { Frame::parse_for_one } else { Frame::parse };
        loop {
            let room = self.room(offset);
            match parse(bytes.as_slice(), self.seed, offset, room) {
                Ok(frame) if frame.len as usize <= bytes.len() => {
                    self.ask_range(offset + frame.len - 1, 1, fetch);
                    if let Err(invalid) = frame.verify_padding(bytes.as_slice()) {
                        return Err(invalid.at(&self.path(), u64::from(offset)));
                    }
                    let mut at = FrameAt::new(offset, frame, bytes, fetch);
                    if !is_for_one {
                        at.list_streams();
                    }
                    return Ok(at);
                }
                Ok(frame) if !has_all => {
                    has_all = true;
                    bytes = self.bytes_from(offset, fetch, frame.len as usize)?;
                }
                // The head may be longer than what was fetched.
                Err(_) if !has_all => {
                    has_all = true;
                    if bytes.len() < room as usize {
                        bytes = self.bytes_from(offset, fetch, room as usize)?;
                    }
                }
                Ok(_) => return Err(self.corrupt(offset, "a whole frame", "the end of the data")),
                Err(invalid) => {
                    return Err(invalid.at(&self.path(), u64::from(offset)));
                }
            }
        }
    }

    /// Has the disk read a frame that is read soon, anywhere in the segment; `span` is the time.
    #[inline]
    pub(super) fn ask(&self, span: u32, offset: u32) {
        if let Some(Source::Mapped(mapped)) = self.source.get() {
            mapped.ask_in(span, offset);
        }
    }

    /// The same at the time that it is, which takes a look at the clock.
    pub(crate) fn ask_now(&self, offset: u32) {
        self.ask(span(), offset);
    }

    /// Touches the memory of a frame that will be read soon, where it is mapped. Who touches
    /// several waits for all of them at once, and not for each as it is read.
    pub(crate) fn touch(&self, offset: u32) -> u8 {
        touch(self.mapped_from(offset))
    }

    /// The same for an event's entry, behind a touch of the frame, of whose events it may be any.
    pub(crate) fn touch_entry(&self, offset: u32, ordinal: u32) -> u8 {
        let frame = self.mapped_from(offset);
        let Some(at) = Frame::guess_entry(frame, ordinal) else { return 0 };
        self.ask_range(offset.saturating_add(at), 1, Fetch::One);
        frame.get(at as usize..).map_or(0, touch)
    }

    /// What is written from an offset on, where it is mapped.
    fn mapped_from(&self, offset: u32) -> &[u8] {
        match self.source.get() {
            Some(Source::Mapped(mapped)) => mapped.look(offset..self.written()),
            _ => &[],
        }
    }

    /// Moves on to the next frame, in the same bytes where they reach that far.
    #[inline]
    pub(crate) fn next_frame(&self, at: &mut FrameAt) -> Result<()> {
        let offset = at.offset + at.frame.len;
        let start = at.start + at.frame.len as usize;
        let rest = at.window.as_slice().get(start..).unwrap_or_default();
        let before = at.frame;
        if at.frame.become_next(rest, self.seed, offset, self.room(offset)).is_ok()
            && at.frame.len as usize <= rest.len()
            && at.frame.verify_padding(rest).is_ok()
        {
            (at.offset, at.start) = (offset, start);
            at.streams.clear();
            at.list_streams();
            return Ok(());
        }
        at.frame = before;
        *at = self.frame(offset, Fetch::Ahead)?;
        Ok(())
    }

    /// An event of a frame, its entry verified.
    #[inline]
    pub(crate) fn event(&self, at: &FrameAt, index: u16) -> Result<Event> {
        let wrong = || self.corrupt(at.offset, "an event in the frame", "none");
        let bytes = at.bytes();
        let place = at.frame.event(bytes, index).ok_or_else(wrong)?;
        let entry = bytes.get(place.entry.range()).ok_or_else(wrong)?;
        let offset = u64::from(at.offset) + u64::from(place.entry.start);
        place.verify(entry).map_err(|invalid| invalid.at(&self.path(), offset))?;
        let parts = entry::parts(entry).map_err(|invalid| invalid.at(&self.path(), offset))?;
        let (first_version, stream) = at.stream(bytes, place.stream).ok_or_else(wrong)?;
        let version = place.version(first_version).ok_or_else(wrong)?;
        if !bytes.get(stream.range()).is_some_and(entry::is_name) {
            return Err(self.corrupt(at.offset, "a stream name in UTF-8", "other bytes"));
        }
        let ordinal = u64::from(at.frame.first) + u64::from(index);
        Ok(Event {
            frame: at.owned().ok_or_else(wrong)?,
            stream,
            entry: place.entry,
            parts,
            position: Position(self.base + ordinal),
            version: Version(version),
            committed_at: at.frame.time,
        })
    }

    /// The event of a frame that has an ordinal in the segment.
    pub(crate) fn event_with_ordinal(&self, at: &FrameAt, ordinal: u32) -> Result<Event> {
        let index = ordinal.checked_sub(at.frame.first).and_then(|index| u16::try_from(index).ok());
        match index.filter(|index| *index < at.frame.events) {
            Some(index) => {
                self.ask_entry(at, index);
                self.event(at, index)
            }
            None => Err(self.corrupt(at.offset, "the event that the index names", "another")),
        }
    }

    /// Has the disk read an entry that may be many pages, or some way behind the head.
    fn ask_entry(&self, at: &FrameAt, index: u16) {
        if at.fetch == Fetch::One
            && at.frame.len > LARGE
            && let Some(place) = at.frame.event(at.bytes(), index)
        {
            let entry = place.entry;
            self.ask_range(at.offset.saturating_add(entry.start), entry.len, at.fetch);
        }
    }

    /// Has the disk read a range that will be read next, where that is not read in order.
    #[inline]
    fn ask_range(&self, offset: u32, len: u32, fetch: Fetch) {
        if fetch == Fetch::One
            && let Some(Source::Mapped(mapped)) = self.source.get()
        {
            mapped.ask_range(offset, len);
        }
    }

    /// The version of the last event that a frame holds of a stream; `None` where it holds none.
    pub(crate) fn last_of_stream(&self, at: &FrameAt, name: &str) -> Option<(Version, Position)> {
        let bytes = at.bytes();
        let (index, first_version) = at.frame.find_stream(bytes, name.as_bytes())?;
        (0..at.frame.events).rev().find_map(|event| {
            let place = at.frame.event(bytes, event).filter(|place| place.stream == index)?;
            let ordinal = at.frame.first + u32::from(event);
            Some((Version(place.version(first_version)?), self.position(ordinal)))
        })
    }

    /// Reads through a map of its file that a test has made.
    #[cfg(test)]
    pub(super) fn read_through(&self, mapped: super::source::Mapped) {
        assert!(self.source.set(Source::Mapped(mapped)).is_ok(), "it was read before");
    }

    /// An error about a place in this segment.
    pub(crate) fn corrupt(&self, offset: u32, expected: &str, found: &str) -> Error {
        Error::corrupt(self.path(), u64::from(offset), expected, found)
    }

    fn path(&self) -> PathBuf {
        self.dir.path(&self.file().path())
    }

    /// How many bytes a frame at an offset can take.
    #[inline]
    fn room(&self, offset: u32) -> u32 {
        let written = self.written();
        if offset < written { written - offset } else { u32::MAX }
    }

    /// The bytes from an offset on, `len` of them where there is no map.
    fn bytes_from(&self, offset: u32, fetch: Fetch, len: usize) -> Result<Bytes> {
        let written = self.written();
        if offset >= written {
            if let Some(bytes) = self.held.read().read(offset, len) {
                return Ok(self.window(bytes));
            }
            // Written between the two looks.
            if offset >= self.written() {
                return Err(self.corrupt(offset, "a frame", "the end of the log"));
            }
            return self.bytes_from(offset, fetch, len);
        }
        let bytes = match self.source()? {
            Source::Mapped(mapped) => mapped.bytes(offset..written, fetch),
            Source::File(file) => {
                let len = len.min((written - offset) as usize);
                let read = file.read_range(u64::from(offset), len)?;
                read.map(|bytes| self.window(bytes))
            }
        };
        bytes.ok_or_else(|| self.corrupt(offset, "a frame inside the file", "the file's end"))
    }

    fn window(&self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_vec(bytes, self.header.salt)
    }

    fn source(&self) -> Result<&Source> {
        if let Some(source) = self.source.get() {
            return Ok(source);
        }
        let file = self.dir.open(&self.file().path(), Access::Read)?;
        let source = self.source_of(&file)?;
        self.check_begin(&file)?;
        Ok(self.source.get_or_init(|| source))
    }

    /// Checks the first frame, which opening did not read where the directory vouches for the
    /// segment.
    fn check_begin(&self, file: &NamedFile) -> Result<()> {
        let bytes = file.read_range(u64::from(HEADER_BYTES), BEGIN_BYTES as usize)?;
        let bytes = bytes.unwrap_or_default();
        let frame = Frame::parse(&bytes, self.seed, HEADER_BYTES, self.header.len)
            .map_err(|invalid| invalid.at(file.path(), u64::from(HEADER_BYTES)))?;
        let base = frame.begin(&bytes).map(|begin| begin.base);
        if frame.previous == self.header.crc() && base == Some(self.base) {
            return Ok(());
        }
        let expected = format!("the first frame of a segment at position {}", self.base);
        Err(self.corrupt(HEADER_BYTES, &expected, "another frame"))
    }

    /// Checks that a file is this segment, and maps it.
    fn source_of(&self, file: &NamedFile) -> Result<Source> {
        let page = file.read_range(0, HEADER_BYTES as usize)?;
        let page = page.ok_or_else(|| self.corrupt(0, "a segment header", "a shorter file"))?;
        let header = SegmentHeader::decode(&page).map_err(|invalid| invalid.at(file.path(), 0))?;
        if header != self.header {
            return Err(self.corrupt(0, "the header of this segment", "another segment's"));
        }
        let len = file.len()?;
        if len < u64::from(header.len) {
            let expected = format!("{} bytes", header.len);
            return Err(self.corrupt(0, &expected, &format!("{len} bytes")));
        }
        Source::of(file, self.mode, &header)
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment")
            .field("file", &self.file())
            .field("base", &self.base)
            .field("written", &self.written())
            .finish_non_exhaustive()
    }
}
