//! Appending from a task.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::Store;
use super::commits::Ticket;
use super::writing::Beside;
use crate::error::{Error, Result};
use crate::event::{Appended, Done};
use crate::new_event::NewEvent;
use crate::options::Durability;
use crate::position::ExpectedVersion;
use crate::promise::Taker;
use crate::writer::{Condition, Part};

/// An append that is under way: what [`Store::append_async`] answers with. It completes with the
/// group that holds the append.
///
/// The append is made whether or not this is polled. Dropping it does not undo the append, unless
/// it still waited for room among the [pending bytes](crate::StoreOptions::pending_bytes): then
/// nothing is written.
#[derive(Debug)]
#[must_use = "whether the append succeeds is known once it is awaited"]
pub struct AppendFuture {
    commit: CommitFuture,
}

/// A batch that is under way: what [`Batch::commit_async`](crate::Batch::commit_async) answers
/// with. As [`AppendFuture`].
#[derive(Debug)]
#[must_use = "whether the batch succeeds is known once it is awaited"]
pub struct CommitFuture {
    answer: Taker<Done>,
    /// Taken back when the future is dropped.
    _ticket: Option<Ticket>,
}

impl Store {
    /// Appends events to a stream from a task: [`append`](Self::append), but that no thread of the
    /// executor waits for the disk (feature `async`). Checking and encoding is done here, the rest
    /// by a thread of the store, which is started by the first such append. Appends of one task
    /// that are made before the first of them is awaited share writes and syncs, and are committed
    /// in the order in which they were made.
    ///
    /// So many [pending bytes](crate::StoreOptions::pending_bytes) are taken; behind that, appends
    /// wait for room.
    ///
    /// ```
    /// use annals::{ExpectedVersion, NewEvent, Store};
    /// # futures::executor::block_on(async {
    /// let store = Store::in_memory()?;
    /// let noted = |n: u8| {
    ///     let event = NewEvent::new("Noted", [n]);
    ///     store.append_async("Order-1", ExpectedVersion::Any, [event])
    /// };
    /// let (first, second) = (noted(1), noted(2));
    /// assert_eq!((first.await?.position.0, second.await?.position.0), (1, 2));
    /// # Ok::<(), annals::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// The future's are those of [`append`](Self::append). When the store is closed, what is not
    /// committed by then gets [`Error::Closed`], and was not written.
    pub fn append_async(
        &self,
        stream: impl AsRef<str>,
        expected: impl Into<ExpectedVersion>,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> AppendFuture {
        let mut part = Part {
            stream: stream.as_ref().into(),
            expected: expected.into(),
            events: events.into_iter().collect(),
        };
        let parts = std::slice::from_mut(&mut part);
        AppendFuture { commit: self.commit_later(parts, Vec::new(), None, Beside::default()) }
    }

    pub(crate) fn commit_later(
        &self,
        parts: &mut [Part],
        conditions: Vec<Condition>,
        durability: Option<Durability>,
        beside: Beside,
    ) -> CommitFuture {
        let submitted = || {
            let request = self.writing()?.prepare(parts, conditions, durability)?;
            self.inner.commits.as_ref().ok_or(Error::ReadOnly)?.submit(request, beside)
        };
        match submitted() {
            Ok((answer, ticket)) => CommitFuture { answer, _ticket: Some(ticket) },
            Err(e) => CommitFuture { answer: Taker::ready(Err(e)), _ticket: None },
        }
    }
}

impl Future for CommitFuture {
    type Output = Result<Vec<Appended>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(cx).map(|done| done.map(Done::into_vec))
    }
}

impl Future for AppendFuture {
    type Output = Result<Appended>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.commit.answer).poll(cx).map(|done| match done {
            Ok(done) => done.last().copied().ok_or(Error::EmptyAppend),
            Err(e) => Err(e),
        })
    }
}
