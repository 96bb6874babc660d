//! Views: read models that the store keeps.

use std::time::Duration;

use super::Store;
use crate::error::{Error, Result, ViewError};
use crate::position::Position;
use crate::view::{StoredView, ViewInfo};

/// Views: key-value maps that the store keeps beside the log, each with the position up to which it
/// is complete. See [`StoredView`].
impl Store {
    /// Opens a view, or creates it, empty and complete up to [`Position::START`]. The schema is a
    /// number of the caller's for what keys and values mean: one that is there with another schema
    /// is refused, to be built anew beside it or [reset](Self::reset_view). Durable when this
    /// returns.
    ///
    /// ```
    /// use annals::{Position, Store};
    /// let store = Store::in_memory()?;
    /// assert_eq!(store.create_view("totals", 1)?.position()?, Position::START);
    /// assert!(store.create_view("totals", 1).is_ok());
    /// assert!(store.create_view("totals", 2).is_err());
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ViewError::OtherSchema`]; [`Error::InvalidName`] (1 to 255 bytes, no control characters);
    /// [`Error::Corrupt`] where damage may hide one of the name; [`Error::Unknown`] where a write
    /// or a sync fails, and [`Error::Poisoned`] behind that, until the store is opened again;
    /// [`Error::ReadOnly`], [`Error::Closed`].
    pub fn create_view(&self, name: impl AsRef<str>, schema: u32) -> Result<StoredView> {
        let name = name.as_ref();
        self.inner.views.create(name, schema)?;
        self.view(name)?.ok_or_else(|| missing(name))
    }

    /// A view; `None` where there is none of this name.
    ///
    /// ```
    /// let store = annals::Store::in_memory()?;
    /// assert!(store.view("totals")?.is_none());
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] where damage may hide one of the name; [`Error::InvalidName`],
    /// [`Error::Io`], [`Error::Closed`].
    pub fn view(&self, name: impl AsRef<str>) -> Result<Option<StoredView>> {
        StoredView::open(&self.inner.views, name.as_ref())
    }

    /// All views, by name. One that cannot be read is an error in its place, and where damage may
    /// hide more of them, the last item is an error. Takes O(entries).
    ///
    /// ```
    /// let store = annals::Store::in_memory()?;
    /// store.create_view("totals", 1)?;
    /// let names: Vec<String> =
    ///     store.views()?.map(|view| Ok(view?.name)).collect::<annals::Result<_>>()?;
    /// assert_eq!(names, ["totals"]);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Closed`], [`Error::UnsupportedFormat`].
    pub fn views(&self) -> Result<impl Iterator<Item = Result<ViewInfo>> + use<>> {
        Ok(self.inner.views.list()?.into_iter())
    }

    /// Puts an empty view in the place of one, whatever that was: also one that has diverged, is
    /// damaged or missing. Handles of the one before cannot change the new one. Durable when this
    /// returns.
    ///
    /// ```
    /// use annals::{Position, Store};
    /// let store = Store::in_memory()?;
    /// let old = store.create_view("totals", 1)?;
    /// let new = store.reset_view("totals", 2)?;
    /// assert!(old.commit(old.update(Position::START).put("a", "1"), Position::START).is_err());
    /// assert_eq!(new.schema(), 2);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`create_view`](Self::create_view), but for what it is there to mend.
    pub fn reset_view(&self, name: impl AsRef<str>, schema: u32) -> Result<StoredView> {
        let name = name.as_ref();
        self.inner.views.reset(name, schema)?;
        self.view(name)?.ok_or_else(|| missing(name))
    }

    /// Deletes a view. `false` where there was none. Durable when this returns; reads that have
    /// begun go on.
    ///
    /// ```
    /// let store = annals::Store::in_memory()?;
    /// store.create_view("totals", 1)?;
    /// assert!(store.delete_view("totals")?);
    /// assert!(!store.delete_view("totals")?);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`reset_view`](Self::reset_view).
    pub fn delete_view(&self, name: impl AsRef<str>) -> Result<bool> {
        self.inner.views.delete(name.as_ref())
    }

    /// Gives a view another name, and drops the view that had it: the way to let a view that was
    /// built beside take over. One atomic write: readers of the name see the old view or the new
    /// one. Durable when this returns.
    ///
    /// ```
    /// use annals::{Position, Store};
    /// let store = Store::in_memory()?;
    /// let reader = store.create_view("totals", 1)?;
    /// let next = store.create_view("totals@2", 2)?;
    /// next.commit(next.update(Position::START).put("a", "1"), Position::START)?;
    /// store.rename_view("totals@2", "totals")?;
    /// assert_eq!(reader.get("a")?.as_deref(), Some(&b"1"[..]));
    /// assert!(store.view("totals@2")?.is_none());
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`create_view`](Self::create_view), and [`ViewError::NotFound`].
    pub fn rename_view(&self, old: impl AsRef<str>, new: impl AsRef<str>) -> Result<()> {
        self.inner.views.rename(old.as_ref(), new.as_ref())
    }

    /// Waits until a view is complete up to a position: `true`. `false` when the time is up. Reads
    /// your own writes from a projection without sleeping.
    ///
    /// ```
    /// use std::time::Duration;
    /// use annals::{ExpectedVersion, NewEvent, Store};
    /// let store = Store::in_memory()?;
    /// let view = store.create_view("totals", 1)?;
    /// let done = store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("Placed", "{}")])?;
    /// assert!(!store.wait_for_view("totals", done.position, Duration::ZERO)?);
    /// view.commit(view.update(view.position()?), done.position)?;
    /// assert!(store.wait_for_view("totals", done.position, Duration::from_secs(1))?);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`StoredView::get`]; [`Error::ReadOnly`]; [`Error::Closed`] also when the store is closed
    /// meanwhile.
    pub fn wait_for_view(
        &self,
        name: impl AsRef<str>,
        position: Position,
        timeout: Duration,
    ) -> Result<bool> {
        self.inner.views.wait_for(name.as_ref(), position, timeout)
    }
}

fn missing(name: &str) -> Error {
    Error::View(ViewError::NotFound { name: name.into() })
}
