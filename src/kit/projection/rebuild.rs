//! Building a view anew beside the one that is used.

use super::builder::ProjectorBuilder;
use super::contract::{ChangesOf, Projection};
use super::projector::Projector;
use super::report::{Progress, ProjectionError};

/// What the name of a view that is being built anew ends with.
const BESIDE: &str = "~rebuild";

impl<P: Projection> ProjectorBuilder<P>
where
    ChangesOf<P>: Send,
{
    /// Builds the view of the projection anew from the first event, beside the one that is used,
    /// lets it take over once it has caught up, and returns its projector. Readers see the old view
    /// until then, also where that one is of another schema, damaged or diverged. What an
    /// interrupted rebuild has done is gone on with, if it has the same schema.
    ///
    /// Progress is said behind each batch. Memory stays bounded by a batch and by the view's keys.
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// # use annals::kit::{ApplyError, AsJson, Projected, Projection, Projector, ViewChanges};
    /// # use annals::{ExpectedVersion, NewEvent, Store};
    /// # struct Sizes(u32);
    /// # impl Projection for Sizes {
    /// #     type Key = String;
    /// #     type Value = usize;
    /// #     type Codec = AsJson;
    /// #     fn name(&self) -> &str { "sizes" }
    /// #     fn schema(&self) -> u32 { self.0 }
    /// #     fn apply(
    /// #         &self,
    /// #         event: &Projected<'_>,
    /// #         view: &mut ViewChanges<String, usize, AsJson>,
    /// #     ) -> Result<(), ApplyError> {
    /// #         Ok(view.put(&event.stream().to_owned(), &event.data().len())?)
    /// #     }
    /// # }
    /// let store = Store::in_memory()?;
    /// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("OrderPlaced", "{}")])?;
    /// Projector::builder(&store, Sizes(1)).start()?.run_until_caught_up()?;
    /// // The next version of the program has another schema.
    /// assert!(Projector::builder(&store, Sizes(2)).start().is_err());
    /// let projector = Projector::builder(&store, Sizes(2)).rebuild(|progress| {
    ///     println!("{} of {}", progress.position, progress.head);
    /// })?;
    /// assert_eq!(projector.view().stored().schema(), 2);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Projector::step`] and [`Projector::switch`].
    pub fn rebuild(self, say: impl FnMut(&Progress)) -> Result<Projector<P>, ProjectionError> {
        let name = format!("{}{BESIDE}", self.settings.projection.name());
        let schema = self.settings.projection.schema();
        let is_usable = match self.store.view(&name) {
            Ok(Some(view)) => view.schema() == schema && view.position().is_ok(),
            Ok(None) => true,
            Err(_) => false,
        };
        if !is_usable {
            self.store.reset_view(&name, schema)?;
        }
        let mut projector = self.beside(name).start()?;
        projector.run_with_progress(say)?;
        projector.switch()?;
        Ok(projector)
    }
}
