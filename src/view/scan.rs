//! Reading a view in the order of its keys.

use super::views::Views;
use crate::error::Result;
use crate::format::view::{entry_key, of_entry};
use crate::position::Position;
use crate::state::{Found, Range};
use crate::sync::Arc;

/// A read of the entries of a view in the order of their keys, which are compared as bytes. Made by
/// [`StoredView::scan`](crate::StoredView::scan).
///
/// ```
/// use annals::{Position, Store};
/// let store = Store::in_memory()?;
/// let view = store.create_view("totals", 1)?;
/// let update = view.update(Position::START).put("a/1", "x").put("a/2", "y").put("b/1", "z");
/// view.commit(update, Position::START)?;
/// let keys: Vec<Vec<u8>> = view
///     .scan()
///     .prefix("a/")
///     .backwards()
///     .read()?
///     .map(|entry| entry.map(|(key, _)| key))
///     .collect::<annals::Result<_>>()?;
/// assert_eq!(keys, [b"a/2", b"a/1"]);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a scan reads nothing until it is read"]
pub struct ViewScan {
    views: Arc<Views>,
    name: String,
    range: Range,
    limit: usize,
    backwards: bool,
}

impl ViewScan {
    pub(super) fn new(views: &Arc<Views>, name: &str) -> Self {
        let range = Range::prefix(&entry_key(b""));
        Self {
            views: Arc::clone(views),
            name: name.into(),
            range,
            limit: usize::MAX,
            backwards: false,
        }
    }

    /// Only keys that begin with this. To be said before the bounds.
    pub fn prefix(mut self, prefix: impl AsRef<[u8]>) -> Self {
        self.range = Range::prefix(&entry_key(prefix.as_ref()));
        self
    }

    /// Only keys behind this one (exclusive): the last key of a page, to read the next.
    pub fn after(mut self, key: impl AsRef<[u8]>) -> Self {
        self.range = self.range.after(&entry_key(key.as_ref()));
        self
    }

    /// Only keys before this one (exclusive).
    pub fn before(mut self, key: impl AsRef<[u8]>) -> Self {
        self.range = self.range.before(&entry_key(key.as_ref()));
        self
    }

    /// At most so many entries.
    pub const fn limit(mut self, entries: usize) -> Self {
        self.limit = entries;
        self
    }

    /// From the last key to the first.
    pub const fn backwards(mut self) -> Self {
        self.backwards = true;
        self
    }

    /// Reads the entries as they are now, whatever is committed while they are read. Keys are
    /// gathered at once (some 60 bytes each while the read lives, and the more there are the longer
    /// do commits to this view wait), values read one by one: give a [limit](Self::limit) where
    /// there may be very many.
    ///
    /// # Errors
    ///
    /// As [`StoredView::get`](crate::StoredView::get). An entry whose value is damaged is an error
    /// in its place.
    pub fn read(self) -> Result<ViewEntries> {
        let (resolved, _) = self.views.sound(&self.name)?;
        let picked = resolved.part.pick(&self.range, self.limit, self.backwards);
        if let Some(doubt) = picked.doubt {
            return Err(doubt);
        }
        let position = Position(picked.stands.map_or(0, |stands| stands.position));
        Ok(ViewEntries { found: picked.found.into_iter(), position })
    }
}

/// The entries of a view, as they were when the read began.
#[derive(Debug)]
pub struct ViewEntries {
    found: std::vec::IntoIter<(Arc<[u8]>, Found)>,
    position: Position,
}

impl ViewEntries {
    /// The position up to which the view was complete then.
    pub const fn position(&self) -> Position {
        self.position
    }
}

impl Iterator for ViewEntries {
    type Item = Result<(Vec<u8>, Arc<[u8]>)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (key, found) = self.found.next()?;
            match found.read() {
                Ok(Some(value)) => return Some(Ok((of_entry(&key).to_vec(), value))),
                Ok(None) => {}
                Err(e) => return Some(Err(e)),
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.found.size_hint().1)
    }
}
