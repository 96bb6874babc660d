//! Layer 2: files and directories, and nothing about what is in them.
//!
//! [`Storage`] is the seam between the store and the world: the real [`disk`], and the simulated
//! one in [`memory`] that knows what is synced and what is not. The clock and randomness come
//! through it too, so that a run on the simulated disk depends on its seed alone.
//!
//! Names are relative to the store's directory, with `/` between the parts; `""` is the directory
//! itself.

pub(crate) mod disk;
mod map;
pub(crate) mod memory;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::bytes::Region;
use crate::error::{Error, Result};
use crate::position::Timestamp;
use crate::sync::Arc;

/// A directory that a store lives in.
pub(crate) trait Storage: fmt::Debug + Send + Sync {
    /// The directory as error messages name it.
    fn root(&self) -> &Path;

    /// Creates a directory (mode 0700) unless it is there; `""` creates the root and what is
    /// missing above it. Durable once [`Storage::sync_dir`] of its parent returned; the root's own
    /// entry is made durable here.
    fn create_dir(&self, dir: &str) -> io::Result<()>;

    /// The names of what a directory holds, in no order.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;

    /// Creates a file (mode 0600) for reading and writing; it must not exist.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens a file: a regular one (anything else is `InvalidInput`), never through a symlink.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>>;

    /// Renames a file, over an existing one if there is one.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Takes the exclusive lock on a file, creating the file where it is missing. `None` where
    /// someone else holds it. The lock is released when the value is dropped.
    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>>;

    /// Whether someone holds the lock on a file, as seen by trying it for a moment, shared.
    fn is_locked(&self, name: &str) -> io::Result<bool>;

    /// The page of [`PAGE_WORDS`] words that a file begins with, shared with every process that
    /// asks for it. For writing, the file is created where it is missing, and its space allocated:
    /// a store to a page that has none could kill the process. Nothing of it is ever synced.
    fn shared_page(&self, name: &str, access: Access) -> io::Result<Arc<dyn SharedPage>>;

    /// The time of the clock.
    fn now(&self) -> Timestamp;

    /// Fills the buffer with unpredictable bytes.
    fn fill_random(&self, buffer: &mut [u8]) -> io::Result<()>;
}

/// An open file.
pub(crate) trait File: fmt::Debug + Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Reads at an offset; fewer bytes than asked for, also in the middle, and 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Reads what the medium holds, past the cache (`O_DIRECT`). `None` where the file system
    /// cannot. Any offset and length; the implementation aligns.
    fn read_direct(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>>;

    /// Writes at an offset, growing the file if need be; possibly fewer bytes than given.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Makes the content and the length durable.
    fn sync(&self) -> io::Result<()>;

    /// Sets the length to a larger one; the new bytes read as zeros. Never shortens.
    fn grow(&self, len: u64) -> io::Result<()>;

    /// Drops clean cached pages of the first `len` bytes, so that reads show what the medium holds
    /// (as far as nobody maps the file). Advice: no error where the system has no such call.
    fn drop_cache(&self, len: u64) -> io::Result<()>;

    /// Gives the space of a range back, leaving zeros and the length (`PUNCH_HOLE | KEEP_SIZE`).
    /// Advice: no error where the file system has no such call.
    fn release(&self, offset: u64, len: u64) -> io::Result<()>;

    /// A read-only shared map of the first `len` bytes, which must exist. `None` where the storage
    /// or the platform has no maps that show later writes.
    ///
    /// The caller keeps the contract of [`Region`]: it asks only for ranges whose bytes no longer
    /// change.
    fn map(&self, len: u64) -> io::Result<Option<Arc<dyn Region>>>;
}

/// A page that processes share, word by word: what is stored is seen by all of them, in the order
/// in which it was stored.
pub(crate) trait SharedPage: fmt::Debug + Send + Sync {
    /// A word, and with it whatever was stored before it. 0 where there is none, or it cannot be
    /// read.
    fn load(&self, word: usize) -> u64;

    /// Stores a word. Without effect where it cannot be written: whoever reads sees the old one.
    fn store(&self, word: usize, value: u64);
}

/// The length of a shared page.
pub(crate) const PAGE_BYTES: usize = 4096;
/// The words of a shared page, 64 bits each, little-endian.
pub(crate) const PAGE_WORDS: usize = PAGE_BYTES / 8;

/// A held lock; dropping it releases it.
pub(crate) trait Lock: fmt::Debug + Send + Sync {}

/// What an opened file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    ReadWrite,
}

/// A shared storage, and the errors that name its files.
#[derive(Clone, Debug)]
pub(crate) struct Dir {
    storage: Arc<dyn Storage>,
}

/// An open file with its name, for errors that say which.
#[derive(Clone, Debug)]
pub(crate) struct NamedFile {
    file: Arc<dyn File>,
    path: Arc<Path>,
}

/// Files are filled with zeros in pieces that end at multiples of this.
///
/// The page cache keeps a piece as one folio, and each later write into a folio walks the state of
/// all its blocks: with pieces of 1 MiB a small write takes three times as long. Pieces of 4 KiB
/// make scans of the map half as fast. `docs/decisions/0015-zeros-in-pieces.md` has the figures.
const FILL_BYTES: usize = 64 << 10;

/// So many zeros are handed to the device at a time: a commit meanwhile waits for these, and not
/// for a whole segment of them.
const SLICE_BYTES: u64 = 1 << 20;

impl Dir {
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage }
    }

    /// The path of a file, for errors.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.storage.root().into() } else { self.storage.root().join(name) }
    }

    pub(crate) fn create_dir(&self, dir: &str) -> Result<()> {
        self.on("create the directory", dir, self.storage.create_dir(dir))
    }

    pub(crate) fn list(&self, dir: &str) -> Result<Vec<String>> {
        self.on("list the directory", dir, self.storage.list(dir))
    }

    pub(crate) fn sync_dir(&self, dir: &str) -> Result<()> {
        self.on("sync the directory", dir, self.storage.sync_dir(dir))
    }

    pub(crate) fn create(&self, name: &str) -> Result<NamedFile> {
        let file = self.on("create the file", name, self.storage.create(name))?;
        Ok(NamedFile { file, path: self.path(name).into() })
    }

    pub(crate) fn open(&self, name: &str, access: Access) -> Result<NamedFile> {
        let file = self.on("open the file", name, self.storage.open(name, access))?;
        Ok(NamedFile { file, path: self.path(name).into() })
    }

    /// Opens a file for reading, or `None` where there is no such file.
    pub(crate) fn open_if_there(&self, name: &str) -> Result<Option<NamedFile>> {
        match self.storage.open(name, Access::Read) {
            Ok(file) => Ok(Some(NamedFile { file, path: self.path(name).into() })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("open the file", self.path(name), e)),
        }
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.on("rename the file", from, self.storage.rename(from, to))
    }

    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        self.on("remove the file", name, self.storage.remove(name))
    }

    pub(crate) fn lock(&self, name: &str) -> Result<Option<Box<dyn Lock>>> {
        self.on("lock the file", name, self.storage.lock(name))
    }

    pub(crate) fn is_locked(&self, name: &str) -> Result<bool> {
        self.on("look at the lock on", name, self.storage.is_locked(name))
    }

    pub(crate) fn shared_page(&self, name: &str, access: Access) -> Result<Arc<dyn SharedPage>> {
        self.on("share the page", name, self.storage.shared_page(name, access))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.storage.now()
    }

    pub(crate) fn random<const N: usize>(&self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.on("read random bytes for", "", self.storage.fill_random(&mut bytes))?;
        Ok(bytes)
    }

    /// Puts a whole file in place, atomically and durably: whatever happens, the name shows the
    /// old content or the new one.
    pub(crate) fn replace(&self, dir: &str, name: &str, content: &[u8]) -> Result<()> {
        let temporary = format!("{name}.tmp");
        match self.storage.remove(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove the file", self.path(&temporary), e));
            }
            _ => {}
        }
        let file = self.create(&temporary)?;
        file.write_all_at(content, 0)?;
        file.sync()?;
        self.rename(&temporary, name)?;
        self.sync_dir(dir)
    }

    fn on<T>(&self, operation: &'static str, name: &str, result: io::Result<T>) -> Result<T> {
        result.map_err(|e| Error::io(operation, self.path(name), e))
    }
}

impl NamedFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn len(&self) -> Result<u64> {
        self.on("read the length", self.file.len())
    }

    pub(crate) fn sync(&self) -> Result<()> {
        self.on("sync", self.file.sync())
    }

    pub(crate) fn drop_cache(&self, len: u64) -> Result<()> {
        self.on("drop the cache", self.file.drop_cache(len))
    }

    pub(crate) fn release(&self, offset: u64, len: u64) -> Result<()> {
        self.on("release space", self.file.release(offset, len))
    }

    pub(crate) fn map(&self, len: u64) -> Result<Option<Arc<dyn Region>>> {
        self.on("map", self.file.map(len))
    }

    /// Fills the buffer from an offset; bytes behind the end of the file count as not there, and
    /// how many were there is returned.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        fill(buffer, |rest, done| {
            let read = retried(|| self.file.read_at(rest, offset + done));
            self.on("read", read)
        })
    }

    /// As [`NamedFile::read_at`], past the cache; `None` where that is not possible.
    pub(crate) fn read_direct(&self, buffer: &mut [u8], offset: u64) -> Result<Option<usize>> {
        let mut possible = true;
        let filled = fill(buffer, |rest, done| {
            let read = retried(|| self.file.read_direct(rest, offset + done));
            Ok(self.on("read directly", read)?.unwrap_or_else(|| {
                possible = false;
                0
            }))
        })?;
        Ok(possible.then_some(filled))
    }

    /// A range of the file in memory; `None` where the file ends before it does.
    pub(crate) fn read_range(&self, offset: u64, len: usize) -> Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; len];
        let filled = self.read_at(&mut buffer, offset)?;
        Ok((filled == len).then_some(buffer))
    }

    /// Writes everything, whatever the system takes at once.
    pub(crate) fn write_all_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let written = retried(|| self.file.write_at(rest, offset + done as u64));
            match self.on("write", written)? {
                0 => return self.on("write", Err(io::ErrorKind::WriteZero.into())),
                n => done += n,
            }
        }
        Ok(())
    }

    /// Gives the file its full length, filled with zeros or not.
    pub(crate) fn preallocate(&self, len: u64, fill: bool) -> Result<()> {
        if !fill {
            return self.on("set the length", self.file.grow(len));
        }
        let zeros = vec![0; FILL_BYTES];
        let mut offset = self.len()?;
        while offset < len {
            let piece_bytes = FILL_BYTES as u64;
            let end = ((offset / piece_bytes + 1) * piece_bytes).min(len);
            let piece = usize::try_from(end - offset).unwrap_or(FILL_BYTES);
            self.write_all_at(zeros.get(..piece).unwrap_or(&zeros), offset)?;
            offset = end;
            if offset.is_multiple_of(SLICE_BYTES) && offset < len {
                self.sync()?;
            }
        }
        Ok(())
    }

    fn on<T>(&self, operation: &'static str, result: io::Result<T>) -> Result<T> {
        result.map_err(|e| Error::io(operation, self.path.as_ref(), e))
    }
}

/// Reads until the buffer is full or the source ends.
fn fill(buffer: &mut [u8], mut read: impl FnMut(&mut [u8], u64) -> Result<usize>) -> Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match read(rest, done as u64)? {
            0 => break,
            n => done += n,
        }
    }
    Ok(done)
}

/// Repeats a read or a write that a signal interrupted. Never used on a sync. Bounded, so that a
/// system that does nothing but interrupt is an error and not a hang.
fn retried<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    const TRIES: usize = 1000;
    for _ in 0..TRIES {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
    call()
}
