//! Writing frames; `frame` says what they are, and reads them.

use super::codec::{Put, crc32, patch_u32};
use super::control::{Begin, Seal};
use super::frame::{ALIGN, BATCH_HEAD_BYTES, Kind, OFF_LEN, OFF_TABLES, TIME_BITS, time_that_fits};
use super::segment::Seed;
use crate::position::Timestamp;

/// Where and when a frame is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FramePlace {
    pub(crate) seed: Seed,
    /// Its offset in the segment.
    pub(crate) offset: u32,
    /// What is known to be durable of the segment when the frame's group is written.
    pub(crate) durable_end: u32,
    /// The head checksum of the frame before it; of the segment's header for the first.
    pub(crate) previous: u32,
    /// The ordinal of its first event in the segment, counted from 0.
    pub(crate) first: u32,
    pub(crate) time: Timestamp,
}

/// A stream of a frame that is to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameStream<'a> {
    pub(crate) name: &'a str,
    /// The version of its first event in the frame.
    pub(crate) first_version: u64,
}

/// An event of a frame that is to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameEvent {
    pub(crate) crc: u32,
    /// Where its entry ends, counted from the start of the first entry.
    pub(crate) end: u32,
    /// Its stream, as an index into the frame's streams.
    pub(crate) stream: u16,
    /// Its version less the first of its stream in this frame.
    pub(crate) version_offset: u16,
}

/// Appends a frame of events and returns its head checksum.
pub(crate) fn put_events<'a>(
    out: &mut Vec<u8>,
    place: &FramePlace,
    streams: impl Iterator<Item = FrameStream<'a>> + Clone,
    events: impl IntoIterator<Item = FrameEvent, IntoIter: ExactSizeIterator>,
    entries: &[u8],
    state: &[u8],
) -> u32 {
    let mut events = events.into_iter();
    let (stream_count, event_count) = (streams.clone().count(), events.len());
    let many = stream_count > 1;
    let is_lone = event_count == 1 && !many && state.is_empty();
    let lone = if is_lone { events.next().map(|event| event.crc) } else { None };
    let kind = if lone.is_some() { Kind::Event } else { Kind::Batch };
    let start = put_head(out, place, kind);
    if lone.is_none() {
        out.put_u16(u16::try_from(event_count).unwrap_or(u16::MAX));
        out.put_u16(u16::try_from(stream_count).unwrap_or(u16::MAX));
        out.put_u32(0);
        out.put_u32(u32::try_from(state.len()).unwrap_or(u32::MAX));
        out.put_u32(crc32(state));
    }
    let tables = out.len();
    for stream in streams {
        out.put_varint(stream.first_version);
        out.put_varint(stream.name.len() as u64);
        out.put(stream.name.as_bytes());
    }
    if let Some(crc) = lone {
        out.put_u32(crc);
    } else {
        for event in events {
            out.put_u32(event.crc);
            out.put_u32(event.end);
            if many {
                out.put_u16(event.stream);
                out.put_u16(event.version_offset);
            }
        }
        let table_bytes = u32::try_from(out.len() - tables).unwrap_or(u32::MAX);
        patch_u32(out, start + OFF_TABLES, table_bytes);
    }
    let head_end = out.len();
    out.put(entries);
    out.put(state);
    finish(out, place, start, head_end)
}

/// Appends the first frame of a segment and returns its head checksum.
pub(crate) fn put_begin(out: &mut Vec<u8>, place: &FramePlace, begin: &Begin) -> u32 {
    let start = put_head(out, place, Kind::Begin);
    out.put_u64(begin.base);
    out.put_u32(begin.predecessor);
    out.put_u32(begin.predecessor_end);
    out.put_u32(begin.predecessor_crc);
    out.put_u32(u32::from(begin.cut));
    out.put_u64(begin.predecessor_chain.0);
    let end = out.len();
    finish(out, place, start, end)
}

/// Appends the last frame of a segment and returns its head checksum.
pub(crate) fn put_seal(out: &mut Vec<u8>, place: &FramePlace, seal: &Seal) -> u32 {
    let start = put_head(out, place, Kind::Seal);
    out.put_u32(seal.frames);
    out.put_u32(seal.events);
    out.put_i64(seal.first_time.as_micros());
    out.put_i64(seal.last_time.as_micros());
    out.put_u64(seal.chain.0);
    let end = out.len();
    finish(out, place, start, end)
}

/// Appends a frame that carries only its durable end, and returns its head checksum.
pub(crate) fn put_watermark(out: &mut Vec<u8>, place: &FramePlace) -> u32 {
    let start = put_head(out, place, Kind::Watermark);
    let end = out.len();
    finish(out, place, start, end)
}

fn put_head(out: &mut Vec<u8>, place: &FramePlace, kind: Kind) -> usize {
    let start = out.len();
    let time = time_that_fits(place.time).as_micros().cast_unsigned();
    out.put_u32(0);
    out.put_u32(0);
    out.put_u64(u64::from(kind as u8) << TIME_BITS | time);
    out.put_u32(place.durable_end);
    out.put_u32(place.previous);
    out.put_u32(place.first);
    start
}

fn finish(out: &mut Vec<u8>, place: &FramePlace, start: usize, head_end: usize) -> u32 {
    // Lengths are multiples of four, so their two low bits tell how much of them is padding.
    let used = out.len() - start;
    let len = used.next_multiple_of(ALIGN as usize);
    out.resize(start + len, 0);
    patch_u32(out, start + OFF_LEN, u32::try_from(len + (len - used)).unwrap_or(u32::MAX));
    let head = out.get(start + OFF_LEN..head_end).unwrap_or_default();
    let crc = place.seed.head_crc(place.offset, head);
    patch_u32(out, start, crc);
    crc
}

/// The most bytes that a frame of events takes, given what goes into it. Used to see whether it
/// fits before its versions are known.
pub(crate) fn events_frame_bound(
    names: impl Iterator<Item = usize>,
    events: usize,
    entries: usize,
    state: usize,
) -> usize {
    const MOST_VARINT: usize = 10;
    let streams: usize = names.map(|len| 2 * MOST_VARINT + len).sum();
    BATCH_HEAD_BYTES + streams + 12 * events + entries + state + ALIGN as usize
}
