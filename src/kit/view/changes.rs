//! Changes of a view, on top of what it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use super::codec::ViewCodec;
use super::key::ViewKey;
use crate::error::Result;
use crate::event::Event;
use crate::position::{Position, Timestamp};
use crate::view::{StoredView, ViewUpdate};

/// The new value of a key; `None` takes it out.
type Changed = Option<Vec<u8>>;
/// Types that a value is about and does not hold.
type About<K, V, C> = PhantomData<fn() -> (K, V, C)>;

/// Changes of a [`View`](super::View) that are not committed: reads see them, over what the view
/// holds.
pub struct ViewChanges<K, V, C> {
    view: StoredView,
    from: Position,
    changes: BTreeMap<Vec<u8>, Changed>,
    /// Keys that were looked at or changed.
    touched: BTreeSet<Vec<u8>>,
    /// What changes replaced since the last mark.
    undo: Vec<(Vec<u8>, Option<Changed>)>,
    parked: Vec<(Event, u32, Timestamp, String)>,
    types: About<K, V, C>,
}

impl<K, V, C> ViewChanges<K, V, C> {
    pub(in crate::kit) const fn new(view: StoredView, from: Position) -> Self {
        Self {
            view,
            from,
            changes: BTreeMap::new(),
            touched: BTreeSet::new(),
            undo: Vec::new(),
            parked: Vec::new(),
            types: PhantomData,
        }
    }

    /// How many keys are changed.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.parked.is_empty()
    }

    /// What can be undone begins here.
    pub(in crate::kit) fn mark(&mut self) {
        self.undo.clear();
    }

    /// Takes back what was changed since the mark.
    pub(in crate::kit) fn undo(&mut self) {
        for (key, before) in std::mem::take(&mut self.undo).into_iter().rev() {
            match before {
                Some(before) => drop(self.changes.insert(key, before)),
                None => drop(self.changes.remove(&key)),
            }
        }
    }

    pub(in crate::kit) fn park(&mut self, event: Event, attempts: u32, at: Timestamp, why: String) {
        self.parked.push((event, attempts, at, why));
    }

    /// Takes the changes of others in, which were made from the same. `false`, and nothing is
    /// taken in, where one of them looked at or changed what another did.
    pub(in crate::kit) fn join(&mut self, others: Vec<Self>) -> bool {
        let mut touched = self.touched.clone();
        let mut keys = others.iter().flat_map(|other| &other.touched);
        if !keys.all(|key| touched.insert(key.clone())) {
            return false;
        }
        for other in others {
            self.changes.extend(other.changes);
            self.parked.extend(other.parked);
        }
        self.touched = touched;
        true
    }

    /// As an update of the view without types.
    pub fn into_update(self) -> ViewUpdate {
        let mut update = self.view.update(self.from);
        for (key, value) in self.changes {
            update = match value {
                Some(value) => update.put(key, value),
                None => update.delete(key),
            };
        }
        for (event, attempts, at, why) in self.parked {
            update = update.park(event.position(), event.id(), attempts, at, why);
        }
        update
    }

    fn set(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.touched.insert(key.clone());
        let before = self.changes.insert(key.clone(), value);
        self.undo.push((key, before));
    }
}

impl<K: ViewKey, V, C: ViewCodec<V>> ViewChanges<K, V, C> {
    /// The value of a key, with the changes so far.
    ///
    /// # Errors
    ///
    /// As [`View::get`](super::View::get).
    pub fn get(&mut self, key: &K) -> Result<Option<V>> {
        let key = key.to_bytes();
        let value = match self.changes.get(&key) {
            Some(value) => value.as_deref().map(C::decode).transpose(),
            None => self.view.get(&key)?.map(|value| C::decode(&value)).transpose(),
        };
        self.touched.insert(key);
        value
    }

    /// Gives a key a value.
    ///
    /// # Errors
    ///
    /// [`Error::Payload`](crate::Error::Payload) where the value has no bytes.
    pub fn put(&mut self, key: &K, value: &V) -> Result<()> {
        self.set(key.to_bytes(), Some(C::encode(value)?));
        Ok(())
    }

    /// Takes a key out.
    pub fn delete(&mut self, key: &K) {
        self.set(key.to_bytes(), None);
    }

    /// Gives a key what a closure makes of its value; `None` takes it out.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get) and [`put`](Self::put).
    pub fn change(&mut self, key: &K, change: impl FnOnce(Option<V>) -> Option<V>) -> Result<()> {
        let before = self.get(key)?;
        match change(before) {
            Some(value) => self.put(key, &value),
            None => {
                self.delete(key);
                Ok(())
            }
        }
    }
}

impl<K, V, C> std::fmt::Debug for ViewChanges<K, V, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ViewChanges")
            .field("view", &self.view.name())
            .field("from", &self.from)
            .field("changes", &self.changes.len())
            .finish_non_exhaustive()
    }
}
