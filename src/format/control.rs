//! What control frames say: the begin of a segment, and its seal.

use super::MAX_POSITION;
use super::codec::Cursor;
use super::frame::{Frame, HEAD_BYTES, Kind};
use super::segment::Chain;
use crate::position::Timestamp;

/// What the first frame of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begin {
    /// The position of the segment's first event.
    pub(crate) base: u64,
    /// The segment before it (0 where there is none), its end, its last frame and its digest.
    pub(crate) predecessor: u32,
    pub(crate) predecessor_end: u32,
    pub(crate) predecessor_crc: u32,
    /// The predecessor was cut by a recovery; bytes behind its end do not exist.
    pub(crate) cut: bool,
    pub(crate) predecessor_chain: Chain,
}

/// What the last frame of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) frames: u32,
    pub(crate) events: u32,
    pub(crate) first_time: Timestamp,
    pub(crate) last_time: Timestamp,
    pub(crate) chain: Chain,
}

impl Frame {
    /// What a begin frame says; the head was verified.
    pub(crate) fn begin(&self, bytes: &[u8]) -> Option<Begin> {
        let mut cursor = Cursor::at(bytes, HEAD_BYTES);
        (self.kind == Kind::Begin).then_some(())?;
        Some(Begin {
            base: cursor.u64().filter(|base| (1..=MAX_POSITION).contains(base))?,
            predecessor: cursor.u32()?,
            predecessor_end: cursor.u32()?,
            predecessor_crc: cursor.u32()?,
            cut: cursor.u32()? != 0,
            predecessor_chain: Chain(cursor.u64()?),
        })
    }

    /// What a seal frame says; the head was verified.
    pub(crate) fn seal(&self, bytes: &[u8]) -> Option<Seal> {
        let mut cursor = Cursor::at(bytes, HEAD_BYTES);
        (self.kind == Kind::Seal).then_some(())?;
        Some(Seal {
            frames: cursor.u32()?,
            events: cursor.u32()?,
            first_time: Timestamp::from_micros(cursor.i64()?),
            last_time: Timestamp::from_micros(cursor.i64()?),
            chain: Chain(cursor.u64()?),
        })
    }
}
