//! The handle of a view.

use super::info::ViewInfo;
use super::scan::ViewScan;
use super::update::ViewUpdate;
use super::views::Views;
use crate::error::{Error, Result, ViewError};
use crate::format::files::STATE;
use crate::format::view::{PARKED_KEYS, ParkedValue, entry_key, of_parked};
use crate::names::{EventId, shown};
use crate::position::{Position, Timestamp};
use crate::state::Range;
use crate::sync::Arc;

/// A view: a map of bytes to bytes that the store keeps, with the position up to which it is
/// complete. Made by [`Store::create_view`](crate::Store::create_view) and
/// [`Store::view`](crate::Store::view); typed in [`kit`](crate::kit).
///
/// Changes and position are one: behind a crash both are there or neither, so a view that was made
/// by folding events is the fold of exactly the events up to its position. Readers see each commit
/// whole. A handle reads what has its name now, as long as the store is open; clones are the same.
///
/// Keys are in memory once the view is used (about 100 bytes each, and the key), values are read
/// when they are asked for.
///
/// ```
/// use annals::{ExpectedVersion, NewEvent, Store};
/// let store = Store::in_memory()?;
/// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("OrderPlaced", "{}")])?;
/// let view = store.create_view("placed", 1)?;
/// let from = view.position()?;
/// let (mut update, mut upto) = (view.update(from), from);
/// for event in store.read_all().after(from) {
///     let event = event?;
///     update = update.put(event.stream(), event.data());
///     upto = event.position();
/// }
/// view.commit(update, upto)?;
/// assert_eq!(view.get("Order-1")?.as_deref(), Some(&b"{}"[..]));
/// assert_eq!(view.position()?, upto);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct StoredView {
    views: Arc<Views>,
    name: String,
    id: [u8; 16],
    schema: u32,
}

/// An event that a view could not take in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParkedInView {
    /// Where it is.
    pub position: Position,
    /// Its id.
    pub event_id: EventId,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was parked.
    pub parked_at: Timestamp,
    /// Why.
    pub reason: String,
}

impl StoredView {
    /// The handle of a view of a name; `None` where there is none.
    pub(crate) fn open(views: &Arc<Views>, name: &str) -> Result<Option<Self>> {
        let Some(resolved) = views.resolve(name)? else { return Ok(None) };
        let (id, schema) = (resolved.listed.id, resolved.listed.schema);
        Ok(Some(Self { views: Arc::clone(views), name: name.into(), id, schema }))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The schema that it was created with.
    pub const fn schema(&self) -> u32 {
        self.schema
    }

    /// The position up to which it is complete. Takes no read, but for the first time.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn position(&self) -> Result<Position> {
        Ok(Position(self.views.sound(&self.name)?.1.position))
    }

    /// Where it stands and what it holds. Takes O(entries).
    ///
    /// ```
    /// let store = annals::Store::in_memory()?;
    /// let info = store.create_view("totals", 3)?.info()?;
    /// assert_eq!((info.schema, info.entries, info.lag), (3, 0, Some(0)));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); one that has diverged is no error here.
    pub fn info(&self) -> Result<ViewInfo> {
        let missing = || Error::View(ViewError::NotFound { name: self.name.clone() });
        self.views.info(&self.name)?.ok_or_else(missing)
    }

    /// The value of a key; `None` where there is none. Takes O(log entries) and one read.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] where the value is damaged, or damage may hide it: never `None` for that.
    /// [`ViewError::Diverged`] where the log has another event at its position,
    /// [`ViewError::NotFound`] where it was deleted; [`Error::Io`], [`Error::Closed`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Arc<[u8]>>> {
        let (resolved, _) = self.views.sound(&self.name)?;
        resolved.part.find(&entry_key(key.as_ref()))
    }

    /// A read of its entries, in the order of their keys.
    pub fn scan(&self) -> ViewScan {
        ViewScan::new(&self.views, &self.name)
    }

    /// Begins changes that are made from what it is at a position: where it stands.
    pub fn update(&self, from: Position) -> ViewUpdate {
        ViewUpdate::new(self.name.clone(), self.id, from)
    }

    /// Commits changes, with which the view is complete up to a position. All of it or nothing;
    /// durable when this returns, in every mode: the log is synced first where it is not durable up
    /// to there. Takes a read of an event, a write and a sync.
    ///
    /// # Errors
    ///
    /// [`Error::View`] where the view stands elsewhere than where the update was made from
    /// ([`ViewError::Moved`], a [conflict](Error::is_conflict)), or was replaced, has diverged or
    /// is gone, or where the position is before it or beyond the visible end;
    /// [`Error::LimitExceeded`]; [`Error::Corrupt`] where the view is damaged;
    /// [`Error::Unknown`] where the write or the sync fails, and [`Error::Poisoned`] behind that,
    /// until the store is opened again; [`Error::ReadOnly`], [`Error::Closed`].
    pub fn commit(&self, update: ViewUpdate, upto: Position) -> Result<()> {
        self.views.commit(&update, upto)
    }

    /// The events that could not be taken in, by position.
    ///
    /// ```
    /// use annals::{ExpectedVersion, NewEvent, Store, Timestamp};
    /// let store = Store::in_memory()?;
    /// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("Odd", "{")])?;
    /// let view = store.create_view("totals", 1)?;
    /// let event = store.read_all().into_iter().next().unwrap()?;
    /// let (at, now) = (event.position(), Timestamp::from_micros(0));
    /// let update = view.update(view.position()?).park(at, event.id(), 1, now, "no JSON");
    /// view.commit(update, at)?;
    /// assert_eq!(view.parked()?[0].reason, "no JSON");
    /// view.commit(view.update(at).unpark(at), at)?;
    /// assert!(view.parked()?.is_empty());
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn parked(&self) -> Result<Vec<ParkedInView>> {
        let (resolved, _) = self.views.sound(&self.name)?;
        let picked = resolved.part.pick(&Range::prefix(&PARKED_KEYS), usize::MAX, false);
        let mut parked = Vec::new();
        for (key, found) in picked.found {
            let (Some(position), Some(value)) = (of_parked(&key), found.read()?) else { continue };
            let path = || self.views.dir.path(STATE);
            let value = ParkedValue::decode(&value).map_err(|invalid| invalid.at(&path(), 0))?;
            parked.push(ParkedInView {
                position: Position(position),
                event_id: uuid::Uuid::from_bytes(value.event).into(),
                attempts: value.attempts,
                parked_at: value.parked_at,
                reason: value.reason,
            });
        }
        Ok(parked)
    }
}

impl std::fmt::Display for StoredView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "view \"{}\"", shown(&self.name))
    }
}
