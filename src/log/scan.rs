//! Walking the frames of a segment that nobody vouches for: recovery and rebuilding.

use crate::error::Result;
use crate::format::Invalid;
use crate::format::frame::{Frame, HEAD_BYTES, HEAD_LEN, Kind};
use crate::format::segment::{Chain, HEADER_BYTES, Seed, SegmentHeader};
use crate::position::Timestamp;
use crate::storage::NamedFile;

/// How much is read at a time. Through the cache, little enough to stay in the processor's.
pub(super) const WINDOW: usize = 256 << 10;
const DIRECT_WINDOW: usize = 1 << 20;

/// What the frames up to a place in a segment add up to: where a scan can go on, and what the
/// writer needs to write the next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The end of the last frame.
    pub(crate) end: u32,
    /// Its head checksum (the header's, before the first frame).
    pub(crate) last_crc: u32,
    pub(crate) chain: Chain,
    pub(crate) frames: u32,
    pub(crate) events: u32,
    pub(crate) first_time: Timestamp,
    pub(crate) last_time: Timestamp,
    /// The largest durable end that a frame names, or that is known from elsewhere.
    pub(crate) durable_end: u32,
    /// The last frame is a seal: nothing follows.
    pub(crate) sealed: bool,
}

impl Progress {
    /// Before the first frame.
    pub(crate) fn start(header: &SegmentHeader) -> Self {
        Self {
            end: HEADER_BYTES,
            last_crc: header.crc(),
            chain: Chain::EMPTY,
            frames: 0,
            events: 0,
            first_time: Timestamp::default(),
            last_time: Timestamp::default(),
            durable_end: HEADER_BYTES,
            sealed: false,
        }
    }

    /// Behind one more frame that was read.
    fn add(&mut self, frame: &Frame) {
        let events = u32::from(frame.events);
        self.advance(frame.crc, frame.len, frame.kind, events, frame.time);
        self.durable_end = self.durable_end.max(frame.durable_end);
    }

    /// Behind one more frame.
    pub(crate) fn advance(&mut self, crc: u32, len: u32, kind: Kind, events: u32, at: Timestamp) {
        if self.frames == 0 {
            self.first_time = at;
        }
        self.end = self.end.saturating_add(len);
        self.last_crc = crc;
        self.chain = self.chain.with(crc);
        self.frames = self.frames.saturating_add(1);
        self.events = self.events.saturating_add(events);
        self.last_time = self.last_time.max(at);
        self.sealed = kind == Kind::Seal;
    }

    /// Goes on with a frame that verifies by itself, over whatever is missing before it.
    pub(crate) fn skip_to(&mut self, offset: u32, frame: &Frame) {
        (self.end, self.last_crc, self.events) = (offset, frame.previous, frame.first);
    }

    /// Whether a frame that verifies can follow here.
    fn accepts(&self, frame: &Frame) -> Result<(), Invalid> {
        if frame.previous != self.last_crc {
            return Err(Invalid::new(
                format!("a frame behind {:08x}", self.last_crc),
                format!("one behind {:08x}", frame.previous),
            ));
        }
        if frame.first != self.events || self.events.checked_add(u32::from(frame.events)).is_none()
        {
            return Err(Invalid::new(
                format!("a frame at event {}", self.events),
                format!("one at event {}", frame.first),
            ));
        }
        Ok(())
    }
}

/// Why a scan ended where it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// At the end of the file, or behind a seal.
    End,
    /// At bytes that are no valid next frame.
    Invalid(Invalid),
}

/// Reads a segment in windows, so that scanning it takes bounded memory.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    file: &'a NamedFile,
    seed: Seed,
    len: u32,
    /// How far to look for frames and bytes.
    look_to: u32,
    /// Past the cache, where the file system can.
    direct: bool,
    window: Vec<u8>,
    window_at: u32,
}

impl<'a> Scanner<'a> {
    /// A scanner over the first `len` bytes of a segment.
    pub(crate) fn new(file: &'a NamedFile, seed: Seed, len: u32) -> Self {
        Self { file, seed, len, look_to: len, direct: false, window: Vec::new(), window_at: 0 }
    }

    /// Looks for frames and bytes up to here: behind it there are none.
    pub(crate) fn looking_to(self, end: u32) -> Self {
        Self { look_to: end.min(self.len), ..self }
    }

    /// The same, reading what the medium holds. `None` where that is not possible.
    pub(crate) fn direct(file: &'a NamedFile, seed: Seed, len: u32) -> Result<Option<Self>> {
        let mut probe = [0; HEAD_BYTES];
        let possible = file.read_direct(&mut probe, 0)?.is_some();
        let scanner = Self { direct: true, ..Self::new(file, seed, len) };
        Ok(possible.then_some(scanner))
    }

    /// Walks valid frames from `progress` on, up to `until`; each is handed to `each`.
    pub(crate) fn walk(
        &mut self,
        progress: &mut Progress,
        until: u32,
        mut each: impl FnMut(u32, &Frame, &[u8]) -> Result<()>,
    ) -> Result<Stop> {
        while progress.end < until && !progress.sealed {
            let offset = progress.end;
            let frame = match self.frame(offset)? {
                Ok(frame) => frame,
                Err(invalid) => return Ok(Stop::Invalid(invalid)),
            };
            let bytes = self.at(offset, frame.len as usize)?;
            let valid = progress.accepts(&frame).and_then(|()| frame.verify_body(bytes));
            if let Err(invalid) = valid {
                return Ok(Stop::Invalid(invalid));
            }
            each(offset, &frame, bytes)?;
            progress.add(&frame);
        }
        Ok(Stop::End)
    }

    /// The frame at an offset, whole and its head verified.
    pub(crate) fn frame(&mut self, offset: u32) -> Result<Result<Frame, Invalid>> {
        let (seed, room) = (self.seed, self.len - offset);
        let bytes = self.at(offset, HEAD_BYTES)?;
        let parsed = Frame::parse(bytes, seed, offset, room);
        // A frame may reach beyond the window; its unverified length says how far to look, and is
        // bounded by the file.
        let needed = match &parsed {
            Ok(frame) => frame.len as usize,
            Err(_) => claimed_len(bytes).unwrap_or(0).min(room) as usize,
        };
        if needed <= bytes.len() {
            return Ok(parsed);
        }
        let bytes = self.at(offset, needed)?;
        Ok(Frame::parse(bytes, seed, offset, room))
    }

    /// The first frame behind an offset that verifies by itself: its offset and durable end. Other
    /// bytes may stand around it.
    pub(crate) fn search(&mut self, from: u32) -> Result<Option<(u32, u32)>> {
        let mut offset = from.next_multiple_of(4);
        while offset < self.look_to && offset + HEAD_LEN <= self.len {
            let window = self.at(offset, HEAD_BYTES)?;
            if is_zero(window) {
                // The last bytes may be the beginning of a head.
                let skipped = u32::try_from(window.len()).unwrap_or(u32::MAX) & !3;
                offset = offset.saturating_add(skipped.saturating_sub(HEAD_LEN).max(4));
                continue;
            }
            let candidates = window.len().saturating_sub(HEAD_BYTES - 1);
            let candidate = (0..candidates).step_by(4).find(|at| may_be_a_head(window, *at));
            let Some(at) = candidate else {
                offset += u32::try_from(candidates).unwrap_or(u32::MAX).next_multiple_of(4);
                continue;
            };
            offset += u32::try_from(at).unwrap_or(u32::MAX);
            match self.frame(offset)? {
                Ok(frame) => return Ok(Some((offset, frame.durable_end))),
                // It verifies, but is of a newer version: what it proves cannot be known.
                Err(invalid) if invalid.unsupported => return Ok(Some((offset, u32::MAX))),
                Err(_) => {}
            }
            offset += 4;
        }
        Ok(None)
    }

    /// Whether every byte from an offset on is zero.
    pub(crate) fn is_zero_from(&mut self, from: u32) -> Result<bool> {
        let mut offset = from;
        while offset < self.look_to {
            let window = self.at(offset, 1)?;
            if !is_zero(window) {
                return Ok(false);
            }
            offset += u32::try_from(window.len()).unwrap_or(u32::MAX);
        }
        Ok(true)
    }

    /// The end of the last byte from an offset on that is not zero; the offset where all are.
    pub(crate) fn used_end(&mut self, from: u32) -> Result<u32> {
        let (mut offset, mut end) = (from, from);
        while offset < self.look_to {
            let window = self.at(offset, 1)?;
            let (used, len) = (used_len(window), window.len());
            if used > 0 {
                end = offset.saturating_add(u32::try_from(used).unwrap_or(u32::MAX));
            }
            offset = offset.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        }
        Ok(end)
    }

    /// The bytes of a frame.
    pub(crate) fn bytes(&mut self, offset: u32, len: u32) -> Result<&[u8]> {
        self.at(offset, len as usize)
    }

    /// Bytes from an offset on: at least `need`, fewer only where the segment ends.
    fn at(&mut self, offset: u32, need: usize) -> Result<&[u8]> {
        let need = need.min((self.len - offset) as usize);
        let start = offset.checked_sub(self.window_at).map(|start| start as usize);
        let there = start.and_then(|start| self.window.len().checked_sub(start));
        if there.is_none_or(|there| there < need || there == 0) {
            let least = if self.direct { DIRECT_WINDOW } else { WINDOW };
            let len = need.max(least).min((self.len - offset) as usize);
            // Where the read fails, nothing is there. Otherwise all of it is written over.
            let mut window = std::mem::take(&mut self.window);
            window.resize(len, 0);
            let read = if self.direct {
                self.file.read_direct(&mut window, u64::from(offset))?.unwrap_or(0)
            } else {
                self.file.read_at(&mut window, u64::from(offset))?
            };
            // What lies behind the end of the file reads as zeros.
            if let Some(rest) = window.get_mut(read..) {
                rest.fill(0);
            }
            (self.window, self.window_at) = (window, offset);
        }
        let start = (offset - self.window_at) as usize;
        Ok(self.window.get(start..).unwrap_or_default())
    }
}

/// How many bytes are compared at once: nearly all of a segment is zeros when it is opened after a
/// kill.
const BLOCK: usize = 256;

/// Whether all bytes are zero.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(BLOCK).all(|block| block.iter().fold(0, |all, byte| all | byte) == 0)
}

/// The end of the last byte that is not zero.
fn used_len(bytes: &[u8]) -> usize {
    let zeros = bytes.rchunks(BLOCK).take_while(|block| is_zero(block)).map(<[u8]>::len).sum();
    let rest = bytes.get(..bytes.len().saturating_sub(zeros)).unwrap_or(bytes);
    rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// What a head says of its length, with the padding in the lowest bits: up to three bytes too many.
fn claimed_len(bytes: &[u8]) -> Option<u32> {
    crate::format::codec::u32_at(bytes, 4)
}

/// A cheap look at a place before its checksum is computed: kinds have their top bit set.
fn may_be_a_head(window: &[u8], at: usize) -> bool {
    window.get(at + 15).is_some_and(|kind| kind & 0x80 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::frame::WATERMARK_BYTES;
    use crate::format::frame_writer::{FramePlace, put_watermark};
    use crate::storage::memory::MemoryDisk;
    use crate::storage::{Access, Dir};
    use crate::sync::Arc;

    const LEN: u32 = 8192;

    /// A segment with two frames and a gap between them. The second says that so many events stand
    /// before it, and names its predecessor with some bits flipped.
    fn two_frames(gap: u32, first: u32, flipped: u32) -> (NamedFile, SegmentHeader) {
        let header =
            SegmentHeader { store: [1; 16], salt: [2; 16], ordinal: 1, generation: 0, len: LEN };
        let seed = Seed::of(&header.salt);
        let mut bytes = header.encode();
        bytes.resize(HEADER_BYTES as usize, 0);
        let place = FramePlace {
            seed,
            offset: HEADER_BYTES,
            durable_end: HEADER_BYTES,
            previous: header.crc(),
            first: 0,
            time: Timestamp::default(),
        };
        put_watermark(&mut bytes, &place);
        let written = bytes.get(HEADER_BYTES as usize..).unwrap();
        let crc = crate::format::codec::u32_at(written, 0).unwrap();
        let offset = HEADER_BYTES + WATERMARK_BYTES + gap;
        bytes.resize(offset as usize, 0);
        put_watermark(&mut bytes, &FramePlace { offset, previous: crc ^ flipped, first, ..place });
        bytes.resize(header.len as usize, 0);
        let disk = MemoryDisk::new();
        disk.put("segment", &bytes);
        (Dir::new(Arc::new(disk)).open("segment", Access::Read).unwrap(), header)
    }

    /// How many of the frames a walk accepts.
    fn accepted(first: u32, flipped: u32) -> u32 {
        let (file, header) = two_frames(0, first, flipped);
        let mut progress = Progress::start(&header);
        let mut scanner = Scanner::new(&file, Seed::of(&header.salt), LEN);
        scanner.walk(&mut progress, LEN, |_, _, _| Ok(())).unwrap();
        progress.frames
    }

    #[test]
    fn the_last_byte_that_is_used_is_found_wherever_it_is() {
        for len in [0, 1, 255, 256, 257, 1000] {
            assert_eq!(used_len(&vec![0; len]), 0);
            assert!(is_zero(&vec![0; len]));
            for last in 0..len {
                let mut bytes = vec![0; len];
                bytes[last] = 1;
                bytes[0] = 1;
                assert_eq!(used_len(&bytes), last + 1);
                assert!(!is_zero(&bytes[last..]));
            }
        }
    }

    #[test]
    fn a_frame_follows_only_its_own_predecessor_and_counts_the_events_before_it() {
        assert_eq!(accepted(0, 0), 2);
        assert_eq!(accepted(0, 1), 1, "a frame behind another one");
        assert_eq!(accepted(1, 0), 1, "a frame that counts an event too many");
    }

    #[test]
    fn a_walk_goes_on_behind_a_gap_with_the_frame_that_it_is_told() {
        let (file, header) = two_frames(100, 5, 1);
        let mut progress = Progress::start(&header);
        let mut scanner = Scanner::new(&file, Seed::of(&header.salt), LEN);
        let mut walk = |progress: &mut Progress| {
            scanner.walk(progress, LEN, |_, _, _| Ok(())).unwrap();
            scanner.search(progress.end).unwrap().map(|(offset, _)| offset)
        };
        let next = walk(&mut progress).unwrap();
        assert_eq!((progress.frames, next), (1, progress.end + 100));
        let frame = Scanner::new(&file, Seed::of(&header.salt), LEN).frame(next).unwrap().unwrap();
        progress.skip_to(next, &frame);
        assert_eq!(walk(&mut progress), None);
        let Progress { frames, events, end, last_crc, .. } = progress;
        assert_eq!((frames, events, end, last_crc), (2, 5, next + WATERMARK_BYTES, frame.crc));
    }

    #[test]
    fn what_the_window_holds_is_not_read_again() {
        let disk = MemoryDisk::simulated(7);
        disk.put("segment", &[0; LEN as usize]);
        let file = Dir::new(Arc::new(disk.clone())).open("segment", Access::Read).unwrap();
        let mut scanner = Scanner::new(&file, Seed::of(&[2; 16]), LEN);
        let before = disk.calls();
        // Also where the segment ends: exactly there, or before all that is asked for.
        for (offset, need) in [(0, 28), (0, LEN), (4096, 28), (LEN - 28, 28), (LEN - 4, 28)] {
            let found = scanner.at(offset, need as usize).unwrap().len();
            assert_eq!(found, (LEN - offset) as usize, "{need} from {offset}");
        }
        assert_eq!(disk.calls() - before, 1);
    }
}
