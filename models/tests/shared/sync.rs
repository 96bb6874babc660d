//! `annals::sync`, made of a model checker's locks: with the names and calls that the library's
//! files use, which are those of `parking_lot`. The checker is `crate::checker`.

use std::ops::{Deref, DerefMut};
use std::time::Instant;

pub(crate) use crate::checker::sync::Arc;
pub(crate) use crate::checker::sync::atomic::Ordering;
use crate::checker::sync::{self as checked};

/// An atomic whose first value was stored in the one order of all sequentially consistent
/// operations. Loom lets such a load pass over a store only where both stores are of that order,
/// and leaves the first value out of it.
macro_rules! atomic {
    ($name:ident, $value:ty) => {
        #[derive(Debug)]
        pub(crate) struct $name(checked::atomic::$name);

        impl $name {
            pub(crate) fn new(value: $value) -> Self {
                let atomic = checked::atomic::$name::new(value);
                atomic.store(value, Ordering::SeqCst);
                Self(atomic)
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new(<$value>::default())
            }
        }

        impl Deref for $name {
            type Target = checked::atomic::$name;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }
    };
}

atomic!(AtomicBool, bool);
atomic!(AtomicU64, u64);

#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(checked::Mutex<T>);

/// `None` only while a condition is waited for.
pub(crate) struct MutexGuard<'a, T> {
    lock: &'a Mutex<T>,
    held: Option<checked::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(checked::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let held = self.0.lock().expect("no thread panics with a lock");
        MutexGuard { lock: self, held: Some(held) }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_ref().expect("held")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().expect("held")
    }
}

#[derive(Debug, Default)]
pub(crate) struct Condvar(checked::Condvar);

/// Whether a wait ended because its time was over.
pub(crate) struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    pub(crate) fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    pub(crate) fn new() -> Self {
        Self(checked::Condvar::new())
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let held = guard.held.take().expect("held");
        guard.held = Some(self.0.wait(held).expect("no thread panics with a lock"));
    }

    /// The checkers know no time. A deadline that is over ends the wait as soon as its thread is
    /// on again, whatever the others did meanwhile; another one never comes.
    pub(crate) fn wait_until<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        deadline: Instant,
    ) -> WaitTimeoutResult {
        if deadline > Instant::now() {
            self.wait(guard);
            return WaitTimeoutResult(false);
        }
        let lock = guard.lock;
        guard.held = None;
        crate::checker::thread::yield_now();
        *guard = lock.lock();
        WaitTimeoutResult(true)
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// Over at once, as the checkers know no time.
pub(crate) const GATHER: std::time::Duration = std::time::Duration::ZERO;
