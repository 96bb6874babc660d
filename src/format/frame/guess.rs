//! What a frame probably is, before anybody has verified it.

use super::{Frame, Kind, OFF_FIRST, OFF_KIND};
use crate::format::codec::Cursor;

impl Frame {
    /// Where the entry of an event begins in a batch frame, as far as the bytes say that nobody has
    /// verified: what will be read soon, if nothing is wrong with them.
    pub(crate) fn guess_entry(bytes: &[u8], ordinal: u32) -> Option<u32> {
        if Cursor::at(bytes, OFF_KIND).u8()? != Kind::Batch as u8 {
            return None;
        }
        let first = Cursor::at(bytes, OFF_FIRST).u32()?;
        let before = u16::try_from(ordinal.checked_sub(first)?).ok()?.checked_sub(1)?;
        let mut frame = Self::EMPTY;
        frame.tables(Kind::Batch as u8, bytes)?;
        let (_, start, ..) = frame.event_row_at(bytes, before)?;
        frame.entries_at.checked_add(start)
    }
}
