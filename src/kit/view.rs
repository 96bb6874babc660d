//! Views with types: keys that keep their order, values by serde.

mod changes;
mod codec;
mod compare;
mod entries;
mod key;

use std::marker::PhantomData;

pub use changes::ViewChanges;
#[cfg(feature = "bincode")]
pub use codec::AsBincode;
pub use codec::{AsJson, ViewCodec};
pub use compare::{ViewDifference, compare_views};
pub use entries::TypedEntries;
pub use key::{ViewKey, key_prefix};

use crate::error::Result;
use crate::position::Position;
use crate::store::Store;
use crate::view::{StoredView, ViewScan};

/// Types that a value is about and does not hold.
type About<K, V, C> = PhantomData<fn() -> (K, V, C)>;

/// A [`StoredView`] with types: keys by [`ViewKey`], values by a [`ViewCodec`] (JSON unless said).
///
/// The types are those of the schema number: another meaning of keys or values is another number.
///
/// ```
/// # #[cfg(feature = "json")] {
/// use annals::kit::View;
/// use annals::{Position, Store};
/// let store = Store::in_memory()?;
/// let totals: View<(String, u64), u32> = View::create(&store, "totals", 1)?;
/// let mut changes = totals.changes()?;
/// changes.put(&("ann".into(), 2), &7)?;
/// changes.put(&("ann".into(), 10), &8)?;
/// changes.put(&("bob".into(), 1), &9)?;
/// totals.commit(changes, Position::START)?;
/// assert_eq!(totals.get(&("ann".into(), 2))?, Some(7));
/// // In the order of the keys, of ann's alone:
/// let of_ann = totals.entries_under(&"ann".to_owned())?;
/// let of_ann: Vec<_> = of_ann.collect::<annals::Result<_>>()?;
/// assert_eq!(of_ann, [(("ann".into(), 2), 7), (("ann".into(), 10), 8)]);
/// # }
/// # Ok::<(), annals::Error>(())
/// ```
pub struct View<K, V, C = AsJson> {
    stored: StoredView,
    types: About<K, V, C>,
}

impl<K, V, C> View<K, V, C> {
    /// Opens a view, or creates it. See [`Store::create_view`].
    ///
    /// # Errors
    ///
    /// As [`Store::create_view`].
    pub fn create(store: &Store, name: impl AsRef<str>, schema: u32) -> Result<Self> {
        Ok(Self::of(store.create_view(name, schema)?))
    }

    /// A view; `None` where there is none of this name.
    ///
    /// # Errors
    ///
    /// As [`Store::view`].
    pub fn open(store: &Store, name: impl AsRef<str>) -> Result<Option<Self>> {
        Ok(store.view(name)?.map(Self::of))
    }

    /// A view with types.
    pub const fn of(stored: StoredView) -> Self {
        Self { stored, types: PhantomData }
    }

    /// The view without types.
    pub const fn stored(&self) -> &StoredView {
        &self.stored
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.stored.name()
    }

    /// The position up to which it is complete.
    ///
    /// # Errors
    ///
    /// As [`StoredView::position`].
    pub fn position(&self) -> Result<Position> {
        self.stored.position()
    }

    /// Begins changes from what it is now.
    ///
    /// # Errors
    ///
    /// As [`StoredView::position`].
    pub fn changes(&self) -> Result<ViewChanges<K, V, C>> {
        Ok(ViewChanges::new(self.stored.clone(), self.position()?))
    }

    /// Commits changes, with which it is complete up to a position. See [`StoredView::commit`].
    ///
    /// # Errors
    ///
    /// As [`StoredView::commit`].
    pub fn commit(&self, changes: ViewChanges<K, V, C>, upto: Position) -> Result<()> {
        self.stored.commit(changes.into_update(), upto)
    }
}

impl<K: ViewKey, V, C: ViewCodec<V>> View<K, V, C> {
    /// The value of a key; `None` where there is none.
    ///
    /// # Errors
    ///
    /// As [`StoredView::get`]; [`Error::Payload`](crate::Error::Payload) where the value is not of
    /// the type.
    pub fn get(&self, key: &K) -> Result<Option<V>> {
        self.stored.get(key.to_bytes())?.map(|value| C::decode(&value)).transpose()
    }

    /// All entries, in the order of their keys, as they are now.
    ///
    /// # Errors
    ///
    /// As [`ViewScan::read`].
    pub fn entries(&self) -> Result<TypedEntries<K, V, C>> {
        self.read(self.scan())
    }

    /// The entries whose keys are tuples that begin with a value.
    ///
    /// # Errors
    ///
    /// As [`ViewScan::read`].
    pub fn entries_under(&self, first: &impl ViewKey) -> Result<TypedEntries<K, V, C>> {
        self.read(self.scan().prefix(key_prefix(first)))
    }

    /// A scan to narrow down, for [`read`](Self::read).
    pub fn scan(&self) -> ViewScan {
        self.stored.scan()
    }

    /// The entries of a scan.
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// use annals::kit::{View, ViewKey};
    /// use annals::{Position, Store};
    /// let store = Store::in_memory()?;
    /// let squares: View<u64, u64> = View::create(&store, "squares", 1)?;
    /// let mut changes = squares.changes()?;
    /// (0..300).try_for_each(|n| changes.put(&n, &(n * n)))?;
    /// squares.commit(changes, Position::START)?;
    /// let page = squares.read(squares.scan().after(255_u64.to_bytes()).limit(2))?;
    /// let page: Vec<_> = page.collect::<annals::Result<_>>()?;
    /// assert_eq!(page, [(256, 65_536), (257, 66_049)]);
    /// # }
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ViewScan::read`].
    pub fn read(&self, scan: ViewScan) -> Result<TypedEntries<K, V, C>> {
        Ok(TypedEntries::new(scan.read()?))
    }
}

impl<K, V, C> Clone for View<K, V, C> {
    fn clone(&self) -> Self {
        Self::of(self.stored.clone())
    }
}

impl<K, V, C> std::fmt::Debug for View<K, V, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("name", &self.name()).finish_non_exhaustive()
    }
}
