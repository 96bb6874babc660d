//! The memory maps of files, and with them the only `unsafe` of the crate.
#![allow(
    unsafe_code,
    reason = "a map is memory that the compiler knows nothing about; this file states its contract"
)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::slice;

use memmap2::{MmapOptions, MmapRaw};

use super::{PAGE_BYTES, PAGE_WORDS, SharedPage};
use crate::bytes::Region;
use crate::sync::{Arc, AtomicU64, Ordering, fence};

/// Whether a map shows what is written to the file later. Windows and OpenBSD do not promise it
/// for writes by other means than a map; on 32 bits a few segments would fill the address space.
const MAPS: bool =
    cfg!(all(unix, target_pointer_width = "64", not(target_os = "openbsd"), not(miri)));

/// Maps the first `len` bytes of a file for reading. `None` where maps do not show later writes.
///
/// # Errors
///
/// `UnexpectedEof` where the file is shorter than `len`: touching a page behind the end of a file
/// kills the process.
pub(super) fn map(file: &File, len: usize) -> io::Result<Option<Arc<dyn Region>>> {
    if !MAPS {
        return Ok(None);
    }
    if file.metadata()?.len() < len as u64 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the file is shorter than what is to be mapped of it",
        ));
    }
    let raw = MmapOptions::new().len(len).map_raw_read_only(file)?;
    Ok(Some(Arc::new(Map { raw })))
}

/// A shared read-only map.
///
/// It stays a raw pointer: no reference ever covers bytes that may still change, only ranges that
/// are asked for.
struct Map {
    raw: MmapRaw,
}

impl Region for Map {
    fn bytes(&self, range: Range<usize>) -> Option<&[u8]> {
        let len = range.end.checked_sub(range.start)?;
        if range.end > self.raw.len() {
            return None;
        }
        // SAFETY: the range was just checked to lie inside the map, so the pointer stays inside
        // the allocation even where `len` is 0.
        let start = unsafe { self.raw.as_ptr().add(range.start) };
        // SAFETY: the memory is readable and initialized: it is mapped for as long as `self`
        // lives, which the result borrows, and `map` saw that the file reaches behind it. It does
        // not change while the result lives, by the contract of `Region` and of the store: only
        // committed ranges are asked for, the store never writes to those again and never
        // shortens a file, and the directory belongs to the store, so nobody else does.
        Some(unsafe { slice::from_raw_parts(start, len) })
    }

    fn will_need(&self, range: Range<usize>) {
        advice::will_need(&self.raw, range);
    }
}

/// What a system is told about a map. It may not listen, and nothing is wrong then: so whatever it
/// answers is no error.
mod advice {
    use super::{MmapRaw, Range};

    #[cfg(unix)]
    pub(super) fn will_need(map: &MmapRaw, range: Range<usize>) {
        let end = range.end.min(map.len());
        if range.start < end {
            let len = end - range.start;
            let _ = map.advise_range(memmap2::Advice::WillNeed, range.start, len);
        }
    }

    #[cfg(not(unix))]
    pub(super) fn will_need(_: &MmapRaw, _: Range<usize>) {}
}

/// Maps the first page of a file, which must be there; for writing its space must be allocated.
/// `None` where maps do not show what others write.
///
/// # Errors
///
/// As [`map`]; and where the file system has no shared maps.
pub(super) fn map_page(file: &File, writable: bool) -> io::Result<Option<Arc<dyn SharedPage>>> {
    if !MAPS {
        return Ok(None);
    }
    if file.metadata()?.len() < PAGE_BYTES as u64 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut options = MmapOptions::new();
    options.len(PAGE_BYTES);
    let raw = if writable { options.map_raw(file)? } else { options.map_raw_read_only(file)? };
    Ok(Some(Arc::new(MappedPage { raw, writable })))
}

/// A shared page in a map: the only map that is ever written to.
#[derive(Debug)]
struct MappedPage {
    raw: MmapRaw,
    writable: bool,
}

impl MappedPage {
    fn word(&self, word: usize) -> Option<&AtomicU64> {
        if word >= PAGE_WORDS || self.raw.len() < PAGE_BYTES {
            return None;
        }
        #[expect(clippy::cast_ptr_alignment, reason = "a map begins at a page")]
        let words = self.raw.as_mut_ptr().cast::<u64>();
        // SAFETY: the word was just checked to lie inside the map.
        let place = unsafe { words.add(word) };
        // SAFETY: the place is inside the map, which lives as long as `self`, and aligned, since a
        // map begins at a page. This process and others touch the page by atomic words alone. On a
        // read-only map nothing is stored, and relaxed loads of 64 bits are allowed.
        Some(unsafe { AtomicU64::from_ptr(place) })
    }
}

impl SharedPage for MappedPage {
    fn load(&self, word: usize) -> u64 {
        let value = self.word(word).map_or(0, |word| word.load(Ordering::Relaxed));
        // Only relaxed loads are allowed on read-only memory, so a fence orders what follows.
        fence(Ordering::Acquire);
        u64::from_le(value)
    }

    fn store(&self, word: usize, value: u64) {
        if self.writable
            && let Some(word) = self.word(word)
        {
            word.store(value.to_le(), Ordering::Release);
        }
    }
}

#[cfg(test)]
#[cfg(all(unix, target_pointer_width = "64", not(target_os = "openbsd"), not(miri)))]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_map_shows_later_writes() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8192).unwrap();
        let map = map(&file, 8192).unwrap().unwrap();
        for offset in [0, 4094, 8188] {
            map.will_need(offset..offset + 4);
            file.write_all_at(b"late", offset as u64).unwrap();
            assert_eq!(map.bytes(offset..offset + 4).unwrap(), b"late");
        }
        // Advice about what is not there is no error.
        map.will_need(9000..9001);
        map.will_need(8190..1 << 40);
        map.will_need(8192..8192);
    }

    #[test]
    fn a_page_is_shared_by_all_that_map_it() {
        let file = tempfile::tempfile().unwrap();
        assert!(map_page(&file, true).is_err(), "there is no page");
        file.set_len(PAGE_BYTES as u64).unwrap();
        let writer = map_page(&file, true).unwrap().unwrap();
        let reader = map_page(&file, false).unwrap().unwrap();
        for word in [0, 1, PAGE_WORDS - 1] {
            writer.store(word, 0x0102_0304_0506_0708);
            assert_eq!(reader.load(word), 0x0102_0304_0506_0708);
        }
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, 8).unwrap();
        assert_eq!(bytes, [8, 7, 6, 5, 4, 3, 2, 1]);
        // Neither outside the page nor through a map for reading.
        writer.store(PAGE_WORDS, 1);
        reader.store(0, 1);
        assert_eq!((reader.load(PAGE_WORDS), reader.load(0)), (0, 0x0102_0304_0506_0708));
    }

    #[test]
    fn a_range_outside_the_map_is_none() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(100).unwrap();
        let map = map(&file, 100).unwrap().unwrap();
        assert_eq!(map.bytes(0..100).unwrap().len(), 100);
        assert_eq!(map.bytes(100..100).unwrap().len(), 0);
        assert!(map.bytes(0..101).is_none());
        assert!(map.bytes(101..101).is_none());
        #[expect(clippy::reversed_empty_ranges, reason = "that is what is to be refused")]
        let reversed = 2..1;
        assert!(map.bytes(reversed).is_none());
    }

    #[test]
    fn only_what_the_file_has_is_mapped() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(100).unwrap();
        assert_eq!(map(&file, 101).err().unwrap().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(map(&file, 0).unwrap().unwrap().bytes(0..0).unwrap().len(), 0);
    }

    #[test]
    fn a_map_outlives_its_file_handle() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"kept", 0).unwrap();
        let map = map(&file, 4).unwrap().unwrap();
        drop(file);
        assert_eq!(map.bytes(0..4).unwrap(), b"kept");
    }
}
