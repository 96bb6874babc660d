//! Projections that keep no view.

use crate::error::Result;
use crate::event::Event;
use crate::position::Position;
use crate::query::Query;
use crate::store::Store;

/// A state that is folded from events into memory, when it is asked for: for what is asked rarely
/// or is about few events. The next time only what came since is folded.
///
/// ```
/// use annals::kit::LiveProjection;
/// use annals::{ExpectedVersion, NewEvent, Query, Store};
/// let store = Store::in_memory()?;
/// let placed = || [NewEvent::new("OrderPlaced", "{}")];
/// store.append("Order-1", ExpectedVersion::Any, placed())?;
/// let orders = Query::new().category("Order");
/// let mut count = LiveProjection::new(&store, orders, 0, |count, _event| *count += 1);
/// assert_eq!(*count.refresh()?, 1);
/// store.append("Order-2", ExpectedVersion::Any, placed())?;
/// assert_eq!(*count.refresh()?, 2);
/// # Ok::<(), annals::Error>(())
/// ```
pub struct LiveProjection<S, F> {
    store: Store,
    query: Query,
    state: S,
    position: Position,
    fold: F,
}

impl<S, F: FnMut(&mut S, &Event)> LiveProjection<S, F> {
    /// A projection of the events that match a query, from a state on. Nothing is folded yet.
    pub fn new(store: &Store, query: Query, initial: S, fold: F) -> Self {
        let position = Position::START;
        Self { store: store.clone(), query, state: initial, position, fold }
    }

    /// Folds what has come since the last time, and returns the state.
    ///
    /// # Errors
    ///
    /// Those of reading. What is before the event that cannot be read has been folded.
    pub fn refresh(&mut self) -> Result<&S> {
        let upto = self.store.head();
        for event in self.store.read(self.query.clone().after(self.position)) {
            let event = event?;
            if event.position() > upto {
                break;
            }
            (self.fold)(&mut self.state, &event);
            self.position = event.position();
        }
        self.position = self.position.max(upto);
        Ok(&self.state)
    }

    /// The state as it was folded last.
    pub const fn state(&self) -> &S {
        &self.state
    }

    /// The position up to which it was folded.
    pub const fn position(&self) -> Position {
        self.position
    }
}

impl<S, F> std::fmt::Debug for LiveProjection<S, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveProjection").field("position", &self.position).finish_non_exhaustive()
    }
}
