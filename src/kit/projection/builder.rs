//! Describing a projector.

use std::time::Duration;

use super::contract::{ApplyError, ChangesOf, Projection};
use super::projected::{LiftedPayload, Projected};
use super::projector::Projector;
use super::report::{OnError, ProjectionError};
use super::settings::Settings;
use crate::kit::view::View;
use crate::store::Store;

/// Describes a projector. Made by [`Projector::builder`].
#[must_use = "nothing is projected before it is started"]
pub struct ProjectorBuilder<P> {
    pub(super) store: Store,
    pub(super) settings: Settings<P>,
}

impl<P: Projection> ProjectorBuilder<P> {
    fn new(store: &Store, projection: P) -> Self {
        Self { store: store.clone(), settings: Settings::new(projection) }
    }

    /// Builds another view than the one that has the projection's name: beside it, to
    /// [take over](Projector::switch) later. Until then the other view is what tells which events
    /// are [replayed](Projected::is_replaying).
    pub fn beside(mut self, view: impl Into<String>) -> Self {
        self.settings.view = view.into();
        self
    }

    /// Applies at most so many events before they are committed, 1,024 unless said: fewer writes,
    /// and more memory. At least 1.
    pub fn batch(mut self, events: usize) -> Self {
        self.settings.batch = events.max(1);
        self
    }

    /// Applies the events of a batch on so many threads, one unless said, each
    /// [lane](Projection::lane) on one of them. The threads end with the batch.
    pub fn threads(mut self, threads: usize) -> Self {
        self.settings.threads = threads.max(1);
        self
    }

    /// Tries an event so often, once unless said, and waits in between: so long first, then twice
    /// as long each time, up to a thousand times as long.
    pub fn attempts(mut self, attempts: u32, backoff: Duration) -> Self {
        self.settings.attempts = attempts.max(1);
        self.settings.backoff = backoff;
        self
    }

    /// What is done with an event that fails all attempts: [`OnError::Stop`] unless said.
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.settings.on_error = on_error;
        self
    }

    /// Lets old events read as what they would be today, before the projection sees them: `None`
    /// for one that is as it is, an empty list for one that is no more, more than one where it was
    /// split. All of it counts as one event, and a failure in here as one of the projection.
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

    /// Opens the view, or creates it. Nothing is applied yet.
    ///
    /// # Errors
    ///
    /// As [`Store::create_view`].
    pub fn start(self) -> Result<Projector<P>, ProjectionError>
    where
        ChangesOf<P>: Send,
    {
        let Self { store, settings } = self;
        let view = View::create(&store, &settings.view, settings.projection.schema())?;
        Ok(Projector::new(store, settings, view))
    }
}

impl<P: Projection> Projector<P>
where
    ChangesOf<P>: Send,
{
    /// Describes a projector.
    pub fn builder(store: &Store, projection: P) -> ProjectorBuilder<P> {
        ProjectorBuilder::new(store, projection)
    }
}

impl<P> std::fmt::Debug for ProjectorBuilder<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProjectorBuilder")
            .field("view", &self.settings.view)
            .finish_non_exhaustive()
    }
}
