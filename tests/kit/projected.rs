//! Projections that see stored events as they read today, against a fold of the same events read
//! through the same upcasts.

use std::collections::BTreeMap;

use annals::kit::{
    ApplyError, AsJson, InlineProjection, OnError, Projected, Projection, ProjectionError,
    Projector, Step, Upcasts, View, ViewChanges,
};
use annals::{Error, ExpectedVersion, NewEvent, Position, Query, SchemaError, Store};

use crate::upcasts::{OLD, store, upcasts};

/// For each stream, type and version of today how many events there are.
struct Types {
    schema: u32,
    query: Query,
}

impl Types {
    /// Asks for types of today, as far as the upcasts know what they were stored as.
    fn new(schema: u32, upcasts: &Upcasts) -> Self {
        let today = Query::new().types(["Placed", "Shipped", "Left", "Arrived"]);
        Self { schema, query: upcasts.expand(today) }
    }
}

impl Projection for Types {
    type Key = String;
    type Value = u64;
    type Codec = AsJson;

    fn name(&self) -> &'static str {
        "types"
    }

    fn schema(&self) -> u32 {
        self.schema
    }

    fn query(&self) -> Query {
        self.query.clone()
    }

    fn apply(
        &self,
        event: &Projected<'_>,
        view: &mut ViewChanges<String, u64, AsJson>,
    ) -> Result<(), ApplyError> {
        let data = String::from_utf8_lossy(event.data());
        let (stream, name) = (event.stream(), event.event_type());
        let key = format!("{stream}/{name}/{}/{data}", event.schema_version());
        Ok(view.change(&key, |count| Some(count.unwrap_or(0) + 1))?)
    }
}

/// What the view is to hold.
fn folded(store: &Store, upcasts: &Upcasts) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for part in upcasts.read(store, Query::new()) {
        let part = part.unwrap();
        let data = str::from_utf8(part.data()).unwrap();
        let (stream, name) = (part.stream(), part.event_type());
        let key = format!("{stream}/{name}/{}/{data}", part.schema_version());
        *counts.entry(key).or_default() += 1;
    }
    counts
}

fn entries(view: &View<String, u64>) -> BTreeMap<String, u64> {
    view.entries().unwrap().collect::<annals::Result<_>>().unwrap()
}

fn append_old(store: &Store, stream: &str) {
    for (name, version, data) in OLD {
        let event = NewEvent::new(name, data).schema_version(version);
        store.append(stream, ExpectedVersion::Any, [event]).unwrap();
    }
}

fn projector(store: &Store, batch: usize, threads: usize) -> Projector<Types> {
    let upcasts = upcasts();
    let projector = Projector::builder(store, Types::new(1, &upcasts));
    projector.lift(upcasts.for_projection()).batch(batch).threads(threads).start().unwrap()
}

#[test]
fn a_projector_sees_what_events_are_today_renamed_split_and_without_those_that_are_gone() {
    for (batch, threads) in [(1, 1), (2, 1), (1_000, 1), (1_000, 3)] {
        let store = store();
        for stream in ["Order-2", "Order-3", "Order-4"] {
            append_old(&store, stream);
        }
        let mut one = projector(&store, batch, threads);
        one.run_until_caught_up().unwrap();
        assert_eq!(entries(one.view()), folded(&store, &upcasts()), "batches of {batch}");
        assert_eq!(entries(one.view()).values().sum::<u64>(), 4 * 5);
        // The last event of all is one that is dropped.
        assert_eq!(one.view().position().unwrap(), store.head());
        drop(one);
        append_old(&store, "Order-5");
        let mut next = projector(&store, batch, threads);
        next.run_until_caught_up().unwrap();
        assert_eq!(entries(next.view()), folded(&store, &upcasts()), "behind a restart");
    }
}

#[test]
fn the_parts_of_an_event_and_the_place_behind_it_are_one_commit() {
    let store = store();
    let placed = |view: &View<String, u64>| {
        entries(view)
            .keys()
            .map(|key| key.split('/').nth(1).unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let mut seen = Vec::new();
    loop {
        // A new one for each step: whatever is in the view is so behind a restart.
        let mut projector = projector(&store, 1, 1);
        if projector.step().unwrap() == Step::CaughtUp {
            break;
        }
        seen.push((projector.view().position().unwrap().0, placed(projector.view())));
    }
    let moved = seen.iter().find(|(position, _)| *position >= 3).unwrap();
    assert_eq!(moved.1, ["Arrived", "Left", "Placed"], "both parts at once, at {}", moved.0);
    assert!(seen.iter().take_while(|(position, _)| *position < 3).all(|(_, t)| *t == ["Placed"]));
    assert_eq!(seen.last().unwrap().0, 6);
}

#[test]
fn an_event_that_cannot_be_lifted_is_one_that_cannot_be_applied() {
    let store = store();
    let bad = NewEvent::new("Placed", r#"{"sum":4}"#);
    store.append("Order-2", ExpectedVersion::Any, [bad]).unwrap();
    append_old(&store, "Order-3");
    let mut stops = projector(&store, 1_000, 1);
    let Err(ProjectionError::Apply { position, error, .. }) = stops.run_until_caught_up() else {
        panic!("there is no total");
    };
    assert_eq!(position, Some(Position(7)));
    let error = error.downcast_ref::<Error>();
    let Some(Error::Schema(SchemaError::StepFailed { found, .. })) = error else {
        panic!("{error:?}");
    };
    assert_eq!(found.position, Some(Position(7)));
    assert_eq!(stops.view().position().unwrap(), Position(6), "in front of it");
    drop(stops);
    let upcasts = upcasts();
    let parks = Projector::builder(&store, Types::new(1, &upcasts)).on_error(OnError::Park);
    let mut parks = parks.lift(upcasts.for_projection()).start().unwrap();
    assert_eq!(parks.run_until_caught_up().unwrap().parked, 1);
    let parked = parks.view().stored().parked().unwrap();
    assert_eq!(parked.iter().map(|p| p.position).collect::<Vec<_>>(), [Position(7)]);
    assert_eq!(entries(parks.view()).values().sum::<u64>(), 2 * 5);
    // Better upcasts, and it reads.
    let mended = Upcasts::builder()
        .change("Placed", 1, |fields| {
            let total =
                fields.remove("total").or_else(|| fields.remove("sum")).ok_or("no total")?;
            fields.insert("cents".into(), total);
            Ok(())
        })
        .build()
        .unwrap();
    let mended = Projector::builder(&store, Types::new(1, &upcasts)).lift(mended.for_projection());
    let mut mended = mended.start().unwrap();
    assert!(mended.retry_parked(Position(7)).unwrap());
    assert_eq!(entries(mended.view())[r#"Order-2/Placed/2/{"cents":4}"#], 1);
    assert!(mended.view().stored().parked().unwrap().is_empty());
}

#[test]
fn a_view_is_rebuilt_with_the_upcasts_of_the_next_version() {
    let store = store();
    append_old(&store, "Order-2");
    projector(&store, 1_000, 1).run_until_caught_up().unwrap();
    let before = folded(&store, &upcasts());
    let next = Upcasts::builder()
        .rename(("Sent", 1), ("Shipped", 1))
        .drop_event("Moved", 1)
        .rename(("Viewed", 1), ("Left", 1))
        .build()
        .unwrap();
    let view: View<String, u64> = View::open(&store, "types").unwrap().unwrap();
    let builder = Projector::builder(&store, Types::new(2, &next)).lift(next.for_projection());
    let mut told = 0;
    let mut rebuilt = builder
        .batch(4)
        .rebuild(|progress| {
            told += 1;
            assert!(progress.position <= progress.head);
            assert_eq!(entries(&view), before, "readers see the old one until the switch");
        })
        .unwrap();
    assert!(told >= 3);
    let only = |types: [&str; 3]| {
        let mut folded = folded(&store, &next);
        folded.retain(|key, _| types.contains(&key.split('/').nth(1).unwrap()));
        folded
    };
    assert_eq!(entries(rebuilt.view()), only(["Placed", "Shipped", "Left"]));
    append_old(&store, "Order-3");
    rebuilt.run_until_caught_up().unwrap();
    assert_eq!(entries(rebuilt.view()), only(["Placed", "Shipped", "Left"]));
    assert!(Projector::builder(&store, Types::new(1, &next)).start().is_err(), "another schema");
}

#[test]
fn a_projection_in_the_commits_of_appends_sees_what_events_are_today() {
    let store = store();
    let upcasts = upcasts();
    let types = InlineProjection::start(&store, Types::new(1, &upcasts)).unwrap();
    let types = types.lift(upcasts.for_projection());
    for (name, version, data) in OLD {
        // An older program may still append what is of yesterday.
        let event = NewEvent::new(name, data).schema_version(version);
        types.append("Order-2", ExpectedVersion::Any, [event]).unwrap();
        let counted = entries(types.view());
        assert_eq!(counted, folded(&store, &upcasts), "behind \"{name}\"");
    }
    assert_eq!(types.view().position().unwrap(), store.head());
    let bad = NewEvent::new("Placed", r#"{"sum":4}"#);
    let refused = types.append("Order-2", ExpectedVersion::Any, [bad]).unwrap_err();
    assert!(matches!(refused, ProjectionError::Apply { position: None, .. }), "{refused}");
    assert_eq!(store.head(), Position(12), "nothing was written");
}
