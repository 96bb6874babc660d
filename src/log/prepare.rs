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

/// Creates a segment. A file that has its name is replaced; the caller knows that it holds no
/// event.
///
/// A segment gets its name when its length and its header are durable, and keeps it: it is replaced
/// by a rename, and never removed once a frame was in it. So whatever a crash leaves, a name
/// without a whole header, or with a shorter file than the header says, is damage.
///
/// On failure nothing stands in the way of a later attempt.
pub(crate) fn prepare(
    dir: &Dir,
    store: [u8; 16],
    ordinal: u32,
    len: u32,
    preallocate: Preallocate,
) -> Result<Prepared> {
    put_in_place(dir, prepare_beside(dir, store, ordinal, len, preallocate)?)
}

/// Creates a segment under another name than its own, which [`put_in_place`] then gives it: a
/// failure before that leaves what has the name as it was.
pub(crate) fn prepare_beside(
    dir: &Dir,
    store: [u8; 16],
    ordinal: u32,
    len: u32,
    preallocate: Preallocate,
) -> Result<Prepared> {
    let name = format!("{}{TEMPORARY}", LogFile::Segment { ordinal, generation: 0 }.path());
    discard(dir, &name)?;
    let header = SegmentHeader { store, salt: dir.random()?, ordinal, generation: 0, len };
    let file = dir.create(&name)?;
    let write = || {
        file.write_all_at(&header.encode(), 0)?;
        file.preallocate(u64::from(len.max(HEADER_BYTES)), preallocate == Preallocate::Zero)?;
        file.sync()
    };
    if let Err(e) = write() {
        // A full disk must not keep what was half made; the first failure is the one to report.
        let _ = discard(dir, &name);
        return Err(e);
    }
    Ok(Prepared { header, file })
}

/// Gives a prepared segment its name, durably, in the place of what has it.
pub(crate) fn put_in_place(dir: &Dir, prepared: Prepared) -> Result<Prepared> {
    let name = LogFile::Segment { ordinal: prepared.header.ordinal, generation: 0 }.path();
    dir.rename(&format!("{name}{TEMPORARY}"), &name)?;
    dir.sync_dir(LOG)?;
    let file = dir.open(&name, Access::ReadWrite)?;
    Ok(Prepared { file, ..prepared })
}

/// Removes a file, durably, if it is there.
pub(crate) fn discard(dir: &Dir, name: &str) -> Result<()> {
    if dir.open_if_there(name)?.is_some() {
        dir.remove(name)?;
        dir.sync_dir(LOG)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::PAGE_BYTES;
    use crate::storage::memory::{CallKind, Fault, MemoryDisk};
    use crate::sync::Arc;

    const LEN: u32 = 16 << 10;

    fn disk() -> (MemoryDisk, Dir) {
        let disk = MemoryDisk::simulated(1);
        let dir = Dir::new(Arc::new(disk.clone()));
        dir.create_dir("").unwrap();
        dir.create_dir(LOG).unwrap();
        dir.sync_dir("").unwrap();
        (disk, dir)
    }

    fn prepare_first(dir: &Dir) -> Result<Prepared> {
        prepare(dir, [1; 16], 1, LEN, Preallocate::Zero)
    }

    /// The header of the segment that a power cut in the worst case leaves, if there is one.
    fn left(disk: &MemoryDisk) -> Option<SegmentHeader> {
        let files = disk.crash_keeping_nothing().files();
        let bytes = files.get(&LogFile::Segment { ordinal: 1, generation: 0 }.path())?;
        assert_eq!(bytes.len(), LEN as usize, "a name has its full length");
        Some(SegmentHeader::decode(&bytes[..PAGE_BYTES]).expect("a name has its header"))
    }

    #[test]
    fn a_prepared_segment_survives_the_power() {
        let (disk, dir) = disk();
        let prepared = prepare_first(&dir).unwrap();
        assert_eq!(left(&disk), Some(prepared.header));
        let again = prepare_first(&dir).unwrap();
        assert_ne!(again.header, prepared.header);
        assert_eq!(left(&disk), Some(again.header));
    }

    /// A sync that fails leaves a file that no later sync makes durable: it must not be used again,
    /// nor what an earlier process left of one.
    #[test]
    fn a_file_whose_preparation_failed_is_not_used_again() {
        let (disk, dir) = disk();
        disk.start_trace();
        prepare_first(&dir).unwrap();
        let trace = disk.trace();
        for call in 0..trace.len() as u64 {
            for is_killed in [false, true] {
                let (disk, dir) = self::disk();
                let first = disk.calls() + call;
                disk.fail_at(first, Fault::Errno(5));
                if is_killed {
                    // Not even the removal of what was half made is done.
                    disk.crash_at(first + 1);
                }
                let what = &trace[usize::try_from(call).unwrap()];
                assert!(prepare_first(&dir).is_err(), "{what:?}");
                let disk = if is_killed { disk.crash_keeping_everything() } else { disk };
                let prepared = prepare_first(&Dir::new(Arc::new(disk.clone()))).unwrap();
                assert_eq!(left(&disk), Some(prepared.header), "{what:?}, {is_killed}");
            }
        }
    }

    #[test]
    fn zeros_are_synced_as_they_are_written_so_that_a_commit_waits_for_few_of_them() {
        let (disk, dir) = disk();
        disk.start_trace();
        prepare(&dir, [1; 16], 1, (7 << 20) / 2, Preallocate::Zero).unwrap();
        let (mut unsynced, mut most) = (0, 0);
        for call in disk.trace() {
            match call.kind {
                CallKind::Write => unsynced += call.len,
                CallKind::Sync => unsynced = 0,
                _ => {}
            }
            most = most.max(unsynced);
        }
        assert_eq!((most, unsynced), (1 << 20, 0));
    }
}
