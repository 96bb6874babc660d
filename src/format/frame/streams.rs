//! The streams of a frame.

use super::{Frame, Kind};
use crate::event::Span;
use crate::format::MAX_POSITION;
use crate::format::codec::Cursor;

impl Frame {
    /// A stream of this frame: the version of its first event here, and its name.
    #[inline]
    pub(crate) fn stream(&self, bytes: &[u8], index: u16) -> Option<(u64, Span)> {
        if index >= self.streams {
            return None;
        }
        if self.kind == Kind::Event {
            return Some(self.lone).filter(|(version, _)| *version <= MAX_POSITION);
        }
        let mut cursor = Cursor::at(self.stream_table(bytes)?, self.streams_at as usize);
        for _ in 0..index {
            cursor.varint()?;
            let name = cursor.varint_u32()?;
            cursor.take(name as usize)?;
        }
        stream_at(&mut cursor)
    }

    /// The stream with a name: its number here, and the version of its first event.
    pub(crate) fn find_stream(&self, bytes: &[u8], name: &[u8]) -> Option<(u16, u64)> {
        let mut cursor = Cursor::at(self.stream_table(bytes)?, self.streams_at as usize);
        (0..self.streams).find_map(|index| {
            let (first_version, span) = stream_at(&mut cursor)?;
            (bytes.get(span.range())? == name).then_some((index, first_version))
        })
    }

    /// The frame's bytes up to the end of its stream table.
    #[inline]
    fn stream_table<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        bytes.get(..self.events_at as usize)
    }

    /// Puts all streams into a list, in one walk: the table is one of varints, so that each look at
    /// a later one walks over all before it.
    pub(crate) fn list_streams(&self, bytes: &[u8], list: &mut Vec<(u64, Span)>) {
        list.clear();
        let table = self.stream_table(bytes).unwrap_or_default();
        let mut cursor = Cursor::at(table, self.streams_at as usize);
        list.extend((0..self.streams).map_while(|_| stream_at(&mut cursor)));
    }

    /// How many streams it has events of.
    pub(crate) const fn streams(&self) -> u16 {
        self.streams
    }
}

/// The version of a stream's first event, and where its name is; moves behind it.
#[inline]
fn stream_at(cursor: &mut Cursor<'_>) -> Option<(u64, Span)> {
    let first_version = cursor.varint().filter(|version| *version <= MAX_POSITION)?;
    let len = cursor.varint_u32()?;
    let start = u32::try_from(cursor.offset()).ok()?;
    cursor.take(len as usize)?;
    Some((first_version, Span { start, len }))
}
