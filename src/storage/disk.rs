//! The real disk: a directory of the operating system.

mod os;

use std::fmt;
use std::fs::{self, FileType, OpenOptions, TryLockError};
use std::io;
use std::path::{self, Path, PathBuf};
use std::time::SystemTime;

use super::{Access, File, Lock, PAGE_BYTES, PAGE_WORDS, SharedPage, Storage, map};
use crate::bytes::Region;
use crate::format::codec::{Put, u64_at};
use crate::position::Timestamp;
use crate::sync::Arc;

/// What `O_DIRECT` wants of offsets, lengths and memory: the largest block size in common use.
const ALIGNMENT: usize = 4096;

/// A direct read moves at most this much at once, which bounds the copy it needs.
const DIRECT_MAX: usize = 1 << 20;

/// How often a lock file may vanish under the hand that locks it before that is an error.
const LOCK_TRIES: usize = 16;

/// A directory of the operating system.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
}

impl Disk {
    pub(crate) fn new(root: PathBuf) -> Self {
        // The process may change its working directory while the store is open.
        Self { root: path::absolute(&root).unwrap_or(root) }
    }

    /// The path of a directory of the store. No symlink may stand in for it: what it leads to is
    /// not the store's.
    fn dir(&self, name: &str) -> io::Result<PathBuf> {
        let mut path = self.root.clone();
        for part in name.split('/').filter(|part| !part.is_empty()) {
            path.push(part);
            let kind = path.symlink_metadata()?.file_type();
            if !kind.is_dir() {
                return Err(refused("a directory", kind));
            }
        }
        Ok(path)
    }

    /// The path of a file in a directory of the store.
    fn file(&self, name: &str) -> io::Result<PathBuf> {
        let (dir, file) = name.rsplit_once('/').unwrap_or(("", name));
        Ok(self.dir(dir)?.join(file))
    }

    fn create_root(&self) -> io::Result<()> {
        let mut there = self.root.as_path();
        let mut missing = Vec::new();
        while !there.try_exists()? {
            missing.push(there);
            let Some(parent) = there.parent() else { break };
            there = parent;
        }
        if !there.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        // A process that was killed between creating a directory and syncing its entry left one
        // that is there and yet not durable, so what is there is synced too. Where that is not
        // allowed, it was not this user who created it.
        match sync_parent(there) {
            Err(e) if !is_beyond_us(&e) => return Err(e),
            _ => {}
        }
        for dir in missing.into_iter().rev() {
            create_dir(dir)?;
            sync_parent(dir)?;
        }
        Ok(())
    }
}

impl Storage for Disk {
    fn root(&self) -> &Path {
        &self.root
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        if dir.is_empty() {
            return self.create_root();
        }
        create_dir(&self.file(dir)?)?;
        self.dir(dir).map(drop)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.dir(dir)?)? {
            // The store gives no name that is not UTF-8, so such a file is not one of its own.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        os::sync_dir(&self.dir(dir)?)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = os::options().read(true).write(true).create_new(true).open(self.file(name)?)?;
        Ok(Arc::new(DiskFile { file }))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let writes = access == Access::ReadWrite;
        let file = open_regular(os::options().read(true).write(writes), &self.file(name)?)?;
        Ok(Arc::new(DiskFile { file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.file(from)?, self.file(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.file(name)?)
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        let path = self.file(name)?;
        let mut options = os::options();
        options.read(true).write(true).create(true);
        let lock = lock_at(&path, || open_regular(&options, &path))?;
        Ok(lock.map(|lock| Box::new(lock) as Box<dyn Lock>))
    }

    fn is_locked(&self, name: &str) -> io::Result<bool> {
        let mut options = os::options();
        options.read(true);
        let file = open_regular(&options, &self.file(name)?)?;
        match file.try_lock_shared() {
            Ok(()) => file.unlock().map(|()| false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }

    fn shared_page(&self, name: &str, access: Access) -> io::Result<Arc<dyn SharedPage>> {
        let writable = access == Access::ReadWrite;
        let mut options = os::options();
        options.read(true).write(writable).create(writable);
        let file = open_regular(&options, &self.file(name)?)?;
        if writable {
            allocate_page(&file)?;
        }
        match map::map_page(&file, writable) {
            Ok(Some(page)) => Ok(page),
            // The file is too short, which for reading alone is possible here.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(e),
            // No shared maps here: slower, and the same to whoever looks.
            _ => Ok(Arc::new(PositionalPage { file })),
        }
    }

    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    fn fill_random(&self, buffer: &mut [u8]) -> io::Result<()> {
        fill_random(buffer)
    }
}

/// Fills a buffer from the operating system's source of randomness.
pub(super) fn fill_random(buffer: &mut [u8]) -> io::Result<()> {
    getrandom::fill(buffer).map_err(|e| {
        e.raw_os_error()
            .map_or_else(|| io::Error::other(e.to_string()), io::Error::from_raw_os_error)
    })
}

fn create_dir(path: &Path) -> io::Result<()> {
    match os::dir_builder().create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), os::sync_dir)
}

/// Whether an error only says that this process cannot sync what is not its own.
fn is_beyond_us(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::Unsupported
    )
}

/// Opens a file that is a regular one, and says what it is where it is not.
fn open_regular(options: &OpenOptions, path: &Path) -> io::Result<fs::File> {
    match options.open(path) {
        Ok(file) => match file.metadata()?.file_type() {
            kind if kind.is_file() => Ok(file),
            kind => Err(refused("a regular file", kind)),
        },
        // The error numbers for a symlink, a directory or a FIFO differ between systems.
        Err(e) => match path.symlink_metadata() {
            Ok(found) if !found.is_file() => Err(refused("a regular file", found.file_type())),
            _ => Err(e),
        },
    }
}

fn refused(expected: &str, found: FileType) -> io::Error {
    let found = match found {
        kind if kind.is_symlink() => "a symlink",
        kind if kind.is_dir() => "a directory",
        kind if kind.is_file() => "a regular file",
        _ => "a special file",
    };
    io::Error::new(io::ErrorKind::InvalidInput, format!("expected {expected}, found {found}"))
}

/// Locks the file that `open` opens at a path. `None` where it is locked already.
fn lock_at(
    path: &Path,
    mut open: impl FnMut() -> io::Result<fs::File>,
) -> io::Result<Option<DiskLock>> {
    for _ in 0..LOCK_TRIES {
        let file = open()?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(e),
        }
        // A lock on a file that was removed in between keeps nobody out: the next one creates and
        // locks another file.
        if os::is_at(&file, path)? {
            return Ok(Some(DiskLock { file }));
        }
    }
    Err(io::Error::other("the lock file is being replaced again and again"))
}

#[derive(Debug)]
struct DiskLock {
    file: fs::File,
}

impl Lock for DiskLock {}

impl Drop for DiskLock {
    fn drop(&mut self) {
        // Closing alone would leave the lock with a child process that is just being started.
        // Where unlocking fails, closing is what is left.
        let _ = self.file.unlock();
    }
}

/// Writes a page as it is, so that it has its space on the disk.
fn allocate_page(file: &fs::File) -> io::Result<()> {
    let mut page = [0; PAGE_BYTES];
    let mut read = 0;
    while let Some(rest) = page.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match os::read_at(file, rest, read as u64)? {
            0 => break,
            n => read += n,
        }
    }
    let mut written = 0;
    while let Some(rest) = page.get(written..).filter(|rest| !rest.is_empty()) {
        match os::write_at(file, rest, written as u64)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            n => written += n,
        }
    }
    Ok(())
}

/// A shared page where there are no shared maps.
#[derive(Debug)]
struct PositionalPage {
    file: fs::File,
}

impl SharedPage for PositionalPage {
    fn load(&self, word: usize) -> u64 {
        let mut bytes = [0; 8];
        let read = os::read_at(&self.file, &mut bytes, word as u64 * 8);
        let is_there = word < PAGE_WORDS && matches!(read, Ok(8));
        u64_at(&bytes, 0).filter(|_| is_there).unwrap_or_default()
    }

    fn store(&self, word: usize, value: u64) {
        if word < PAGE_WORDS {
            // A hint: whoever reads sees the old word where this fails.
            let mut bytes = Vec::with_capacity(8);
            bytes.put_u64(value);
            let _ = os::write_at(&self.file, &bytes, word as u64 * 8);
        }
    }
}

struct DiskFile {
    file: fs::File,
}

impl fmt::Debug for DiskFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

impl File for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        os::read_at(&self.file, buffer, offset)
    }

    fn read_direct(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        let Some(direct) = os::open_direct(&self.file)? else { return Ok(None) };
        let (start, skip) = aligned_down(offset);
        let span = (skip + buffer.len().min(DIRECT_MAX)).next_multiple_of(ALIGNMENT);
        let mut memory = vec![0; span + ALIGNMENT];
        let padding = memory.as_ptr().align_offset(ALIGNMENT);
        let aligned = memory.get_mut(padding..).and_then(|memory| memory.get_mut(..span));
        let Some(aligned) = aligned else { return Ok(None) };
        let Some(read) = os::read_direct(&direct, aligned, start)? else { return Ok(None) };
        let found = aligned.get(skip..read).unwrap_or_default();
        if found.is_empty() && !buffer.is_empty() && offset < self.len()? {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a direct read ended before the file does",
            ));
        }
        let len = found.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..len), found.get(..len)) {
            to.copy_from_slice(from);
        }
        Ok(Some(len))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        os::write_at(&self.file, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn grow(&self, len: u64) -> io::Result<()> {
        if self.len()? < len { self.file.set_len(len) } else { Ok(()) }
    }

    fn drop_cache(&self, len: u64) -> io::Result<()> {
        os::drop_cache(&self.file, len)
    }

    fn release(&self, offset: u64, len: u64) -> io::Result<()> {
        os::release(&self.file, offset, len)
    }

    fn map(&self, len: u64) -> io::Result<Option<Arc<dyn Region>>> {
        // More than the address space holds cannot be mapped.
        usize::try_from(len).map_or(Ok(None), |len| map::map(&self.file, len))
    }
}

/// The aligned offset at or before this one, and how far before.
fn aligned_down(offset: u64) -> (u64, usize) {
    let start = offset - offset % ALIGNMENT as u64;
    (start, usize::try_from(offset - start).unwrap_or(ALIGNMENT))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::time::Duration;

    use rustix::fs::{CWD, FileType as NodeType, Mode, mknodat};

    use super::*;

    fn disk() -> (tempfile::TempDir, Disk) {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path().join("store"));
        disk.create_dir("").unwrap();
        (dir, disk)
    }

    fn mode(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().permissions().mode() & 0o777
    }

    fn read(file: &dyn File, offset: u64, len: usize) -> Vec<u8> {
        let mut buffer = vec![0xEE; len];
        let read = file.read_at(&mut buffer, offset).unwrap();
        buffer.truncate(read);
        buffer
    }

    #[test]
    fn what_is_created_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path().join("a/b/store"));
        disk.create_dir("").unwrap();
        disk.create_dir("log").unwrap();
        disk.create("log/1").unwrap();
        disk.lock("LOCK").unwrap().unwrap();
        for (name, expected) in
            [("a", 0o700), ("a/b", 0o700), ("a/b/store", 0o700), ("a/b/store/log", 0o700)]
        {
            assert_eq!(mode(&dir.path().join(name)), expected, "{name}");
        }
        assert_eq!(mode(&disk.root().join("log/1")), 0o600);
        assert_eq!(mode(&disk.root().join("LOCK")), 0o600);
    }

    #[test]
    fn a_page_is_shared_with_and_without_maps() {
        let (_dir, disk) = disk();
        let missing = disk.shared_page("page", Access::Read).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        fs::write(disk.root().join("page"), "short").unwrap();
        let short = disk.shared_page("page", Access::Read).unwrap_err();
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
        let writer = disk.shared_page("page", Access::ReadWrite).unwrap();
        let reader = disk.shared_page("page", Access::Read).unwrap();
        let open = || OpenOptions::new().read(true).write(true).open(disk.root().join("page"));
        let positional = PositionalPage { file: open().unwrap() };
        assert_eq!(mode(&disk.root().join("page")), 0o644, "what is there stays as it is");
        let pages: [&dyn SharedPage; 3] = [&*writer, &*reader, &positional];
        for (word, value) in [(0, u64::MAX), (9, 5), (PAGE_WORDS - 1, 1 << 40)] {
            writer.store(word, value);
            assert_eq!(pages.map(|page| page.load(word)), [value; 3]);
            positional.store(word, value - 1);
            assert_eq!(pages.map(|page| page.load(word)), [value - 1; 3]);
        }
        positional.store(PAGE_WORDS, 1);
        assert_eq!(pages.map(|page| page.load(PAGE_WORDS)), [0; 3]);
        let file = disk.root().join("page");
        assert_eq!(file.metadata().unwrap().len(), PAGE_BYTES as u64);
        // Whoever takes it over finds what is there.
        drop(writer);
        assert_eq!(disk.shared_page("page", Access::ReadWrite).unwrap().load(9), 4);
        fs::remove_file(&file).unwrap();
        disk.shared_page("page", Access::ReadWrite).unwrap();
        assert_eq!((mode(&file), fs::read(&file).unwrap()), (0o600, vec![0; PAGE_BYTES]));
    }

    #[test]
    fn directories_may_be_there_and_files_in_their_place_may_not() {
        let (_dir, disk) = disk();
        disk.create_dir("").unwrap();
        disk.create_dir("log").unwrap();
        disk.create_dir("log").unwrap();
        disk.create("file").unwrap();
        assert!(disk.create_dir("file").is_err());
        assert!(Disk::new(disk.root().join("file")).create_dir("").is_err());
        assert!(Disk::new(disk.root().join("file/deeper")).create_dir("").is_err());
        assert_eq!(disk.sync_dir("absent").unwrap_err().kind(), io::ErrorKind::NotFound);
        disk.sync_dir("").unwrap();
        disk.sync_dir("log").unwrap();
    }

    #[test]
    fn a_list_has_the_names_that_are_text() {
        let (_dir, disk) = disk();
        disk.create_dir("log").unwrap();
        disk.create("log/1").unwrap();
        disk.create("log/2").unwrap();
        fs::write(disk.root().join("log").join(OsStr::from_bytes(b"\xFF")), "").unwrap();
        let mut names = disk.list("log").unwrap();
        names.sort();
        assert_eq!(names, ["1", "2"]);
        assert_eq!(disk.list("").unwrap(), ["log"]);
        assert_eq!(disk.list("absent").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn files_are_created_once_renamed_and_removed() {
        let (_dir, disk) = disk();
        disk.create("a").unwrap().write_at(b"new", 0).unwrap();
        assert_eq!(disk.create("a").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        disk.create("b").unwrap();
        disk.rename("a", "b").unwrap();
        assert_eq!(read(&*disk.open("b", Access::Read).unwrap(), 0, 9), b"new");
        disk.remove("b").unwrap();
        assert_eq!(disk.open("b", Access::Read).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(disk.remove("b").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn only_regular_files_are_opened() {
        let (dir, disk) = disk();
        fs::write(dir.path().join("target"), "of others").unwrap();
        symlink(dir.path().join("target"), disk.root().join("link")).unwrap();
        symlink(dir.path().join("nowhere"), disk.root().join("dangling")).unwrap();
        disk.create_dir("directory").unwrap();
        let fifo = disk.root().join("fifo");
        mknodat(CWD, &fifo, NodeType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for (name, what) in [
            ("link", "symlink"),
            ("dangling", "symlink"),
            ("directory", "directory"),
            ("fifo", "special file"),
        ] {
            for access in [Access::Read, Access::ReadWrite] {
                let refused = disk.open(name, access).unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{name}");
                assert!(refused.to_string().contains(what), "{refused}");
            }
            assert_eq!(disk.lock(name).unwrap_err().kind(), io::ErrorKind::InvalidInput);
            assert_eq!(disk.create(name).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        }
        assert!(!dir.path().join("nowhere").exists());
    }

    #[test]
    fn no_symlink_stands_in_for_a_directory() {
        let (dir, disk) = disk();
        fs::create_dir(dir.path().join("elsewhere")).unwrap();
        fs::write(dir.path().join("elsewhere/1"), "of others").unwrap();
        symlink(dir.path().join("elsewhere"), disk.root().join("log")).unwrap();
        let refused = io::ErrorKind::InvalidInput;
        assert_eq!(disk.open("log/1", Access::Read).unwrap_err().kind(), refused);
        assert_eq!(disk.create("log/2").unwrap_err().kind(), refused);
        assert_eq!(disk.remove("log/1").unwrap_err().kind(), refused);
        assert_eq!(disk.rename("log/1", "log/2").unwrap_err().kind(), refused);
        assert_eq!(disk.list("log").unwrap_err().kind(), refused);
        assert_eq!(disk.sync_dir("log").unwrap_err().kind(), refused);
        assert_eq!(disk.create_dir("log").unwrap_err().kind(), refused);
        assert!(dir.path().join("elsewhere/1").exists());
    }

    #[test]
    fn a_file_opened_for_reading_takes_no_writes() {
        let (_dir, disk) = disk();
        disk.create("a").unwrap();
        assert!(disk.open("a", Access::Read).unwrap().write_at(b"x", 0).is_err());
        disk.open("a", Access::ReadWrite).unwrap().write_at(b"x", 0).unwrap();
    }

    #[test]
    fn growing_never_shortens() {
        let (_dir, disk) = disk();
        let file = disk.create("a").unwrap();
        file.write_at(b"data", 0).unwrap();
        file.grow(10).unwrap();
        assert_eq!(read(&*file, 0, 99), b"data\0\0\0\0\0\0");
        file.grow(2).unwrap();
        assert_eq!(file.len().unwrap(), 10);
        file.sync().unwrap();
    }

    #[test]
    fn releasing_leaves_zeros_and_the_length() {
        let (_dir, disk) = disk();
        let file = disk.create("a").unwrap();
        file.write_at(&[7; 4 * ALIGNMENT], 0).unwrap();
        file.sync().unwrap();
        let blocks = || disk.root().join("a").metadata().unwrap().blocks();
        let before = blocks();
        file.release(ALIGNMENT as u64, 4 * ALIGNMENT as u64).unwrap();
        file.release(0, 0).unwrap();
        assert_eq!(file.len().unwrap(), 4 * ALIGNMENT as u64);
        assert_eq!(read(&*file, 0, ALIGNMENT), [7; ALIGNMENT]);
        if cfg!(target_os = "linux") {
            assert!(blocks() < before);
            assert_eq!(read(&*file, ALIGNMENT as u64, 9 * ALIGNMENT), [0; 3 * ALIGNMENT]);
        }
    }

    #[test]
    fn a_direct_read_has_any_place_and_length() {
        let (_dir, disk) = disk();
        let file = disk.create("a").unwrap();
        let content: Vec<u8> = (0..=250).cycle().take(3 * ALIGNMENT + 100).collect();
        file.write_at(&content, 0).unwrap();
        file.sync().unwrap();
        let file = disk.open("a", Access::Read).unwrap();
        for offset in [0, 1, 511, ALIGNMENT - 1, ALIGNMENT, 3 * ALIGNMENT + 99, content.len()] {
            for len in [0, 1, 512, ALIGNMENT, 2 * ALIGNMENT + 1, 5 * ALIGNMENT] {
                let mut buffer = vec![0xEE; len];
                let Some(read) = file.read_direct(&mut buffer, offset as u64).unwrap() else {
                    return;
                };
                let expected = &content[offset..content.len().min(offset + len)];
                assert_eq!(&buffer[..read], expected, "{len} bytes at {offset}");
            }
        }
        assert_eq!(file.read_direct(&mut [0; 8], 1 << 40).unwrap(), Some(0));
    }

    #[test]
    fn a_long_direct_read_is_cut_into_pieces() {
        let (_dir, disk) = disk();
        let file = disk.create("a").unwrap();
        file.write_at(&vec![7; 2 * DIRECT_MAX], 0).unwrap();
        file.sync().unwrap();
        let mut buffer = vec![0; 2 * DIRECT_MAX];
        let read = file.read_direct(&mut buffer, 1).unwrap();
        assert!(read.is_none_or(|read| (DIRECT_MAX..DIRECT_MAX + ALIGNMENT).contains(&read)));
        assert!(buffer.iter().take(read.unwrap_or(0)).all(|byte| *byte == 7));
    }

    #[test]
    fn dropping_the_cache_loses_nothing() {
        let (_dir, disk) = disk();
        let file = disk.create("a").unwrap();
        file.write_at(b"kept", 0).unwrap();
        file.sync().unwrap();
        file.drop_cache(2 * ALIGNMENT as u64).unwrap();
        assert_eq!(read(&*file, 0, 4), b"kept");
    }

    #[cfg(all(target_pointer_width = "64", not(target_os = "openbsd"), not(miri)))]
    #[test]
    fn a_map_shows_later_writes() {
        let (_dir, disk) = disk();
        let file = disk.create("a").unwrap();
        file.grow(8192).unwrap();
        let map = disk.open("a", Access::Read).unwrap().map(8192).unwrap().unwrap();
        file.write_at(b"late", 5000).unwrap();
        assert_eq!(map.bytes(5000..5004).unwrap(), b"late");
        assert!(map.bytes(8000..8193).is_none());
        assert!(file.map(8193).is_err());
    }

    #[test]
    fn a_lock_keeps_others_out_until_it_is_dropped() {
        let (_dir, disk) = disk();
        let same_place = Disk::new(disk.root().into());
        let lock = disk.lock("LOCK").unwrap().unwrap();
        assert!(disk.lock("LOCK").unwrap().is_none());
        assert!(same_place.lock("LOCK").unwrap().is_none());
        drop(lock);
        assert!(same_place.lock("LOCK").unwrap().is_some());
    }

    #[test]
    fn a_lock_can_be_seen_from_outside() {
        let (_dir, disk) = disk();
        let lock = disk.lock("LOCK").unwrap().unwrap();
        assert!(disk.is_locked("LOCK").unwrap());
        drop(lock);
        assert!(!disk.is_locked("LOCK").unwrap());
        assert!(disk.is_locked("none").is_err());
    }

    #[test]
    fn a_lock_is_released_though_a_child_process_still_has_the_file() {
        let (_dir, disk) = disk();
        let path = disk.root().join("LOCK");
        let mut inherited = None;
        let lock = lock_at(&path, || {
            let file = fs::File::create(&path)?;
            inherited = Some(file.try_clone()?);
            Ok(file)
        });
        drop(lock.unwrap().unwrap());
        assert!(disk.lock("LOCK").unwrap().is_some());
        drop(inherited);
    }

    #[test]
    fn a_lock_on_a_file_that_was_replaced_does_not_count() {
        let (_dir, disk) = disk();
        let path = disk.root().join("LOCK");
        let open = || OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let mut replacements = 3;
        let lock = lock_at(&path, || {
            let file = open()?;
            if replacements > 0 {
                replacements -= 1;
                fs::remove_file(&path)?;
                open()?;
            }
            Ok(file)
        });
        let _lock = lock.unwrap().unwrap();
        assert_eq!(replacements, 0);
        assert!(disk.lock("LOCK").unwrap().is_none(), "the file at the path is locked");
    }

    #[test]
    fn a_lock_file_that_never_stays_is_an_error() {
        let (_dir, disk) = disk();
        let path = disk.root().join("LOCK");
        let mut opened = 0;
        let lock = lock_at(&path, || {
            opened += 1;
            let file = fs::File::create(&path)?;
            fs::remove_file(&path)?;
            Ok(file)
        });
        assert!(lock.is_err());
        assert_eq!(opened, LOCK_TRIES);
    }

    #[test]
    fn the_root_does_not_move_with_the_working_directory() {
        assert!(Disk::new("relative".into()).root().is_absolute());
    }

    #[test]
    fn the_clock_and_randomness_are_those_of_the_system() {
        let (_dir, disk) = disk();
        let time = SystemTime::from(disk.now());
        let distance = SystemTime::now().duration_since(time);
        assert!(distance.is_ok_and(|d| d < Duration::from_secs(60)));
        let mut buffers = [[0; 16]; 2];
        for buffer in &mut buffers {
            disk.fill_random(buffer).unwrap();
        }
        assert_ne!(buffers[0], buffers[1]);
    }
}
