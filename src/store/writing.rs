//! What a store that is open for writing has: how a request, once prepared, is committed.

use crate::catalog::Catalog;
use crate::cursor::Cursors;
use crate::error::{Error, Result};
use crate::event::Appended;
use crate::open::Locks;
use crate::options::{Durability, Limits};
use crate::position::Position;
use crate::sync::{Arc, Mutex};
use crate::upkeep::Upkeep;
use crate::writer::{Condition, Part, Request, Writer};

/// The parts of a store that only a writing handle has.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) catalog: Arc<Catalog>,
    pub(super) cursors: Arc<Cursors>,
    pub(super) limits: Limits,
    pub(super) writer: Arc<Writer>,
    pub(super) upkeep: Upkeep,
    pub(super) locks: Mutex<Option<Locks>>,
}

impl Writing {
    /// Checks and encodes, without looking at anything on disk.
    pub(super) fn prepare(
        &self,
        parts: Vec<Part>,
        conditions: Vec<Condition>,
        durability: Option<Durability>,
    ) -> Result<Request> {
        let request = Request::prepare(parts, conditions, durability, &self.limits)?;
        if self.writer.is_closed() { Err(Error::Closed) } else { Ok(request) }
    }

    /// Looks up what a request names.
    pub(super) fn look_up(&self, request: &mut Request) -> Result<()> {
        request.look_up(&self.catalog).map_err(Error::not_written)
    }

    /// Commits a request, and saves cursors with its events.
    pub(super) fn commit(
        &self,
        mut request: Request,
        saves: &[(String, Position)],
    ) -> Result<Vec<Appended>> {
        self.look_up(&mut request)?;
        if saves.is_empty() {
            let answer = self.writer.submit(request);
            self.upkeep.after_commit();
            return answer;
        }
        let cursors = &self.cursors;
        let (_held, changes) = cursors.in_batch(saves, || request.is_stored())?;
        let changes = changes.unwrap_or_default();
        request.add_state(changes.clone(), &self.limits)?;
        let done = self.writer.submit(request);
        self.upkeep.after_commit();
        let done = done?;
        if done.iter().all(|done| done.deduplicated) && !changes.is_empty() {
            // The events were there already, so what was to be saved with them went nowhere.
            let upto = saves.iter().map(|(_, position)| *position).max().unwrap_or_default();
            cursors.write(changes, upto)?;
        }
        cursors.have_moved();
        Ok(done)
    }
}
