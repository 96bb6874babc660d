//! What must all hold of an event, and what is looked at in it.

use crate::error::Result;
use crate::event::Event;
use crate::names::{self, Label, category_of};
use crate::position::Timestamp;

/// One of some values; `None` asks nothing, and an empty list is never met.
pub(crate) type AnyOf = Option<Vec<String>>;

/// What must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Criteria {
    pub(crate) streams: AnyOf,
    pub(crate) prefixes: AnyOf,
    pub(crate) categories: AnyOf,
    pub(crate) types: AnyOf,
    /// Of each of these sets one label must be there.
    pub(crate) labels: Vec<Vec<OwnedLabel>>,
    /// Created then or later.
    pub(crate) since: Option<Timestamp>,
    /// Created before.
    pub(crate) until: Option<Timestamp>,
}

/// A [`Label`] that owns its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OwnedLabel {
    Tag(String),
    Correlation(String),
    Causation(String),
}

impl OwnedLabel {
    pub(crate) fn as_label(&self) -> Label<'_> {
        match self {
            Self::Tag(text) => Label::Tag(text),
            Self::Correlation(text) => Label::Correlation(text),
            Self::Causation(text) => Label::Causation(text),
        }
    }
}

/// What a query looks at in an event, stored or about to be.
pub(crate) trait Facts {
    fn stream(&self) -> &str;
    fn event_type(&self) -> &str;
    fn created_at(&self) -> Timestamp;
    fn has_label(&self, label: Label<'_>) -> bool;
}

impl Facts for Event {
    fn stream(&self) -> &str {
        Event::stream(self)
    }

    fn event_type(&self) -> &str {
        Event::event_type(self)
    }

    fn created_at(&self) -> Timestamp {
        Event::created_at(self)
    }

    fn has_label(&self, label: Label<'_>) -> bool {
        match label {
            Label::Tag(tag) => self.tags().any(|found| found == tag),
            Label::Correlation(id) => self.correlation_id() == Some(id),
            Label::Causation(id) => self.causation_id() == Some(id),
        }
    }
}

/// An event, taken for one of another type.
pub(crate) struct Retyped<'a> {
    pub(crate) event: &'a Event,
    pub(crate) event_type: &'a str,
}

impl Facts for Retyped<'_> {
    fn stream(&self) -> &str {
        self.event.stream()
    }

    fn event_type(&self) -> &str {
        self.event_type
    }

    fn created_at(&self) -> Timestamp {
        self.event.created_at()
    }

    fn has_label(&self, label: Label<'_>) -> bool {
        self.event.has_label(label)
    }
}

impl Criteria {
    /// Whether an event matches.
    pub(crate) fn matches(&self, event: &impl Facts) -> bool {
        let stream = event.stream();
        is_one_of(&self.streams, |name| name == stream)
            && is_one_of(&self.categories, |name| name == category_of(stream))
            && is_one_of(&self.types, |name| name == event.event_type())
            && is_one_of(&self.prefixes, |prefix| stream.starts_with(prefix))
            && self.since.is_none_or(|since| event.created_at() >= since)
            && self.until.is_none_or(|until| event.created_at() < until)
            && self.labels.iter().all(|set| set.iter().any(|l| event.has_label(l.as_label())))
    }

    /// Whether streams of a category can match.
    pub(crate) fn admits_category(&self, category: &str) -> bool {
        let of_prefix = |prefix: &str| match prefix.split_once('-') {
            Some((whole, _)) => whole == category,
            None => category.starts_with(prefix),
        };
        is_one_of(&self.categories, |name| name == category)
            && is_one_of(&self.prefixes, of_prefix)
            && is_one_of(&self.streams, |name| category_of(name) == category)
    }

    /// Whether the name of a type says that its events cannot match.
    pub(crate) fn admits_type(&self, event_type: &str) -> bool {
        is_one_of(&self.types, |name| name == event_type)
    }

    /// Adds a label to those of its kind, of which an event has only one.
    pub(super) fn widen(&mut self, label: &OwnedLabel) {
        let kind = |label: &OwnedLabel| label.as_label().kind();
        let same = |set: &&mut Vec<OwnedLabel>| set.first().map(kind) == Some(kind(label));
        match self.labels.iter_mut().find(same) {
            Some(set) => set.push(label.clone()),
            None => self.labels.push(vec![label.clone()]),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        for name in self.streams.iter().flatten() {
            names::check_stream_name(name)?;
        }
        for name in self.types.iter().flatten() {
            names::check_event_type(name)?;
        }
        for name in self.prefixes.iter().chain(&self.categories).flatten() {
            names::check_part_of_stream_name(name)?;
        }
        for label in self.labels.iter().flatten() {
            let what = match label {
                OwnedLabel::Tag(_) => "tag",
                OwnedLabel::Correlation(_) => "correlation id",
                OwnedLabel::Causation(_) => "causation id",
            };
            names::check_label(what, label.as_label().text())?;
        }
        Ok(())
    }
}

fn is_one_of(values: &AnyOf, is: impl Fn(&str) -> bool) -> bool {
    values.as_ref().is_none_or(|values| values.iter().any(|value| is(value)))
}
