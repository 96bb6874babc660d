//! Whether everything that was ever stored can still be read.

use crate::error::{Error, Result, SchemaError};
use crate::event::Event;
use crate::position::Position;
use crate::query::Query;
use crate::reader::SchemaInfo;
use crate::store::Store;

use super::typed::{EventSet, PayloadRef, Schema};
use super::upcast::Upcasts;

/// A check that every type and schema version that a store has ever held still decodes: for a test
/// in CI, against a copy of real data. A builder, and made by [`SchemaCheck::new`].
///
/// Of each type and version the first and last events are lifted and decoded (256 of each, unless
/// [said otherwise](Self::sample)), or [all](Self::all). Which types and versions there are says
/// [`Store::schemas`], so none is missed by a sample.
///
/// ```
/// # #[cfg(all(feature = "derive", feature = "json"))] {
/// use annals::kit::{EventSet, SchemaCheck, Upcasts};
/// use annals::{ExpectedVersion, NewEvent, Store};
/// #[derive(EventSet)]
/// enum Order {
///     #[event(name = "OrderPlaced", version = 2)]
///     Placed { cents: u64 },
/// }
/// let store = Store::in_memory()?;
/// for event in [
///     NewEvent::new("OrderPlaced", r#"{"total":4}"#),
///     NewEvent::new("OrderPlaced", r#"{"cents":4}"#).schema_version(2),
/// ] {
///     store.append("Order-1", ExpectedVersion::Any, [event])?;
/// }
/// let report = SchemaCheck::new(&store).types::<Order>().run()?;
/// assert!(!report.is_clean());
/// assert_eq!(report.schemas[0].failed, 1, "nothing lifts version 1");
///
/// let upcasts = Upcasts::builder()
///     .change("OrderPlaced", 1, |fields| {
///         let total = fields.remove("total").and_then(|t| t.as_u64()).ok_or("no total")?;
///         fields.insert("cents".into(), (total * 100).into());
///         Ok(())
///     })
///     .build()?;
/// assert!(SchemaCheck::new(&store).types::<Order>().upcasts(upcasts).run()?.is_clean());
/// # }
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a check does nothing until it is run"]
pub struct SchemaCheck {
    store: Store,
    upcasts: Upcasts,
    types: Vec<Known>,
    sample: Option<u64>,
}

/// A type that is current, and what decodes it.
#[derive(Debug)]
struct Known {
    event_type: String,
    version: u32,
    decode: fn(PayloadRef<'_>) -> Result<()>,
}

/// What a [`SchemaCheck`] found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SchemaReport {
    /// Each type and version that the store holds, in order.
    pub schemas: Vec<CheckedSchema>,
}

/// A type and version that a store holds, and how its events read today.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckedSchema {
    /// What the store says of it.
    pub stored: SchemaInfo,
    /// How many of its events were looked at.
    pub checked: u64,
    /// How many of those cannot be read.
    pub failed: u64,
    /// Why the first of them cannot: with position, type and version.
    pub first_failure: Option<SchemaError>,
}

impl SchemaReport {
    /// Whether every event that was looked at can be read.
    pub fn is_clean(&self) -> bool {
        self.schemas.iter().all(|schema| schema.failed == 0)
    }
}

impl SchemaCheck {
    /// A check of a store (also of a follower). Without [types](Self::types), only whether every
    /// event can be lifted.
    pub fn new(store: &Store) -> Self {
        let (upcasts, types) = (Upcasts::default(), Vec::new());
        Self { store: store.clone(), upcasts, types, sample: Some(256) }
    }

    /// The upcasts through which events are read.
    pub fn upcasts(mut self, upcasts: Upcasts) -> Self {
        self.upcasts = upcasts;
        self
    }

    /// The types of a set, beside those of other calls: what events have to be in the end.
    pub fn types<E: EventSet>(mut self) -> Self {
        let decode = |payload: PayloadRef<'_>| E::from_payload(payload).map(drop);
        self.types.extend(E::SCHEMAS.iter().map(|Schema { event_type, version, .. }| Known {
            event_type: (*event_type).into(),
            version: *version,
            decode,
        }));
        self
    }

    /// One more type that is current, at its version of today; its data is not looked at.
    pub fn current_type(mut self, event_type: impl Into<String>, version: u32) -> Self {
        let decode = |_: PayloadRef<'_>| Ok(());
        self.types.push(Known { event_type: event_type.into(), version, decode });
        self
    }

    /// Looks at so many of the first events of each type and version, and as many of the last.
    pub fn sample(mut self, events: u64) -> Self {
        self.sample = Some(events.max(1));
        self
    }

    /// Looks at every event.
    pub fn all(mut self) -> Self {
        self.sample = None;
        self
    }

    /// Runs it: reads the events of each type from where a version begins, and from where it ends,
    /// until as many are looked at as are wanted, or as there are.
    ///
    /// # Errors
    ///
    /// As reading. An event that cannot be lifted or decoded is no error here, but in the report.
    pub fn run(self) -> Result<SchemaReport> {
        let mut schemas = Vec::new();
        for stored in self.store.schemas()? {
            let mut checked = CheckedSchema { stored, checked: 0, failed: 0, first_failure: None };
            self.check(&mut checked)?;
            schemas.push(checked);
        }
        Ok(SchemaReport { schemas })
    }

    fn check(&self, checked: &mut CheckedSchema) -> Result<()> {
        let stored = checked.stored.clone();
        let of_type = Query::new().event_type(stored.event_type.as_str());
        // None is looked for once all that there are have been found.
        let most = self.sample.unwrap_or(u64::MAX).min(stored.events);
        let mut last = Position::START;
        let before = Position(stored.first_position.0.saturating_sub(1));
        for event in self.store.read(of_type.clone()).after(before) {
            let event = event?;
            if event.position() > stored.last_position || checked.checked >= most {
                break;
            }
            if event.schema_version() == stored.schema_version {
                last = event.position();
                self.look_at(&event, checked)?;
            }
        }
        // Those behind the first ones that were looked at, so that none counts twice.
        let newest = self.store.read(of_type.after(last)).backwards();
        let upto = checked.checked.saturating_add(most).min(stored.events);
        for event in newest.into_iter().take_while(|_| self.sample.is_some()) {
            let event = event?;
            if checked.checked >= upto {
                break;
            }
            if event.position() <= stored.last_position
                && event.schema_version() == stored.schema_version
            {
                self.look_at(&event, checked)?;
            }
        }
        Ok(())
    }

    fn look_at(&self, event: &Event, checked: &mut CheckedSchema) -> Result<()> {
        checked.checked += 1;
        match self.read(event) {
            Ok(()) => Ok(()),
            Err(Error::Schema(failure)) => {
                checked.failed += 1;
                checked.first_failure.get_or_insert_with(|| failure.at(event.position()));
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    fn read(&self, event: &Event) -> Result<()> {
        for part in self.upcasts.lift(event)? {
            let payload = part.payload();
            if self.types.is_empty() {
                continue;
            }
            let of_name = |known: &&Known| known.event_type == payload.event_type;
            let known = self.types.iter().find(of_name).ok_or_else(|| payload.unknown_type())?;
            payload.expect_version(known.version)?;
            (known.decode)(payload)?;
        }
        Ok(())
    }
}
