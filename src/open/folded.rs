//! What upkeep has folded many segments into, as far as it fits the log: the directory, and the
//! runs of ids.

use crate::error::Result;
use crate::format::directory::SegmentRow;
use crate::format::files::{self, LogFile};
use crate::index::{Directory, IdRun};
use crate::log::survey::Listing;
use crate::options::ReadMode;
use crate::storage::Dir;

/// The newest directory that can be opened. It is derived, so a damaged one is passed over.
pub(super) fn newest_directory(
    dir: &Dir,
    store: [u8; 16],
    mode: ReadMode,
) -> Result<Option<Directory>> {
    let names = dir.list("")?;
    let mut numbers: Vec<u32> =
        names.iter().filter_map(|name| files::parse_directory(name)).collect();
    numbers.sort_unstable();
    for number in numbers.into_iter().rev() {
        if let Ok(Some(directory)) = Directory::open(dir, number, store, mode) {
            return Ok(Some(directory));
        }
    }
    Ok(None)
}

/// The runs of ids that fit the segments, large ones first, none overlapping another.
pub(super) fn usable_runs(
    dir: &Dir,
    store: [u8; 16],
    mode: ReadMode,
    listing: &Listing,
    sealed: &[SegmentRow],
) -> Vec<IdRun> {
    let row = |ordinal: u32| sealed.iter().find(|row| row.ordinal == ordinal);
    let mut names: Vec<(u32, u32)> = listing
        .others
        .iter()
        .filter_map(|file| match file {
            LogFile::IdRun { first, last } => Some((*first, *last)),
            _ => None,
        })
        .collect();
    names.sort_unstable_by_key(|(first, last)| (*first, std::cmp::Reverse(*last)));
    let mut runs: Vec<IdRun> = Vec::new();
    for (first, last) in names {
        if runs.last().is_some_and(|run| run.last() >= first) {
            continue;
        }
        // Derived: one that is damaged or of other segments is left out.
        if let (Some(a), Some(b)) = (row(first), row(last))
            && let Ok(Some(run)) = IdRun::open(dir, first, last, store, mode)
            && run.covers(a, b)
        {
            runs.push(run);
        }
    }
    runs
}
