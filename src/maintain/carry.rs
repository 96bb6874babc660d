//! What a repair keeps of a store's state: the cursors and views that stand where nothing has
//! moved.

use crate::error::Result;
use crate::format::cursor::{SavedCursor, cursor_name, cursor_prefix};
use crate::format::view::{ListedView, listed_name, listed_prefix};
use crate::options::ReadMode;
use crate::position::Position;
use crate::state::Scan;
use crate::storage::Dir;
use crate::store::Store;
use crate::sync::Arc;
use crate::view::StoredView;

/// So many bytes and entries of a view are in one commit.
const COMMIT_BYTES: usize = 1 << 20;
const COMMIT_ENTRIES: usize = 4096;

/// What a repair keeps beside events.
///
/// A cursor or a view is kept where everything up to its position survives at the same positions,
/// so that what it stands for is the same in the new store. Snapshots are not: they are folded
/// again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptState {
    /// The names of the cursors, in order.
    pub cursors: Vec<String>,
    /// The names of the views, in order. Each stands where it stood.
    pub views: Vec<String>,
    /// What is not in the new store.
    pub left: Vec<LeftBehind>,
}

/// A cursor or a view that is not in the new store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftBehind {
    /// A cursor. The new one has to be set to what the report says of its position.
    Cursor {
        /// Its name.
        name: String,
        /// Where it stands in the old store; `None` where that cannot be read.
        position: Option<Position>,
    },
    /// A view that stands behind a lost event, or that is damaged. It is to be built again from the
    /// events of the new store.
    View {
        /// Its name.
        name: String,
        /// Where it stands in the old store; `None` where that cannot be read.
        position: Option<Position>,
    },
    /// There may be more cursors than those that are named: where they stand cannot be read.
    UnreadableCursors,
    /// There may be more views than those that are named.
    UnreadableViews,
}

/// Carries what stands up to a position into the new store, or only says what would be.
pub(super) fn carry(from: &Dir, unmoved: Position, target: Option<&Store>) -> Result<KeptState> {
    let options = Store::options().read_mode(ReadMode::Positional);
    let kept = KeptState::default();
    let mut carrying = match options.open_read_only_in(from) {
        Ok(store) => Carrying { store, unmoved, target, kept },
        // What cannot be read is left, whatever the reason: the events are what counts.
        Err(_) => {
            let left = vec![LeftBehind::UnreadableCursors, LeftBehind::UnreadableViews];
            return Ok(KeptState { left, ..kept });
        }
    };
    carrying.cursors()?;
    carrying.views()?;
    Ok(carrying.kept)
}

struct Carrying<'a> {
    store: Store,
    unmoved: Position,
    target: Option<&'a Store>,
    kept: KeptState,
}

impl Carrying<'_> {
    fn cursors(&mut self) -> Result<()> {
        let Some(entries) = self.scan(&cursor_prefix(), LeftBehind::UnreadableCursors) else {
            return Ok(());
        };
        for (key, value) in entries {
            let Some(name) = cursor_name(&key).map(str::to_owned) else { continue };
            let saved = value.ok().and_then(|value| SavedCursor::decode(&value).ok());
            let position = saved.map(|saved| Position(saved.position));
            // Where it stands behind a lost event, that event is not looked for.
            let is_sound = |position: &Position| {
                *position <= self.unmoved
                    && matches!(self.store.cursor(&name), Ok(Some(info)) if !info.has_diverged)
            };
            let Some(kept) = position.filter(is_sound) else {
                self.kept.left.push(LeftBehind::Cursor { name, position });
                continue;
            };
            if let Some(target) = self.target {
                target.save_cursor(&name, kept)?;
            }
            self.kept.cursors.push(name);
        }
        Ok(())
    }

    fn views(&mut self) -> Result<()> {
        let Some(entries) = self.scan(&listed_prefix(), LeftBehind::UnreadableViews) else {
            return Ok(());
        };
        for (key, value) in entries {
            let Some(name) = listed_name(&key).map(str::to_owned) else { continue };
            let listed = value.ok().and_then(|value| ListedView::decode(&value).ok());
            let position = listed.and_then(|listed| self.stands(&listed));
            let stays = position.is_some_and(|position| position <= self.unmoved);
            let view = self.store.view(&name).ok().flatten();
            let Some(view) = view.filter(|view| stays && is_whole(view)) else {
                self.kept.left.push(LeftBehind::View { name, position });
                continue;
            };
            if let Some(target) = self.target {
                copy(&view, target)?;
            }
            self.kept.views.push(name);
        }
        Ok(())
    }

    /// The values of a kind. Takes note where there may be more.
    fn scan(&mut self, prefix: &[u8], unreadable: LeftBehind) -> Option<Entries> {
        let found = self.store.catalog().state.values.scan(prefix);
        let (entries, doubt) =
            found.map_or((None, true), |Scan { entries, doubt }| (Some(entries), doubt.is_some()));
        if doubt {
            self.kept.left.push(unreadable);
        }
        entries
    }

    /// Where a view stands, whether or not the event there can be read.
    fn stands(&self, listed: &ListedView) -> Option<Position> {
        let part = self.store.catalog().state.view(listed.id);
        part.load().ok()?;
        part.stands().0.map(|stands| Position(stands.position))
    }
}

/// Keys and values.
type Entries = Vec<(Arc<[u8]>, Result<Arc<[u8]>>)>;

/// Whether all of a view can be read, and is of this log.
fn is_whole(view: &StoredView) -> bool {
    let entries = view.scan().read();
    entries.is_ok_and(|mut entries| entries.all(|entry| entry.is_ok())) && view.parked().is_ok()
}

/// Writes a view to the new store. Before the last commit it stands at the beginning, but nobody
/// reads the new store before the repair is over.
fn copy(view: &StoredView, target: &Store) -> Result<()> {
    let new = target.create_view(view.name(), view.schema())?;
    let start = Position::START;
    let (mut update, mut bytes) = (new.update(start), 0);
    for entry in view.scan().read()? {
        let (key, value) = entry?;
        bytes += key.len() + value.len();
        update = update.put(key, value.to_vec());
        if bytes > COMMIT_BYTES || update.len() >= COMMIT_ENTRIES {
            new.commit(update, start)?;
            (update, bytes) = (new.update(start), 0);
        }
    }
    for parked in view.parked()? {
        let (position, id) = (parked.position, parked.event_id);
        update = update.park(position, id, parked.attempts, parked.parked_at, parked.reason);
        if update.len() >= COMMIT_ENTRIES {
            new.commit(update, start)?;
            update = new.update(start);
        }
    }
    new.commit(update, view.position()?)
}
