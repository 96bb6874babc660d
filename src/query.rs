//! Queries: which events. The same value filters reads, subscriptions and conditions.

mod criteria;
mod filters;

use crate::error::Result;
use crate::event::Event;
use crate::position::{Position, Timestamp};
use criteria::{AnyOf, OwnedLabel};
pub(crate) use criteria::{Criteria, Facts};
pub(crate) use filters::filters;

/// Which events: by stream, category, type, tag, correlation, causation and time.
///
/// A new query matches every event, and each call narrows it: all that was said must hold. What an
/// event has one of (its stream, category, type, correlation and causation id) is one of the values
/// of all calls together. Tags it has many of, so each call of [`tag`](Query::tag) must hold, and
/// [`any_tag`](Query::any_tag) holds where one of its tags is there. [`or`](Query::or) joins whole
/// queries: that is how the items of the Dynamic Consistency Boundary specification are said.
///
/// ```
/// use annals::{ExpectedVersion, NewEvent, Query, Store};
/// let store = Store::in_memory()?;
/// let enrolled = NewEvent::new("Enrolled", "").tag("course:1").tag("student:7");
/// store.append("Course-1", ExpectedVersion::Any, [NewEvent::new("Opened", ""), enrolled])?;
/// let query = Query::new().types(["Enrolled", "Left"]).tag("course:1").tag("student:7");
/// let found: Vec<_> = store.read(query).into_iter().collect::<annals::Result<_>>()?;
/// assert_eq!(found[0].event_type(), "Enrolled");
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// An event matches that matches one of these; never empty.
    alternatives: Vec<Criteria>,
    after: Position,
}

impl Default for Query {
    fn default() -> Self {
        Self { alternatives: vec![Criteria::default()], after: Position::START }
    }
}

impl Query {
    /// Every event.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only events behind a position.
    pub fn after(mut self, position: Position) -> Self {
        self.after = position;
        self
    }

    /// Only events of a stream, or of one of several calls.
    pub fn stream(self, name: impl Into<String>) -> Self {
        self.streams([name])
    }

    /// Only events of some streams.
    pub fn streams<T: Into<String>>(self, names: impl IntoIterator<Item = T>) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        self.each(|criteria| add_to(&mut criteria.streams, &names))
    }

    /// Only events of streams whose name begins with this, or with that of another call.
    pub fn stream_prefix(self, prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        self.each(|criteria| criteria.prefixes.get_or_insert_default().push(prefix.clone()))
    }

    /// Only events of a category, or of one of several calls.
    pub fn category(self, category: impl Into<String>) -> Self {
        self.categories([category])
    }

    /// Only events of some categories.
    pub fn categories<T: Into<String>>(self, categories: impl IntoIterator<Item = T>) -> Self {
        let categories: Vec<String> = categories.into_iter().map(Into::into).collect();
        self.each(|criteria| add_to(&mut criteria.categories, &categories))
    }

    /// Only events of a type, or of one of several calls.
    pub fn event_type(self, event_type: impl Into<String>) -> Self {
        self.types([event_type])
    }

    /// Only events of some types.
    pub fn types<T: Into<String>>(self, types: impl IntoIterator<Item = T>) -> Self {
        let types: Vec<String> = types.into_iter().map(Into::into).collect();
        self.each(|criteria| add_to(&mut criteria.types, &types))
    }

    /// Only events that have a tag, beside those of other calls.
    pub fn tag(self, tag: impl Into<String>) -> Self {
        self.any_tag([tag])
    }

    /// Only events that have one of some tags. None of no tags.
    pub fn any_tag<T: Into<String>>(self, tags: impl IntoIterator<Item = T>) -> Self {
        let tags: Vec<_> = tags.into_iter().map(|tag| OwnedLabel::Tag(tag.into())).collect();
        self.each(|criteria| criteria.labels.push(tags.clone()))
    }

    /// Only events with a correlation id, or with that of another call.
    pub fn correlation(self, id: impl Into<String>) -> Self {
        let label = OwnedLabel::Correlation(id.into());
        self.each(|criteria| criteria.widen(&label))
    }

    /// Only events with a causation id, or with that of another call.
    pub fn causation(self, id: impl Into<String>) -> Self {
        let label = OwnedLabel::Causation(id.into());
        self.each(|criteria| criteria.widen(&label))
    }

    /// Only events [created](Event::created_at) in a range of time: at its start or later, before
    /// its end.
    pub fn between<T: Into<Timestamp>>(self, range: std::ops::Range<T>) -> Self {
        self.since(range.start).until(range.end)
    }

    /// Only events [created](Event::created_at) then or later.
    pub fn since(self, time: impl Into<Timestamp>) -> Self {
        let time = time.into();
        self.each(|c| c.since = Some(c.since.map_or(time, |known| known.max(time))))
    }

    /// Only events [created](Event::created_at) before.
    pub fn until(self, time: impl Into<Timestamp>) -> Self {
        let time = time.into();
        self.each(|c| c.until = Some(c.until.map_or(time, |known| known.min(time))))
    }

    /// What this query matches, and what another one does. The lower [`after`](Query::after) of the
    /// two counts; what is said behind this holds for both.
    ///
    /// ```
    /// use annals::Query;
    /// let courses = Query::new().types(["CourseDefined"]).tag("course:1");
    /// let students = Query::new().types(["StudentEnrolled"]).tag("student:7");
    /// let either = courses.or(students);
    /// # let _ = either;
    /// ```
    pub fn or(mut self, other: Self) -> Self {
        self.after = self.after.min(other.after);
        self.alternatives.extend(other.alternatives);
        self
    }

    /// Whether an event matches, wherever it stands.
    pub fn matches(&self, event: &Event) -> bool {
        event.position() > self.after && self.admits(event)
    }

    /// Whether an event would match, were it of another type: what
    /// [upcasts](crate::kit::Upcasts) make of an event is held against a query by this.
    ///
    /// ```
    /// use annals::{ExpectedVersion, NewEvent, Position, Query, Store};
    /// let store = Store::in_memory()?;
    /// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("Sent", "")])?;
    /// let event = store.event(Position(1))?.unwrap();
    /// let shipped = Query::new().event_type("Shipped");
    /// assert!(!shipped.matches(&event) && shipped.matches_as(&event, "Shipped"));
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn matches_as(&self, event: &Event, event_type: &str) -> bool {
        event.position() > self.after && self.admits(&criteria::Retyped { event, event_type })
    }

    /// The same query with other types in the place of each that is said in it. Nothing changes
    /// where none is.
    ///
    /// ```
    /// use annals::Query;
    /// let query = Query::new().category("Order").event_type("Shipped");
    /// let wider = query.replace_types(|name| [name.to_owned(), format!("{name}Once")]);
    /// assert_eq!(wider, Query::new().category("Order").types(["Shipped", "ShippedOnce"]));
    /// ```
    pub fn replace_types<T>(self, others: impl Fn(&str) -> T) -> Self
    where
        T: IntoIterator<Item = String>,
    {
        self.each(|criteria| {
            if let Some(types) = &mut criteria.types {
                *types = types.iter().flat_map(|name| others(name)).collect();
            }
        })
    }

    /// Whether the facts of an event match, without its position.
    pub(crate) fn admits(&self, event: &impl Facts) -> bool {
        self.alternatives.iter().any(|criteria| criteria.matches(event))
    }

    pub(crate) fn alternatives(&self) -> &[Criteria] {
        &self.alternatives
    }

    /// The position that is excluded with all before it.
    pub(crate) const fn excluded(&self) -> Position {
        self.after
    }

    /// Whether it matches every event behind its position.
    pub(crate) fn is_everything(&self) -> bool {
        self.alternatives.contains(&Criteria::default())
    }

    /// Checks names against what a stored event can have.
    pub(crate) fn check(&self) -> Result<()> {
        self.alternatives.iter().try_for_each(Criteria::check)
    }

    fn each(mut self, change: impl Fn(&mut Criteria)) -> Self {
        self.alternatives.iter_mut().for_each(change);
        self
    }
}

fn add_to(values: &mut AnyOf, more: &[String]) {
    values.get_or_insert_default().extend_from_slice(more);
}
