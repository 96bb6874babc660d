//! Queries and identifiers of the framework as those of annals.

use annals::{Position, Query};
use disintegrate::{DomainIdSet, Event, StreamFilter, StreamQuery};

use crate::error::Error;
use crate::event_store::AnnalsEventId;

/// The tags of an event or a filter: `identifier:value`.
pub(crate) fn tags(identifiers: &DomainIdSet) -> impl Iterator<Item = String> {
    identifiers.iter().map(|(name, value)| format!("{name}:{value}"))
}

/// What annals can say of a query: everything but that its filters begin at different places, and
/// whose position is the lowest of theirs. `None` for a query that matches nothing.
pub(crate) fn query_of<E: Event + Clone>(
    stream: &str,
    query: &StreamQuery<AnnalsEventId, E>,
) -> Result<Option<Query>, Error> {
    let alternative = |filter: &StreamFilter<AnnalsEventId, E>| {
        let excluded = filter.excluded_events();
        let is_asked = |name: &&str| excluded.is_none_or(|excluded| !excluded.contains(name));
        let types = filter.events().iter().copied().filter(is_asked);
        let query = Query::new().stream(stream).types(types).after(position(filter.origin())?);
        Ok(tags(filter.identifiers()).fold(query, Query::tag))
    };
    let alternatives = query.filters().iter().map(alternative);
    let joined = alternatives.reduce(|left, right| Ok::<_, Error>(left?.or(right?)));
    joined.transpose()
}

/// The place that an id of the framework stands for; 0 is before everything.
pub(crate) fn position(id: AnnalsEventId) -> Result<Position, Error> {
    u64::try_from(id).map(Position).map_err(|_| Error::EventId(id.into()))
}

pub(crate) fn id_of(position: Position) -> Result<AnnalsEventId, Error> {
    AnnalsEventId::try_from(position.0).map_err(|_| Error::EventId(position.0.into()))
}
