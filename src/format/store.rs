//! The STORE file: what is fixed for the store's whole life.

use super::codec::{Cursor, Put, crc32, u32_at};
use super::{FORMAT_VERSION, Invalid};
use crate::position::Timestamp;

const MAGIC: [u8; 8] = *b"ANNALSTO";
const OFF_VERSION: usize = MAGIC.len();
const OFF_CRC: usize = OFF_VERSION + 2 + 2 + 4 + 16 + 16 + 8;
const _: () = assert!(OFF_CRC + 4 == STORE_BYTES);

/// The length of the STORE file.
pub(crate) const STORE_BYTES: usize = 60;

/// The identity of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreHeader {
    pub(crate) id: [u8; 16],
    /// Keys the hashes of stream names, so that nobody can aim at a collision.
    pub(crate) hash_key: [u8; 16],
    pub(crate) created_at: Timestamp,
}

impl StoreHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(STORE_BYTES);
        out.put(&MAGIC);
        out.put_u16(FORMAT_VERSION);
        out.put_u16(FORMAT_VERSION);
        out.put_u32(0);
        out.put(&self.id);
        out.put(&self.hash_key);
        out.put_i64(self.created_at.as_micros());
        out.put_u32(crc32(&out));
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Invalid> {
        let wrong_length =
            || Invalid::new(format!("{STORE_BYTES} bytes"), format!("{} bytes", bytes.len()));
        if bytes.len() != STORE_BYTES {
            return Err(wrong_length());
        }
        let covered = bytes.get(..OFF_CRC).ok_or_else(wrong_length)?;
        let stored = u32_at(bytes, OFF_CRC).ok_or_else(wrong_length)?;
        if !covered.starts_with(&MAGIC) {
            return Err(Invalid::new("the magic of a STORE file", "other bytes"));
        }
        let computed = crc32(covered);
        if stored != computed {
            return Err(Invalid::checksum(stored, computed));
        }
        let mut cursor = Cursor::at(covered, OFF_VERSION);
        let mut read = || {
            let (_version, reader, flags) = (cursor.u16()?, cursor.u16()?, cursor.u32()?);
            let (id, hash_key) = (cursor.array()?, cursor.array()?);
            let created_at = Timestamp::from_micros(cursor.i64()?);
            Some((reader, flags, Self { id, hash_key, created_at }))
        };
        let (reader, flags, header) = read().ok_or_else(wrong_length)?;
        super::check_supported(reader, flags)?;
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_other_length_is_detected() {
        let header = StoreHeader {
            id: [1; 16],
            hash_key: [2; 16],
            created_at: Timestamp::from_micros(1_700_000_000_000_000),
        };
        let bytes = header.encode();
        assert_eq!(StoreHeader::decode(&bytes), Ok(header));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(StoreHeader::decode(&damaged).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(StoreHeader::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(StoreHeader::decode(&longer).is_err());
    }

    #[test]
    fn newer_formats_are_unsupported_and_not_corrupt() {
        let created_at = Timestamp::from_micros(7);
        let header = StoreHeader { id: [1; 16], hash_key: [2; 16], created_at };
        // The reader that it asks for, and the features.
        for at in [OFF_VERSION + 2, OFF_VERSION + 4] {
            let mut bytes = header.encode();
            bytes[at] = 2;
            let crc = crc32(&bytes[..OFF_CRC]);
            super::super::codec::patch_u32(&mut bytes, OFF_CRC, crc);
            assert!(StoreHeader::decode(&bytes).unwrap_err().unsupported, "byte {at}");
        }
    }
}
