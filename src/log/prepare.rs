//! Making segments ready ahead of their use, so that a roll creates nothing.

use crate::error::Result;
use crate::format::files::{LOG, LogFile};
use crate::format::segment::{HEADER_BYTES, SegmentHeader};
use crate::options::Preallocate;
use crate::storage::{Dir, NamedFile};

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
    discard(dir, &name)?;
    let header = SegmentHeader { store, salt: dir.random()?, ordinal, generation: 0, len };
    let file = dir.create(&name)?;
    let write = || {
        file.write_all_at(&header.encode(), 0)?;
        file.preallocate(u64::from(len.max(HEADER_BYTES)), preallocate == Preallocate::Zero)?;
        file.sync()?;
        dir.sync_dir(LOG)
    };
    if let Err(e) = write() {
        // A full disk must not keep what was half made; the first failure is the one to report.
        let _ = discard(dir, &name);
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
