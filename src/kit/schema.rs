//! What a store has ever held: types and schema versions, and whether all of them still read.

mod check;

use std::collections::BTreeMap;

use crate::error::Result;
use crate::position::Position;
use crate::store::Store;

pub use check::{CheckedSchema, SchemaCheck, SchemaReport};

/// A type and schema version that a store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemaInfo {
    /// The event type.
    pub event_type: String,
    /// The schema version.
    pub schema_version: u32,
    /// How many events have both.
    pub events: u64,
    /// The first of them.
    pub first_position: Position,
    /// The last of them.
    pub last_position: Position,
}

/// The catalogue: every type and schema version that a store has ever held.
///
/// It is computed by reading each event once, checked as every read is (the index knows types, but
/// not their versions); [`refresh`](Self::refresh) reads only what is new. What it keeps in memory
/// grows with the number of types and versions.
///
/// ```
/// use annals::kit::SchemaCatalogue;
/// use annals::{ExpectedVersion, NewEvent, Store};
/// let store = Store::in_memory()?;
/// for version in [1, 2, 2] {
///     let placed = NewEvent::new("OrderPlaced", "{}").schema_version(version);
///     store.append("Order-1", ExpectedVersion::Any, [placed])?;
/// }
/// let mut catalogue = SchemaCatalogue::new(&store);
/// catalogue.refresh()?;
/// let schemas = catalogue.schemas();
/// assert_eq!((schemas[1].event_type.as_str(), schemas[1].schema_version), ("OrderPlaced", 2));
/// assert_eq!((schemas[1].events, schemas[1].first_position.0), (2, 2));
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SchemaCatalogue {
    store: Store,
    upto: Position,
    /// Of each type, of each version: how many events, the first, the last.
    types: BTreeMap<String, BTreeMap<u32, (u64, Position, Position)>>,
}

impl SchemaCatalogue {
    /// The catalogue of a store (also of a follower), of which nothing is read yet.
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), upto: Position::START, types: BTreeMap::new() }
    }

    /// Reads what is visible and new.
    ///
    /// # Errors
    ///
    /// As reading. What was read before the error is kept, and the next call goes on there.
    pub fn refresh(&mut self) -> Result<()> {
        for event in self.store.read_all().after(self.upto) {
            let event = event?;
            let (name, version) = (event.event_type(), event.schema_version());
            let at = event.position();
            if !self.types.contains_key(name) {
                self.types.insert(name.into(), BTreeMap::new());
            }
            if let Some(versions) = self.types.get_mut(name) {
                let (events, _, last) = versions.entry(version).or_insert((0, at, at));
                *events += 1;
                *last = at;
            }
            self.upto = at;
        }
        Ok(())
    }

    /// Up to where it was read.
    pub const fn position(&self) -> Position {
        self.upto
    }

    /// Every type and version, in order.
    pub fn schemas(&self) -> Vec<SchemaInfo> {
        let mut all = Vec::new();
        for (event_type, versions) in &self.types {
            for (version, (events, first, last)) in versions {
                all.push(SchemaInfo {
                    event_type: event_type.clone(),
                    schema_version: *version,
                    events: *events,
                    first_position: *first,
                    last_position: *last,
                });
            }
        }
        all
    }
}
