//! The files of `state/`: a header, then groups of writes, each of which is whole or does not
//! exist. The checksum of a group's head is seeded with the file's salt and the group's offset and
//! covers its keys and the checksums of its values, so that a file can be read without its values.
//!
//! A group is written once everything before it is durable: one that verifies proves that whatever
//! stands before it was, and that what does not verify there is damage and no torn write.

#[cfg(any(test, fuzzing))]
pub(crate) mod mend;

use super::codec::{Cursor, Put, crc32, patch_u32, u32_at};
use super::statewrites::{Place, Write, Writes, put_writes};
use super::{FORMAT_VERSION, Invalid};

/// The header has a page of its own; groups begin behind it.
pub(crate) const STATE_HEADER_BYTES: u64 = 4096;
/// Groups begin at multiples of this.
pub(crate) const STATE_ALIGN: u64 = 8;
/// What a group takes beside its writes.
pub(crate) const GROUP_HEAD_BYTES: usize = 20;
/// What a mark takes: a group without writes.
pub(crate) const MARK_BYTES: u64 = 32;

const MAGIC: [u8; 8] = *b"ANNALSTA";
const OFF_VERSION: usize = MAGIC.len();
const OFF_CRC: usize = OFF_VERSION + 2 + 2 + 4 + 16 + 16 + 4 + 8;
const USED_BYTES: usize = OFF_CRC + 4;
const OFF_LEN: usize = 4;

/// What a file of `state/` says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StateHeader {
    pub(crate) store: [u8; 16],
    /// Random; what ties groups to their file.
    pub(crate) salt: [u8; 16],
    /// The number in its name.
    pub(crate) number: u32,
    /// The length of the file.
    pub(crate) len: u64,
}

impl StateHeader {
    /// The header page.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4096);
        out.put(&MAGIC);
        out.put_u16(FORMAT_VERSION);
        out.put_u16(FORMAT_VERSION);
        out.put_u32(0);
        out.put(&self.store);
        out.put(&self.salt);
        out.put_u32(self.number);
        out.put_u64(self.len);
        out.put_u32(crc32(&out));
        out.resize(4096, 0);
        out
    }

    /// Reads a header; the checksum first.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Invalid> {
        let cut =
            || Invalid::new(format!("a header of {USED_BYTES} bytes"), format!("{}", bytes.len()));
        let covered = bytes.get(..OFF_CRC).ok_or_else(cut)?;
        let stored = u32_at(bytes, OFF_CRC).ok_or_else(cut)?;
        if !covered.starts_with(&MAGIC) {
            return Err(Invalid::new("the magic of a state file", "other bytes"));
        }
        let computed = crc32(covered);
        if stored != computed {
            return Err(Invalid::checksum(stored, computed));
        }
        let mut cursor = Cursor::at(covered, OFF_VERSION);
        let mut read = || {
            let (_version, reader, flags) = (cursor.u16()?, cursor.u16()?, cursor.u32()?);
            let (store, salt) = (cursor.array()?, cursor.array()?);
            let header = Self { store, salt, number: cursor.u32()?, len: cursor.u64()? };
            Some((reader, flags, header))
        };
        let (reader, flags, header) = read().ok_or_else(cut)?;
        super::check_supported(reader, flags)?;
        Ok(header)
    }
}

/// What a group is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum GroupKind {
    /// Writes of callers.
    Writes = 1,
    /// No writes. Ends what a compaction or a session wrote.
    Mark = 2,
    /// No writes: an earlier file was damaged. A key that no later group has may have had a value.
    Doubt = 3,
}

/// Where a group stands, and what was known when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupPlace {
    pub(crate) salt: [u8; 16],
    pub(crate) offset: u64,
    /// The state writes of all frames up to this position are in the file, up to this group.
    pub(crate) applied: u64,
}

/// A group whose head was verified. Its values were not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Its whole length, with the padding.
    pub(crate) len: u64,
    pub(crate) kind: GroupKind,
    pub(crate) applied: u64,
    /// Its writes; places count from the group's start.
    pub(crate) writes: Vec<(Vec<u8>, Place)>,
}

/// What bytes turn out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Group(Group),
    /// The head may be longer than the bytes given: ask again with at least so many.
    Needs(usize),
    Invalid(Invalid),
}

/// Appends a group.
pub(crate) fn put_group<'a>(
    out: &mut Vec<u8>,
    place: &GroupPlace,
    kind: GroupKind,
    writes: impl ExactSizeIterator<Item = (&'a [u8], Write<'a>)> + Clone,
) {
    let start = out.len();
    out.put_u32(0);
    out.put_u32(0);
    out.put_u64(place.applied);
    out.put_u32(kind as u32);
    let head = put_writes(out, writes);
    let used = out.len() - start;
    let len = used.next_multiple_of(8);
    out.resize(start + len, 0);
    // Lengths are multiples of eight, so their three low bits tell how much of them is padding.
    let encoded = u32::try_from(len + (len - used)).unwrap_or(u32::MAX);
    patch_u32(out, start + OFF_LEN, encoded);
    let crc = head_crc(place, out.get(start + OFF_LEN..head).unwrap_or_default());
    patch_u32(out, start, crc);
}

fn head_crc(place: &GroupPlace, head: &[u8]) -> u32 {
    let mut seeded = Vec::with_capacity(24);
    seeded.put(&place.salt);
    seeded.put_u64(place.offset);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seeded);
    hasher.update(head);
    hasher.finalize()
}

impl Group {
    /// Reads and verifies the head of the group at an offset. `bytes` begins there; the group must
    /// end within `room` bytes.
    pub(crate) fn parse(bytes: &[u8], salt: [u8; 16], offset: u64, room: u64) -> Parsed {
        if bytes.len() < GROUP_HEAD_BYTES + 8 {
            return if room < MARK_BYTES {
                Parsed::Invalid(Invalid::new("a group", "the end of the file"))
            } else {
                Parsed::Needs(GROUP_HEAD_BYTES + 8)
            };
        }
        Self::read(bytes, salt, offset, room).unwrap_or_else(|e| e)
    }

    fn read(bytes: &[u8], salt: [u8; 16], offset: u64, room: u64) -> Result<Parsed, Parsed> {
        let invalid = |expected: &str, found: &str| Parsed::Invalid(Invalid::new(expected, found));
        let cut = || invalid("a group", "the end of the data");
        let mut cursor = Cursor::new(bytes);
        let mut fixed = || {
            let (crc, len) = (cursor.u32()?, cursor.u32()?);
            Some((crc, len, cursor.u64()?, cursor.u32()?))
        };
        let (crc, encoded, applied, kind) = fixed().ok_or_else(cut)?;
        let (len, padding) = (u64::from(encoded & !7), u64::from(encoded & 7));
        if len < MARK_BYTES || len > room {
            return Err(invalid(
                &format!("a group of {MARK_BYTES} to {room} bytes"),
                &format!("a length of {len}"),
            ));
        }
        let used = usize::try_from(len - padding).map_err(|_| cut())?;
        let Some(head_end) = Writes::table_end(bytes, GROUP_HEAD_BYTES).filter(|end| *end <= used)
        else {
            return Err(invalid("a table inside the group", "a table beyond its end"));
        };
        let Some(head) = bytes.get(OFF_LEN..head_end) else { return Ok(Parsed::Needs(head_end)) };
        let place = GroupPlace { salt, offset, applied };
        let computed = head_crc(&place, head);
        if computed != crc {
            return Err(Parsed::Invalid(Invalid::checksum(crc, computed)));
        }
        let kind = match kind {
            1 => GroupKind::Writes,
            2 => GroupKind::Mark,
            3 => GroupKind::Doubt,
            other => {
                let found = format!("kind {other}");
                return Err(Parsed::Invalid(Invalid::unsupported("a known group", found)));
            }
        };
        let table = Writes::parse(bytes, GROUP_HEAD_BYTES, used).map_err(Parsed::Invalid)?;
        let writes = table.rows.into_iter().map(|(key, place)| (key.to_vec(), place)).collect();
        Ok(Parsed::Group(Self { len, kind, applied, writes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> GroupPlace {
        GroupPlace { salt: [7; 16], offset: 4096, applied: 9 }
    }

    fn group() -> Vec<u8> {
        let writes: [(&[u8], Write<'_>); 3] =
            [(b"a", Write::Value(b"xyz")), (b"bc", Write::Deleted), (b"d", Write::Lost)];
        let mut out = Vec::new();
        put_group(&mut out, &place(), GroupKind::Writes, writes.into_iter());
        out
    }

    fn parse(bytes: &[u8]) -> Parsed {
        Group::parse(bytes, [7; 16], 4096, 1 << 20)
    }

    #[test]
    fn the_bytes_of_a_header_are_locked() {
        let header = StateHeader { store: [1; 16], salt: [2; 16], number: 3, len: 65_536 };
        let bytes = header.encode();
        let mut expected = b"ANNALSTA\x01\x00\x01\x00\x00\x00\x00\x00".to_vec();
        expected.extend([1; 16]);
        expected.extend([2; 16]);
        expected.extend([3, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
        expected.extend(0x8162_eaf1_u32.to_le_bytes());
        assert_eq!(bytes[..64], expected);
        assert_eq!(bytes.len(), 4096);
        assert!(bytes[64..].iter().all(|byte| *byte == 0));
        assert_eq!(StateHeader::decode(&bytes), Ok(header));
        for bit in 0..64 * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(StateHeader::decode(&damaged).is_err(), "bit {bit}");
        }
        for len in 0..64 {
            assert!(StateHeader::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn the_bytes_of_a_group_are_locked() {
        let bytes = group();
        let mut expected = 0_u32.to_le_bytes().to_vec();
        // 20 of the head, 8 of the writes' own, rows of 8, 4 and 3, 3 of values, 2 of padding.
        expected.extend([50, 0, 0, 0]);
        expected.extend([9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        expected.extend([3, 0, 0, 0, 15, 0, 0, 0]);
        expected.extend([0, 1, b'a', 3]);
        expected.extend(crc32(b"xyz").to_le_bytes());
        expected.extend([1, 2, b'b', b'c', 2, 1, b'd']);
        expected.extend(b"xyz\0\0");
        expected[..4].copy_from_slice(&bytes[..4]);
        assert_eq!(bytes, expected);
        assert_eq!(u32_at(&bytes, 0), Some(0xbc2d_be1e));
        let Parsed::Group(group) = parse(&bytes) else { panic!("not a group") };
        assert_eq!((group.len, group.kind, group.applied), (48, GroupKind::Writes, 9));
        let value = Place::Value { start: 43, len: 3, crc: crc32(b"xyz") };
        assert_eq!(group.writes[0], (b"a".to_vec(), value));
        assert_eq!(group.writes[1], (b"bc".to_vec(), Place::Deleted));
        assert_eq!(group.writes[2], (b"d".to_vec(), Place::Lost));
    }

    #[test]
    fn checksums_that_are_written_again_are_the_same() {
        let header = StateHeader { store: [1; 16], salt: [7; 16], number: 3, len: 65_536 };
        let mut file = header.encode();
        file.extend(group());
        let behind = GroupPlace { offset: file.len() as u64, ..place() };
        put_group(&mut file, &behind, GroupKind::Mark, [].into_iter());
        file.resize(65_536, 0);
        let mut mended = file.clone();
        let group_at = header.encode().len();
        // Every checksum: of the header, both heads and the value.
        for at in [OFF_CRC, group_at, group_at + 48, group_at + 32] {
            mended[at] ^= 0xff;
        }
        mend::mend(&mut mended);
        assert!(mended == file);
    }

    #[test]
    fn a_mark_takes_what_it_says() {
        for kind in [GroupKind::Mark, GroupKind::Doubt] {
            let mut out = Vec::new();
            put_group(&mut out, &place(), kind, [].into_iter());
            assert_eq!(out.len() as u64, MARK_BYTES);
            assert!(matches!(parse(&out), Parsed::Group(group) if group.kind == kind));
        }
    }

    #[test]
    fn every_flipped_bit_of_a_head_and_every_cut_is_detected() {
        let bytes = group();
        for bit in 0..43 * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(parse(&damaged), Parsed::Group(_)), "bit {bit}");
        }
        for len in 0..43 {
            assert!(matches!(parse(&bytes[..len]), Parsed::Needs(n) if n > len), "{len} bytes");
        }
        assert!(matches!(Group::parse(&bytes, [8; 16], 4096, 1 << 20), Parsed::Invalid(_)));
        assert!(matches!(Group::parse(&bytes, [7; 16], 4104, 1 << 20), Parsed::Invalid(_)));
        assert!(matches!(Group::parse(&bytes, [7; 16], 4096, 40), Parsed::Invalid(_)));
    }

    #[test]
    fn a_group_begins_and_ends_within_its_room() {
        let bytes = group();
        let within = |len: usize, room| Group::parse(&bytes[..len], [7; 16], 4096, room);
        assert!(matches!(within(48, 48), Parsed::Group(_)), "it ends where the room does");
        assert!(matches!(within(48, 47), Parsed::Invalid(_)));
        assert!(matches!(within(27, 32), Parsed::Needs(28)), "a mark would fit");
        assert!(matches!(within(27, 31), Parsed::Invalid(_)), "nothing would");
        assert!(matches!(within(28, 48), Parsed::Needs(43)), "the whole head");
    }

    /// A group with right checksums whose fields are as given.
    fn mended(kind: u32, len: u32) -> Parsed {
        let mut out = Vec::new();
        put_group(&mut out, &place(), GroupKind::Mark, [].into_iter());
        patch_u32(&mut out, OFF_LEN, len);
        patch_u32(&mut out, 16, kind);
        let crc = head_crc(&place(), &out[OFF_LEN..28]);
        patch_u32(&mut out, 0, crc);
        parse(&out)
    }

    #[test]
    fn wrong_fields_are_refused_with_any_checksum() {
        // 28 bytes and 4 of padding.
        assert!(matches!(mended(2, 32 | 4), Parsed::Group(_)));
        assert!(matches!(mended(2, 24), Parsed::Invalid(e) if !e.unsupported), "too short");
        assert!(matches!(mended(2, 32 | 5), Parsed::Invalid(e) if !e.unsupported), "27 bytes");
        assert!(matches!(mended(2, 32 | 3), Parsed::Invalid(e) if !e.unsupported), "29 bytes");
        for kind in [0, 4] {
            assert!(matches!(mended(kind, 32 | 4), Parsed::Invalid(e) if e.unsupported));
        }
    }

    #[test]
    fn groups_are_the_same_behind_other_bytes() {
        let writes: [(&[u8], Write<'_>); 1] = [(b"a", Write::Value(b"xyz"))];
        let (mut alone, mut behind) = (Vec::new(), vec![0xaa; 5]);
        put_group(&mut alone, &place(), GroupKind::Writes, writes.into_iter());
        put_group(&mut behind, &place(), GroupKind::Writes, writes.into_iter());
        assert_eq!(behind[5..], alone[..]);
        assert_eq!(alone.len() % 8, 0);
    }

    #[test]
    fn newer_formats_are_unsupported_and_not_corrupt() {
        let header = StateHeader { store: [1; 16], salt: [2; 16], number: 3, len: 65_536 };
        for at in [OFF_VERSION + 2, OFF_VERSION + 4] {
            let mut bytes = header.encode();
            bytes[at] = 2;
            let crc = crc32(&bytes[..OFF_CRC]);
            patch_u32(&mut bytes, OFF_CRC, crc);
            assert!(StateHeader::decode(&bytes).unwrap_err().unsupported, "byte {at}");
        }
    }
}
