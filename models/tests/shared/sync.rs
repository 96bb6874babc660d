//! `annals::sync`, made of a model checker's locks: with the names and calls that the library's
//! files use, which are those of `parking_lot`. The checker is `crate::checker`.

use std::ops::{Deref, DerefMut};

pub(crate) use crate::checker::sync::Arc;
pub(crate) use crate::checker::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::checker::sync::{self as checked};

pub(crate) struct Mutex<T>(checked::Mutex<T>);

/// `None` only while a condition is waited for.
pub(crate) struct MutexGuard<'a, T>(Option<checked::MutexGuard<'a, T>>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(checked::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().expect("no thread panics with a lock")))
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("held")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("held")
    }
}

pub(crate) struct Condvar(checked::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self(checked::Condvar::new())
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let held = guard.0.take().expect("held");
        guard.0 = Some(self.0.wait(held).expect("no thread panics with a lock"));
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}
