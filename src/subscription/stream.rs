//! A subscription as a stream, for tasks of any executor.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::StopHandle;
use super::history::History;
use super::progress::Pace;
use super::reader::{Reader, Start};
use crate::catalog::Catalog;
use crate::error::Result;
use crate::event::Event;
use crate::position::Position;
use crate::promise::Taker;
use crate::sync::Arc;

/// A subscription for a task: a [`Stream`] of everything that matches, from history to live, each
/// event once and in order (feature `async`). Started by
/// [`Subscribe::start_stream`](crate::Subscribe::start_stream).
///
/// It ends as a [`Subscription`](crate::Subscription) does: with `None` when it is stopped, with
/// one error when nothing can come any more.
///
/// No thread of the executor reads for it: a thread of the store does, when the stream asks, at
/// most 64 events or about 1 MiB at a time. That is all that waits for a slow consumer. Dropping
/// the stream ends its reads.
///
/// ```
/// use annals::{ExpectedVersion, NewEvent, Store};
/// use futures::StreamExt;
/// # futures::executor::block_on(async {
/// let store = Store::in_memory()?;
/// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("OrderPlaced", "")])?;
/// let mut orders = store.subscribe().category("Order").start_stream()?;
/// let event = NewEvent::new("OrderPaid", "");
/// let paid = store.append_async("Order-1", ExpectedVersion::Any, [event]);
/// assert_eq!(orders.next().await.unwrap()?.event_type(), "OrderPlaced");
/// assert_eq!(orders.next().await.unwrap()?.event_type(), "OrderPaid");
/// # paid.await?;
/// # Ok::<(), annals::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a stream does nothing until it is polled"]
pub struct EventStream {
    reader: Arc<Reader>,
}

/// A cursor that is being saved: what [`EventStream::save`] answers with. Dropping it does not undo
/// the save.
#[derive(Debug)]
#[must_use = "whether the cursor is saved is known once it is awaited"]
pub struct SaveFuture {
    answer: Taker<()>,
}

impl EventStream {
    pub(super) fn new(
        catalog: &Arc<Catalog>,
        history: &Arc<History>,
        after: Position,
        pace: Pace,
        start: Start,
    ) -> Self {
        Self { reader: Arc::new(Reader::new(catalog, history, after, pace, start)) }
    }

    /// Saves its cursor: everything that was delivered is processed. Durable when the future
    /// completes. The save is made whether or not the future is polled. See
    /// [`Subscribe::start_stream`](crate::Subscribe::start_stream) for an example.
    ///
    /// # Errors
    ///
    /// The future's are those of [`Subscription::save`](crate::Subscription::save).
    pub fn save(&mut self) -> SaveFuture {
        self.save_upto(Position(u64::MAX))
    }

    /// Saves its cursor at a position, where not all that was delivered is processed yet. One ahead
    /// of [`position`](Self::position) stands for that, and one behind what is saved does nothing.
    ///
    /// ```
    /// use annals::{ExpectedVersion, NewEvent, Position, Store};
    /// use futures::StreamExt;
    /// # futures::executor::block_on(async {
    /// let store = Store::in_memory()?;
    /// let events = [NewEvent::new("Placed", ""), NewEvent::new("Paid", "")];
    /// store.append("Order-1", ExpectedVersion::Any, events)?;
    /// let mut orders = store.subscribe().cursor("billing").start_stream()?;
    /// let (first, _) = (orders.next().await.unwrap()?, orders.next().await.unwrap()?);
    /// orders.save_upto(first.position()).await?;
    /// assert_eq!(store.cursor("billing")?.unwrap().position, Position(1));
    /// # Ok::<(), annals::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save).
    pub fn save_upto(&mut self, position: Position) -> SaveFuture {
        SaveFuture { answer: self.reader.save(position) }
    }

    /// The position up to which everything was delivered or does not match: where to go on
    /// [after](crate::Subscribe::after) a restart. With a cursor it is known once the stream was
    /// polled.
    pub fn position(&self) -> Position {
        self.reader.position()
    }

    /// How many positions are visible that it has not delivered or passed.
    pub fn lag(&self) -> u64 {
        self.reader.catalog.watermark.visible().0.saturating_sub(self.position().0)
    }

    /// What stops this stream from elsewhere.
    ///
    /// ```
    /// use annals::Store;
    /// use futures::StreamExt;
    /// # futures::executor::block_on(async {
    /// let store = Store::in_memory()?;
    /// let mut events = store.subscribe().start_stream()?;
    /// events.stop_handle().stop();
    /// assert!(events.next().await.is_none());
    /// # Ok::<(), annals::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn stop_handle(&self) -> StopHandle {
        let Reader { catalog, stopped, .. } = &*self.reader;
        StopHandle { catalog: Arc::clone(catalog), stopped: Arc::clone(stopped) }
    }
}

impl Stream for EventStream {
    type Item = Result<Event>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Event>>> {
        self.reader.poll(cx)
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.reader.abandon();
    }
}

impl Future for SaveFuture {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.answer).poll(cx)
    }
}
