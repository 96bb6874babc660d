//! What a store that is open for writing has: how a request, once prepared, is committed.

use crate::catalog::Catalog;
use crate::cursor::Cursors;
use crate::error::{Error, Result};
use crate::event::Done;
use crate::open::Locks;
use crate::options::{Durability, Limits};
use crate::position::Position;
use crate::sync::{Arc, Mutex};
use crate::upkeep::Upkeep;
use crate::view::{ViewUpdate, Views};
use crate::writer::{Condition, Part, Request, Writer};

/// What is saved with the events of a batch.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    pub(crate) saves: Vec<(String, Position)>,
    pub(crate) updates: Vec<ViewUpdate>,
}

impl Beside {
    pub(crate) const fn is_empty(&self) -> bool {
        self.saves.is_empty() && self.updates.is_empty()
    }
}

/// The parts of a store that only a writing handle has.
#[derive(Debug)]
pub(crate) struct Writing {
    pub(super) catalog: Arc<Catalog>,
    pub(super) cursors: Arc<Cursors>,
    pub(super) views: Arc<Views>,
    pub(super) limits: Limits,
    pub(super) writer: Arc<Writer>,
    pub(super) upkeep: Upkeep,
    pub(super) locks: Mutex<Option<Locks>>,
}

impl Writing {
    /// Checks and encodes, without looking at anything on disk.
    pub(crate) fn prepare(
        &self,
        parts: &mut [Part],
        conditions: Vec<Condition>,
        durability: Option<Durability>,
    ) -> Result<Box<Request>> {
        let request = Request::prepare(parts, conditions, durability, &self.limits)?;
        // Before anything is looked up, which on a closed store may fail otherwise.
        if self.writer.is_closed() { Err(Error::Closed) } else { Ok(request) }
    }

    /// Looks up what a request names.
    pub(super) fn look_up(&self, request: &mut Request) -> Result<()> {
        request.look_up(&self.catalog).map_err(Error::not_written)
    }

    /// Commits a request, and with its events whatever is saved beside.
    pub(crate) fn commit(&self, mut request: Box<Request>, beside: &Beside) -> Result<Done> {
        self.look_up(&mut request)?;
        let Beside { saves, updates } = beside;
        if beside.is_empty() {
            let answer = self.writer.submit(request);
            self.upkeep.after_commit();
            return answer;
        }
        let (cursors, views) = (&self.cursors, &self.views);
        let (_held_cursors, cursor_changes) = cursors.in_batch(saves, || request.is_stored())?;
        let (_held_views, view_changes) = views.in_batch(updates, || request.is_stored())?;
        let saved = cursor_changes.unwrap_or_default();
        request.add_state([saved.clone(), view_changes].concat(), &self.limits)?;
        let done = self.writer.submit(request);
        self.upkeep.after_commit();
        let done = done?;
        if done.iter().all(|done| done.deduplicated) && !saved.is_empty() {
            // The events were there already, so what was to be saved with them went nowhere. Views
            // stay where they are: they did not stand at these events.
            let upto = saves.iter().map(|(_, position)| *position).max().unwrap_or_default();
            cursors.write(saved, upto)?;
        }
        cursors.have_moved();
        views.have_moved();
        Ok(done)
    }
}
