//! Named cursors: how far a consumer has come.

use std::time::Duration;

use super::Store;
use crate::cursor::{CursorInfo, OwnedCursor};
use crate::error::Result;
use crate::position::Position;

/// Named cursors. Each is a position up to which a consumer has processed everything, with the id
/// of the event there. They are kept by the store, beside the log.
impl Store {
    /// Saves a cursor: everything up to the position was processed. Durable when this returns, in
    /// every mode: the log is synced first where it is not durable up to there. Callers that save
    /// at the same time share a write and a sync. Takes two reads of events.
    ///
    /// A cursor only moves on; saving it where it is changes nothing but its time.
    /// [`Position::START`] is a place like any other.
    ///
    /// ```
    /// use annals::{ExpectedVersion, NewEvent, Position, Store};
    /// let store = Store::in_memory()?;
    /// let done = store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("Placed", "{}")])?;
    /// store.save_cursor("billing", done.position)?;
    /// let billing = store.cursor("billing")?.unwrap();
    /// assert_eq!((billing.position, billing.lag), (Position(1), Some(0)));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Cursor`](crate::Error::Cursor) where the position is beyond the visible end or
    /// before what was saved, the cursor has an owner or has diverged;
    /// [`Error::InvalidName`](crate::Error::InvalidName) (1 to 255 bytes, no control characters);
    /// [`Error::Corrupt`](crate::Error::Corrupt) where what was saved before cannot be read, until
    /// the cursor is reset; [`Error::Unknown`](crate::Error::Unknown) where a write or a sync
    /// fails, and [`Error::Poisoned`](crate::Error::Poisoned) behind that, until the store is
    /// opened again (appends go on where only the cursors failed);
    /// [`Error::ReadOnly`](crate::Error::ReadOnly), [`Error::Closed`](crate::Error::Closed).
    pub fn save_cursor(&self, name: impl AsRef<str>, position: Position) -> Result<()> {
        self.inner.cursors.save(name.as_ref(), position)
    }

    /// A cursor as it is saved; `None` where it never was. Takes a read of its value and of the
    /// event there.
    ///
    /// ```
    /// let store = annals::Store::in_memory()?;
    /// assert!(store.cursor("billing")?.is_none());
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`](crate::Error::Corrupt) where what was saved cannot be read, or where
    /// damage may hide it; [`Error::InvalidName`](crate::Error::InvalidName),
    /// [`Error::Io`](crate::Error::Io), [`Error::Closed`](crate::Error::Closed).
    pub fn cursor(&self, name: impl AsRef<str>) -> Result<Option<CursorInfo>> {
        self.inner.cursors.info(name.as_ref())
    }

    /// All cursors, by name. One that cannot be read is an error in its place, and where damage
    /// may hide more of them, the last item is an error. Takes two reads for each cursor.
    ///
    /// ```
    /// use annals::{Position, Store};
    /// let store = Store::in_memory()?;
    /// store.save_cursor("mail", Position::START)?;
    /// store.save_cursor("billing", Position::START)?;
    /// let names: Vec<String> = store
    ///     .cursors()?
    ///     .map(|cursor| cursor.map(|cursor| cursor.name))
    ///     .collect::<annals::Result<_>>()?;
    /// assert_eq!(names, ["billing", "mail"]);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io), [`Error::Closed`](crate::Error::Closed),
    /// [`Error::UnsupportedFormat`](crate::Error::UnsupportedFormat).
    pub fn cursors(&self) -> Result<impl Iterator<Item = Result<CursorInfo>> + use<>> {
        Ok(self.inner.cursors.list()?.into_iter())
    }

    /// Puts a cursor at a position, forwards or backwards, whatever was saved before: also one
    /// that has diverged or cannot be read. Durable when this returns.
    ///
    /// ```
    /// use annals::{ExpectedVersion, NewEvent, Position, Store};
    /// let store = Store::in_memory()?;
    /// let done = store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("Placed", "{}")])?;
    /// store.save_cursor("billing", done.position)?;
    /// assert!(store.save_cursor("billing", Position::START).is_err());
    /// store.reset_cursor("billing", Position::START)?;
    /// assert_eq!(store.cursor("billing")?.unwrap().lag, Some(1));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Store::save_cursor`], but for what it is there to mend.
    pub fn reset_cursor(&self, name: impl AsRef<str>, position: Position) -> Result<()> {
        self.inner.cursors.reset(name.as_ref(), position)
    }

    /// Deletes a cursor. `false` where there was none. Durable when this returns.
    ///
    /// ```
    /// use annals::{Position, Store};
    /// let store = Store::in_memory()?;
    /// store.save_cursor("billing", Position::START)?;
    /// assert!(store.delete_cursor("billing")?);
    /// assert!(!store.delete_cursor("billing")?);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Store::reset_cursor`].
    pub fn delete_cursor(&self, name: impl AsRef<str>) -> Result<bool> {
        self.inner.cursors.delete(name.as_ref())
    }

    /// Gives a cursor another name, atomically. Durable when this returns.
    ///
    /// ```
    /// use annals::{Position, Store};
    /// let store = Store::in_memory()?;
    /// store.save_cursor("billing", Position::START)?;
    /// store.rename_cursor("billing", "invoices")?;
    /// assert!(store.cursor("billing")?.is_none() && store.cursor("invoices")?.is_some());
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Store::save_cursor`], and [`Error::Cursor`](crate::Error::Cursor) where there is none
    /// of the old name or one of the new name.
    pub fn rename_cursor(&self, old: impl AsRef<str>, new: impl AsRef<str>) -> Result<()> {
        self.inner.cursors.rename(old.as_ref(), new.as_ref())
    }

    /// Makes the caller the cursor's owner: until the handle is dropped nobody else can save it,
    /// but for [`Batch::save_cursor`](crate::Batch::save_cursor), which is the owner's too. See
    /// [`OwnedCursor`].
    ///
    /// ```
    /// use annals::{Position, Store};
    /// let store = Store::in_memory()?;
    /// let owned = store.own_cursor("billing")?;
    /// assert!(store.save_cursor("billing", Position::START).is_err());
    /// owned.save(Position::START)?;
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Cursor`](crate::Error::Cursor) where it has an owner or has diverged; otherwise
    /// as [`Store::cursor`], and [`Error::ReadOnly`](crate::Error::ReadOnly).
    pub fn own_cursor(&self, name: impl AsRef<str>) -> Result<OwnedCursor> {
        OwnedCursor::new(&self.inner.cursors, name.as_ref())
    }

    /// Waits until everything up to a position was processed and saved under a cursor: `true`.
    /// `false` when the time is up. Reads your own writes from a projection without sleeping.
    ///
    /// ```
    /// use std::time::Duration;
    /// use annals::{ExpectedVersion, NewEvent, Store};
    /// let store = Store::in_memory()?;
    /// let done = store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("Placed", "{}")])?;
    /// assert!(!store.wait_for("billing", done.position, Duration::ZERO)?);
    /// store.save_cursor("billing", done.position)?;
    /// assert!(store.wait_for("billing", done.position, Duration::from_secs(1))?);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Store::own_cursor`], and [`Error::Closed`](crate::Error::Closed) also when the store
    /// is closed meanwhile.
    pub fn wait_for(
        &self,
        cursor: impl AsRef<str>,
        position: Position,
        timeout: Duration,
    ) -> Result<bool> {
        self.inner.cursors.wait_for(cursor.as_ref(), position, timeout)
    }
}
