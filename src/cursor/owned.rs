//! The owner of a cursor: one at a time.

use super::cursors::{By, Cursors};
use crate::error::{CursorError, Error, Result};
use crate::names::{check_cursor_name, shown};
use crate::position::Position;
use crate::sync::Arc;

/// A cursor that nobody else may save, reset, rename or delete while this lives. Made by
/// [`Store::own_cursor`](crate::Store::own_cursor).
///
/// ```
/// use annals::{ExpectedVersion, NewEvent, Position, Store};
/// let store = Store::in_memory()?;
/// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("OrderPlaced", "{}")])?;
/// let billing = store.own_cursor("billing")?;
/// for event in store.read_all().after(billing.position()?.unwrap_or(Position::START)) {
///     let event = event?;
///     // Process the event, then:
///     billing.save(event.position())?;
/// }
/// assert!(store.own_cursor("billing").is_err());
/// drop(billing);
/// assert_eq!(store.own_cursor("billing")?.position()?, Some(Position(1)));
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug)]
pub struct OwnedCursor {
    cursors: Arc<Cursors>,
    name: String,
}

impl OwnedCursor {
    pub(crate) fn new(cursors: &Arc<Cursors>, name: &str) -> Result<Self> {
        check_cursor_name(name)?;
        cursors.writer()?;
        cursors.moved.check_open()?;
        if !cursors.owned.lock().insert(name.into()) {
            return Err(Error::Cursor(CursorError::InUse { name: name.into() }));
        }
        // From here on dropping it lets go.
        let owned = Self { cursors: Arc::clone(cursors), name: name.into() };
        // Waits for a change that began before.
        drop(cursors.hold([name], By::Owner)?);
        owned.position()?;
        Ok(owned)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it was saved; `None` where it never was. Takes a read of its value and of the event
    /// there.
    ///
    /// # Errors
    ///
    /// [`CursorError::Diverged`], [`Error::Corrupt`], [`Error::Io`].
    pub fn position(&self) -> Result<Option<Position>> {
        let saved = self.cursors.load_sound(&self.name)?;
        Ok(saved.map(|saved| Position(saved.position)))
    }

    /// Saves it: as [`Store::save_cursor`](crate::Store::save_cursor), for its owner.
    ///
    /// # Errors
    ///
    /// As [`Store::save_cursor`](crate::Store::save_cursor).
    pub fn save(&self, position: Position) -> Result<()> {
        self.cursors.save_by(By::Owner, &self.name, position)
    }
}

impl Drop for OwnedCursor {
    fn drop(&mut self) {
        self.cursors.owned.lock().remove(&self.name);
    }
}

impl std::fmt::Display for OwnedCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cursor \"{}\"", shown(&self.name))
    }
}
