//! Names of what is being changed, cursors or views: one change of each at a time.

use std::collections::BTreeSet;

use crate::error::Result;
use crate::sync::{Condvar, Mutex};

/// The names that are held.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    names: Mutex<BTreeSet<String>>,
    freed: Condvar,
}

/// The right to change what has some names, while it lives.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    busy: &'a Busy,
    names: BTreeSet<String>,
}

impl Busy {
    /// Waits until nobody else holds one of the names. `may` is asked before each wait, and while
    /// nobody else can begin to hold one.
    pub(crate) fn hold(
        &self,
        names: BTreeSet<String>,
        may: impl Fn(&str) -> Result<()>,
    ) -> Result<Held<'_>> {
        let mut busy = self.names.lock();
        loop {
            names.iter().try_for_each(|name| may(name))?;
            // All or none, so that two that want the same never wait for each other.
            if names.is_disjoint(&busy) {
                busy.extend(names.iter().cloned());
                return Ok(Held { busy: self, names });
            }
            self.freed.wait(&mut busy);
        }
    }
}

impl Held<'_> {
    /// How many names are held.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut busy = self.busy.names.lock();
        for name in &self.names {
            busy.remove(name);
        }
        drop(busy);
        self.busy.freed.notify_all();
    }
}
