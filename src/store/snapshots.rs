//! Snapshots: saved states of streams.

use super::Store;
use crate::error::Result;
use crate::snapshot::{NewSnapshot, Snapshot, SnapshotInfo};

/// Snapshots: the state of a stream at a version, as bytes, so that it need not be folded from the
/// first event on. They are caches: each can be dropped and folded again, and one that is damaged
/// or of another history is as if it were not there. Typed in [`kit`](crate::kit).
impl Store {
    /// Saves the state of a stream at a version. Durable when this returns, in every mode: the log
    /// is synced first where it is not durable up to the event there. One of the same stream, kind
    /// and version is replaced; all but the newest few ([`NewSnapshot::keep`]) are deleted. Takes a
    /// read of an event, a write and a sync.
    ///
    /// ```
    /// use annals::{ExpectedVersion, NewEvent, NewSnapshot, Store, Version};
    /// let store = Store::in_memory()?;
    /// let events = ["3", "4"].map(|total| NewEvent::new("Added", total));
    /// let done = store.append("Cart-1", ExpectedVersion::Any, events)?;
    /// store.save_snapshot("Cart-1", "total", NewSnapshot::new(done.version, "7"))?;
    /// let snapshot = store.snapshot("Cart-1", "total")?.unwrap();
    /// assert_eq!((snapshot.info.version, snapshot.data.as_slice()), (Version(2), &b"7"[..]));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`](crate::Error::Conflict) where the stream has no event of the version;
    /// [`Error::InvalidName`](crate::Error::InvalidName),
    /// [`Error::LimitExceeded`](crate::Error::LimitExceeded);
    /// [`Error::Unknown`](crate::Error::Unknown) where the write or the sync fails, and
    /// [`Error::Poisoned`](crate::Error::Poisoned) behind that, until the store is opened again
    /// (appends go on where only the snapshot failed); [`Error::ReadOnly`](crate::Error::ReadOnly),
    /// [`Error::Closed`](crate::Error::Closed).
    pub fn save_snapshot(
        &self,
        stream: impl AsRef<str>,
        kind: impl AsRef<str>,
        snapshot: NewSnapshot,
    ) -> Result<()> {
        self.inner.snapshots.save(stream.as_ref(), kind.as_ref(), snapshot)
    }

    /// The newest snapshot of a stream and a kind that can be used: one whose event is in the log.
    /// `None` where there is none, whatever the reason: the state is folded from the events then.
    /// Takes a read of the value and of the event.
    ///
    /// ```
    /// let store = annals::Store::in_memory()?;
    /// assert!(store.snapshot("Cart-1", "total")?.is_none());
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`](crate::Error::InvalidName), [`Error::Closed`](crate::Error::Closed).
    pub fn snapshot(
        &self,
        stream: impl AsRef<str>,
        kind: impl AsRef<str>,
    ) -> Result<Option<Snapshot>> {
        self.find_snapshot(stream, kind, |_| true)
    }

    /// The newest snapshot that can be used and that is accepted: of a schema that the caller
    /// knows, or of an earlier state.
    ///
    /// ```
    /// use annals::{ExpectedVersion, NewEvent, NewSnapshot, Store, Version};
    /// let store = Store::in_memory()?;
    /// let events = ["3", "4"].map(|total| NewEvent::new("Added", total));
    /// store.append("Cart-1", ExpectedVersion::Any, events)?;
    /// for (version, total) in [(1, "3"), (2, "7")] {
    ///     let snapshot = NewSnapshot::new(Version(version), total).keep(2);
    ///     store.save_snapshot("Cart-1", "total", snapshot)?;
    /// }
    /// let earlier = |info: &annals::SnapshotInfo| info.version <= Version(1);
    /// assert_eq!(store.find_snapshot("Cart-1", "total", earlier)?.unwrap().data, b"3");
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`snapshot`](Self::snapshot).
    pub fn find_snapshot(
        &self,
        stream: impl AsRef<str>,
        kind: impl AsRef<str>,
        accept: impl FnMut(&SnapshotInfo) -> bool,
    ) -> Result<Option<Snapshot>> {
        self.readable()?;
        self.inner.snapshots.find(stream.as_ref(), kind.as_ref(), accept)
    }

    /// All snapshots that can be read, by stream, kind and version. Takes a read for each.
    ///
    /// ```
    /// let store = annals::Store::in_memory()?;
    /// assert_eq!(store.snapshots()?.count(), 0);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed).
    pub fn snapshots(&self) -> Result<impl Iterator<Item = SnapshotInfo> + use<>> {
        self.readable()?;
        Ok(self.inner.snapshots.list(None)?.into_iter())
    }

    /// The snapshots of a stream that can be read, by kind and version.
    ///
    /// ```
    /// let store = annals::Store::in_memory()?;
    /// assert_eq!(store.snapshots_of("Cart-1")?.count(), 0);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`snapshot`](Self::snapshot).
    pub fn snapshots_of(&self, stream: &str) -> Result<impl Iterator<Item = SnapshotInfo> + use<>> {
        self.readable()?;
        Ok(self.inner.snapshots.list(Some(stream))?.into_iter())
    }

    /// Deletes the snapshots of a stream, of one kind or of all (`None`), and says how many there
    /// were. Durable when this returns.
    ///
    /// ```
    /// use annals::{ExpectedVersion, NewEvent, NewSnapshot, Store};
    /// let store = Store::in_memory()?;
    /// let done = store.append("Cart-1", ExpectedVersion::Any, [NewEvent::new("Added", "3")])?;
    /// store.save_snapshot("Cart-1", "total", NewSnapshot::new(done.version, "3"))?;
    /// assert_eq!(store.delete_snapshots("Cart-1", Some("total"))?, 1);
    /// assert_eq!(store.delete_snapshots("Cart-1", None)?, 0);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`save_snapshot`](Self::save_snapshot).
    pub fn delete_snapshots(&self, stream: impl AsRef<str>, kind: Option<&str>) -> Result<usize> {
        self.inner.snapshots.delete(stream.as_ref(), kind)
    }
}
