//! The header of a segment, and the salt that ties frames to it.

use super::codec::{Cursor, Put, crc32, u32_at};
use super::{FORMAT_VERSION, Invalid};

/// The header has a page of its own; frames begin behind it.
pub(crate) const HEADER_BYTES: u32 = 4096;

const MAGIC: [u8; 8] = *b"ANNALSEG";
const OFF_VERSION: usize = MAGIC.len();
const OFF_FLAGS: usize = OFF_VERSION + 2 + 2;
const OFF_STORE: usize = OFF_FLAGS + 4;
const OFF_SALT: usize = OFF_STORE + 16;
const OFF_ORDINAL: usize = OFF_SALT + 16;
const OFF_CRC: usize = OFF_ORDINAL + 4 + 4 + 4;
/// What the header takes of its page; the rest is zeros.
const USED_BYTES: usize = OFF_CRC + 4;
/// The same, as offsets are counted.
pub(crate) const USED_LEN: u32 = 64;
const _: () = assert!(USED_BYTES == USED_LEN as usize);

/// What a segment says of itself before it holds a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) store: [u8; 16],
    pub(crate) salt: [u8; 16],
    /// 1 for the store's first segment, dense.
    pub(crate) ordinal: u32,
    /// 0 as written; higher where the segment was rewritten.
    pub(crate) generation: u32,
    /// The length of the file.
    pub(crate) len: u32,
}

impl SegmentHeader {
    /// The header page.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES as usize);
        out.put(&MAGIC);
        out.put_u16(FORMAT_VERSION);
        out.put_u16(FORMAT_VERSION);
        out.put_u32(0);
        out.put(&self.store);
        out.put(&self.salt);
        out.put_u32(self.ordinal);
        out.put_u32(self.generation);
        out.put_u32(self.len);
        out.put_u32(crc32(&out));
        out.resize(HEADER_BYTES as usize, 0);
        out
    }

    /// Reads a header; the checksum first.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Invalid> {
        let cut = || Invalid::new("a segment header of 64 bytes", format!("{}", bytes.len()));
        let covered = bytes.get(..OFF_CRC).ok_or_else(cut)?;
        let stored = u32_at(bytes, OFF_CRC).ok_or_else(cut)?;
        if !covered.starts_with(&MAGIC) {
            return Err(Invalid::new("the magic of a segment header", "other bytes"));
        }
        let computed = crc32(covered);
        if stored != computed {
            return Err(Invalid::checksum(stored, computed));
        }
        let mut cursor = Cursor::at(covered, OFF_VERSION);
        let mut read = || {
            let (_version, reader, flags) = (cursor.u16()?, cursor.u16()?, cursor.u32()?);
            let header = Self {
                store: cursor.array()?,
                salt: cursor.array()?,
                ordinal: cursor.u32()?,
                generation: cursor.u32()?,
                len: cursor.u32()?,
            };
            Some((reader, flags, header))
        };
        let (reader, flags, header) = read().ok_or_else(cut)?;
        super::check_supported(reader, flags)?;
        Ok(header)
    }

    /// The checksum of the header, which the segment's first frame names as its predecessor.
    pub(crate) fn crc(&self) -> u32 {
        u32_at(&self.encode(), OFF_CRC).unwrap_or_default()
    }
}

/// The seed of a segment's frame checksums: bytes of another segment, or of another life of this
/// one, do not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seed(u32);

impl Seed {
    pub(crate) fn of(salt: &[u8; 16]) -> Self {
        Self(crc32(salt))
    }

    /// The checksum of a frame head that stands at an offset.
    #[inline]
    pub(crate) fn head_crc(self, offset: u32, head: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.0);
        hasher.update(&offset.to_le_bytes());
        hasher.update(head);
        hasher.finalize()
    }
}

/// The running digest of a segment's frames: FNV-1a over their head checksums, in 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain(pub(crate) u64);

impl Chain {
    /// The digest of no frame.
    pub(crate) const EMPTY: Self = Self(0xcbf2_9ce4_8422_2325);

    /// The digest with one more frame.
    #[must_use]
    pub(crate) fn with(self, head_crc: u32) -> Self {
        let mixed = head_crc.to_le_bytes().iter().fold(self.0, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(mixed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader { store: [1; 16], salt: [2; 16], ordinal: 3, generation: 0, len: 1 << 20 }
    }

    #[test]
    fn headers_come_back() {
        let bytes = header().encode();
        assert_eq!(bytes.len(), HEADER_BYTES as usize);
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_detected() {
        let bytes = header().encode();
        for bit in 0..USED_BYTES * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&damaged).is_err(), "bit {bit}");
        }
        for len in 0..USED_BYTES {
            assert!(SegmentHeader::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn newer_formats_are_unsupported_and_not_corrupt() {
        let mut bytes = header().encode();
        bytes[10] = 2;
        let crc = crc32(&bytes[..OFF_CRC]);
        super::super::codec::patch_u32(&mut bytes, OFF_CRC, crc);
        assert!(SegmentHeader::decode(&bytes).unwrap_err().unsupported);
    }

    #[test]
    fn the_chain_depends_on_order() {
        let (a, b) = (Chain::EMPTY.with(1).with(2), Chain::EMPTY.with(2).with(1));
        assert_ne!(a, b);
    }

    #[test]
    fn required_features_are_unsupported_and_not_corrupt() {
        let mut bytes = header().encode();
        bytes[OFF_FLAGS] = 1;
        let crc = crc32(&bytes[..OFF_CRC]);
        super::super::codec::patch_u32(&mut bytes, OFF_CRC, crc);
        assert!(SegmentHeader::decode(&bytes).unwrap_err().unsupported);
    }

    #[test]
    fn the_checksum_of_a_header_is_the_one_in_it() {
        assert_eq!(header().crc(), crc32(&header().encode()[..60]));
    }

    #[test]
    fn the_chain_is_fnv_1a() {
        assert_eq!(Chain::EMPTY.with(u32::from_le_bytes(*b"foob")), Chain(0xdd12_0e79_0c25_12af));
    }
}
