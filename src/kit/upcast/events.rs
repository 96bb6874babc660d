//! Reads whose events are lifted.

use std::vec;

use crate::error::Result;
use crate::event::Event;
use crate::query::Query;

use super::{Lifted, Upcasts};

/// The iterator over lifted events. Made by [`Upcasts::apply`] and the reads of [`Upcasts`].
///
/// An event whose step fails is an error in its place, and the iterator goes on behind it.
#[derive(Debug)]
pub struct LiftedEvents<I> {
    upcasts: Upcasts,
    events: I,
    query: Option<Query>,
    /// The parts of the last event that are left.
    parts: vec::IntoIter<Lifted>,
}

impl<I: Iterator<Item = Result<Event>>> LiftedEvents<I> {
    pub(super) fn new(upcasts: Upcasts, events: I) -> Self {
        Self { upcasts, events, query: None, parts: Vec::new().into_iter() }
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
            match self.events.next()?.and_then(|event| self.upcasts.lift(&event)) {
                Ok(parts) => self.parts = parts.into_iter(),
                Err(e) => return Some(Err(e)),
            }
        }
    }
}

pub(super) fn is_match(query: &Query, part: &Lifted) -> bool {
    query.matches_as(part.stored(), part.event_type())
}
