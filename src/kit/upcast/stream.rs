//! Lifted events as a stream, for tasks of any executor.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use crate::error::Result;
use crate::position::Position;
use crate::query::Query;
use crate::subscription::{EventStream, SaveFuture, StopHandle};
use crate::sync::Arc;

use super::chains::Chains;
use super::lifted::Lifted;
use super::parts::Parts;

/// An [`EventStream`] of lifted events (feature `async`). Started by
/// [`LiftedSubscribe::start_stream`](super::LiftedSubscribe::start_stream).
///
/// Steps run on the thread that polls. An event that cannot be lifted ends the stream with the
/// error; its position stays in front of that event.
///
/// ```
/// use annals::kit::Upcasts;
/// use annals::{ExpectedVersion, NewEvent, Query, Store};
/// use futures::StreamExt;
/// # futures::executor::block_on(async {
/// let store = Store::in_memory()?;
/// for name in ["Sent", "Viewed"] {
///     store.append("Order-1", ExpectedVersion::Any, [NewEvent::new(name, "")])?;
/// }
/// let upcasts = Upcasts::builder()
///     .rename(("Sent", 1), ("Shipped", 1))
///     .drop_event("Viewed", 1)
///     .build()?;
/// let mut orders = upcasts.subscribe(&store, Query::new()).cursor("billing").start_stream()?;
/// assert_eq!(orders.next().await.unwrap()?.event_type(), "Shipped");
/// orders.save().await?;
/// assert_eq!(store.cursor("billing")?.unwrap().position.0, 1);
/// # Ok::<(), annals::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a stream does nothing until it is polled"]
pub struct LiftedStream {
    chains: Arc<Chains>,
    events: EventStream,
    parts: Parts,
    has_failed: bool,
}

impl LiftedStream {
    pub(super) fn new(chains: Arc<Chains>, query: Query, events: EventStream) -> Self {
        Self { chains, events, parts: Parts::new(query), has_failed: false }
    }

    /// The position up to which everything was delivered, was dropped or does not match. It stays
    /// in front of an event until its last part is delivered.
    pub fn position(&self) -> Position {
        self.parts.position(self.events.position())
    }

    /// Saves its cursor: everything up to [`position`](Self::position) is processed. Durable when
    /// the future completes. The save is made whether or not the future is polled.
    ///
    /// # Errors
    ///
    /// The future's are those of [`EventStream::save`].
    pub fn save(&mut self) -> SaveFuture {
        let position = Self::position(self);
        self.events.save_upto(position)
    }

    /// How many positions are visible that it has not delivered or passed.
    pub fn lag(&self) -> u64 {
        self.events.lag()
    }

    /// What stops this stream from elsewhere. The parts of an event that was begun still come.
    pub fn stop_handle(&self) -> StopHandle {
        self.events.stop_handle()
    }
}

impl Stream for LiftedStream {
    type Item = Result<Lifted>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Lifted>>> {
        let this = self.get_mut();
        loop {
            if this.has_failed {
                return Poll::Ready(None);
            }
            if let Some(part) = this.parts.next() {
                return Poll::Ready(Some(Ok(part)));
            }
            let Some(event) = ready!(Pin::new(&mut this.events).poll_next(cx)?) else {
                return Poll::Ready(None);
            };
            if let Err(e) = this.parts.take(&this.chains, &event) {
                this.has_failed = true;
                return Poll::Ready(Some(Err(e)));
            }
        }
    }
}
