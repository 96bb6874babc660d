//! Frames: the atomic units of the log.
//!
//! A frame is a head, the entries of its events, its state writes, and zeros up to a multiple of
//! four bytes. The head's checksum is seeded with the segment's salt and the frame's offset and
//! covers the tables, which hold the checksums of the entries: what verifies stands in its place.

mod guess;
#[cfg(any(test, fuzzing))]
mod mend;
mod streams;

use super::Invalid;
use super::codec::{Cursor, crc32, u32_at};
use super::segment::Seed;
use crate::event::Span;
use crate::position::Timestamp;

/// The bytes of every head: checksum, length, kind and time, durable end, predecessor, first event.
pub(crate) const HEAD_BYTES: usize = 28;
pub(crate) const HEAD_LEN: u32 = 28;
const _: () = assert!(HEAD_LEN as usize == HEAD_BYTES);
/// Frames begin at multiples of this.
pub(crate) const ALIGN: u32 = 4;
/// What a seal or watermark frame takes.
pub(crate) const SEAL_BYTES: u32 = 60;
pub(crate) const WATERMARK_BYTES: u32 = 28;
pub(crate) const BEGIN_BYTES: u32 = 60;

pub(super) const OFF_LEN: usize = 4;
const OFF_KIND: usize = 15;
const OFF_FIRST: usize = 24;
pub(super) const OFF_TABLES: usize = HEAD_BYTES + 2 + 2;
pub(super) const BATCH_HEAD_BYTES: usize = OFF_TABLES + 4 + 4 + 4;
pub(super) const TIME_BITS: u32 = 56;
/// The latest time that fits a head, in the year 4253.
pub(super) const MAX_TIME: u64 = (1 << TIME_BITS) - 1;

/// A time as a head can hold it. Whatever else says when a commit was has to say the same.
pub(crate) fn time_that_fits(time: Timestamp) -> Timestamp {
    let micros = u64::try_from(time.as_micros()).unwrap_or(0).min(MAX_TIME);
    Timestamp::from_micros(micros.cast_signed())
}

/// Kinds with this bit may be skipped by a reader that does not know them.
const SKIPPABLE: u8 = 0x40;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The first frame of a segment: says where the segment before it ends.
    Begin = 0x81,
    /// One event of one stream.
    Event = 0x82,
    /// Any number of events and streams, and state writes.
    Batch = 0x83,
    /// The last frame of a segment that was left in good order.
    Seal = 0x84,
    /// Says only, through its durable end, that everything before it is durable.
    Watermark = 0xc1,
    /// Of a later version, and harmless to skip.
    Unknown = 0xff,
}

impl Kind {
    fn of(byte: u8) -> Result<Self, Invalid> {
        match byte {
            0x81 => Ok(Self::Begin),
            0x82 => Ok(Self::Event),
            0x83 => Ok(Self::Batch),
            0x84 => Ok(Self::Seal),
            0xc1 => Ok(Self::Watermark),
            other if other & 0x80 != 0 && other & SKIPPABLE != 0 => Ok(Self::Unknown),
            other => Err(Invalid::unsupported("a known kind of frame", format!("{other:#x}"))),
        }
    }
}

/// A frame whose head has been verified; it borrows nothing, so that it can be kept beside its
/// bytes. All spans count from the frame's start and lie inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) crc: u32,
    pub(crate) kind: Kind,
    /// Its whole length, with the padding.
    pub(crate) len: u32,
    padding: u32,
    pub(crate) time: Timestamp,
    pub(crate) durable_end: u32,
    pub(crate) previous: u32,
    /// The ordinal of its first event in the segment.
    pub(crate) first: u32,
    /// How many events it holds.
    pub(crate) events: u16,
    streams: u16,
    streams_at: u32,
    /// Of an event frame: the version of its event, and its stream's name.
    lone: (u64, Span),
    events_at: u32,
    entries_at: u32,
    state: Span,
    state_crc: u32,
}

/// One event of a frame: where its entry lies, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventPlace {
    pub(crate) entry: Span,
    pub(crate) crc: u32,
    pub(crate) stream: u16,
    version_offset: u16,
}

impl Frame {
    /// A frame of which nothing is known yet.
    const EMPTY: Self = Self {
        crc: 0,
        kind: Kind::Unknown,
        len: 0,
        padding: 0,
        time: Timestamp::from_micros(0),
        durable_end: 0,
        previous: 0,
        first: 0,
        events: 0,
        streams: 0,
        streams_at: 0,
        lone: (0, Span { start: 0, len: 0 }),
        events_at: 0,
        entries_at: 0,
        state: Span { start: 0, len: 0 },
        state_crc: 0,
    };

    /// Reads and verifies the head of the frame at an offset. `bytes` begins there and may reach
    /// beyond the frame; the frame must end within `room` bytes.
    #[inline]
    pub(crate) fn parse(bytes: &[u8], seed: Seed, offset: u32, room: u32) -> Result<Self, Invalid> {
        let mut frame = Self::EMPTY;
        frame.become_next(bytes, seed, offset, room)?;
        Ok(frame)
    }

    /// Becomes the frame that [`parse`](Self::parse) reads, in place: a scan moves from frame to
    /// frame, and would wait for each copy. On an error it is no frame any more.
    #[inline]
    pub(crate) fn become_next(
        &mut self,
        bytes: &[u8],
        seed: Seed,
        offset: u32,
        room: u32,
    ) -> Result<(), Invalid> {
        self.read(bytes, seed, offset, room)?;
        self.check_tables(bytes)
    }

    /// [`parse`](Self::parse) for whoever wants one event of perhaps many: the checksum covers the
    /// tables as ever, but only the rows that are looked at are held against the frame.
    #[inline]
    pub(crate) fn parse_for_one(
        bytes: &[u8],
        seed: Seed,
        offset: u32,
        room: u32,
    ) -> Result<Self, Invalid> {
        let mut frame = Self::EMPTY;
        frame.read(bytes, seed, offset, room)?;
        Ok(frame)
    }

    #[inline]
    fn read(&mut self, bytes: &[u8], seed: Seed, offset: u32, room: u32) -> Result<(), Invalid> {
        let cut = || Invalid::new("a frame", "the end of the data");
        let mut cursor = Cursor::new(bytes);
        let mut fixed = || {
            let (crc, len, kind_and_time) = (cursor.u32()?, cursor.u32()?, cursor.u64()?);
            Some((crc, len, kind_and_time, [cursor.u32()?, cursor.u32()?, cursor.u32()?]))
        };
        let (crc, len_and_padding, kind_and_time, [durable_end, previous, first]) =
            fixed().ok_or_else(cut)?;
        let (len, padding) = (len_and_padding & !(ALIGN - 1), len_and_padding & (ALIGN - 1));
        let kind = u8::try_from(kind_and_time >> TIME_BITS).unwrap_or_default();
        if kind & 0x80 == 0 {
            return Err(Invalid::new("a frame", "no frame"));
        }
        if (len as usize) < HEAD_BYTES || len > room {
            return Err(Invalid::new(
                format!("a frame of {HEAD_BYTES} to {room} bytes"),
                format!("a length of {len}"),
            ));
        }
        *self = Self {
            crc,
            len,
            padding,
            time: Timestamp::from_micros((kind_and_time & MAX_TIME).cast_signed()),
            durable_end,
            previous,
            first,
            ..Self::EMPTY
        };
        let head_end = self.tables(kind, bytes).ok_or_else(cut)?;
        if head_end > self.used() as usize {
            return Err(Invalid::new("tables inside the frame", "tables beyond its end"));
        }
        let head = bytes.get(OFF_LEN..head_end).ok_or_else(cut)?;
        let computed = seed.head_crc(offset, head);
        if computed != crc {
            return Err(Invalid::checksum(crc, computed));
        }
        self.kind = Kind::of(kind)?;
        self.find_state(bytes).ok_or_else(tables_do_not_fit)
    }

    /// Finds the tables and where the head ends; nothing here is verified yet, only bounded.
    #[inline]
    fn tables(&mut self, kind: u8, bytes: &[u8]) -> Option<usize> {
        if kind == Kind::Event as u8 {
            self.events = 1;
            self.streams = 1;
            self.streams_at = HEAD_LEN;
            let mut cursor = Cursor::at(bytes, HEAD_BYTES);
            let version = cursor.varint()?;
            let len = cursor.varint_u32()?;
            self.lone = (version, Span { start: u32::try_from(cursor.offset()).ok()?, len });
            cursor.take(len as usize)?;
            self.events_at = u32::try_from(cursor.offset()).ok()?;
            self.entries_at = self.events_at.checked_add(4)?;
            return Some(self.entries_at as usize);
        }
        if kind != Kind::Batch as u8 {
            // Control frames are a head and nothing else.
            return Some(self.used() as usize);
        }
        let mut cursor = Cursor::at(bytes, HEAD_BYTES);
        self.events = cursor.u16()?;
        self.streams = cursor.u16()?;
        let tables = cursor.u32()?;
        let state_len = cursor.u32()?;
        self.state_crc = cursor.u32()?;
        self.streams_at = u32::try_from(cursor.offset()).ok()?;
        self.entries_at = self.streams_at.checked_add(tables)?;
        let event_table = u32::from(self.events) * self.event_row();
        self.events_at = self.entries_at.checked_sub(event_table)?;
        self.state = Span { start: self.entries_at, len: state_len };
        (self.events_at >= self.streams_at).then_some(self.entries_at as usize)
    }

    /// Its length without the padding.
    #[inline]
    const fn used(&self) -> u32 {
        self.len - self.padding
    }

    const fn event_row(&self) -> u32 {
        if self.streams > 1 { 12 } else { 8 }
    }

    /// Finds the state writes, which begin where the last entry ends and end with the frame.
    #[inline]
    fn find_state(&mut self, bytes: &[u8]) -> Option<()> {
        if self.kind != Kind::Batch {
            return Some(());
        }
        let end = match self.events.checked_sub(1) {
            Some(last) => self.event_row_at(bytes, last)?.1,
            None => 0,
        };
        self.state.start = self.entries_at.checked_add(end)?;
        (self.state.start.checked_add(self.state.len)? == self.used()).then_some(())
    }

    /// Checks every row of the tables.
    #[inline]
    fn check_tables(&self, bytes: &[u8]) -> Result<(), Invalid> {
        let wrong = tables_do_not_fit;
        if self.kind != Kind::Batch {
            return Ok(());
        }
        let mut end = 0;
        for index in 0..self.events {
            let (_, next, stream, _) = self.event_row_at(bytes, index).ok_or_else(wrong)?;
            if next < end || stream >= self.streams {
                return Err(wrong());
            }
            end = next;
        }
        let mut cursor = Cursor::at(bytes, self.streams_at as usize);
        for _ in 0..self.streams {
            let name = cursor.varint().and_then(|_| cursor.varint_u32()).ok_or_else(wrong)?;
            cursor.take(name as usize).ok_or_else(wrong)?;
        }
        if cursor.offset() == self.events_at as usize { Ok(()) } else { Err(wrong()) }
    }

    #[inline]
    fn event_row_at(&self, bytes: &[u8], index: u16) -> Option<(u32, u32, u16, u16)> {
        let row = usize::from(index) * self.event_row() as usize;
        let row = (self.events_at as usize).checked_add(row)?;
        let mut cursor = Cursor::at(bytes, row);
        let (crc, end) = (cursor.u32()?, cursor.u32()?);
        if self.streams > 1 {
            return Some((crc, end, cursor.u16()?, cursor.u16()?));
        }
        Some((crc, end, 0, index))
    }

    /// Where an event of this frame lies; `bytes` are the frame's.
    #[inline]
    pub(crate) fn event(&self, bytes: &[u8], index: u16) -> Option<EventPlace> {
        if index >= self.events {
            return None;
        }
        if self.kind == Kind::Event {
            let crc = Cursor::at(bytes, self.events_at as usize).u32()?;
            let entry = Span { start: self.entries_at, len: self.used() - self.entries_at };
            return Some(EventPlace { entry, crc, stream: 0, version_offset: 0 });
        }
        let start = match index.checked_sub(1) {
            Some(before) => self.event_row_at(bytes, before)?.1,
            None => 0,
        };
        let (crc, end, stream, version_offset) = self.event_row_at(bytes, index)?;
        let entry =
            Span { start: self.entries_at.checked_add(start)?, len: end.checked_sub(start)? };
        let is_inside = self.entries_at.checked_add(end)? <= self.state.start;
        is_inside.then_some(EventPlace { entry, crc, stream, version_offset })
    }
}

impl Frame {
    /// The state writes that commit with its events, verified; empty where there are none.
    pub(crate) fn state_writes<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], Invalid> {
        if self.kind != Kind::Batch {
            return Ok(&[]);
        }
        let cut = || Invalid::new(format!("a frame of {} bytes", self.len), "the end of the data");
        let state = bytes.get(self.state.range()).ok_or_else(cut)?;
        let computed = crc32(state);
        if computed == self.state_crc {
            Ok(state)
        } else {
            Err(Invalid::checksum(self.state_crc, computed))
        }
    }

    /// Verifies everything behind the head: entries, state writes, padding.
    pub(crate) fn verify_body(&self, bytes: &[u8]) -> Result<(), Invalid> {
        let cut = || Invalid::new(format!("a frame of {} bytes", self.len), "the end of the data");
        for index in 0..self.events {
            let event = self.event(bytes, index).ok_or_else(cut)?;
            let entry = bytes.get(event.entry.range()).ok_or_else(cut)?;
            event.verify(entry)?;
        }
        self.state_writes(bytes)?;
        self.verify_padding(bytes)
    }

    /// Verifies that nothing but zeros fills the frame up.
    #[inline]
    pub(crate) fn verify_padding(&self, bytes: &[u8]) -> Result<(), Invalid> {
        let cut = || Invalid::new(format!("a frame of {} bytes", self.len), "the end of the data");
        // A length is a multiple of four: all of the padding is in the last word, at its end. How
        // much of it there is nobody can predict, so nothing branches on it.
        let last = u32_at(bytes, (self.len - ALIGN) as usize).ok_or_else(cut)?;
        if u64::from(last) >> (8 * (ALIGN - self.padding)) != 0 {
            return Err(Invalid::new("zeros behind the frame", "other bytes"));
        }
        Ok(())
    }
}

fn tables_do_not_fit() -> Invalid {
    Invalid::new("tables that fit the frame", "tables that do not")
}

impl EventPlace {
    /// Verifies the entry against the checksum that the frame's head holds.
    #[inline]
    pub(crate) fn verify(&self, entry: &[u8]) -> Result<(), Invalid> {
        let computed = crc32(entry);
        if computed == self.crc { Ok(()) } else { Err(Invalid::checksum(self.crc, computed)) }
    }

    /// The version of the event, given the first of its stream in the frame.
    #[inline]
    pub(crate) fn version(&self, first_version: u64) -> Option<u64> {
        first_version.checked_add(u64::from(self.version_offset))
    }
}

#[cfg(test)]
mod tests {
    use super::super::MAX_POSITION;
    use super::super::control::{Begin, Seal};
    use super::super::frame_writer::*;
    use super::super::segment::Chain;
    use super::*;

    fn place() -> FramePlace {
        FramePlace {
            seed: Seed::of(&[7; 16]),
            offset: 8192,
            durable_end: 4096,
            previous: 0x0102_0304,
            first: 5,
            time: Timestamp::from_micros(1_700_000_000_000_000),
        }
    }

    fn lone() -> Vec<u8> {
        let entry = b"\x00\x01\x01Axy";
        let event = FrameEvent { crc: crc32(entry), end: 6, stream: 0, version_offset: 0 };
        let stream = FrameStream { name: "Order-1", first_version: 300 };
        let mut out = Vec::new();
        put_events(&mut out, &place(), [stream].into_iter(), [event], entry, &[]);
        out
    }

    fn batch() -> Vec<u8> {
        let entries = b"\x00\x00\x01Ax\x00\x00\x01By\x00\x00\x01Cz";
        let crc = |range: std::ops::Range<usize>| crc32(&entries[range]);
        let events = [
            FrameEvent { crc: crc(0..5), end: 5, stream: 0, version_offset: 0 },
            FrameEvent { crc: crc(5..10), end: 10, stream: 1, version_offset: 0 },
            FrameEvent { crc: crc(10..15), end: 15, stream: 0, version_offset: 1 },
        ];
        let streams = [
            FrameStream { name: "a-1", first_version: 1 },
            FrameStream { name: "b-22", first_version: 9 },
        ];
        let mut out = Vec::new();
        put_events(&mut out, &place(), streams.into_iter(), events, entries, b"state");
        out
    }

    fn parse(bytes: &[u8]) -> Result<Frame, Invalid> {
        let frame = Frame::parse(bytes, place().seed, place().offset, 1 << 20)?;
        frame.verify_body(bytes)?;
        Ok(frame)
    }

    #[test]
    fn the_bytes_of_a_lone_event_are_locked() {
        let bytes = lone();
        assert_eq!(bytes.len(), 28 + 2 + 1 + 7 + 4 + 6);
        let mut expected = Vec::new();
        expected.extend_from_slice(&bytes[..4]);
        expected.extend_from_slice(&[48, 0, 0, 0]);
        expected.extend_from_slice(&[0x00, 0x40, 0x1e, 0x18, 0x24, 0x0a, 0x06, 0x82]);
        expected.extend_from_slice(&[0x00, 0x10, 0, 0, 4, 3, 2, 1, 5, 0, 0, 0]);
        expected.extend_from_slice(b"\xac\x02\x07Order-1");
        expected.extend_from_slice(&crc32(b"\x00\x01\x01Axy").to_le_bytes());
        expected.extend_from_slice(b"\x00\x01\x01Axy");
        assert_eq!(bytes, expected);
        assert_eq!(&bytes[..4], &LONE_CRC, "the checksum itself is locked too");
    }

    const LONE_CRC: [u8; 4] = [92, 151, 237, 158];

    #[test]
    fn a_lone_event_comes_back() {
        let bytes = lone();
        let frame = parse(&bytes).unwrap();
        assert_eq!((frame.kind, frame.events, frame.first), (Kind::Event, 1, 5));
        let event = frame.event(&bytes, 0).unwrap();
        assert_eq!(&bytes[event.entry.range()], b"\x00\x01\x01Axy");
        let (version, name) = frame.stream(&bytes, 0).unwrap();
        assert_eq!((event.version(version), &bytes[name.range()]), (Some(300), &b"Order-1"[..]));
        assert!(frame.event(&bytes, 1).is_none());
    }

    #[test]
    fn a_batch_comes_back() {
        let bytes = batch();
        let frame = parse(&bytes).unwrap();
        assert_eq!((frame.kind, frame.events, frame.streams()), (Kind::Batch, 3, 2));
        let third = frame.event(&bytes, 2).unwrap();
        assert_eq!(&bytes[third.entry.range()], b"\x00\x00\x01Cz");
        let (first_version, name) = frame.stream(&bytes, third.stream).unwrap();
        assert_eq!(third.version(first_version), Some(2));
        assert_eq!(&bytes[name.range()], b"a-1");
        assert_eq!(frame.state_writes(&bytes), Ok(&b"state"[..]));
    }

    #[test]
    fn control_frames_come_back() {
        let begin = Begin {
            base: 9,
            predecessor: 1,
            predecessor_end: 5000,
            predecessor_crc: 77,
            cut: true,
            predecessor_chain: Chain(88),
        };
        let time = Timestamp::from_micros(3);
        let (first_time, last_time) = (time, time);
        let seal = Seal { frames: 2, events: 3, first_time, last_time, chain: Chain(4) };
        let (mut a, mut b, mut c) = (Vec::new(), Vec::new(), Vec::new());
        put_begin(&mut a, &place(), &begin);
        put_seal(&mut b, &place(), &seal);
        put_watermark(&mut c, &place());
        assert_eq!(parse(&a).unwrap().begin(&a), Some(begin));
        assert_eq!(parse(&b).unwrap().seal(&b), Some(seal));
        assert_eq!(parse(&c).unwrap().kind, Kind::Watermark);
        let lengths = [BEGIN_BYTES, SEAL_BYTES, WATERMARK_BYTES].map(|len| len as usize);
        assert_eq!([a.len(), b.len(), c.len()], lengths);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_a_frame_is_detected() {
        for bytes in [lone(), batch()] {
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(parse(&damaged).is_err(), "bit {bit}");
            }
            for len in 0..bytes.len() {
                assert!(parse(&bytes[..len]).is_err(), "{len} bytes");
            }
        }
    }

    #[test]
    fn a_list_has_every_stream_where_it_is() {
        let bytes = batch();
        let frame = parse(&bytes).unwrap();
        let mut list = vec![(7, Span::default())];
        frame.list_streams(&bytes, &mut list);
        let each: Vec<_> = (0..frame.streams()).map_while(|i| frame.stream(&bytes, i)).collect();
        assert_eq!((list.len(), list), (2, each));
    }

    #[test]
    fn a_frame_verifies_only_in_its_own_place() {
        let bytes = lone();
        let seed = place().seed;
        assert!(Frame::parse(&bytes, seed, 8196, 1 << 20).is_err(), "another offset");
        assert!(Frame::parse(&bytes, Seed::of(&[8; 16]), 8192, 1 << 20).is_err(), "another salt");
        assert!(Frame::parse(&bytes, seed, 8192, 44).is_err(), "no room");
        assert!(Frame::parse(&[0; 64], seed, 8192, 64).is_err(), "zeros");
    }

    #[test]
    fn the_bound_covers_what_is_written() {
        let bound = events_frame_bound([3, 4].into_iter(), 3, 15, 5);
        assert!(bound >= batch().len());
    }

    /// A frame of one kind and length without tables, with a right checksum.
    fn control(kind: u8, len: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_watermark(&mut bytes, &place());
        bytes[15] = kind;
        bytes.resize(64, 0);
        super::super::codec::patch_u32(&mut bytes, OFF_LEN, len);
        let head = bytes[OFF_LEN..len as usize].to_vec();
        let crc = place().seed.head_crc(place().offset, &head);
        super::super::codec::patch_u32(&mut bytes, 0, crc);
        bytes
    }

    #[test]
    fn only_kinds_that_say_so_are_skipped() {
        for byte in 0..=u8::MAX {
            let kind = Kind::of(byte);
            match byte {
                0x81..=0x84 | 0xc1 => assert_eq!(kind.map(|kind| kind as u8), Ok(byte)),
                0xc0.. => assert_eq!(kind, Ok(Kind::Unknown), "{byte:#x}"),
                _ => assert!(kind.unwrap_err().unsupported, "{byte:#x}"),
            }
        }
        assert_eq!(parse(&control(0xc2, 28)).unwrap().kind, Kind::Unknown);
        assert!(parse(&control(0x85, 28)).unwrap_err().unsupported);
        assert!(!parse(&control(0x41, 28)).unwrap_err().unsupported, "no frame at all");
    }

    #[test]
    fn a_frame_has_room_for_its_head_and_ends_within_the_room() {
        assert!(parse(&control(0xc1, 28)).is_ok());
        assert!(parse(&control(0xc1, 24)).is_err(), "shorter than a head");
        let bytes = lone();
        let within = |room| Frame::parse(&bytes, place().seed, place().offset, room);
        assert!(within(48).is_ok(), "it ends where the room does");
        assert!(within(47).is_err());
    }

    #[test]
    fn the_time_and_the_positions_of_a_head_come_back() {
        for bytes in [lone(), batch()] {
            let frame = parse(&bytes).unwrap();
            assert_eq!(frame.time, place().time);
            assert_eq!((frame.durable_end, frame.previous), (4096, 0x0102_0304));
            assert_eq!(frame.len as usize, bytes.len());
        }
        let fits = |micros| time_that_fits(Timestamp::from_micros(micros)).as_micros();
        assert_eq!([-1, 0, 7].map(fits), [0, 0, 7], "nothing before 1970");
        let last = 0x00ff_ffff_ffff_ffff;
        assert_eq!([last, last + 1, i64::MAX].map(fits), [last; 3], "nor behind 4253");
    }

    /// A batch of some events of two streams, whose rows are as given.
    fn rows(rows: &[(u32, u16)]) -> Result<Frame, Invalid> {
        let entries = [0; 12];
        let event = |(end, stream)| FrameEvent { crc: 0, end, stream, version_offset: 0 };
        let events: Vec<_> = rows.iter().copied().map(event).collect();
        let streams = ["a-1", "b-1"].map(|name| FrameStream { name, first_version: 1 });
        let mut out = Vec::new();
        put_events(&mut out, &place(), streams.into_iter(), events, &entries, &[]);
        let found = Frame::parse(&out, place().seed, place().offset, 1 << 20);
        assert_one_by_one(&out, rows, found.is_ok());
        found
    }

    /// Whoever looks at one event of a frame finds what is right, and refuses what is not.
    fn assert_one_by_one(bytes: &[u8], rows: &[(u32, u16)], is_right: bool) {
        // In front of other bytes, which belong to nobody here.
        let more = [bytes, &[7; 64]].concat();
        let found = Frame::parse_for_one(&more, place().seed, place().offset, 1 << 20);
        let Ok(frame) = found else { return assert!(!is_right) };
        let mut are_all = true;
        for (index, (_, stream)) in (0..).zip(rows) {
            let event = frame.event(&more, index);
            are_all &= event.is_some_and(|event| event.entry.range().end <= bytes.len());
            are_all &= frame.stream(&more, *stream).is_some();
        }
        assert!(frame.event(&more, frame.events).is_none());
        assert_eq!(are_all, is_right);
    }

    #[test]
    fn rows_that_do_not_fit_the_frame_are_refused_with_any_checksum() {
        assert!(rows(&[(4, 0), (12, 1)]).is_ok());
        assert!(
            rows(&[(12, 0), (12, 1)]).is_ok(),
            "what is wrong with an empty entry it says itself"
        );
        assert!(rows(&[(8, 0), (4, 0), (12, 1)]).is_err(), "an entry that ends before it begins");
        assert!(rows(&[(4, 0), (12, 2)]).is_err(), "a stream that is not there");
        assert!(rows(&[(4, 0), (11, 1)]).is_err(), "bytes of no event");
        assert!(rows(&[(4, 0), (13, 1)]).is_err(), "an entry beyond the frame");
        assert!(rows(&[(13, 0), (12, 1)]).is_err(), "an entry that reaches into what follows");
    }

    #[test]
    fn the_guess_where_an_entry_is_is_right_where_nothing_is_wrong() {
        let (lone, batch) = (lone(), batch());
        let frame = parse(&batch).unwrap();
        for index in 1..3 {
            let entry = frame.event(&batch, index).unwrap().entry;
            let guess = Frame::guess_entry(&batch, frame.first + u32::from(index));
            assert_eq!(guess, Some(entry.start));
        }
        // The first follows the tables, which are read anyway, as is all of a frame of one event.
        assert_eq!(Frame::guess_entry(&batch, frame.first), None);
        assert_eq!(Frame::guess_entry(&batch, frame.first - 1), None);
        assert_eq!(Frame::guess_entry(&lone, frame.first + 1), None);
        for cut in 0..batch.len() {
            let _ = Frame::guess_entry(&batch[..cut], frame.first + 2);
        }
        let mut wild = batch;
        wild[28..44].fill(0xff);
        assert_eq!(Frame::guess_entry(&wild, frame.first + 1), None);
    }

    #[test]
    fn a_stream_is_found_by_its_name() {
        let bytes = batch();
        let frame = parse(&bytes).unwrap();
        let find = |name: &str| frame.find_stream(&bytes, name.as_bytes());
        assert_eq!([find("a-1"), find("b-22")], [Some((0, 1)), Some((1, 9))]);
        assert_eq!([find("a-"), find("b-2"), find("")], [None; 3]);
        let lone = lone();
        let frame = parse(&lone).unwrap();
        assert_eq!(frame.find_stream(&lone, b"Order-1"), Some((0, 300)));
    }

    #[test]
    fn a_name_that_reaches_into_the_event_table_is_refused_with_any_checksum() {
        let mut bytes = batch();
        // The length of the second stream's name: behind its version, which is behind "a-1".
        let len = BATCH_HEAD_BYTES + 2 + 3 + 1;
        assert_eq!((bytes[len], &bytes[len + 1..len + 5]), (4, &b"b-22"[..]));
        bytes[len] = 5;
        Frame::mend(&mut bytes, place().seed, place().offset, place().previous).unwrap();
        assert!(Frame::parse(&bytes, place().seed, place().offset, 1 << 20).is_err());
        let frame = Frame::parse_for_one(&bytes, place().seed, place().offset, 1 << 20).unwrap();
        assert!(frame.stream(&bytes, 0).is_some() && frame.stream(&bytes, 1).is_none());
        assert_eq!(frame.find_stream(&bytes, b"b-22"), None);
        let mut list = Vec::new();
        frame.list_streams(&bytes, &mut list);
        assert_eq!(list.len(), 1);
    }

    #[test]
    fn a_batch_of_one_stream_comes_back() {
        let entries = b"\x00\x00\x01Ax\x00\x00\x01By";
        let event = |start: usize, version_offset| FrameEvent {
            crc: crc32(&entries[start..start + 5]),
            end: u32::try_from(start).unwrap() + 5,
            stream: 0,
            version_offset,
        };
        let events = [event(0, 0), event(5, 1)];
        let stream = FrameStream { name: "a-1", first_version: MAX_POSITION };
        let mut bytes = Vec::new();
        put_events(&mut bytes, &place(), [stream].into_iter(), events, entries, &[]);
        let frame = parse(&bytes).unwrap();
        assert_eq!((frame.events, frame.streams()), (2, 1));
        let second = frame.event(&bytes, 1).unwrap();
        assert_eq!(&bytes[second.entry.range()], b"\x00\x00\x01By");
        let (first_version, _) = frame.stream(&bytes, 0).unwrap();
        assert_eq!(second.version(first_version), Some(MAX_POSITION + 1));
        assert!(frame.stream(&bytes, 1).is_none() && frame.event(&bytes, 2).is_none());
        assert_eq!(frame.state_writes(&bytes), Ok(&[][..]));
    }

    #[test]
    fn positions_and_versions_that_no_store_has_are_refused() {
        let last = 0x0fff_ffff_ffff_ffff;
        for (base, is_one) in [(0, false), (1, true), (last, true), (last + 1, false)] {
            let begin = Begin {
                base,
                predecessor: 0,
                predecessor_end: 0,
                predecessor_crc: 0,
                cut: false,
                predecessor_chain: Chain::EMPTY,
            };
            let mut bytes = Vec::new();
            put_begin(&mut bytes, &place(), &begin);
            let frame = parse(&bytes).unwrap();
            assert_eq!(frame.begin(&bytes), is_one.then_some(begin), "{base}");
            assert_eq!(frame.seal(&bytes), None);
        }
        for (first_version, is_one) in [(last, true), (last + 1, false)] {
            let entry = b"\x00\x00\x01Ax";
            let event = FrameEvent { crc: crc32(entry), end: 5, stream: 0, version_offset: 0 };
            let stream = FrameStream { name: "a-1", first_version };
            let mut bytes = Vec::new();
            put_events(&mut bytes, &place(), [stream].into_iter(), [event], entry, &[]);
            let frame = parse(&bytes).unwrap();
            assert_eq!(frame.stream(&bytes, 0).is_some(), is_one, "{first_version}");
            assert_eq!(frame.begin(&bytes), None);
        }
    }

    #[test]
    fn frames_are_the_same_behind_other_bytes_and_their_checksums_are_returned() {
        let begin = Begin {
            base: 9,
            predecessor: 1,
            predecessor_end: 5000,
            predecessor_crc: 77,
            cut: false,
            predecessor_chain: Chain(88),
        };
        let time = Timestamp::from_micros(3);
        let seal =
            Seal { frames: 2, events: 3, first_time: time, last_time: time, chain: Chain(4) };
        let events = |out: &mut Vec<u8>| {
            let entries = b"\x00\x00\x01Ax\x00\x00\x01By";
            let [one, two] = [(0, 5, 0), (5, 10, 1)].map(|(start, end, stream)| FrameEvent {
                crc: crc32(&entries[start..end]),
                end: u32::try_from(end).unwrap(),
                stream,
                version_offset: 0,
            });
            let streams = ["a-1", "b-1"].map(|name| FrameStream { name, first_version: 1 });
            put_events(out, &place(), streams.into_iter(), [one, two], entries, b"state")
        };
        type Put<'a> = &'a dyn Fn(&mut Vec<u8>) -> u32;
        let puts: [Put<'_>; 4] = [
            &events,
            &|out| put_begin(out, &place(), &begin),
            &|out| put_seal(out, &place(), &seal),
            &|out| put_watermark(out, &place()),
        ];
        for put in puts {
            let (mut alone, mut behind) = (Vec::new(), vec![0xaa; 36]);
            let crc = put(&mut alone);
            assert_eq!(put(&mut behind), crc);
            assert_eq!(behind[36..], alone[..]);
            assert_eq!(parse(&alone).unwrap().crc, crc);
        }
    }

    #[test]
    fn the_bound_covers_the_largest_frames() {
        let (entries, state) = (vec![7; 70_000], vec![8; 9_000]);
        for count in [1, 2, 300] {
            let names: Vec<String> = (0..count).map(|n| format!("s-{n:0250}")).collect();
            let streams = names.iter().map(|name| FrameStream { name, first_version: u64::MAX });
            let events: Vec<FrameEvent> = (1..=1000)
                .map(|n| FrameEvent { crc: n, end: 70 * n, stream: 0, version_offset: 0 })
                .collect();
            let mut out = Vec::new();
            put_events(&mut out, &place(), streams, events.iter().copied(), &entries, &state);
            let lens = names.iter().map(String::len);
            let bound = events_frame_bound(lens, events.len(), entries.len(), state.len());
            assert!(out.len() <= bound, "{count} streams: {} bytes, bound {bound}", out.len());
            // Of each stream it takes 8 bytes too many for the length of its name.
            assert!(bound <= out.len() + 8 * count + 4 * 1000 + 8, "{count} streams");
        }
    }
}
