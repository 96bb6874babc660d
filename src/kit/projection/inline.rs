//! Running a projection in the commits of appends.

use super::contract::{ApplyError, ChangesOf, Projection};
use super::lanes::stopped;
use super::projected::{LiftedPayload, Projected};
use super::report::{OnError, ProjectionError};
use super::settings::Settings;
use crate::error::{Error, Result, ViewError};
use crate::event::{Appended, Event};
use crate::kit::view::{View, ViewChanges};
use crate::new_event::NewEvent;
use crate::position::{ExpectedVersion, Position};
use crate::store::Store;

/// An append is tried so often where others come between.
const TRIES: usize = 64;
/// With more events behind the view than this, they are applied before the append and not in it.
const MOST_IN_APPEND: usize = 256;

/// Runs a [`Projection`] in the commits of the appends that go through it: whoever reads the view
/// behind such an append sees it there, and neither is there without the other.
///
/// Events that others append without it are applied with the next append that goes through it, or
/// by a [`Projector`](super::Projector) of the same projection, so the view is always the fold of
/// the events up to its position. Each append is a commit of its own: those of one view wait for
/// each other.
///
/// What the projection cannot apply refuses the append.
///
/// ```
/// # #[cfg(feature = "json")] {
/// use annals::kit::{ApplyError, AsJson, InlineProjection, Projected, Projection, ViewChanges};
/// use annals::{ExpectedVersion, NewEvent, Store};
/// struct Names;
/// impl Projection for Names {
///     type Key = String;
///     type Value = String;
///     type Codec = AsJson;
///     fn name(&self) -> &str {
///         "names"
///     }
///     fn apply(
///         &self,
///         event: &Projected<'_>,
///         view: &mut ViewChanges<String, String, AsJson>,
///     ) -> Result<(), ApplyError> {
///         Ok(view.put(&event.stream().to_owned(), &event.json()?)?)
///     }
/// }
/// let store = Store::in_memory()?;
/// let names = InlineProjection::start(&store, Names)?;
/// names.append("User-1", ExpectedVersion::NoStream, [NewEvent::json("Named", "ann")?])?;
/// assert_eq!(names.view().get(&"User-1".to_owned())?.as_deref(), Some("ann"));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct InlineProjection<P: Projection> {
    store: Store,
    settings: Settings<P>,
    view: View<P::Key, P::Value, P::Codec>,
}

impl<P: Projection> InlineProjection<P> {
    /// Opens the view of a projection, or creates it.
    ///
    /// # Errors
    ///
    /// As [`Store::create_view`]; [`Error::InvalidOptions`] for a projection whose query asks for
    /// times, which an event has only once it is committed.
    pub fn start(store: &Store, projection: P) -> Result<Self, ProjectionError> {
        let timed = |criteria: &crate::query::Criteria| {
            criteria.since.is_some() || criteria.until.is_some()
        };
        if projection.query().alternatives().iter().any(timed) {
            let why = "an inline projection cannot ask for times".into();
            return Err(Error::InvalidOptions { why }.into());
        }
        let settings = Settings::new(projection);
        let view = View::create(store, &settings.view, settings.projection.schema())?;
        Ok(Self { store: store.clone(), settings, view })
    }

    /// Its view.
    pub const fn view(&self) -> &View<P::Key, P::Value, P::Codec> {
        &self.view
    }

    /// Appends events and applies them to the view, in one commit. Where they are there already (a
    /// retry with ids), the original answer is returned, and nothing changes.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Apply`] where the projection cannot apply one of them, or one that others
    /// appended before: nothing was written. [`ProjectionError::Store`] as
    /// [`Store::append`]; [`ViewError::Moved`] where others came between each time.
    pub fn append(
        &self,
        stream: impl AsRef<str>,
        expected: impl Into<ExpectedVersion>,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Result<Appended, ProjectionError> {
        let (stream, expected) = (stream.as_ref(), expected.into());
        let events: Vec<NewEvent> = events.into_iter().collect();
        let mut tries = 1;
        loop {
            match self.try_append(stream, expected, &events) {
                Err(ProjectionError::Store(
                    Error::ConditionFailed(_) | Error::View(ViewError::Moved { .. }),
                )) if tries < TRIES => tries += 1,
                done => return done,
            }
        }
    }

    fn try_append(
        &self,
        stream: &str,
        expected: ExpectedVersion,
        events: &[NewEvent],
    ) -> Result<Appended, ProjectionError> {
        let query = self.settings.projection.query();
        let (mut changes, upto) = self.catch_up()?;
        for event in events {
            let projected = Projected::new_event(stream, event);
            if query.admits(&projected) {
                let applied = self.settings.apply_one(&projected, &mut changes);
                applied.map_err(|error| ProjectionError::Apply {
                    position: None,
                    attempts: self.settings.attempts,
                    error,
                })?;
            }
        }
        let done = self
            .store
            .batch()
            .append(stream, expected, events.iter().cloned())
            .unless(query.after(upto))
            .update_view(changes.into_update())
            .commit()?;
        Ok(done.last().copied().ok_or(Error::EmptyAppend)?)
    }

    /// What others have appended, as changes; where that is much, it is committed first.
    fn catch_up(&self) -> Result<(ChangesOf<P>, Position), ProjectionError> {
        loop {
            let from = self.view.position()?;
            // Everything up to here that matches is applied; what comes later fails the condition.
            let head = self.store.head();
            let query = self.settings.projection.query();
            let read = self.store.read(query.after(from)).limit(MOST_IN_APPEND + 1);
            let mut behind = Vec::new();
            for event in read {
                let event = event?;
                if event.position() <= head {
                    behind.push(event);
                }
            }
            let is_much = behind.len() > MOST_IN_APPEND;
            let upto = if is_much { behind.last().map_or(head, Event::position) } else { head };
            let mut changes = ViewChanges::new(self.view.stored().clone(), from);
            let behind: Vec<&Event> = behind.iter().collect();
            let now = std::time::SystemTime::now().into();
            let outcome = self.settings.apply_all(&behind, Position::START, now, &mut changes);
            if let Some(event) = outcome.stopped {
                return Err(stopped(event));
            }
            if !is_much {
                return Ok((changes, upto));
            }
            self.view.commit(changes, upto)?;
        }
    }

    /// What is done with an event of others that it cannot apply: [`OnError::Stop`] unless said,
    /// which refuses every append from then on.
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.settings.on_error = on_error;
        self
    }

    /// Lets old events of others read as what they would be today, and new ones too. See
    /// [`ProjectorBuilder::lift`](super::ProjectorBuilder::lift).
    pub fn lift<F>(mut self, lift: F) -> Self
    where
        F: Fn(&Projected<'_>) -> Result<Option<Vec<LiftedPayload>>, ApplyError>
            + Send
            + Sync
            + 'static,
    {
        self.settings.lift = Some(Box::new(lift));
        self
    }
}

impl<P: Projection> std::fmt::Debug for InlineProjection<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InlineProjection").field("view", &self.view.name()).finish_non_exhaustive()
    }
}
