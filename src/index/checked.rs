//! Derived files on disk: opened without being read, verified block by block as they are used.

use std::borrow::Cow;
use std::ops::Range;
use std::path::PathBuf;

use crate::bytes::Region;
use crate::error::{Error, Result};
use crate::format::blocks::{
    BLOCK_BYTES, FileKind, TRAILER_BYTES, TableBuilder, Trailer, block_crc, table_bytes,
};
use crate::format::codec::crc32;
use crate::options::ReadMode;
use crate::storage::{Dir, NamedFile};
use crate::sync::{Arc, AtomicU64, Ordering};

/// So many blocks are asked of the disk at the first look at one of them: that takes hardly longer
/// than one. The system itself may read a thousand of them, as the machine is set up.
const TOGETHER: usize = 32;

/// An open derived file. The trailer and the table of checksums have been verified.
pub(crate) struct CheckedFile {
    path: PathBuf,
    source: Source,
    body: u64,
    pub(crate) clean: bool,
    footer: Range<u64>,
    table: Vec<u8>,
    /// A bit for each block that was verified through the map.
    verified: Box<[AtomicU64]>,
}

/// Where the bytes come from.
enum Source {
    /// A map outlives its file, which is not kept open.
    Mapped(Arc<dyn Region>),
    File(NamedFile),
}

impl CheckedFile {
    /// Opens a derived file; `None` where it is missing.
    pub(crate) fn open(
        dir: &Dir,
        name: &str,
        kind: FileKind,
        mode: ReadMode,
    ) -> Result<Option<Self>> {
        let Some(file) = dir.open_if_there(name)? else { return Ok(None) };
        let len = file.len()?;
        let trailer_at = len.saturating_sub(TRAILER_BYTES as u64);
        let bytes = file.read_range(trailer_at, TRAILER_BYTES)?.unwrap_or_default();
        let trailer = Trailer::decode(&bytes, kind, len)
            .map_err(|invalid| invalid.at(file.path(), trailer_at))?;
        let table_len = usize::try_from(table_bytes(trailer.body)).unwrap_or(usize::MAX);
        let table = file.read_range(trailer.body, table_len)?.unwrap_or_default();
        let computed = crc32(&table);
        if computed != trailer.table_crc {
            let expected = format!("checksum {:08x}", trailer.table_crc);
            let found = format!("checksum {computed:08x}");
            return Err(Error::corrupt(file.path(), trailer.body, expected, found));
        }
        let region = match mode {
            ReadMode::Mmap if len > 0 => file.map(len)?,
            _ => None,
        };
        let words = (table_len / 4).div_ceil(64);
        Ok(Some(Self {
            path: file.path().to_path_buf(),
            source: region.map_or_else(|| Source::File(file), Source::Mapped),
            body: trailer.body,
            clean: trailer.clean,
            footer: trailer.footer..trailer.body,
            table,
            verified: (0..words).map(|_| AtomicU64::new(0)).collect(),
        }))
    }

    /// A range of the body, verified. Borrowed from the map, or read.
    #[inline]
    pub(crate) fn read(&self, range: Range<u64>) -> Result<Cow<'_, [u8]>> {
        match self.seen(&range) {
            Some(bytes) => Ok(Cow::Borrowed(bytes)),
            None => self.read_verified(range),
        }
    }

    /// A range inside one block that was verified through the map: nearly all look-ups.
    #[inline]
    fn seen(&self, range: &Range<u64>) -> Option<&[u8]> {
        let Source::Mapped(region) = &self.source else { return None };
        let block = range.start / BLOCK_BYTES as u64;
        let last = range.end.checked_sub(1)?;
        let word = self.verified.get(usize::try_from(block / 64).ok()?)?;
        if last / BLOCK_BYTES as u64 != block
            || range.end > self.body
            || word.load(Ordering::Relaxed) & 1 << (block % 64) == 0
        {
            return None;
        }
        region.bytes(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
    }

    /// Any range: of blocks that are not verified yet, of several, or without a map.
    fn read_verified(&self, range: Range<u64>) -> Result<Cow<'_, [u8]>> {
        if range.start > range.end || range.end > self.body {
            return Err(self.corrupt(range.start, "data inside the file", "its end"));
        }
        let block = BLOCK_BYTES as u64;
        let (first, behind) = (range.start / block, range.end.div_ceil(block));
        let narrow = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let file = match &self.source {
            Source::File(file) => file,
            Source::Mapped(region) => {
                let whole = narrow(range.start)..narrow(range.end);
                if whole.len() > TOGETHER * BLOCK_BYTES && !self.is_verified(narrow(first)) {
                    region.will_need(whole);
                }
                for index in first..behind {
                    self.verify_mapped(region.as_ref(), narrow(index))?;
                }
                let bytes = region.bytes(narrow(range.start)..narrow(range.end));
                return bytes
                    .map(Cow::Borrowed)
                    .ok_or_else(|| self.corrupt(range.start, "data inside the map", "its end"));
            }
        };
        let start = first * block;
        let len = narrow((behind * block).min(self.body).saturating_sub(start));
        let cut = || self.corrupt(range.start, "data inside the file", "its end");
        let mut bytes = file.read_range(start, len)?.ok_or_else(cut)?;
        for (index, content) in (narrow(first)..).zip(bytes.chunks(BLOCK_BYTES)) {
            self.verify(index, content)?;
        }
        bytes.truncate(narrow(range.end - start));
        bytes.drain(..narrow(range.start - start));
        Ok(Cow::Owned(bytes))
    }

    /// The footer.
    pub(crate) fn footer(&self) -> Result<Cow<'_, [u8]>> {
        self.read(self.footer.clone())
    }

    /// Everything before the table of checksums.
    pub(crate) fn content(&self) -> Result<Cow<'_, [u8]>> {
        self.read(0..self.body)
    }

    /// Bytes of the whole file.
    pub(crate) fn len(&self) -> u64 {
        self.body + table_bytes(self.body) + TRAILER_BYTES as u64
    }

    /// An error about a place in this file.
    pub(crate) fn corrupt(&self, offset: u64, expected: &str, found: &str) -> Error {
        Error::corrupt(&self.path, offset, expected, found)
    }

    #[inline]
    fn is_verified(&self, index: usize) -> bool {
        let word = self.verified.get(index / 64).map_or(0, |word| word.load(Ordering::Relaxed));
        word & 1 << (index % 64) != 0
    }

    #[inline]
    fn verify_mapped(&self, region: &dyn Region, index: usize) -> Result<()> {
        if self.is_verified(index) { Ok(()) } else { self.verify_first(region, index) }
    }

    /// Verifies a block of the map at the first look at it.
    #[cold]
    fn verify_first(&self, region: &dyn Region, index: usize) -> Result<()> {
        let together = index / TOGETHER * TOGETHER;
        if !(together..together + TOGETHER).any(|index| self.is_verified(index)) {
            region.will_need(together * BLOCK_BYTES..(together + TOGETHER) * BLOCK_BYTES);
        }
        let start = index * BLOCK_BYTES;
        let body = usize::try_from(self.body).unwrap_or(usize::MAX);
        let content = region.bytes(start..(start + BLOCK_BYTES).min(body));
        self.verify(index, content.unwrap_or_default())?;
        if let Some(word) = self.verified.get(index / 64) {
            word.fetch_or(1 << (index % 64), Ordering::Relaxed);
        }
        Ok(())
    }

    fn verify(&self, index: usize, content: &[u8]) -> Result<()> {
        let computed = crc32(content);
        if block_crc(&self.table, index) == Some(computed) {
            return Ok(());
        }
        let found = format!("checksum {computed:08x}");
        Err(self.corrupt((index * BLOCK_BYTES) as u64, "the block's checksum", &found))
    }
}

impl std::fmt::Debug for CheckedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckedFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Puts a derived file in place, atomically and durably.
pub(crate) fn write(
    dir: &Dir,
    folder: &str,
    name: &str,
    kind: FileKind,
    clean: bool,
    mut body: Vec<u8>,
    footer: &[u8],
) -> Result<()> {
    let footer_at = body.len() as u64;
    body.extend_from_slice(footer);
    let mut table = TableBuilder::default();
    table.add(&body);
    body.extend_from_slice(&table.finish(kind, footer_at, clean));
    dir.replace(folder, name, &body)
}

/// Says that a file written as clean is so no more: its trailer is written again, in place, and
/// synced. A crash in between leaves a file that is ignored.
pub(crate) fn mark_dirty(dir: &Dir, name: &str, kind: FileKind) -> Result<()> {
    let file = dir.open(name, crate::storage::Access::ReadWrite)?;
    let len = file.len()?;
    let trailer_at = len.saturating_sub(TRAILER_BYTES as u64);
    let bytes = file.read_range(trailer_at, TRAILER_BYTES)?.unwrap_or_default();
    let trailer = Trailer::decode(&bytes, kind, len)
        .map_err(|invalid| invalid.at(file.path(), trailer_at))?;
    file.write_all_at(&Trailer { clean: false, ..trailer }.encode(), trailer_at)?;
    file.sync()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::MemoryDisk;
    use crate::sync::Mutex;

    /// A file's bytes, and what was asked of them before they were read.
    struct Asked(Vec<u8>, Mutex<Vec<Range<usize>>>);

    impl Region for Asked {
        fn bytes(&self, range: Range<usize>) -> Option<&[u8]> {
            self.0.get(range.start..range.end)
        }

        fn will_need(&self, range: Range<usize>) {
            self.1.lock().push(range);
        }
    }

    #[test]
    fn blocks_are_asked_for_together_at_the_first_look() {
        let dir = Dir::new(Arc::new(MemoryDisk::new()));
        dir.create_dir("").unwrap();
        dir.create_dir("log").unwrap();
        let body = vec![7; 70 * BLOCK_BYTES];
        write(&dir, "log", "log/a", FileKind::SealedIndex, true, body, b"footer").unwrap();
        let mut file =
            CheckedFile::open(&dir, "log/a", FileKind::SealedIndex, ReadMode::Positional)
                .unwrap()
                .unwrap();
        let bytes = file.read(0..file.body).unwrap().into_owned();
        let region = Arc::new(Asked(bytes, Mutex::default()));
        file.source = Source::Mapped(Arc::clone(&region) as _);
        let block = BLOCK_BYTES as u64;
        for at in [33 * block, 40 * block, 0, 31 * block + 9, 69 * block] {
            assert_eq!(*file.read(at..at + 8).unwrap(), [7; 8]);
        }
        let asked = |first: usize, behind: usize| first * BLOCK_BYTES..behind * BLOCK_BYTES;
        let expected = [asked(32, 64), asked(0, 32), asked(64, 96)];
        assert_eq!(*region.1.lock(), expected);
        // What is long is asked for as a whole before its blocks are, and not again.
        file.verified = (0..2).map(|_| AtomicU64::new(0)).collect();
        for _ in 0..2 {
            file.read(block..60 * block).unwrap();
            assert_eq!(region.1.lock()[3..], [asked(1, 60), asked(0, 32), asked(32, 64)]);
        }
    }
}
