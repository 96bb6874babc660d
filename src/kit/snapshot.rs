//! Snapshots with types, and states as they were.

use std::marker::PhantomData;
use std::time::Duration;

use super::view::{AsJson, ViewCodec};
use crate::error::Result;
use crate::event::Event;
use crate::position::{Position, Timestamp, Version};
use crate::snapshot::{NewSnapshot, SnapshotInfo};
use crate::store::Store;

/// Which state of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AsOf {
    /// The newest.
    Now,
    /// Behind the event with this version, or the newest where it is not there yet.
    Version(Version),
    /// When everything up to this position was there.
    Position(Position),
    /// When everything was there that had been created by then: up to the position of
    /// [`Store::position_at`].
    Time(Timestamp),
}

/// A state of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateAt<S> {
    /// The state.
    pub state: S,
    /// The version of the last event that is in it; 0 where there is none.
    pub version: Version,
    /// The position of that event.
    pub position: Position,
    /// How many events were folded, behind a snapshot or from the first.
    pub folded: u64,
}

/// What it took to fold a state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoldCost {
    /// How many events were folded.
    pub events: u64,
    /// How long reading and folding them took.
    pub took: Duration,
}

/// Snapshots of a kind of state, with a type: when to save one, and which can be used.
///
/// A snapshot is only a shortcut: one that is missing, damaged, of another schema, of another
/// history or later than what is asked for is passed over, and the state is folded from an older
/// one or from the first event.
///
/// ```
/// # #[cfg(feature = "json")] {
/// use annals::kit::{AsOf, Snapshots};
/// use annals::{Event, ExpectedVersion, NewEvent, Store, Version};
/// let store = Store::in_memory()?;
/// for amount in 1..=10 {
///     let added = NewEvent::json("Added", &amount)?;
///     store.append("Cart-1", ExpectedVersion::Any, [added])?;
/// }
/// let sums: Snapshots<u64> = Snapshots::new(&store, "sum", 1).every(4).keep(3);
/// let add = |sum: u64, event: &Event| Ok(sum + event.json::<u64>()?);
/// let now = sums.fold("Cart-1", AsOf::Now, 0, add)?;
/// assert_eq!((now.state, now.version, now.folded), (55, Version(10), 10));
/// // It was saved, because at least four events had to be folded.
/// assert_eq!(sums.fold("Cart-1", AsOf::Now, 0, add)?.folded, 0);
/// let earlier = sums.fold("Cart-1", AsOf::Version(Version(3)), 0, add)?;
/// assert_eq!((earlier.state, earlier.folded), (6, 3));
/// # }
/// # Ok::<(), annals::Error>(())
/// ```
pub struct Snapshots<S, C = AsJson> {
    store: Store,
    kind: String,
    schema: u32,
    every: u64,
    cost: Duration,
    keep: usize,
    types: PhantomData<fn() -> (S, C)>,
}

impl<S, C: ViewCodec<S>> Snapshots<S, C> {
    /// Snapshots of a kind, with the schema that they have today.
    pub fn new(store: &Store, kind: impl Into<String>, schema: u32) -> Self {
        Self {
            store: store.clone(),
            kind: kind.into(),
            schema,
            every: 100,
            cost: Duration::MAX,
            keep: 1,
            types: PhantomData,
        }
    }

    /// Saves one when so many events had to be folded, 100 unless said.
    pub fn every(mut self, events: u64) -> Self {
        self.every = events.max(1);
        self
    }

    /// Saves one also when reading and folding the events took so long, however few they are.
    pub const fn or_cost(mut self, time: Duration) -> Self {
        self.cost = time;
        self
    }

    /// How many snapshots of a stream stay, one unless said: more make states of the past fast.
    pub fn keep(mut self, snapshots: usize) -> Self {
        self.keep = snapshots.max(1);
        self
    }

    /// The newest usable state up to a version (any, where none is given), with its version and
    /// position.
    pub fn load(&self, stream: &str, upto: Option<Version>) -> Option<StateAt<S>> {
        self.find(stream, |info| upto.is_none_or(|upto| info.version <= upto))
    }

    fn find(&self, stream: &str, is_wanted: impl Fn(&SnapshotInfo) -> bool) -> Option<StateAt<S>> {
        let mut before = Version(u64::MAX);
        loop {
            let is_usable = |info: &SnapshotInfo| {
                info.schema == self.schema && info.version < before && is_wanted(info)
            };
            // What cannot be read or decoded is as if it were not there: then an older one.
            let found = self.store.find_snapshot(stream, &self.kind, is_usable).ok()??;
            let (version, position) = (found.info.version, found.info.position);
            if let Ok(state) = C::decode(&found.data) {
                return Some(StateAt { state, version, position, folded: 0 });
            }
            before = version;
        }
    }

    /// Whether a state is to be saved that it took so much to fold.
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// use std::time::Duration;
    ///
    /// use annals::Store;
    /// use annals::kit::{FoldCost, Snapshots};
    /// let store = Store::in_memory()?;
    /// let sums: Snapshots<u64> = Snapshots::new(&store, "sum", 1);
    /// let sums = sums.every(1000).or_cost(Duration::from_millis(5));
    /// assert!(sums.is_due(FoldCost { events: 3, took: Duration::from_millis(7) }));
    /// assert!(!sums.is_due(FoldCost { events: 3, took: Duration::from_millis(2) }));
    /// # }
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn is_due(&self, cost: FoldCost) -> bool {
        let FoldCost { events, took } = cost;
        events >= self.every || (events > 0 && took >= self.cost)
    }

    /// Saves a state of a stream at a version. See [`Store::save_snapshot`].
    ///
    /// # Errors
    ///
    /// As [`Store::save_snapshot`], and [`Error::Payload`](crate::Error::Payload).
    pub fn save(&self, stream: &str, state: &S, version: Version) -> Result<()> {
        let snapshot = NewSnapshot::new(version, C::encode(state)?);
        let snapshot = snapshot.schema(self.schema).keep(self.keep);
        self.store.save_snapshot(stream, &self.kind, snapshot)
    }

    /// The state of a stream, now or as it was: from the best snapshot, and the events behind it.
    /// Saves a snapshot where that is due.
    ///
    /// # Errors
    ///
    /// Those of reading, and of the closure. That a snapshot cannot be saved is none.
    pub fn fold(
        &self,
        stream: &str,
        as_of: AsOf,
        initial: S,
        mut evolve: impl FnMut(S, &Event) -> Result<S>,
    ) -> Result<StateAt<S>> {
        let upto = match as_of {
            AsOf::Time(time) => AsOf::Position(self.store.position_at(time)?),
            other => other,
        };
        let is_in = |version: Version, position: Position| match upto {
            AsOf::Version(most) => version <= most,
            AsOf::Position(most) => position <= most,
            AsOf::Now | AsOf::Time(_) => true,
        };
        let began = std::time::Instant::now();
        let found = self.find(stream, |info| is_in(info.version, info.position));
        let start = StateAt {
            state: initial,
            version: Version::NONE,
            position: Position::START,
            folded: 0,
        };
        let mut at = found.unwrap_or(start);
        for event in self.store.read_stream(stream).after(at.version) {
            let event = event?;
            if !is_in(event.version(), event.position()) {
                break;
            }
            at.state = evolve(at.state, &event)?;
            (at.version, at.position) = (event.version(), event.position());
            at.folded += 1;
        }
        let cost = FoldCost { events: at.folded, took: began.elapsed() };
        if self.is_due(cost) {
            // On a follower, for one, nothing can be saved.
            let _ = self.save(stream, &at.state, at.version);
        }
        Ok(at)
    }
}

impl<S, C> std::fmt::Debug for Snapshots<S, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshots")
            .field("kind", &self.kind)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}
