//! The frame around every derived file: a body, a checksum for each of its blocks, and a trailer.
//!
//! A reader verifies the trailer and the table when it opens the file, and a block when it first
//! touches it, so that a large file opens without being read.

use super::Invalid;
use super::codec::{Cursor, Put, crc32};
use super::{FORMAT_VERSION, check_supported};

/// The unit that a checksum covers.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// The last bytes of a derived file.
pub(crate) const TRAILER_BYTES: usize = 48;

const MAGIC: [u8; 8] = *b"ANNALIDX";

/// The version of derived files. Those of version 1 know no labels, and those of version 2 no
/// schema versions, so they are not used.
const DERIVED_VERSION: u16 = 3;

/// What a derived file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum FileKind {
    SealedIndex = 1,
    IndexCheckpoint = 2,
    IdRun = 3,
    Directory = 4,
}

/// The trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) kind: FileKind,
    /// The bytes of the body; the table of checksums follows them.
    pub(crate) body: u64,
    /// Where in the body the footer begins, which says what the rest of it is.
    pub(crate) footer: u64,
    pub(crate) table_crc: u32,
    /// The store was closed in good order, and nothing was appended since.
    pub(crate) clean: bool,
}

impl Trailer {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(TRAILER_BYTES);
        out.put(&MAGIC);
        out.put_u16(DERIVED_VERSION);
        out.put_u16(FORMAT_VERSION);
        out.put_u32(0);
        out.put_u32(self.kind as u32);
        out.put_u32(u32::from(self.clean));
        out.put_u64(self.body);
        out.put_u64(self.footer);
        out.put_u32(self.table_crc);
        out.put_u32(crc32(&out));
        out
    }

    pub(crate) fn decode(bytes: &[u8], kind: FileKind, file_len: u64) -> Result<Self, Invalid> {
        let cut = || Invalid::new(format!("a trailer of {TRAILER_BYTES} bytes"), "fewer");
        let covered = bytes.get(..TRAILER_BYTES - 4).ok_or_else(cut)?;
        let stored = Cursor::at(bytes, TRAILER_BYTES - 4).u32().ok_or_else(cut)?;
        if !covered.starts_with(&MAGIC) {
            return Err(Invalid::new("the magic of a derived file", "other bytes"));
        }
        let computed = crc32(covered);
        if stored != computed {
            return Err(Invalid::checksum(stored, computed));
        }
        let mut cursor = Cursor::at(covered, MAGIC.len());
        let mut read = || {
            let (version, reader, flags) = (cursor.u16()?, cursor.u16()?, cursor.u32()?);
            let (found_kind, clean) = (cursor.u32()?, cursor.u32()? != 0);
            let (body, footer) = (cursor.u64()?, cursor.u64()?);
            let trailer = Self { kind, body, footer, table_crc: cursor.u32()?, clean };
            Some((version, reader, flags, found_kind, trailer))
        };
        let (version, reader, flags, found_kind, trailer) = read().ok_or_else(cut)?;
        check_supported(reader, flags)?;
        if version < DERIVED_VERSION {
            let found = format!("one of version {version}");
            return Err(Invalid::new(format!("a file of version {DERIVED_VERSION}"), found));
        }
        if found_kind != kind as u32 {
            return Err(Invalid::new(format!("{kind:?}"), format!("kind {found_kind}")));
        }
        let whole = trailer.body.checked_add(table_bytes(trailer.body) + TRAILER_BYTES as u64);
        if whole != Some(file_len) || trailer.footer > trailer.body {
            return Err(Invalid::new(format!("{whole:?} bytes"), format!("{file_len} bytes")));
        }
        Ok(trailer)
    }
}

/// The bytes of the table of checksums behind a body.
pub(crate) fn table_bytes(body: u64) -> u64 {
    body.div_ceil(BLOCK_BYTES as u64).saturating_mul(4)
}

/// Computes the table of checksums while a body goes by in pieces.
#[derive(Debug, Default)]
pub(crate) struct TableBuilder {
    table: Vec<u8>,
    block: crc32fast::Hasher,
    in_block: usize,
    body: u64,
}

impl TableBuilder {
    pub(crate) fn add(&mut self, mut bytes: &[u8]) {
        self.body += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = (BLOCK_BYTES - self.in_block).min(bytes.len());
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.block.update(now);
            self.in_block += now.len();
            bytes = later;
            if self.in_block == BLOCK_BYTES {
                self.end_block();
            }
        }
    }

    fn end_block(&mut self) {
        let block = std::mem::take(&mut self.block);
        self.table.put_u32(block.finalize());
        self.in_block = 0;
    }

    /// The table and the trailer, to be written behind the body.
    pub(crate) fn finish(mut self, kind: FileKind, footer: u64, clean: bool) -> Vec<u8> {
        if self.in_block > 0 {
            self.end_block();
        }
        let table_crc = crc32(&self.table);
        let trailer = Trailer { kind, body: self.body, footer, table_crc, clean };
        self.table.put(&trailer.encode());
        self.table
    }
}

/// The checksum of a block, from a verified table.
pub(crate) fn block_crc(table: &[u8], block: usize) -> Option<u32> {
    Cursor::at(table, block.checked_mul(4)?).u32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_come_back_and_flips_are_detected() {
        let body = vec![7; 10_000];
        let mut builder = TableBuilder::default();
        builder.add(&body[..5000]);
        builder.add(&body[5000..]);
        let behind = builder.finish(FileKind::SealedIndex, 9000, true);
        let len = (body.len() + behind.len()) as u64;
        let trailer_at = behind.len() - TRAILER_BYTES;
        let bytes = &behind[trailer_at..];
        let trailer = Trailer::decode(bytes, FileKind::SealedIndex, len).unwrap();
        assert_eq!((trailer.body, trailer.footer, trailer.clean), (10_000, 9000, true));
        assert_eq!(trailer.table_crc, crc32(&behind[..trailer_at]));
        assert_eq!(block_crc(&behind, 2), Some(crc32(&body[8192..])));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Trailer::decode(&damaged, FileKind::SealedIndex, len).is_err(), "bit {bit}");
        }
        assert!(Trailer::decode(bytes, FileKind::SealedIndex, len + 1).is_err());
        assert!(Trailer::decode(bytes, FileKind::Directory, len).is_err());
    }

    /// A trailer with a right checksum, and a version of its own.
    fn of_version(trailer: &Trailer, version: u8) -> Vec<u8> {
        let mut bytes = trailer.encode();
        bytes[MAGIC.len()] = version;
        let crc = crc32(&bytes[..TRAILER_BYTES - 4]);
        super::super::codec::patch_u32(&mut bytes, TRAILER_BYTES - 4, crc);
        bytes
    }

    #[test]
    fn older_derived_files_are_refused_and_newer_ones_read() {
        let kind = FileKind::IdRun;
        let trailer = Trailer { kind, body: 4096, footer: 0, table_crc: 7, clean: false };
        let len = 4096 + 4 + 48;
        for version in [1, 2] {
            let found = Trailer::decode(&of_version(&trailer, version), kind, len).unwrap_err();
            assert!(!found.unsupported, "it is built again, and stops nothing");
        }
        for version in [3, 4] {
            assert_eq!(Trailer::decode(&of_version(&trailer, version), kind, len), Ok(trailer));
        }
    }

    #[test]
    fn a_footer_lies_in_the_body() {
        let kind = FileKind::Directory;
        let at = |footer| Trailer { kind, body: 5000, footer, table_crc: 0, clean: false };
        let len = 5000 + 2 * 4 + 48;
        assert!(Trailer::decode(&at(5000).encode(), kind, len).is_ok(), "an empty one");
        assert!(Trailer::decode(&at(5001).encode(), kind, len).is_err());
        assert!(Trailer::decode(&at(0).encode(), kind, len).is_ok());
        let huge = Trailer { body: u64::MAX, ..at(0) };
        assert!(Trailer::decode(&huge.encode(), kind, len).is_err());
    }

    #[test]
    fn a_table_has_a_row_for_each_block_that_was_begun() {
        for (body, rows) in [(0, 0), (1, 1), (4095, 1), (4096, 1), (4097, 2), (8192, 2)] {
            assert_eq!(table_bytes(body as u64), rows * 4, "{body} bytes");
            let mut builder = TableBuilder::default();
            builder.add(&vec![3; body]);
            let behind = builder.finish(FileKind::IdRun, 0, false);
            let len = (body + behind.len()) as u64;
            assert_eq!(behind.len() as u64, rows * 4 + TRAILER_BYTES as u64, "{body} bytes");
            let trailer_at = behind.len() - TRAILER_BYTES;
            let trailer = Trailer::decode(&behind[trailer_at..], FileKind::IdRun, len).unwrap();
            assert_eq!(trailer.body, body as u64);
        }
    }
}
