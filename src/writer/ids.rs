//! Idempotency: is an append the same that was made before?

use super::request::Request;
use crate::error::{Error, IdConflict, Result};
use crate::event::{Appended, Done, Event, Parts, TYPE_AT, text_at};
use crate::format::entry;
use crate::names::EventId;
use crate::position::{Position, Version};

/// An event that has an id of the request: where it stands, and what it is.
#[derive(Debug)]
pub(crate) struct Holder<'a> {
    pub(crate) position: Position,
    pub(crate) version: Version,
    pub(crate) stream: &'a str,
    pub(crate) content: Content<'a>,
}

/// What counts as the content of an event: everything but its id and its time.
#[derive(Debug)]
pub(crate) struct Content<'a> {
    parts: Parts,
    entry: &'a [u8],
}

impl<'a> Content<'a> {
    /// The content of an entry that is about to be written.
    pub(crate) fn of_entry(entry: &'a [u8]) -> Option<Self> {
        Some(Self { parts: entry::parts(entry).ok()?, entry })
    }

    fn of_event(event: &'a Event) -> Self {
        Self { parts: event.parts, entry: event.entry() }
    }

    /// What differs from another content, if anything does.
    fn differs(&self, other: &Self) -> Option<&'static str> {
        let (a, b) = (&self.parts, &other.parts);
        if a.schema_version != b.schema_version {
            return Some("schema version");
        }
        if a.json != b.json {
            return Some("content type");
        }
        let names = [
            ("event type", TYPE_AT, TYPE_AT),
            ("content type", a.content_type, b.content_type),
            ("correlation id", a.correlation, b.correlation),
            ("causation id", a.causation, b.causation),
        ];
        let names = names.into_iter().map(|(what, of_a, of_b)| {
            (what, text_at(self.entry, of_a) != text_at(other.entry, of_b))
        });
        let bytes = [
            ("data", a.data(self.entry) != b.data(other.entry)),
            ("metadata", a.metadata(self.entry) != b.metadata(other.entry)),
        ];
        if let Some((what, _)) = names.chain(bytes).find(|(_, differs)| *differs) {
            return Some(what);
        }
        (self.tags() != other.tags()).then_some("set of tags")
    }

    /// The tags as a set: sorted.
    fn tags(&self) -> Vec<&[u8]> {
        let mut rest = self.parts.tags(self.entry);
        let mut tags = Vec::new();
        while let Some((len, behind)) = rest.split_first()
            && let Some((tag, next)) = behind.split_at_checked(usize::from(*len))
        {
            tags.push(tag);
            rest = next;
        }
        tags.sort_unstable();
        tags
    }
}

impl<'a> Holder<'a> {
    pub(crate) fn of_event(event: &'a Event) -> Self {
        Self {
            position: event.position(),
            version: event.version(),
            stream: event.stream(),
            content: Content::of_event(event),
        }
    }
}

/// Compares a request with what is stored under its ids, one holder (or none) for each event.
///
/// `None`: none of its ids is in use. `Some`: it is a retry, and this is the original result.
///
/// # Errors
///
/// [`Error::IdConflict`] where ids are in use, but not by the same append.
pub(crate) fn compare(request: &Request, holders: &[Option<Holder<'_>>]) -> Result<Option<Done>> {
    let mut present = None;
    let mut absent = None;
    for (index, (event, holder)) in request.events.iter().zip(holders).enumerate() {
        let Some(id) = event.id else { continue };
        let Some(holder) = holder else {
            absent = absent.or(Some(id));
            continue;
        };
        present = present.or(Some((id, holder.position)));
        check_same(request, index, id, holder)?;
    }
    let Some((first, position)) = present else { return Ok(None) };
    if let Some(absent) = absent {
        let present = first;
        return refuse(IdConflict::Partial { present, position, absent });
    }
    check_order(request, holders)?;
    let result = |part: &super::request::PreparedPart| {
        let last = part.events.clone().last()?;
        let holder = holders.get(last)?.as_ref()?;
        let (version, position) = (holder.version, holder.position);
        Some(Appended { version, position, deduplicated: true })
    };
    Ok(Some(request.parts.iter().filter_map(result).collect()))
}

fn check_same(request: &Request, index: usize, id: EventId, holder: &Holder<'_>) -> Result<()> {
    let position = holder.position;
    let stream = request.events.get(index).and_then(|event| request.streams.get(event.stream));
    if stream.is_none_or(|stream| stream.name != holder.stream) {
        let stream = holder.stream.to_owned();
        return refuse(IdConflict::OtherStream { id, stream, position });
    }
    let wanted = Content::of_entry(request.entry(index));
    match wanted.as_ref().map(|wanted| holder.content.differs(wanted)) {
        Some(None) => Ok(()),
        Some(Some(differs)) => refuse(IdConflict::OtherContent { id, position, differs }),
        None => refuse(IdConflict::OtherContent { id, position, differs: "content" }),
    }
}

/// The events of each stream must stand at consecutive versions, in the order of the request.
fn check_order(request: &Request, holders: &[Option<Holder<'_>>]) -> Result<()> {
    let mut next: Vec<Option<u64>> = vec![None; request.streams.len()];
    for (event, holder) in request.events.iter().zip(holders) {
        let (Some(id), Some(holder)) = (event.id, holder) else { continue };
        let Some(expected) = next.get_mut(event.stream) else { continue };
        if expected.is_some_and(|expected| expected != holder.version.0) {
            let position = holder.position;
            return refuse(IdConflict::Reordered { id, position });
        }
        *expected = Some(holder.version.0 + 1);
    }
    Ok(())
}

fn refuse<T>(conflict: IdConflict) -> Result<T> {
    Err(Error::IdConflict(conflict))
}
