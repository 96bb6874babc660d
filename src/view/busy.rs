//! Views that are being changed: one change of a view at a time.

use std::collections::BTreeSet;

use crate::error::Result;
use crate::names::check_view_name;
use crate::sync::{Condvar, Mutex};

/// The names that are held.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    names: Mutex<BTreeSet<String>>,
    freed: Condvar,
}

/// The right to change some views, while it lives.
#[derive(Debug)]
pub(crate) struct HeldViews<'a> {
    busy: &'a Busy,
    names: BTreeSet<String>,
}

impl Busy {
    /// Waits until nobody else holds one of the names.
    pub(super) fn hold<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<HeldViews<'_>> {
        let names: BTreeSet<String> = names.into_iter().map(str::to_owned).collect();
        names.iter().try_for_each(|name| check_view_name(name))?;
        let mut busy = self.names.lock();
        // All or none, so that two that want the same never wait for each other.
        while names.iter().any(|name| busy.contains(name)) {
            self.freed.wait(&mut busy);
        }
        busy.extend(names.iter().cloned());
        Ok(HeldViews { busy: self, names })
    }
}

impl HeldViews<'_> {
    /// How many views are held.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

impl Drop for HeldViews<'_> {
    fn drop(&mut self) {
        let mut busy = self.busy.names.lock();
        for name in &self.names {
            busy.remove(name);
        }
        drop(busy);
        self.busy.freed.notify_all();
    }
}
