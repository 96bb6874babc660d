//! One answer on its way from a thread of the store to a task: what futures are made of.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::error::{Error, Result};
use crate::sync::{Arc, Mutex};

#[derive(Debug)]
struct State<T> {
    answer: Option<Result<T>>,
    task: Option<Waker>,
}

/// Who will answer. Dropped without an answer, it says that the thread has panicked: nobody is left
/// waiting.
#[derive(Debug)]
pub(crate) struct Giver<T> {
    state: Option<Arc<Mutex<State<T>>>>,
}

/// Who waits for the answer.
#[derive(Debug)]
pub(crate) struct Taker<T> {
    state: Arc<Mutex<State<T>>>,
}

/// Both ends of a new promise.
pub(crate) fn promise<T>() -> (Giver<T>, Taker<T>) {
    let state = Arc::new(Mutex::new(State { answer: None, task: None }));
    (Giver { state: Some(Arc::clone(&state)) }, Taker { state })
}

impl<T> Giver<T> {
    /// Answers, and wakes the task that waits. Called without a lock: a waker is foreign code.
    pub(crate) fn give(mut self, answer: Result<T>) {
        self.finish(answer);
    }

    fn finish(&mut self, answer: Result<T>) {
        let Some(state) = self.state.take() else { return };
        let task = {
            let mut state = state.lock();
            state.answer = Some(answer);
            state.task.take()
        };
        if let Some(task) = task {
            wake(task);
        }
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        let cause = Arc::new(Error::Panicked { during: "an asynchronous call" });
        self.finish(Err(Error::Unknown { cause }));
    }
}

impl<T> Taker<T> {
    /// An answer that is there at once.
    pub(crate) fn ready(answer: Result<T>) -> Self {
        Self { state: Arc::new(Mutex::new(State { answer: Some(answer), task: None })) }
    }
}

impl<T> Future for Taker<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let mut state = self.state.lock();
        match state.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                remember(&mut state.task, cx);
                Poll::Pending
            }
        }
    }
}

/// Keeps the waker of the task that polls, in the place of the one before.
pub(crate) fn remember(task: &mut Option<Waker>, cx: &Context<'_>) {
    match task {
        Some(task) => task.clone_from(cx.waker()),
        None => *task = Some(cx.waker().clone()),
    }
}

/// Wakes a task. What panics in a foreign waker does not end a thread of the store.
pub(crate) fn wake(task: Waker) {
    let woken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| task.wake()));
    drop(woken);
}
