//! Right checksums around wrong fields: what a fuzzer needs to get past the checksums.

use super::{Frame, HEAD_BYTES, Kind, OFF_LEN};
use crate::format::codec::{Cursor, crc32, patch_u32};
use crate::format::segment::Seed;

const OFF_PREVIOUS: usize = 20;

impl Frame {
    /// Writes the checksums of the frame at the beginning of the bytes: of its entries as far as
    /// its tables name any, of its head, and of its predecessor. Returns its own checksum and its
    /// length; `None` where no head can be made out.
    pub(crate) fn mend(
        bytes: &mut [u8],
        seed: Seed,
        offset: u32,
        previous: u32,
    ) -> Option<(u32, u32)> {
        patch_u32(bytes, OFF_PREVIOUS, previous);
        let mut cursor = Cursor::at(bytes, OFF_LEN);
        let (len_and_padding, kind_and_time) = (cursor.u32()?, cursor.u64()?);
        let kind = u8::try_from(kind_and_time >> super::TIME_BITS).ok()?;
        let (len, padding) = (len_and_padding & !3, len_and_padding & 3);
        if (len as usize) < HEAD_BYTES || len as usize > bytes.len() {
            return None;
        }
        let mut frame = Self {
            kind: Kind::of(kind).unwrap_or(Kind::Unknown),
            len,
            padding,
            previous,
            ..Self::EMPTY
        };
        let head_end = frame.tables(kind, bytes)?;
        frame.state.start = frame.used();
        let events = if head_end > frame.used() as usize { 0 } else { frame.events };
        for index in 0..events {
            let Some(place) = frame.event(bytes, index) else { break };
            let row = usize::from(index) * frame.event_row() as usize;
            if let Some(entry) = bytes.get(place.entry.range()) {
                let crc = crc32(entry);
                patch_u32(bytes, frame.events_at as usize + row, crc);
            }
        }
        let crc = seed.head_crc(offset, bytes.get(OFF_LEN..head_end)?);
        patch_u32(bytes, 0, crc);
        Some((crc, len))
    }
}
