//! What a store holds: its streams, categories and event types.

use std::collections::VecDeque;

use crate::catalog::{Catalog, LastFrame};
use crate::error::Result;
use crate::index::Naming;
use crate::names::category_of;
use crate::place::Place;
use crate::position::{Position, Timestamp, Version};
use crate::sync::Arc;

/// An event type or a category, and how many events have it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameInfo {
    /// The event type or the category.
    pub name: String,
    /// How many events have it.
    pub events: u64,
    /// The first event that has it.
    pub first_position: Position,
    /// The last event that has it.
    pub last_position: Position,
}

/// An event type with one of its schema versions, and how many events have both.
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

/// A stream of a list, as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedStream {
    /// Its name.
    pub name: String,
    /// The version of its last event, which is also how many events it has.
    pub version: Version,
    /// The position of its first event.
    pub first_position: Position,
    /// The position of its last event.
    pub last_position: Position,
}

/// A list of streams: a builder, and what a `for` loop takes. In the order in which they began.
///
/// It looks at one segment at a time; what it costs grows with the number of streams (and not of
/// events) that the store has in all, what it keeps with those of one segment.
///
/// ```
/// use annals::{ExpectedVersion, NewEvent, Store};
/// let store = Store::in_memory()?;
/// for stream in ["Order-1", "Customer-1", "Order-2", "Order-1"] {
///     store.append(stream, ExpectedVersion::Any, [NewEvent::new("Touched", "")])?;
/// }
/// let mut orders = Vec::new();
/// for stream in store.streams().category("Order") {
///     let stream = stream?;
///     orders.push((stream.name, stream.version.0));
/// }
/// assert_eq!(orders, [("Order-1".into(), 2), ("Order-2".into(), 1)]);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a list does nothing until it is iterated"]
pub struct Streams {
    catalog: Result<Arc<Catalog>>,
    category: Option<String>,
    prefix: String,
}

impl Streams {
    pub(crate) const fn new(catalog: Result<Arc<Catalog>>) -> Self {
        Self { catalog, category: None, prefix: String::new() }
    }

    /// Only streams of a category.
    pub fn category(mut self, category: impl Into<String>) -> Self {
        self.category = Some(category.into());
        self
    }

    /// Only streams whose name begins with this.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }
}

impl IntoIterator for Streams {
    type Item = Result<ListedStream>;
    type IntoIter = StreamList;

    fn into_iter(self) -> StreamList {
        let source = self.catalog.and_then(|catalog| {
            Ok(ListSource {
                visible: catalog.pin()?,
                segments: catalog.index.segment_ordinals().into(),
                catalog,
                category: self.category,
                prefix: self.prefix,
                begin: VecDeque::new(),
                last_frame: None,
            })
        });
        StreamList { source: Some(source) }
    }
}

/// The iterator over streams. It ends with `None`, or with one error.
#[derive(Debug)]
pub struct StreamList {
    source: Option<Result<ListSource>>,
}

#[derive(Debug)]
struct ListSource {
    catalog: Arc<Catalog>,
    visible: Position,
    /// The segments that are left.
    segments: VecDeque<u32>,
    category: Option<String>,
    prefix: String,
    /// The events with which streams begin in the segment that is looked at.
    begin: VecDeque<Place>,
    last_frame: LastFrame,
}

impl Iterator for StreamList {
    type Item = Result<ListedStream>;

    fn next(&mut self) -> Option<Result<ListedStream>> {
        let Ok(source) = self.source.as_mut()? else {
            return self.source.take().and_then(Result::err).map(Err);
        };
        let next = source.next().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.source = None;
        }
        next
    }
}

impl ListSource {
    fn next(&mut self) -> Result<Option<ListedStream>> {
        loop {
            while let Some(place) = self.begin.pop_front() {
                let first = self.catalog.event_at(place, &mut self.last_frame)?;
                let name = first.stream();
                let is_wanted = name.starts_with(&self.prefix)
                    && self.category.as_deref().is_none_or(|wanted| category_of(name) == wanted);
                if is_wanted && first.position() <= self.visible {
                    return self.describe(name, first.position()).map(Some);
                }
            }
            let Some(segment) = self.segments.pop_front() else {
                return self.catalog.nothing();
            };
            for ordinal in self.catalog.index.beginnings(segment)? {
                self.begin.push_back(self.catalog.index.place(segment, ordinal)?);
            }
        }
    }

    fn describe(&self, name: &str, first_position: Position) -> Result<ListedStream> {
        let newest = super::ReadStream::new(Ok(Arc::clone(&self.catalog)), name);
        let newest = newest.backwards().limit(1).into_iter().next().transpose()?;
        let (version, last_position) = newest
            .map_or((Version(1), first_position), |event| (event.version(), event.position()));
        Ok(ListedStream { name: name.into(), version, first_position, last_position })
    }
}

/// All types or categories that begin with a prefix.
pub(crate) fn names(catalog: &Catalog, naming: Naming) -> Result<Vec<NameInfo>> {
    catalog.refresh()?;
    let names = catalog.index.names(naming)?;
    let visible = catalog.watermark.visible();
    let names: Vec<_> = names
        .into_iter()
        .filter(|(_, counted)| counted.first <= visible)
        .map(|(name, counted)| NameInfo {
            name,
            events: counted.events,
            first_position: counted.first,
            last_position: counted.last.min(visible),
        })
        .collect();
    match catalog.damage() {
        Some(damage) => Err(damage),
        None => Ok(names),
    }
}

/// All types with their schema versions.
pub(crate) fn schemas(catalog: &Catalog) -> Result<Vec<SchemaInfo>> {
    catalog.refresh()?;
    let schemas = catalog.index.schemas()?;
    let visible = catalog.watermark.visible();
    let schemas: Vec<_> = schemas
        .into_iter()
        .filter(|(_, counted)| counted.first <= visible)
        .map(|((event_type, schema_version), counted)| SchemaInfo {
            event_type,
            schema_version,
            events: counted.events,
            first_position: counted.first,
            last_position: counted.last.min(visible),
        })
        .collect();
    match catalog.damage() {
        Some(damage) => Err(damage),
        None => Ok(schemas),
    }
}

/// The position before the first event that was created after a time.
pub(crate) fn position_at(catalog: &Catalog, time: Timestamp) -> Result<Position> {
    let visible = catalog.pin()?;
    let mut from = 1;
    while let Some((first, events)) = catalog.index.zone_after(time, from)? {
        let last = (first + events - 1).min(visible.0);
        let mut last_frame = None;
        for position in first.max(from)..=last {
            let event = catalog.event_behind(Position(position), &mut last_frame)?;
            if event.created_at() > time {
                return Ok(Position(position - 1));
            }
        }
        if last >= visible.0 {
            break;
        }
        from = last + 1;
    }
    match catalog.damage() {
        Some(damage) => Err(damage),
        None => Ok(visible),
    }
}
