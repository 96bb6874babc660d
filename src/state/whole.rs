//! All parts of a store's state.

use std::collections::{BTreeMap, BTreeSet};

use super::change::Change;
use super::frames::Written;
use super::home::Home;
use super::part::{Part, Scan};

use crate::error::{Error, Result};
use crate::event::Event;
use crate::format::cursor::SavedCursor;
use crate::format::files::{STATE, StateFile};
use crate::format::view::{ListedView, PLACE_KEY, ViewPlace, in_frame, listed_prefix, of_frame};
use crate::position::Timestamp;
use crate::storage::Dir;
use crate::sync::{Arc, Ordering, RwLock};

/// A follower keeps at most so many bytes of state writes that the files do not have.
const FOLLOWER_BYTES: usize = 32 << 20;

/// A random id.
type ViewId = [u8; 16];

/// The last event of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameEnd {
    pub(crate) position: u64,
    pub(crate) event: [u8; 16],
    pub(crate) time: Timestamp,
}

impl FrameEnd {
    pub(crate) fn of(last: &Event) -> Self {
        let event = uuid::Uuid::from(last.id()).into_bytes();
        Self { position: last.position().0, event, time: last.committed_at() }
    }

    /// As the place of a consumer that has processed it.
    const fn place(&self) -> SavedCursor {
        let Self { position, event, time } = *self;
        SavedCursor { position, event, event_time: time, saved_at: time }
    }
}

/// The state of a store: each part in a file of its own, so that damage of one, or rewriting it,
/// leaves the others alone.
#[derive(Debug)]
pub(crate) struct State {
    home: Home,
    /// Cursors, and the list of views.
    pub(crate) values: Part,
    pub(crate) snapshots: Part,
    /// The views that were used, or that frames write to.
    views: RwLock<BTreeMap<ViewId, Arc<Part>>>,
}

impl State {
    /// The state of a store, with the state writes of frames that no index file covers, oldest
    /// first. `damage` is what keeps the frames up to a position from being looked through.
    pub(crate) fn new(
        home: Home,
        found: Vec<(FrameEnd, Vec<Change>)>,
        damage: Option<(u64, Error)>,
    ) -> Self {
        let state = Self {
            values: Part::new(&home, StateFile::Values, damage),
            // Frames have none of them.
            snapshots: Part::new(&home, StateFile::Snapshots, None),
            views: RwLock::default(),
            home,
        };
        for (end, changes) in found {
            state.apply(&end, changes);
        }
        state
    }

    /// Takes note of the state writes of a frame. Called in the order of the log, before the frame
    /// becomes visible or the durable mark passes it. Does no I/O and waits for none.
    pub(crate) fn apply(&self, end: &FrameEnd, changes: Vec<Change>) {
        let position = end.position;
        let mut plain = Vec::new();
        let mut views: BTreeMap<ViewId, (Option<SavedCursor>, Vec<Change>)> = BTreeMap::new();
        for change in changes {
            let Some((id, key)) = of_frame(&change.key) else {
                plain.push(change);
                continue;
            };
            let (before, writes) = views.entry(id).or_default();
            if *key == PLACE_KEY {
                let place = change.value.as_deref().map(SavedCursor::decode);
                *before = place.and_then(Result::ok);
            } else {
                writes.push(Change { key: Arc::from(key), value: change.value });
            }
        }
        if !plain.is_empty() {
            self.values.apply(Written { position, link: None, changes: plain });
        }
        for (id, (before, mut changes)) in views {
            // No writer leaves it out.
            let Some(before) = before else { continue };
            let behind = end.place();
            let place = ViewPlace { id, at: behind }.encode();
            changes.push(Change { key: Arc::from(PLACE_KEY), value: Some(place.into()) });
            let written = Written { position, link: Some((before, behind)), changes };
            self.view(id).apply(written);
        }
    }

    /// The part of a view. Where frames are lost that write to it, it stands before them: the
    /// writes of later ones do not follow.
    pub(crate) fn view(&self, id: ViewId) -> Arc<Part> {
        if let Some(part) = self.views.read().get(&id) {
            return Arc::clone(part);
        }
        let new = || Arc::new(Part::new(&self.home, StateFile::View(id), None));
        Arc::clone(self.views.write().entry(id).or_insert_with(new))
    }

    /// For followers: the log goes up to here now.
    pub(crate) fn log_grew(&self, end: u64) {
        self.home.log_end.store(end, Ordering::Release);
        self.values.settle();
        self.values.trim(FOLLOWER_BYTES);
        let views: Vec<_> = self.views.read().values().cloned().collect();
        for view in views {
            view.trim(FOLLOWER_BYTES);
        }
    }

    /// Saves the state writes of frames up to the durable mark. Nothing to do where all are saved.
    pub(crate) fn save(&self, durable: u64) -> Result<()> {
        let mut saved = self.values.save(durable);
        let waiting: Vec<(ViewId, Arc<Part>)> = {
            let views = self.views.read();
            let waits = views.iter().filter(|(_, view)| view.pending_up_to() > 0);
            waits.map(|(id, view)| (*id, Arc::clone(view))).collect()
        };
        if waiting.is_empty() {
            return saved;
        }
        let listed = self.listed();
        for (id, view) in waiting {
            if listed.as_ref().is_none_or(|listed| listed.contains(&id)) {
                // One that fails does not keep the others from being saved.
                let one = view.save(durable);
                saved = saved.and(one);
            } else {
                // It was deleted behind the frames.
                self.views.write().remove(&id);
            }
        }
        saved
    }

    /// Saves what is left, and marks the files as durable, so that the next opening goes on in
    /// them.
    pub(crate) fn close(&self, durable: u64) -> Result<()> {
        let saved = self.save(durable);
        let views: Vec<_> = self.views.read().values().cloned().collect();
        let parts = [&self.values, &self.snapshots].into_iter().chain(views.iter().map(|v| &**v));
        let closed: Vec<Result<()>> = parts.map(|part| part.close(durable)).collect();
        closed.into_iter().fold(saved, Result::and)
    }

    /// The ids of all views; `None` where there may be more.
    fn listed(&self) -> Option<BTreeSet<ViewId>> {
        let Scan { entries, doubt } = self.values.scan(&listed_prefix()).ok()?;
        let id =
            |(_, value): (_, Result<Arc<[u8]>>)| Some(ListedView::decode(&value.ok()?).ok()?.id);
        let ids: Option<BTreeSet<ViewId>> = entries.into_iter().map(id).collect();
        ids.filter(|_| doubt.is_none())
    }

    /// Removes the files of views that are in no list, left by interruptions. Nothing is removed
    /// where the list cannot be relied on.
    pub(crate) fn remove_leftovers(&self) -> Result<()> {
        let Some(listed) = self.listed() else { return Ok(()) };
        // Whoever reads one still has its keys, and its file open.
        self.views.write().retain(|id, _| listed.contains(id));
        self.remove_files(|id| !listed.contains(id))
    }

    fn remove_files(&self, is_gone: impl Fn(&ViewId) -> bool) -> Result<()> {
        let dir: &Dir = &self.home.dir;
        for name in dir.list(STATE)? {
            let file = StateFile::parse(&name).map(|(file, _)| file);
            if let Some(StateFile::View(id)) = file.or_else(|| StateFile::parse_temporary(&name))
                && is_gone(&id)
            {
                dir.remove(&format!("{STATE}/{name}"))?;
            }
        }
        Ok(())
    }
}

/// The changes of a frame that write to a view, which stands at a place: what it gets, and where it
/// stood.
pub(crate) fn changes_of_view(
    id: &ViewId,
    before: &SavedCursor,
    changes: &[Change],
) -> Vec<Change> {
    let of = |key: &[u8], value| Change { key: in_frame(id, key).into(), value };
    let writes = changes.iter().map(|change| of(&change.key, change.value.clone()));
    std::iter::once(of(&PLACE_KEY, Some(before.encode().into()))).chain(writes).collect()
}
