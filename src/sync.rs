//! The locks and atomics that the store is built on, in one place so that a model checker can
//! stand in for them.

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

/// So long a leader waits for the callers that were just answered: about what they need to wake up
/// and to come back. In the models it is over at once, as they know no time.
pub(crate) const GATHER: std::time::Duration = std::time::Duration::from_micros(50);
