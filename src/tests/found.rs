//! What is found through the index by labels, types, categories and times, and what a subscription
//! delivers, against a list of all events.

use std::collections::BTreeMap;

use crate::{Event, Position, Store};

/// Positions, and how many there are, by name.
type ByName = BTreeMap<String, Vec<Position>>;

/// Panics unless every way to find events gives what a look at all of them does.
pub(super) fn check_found(store: &Store, events: &[Event]) {
    check_labels(store, events);
    check_names(store, events);
    let mut subscription = store.subscribe().start().unwrap();
    for event in events {
        let next = subscription.try_next().unwrap().map(|next| next.position());
        assert_eq!(next, Some(event.position()), "what a subscription delivers");
    }
    assert!(subscription.try_next().unwrap().is_none());
    if let Some(middle) = events.get(events.len() / 2) {
        let time = middle.created_at();
        let later = events.iter().find(|event| event.created_at() > time);
        let before = later.map_or(store.head(), |event| Position(event.position().0 - 1));
        assert_eq!(store.position_at(time).unwrap(), before);
    }
}

fn note(all: &mut ByName, name: &str, event: &Event) {
    all.entry(name.to_owned()).or_default().push(event.position());
}

fn check_labels(store: &Store, events: &[Event]) {
    let (mut tags, mut correlated, mut caused) = (ByName::new(), ByName::new(), ByName::new());
    for event in events {
        event.tags().for_each(|tag| note(&mut tags, tag, event));
        event.correlation_id().into_iter().for_each(|id| note(&mut correlated, id, event));
        event.causation_id().into_iter().for_each(|id| note(&mut caused, id, event));
    }
    tags.entry("no such tag".into()).or_default();
    let found = |read: crate::ReadAll| -> Vec<Position> {
        read.into_iter().map(|event| event.unwrap().position()).collect()
    };
    for (tag, positions) in &tags {
        assert_eq!(found(store.read_all().tag(tag)), *positions, "tag {tag}");
        let newest = found(store.read_all().tag(tag).backwards().limit(1));
        assert_eq!(newest.first(), positions.last(), "newest with tag {tag}");
    }
    for (id, positions) in &correlated {
        assert_eq!(found(store.read_all().correlation(id)), *positions, "correlation id {id}");
    }
    for (id, positions) in &caused {
        assert_eq!(found(store.read_all().causation(id)), *positions, "causation id {id}");
    }
}

fn check_names(store: &Store, events: &[Event]) {
    let (mut types, mut categories, mut streams) = (ByName::new(), ByName::new(), ByName::new());
    for event in events {
        note(&mut types, event.event_type(), event);
        note(&mut categories, event.category(), event);
        note(&mut streams, event.stream(), event);
    }
    for (found, all) in
        [(store.event_types().unwrap(), types), (store.categories().unwrap(), categories)]
    {
        assert_eq!(found.len(), all.len());
        for (name, positions) in found.iter().zip(all.values()) {
            let ends = (positions.first().copied(), positions.last().copied());
            assert_eq!(name.events, positions.len() as u64, "events of {}", name.name);
            assert_eq!((Some(name.first_position), Some(name.last_position)), ends);
        }
    }
    let mut schemas = BTreeMap::<_, Vec<Position>>::new();
    for event in events {
        let schema = (event.event_type().to_owned(), event.schema_version());
        schemas.entry(schema).or_default().push(event.position());
    }
    let found = store.schemas().unwrap();
    let found = found.into_iter().map(|schema| {
        let ends = [Some(schema.first_position), Some(schema.last_position)];
        ((schema.event_type, schema.schema_version), (schema.events, ends))
    });
    let told = schemas.into_iter().map(|(schema, positions)| {
        let ends = [positions.first().copied(), positions.last().copied()];
        (schema, (positions.len() as u64, ends))
    });
    assert_eq!(found.collect::<Vec<_>>(), told.collect::<Vec<_>>());
    let mut found: Vec<_> = store.streams().into_iter().map(Result::unwrap).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(found.len(), streams.len());
    for (stream, (name, positions)) in found.iter().zip(&streams) {
        assert_eq!((&stream.name, stream.version.0), (name, positions.len() as u64));
        assert_eq!(Some(stream.first_position), positions.first().copied());
        assert_eq!(Some(stream.last_position), positions.last().copied());
    }
}
