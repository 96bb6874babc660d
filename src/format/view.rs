//! Views and snapshots as values of `state/`: the list of views, what a view's file and the state
//! writes of frames say of it, and a snapshot.

use super::Invalid;
use super::codec::{Cursor, Put};
use super::cursor::SavedCursor;
use crate::position::Timestamp;

/// What the keys of the list of views begin with; the name follows.
const LISTED: u8 = 0x02;
/// What the keys of a frame's writes to a view begin with; the view's id and its key follow.
const OF_VIEW: u8 = 0x03;
/// In a view's file and behind its id in frames: where the view stands, an entry, what was parked.
const PLACE: u8 = 0x00;
const ENTRY: u8 = 0x01;
const PARKED: u8 = 0x02;

const LISTED_BYTES: usize = 16 + 4 + 8;
const PARKED_FIXED: usize = 16 + 4 + 8;
const SNAPSHOT_FIXED: usize = 8 + 16 + 8 + 4 + 8;

/// What the list of views says of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListedView {
    /// Random; names its file, and stands in the frames that write to it.
    pub(crate) id: [u8; 16],
    /// Given by the caller.
    pub(crate) schema: u32,
    pub(crate) created_at: Timestamp,
}

impl ListedView {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(LISTED_BYTES);
        out.put(&self.id);
        out.put_u32(self.schema);
        out.put_i64(self.created_at.as_micros());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Invalid> {
        let other = || {
            let found = format!("{} bytes", bytes.len());
            Invalid::unsupported(format!("a listed view of {LISTED_BYTES} bytes"), found)
        };
        let mut cursor = Cursor::new(bytes);
        let mut read = || {
            let (id, schema) = (cursor.array()?, cursor.u32()?);
            let created_at = Timestamp::from_micros(cursor.i64()?);
            Some(Self { id, schema, created_at })
        };
        read().filter(|_| bytes.len() == LISTED_BYTES).ok_or_else(other)
    }
}

/// The key of a view in the list.
pub(crate) fn listed_key(name: &str) -> Vec<u8> {
    let mut key = vec![LISTED];
    key.put(name.as_bytes());
    key
}

/// What the keys of the list begin with.
pub(crate) const fn listed_prefix() -> [u8; 1] {
    [LISTED]
}

/// The name of the view with a key in the list.
pub(crate) fn listed_name(key: &[u8]) -> Option<&str> {
    str::from_utf8(key.strip_prefix(&[LISTED])?).ok()
}

/// The key of a frame's write to a view, given the key there.
pub(crate) fn in_frame(id: &[u8; 16], key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + id.len() + key.len());
    out.put_u8(OF_VIEW);
    out.put(id);
    out.put(key);
    out
}

/// The view that a frame's write is for, and the key there; `None` for writes of another kind.
pub(crate) fn of_frame(key: &[u8]) -> Option<([u8; 16], &[u8])> {
    let (id, key) = key.strip_prefix(&[OF_VIEW])?.split_first_chunk::<16>()?;
    Some((*id, key))
}

/// The key under which a view's file says where the view stands. In a frame: where it stood before,
/// which is what the frame's writes were made from.
pub(crate) const PLACE_KEY: [u8; 1] = [PLACE];

/// The key of an entry, given the user's.
pub(crate) fn entry_key(key: &[u8]) -> Vec<u8> {
    let mut out = vec![ENTRY];
    out.put(key);
    out
}

/// The user's key of an entry.
pub(crate) fn of_entry(key: &[u8]) -> &[u8] {
    key.strip_prefix(&[ENTRY]).unwrap_or_default()
}

/// The key of a parked event. Its digits are big first, so that keys are in order.
pub(crate) fn parked_key(position: u64) -> Vec<u8> {
    let mut out = vec![PARKED];
    out.put_u64_ordered(position);
    out
}

/// What the keys of parked events begin with.
pub(crate) const PARKED_KEYS: [u8; 1] = [PARKED];

/// The position of a parked event, given its key.
pub(crate) fn of_parked(key: &[u8]) -> Option<u64> {
    let digits = key.strip_prefix(&[PARKED])?;
    (digits.len() == 8)
        .then(|| digits.iter().fold(0, |position, digit| (position << 8) | u64::from(*digit)))
}

/// Where a view stands, in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ViewPlace {
    /// The view that the file is of.
    pub(crate) id: [u8; 16],
    pub(crate) at: SavedCursor,
}

impl ViewPlace {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.id.to_vec();
        out.put(&self.at.encode());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Invalid> {
        let Some((id, at)) = bytes.split_first_chunk() else {
            return Err(Invalid::new("where the view stands", format!("{} bytes", bytes.len())));
        };
        Ok(Self { id: *id, at: SavedCursor::decode(at)? })
    }
}

/// A parked event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParkedValue {
    pub(crate) event: [u8; 16],
    pub(crate) attempts: u32,
    pub(crate) parked_at: Timestamp,
    pub(crate) reason: String,
}

impl ParkedValue {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(PARKED_FIXED + self.reason.len());
        out.put(&self.event);
        out.put_u32(self.attempts);
        out.put_i64(self.parked_at.as_micros());
        out.put(self.reason.as_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Invalid> {
        let mut cursor = Cursor::new(bytes);
        let mut read = || {
            let (event, attempts) = (cursor.array()?, cursor.u32()?);
            let parked_at = Timestamp::from_micros(cursor.i64()?);
            let reason = str::from_utf8(bytes.get(PARKED_FIXED..)?).ok()?.to_owned();
            Some(Self { event, attempts, parked_at, reason })
        };
        let found = || Invalid::new("a parked event", format!("{} bytes", bytes.len()));
        read().ok_or_else(found)
    }
}

/// What a snapshot says before its own bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotHead {
    /// The event up to which the state was folded.
    pub(crate) position: u64,
    pub(crate) event: [u8; 16],
    pub(crate) event_time: Timestamp,
    /// Given by the caller.
    pub(crate) schema: u32,
    pub(crate) saved_at: Timestamp,
}

impl SnapshotHead {
    /// The value of a snapshot.
    pub(crate) fn encode(&self, state: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(SNAPSHOT_FIXED + state.len());
        out.put_u64(self.position);
        out.put(&self.event);
        out.put_i64(self.event_time.as_micros());
        out.put_u32(self.schema);
        out.put_i64(self.saved_at.as_micros());
        out.put(state);
        out
    }

    /// The head of a value; the snapshot's own bytes follow it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), Invalid> {
        let mut cursor = Cursor::new(bytes);
        let mut read = || {
            let (position, event) = (cursor.u64()?, cursor.array()?);
            let event_time = Timestamp::from_micros(cursor.i64()?);
            let (schema, saved_at) = (cursor.u32()?, Timestamp::from_micros(cursor.i64()?));
            let head = Self { position, event, event_time, schema, saved_at };
            Some((head, bytes.get(SNAPSHOT_FIXED..)?))
        };
        let found = || Invalid::new("a snapshot", format!("{} bytes", bytes.len()));
        read().ok_or_else(found)
    }
}

/// What the keys of a stream's snapshots of a kind begin with. Neither name has a zero byte.
pub(crate) fn snapshots_of(stream: &str, kind: &str) -> Vec<u8> {
    let mut key = stream.as_bytes().to_vec();
    key.put_u8(0);
    key.put(kind.as_bytes());
    key.put_u8(0);
    key
}

/// The key of a snapshot.
pub(crate) fn snapshot_key(stream: &str, kind: &str, version: u64) -> Vec<u8> {
    let mut key = snapshots_of(stream, kind);
    key.put_u64_ordered(version);
    key
}

/// Stream, kind and version of a snapshot, given its key.
pub(crate) fn of_snapshot(key: &[u8]) -> Option<(&str, &str, u64)> {
    let (names, version) = key.split_at_checked(key.len().checked_sub(8)?)?;
    let names = str::from_utf8(names.strip_suffix(&[0])?).ok()?;
    let (stream, kind) = names.split_once('\0')?;
    let version = version.iter().fold(0, |version, digit| (version << 8) | u64::from(*digit));
    Some((stream, kind, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn the_bytes_of_a_view_are_locked() {
        let listed = ListedView { id: [5; 16], schema: 0x0102, created_at: time(-2) };
        let mut expected = vec![5; 16];
        expected.extend([2, 1, 0, 0]);
        expected.extend([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(listed.encode(), expected);
        assert_eq!(ListedView::decode(&expected), Ok(listed));
        assert!(ListedView::decode(&expected[1..]).unwrap_err().unsupported);
        assert_eq!(listed_key("a"), [2, b'a']);
        assert_eq!((listed_name(b"\x02ab"), listed_name(b"\x01ab")), (Some("ab"), None));

        let at =
            SavedCursor { position: 7, event: [8; 16], event_time: time(9), saved_at: time(10) };
        let place = ViewPlace { id: [5; 16], at };
        assert_eq!(place.encode(), [vec![5; 16], at.encode()].concat());
        assert_eq!(ViewPlace::decode(&place.encode()), Ok(place));
        assert!(ViewPlace::decode(&place.encode()[1..]).is_err());

        assert_eq!(
            in_frame(&[5; 16], b"\x01k"),
            [vec![3], vec![5; 16], b"\x01k".to_vec()].concat()
        );
        assert_eq!(of_frame(&in_frame(&[5; 16], b"\x01k")), Some(([5; 16], &b"\x01k"[..])));
        assert_eq!((of_frame(b"\x01name"), of_frame(&[3; 16])), (None, None));
        assert_eq!((entry_key(b"k"), of_entry(b"\x01k")), (vec![1, b'k'], &b"k"[..]));
        assert_eq!(parked_key(0x0102), [2, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!((of_parked(&parked_key(0x0102)), of_parked(b"\x02\x01")), (Some(0x0102), None));

        let reason = "no".to_owned();
        let parked = ParkedValue { event: [8; 16], attempts: 3, parked_at: time(4), reason };
        let mut expected = vec![8; 16];
        expected.extend([3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, b'n', b'o']);
        assert_eq!(parked.encode(), expected);
        assert_eq!(ParkedValue::decode(&expected), Ok(parked));
        assert!(ParkedValue::decode(&expected[..27]).is_err());
    }

    #[test]
    fn the_bytes_of_a_snapshot_are_locked() {
        let head = SnapshotHead {
            position: 7,
            event: [8; 16],
            event_time: time(9),
            schema: 3,
            saved_at: time(10),
        };
        let mut expected = vec![7, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([8; 16]);
        expected.extend([9, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend(b"state");
        assert_eq!(head.encode(b"state"), expected);
        assert_eq!(SnapshotHead::decode(&expected), Ok((head, &b"state"[..])));
        assert!(SnapshotHead::decode(&expected[..43]).is_err());
        let key = snapshot_key("Order-1", "total", 0x0102);
        assert_eq!(key, b"Order-1\0total\0\0\0\0\0\0\0\x01\x02");
        assert_eq!(of_snapshot(&key), Some(("Order-1", "total", 0x0102)));
        assert_eq!((of_snapshot(b"Order-1"), of_snapshot(b"a\0\0\0\0\0\0\0\0\x01")), (None, None));
    }

    #[test]
    fn keys_begin_with_what_they_are_looked_for_by() {
        assert_eq!((listed_prefix(), PLACE_KEY, PARKED_KEYS), ([2], [0], [2]));
        assert!(listed_key("orders").starts_with(&listed_prefix()));
        assert!(parked_key(7).starts_with(&PARKED_KEYS));
        assert!(snapshot_key("a", "b", 1).starts_with(&snapshots_of("a", "b")));
        let longer = ListedView { id: [5; 16], schema: 1, created_at: time(2) }.encode();
        assert!(ListedView::decode(&[&longer[..], &[0]].concat()).is_err());
    }
}
