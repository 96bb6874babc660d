//! Making segments ready ahead of their use, so that a roll creates nothing.

use crate::error::Result;
use crate::format::files::{LOG, LogFile, TEMPORARY};
use crate::format::segment::{HEADER_BYTES, SegmentHeader};
use crate::options::Preallocate;
use crate::storage::{Access, Dir, NamedFile};

/// A segment without a frame: filled, its header written, all of it synced, its name durable.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) header: SegmentHeader,
    pub(crate) file: NamedFile,
}

/// Creates a segment. A file that an interrupted preparation left under the name is replaced; the
/// caller knows that it holds no event.
///
/// On failure nothing stands in the way of a later attempt.
pub(crate) fn prepare(
    dir: &Dir,
    store: [u8; 16],
    ordinal: u32,
    len: u32,
    preallocate: Preallocate,
) -> Result<Prepared> {
    let name = LogFile::Segment { ordinal, generation: 0 }.path();
    prepare_as(dir, &name, store, ordinal, len, preallocate)
}

/// Creates a segment beside the one that has its name, which [`put_in_place`] then replaces: a
/// failure before that leaves the other as it was.
pub(crate) fn prepare_beside(
    dir: &Dir,
    store: [u8; 16],
    ordinal: u32,
    len: u32,
    preallocate: Preallocate,
) -> Result<Prepared> {
    let name = format!("{}{TEMPORARY}", LogFile::Segment { ordinal, generation: 0 }.path());
    prepare_as(dir, &name, store, ordinal, len, preallocate)
}

/// Gives a segment that was prepared beside another the other's name, durably.
pub(crate) fn put_in_place(dir: &Dir, prepared: Prepared) -> Result<Prepared> {
    let name = LogFile::Segment { ordinal: prepared.header.ordinal, generation: 0 }.path();
    dir.rename(&format!("{name}{TEMPORARY}"), &name)?;
    dir.sync_dir(LOG)?;
    let file = dir.open(&name, Access::ReadWrite)?;
    Ok(Prepared { file, ..prepared })
}

fn prepare_as(
    dir: &Dir,
    name: &str,
    store: [u8; 16],
    ordinal: u32,
    len: u32,
    preallocate: Preallocate,
) -> Result<Prepared> {
    discard(dir, name)?;
    let header = SegmentHeader { store, salt: dir.random()?, ordinal, generation: 0, len };
    let file = dir.create(name)?;
    let write = || {
        file.write_all_at(&header.encode(), 0)?;
        file.preallocate(u64::from(len.max(HEADER_BYTES)), preallocate == Preallocate::Zero)?;
        file.sync()?;
        dir.sync_dir(LOG)
    };
    if let Err(e) = write() {
        // A full disk must not keep what was half made; the first failure is the one to report.
        let _ = discard(dir, name);
        return Err(e);
    }
    Ok(Prepared { header, file })
}

/// Removes a file, durably, if it is there.
pub(crate) fn discard(dir: &Dir, name: &str) -> Result<()> {
    if dir.open_if_there(name)?.is_some() {
        dir.remove(name)?;
        dir.sync_dir(LOG)?;
    }
    Ok(())
}
