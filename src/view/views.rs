//! The views of a store: their list, and changing them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::info::ViewInfo;
use super::update::ViewUpdate;
use crate::catalog::Catalog;
use crate::cursor::{Busy, Held, Moved};
use crate::error::{Error, Result, ViewError};
use crate::format::cursor::SavedCursor;
use crate::format::files::{STATE, StateFile};
use crate::format::view::{
    ListedView, PARKED_KEYS, PLACE_KEY, ViewPlace, entry_key, listed_key, listed_name,
    listed_prefix,
};
use crate::names::check_view_name;
use crate::position::Position;
use crate::state::{Change, Part, Range, Scan, changes_of_view};
use crate::storage::Dir;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, RwLock};
use crate::writer::{Writer, reentry};

/// The views of a store.
#[derive(Debug)]
pub(crate) struct Views {
    pub(super) dir: Dir,
    pub(super) catalog: Arc<Catalog>,
    /// Missing in a store that is open for reading only.
    writer: Option<Arc<Writer>>,
    /// The views by name, as far as the writer has used them.
    known: RwLock<BTreeMap<String, Arc<Resolved>>>,
    /// Where a follower has found a view last, if its event is that of the log.
    checked: Mutex<BTreeMap<[u8; 16], SavedCursor>>,
    busy: Busy,
    /// Held while the list changes.
    listing: Mutex<()>,
    moved: Moved,
}

/// What a name stands for.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) listed: ListedView,
    pub(super) part: Arc<Part>,
    /// Its event was found in the log. What is committed from then on is this log's own.
    is_sound: AtomicBool,
}

impl Views {
    pub(crate) fn new(dir: &Dir, catalog: &Arc<Catalog>, writer: Option<&Arc<Writer>>) -> Self {
        Self {
            dir: dir.clone(),
            catalog: Arc::clone(catalog),
            writer: writer.cloned(),
            known: RwLock::default(),
            checked: Mutex::default(),
            busy: Busy::default(),
            listing: Mutex::default(),
            moved: Moved::default(),
        }
    }

    /// Wakes whoever waits for a view. Nothing is committed any more.
    pub(crate) fn close(&self) {
        self.moved.close();
    }

    /// Says that views have moved.
    pub(crate) fn have_moved(&self) {
        self.moved.notify();
    }

    fn writer(&self) -> Result<&Writer> {
        let writer = self.writer.as_deref().ok_or(Error::ReadOnly)?;
        reentry::check(writer)?;
        Ok(writer)
    }

    /// What a name stands for; `None` where there is no such view.
    pub(super) fn resolve(&self, name: &str) -> Result<Option<Arc<Resolved>>> {
        check_view_name(name)?;
        self.moved.check_open()?;
        if let Some(resolved) = self.known.read().get(name) {
            return Ok(Some(Arc::clone(resolved)));
        }
        // Taken before the look: whoever changes the list changes what is known behind that.
        let mut known = self.known.write();
        let Some(value) = self.catalog.value(&listed_key(name))? else {
            return Ok(None);
        };
        let resolved = Arc::new(self.resolved(self.decode(&value)?, false));
        if self.writer.is_some() {
            known.insert(name.into(), Arc::clone(&resolved));
        }
        Ok(Some(resolved))
    }

    fn resolved(&self, listed: ListedView, is_sound: bool) -> Resolved {
        let part = self.catalog.state.view(listed.id);
        Resolved { listed, part, is_sound: AtomicBool::new(is_sound) }
    }

    fn decode(&self, value: &[u8]) -> Result<ListedView> {
        ListedView::decode(value).map_err(|invalid| invalid.at(&self.dir.path(STATE), 0))
    }

    /// A view that can be read, and where it stands.
    pub(super) fn sound(&self, name: &str) -> Result<(Arc<Resolved>, SavedCursor)> {
        let missing = || Error::View(ViewError::NotFound { name: name.into() });
        let resolved = self.resolve(name)?.ok_or_else(missing)?;
        let (stands, has_diverged) = self.stands(&resolved)?;
        if has_diverged {
            let (name, position) = (name.into(), Position(stands.position));
            return Err(Error::View(ViewError::Diverged { name, position }));
        }
        Ok((resolved, stands))
    }

    /// Where a view stands, and whether the log has another event there; or why that cannot be
    /// known.
    fn stands(&self, resolved: &Resolved) -> Result<(SavedCursor, bool)> {
        let Resolved { listed, part, is_sound } = resolved;
        part.load()?;
        // What the file has may be ahead of what a follower has seen.
        self.catalog.refresh()?;
        let (stands, doubt) = part.stands();
        if let Some(doubt) = doubt {
            return Err(doubt);
        }
        let is_known = |stands: &SavedCursor| match self.writer {
            Some(_) => is_sound.load(Ordering::Acquire),
            None => self.checked.lock().get(&listed.id) == Some(stands),
        };
        if let Some(stands) = stands.filter(is_known) {
            return Ok((stands, false));
        }
        // One that was created has a place, so its file is gone, or another one's.
        let lost = || {
            let path = self.dir.path(&StateFile::View(listed.id).path(1));
            Error::corrupt(path, 0, "the file of the view", "none, or that of another one")
        };
        let place = part.find(&PLACE_KEY)?.ok_or_else(lost)?;
        let place = ViewPlace::decode(&place).map_err(|e| e.at(&self.dir.path(STATE), 0))?;
        let stands = stands.filter(|_| place.id == listed.id).ok_or_else(lost)?;
        if self.catalog.has_diverged(&stands)? {
            return Ok((stands, true));
        }
        is_sound.store(true, Ordering::Release);
        if self.writer.is_none() {
            self.checked.lock().insert(listed.id, stands);
        }
        Ok((stands, false))
    }

    pub(super) fn info(&self, name: &str) -> Result<Option<ViewInfo>> {
        self.resolve(name)?.map(|resolved| self.info_of(name, &resolved)).transpose()
    }

    fn info_of(&self, name: &str, resolved: &Resolved) -> Result<ViewInfo> {
        let (at, has_diverged) = self.stands(resolved)?;
        let visible = self.catalog.pin()?;
        let entry_bytes = |(entries, bytes): (u64, u64)| (entries, bytes - entries);
        let (entries, bytes) = entry_bytes(resolved.part.measure(&Range::prefix(&entry_key(b""))));
        Ok(ViewInfo {
            name: name.into(),
            schema: resolved.listed.schema,
            position: Position(at.position),
            event_id: (at.position > 0).then(|| uuid::Uuid::from_bytes(at.event).into()),
            committed_at: at.saved_at,
            lag: if has_diverged { None } else { visible.0.checked_sub(at.position) },
            has_diverged,
            entries,
            bytes,
            parked: resolved.part.measure(&Range::prefix(&PARKED_KEYS)).0,
        })
    }

    /// All views by name. What cannot be read is an error in its place; one at the end says that
    /// there may be more.
    pub(crate) fn list(&self) -> Result<Vec<Result<ViewInfo>>> {
        self.moved.check_open()?;
        let Scan { entries, doubt } = self.catalog.state.values.scan(&listed_prefix())?;
        let info = |key: &[u8], value: Result<Arc<[u8]>>| {
            let name = listed_name(key)?;
            let resolved = value.and_then(|_| self.resolve(name)).transpose()?;
            Some(resolved.and_then(|resolved| self.info_of(name, &resolved)))
        };
        let mut list: Vec<_> =
            entries.into_iter().filter_map(|(key, value)| info(&key, value)).collect();
        list.extend(doubt.map(Err));
        Ok(list)
    }

    /// Opens a view, or creates it.
    pub(crate) fn create(&self, name: &str, schema: u32) -> Result<()> {
        let _held = self.hold([name])?;
        match self.resolve(name)?.map(|resolved| resolved.listed.schema) {
            Some(found) if found == schema => Ok(()),
            Some(found) => {
                let name = name.into();
                Err(Error::View(ViewError::OtherSchema { name, expected: schema, found }))
            }
            None => self.begin(name, schema),
        }
    }

    /// Empties a view, whatever it was.
    pub(crate) fn reset(&self, name: &str, schema: u32) -> Result<()> {
        let _held = self.hold([name])?;
        self.begin(name, schema)
    }

    /// Puts a new, empty view under a name. One that was there goes.
    fn begin(&self, name: &str, schema: u32) -> Result<()> {
        let _listing = self.listing.lock();
        let now = self.dir.now();
        let listed = ListedView { id: self.dir.random()?, schema, created_at: now };
        let resolved = Arc::new(self.resolved(listed, true));
        let at = SavedCursor { saved_at: now, ..SavedCursor::default() };
        // The file first: a view in the list without one is damaged.
        let begun = resolved.part.write(vec![place_change(&listed.id, at)], 0);
        begun?;
        self.write_list(vec![listing(name, &listed)])?;
        self.known.write().insert(name.into(), resolved);
        self.moved.notify();
        // What is left over does no harm, and is looked for again.
        let _ = self.catalog.state.remove_leftovers();
        Ok(())
    }

    /// `false` where there is none.
    pub(crate) fn delete(&self, name: &str) -> Result<bool> {
        let _held = self.hold([name])?;
        // One that cannot be read can be deleted all the same.
        if matches!(self.resolve(name), Ok(None)) {
            return Ok(false);
        }
        let _listing = self.listing.lock();
        let key = listed_key(name).into();
        self.write_list(vec![Change { key, value: None }])?;
        self.known.write().remove(name);
        self.moved.notify();
        let _ = self.catalog.state.remove_leftovers();
        Ok(true)
    }

    /// Gives a view another name, from which the view that has it goes.
    pub(crate) fn rename(&self, old: &str, new: &str) -> Result<()> {
        let _held = self.hold([old, new])?;
        let missing = || Error::View(ViewError::NotFound { name: old.into() });
        let resolved = self.resolve(old)?.ok_or_else(missing)?;
        if old == new {
            return Ok(());
        }
        let _listing = self.listing.lock();
        let removal = Change { key: listed_key(old).into(), value: None };
        self.write_list(vec![removal, listing(new, &resolved.listed)])?;
        {
            let mut known = self.known.write();
            known.remove(old);
            known.insert(new.into(), resolved);
        }
        self.moved.notify();
        let _ = self.catalog.state.remove_leftovers();
        Ok(())
    }

    fn write_list(&self, changes: Vec<Change>) -> Result<()> {
        let values = &self.catalog.state.values;
        self.make_durable(Position(values.pending_up_to()))?;
        values.write(changes, self.catalog.watermark.durable().0)
    }

    fn make_durable(&self, upto: Position) -> Result<()> {
        if self.catalog.watermark.durable() < upto {
            self.writer()?.core().sync()?;
        }
        Ok(())
    }

    /// Commits changes of a view, which is complete up to a position with them.
    pub(super) fn commit(&self, update: &ViewUpdate, upto: Position) -> Result<()> {
        let _held = self.hold([update.name.as_str()])?;
        let (resolved, stands) = self.ready(update)?;
        let (name, actual) = (update.name.clone(), Position(stands.position));
        let visible = self.catalog.pin()?;
        if upto < actual {
            return Err(Error::View(ViewError::Backwards { name, position: upto, actual }));
        }
        if upto > visible {
            return Err(Error::View(ViewError::Ahead { name, position: upto, visible }));
        }
        let mut changes = update.changes()?;
        let at = self.catalog.place_at(upto, self.dir.now())?;
        changes.push(place_change(&resolved.listed.id, at));
        self.make_durable(upto.max(Position(resolved.part.pending_up_to())))?;
        resolved.part.write(changes, self.catalog.watermark.durable().0)?;
        self.moved.notify();
        Ok(())
    }

    /// The view of an update, if it stands where the update was made from.
    fn ready(&self, update: &ViewUpdate) -> Result<(Arc<Resolved>, SavedCursor)> {
        let (resolved, stands) = self.sound(&update.name)?;
        let name = || update.name.clone();
        if resolved.listed.id != update.id {
            return Err(Error::View(ViewError::Replaced { name: name() }));
        }
        let (expected, actual) = (update.from, Position(stands.position));
        if expected != actual {
            return Err(Error::View(ViewError::Moved { name: name(), expected, actual }));
        }
        Ok((resolved, stands))
    }

    /// The right to change views in a batch, and the changes. None where the batch was made before:
    /// then its events brought the changes with them, or whoever folds them still will.
    pub(crate) fn in_batch(
        &self,
        updates: &[ViewUpdate],
        was_made: impl FnOnce() -> bool,
    ) -> Result<(Held<'_>, Vec<Change>)> {
        let held = self.hold(updates.iter().map(|update| update.name.as_str()))?;
        if held.len() < updates.len() {
            let why = "a batch changes a view twice".into();
            return Err(Error::InvalidOptions { why });
        }
        if was_made() {
            return Ok((held, Vec::new()));
        }
        let mut all = Vec::new();
        for update in updates {
            let (resolved, stands) = self.ready(update)?;
            all.extend(changes_of_view(&resolved.listed.id, &stands, &update.changes()?));
        }
        Ok((held, all))
    }

    /// The right to change views; waits for whoever changes them.
    fn hold<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<Held<'_>> {
        self.writer()?;
        self.moved.check_open()?;
        let names: BTreeSet<String> = names.into_iter().map(str::to_owned).collect();
        names.iter().try_for_each(|name| check_view_name(name))?;
        self.busy.hold(names, |_| Ok(()))
    }

    /// `true` once the view is complete up to a position, `false` when the time is up.
    pub(crate) fn wait_for(&self, name: &str, upto: Position, timeout: Duration) -> Result<bool> {
        self.writer()?;
        // A time that the clock cannot express never comes.
        let until = Instant::now().checked_add(timeout);
        loop {
            // Before the look: a change behind it ends the wait at once.
            let seen = self.moved.changes()?;
            if self.sound(name)?.1.position >= upto.0 {
                return Ok(true);
            }
            if !self.moved.wait(seen, until) {
                return Ok(false);
            }
        }
    }
}

fn listing(name: &str, listed: &ListedView) -> Change {
    Change { key: listed_key(name).into(), value: Some(listed.encode().into()) }
}

fn place_change(id: &[u8; 16], at: SavedCursor) -> Change {
    let place = ViewPlace { id: *id, at };
    Change { key: Arc::from(PLACE_KEY), value: Some(place.encode().into()) }
}
