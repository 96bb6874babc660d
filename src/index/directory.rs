//! The stream directory: the newest sealed event of every stream, in one mapped file.

use super::checked::{self, CheckedFile};
use crate::error::Result;
use crate::format::MAX_POSITION;
use crate::format::blocks::FileKind;
use crate::format::codec::Cursor;
use crate::format::directory::{
    DirectoryFooter, PAGE_BYTES, Page, ROW_BYTES, SegmentRow, Slot, page_of, pages_for, put_pages,
};
use crate::format::files;
use crate::options::ReadMode;
use crate::storage::Dir;

/// An open directory file.
#[derive(Debug)]
pub(crate) struct Directory {
    file: CheckedFile,
    footer: DirectoryFooter,
    /// The segments that it covers, oldest first.
    pub(crate) segments: Vec<SegmentRow>,
}

impl Directory {
    /// Opens the directory with a number; `None` where it is missing.
    pub(crate) fn open(
        dir: &Dir,
        number: u32,
        store: [u8; 16],
        mode: ReadMode,
    ) -> Result<Option<Self>> {
        let name = files::directory(number);
        let Some(file) = CheckedFile::open(dir, &name, FileKind::Directory, mode)? else {
            return Ok(None);
        };
        let wrong = || file.corrupt(0, "the footer of a directory of this store", "other bytes");
        let bytes = file.footer()?;
        let mut cursor = Cursor::new(&bytes);
        let footer = DirectoryFooter::decode(&mut cursor).ok_or_else(wrong)?;
        let rows = bytes.len().saturating_sub(cursor.offset()) / ROW_BYTES;
        if footer.store != store || rows != footer.segments as usize {
            return Err(wrong());
        }
        let segments: Option<Vec<_>> = (0..rows).map(|_| SegmentRow::read(&mut cursor)).collect();
        let segments = segments.filter(|rows| are_neighbours(rows)).ok_or_else(wrong)?;
        drop(bytes);
        Ok(Some(Self { file, footer, segments }))
    }

    /// The ordinal of the newest segment that it covers.
    pub(crate) fn covered(&self) -> u32 {
        self.segments.last().map_or(0, |row| row.ordinal)
    }

    /// The streams of a hash.
    pub(crate) fn find(&self, hash: u64) -> Result<Vec<Slot>> {
        let mut page = page_of(hash, self.footer.pages);
        let mut found = Vec::new();
        while page < self.footer.all_pages {
            let spills = self.page(page, |read| {
                found.extend(read.find(hash));
                read.spills
            })?;
            if !spills {
                break;
            }
            page += 1;
        }
        Ok(found)
    }

    /// Every stream, in order of the hash.
    pub(crate) fn all(&self) -> Result<Vec<Slot>> {
        let mut slots = Vec::new();
        for page in 0..self.footer.all_pages {
            self.page(page, |read| slots.extend(read.slots()))?;
        }
        Ok(slots)
    }

    /// Bytes of the whole file.
    pub(crate) fn bytes(&self) -> u64 {
        self.file.len()
    }

    fn page<T>(&self, page: u64, read: impl FnOnce(Page<'_>) -> T) -> Result<T> {
        let at = page * PAGE_BYTES as u64;
        let bytes = self.file.read(at..at + PAGE_BYTES as u64)?;
        let wrong = || self.file.corrupt(at, "a page of slots", "other bytes");
        Page::read(&bytes).map(read).ok_or_else(wrong)
    }
}

/// Whether rows are those of all segments from the first on.
fn are_neighbours(rows: &[SegmentRow]) -> bool {
    let mut base = 1;
    (1..).zip(rows).all(|(ordinal, row)| {
        let follows = row.ordinal == ordinal && row.base == base;
        base = row.base.saturating_add(u64::from(row.events));
        follows
    }) && base <= MAX_POSITION
}

/// Writes the directory with a number.
pub(crate) fn write(
    dir: &Dir,
    number: u32,
    store: [u8; 16],
    slots: &[Slot],
    segments: &[SegmentRow],
) -> Result<()> {
    let streams = slots.len() as u64;
    let pages = pages_for(streams);
    let mut body = Vec::new();
    put_pages(&mut body, slots, pages);
    let all_pages = (body.len() / PAGE_BYTES) as u64;
    let segment_count = u32::try_from(segments.len()).unwrap_or(u32::MAX);
    let footer = DirectoryFooter { store, pages, all_pages, streams, segments: segment_count };
    let mut footer = footer.encode();
    for row in segments {
        row.put(&mut footer);
    }
    checked::write(dir, "", &files::directory(number), FileKind::Directory, false, body, &footer)
}
