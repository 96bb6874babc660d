//! Reading a segment whose header or first frame is damaged. Its frames verify with its salt, which
//! stands in the header, and in the directory and the index files too.

use crate::error::Result;
use crate::format::control::Begin;
use crate::format::frame::{BEGIN_BYTES, Frame};
use crate::format::segment::{HEADER_BYTES, Seed, SegmentHeader};
use crate::log::scan::Scanner;
use crate::storage::NamedFile;

/// Where the salt stands in a header.
const SALT_AT: u64 = 32;

/// What a derived file that verifies says of the segment with a salt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hint {
    pub(super) salt: [u8; 16],
    pub(super) base: u64,
    /// At least so many events.
    pub(super) events: Option<u32>,
    /// Frames went at least up to here, durably.
    pub(super) end: u32,
    /// That is all of the segment.
    pub(super) is_whole: bool,
    /// It is the directory that says so.
    pub(super) is_row: bool,
}

impl Hint {
    /// The position behind the last event that it knows of.
    pub(super) fn behind(&self) -> Option<u64> {
        self.base.checked_add(u64::from(self.events?))
    }

    pub(super) fn has_events(&self) -> bool {
        self.events.is_some_and(|events| events > 0)
    }
}

/// Finds a header for a segment that has none, or whose first frame is gone: the salt with which a
/// frame in it verifies. `None` where nothing verifies, and where it is another's file.
pub(super) fn salvage(
    file: &NamedFile,
    store: [u8; 16],
    (ordinal, generation): (u32, u32),
    header: Option<SegmentHeader>,
    known: &[Hint],
) -> Result<Option<(SegmentHeader, Option<Begin>)>> {
    let Ok(len) = u32::try_from(file.len()?) else { return Ok(None) };
    if len <= HEADER_BYTES {
        return Ok(None);
    }
    let page = file.read_range(0, HEADER_BYTES as usize)?.unwrap_or_default();
    let header = header.or_else(|| SegmentHeader::decode(&page).ok());
    let mut salts = Vec::new();
    if let Some(header) = header {
        if (header.store, header.ordinal, header.generation) != (store, ordinal, generation) {
            return Ok(None);
        }
        salts.push(header.salt);
    }
    salts.extend(known.iter().map(|hint| hint.salt));
    salts.extend(file.read_range(SALT_AT, 16)?.and_then(|salt| <[u8; 16]>::try_from(salt).ok()));
    salts.dedup();
    for salt in salts {
        let mut scanner = Scanner::new(file, Seed::of(&salt), len);
        if scanner.search(HEADER_BYTES)?.is_some() {
            let header = header.unwrap_or(SegmentHeader { store, salt, ordinal, generation, len });
            // A file that was cut is walked as far as it goes.
            let header = SegmentHeader { len: header.len.min(len), ..header };
            return Ok(Some((header, begin(file, &header)?)));
        }
    }
    Ok(None)
}

fn begin(file: &NamedFile, header: &SegmentHeader) -> Result<Option<Begin>> {
    let bytes = file.read_range(u64::from(HEADER_BYTES), BEGIN_BYTES as usize)?;
    let bytes = bytes.unwrap_or_default();
    let frame = Frame::parse(&bytes, Seed::of(&header.salt), HEADER_BYTES, header.len);
    Ok(frame.ok().and_then(|frame| frame.begin(&bytes)))
}
