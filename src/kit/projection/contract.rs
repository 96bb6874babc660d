//! What a projection is.

use super::projected::Projected;
use crate::kit::view::{ViewChanges, ViewCodec, ViewKey};
use crate::query::Query;

/// What went wrong in a projection's own code.
pub type ApplyError = Box<dyn std::error::Error + Send + Sync>;

/// Code that folds events into a view. Whatever runs it, the view is at any time the fold of
/// exactly the events up to its position: the changes and the position are one commit.
///
/// - A [`Projector`](super::Projector) runs it behind the appends, in batches.
/// - [`InlineProjection`](super::InlineProjection) runs it in the commits of the appends
///   themselves.
/// - [`LiveProjection`](super::LiveProjection) keeps no view: it folds into memory when it is
///   asked.
///
/// So that this holds, `apply` has to depend on the event and the view alone, and to change nothing
/// else: it may be run again for the same event where a commit failed. Side effects (mails, calls)
/// belong into a [subscription](crate::Store::subscribe) or a [group](crate::kit::ConsumerGroup);
/// what has to be done here anyway asks [`Projected::is_replaying`].
///
/// ```
/// # #[cfg(feature = "json")] {
/// use annals::kit::{ApplyError, AsJson, Projected, Projection, Projector, ViewChanges};
/// use annals::{ExpectedVersion, NewEvent, Query, Store};
/// struct OrdersPerDay;
/// impl Projection for OrdersPerDay {
///     type Key = String;
///     type Value = u32;
///     type Codec = AsJson;
///     fn name(&self) -> &str {
///         "orders-per-day"
///     }
///     fn query(&self) -> Query {
///         Query::new().event_type("OrderPlaced")
///     }
///     fn apply(
///         &self,
///         event: &Projected<'_>,
///         view: &mut ViewChanges<String, u32, AsJson>,
///     ) -> Result<(), ApplyError> {
///         let day: String = event.json()?;
///         Ok(view.change(&day, |orders| Some(orders.unwrap_or(0) + 1))?)
///     }
/// }
/// let store = Store::in_memory()?;
/// for day in ["monday", "tuesday", "monday"] {
///     let placed = NewEvent::json("OrderPlaced", day)?;
///     store.append("Order-1", ExpectedVersion::Any, [placed])?;
/// }
/// let mut projector = Projector::builder(&store, OrdersPerDay).start()?;
/// projector.run_until_caught_up()?;
/// assert_eq!(projector.view().get(&"monday".to_owned())?, Some(2));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Projection: Send + Sync {
    /// The keys of its view.
    type Key: ViewKey;
    /// The values of its view.
    type Value;
    /// How values become bytes: [`AsJson`](crate::kit::AsJson), unless you know better.
    type Codec: ViewCodec<Self::Value>;

    /// The name of its view.
    fn name(&self) -> &str;

    /// The schema of its view: another number for other keys, values or another fold.
    fn schema(&self) -> u32 {
        1
    }

    /// The events that it is about. Types are those that are stored; where old ones are
    /// [lifted](super::ProjectorBuilder::lift), name them too.
    fn query(&self) -> Query {
        Query::new()
    }

    /// What events have in common that have to be applied one after the other, where several
    /// threads apply them: their stream, unless said otherwise. Events of different lanes must not
    /// look at the same key of the view; where they do, the batch is applied again by one thread.
    fn lane<'a>(&self, event: &'a Projected<'_>) -> std::borrow::Cow<'a, str> {
        event.stream().into()
    }

    /// Takes an event into the view.
    ///
    /// # Errors
    ///
    /// Its own. What it had changed for this event is taken back, and [`OnError`](super::OnError)
    /// says what comes then.
    fn apply(
        &self,
        event: &Projected<'_>,
        view: &mut ViewChanges<Self::Key, Self::Value, Self::Codec>,
    ) -> Result<(), ApplyError>;
}

/// The changes of a projection's view.
pub(super) type ChangesOf<P> =
    ViewChanges<<P as Projection>::Key, <P as Projection>::Value, <P as Projection>::Codec>;
