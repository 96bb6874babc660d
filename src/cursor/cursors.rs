//! Changing and looking at cursors.

use std::collections::{BTreeSet, HashSet};

use super::busy::{Busy, Held};
use super::moved::Moved;
use crate::catalog::Catalog;
use crate::error::{CursorError, Error, Result};
use crate::format::cursor::{SavedCursor, cursor_key, cursor_name, cursor_prefix};
use crate::names::{EventId, check_cursor_name, shown};
use crate::position::{Position, Timestamp};
use crate::state::{Change, Scan};
use crate::storage::Dir;
use crate::sync::{Arc, Mutex};
use crate::writer::{Writer, reentry};

/// A cursor as it was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CursorInfo {
    /// Its name.
    pub name: String,
    /// Everything up to here was processed.
    pub position: Position,
    /// The event there; `None` at [`Position::START`].
    pub event_id: Option<EventId>,
    /// When it was saved, by the store's clock.
    pub saved_at: Timestamp,
    /// How many visible events come after it; `None` where it diverged.
    pub lag: Option<u64>,
    /// The log has another event there, or none: it is of another history, such as that of a
    /// store whose backup was restored. Its consumer gets an error until the cursor is reset.
    pub has_diverged: bool,
}

/// The cursors of a store.
#[derive(Debug)]
pub(crate) struct Cursors {
    pub(super) dir: Dir,
    pub(super) catalog: Arc<Catalog>,
    /// Missing in a store that is open for reading only.
    pub(super) writer: Option<Arc<Writer>>,
    /// Cursors that are being changed.
    busy: Busy,
    /// Cursors that have an owner.
    pub(super) owned: Mutex<HashSet<String>>,
    pub(super) moved: Moved,
}

/// Who changes a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Owner,
    Anyone,
}

impl Cursors {
    pub(crate) fn new(dir: &Dir, catalog: &Arc<Catalog>, writer: Option<&Arc<Writer>>) -> Self {
        Self {
            dir: dir.clone(),
            catalog: Arc::clone(catalog),
            writer: writer.cloned(),
            busy: Busy::default(),
            owned: Mutex::default(),
            moved: Moved::default(),
        }
    }

    /// Wakes whoever waits for a cursor. Nothing is saved any more.
    pub(crate) fn close(&self) {
        self.moved.close();
    }

    pub(crate) fn save(&self, name: &str, position: Position) -> Result<()> {
        self.save_by(By::Anyone, name, position)
    }

    pub(super) fn save_by(&self, by: By, name: &str, position: Position) -> Result<()> {
        let _held = self.hold([name], by)?;
        let change = self.advance(name, position)?;
        self.write(vec![change], position)
    }

    pub(crate) fn reset(&self, name: &str, position: Position) -> Result<()> {
        let _held = self.hold([name], By::Anyone)?;
        let change = self.change_to(name, position)?;
        self.write(vec![change], position)
    }

    /// `false` where there is none.
    pub(crate) fn delete(&self, name: &str) -> Result<bool> {
        let _held = self.hold([name], By::Anyone)?;
        // One that cannot be read can be deleted all the same.
        if matches!(self.load(name), Ok(None)) {
            return Ok(false);
        }
        self.write(vec![removal(name)], Position::START).map(|()| true)
    }

    pub(crate) fn rename(&self, old: &str, new: &str) -> Result<()> {
        let _held = self.hold([old, new], By::Anyone)?;
        let Some(saved) = self.load(old)? else {
            return Err(Error::Cursor(CursorError::NotFound { name: old.into() }));
        };
        if self.load(new)?.is_some() {
            return Err(Error::Cursor(CursorError::Exists { name: new.into() }));
        }
        self.write(vec![removal(old), change(new, &saved)], Position::START)
    }

    pub(crate) fn info(&self, name: &str) -> Result<Option<CursorInfo>> {
        check_cursor_name(name)?;
        self.moved.check_open()?;
        self.load(name)?.map(|saved| self.info_of(name, &saved)).transpose()
    }

    /// All cursors by name. What cannot be read is an error in its place; one at the end says that
    /// there may be more.
    pub(crate) fn list(&self) -> Result<Vec<Result<CursorInfo>>> {
        self.moved.check_open()?;
        Ok(self.infos()?.collect())
    }

    /// The same, each compared with the log when it is asked for.
    pub(super) fn infos(&self) -> Result<impl Iterator<Item = Result<CursorInfo>>> {
        let Scan { entries, doubt } = self.catalog.state.values.scan(&cursor_prefix())?;
        let infos = entries.into_iter().filter_map(|(key, value)| {
            let name = cursor_name(&key)?;
            Some(value.and_then(|value| self.info_of(name, &self.decode(&value)?)))
        });
        Ok(infos.chain(doubt.map(Err)))
    }

    /// The right to change cursors in a batch, and the changes. `None` for the changes where one
    /// of the cursors is beyond its position already and the batch was made before.
    pub(crate) fn in_batch(
        &self,
        saves: &[(String, Position)],
        was_made: impl FnOnce() -> bool,
    ) -> Result<(Held<'_>, Option<Vec<Change>>)> {
        let held = self.hold(saves.iter().map(|(name, _)| name.as_str()), By::Owner)?;
        let changes = saves.iter().map(|(name, position)| self.advance(name, *position));
        match changes.collect::<Result<Vec<_>>>() {
            Ok(changes) => Ok((held, Some(changes))),
            Err(Error::Cursor(CursorError::Backwards { .. })) if was_made() => Ok((held, None)),
            Err(e) => Err(e),
        }
    }

    /// Saves changes that a batch did not carry, because its events were there already.
    pub(crate) fn write(&self, changes: Vec<Change>, position: Position) -> Result<()> {
        let upto = position.max(Position(self.catalog.state.values.pending_up_to()));
        if self.catalog.watermark.durable() < upto {
            self.writer()?.core().sync()?;
        }
        self.catalog.state.values.write(changes, self.catalog.watermark.durable().0)?;
        self.moved.notify();
        Ok(())
    }

    /// Says that a batch has moved cursors.
    pub(crate) fn have_moved(&self) {
        self.moved.notify();
    }

    pub(super) fn writer(&self) -> Result<&Writer> {
        let writer = self.writer.as_deref().ok_or(Error::ReadOnly)?;
        reentry::check(writer)?;
        Ok(writer)
    }

    /// Waits until nobody else changes these cursors.
    pub(super) fn hold<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
        by: By,
    ) -> Result<Held<'_>> {
        self.writer()?;
        let names: BTreeSet<String> = names.into_iter().map(str::to_owned).collect();
        names.iter().try_for_each(|name| check_cursor_name(name))?;
        self.moved.check_open()?;
        self.busy.hold(names, |name| {
            if by == By::Anyone && self.owned.lock().contains(name) {
                return Err(Error::Cursor(CursorError::InUse { name: name.into() }));
            }
            Ok(())
        })
    }

    fn load(&self, name: &str) -> Result<Option<SavedCursor>> {
        let value = self.catalog.value(&cursor_key(name))?;
        value.map(|value| self.decode(&value)).transpose()
    }

    fn decode(&self, value: &[u8]) -> Result<SavedCursor> {
        let path = || self.dir.path(crate::format::files::STATE);
        SavedCursor::decode(value).map_err(|invalid| invalid.at(&path(), 0))
    }

    /// A cursor that its consumer can go on from.
    pub(super) fn load_sound(&self, name: &str) -> Result<Option<SavedCursor>> {
        let Some(saved) = self.load(name)? else { return Ok(None) };
        if self.catalog.has_diverged(&saved)? {
            let position = Position(saved.position);
            return Err(Error::Cursor(CursorError::Diverged { name: name.into(), position }));
        }
        Ok(Some(saved))
    }

    fn info_of(&self, name: &str, saved: &SavedCursor) -> Result<CursorInfo> {
        let has_diverged = self.catalog.has_diverged(saved)?;
        let visible = self.catalog.pin()?;
        Ok(CursorInfo {
            name: name.into(),
            position: Position(saved.position),
            event_id: (saved.position > 0).then(|| uuid::Uuid::from_bytes(saved.event).into()),
            saved_at: saved.saved_at,
            lag: if has_diverged { None } else { visible.0.checked_sub(saved.position) },
            has_diverged,
        })
    }

    /// The change that moves a cursor on.
    fn advance(&self, name: &str, position: Position) -> Result<Change> {
        if let Some(saved) = self.load_sound(name)?
            && position.0 < saved.position
        {
            let (name, saved) = (name.into(), Position(saved.position));
            return Err(Error::Cursor(CursorError::Backwards { name, position, saved }));
        }
        self.change_to(name, position)
    }

    fn change_to(&self, name: &str, position: Position) -> Result<Change> {
        let visible = self.catalog.pin()?;
        if position > visible {
            let name = name.into();
            return Err(Error::Cursor(CursorError::Ahead { name, position, visible }));
        }
        let saved = self.catalog.place_at(position, self.dir.now())?;
        Ok(change(name, &saved))
    }
}

impl std::fmt::Display for CursorInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cursor \"{}\" at position {}", shown(&self.name), self.position)?;
        match self.lag {
            Some(lag) => write!(f, ", {lag} behind"),
            None => f.write_str(", diverged"),
        }
    }
}

fn change(name: &str, saved: &SavedCursor) -> Change {
    Change { key: cursor_key(name).into(), value: Some(saved.encode().into()) }
}

fn removal(name: &str) -> Change {
    Change { key: cursor_key(name).into(), value: None }
}
