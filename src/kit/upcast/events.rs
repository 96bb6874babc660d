//! Reads whose events are lifted.

use std::fmt;
use std::vec;

use crate::error::Result;
use crate::event::Event;
use crate::query::Query;
use crate::sync::Arc;

use super::chains::Chains;
use super::lifted::Lifted;

/// The iterator over lifted events. Made by [`Upcasts::apply`](super::Upcasts::apply) and the reads
/// beside it.
///
/// An event whose step fails is an error in its place, and the iterator goes on behind it.
pub struct LiftedEvents<I> {
    chains: Arc<Chains>,
    events: I,
    query: Option<Query>,
    /// The parts of the last event that are left.
    parts: vec::IntoIter<Lifted>,
}

impl<I: Iterator<Item = Result<Event>>> LiftedEvents<I> {
    pub(super) fn new(chains: &Arc<Chains>, events: I) -> Self {
        let (chains, parts) = (Arc::clone(chains), Vec::new().into_iter());
        Self { chains, events, query: None, parts }
    }

    /// Only what matches a query today.
    ///
    /// ```
    /// use annals::kit::Upcasts;
    /// use annals::{ExpectedVersion, NewEvent, Query, Store};
    /// let upcasts = Upcasts::builder().rename(("Sent", 1), ("Shipped", 1)).build()?;
    /// let store = Store::in_memory()?;
    /// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("Sent", "")])?;
    /// let query = Query::new().event_type("Shipped");
    /// let newest = store.read(upcasts.expand(query.clone())).backwards();
    /// assert_eq!(upcasts.apply(newest).matching(query).count(), 1);
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn matching(mut self, query: Query) -> Self {
        self.query = Some(query);
        self
    }
}

impl<I: Iterator<Item = Result<Event>>> Iterator for LiftedEvents<I> {
    type Item = Result<Lifted>;

    fn next(&mut self) -> Option<Result<Lifted>> {
        loop {
            for part in self.parts.by_ref() {
                if self.query.as_ref().is_none_or(|query| is_match(query, &part)) {
                    return Some(Ok(part));
                }
            }
            let lifted = match self.events.next()? {
                // Nothing is allocated for an event that is what it was.
                Ok(event) if self.chains.is_current(&event) => {
                    let part = Lifted::unchanged(event);
                    if self.query.as_ref().is_none_or(|query| is_match(query, &part)) {
                        return Some(Ok(part));
                    }
                    continue;
                }
                Ok(event) => self.chains.lift_event(&event),
                Err(e) => Err(e),
            };
            match lifted {
                Ok(parts) => self.parts = parts.into_iter(),
                Err(e) => return Some(Err(e)),
            }
        }
    }
}

pub(super) fn is_match(query: &Query, part: &Lifted) -> bool {
    query.matches_as(part.stored(), part.event_type())
}

impl<I> fmt::Debug for LiftedEvents<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiftedEvents").field("query", &self.query).finish_non_exhaustive()
    }
}
