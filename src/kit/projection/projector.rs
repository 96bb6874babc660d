//! Running a projection behind the appends.

use std::time::{Duration, SystemTime};

use super::contract::{ChangesOf, Projection};
use super::lanes::stopped;
use super::projected::Projected;
use super::report::{Progress, ProjectionError, Step};
use super::settings::Settings;
use crate::error::{Error, Result, ViewError};
use crate::event::Event;
use crate::kit::view::{View, ViewChanges};
use crate::position::Position;
use crate::store::Store;
use crate::subscription::Subscription;
use crate::sync::{Arc, AtomicBool, Ordering};

/// The view of a projection.
type ViewOf<P> = View<<P as Projection>::Key, <P as Projection>::Value, <P as Projection>::Codec>;

/// Runs a [`Projection`] behind the appends: reads the events behind its view in batches, applies
/// them, and commits changes and position as one. Restarted after whatever ended it, it goes on
/// where the view stands: no event is missing in the view and none is in it twice.
///
/// It has no thread of its own: whoever calls [`step`](Self::step) or [`run`](Self::run) does the
/// work; [`spawn`](Self::spawn) starts a thread for that. Two projectors of one view do no harm,
/// but the one that is late gets [`ViewError::Moved`], which it answers by starting over from where
/// the view stands.
pub struct Projector<P: Projection> {
    store: Store,
    settings: Settings<P>,
    view: ViewOf<P>,
    /// The events behind the view, and where the view stood when the next of them was to come.
    events: Option<(Subscription, Position)>,
    is_paused: Arc<AtomicBool>,
    is_stopped: Arc<AtomicBool>,
    progress: Progress,
}

/// A projector that runs looks so often whether it is to stop or to go on.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl<P: Projection> Projector<P>
where
    ChangesOf<P>: Send,
{
    pub(super) fn new(store: Store, settings: Settings<P>, view: ViewOf<P>) -> Self {
        let start = Position::START;
        Self {
            store,
            settings,
            view,
            events: None,
            is_paused: Arc::default(),
            is_stopped: Arc::default(),
            progress: Progress { position: start, head: start, applied: 0, skipped: 0, parked: 0 },
        }
    }

    /// Its view.
    pub const fn view(&self) -> &ViewOf<P> {
        &self.view
    }

    pub(super) fn flags(&self) -> (Arc<AtomicBool>, Arc<AtomicBool>) {
        (Arc::clone(&self.is_stopped), Arc::clone(&self.is_paused))
    }

    /// Whether the next step does nothing.
    pub fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Acquire)
    }

    /// Lets steps do nothing, until it is resumed.
    pub fn pause(&self) {
        self.is_paused.store(true, Ordering::Release);
    }

    /// Lets steps work again.
    pub fn resume(&self) {
        self.is_paused.store(false, Ordering::Release);
    }

    /// How far it has come.
    ///
    /// # Errors
    ///
    /// As [`StoredView::position`](crate::StoredView::position).
    pub fn progress(&self) -> Result<Progress> {
        let (position, head) = (self.view.position()?, self.store.head());
        Ok(Progress { position, head, ..self.progress })
    }

    /// Applies a batch of what there is, without waiting for more. Durable when this returns.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Apply`] where the projection could not apply an event and
    /// [`OnError::Stop`](super::OnError::Stop) is what to do then: the view is complete up to the
    /// event before, and the next step tries again. [`ProjectionError::Store`] where the store
    /// could not be read, or the view not be changed: nothing of the batch was applied (behind
    /// [`Error::Unknown`] that is decided when the store is opened again).
    pub fn step(&mut self) -> Result<Step, ProjectionError> {
        if self.is_paused() {
            return Ok(Step::Paused);
        }
        let mut most = self.settings.batch;
        loop {
            let step = self.try_step(most);
            if step.is_err() {
                // From where the view stands, next time.
                self.events = None;
            }
            match step {
                // Somebody else has applied what comes next.
                Err(ProjectionError::Store(Error::View(ViewError::Moved { .. }))) => {}
                // More changes than fit one commit.
                Err(ProjectionError::Store(Error::LimitExceeded { .. })) if most > 1 => most /= 2,
                step => return step,
            }
        }
    }

    fn try_step(&mut self, most: usize) -> Result<Step, ProjectionError> {
        let from = self.view.position()?;
        let batch = self.next_batch(from, most)?;
        let Some((events, at)) = &mut self.events else { return Ok(Step::CaughtUp) };
        let mut upto = Subscription::position(events);
        if upto <= from {
            return Ok(Step::CaughtUp);
        }
        *at = upto;
        let replayed_to = self.replayed_to()?;
        let now = SystemTime::now().into();
        let new = || ViewChanges::new(self.view.stored().clone(), from);
        let mut changes = new();
        let lanes = match (self.settings.threads, batch.len()) {
            (2.., 2..) => self.settings.apply_lanes(&batch, replayed_to, now, &mut changes, new),
            _ => None,
        };
        let outcome = lanes.unwrap_or_else(|| {
            let events: Vec<&Event> = batch.iter().collect();
            self.settings.apply_all(&events, replayed_to, now, &mut changes)
        });
        if let Some((position, ..)) = &outcome.stopped {
            upto = Position(position.0 - 1);
        }
        if upto > from {
            self.view.commit(changes, upto)?;
        }
        self.progress.applied += outcome.applied;
        self.progress.skipped += outcome.skipped;
        self.progress.parked += outcome.parked;
        match outcome.stopped {
            Some(event) => Err(stopped(event)),
            None => Ok(Step::Applied { events: outcome.applied, upto }),
        }
    }

    /// The events that come next, behind where the view stands.
    fn next_batch(&mut self, from: Position, most: usize) -> Result<Vec<Event>> {
        // Where somebody else has moved the view, what would come is in it already.
        self.events.take_if(|(_, at)| *at != from);
        if self.events.is_none() {
            let query = self.settings.projection.query();
            let events = self.store.subscribe().matching(query).after(from).start()?;
            self.events = Some((events, from));
        }
        let mut batch = Vec::new();
        let Some((events, _)) = &mut self.events else { return Ok(batch) };
        while batch.len() < most
            && let Some(event) = events.try_next()?
        {
            batch.push(event);
        }
        Ok(batch)
    }

    /// Up to where a view has been before that this one is to replace.
    fn replayed_to(&self) -> Result<Position> {
        let name = self.settings.projection.name();
        if self.view.name() == name {
            return Ok(Position::START);
        }
        let Some(other) = self.store.view(name)? else { return Ok(Position::START) };
        match other.position() {
            // One that is damaged has been somewhere: everything that is there counts as seen.
            Err(e) if e.is_corruption() => Ok(self.store.head()),
            Err(Error::View(ViewError::Diverged { position, .. })) => Ok(position),
            position => position,
        }
    }

    /// Applies everything that is there when this is called, and maybe more.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub fn run_until_caught_up(&mut self) -> Result<Progress, ProjectionError> {
        self.run_with_progress(|_| {})
    }

    /// The same, and says how far it is behind each batch.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub fn run_with_progress(
        &mut self,
        mut say: impl FnMut(&Progress),
    ) -> Result<Progress, ProjectionError> {
        while let Step::Applied { .. } = self.step()? {
            say(&self.progress()?);
        }
        Ok(self.progress()?)
    }

    /// Applies events as they come, until it is [stopped](super::SpawnedProjector::stop) or the
    /// store is closed.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step), but for the end of the store.
    pub fn run(&mut self) -> Result<(), ProjectionError> {
        while !self.is_stopped.load(Ordering::Acquire) {
            match self.step() {
                Ok(Step::Applied { .. }) => {}
                Ok(Step::Paused) => std::thread::sleep(LOOK_EVERY),
                Ok(Step::CaughtUp) => self.wait()?,
                Err(ProjectionError::Store(Error::Closed)) => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Waits for an event, which the next step reads again.
    fn wait(&mut self) -> Result<()> {
        let Some((events, _)) = &mut self.events else { return Ok(()) };
        match events.next_timeout(LOOK_EVERY) {
            Ok(Some(_)) => {
                self.events = None;
                Ok(())
            }
            Ok(None) | Err(Error::Closed) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Applies a parked event now, behind what came after it, and takes the note of it back.
    /// `false` where it is not parked.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step): one that fails again stays parked.
    pub fn retry_parked(&mut self, position: Position) -> Result<bool, ProjectionError> {
        let stored = self.view.stored();
        if !stored.parked()?.iter().any(|parked| parked.position == position) {
            return Ok(false);
        }
        let Some(event) = self.store.event(position)? else { return Ok(false) };
        let from = self.view.position()?;
        let mut changes = ViewChanges::new(stored.clone(), from);
        let projected = Projected::stored_event(&event, position <= self.replayed_to()?);
        let applied = self.settings.apply_one(&projected, &mut changes);
        applied.map_err(|error| stopped((position, self.settings.attempts, error)))?;
        stored.commit(changes.into_update().unpark(position), from)?;
        Ok(true)
    }

    /// Lets the view that was built [beside](super::ProjectorBuilder::beside) take the name of the
    /// projection, and drops the one that had it: in one write. Whoever reads the name sees the old
    /// one before and this one after. It should have caught up first.
    ///
    /// # Errors
    ///
    /// As [`Store::rename_view`].
    pub fn switch(&mut self) -> Result<(), ProjectionError> {
        let name = self.settings.projection.name().to_owned();
        self.store.rename_view(self.view.name(), &name)?;
        self.view = View::create(&self.store, &name, self.settings.projection.schema())?;
        Ok(())
    }
}

impl<P: Projection> std::fmt::Debug for Projector<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Projector").field("view", &self.view.name()).finish_non_exhaustive()
    }
}
