//! Cursors as values of `state/`.

use super::Invalid;
use super::codec::{Cursor, Put};
use crate::position::Timestamp;

/// What the keys of cursors begin with; the name follows.
const PREFIX: u8 = 0x01;
const VALUE_BYTES: usize = 8 + 16 + 8 + 8;

/// A saved cursor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SavedCursor {
    pub(crate) position: u64,
    /// The id of the event there; zeros at position 0.
    pub(crate) event: [u8; 16],
    /// When that event was committed; 0 at position 0. A restored segment that is continued gives
    /// the same assigned ids again.
    pub(crate) event_time: Timestamp,
    pub(crate) saved_at: Timestamp,
}

/// The key of the cursor with a name.
pub(crate) fn cursor_key(name: &str) -> Vec<u8> {
    let mut key = vec![PREFIX];
    key.put(name.as_bytes());
    key
}

/// What the keys of all cursors begin with.
pub(crate) const fn cursor_prefix() -> [u8; 1] {
    [PREFIX]
}

/// The name of the cursor with a key.
pub(crate) fn cursor_name(key: &[u8]) -> Option<&str> {
    str::from_utf8(key.strip_prefix(&[PREFIX])?).ok()
}

impl SavedCursor {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(VALUE_BYTES);
        out.put_u64(self.position);
        out.put(&self.event);
        out.put_i64(self.event_time.as_micros());
        out.put_i64(self.saved_at.as_micros());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Invalid> {
        let other = || {
            let found = format!("{} bytes", bytes.len());
            Invalid::unsupported(format!("a cursor of {VALUE_BYTES} bytes"), found)
        };
        if bytes.len() != VALUE_BYTES {
            return Err(other());
        }
        let mut cursor = Cursor::new(bytes);
        let mut read = || {
            let (position, event) = (cursor.u64()?, cursor.array()?);
            let mut time = || cursor.i64().map(Timestamp::from_micros);
            Some(Self { position, event, event_time: time()?, saved_at: time()? })
        };
        read().ok_or_else(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_cursor_are_locked() {
        assert_eq!(cursor_key("a\u{e9}"), [1, b'a', 0xc3, 0xa9]);
        assert_eq!(cursor_name(&cursor_key("billing")), Some("billing"));
        assert_eq!(cursor_name(b"\x02billing"), None);
        let saved_at = Timestamp::from_micros(-2);
        let event_time = Timestamp::from_micros(3);
        let saved = SavedCursor { position: 0x0102, event: [7; 16], event_time, saved_at };
        let mut expected = vec![2, 1, 0, 0, 0, 0, 0, 0];
        expected.extend([7; 16]);
        expected.extend([3, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(saved.encode(), expected);
        assert_eq!(SavedCursor::decode(&expected), Ok(saved));
        assert!(SavedCursor::decode(&expected[1..]).unwrap_err().unsupported);
    }

    #[test]
    fn keys_of_cursors_begin_with_their_prefix() {
        assert_eq!(cursor_prefix(), [1]);
        assert!(cursor_key("billing").starts_with(&cursor_prefix()));
    }
}
