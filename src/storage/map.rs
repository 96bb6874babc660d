//! The memory map of a file, and with it the only `unsafe` of the crate.
#![allow(
    unsafe_code,
    reason = "a map is memory that the compiler knows nothing about; this file states its contract"
)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::slice;

use memmap2::{MmapOptions, MmapRaw};

use crate::bytes::Region;
use crate::sync::Arc;

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
            file.write_all_at(b"late", offset as u64).unwrap();
            assert_eq!(map.bytes(offset..offset + 4).unwrap(), b"late");
        }
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
