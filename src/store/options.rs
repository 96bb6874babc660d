//! Opening a store: the options, given before.

use std::path::Path;

use super::Store;
use crate::error::Result;
use crate::open;
use crate::options::{Durability, Limits, Preallocate, ReadMode, Settings};
use crate::storage::Dir;
use crate::storage::disk::Disk;
use crate::storage::memory::MemoryDisk;
use crate::sync::Arc;

/// Options of a store, given before it is opened.
///
/// ```
/// use annals::{Durability, Store};
/// let dir = tempfile::tempdir().unwrap();
/// let store = Store::options().durability(Durability::Os).open(dir.path().join("s"))?;
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until a store is opened with them"]
pub struct StoreOptions {
    settings: Settings,
}

impl StoreOptions {
    /// When an append answers: [`Durability::Sync`] unless given.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.settings.durability = durability;
        self
    }

    /// How bytes reach a reader: [`ReadMode::Mmap`] unless given.
    pub fn read_mode(mut self, mode: ReadMode) -> Self {
        self.settings.read_mode = mode;
        self
    }

    /// Whether segments are filled ahead of their use: [`Preallocate::Zero`] unless given.
    pub fn preallocate(mut self, preallocate: Preallocate) -> Self {
        self.settings.preallocate = preallocate;
        self
    }

    /// What one append may hold.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// What segments grow to, in bytes: 64 MiB unless given, 64 KiB to just below 4 GiB. The first
    /// segment of a store is at most 1 MiB, and each is twice as long as the one before.
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.settings.segment_bytes = bytes;
        self
    }

    /// An index checkpoint is written each time this many bytes of log were added to the active
    /// segment: 8 MiB unless given. Fewer make opening after a crash faster.
    pub fn checkpoint_bytes(mut self, bytes: u64) -> Self {
        self.settings.checkpoint_bytes = bytes.max(1);
        self
    }

    /// Whether a store is created where there is none: it is, unless told otherwise.
    pub fn create(mut self, create: bool) -> Self {
        self.settings.create = create;
        self
    }

    /// Whether a thread prepares segments and builds index files, started when it is first needed:
    /// it does, unless told otherwise. Without it, the appends that need the work do it.
    pub fn upkeep_thread(mut self, thread: bool) -> Self {
        self.settings.upkeep_thread = thread;
        self
    }

    /// How many bytes of [`append_async`](Store::append_async) are taken before they are committed:
    /// 8 MiB unless given. Behind that, appends wait for room, in order, and one that is dropped
    /// while it waits is not made. One that is larger than this has to wait until it is alone.
    ///
    /// ```
    /// let store = annals::Store::options().pending_bytes(1 << 20).in_memory()?;
    /// # Ok::<(), annals::Error>(())
    /// ```
    #[cfg(feature = "async")]
    pub fn pending_bytes(mut self, bytes: u64) -> Self {
        self.settings.pending_bytes = bytes;
        self
    }

    /// Keeps only so many bits of the hashes of names and ids, to provoke collisions in tests.
    #[doc(hidden)]
    pub fn hash_bits(mut self, bits: u32) -> Self {
        self.settings.hash_bits = bits;
        self
    }

    /// Keeps the heads of only so many streams in memory, of each part of them, to provoke look-ups
    /// in tests.
    #[doc(hidden)]
    pub fn heads_kept(mut self, heads: usize) -> Self {
        self.settings.heads_kept = heads;
        self
    }

    /// Opens the store in a directory for writing, creating or recovering it.
    ///
    /// With [`ReadMode::Mmap`] the directory belongs to the store: while it is open, nobody else
    /// may change or shorten its files. Takes about 2 ms after a clean close, and reads at most
    /// what was appended since the last index checkpoint after a crash, whatever the store's size.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] where another handle writes, [`Error::NotAStore`] where the directory
    /// holds something else, [`Error::Corrupt`] where what was durable is damaged (nothing is
    /// changed then), [`Error::UnsupportedFormat`] for files of a newer version,
    /// [`Error::InvalidOptions`], and [`Error::Io`].
    ///
    /// [`Error::Locked`]: crate::Error::Locked
    /// [`Error::NotAStore`]: crate::Error::NotAStore
    /// [`Error::Corrupt`]: crate::Error::Corrupt
    /// [`Error::UnsupportedFormat`]: crate::Error::UnsupportedFormat
    /// [`Error::InvalidOptions`]: crate::Error::InvalidOptions
    /// [`Error::Io`]: crate::Error::Io
    pub fn open(self, path: impl AsRef<Path>) -> Result<Store> {
        self.open_in(Dir::new(Arc::new(Disk::new(path.as_ref().into()))))
    }

    /// Opens the store in a directory for reading. Takes no lock and changes nothing.
    ///
    /// Works beside a running writer, and follows it: each call sees what has become visible there
    /// by then and was written, and [subscriptions](Store::subscribe) go on with it within
    /// milliseconds. It lives on when the writer ends by any cause, and when another one begins.
    /// Where the store's file `head` is missing or damaged it shows the moment of its opening.
    ///
    /// A store whose log is damaged opens too: reads show what is good in front of the damage and
    /// then give the error, and look-ups that find nothing there give it as well.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] where there is no store; [`Error::Corrupt`] and
    /// [`Error::UnsupportedFormat`] only for the file `STORE`; otherwise as [`StoreOptions::open`].
    ///
    /// [`Error::UnsupportedFormat`]: crate::Error::UnsupportedFormat
    /// [`Error::Corrupt`]: crate::Error::Corrupt
    /// [`Error::NotFound`]: crate::Error::NotFound
    pub fn open_read_only(self, path: impl AsRef<Path>) -> Result<Store> {
        self.open_read_only_in(&Dir::new(Arc::new(Disk::new(path.as_ref().into()))))
    }

    /// A new store in memory, which is gone with its last handle: for tests.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOptions`].
    ///
    /// [`Error::InvalidOptions`]: crate::Error::InvalidOptions
    pub fn in_memory(mut self) -> Result<Store> {
        self.settings.upkeep_thread = false;
        self.open_in(Dir::new(Arc::new(MemoryDisk::new())))
    }

    pub(crate) fn open_in(self, dir: Dir) -> Result<Store> {
        self.settings.check()?;
        let opened = open::open(&dir, &self.settings)?;
        Ok(Store::assemble(dir, opened, &self.settings))
    }

    pub(crate) fn open_read_only_in(self, dir: &Dir) -> Result<Store> {
        self.settings.check()?;
        let opened = open::follow(dir, &self.settings)?;
        Ok(Store::assemble(dir.clone(), opened, &self.settings))
    }
}
