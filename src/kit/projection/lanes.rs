//! Applying a batch of events: one after the other, or the lanes of it at the same time.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::contract::{ApplyError, ChangesOf, Projection};
use super::projected::Projected;
use super::report::{OnError, ProjectionError};
use super::settings::Settings;
use crate::event::Event;
use crate::position::{Position, Timestamp};

/// What became of a batch.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) applied: u64,
    pub(super) skipped: u64,
    pub(super) parked: u64,
    /// The first event that ends the projection; what is before it was applied.
    pub(super) stopped: Option<(Position, u32, ApplyError)>,
}

/// The longest wait between two attempts, in times the first.
const MOST_BACKOFF: u32 = 1000;

impl<P: Projection> Settings<P> {
    /// Applies events to changes, in order, up to the first that ends the projection.
    pub(super) fn apply_all(
        &self,
        events: &[&Event],
        replayed_to: Position,
        now: Timestamp,
        changes: &mut ChangesOf<P>,
    ) -> Outcome {
        let mut outcome = Outcome { applied: 0, skipped: 0, parked: 0, stopped: None };
        for event in events {
            let projected = Projected::stored_event(event, event.position() <= replayed_to);
            let error = match self.apply_one(&projected, changes) {
                Ok(()) => {
                    outcome.applied += 1;
                    continue;
                }
                Err(error) => error,
            };
            match self.on_error {
                OnError::Stop => {
                    outcome.stopped = Some((event.position(), self.attempts, error));
                    return outcome;
                }
                OnError::Skip => outcome.skipped += 1,
                OnError::Park => {
                    outcome.parked += 1;
                    changes.park((*event).clone(), self.attempts, now, error.to_string());
                }
            }
            outcome.applied += 1;
        }
        outcome
    }

    /// Applies one event, as often as it may be tried.
    pub(super) fn apply_one(
        &self,
        event: &Projected<'_>,
        changes: &mut ChangesOf<P>,
    ) -> Result<(), ApplyError> {
        let mut wait = self.backoff;
        let mut attempt = 1;
        loop {
            changes.mark();
            let Err(error) = self.apply_once(event, changes) else { return Ok(()) };
            changes.undo();
            if attempt == self.attempts {
                return Err(error);
            }
            attempt += 1;
            std::thread::sleep(wait);
            let most = self.backoff.saturating_mul(MOST_BACKOFF);
            wait = wait.saturating_mul(2).min(most).max(Duration::ZERO);
        }
    }

    fn apply_once(
        &self,
        event: &Projected<'_>,
        changes: &mut ChangesOf<P>,
    ) -> Result<(), ApplyError> {
        let lifted = self.lift.as_ref().map_or(Ok(None), |lift| lift(event))?;
        match lifted {
            None => self.projection.apply(event, changes),
            Some(parts) => parts
                .iter()
                .try_for_each(|part| self.projection.apply(&event.lifted_to(part), changes)),
        }
    }

    /// Applies the lanes of a batch on several threads. `None` where that did not work out: lanes
    /// met in a key, or an event ends the projection, and it has to be known what is before it.
    pub(super) fn apply_lanes(
        &self,
        events: &[Event],
        replayed_to: Position,
        now: Timestamp,
        changes: &mut ChangesOf<P>,
        new: impl Fn() -> ChangesOf<P>,
    ) -> Option<Outcome>
    where
        ChangesOf<P>: Send,
    {
        let mut lanes: Vec<Vec<&Event>> = vec![Vec::new(); self.threads];
        for event in events {
            let projected = Projected::stored_event(event, false);
            let mut hasher = DefaultHasher::new();
            self.projection.lane(&projected).hash(&mut hasher);
            let at = usize::try_from(hasher.finish() % self.threads as u64).unwrap_or_default();
            lanes.get_mut(at)?.push(event);
        }
        let work = |lane: &[&Event], mut changes: ChangesOf<P>| {
            let outcome = self.apply_all(lane, replayed_to, now, &mut changes);
            (outcome, changes)
        };
        let done: Option<Vec<(Outcome, ChangesOf<P>)>> = std::thread::scope(|scope| {
            let busy = lanes.iter().filter(|lane| !lane.is_empty());
            let threads: Vec<_> = busy
                .map(|lane| {
                    let own = new();
                    scope.spawn(move || work(lane, own))
                })
                .collect();
            // A panic comes again in the thread that asked, when the batch is applied by it alone.
            threads.into_iter().map(|thread| thread.join().ok()).collect()
        });
        let mut whole = Outcome { applied: 0, skipped: 0, parked: 0, stopped: None };
        let mut all = Vec::new();
        for (outcome, changes) in done? {
            if outcome.stopped.is_some() {
                return None;
            }
            whole.applied += outcome.applied;
            whole.skipped += outcome.skipped;
            whole.parked += outcome.parked;
            all.push(changes);
        }
        changes.join(all).then_some(whole)
    }
}

/// What ended a projection.
pub(super) fn stopped((position, attempts, error): (Position, u32, ApplyError)) -> ProjectionError {
    ProjectionError::Apply { position: Some(position), attempts, error }
}
