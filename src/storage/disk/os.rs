//! What the real disk needs of the operating system beyond what all of them share.

pub(super) use linux::{drop_cache, open_direct, read_direct, release};
pub(super) use system::{dir_builder, is_at, options, read_at, sync_dir, write_at};

#[cfg(unix)]
mod system {
    use std::fs::{self, DirBuilder, OpenOptions};
    use std::io;
    use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
    use std::path::Path;

    use rustix::fs::OFlags;

    pub(in super::super) fn options() -> OpenOptions {
        // Opening a FIFO would wait for its other end without `NONBLOCK`, which means nothing to
        // a regular file. std adds `CLOEXEC`.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut options = OpenOptions::new();
        options.mode(0o600).custom_flags(flags.bits().cast_signed());
        options
    }

    pub(in super::super) fn dir_builder() -> DirBuilder {
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        builder
    }

    pub(in super::super) fn sync_dir(path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    /// Whether a path leads to this open file.
    pub(in super::super) fn is_at(file: &fs::File, path: &Path) -> io::Result<bool> {
        let open = file.metadata()?;
        match path.symlink_metadata() {
            Ok(found) => Ok((open.dev(), open.ino()) == (found.dev(), found.ino())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    pub(in super::super) fn read_at(
        file: &fs::File,
        buffer: &mut [u8],
        offset: u64,
    ) -> io::Result<usize> {
        file.read_at(buffer, offset)
    }

    pub(in super::super) fn write_at(
        file: &fs::File,
        bytes: &[u8],
        offset: u64,
    ) -> io::Result<usize> {
        file.write_at(bytes, offset)
    }
}

#[cfg(not(unix))]
mod system {
    use std::fs::{self, DirBuilder, OpenOptions};
    use std::io;
    use std::os::windows::fs::{FileExt, OpenOptionsExt};
    use std::path::Path;

    /// Opens a symlink itself instead of what it leads to.
    const OPEN_REPARSE_POINT: u32 = 0x0020_0000;

    pub(in super::super) fn options() -> OpenOptions {
        let mut options = OpenOptions::new();
        options.custom_flags(OPEN_REPARSE_POINT);
        options
    }

    pub(in super::super) fn dir_builder() -> DirBuilder {
        DirBuilder::new()
    }

    /// Directories cannot be synced here; the file system journals their entries.
    #[expect(clippy::unnecessary_wraps, reason = "the signature of the systems that can")]
    pub(in super::super) fn sync_dir(_: &Path) -> io::Result<()> {
        Ok(())
    }

    /// The identity of a file is not to be had; a file that is open keeps its name.
    #[expect(clippy::unnecessary_wraps, reason = "the signature of the systems that can tell")]
    pub(in super::super) fn is_at(_: &fs::File, _: &Path) -> io::Result<bool> {
        Ok(true)
    }

    pub(in super::super) fn read_at(
        file: &fs::File,
        buffer: &mut [u8],
        offset: u64,
    ) -> io::Result<usize> {
        file.seek_read(buffer, offset)
    }

    pub(in super::super) fn write_at(
        file: &fs::File,
        bytes: &[u8],
        offset: u64,
    ) -> io::Result<usize> {
        file.seek_write(bytes, offset)
    }
}

/// What only Linux has.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::fs::{self, OpenOptions};
    use std::io;
    use std::num::NonZeroU64;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::{Advice, FallocateFlags, OFlags, fadvise, fallocate};
    use rustix::io::Errno;

    /// The cache keeps neighbouring pages together, mostly in pieces of up to so much, and drops
    /// only pieces that are asked for whole.
    const PIECE: u64 = 2 << 20;

    pub(in super::super) fn drop_cache(file: &fs::File, len: u64) -> io::Result<()> {
        let Some(len) = NonZeroU64::new(len.next_multiple_of(PIECE)) else { return Ok(()) };
        where_supported(fadvise(file, 0, Some(len), Advice::DontNeed).map_err(Into::into)).map(drop)
    }

    pub(in super::super) fn release(file: &fs::File, offset: u64, len: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        where_supported(fallocate(file, flags, offset, len).map_err(Into::into)).map(drop)
    }

    /// Opens a file once more for direct reads; `None` where that is not possible.
    pub(in super::super) fn open_direct(file: &fs::File) -> io::Result<Option<fs::File>> {
        // By its path, another file might be there by now; and setting the flag on the open file
        // would change how everyone else reads it.
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::DIRECT.bits().cast_signed())
            .open(format!("/proc/self/fd/{}", file.as_raw_fd()));
        match opened {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            other => where_supported(other),
        }
    }

    /// Reads on a file opened for direct reads; `None` where the file system takes the flag only
    /// at open.
    pub(in super::super) fn read_direct(
        direct: &fs::File,
        aligned: &mut [u8],
        offset: u64,
    ) -> io::Result<Option<usize>> {
        where_supported(super::read_at(direct, aligned, offset))
    }

    /// `None` where the kernel or the file system says that it does not have the call.
    fn where_supported<T>(result: io::Result<T>) -> io::Result<Option<T>> {
        const ABSENT: [Errno; 3] = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP];
        match result {
            Err(e) if Errno::from_io_error(&e).is_some_and(|errno| ABSENT.contains(&errno)) => {
                Ok(None)
            }
            other => other.map(Some),
        }
    }
}

/// Its absence.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[expect(clippy::unnecessary_wraps, reason = "the signatures of Linux")]
mod linux {
    use std::fs;
    use std::io;

    pub(in super::super) fn drop_cache(_: &fs::File, _: u64) -> io::Result<()> {
        Ok(())
    }

    pub(in super::super) fn release(_: &fs::File, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    pub(in super::super) fn open_direct(_: &fs::File) -> io::Result<Option<fs::File>> {
        Ok(None)
    }

    pub(in super::super) fn read_direct(
        _: &fs::File,
        _: &mut [u8],
        _: u64,
    ) -> io::Result<Option<usize>> {
        Ok(None)
    }
}
