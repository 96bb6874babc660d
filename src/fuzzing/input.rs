//! Bytes read as small numbers; behind their end everything is zero.

use crate::format::codec::Cursor;

/// What is left of an input.
#[derive(Debug)]
pub(super) struct Input<'a> {
    cursor: Cursor<'a>,
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { cursor: Cursor::new(bytes), bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cursor.offset() >= self.bytes.len()
    }

    pub(super) fn u8(&mut self) -> u8 {
        self.cursor.u8().unwrap_or(0)
    }

    pub(super) fn u16(&mut self) -> u16 {
        self.cursor.u16().unwrap_or(0)
    }

    pub(super) fn u64(&mut self) -> u64 {
        self.cursor.u64().unwrap_or(0)
    }

    /// A number below a bound, 0 where that is 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.u16()).checked_rem(bound).unwrap_or(0)
    }

    /// A number that may well be beyond something.
    pub(super) fn extreme(&mut self) -> u64 {
        let kind = self.u8();
        match kind % 12 {
            0 => 0,
            1 => 1,
            2 => u64::from(self.u8()),
            3 => u64::from(self.u16()),
            4 => u64::from(u16::MAX),
            5 => 0x7fff_ffff,
            6 => u64::from(u32::MAX),
            7 => u64::from(u32::MAX) + 1,
            8 => u64::MAX >> 1,
            9 => u64::MAX,
            10 => u64::MAX - u64::from(self.u8()),
            _ => self.u64(),
        }
    }

    /// So many bytes, or what is left.
    pub(super) fn take(&mut self, len: usize) -> &'a [u8] {
        let left = self.bytes.len().saturating_sub(self.cursor.offset());
        self.cursor.take(len.min(left)).unwrap_or_default()
    }
}
