//! Entries with types.

use std::marker::PhantomData;

use super::codec::ViewCodec;
use super::key::ViewKey;
use crate::error::{Error, Result};
use crate::position::Position;
use crate::view::ViewEntries;

/// Types that a value is about and does not hold.
type About<K, V, C> = PhantomData<fn() -> (K, V, C)>;

/// The entries of a view with types, as they were when the read began.
pub struct TypedEntries<K, V, C> {
    entries: ViewEntries,
    types: About<K, V, C>,
}

impl<K, V, C> TypedEntries<K, V, C> {
    pub(super) const fn new(entries: ViewEntries) -> Self {
        Self { entries, types: PhantomData }
    }

    /// The position up to which the view was complete then.
    pub const fn position(&self) -> Position {
        self.entries.position()
    }
}

impl<K: ViewKey, V, C: ViewCodec<V>> Iterator for TypedEntries<K, V, C> {
    type Item = Result<(K, V)>;

    fn next(&mut self) -> Option<Self::Item> {
        let typed = |(key, value): (Vec<u8>, std::sync::Arc<[u8]>)| {
            let other = || Error::Payload { why: "a key of another type".into() };
            Ok((K::from_bytes(&key).ok_or_else(other)?, C::decode(&value)?))
        };
        Some(self.entries.next()?.and_then(typed))
    }
}

impl<K, V, C> std::fmt::Debug for TypedEntries<K, V, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TypedEntries").field("entries", &self.entries).finish_non_exhaustive()
    }
}
