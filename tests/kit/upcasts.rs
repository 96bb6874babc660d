//! Stored events as they read today: along every way on which events are read.

use annals::kit::{
    ConsumerGroup, EventSet, ParkedPolicy, Payload, PayloadRef, StepResult, TypedEvent, Upcasts,
    codec,
};
use annals::{Error, ExpectedVersion, NewEvent, Position, Query, Result, SchemaError, Store};
use serde::{Deserialize, Serialize};

#[derive(EventSet, Debug, Clone, PartialEq)]
pub(crate) enum Today {
    #[event(name = "Placed", version = 3)]
    Placed { cents: u64, currency: String },
    #[event(name = "Shipped")]
    Shipped,
    #[event(name = "Left")]
    Left { from: String },
    #[event(name = "Arrived", version = 2)]
    Arrived { at: String },
}

/// `Placed` changes fields twice, `Sent` has another name, `Moved` becomes two of which one goes on
/// to a later version, `Viewed` is gone.
pub(crate) fn upcasts() -> Upcasts {
    Upcasts::builder()
        .current::<Today>()
        .change("Placed", 1, |fields| {
            let total = fields.remove("total").and_then(|t| t.as_u64()).ok_or("no total")?;
            fields.insert("cents".into(), (total * 100).into());
            Ok(())
        })
        .change("Placed", 2, |fields| {
            fields.insert("currency".into(), "EUR".into());
            Ok(())
        })
        .rename(("Sent", 1), ("Shipped", 1))
        .split(("Moved", 1), &[("Left", 1), ("Arrived", 1)], |payload| {
            let text = str::from_utf8(payload.data)?;
            let (from, to) = text.split_once(' ').ok_or("no blank")?;
            Ok(vec![
                Payload::new("Left", 1, codec::JSON, format!(r#"{{"from":"{from}"}}"#)),
                Payload::new("Arrived", 1, codec::JSON, format!(r#"{{"to":"{to}"}}"#)),
            ])
        })
        .change("Arrived", 1, |fields| {
            let to = fields.remove("to").ok_or("no to")?;
            fields.insert("at".into(), to);
            Ok(())
        })
        .drop_event("Viewed", 1)
        .build()
        .unwrap()
}

pub(crate) const OLD: [(&str, u32, &str); 6] = [
    ("Placed", 1, r#"{"total":4}"#),
    ("Viewed", 1, ""),
    ("Moved", 1, "Bonn Rome"),
    ("Placed", 2, r#"{"cents":5}"#),
    ("Sent", 1, "{}"),
    ("Viewed", 1, ""),
];

pub(crate) fn store() -> Store {
    let store = Store::in_memory().unwrap();
    for (name, version, data) in OLD {
        let event = NewEvent::new(name, data).schema_version(version).tag("t");
        store.append("Order-1", ExpectedVersion::Any, [event]).unwrap();
    }
    store
}

fn placed(cents: u64) -> Today {
    Today::Placed { cents, currency: "EUR".into() }
}

pub(crate) fn today() -> Vec<(u64, Today)> {
    vec![
        (1, placed(400)),
        (3, Today::Left { from: "Bonn".into() }),
        (3, Today::Arrived { at: "Rome".into() }),
        (4, placed(5)),
        (5, Today::Shipped),
    ]
}

type Read = Vec<(u64, Today)>;

fn collect(events: impl Iterator<Item = Result<annals::kit::Lifted>>) -> Read {
    events
        .map(|event| {
            let event = event.unwrap();
            (event.position().0, event.decode().unwrap())
        })
        .collect()
}

#[test]
fn every_way_of_reading_gives_what_events_are_today() {
    let (store, upcasts) = (store(), upcasts());
    assert_eq!(collect(upcasts.read_stream(&store, "Order-1")), today());
    assert_eq!(collect(upcasts.read(&store, Query::new())), today());
    assert_eq!(collect(upcasts.read(&store, Query::new().tag("t"))), today());
    assert_eq!(collect(upcasts.apply(store.read_all().after(Position(3)))), today()[3..]);
    let mut subscription = upcasts.subscribe(&store, Query::new()).start().unwrap();
    let live = std::iter::from_fn(|| subscription.try_next().transpose());
    assert_eq!(collect(live), today());

    let group = ConsumerGroup::builder(&store, "work").when_parked(ParkedPolicy::BlocksNothing);
    let group = group.start().unwrap();
    let mut consumer = group.consumer();
    let mut lifted = Vec::new();
    while let Some(delivery) = consumer.try_next().unwrap() {
        lifted.extend(upcasts.lift(delivery.event()).unwrap().into_iter().map(Ok));
        delivery.park("later").unwrap();
    }
    assert_eq!(collect(lifted.into_iter()), today());
    // What is parked is read from where it stands.
    let parked = group.parked().into_iter().map(|p| store.event(p.position).map(Option::unwrap));
    assert_eq!(collect(upcasts.apply(parked)), today());
}

#[test]
fn a_follower_reads_what_events_are_today_and_stored_bytes_stay() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Store::open(dir.path()).unwrap();
    for (name, version, data) in OLD {
        let event = NewEvent::new(name, data).schema_version(version);
        writer.append("Order-1", ExpectedVersion::Any, [event]).unwrap();
    }
    let follower = Store::open_read_only(dir.path()).unwrap();
    assert_eq!(collect(upcasts().read(&follower, Query::new())), today());
    for (event, (name, version, data)) in follower.read_all().into_iter().zip(OLD) {
        let event = event.unwrap();
        assert_eq!((event.event_type(), event.schema_version()), (name, version));
        assert_eq!(event.data(), data.as_bytes());
    }
}

#[test]
fn queries_name_types_of_today() {
    let (store, upcasts) = (store(), upcasts());
    let found = |query: Query| -> Vec<u64> {
        upcasts.read(&store, query).map(|event| event.unwrap().position().0).collect()
    };
    assert_eq!(found(Query::new().event_type("Placed")), [1, 4]);
    assert_eq!(found(Query::new().event_type("Shipped")), [5]);
    assert_eq!(found(Query::new().event_type("Arrived")), [3]);
    assert_eq!(found(Query::new().types(["Left", "Arrived"])), [3, 3]);
    assert_eq!(
        found(Query::new().event_type("Left").or(Query::new().event_type("Shipped"))),
        [3, 5]
    );
    // Nothing is of these types any more.
    assert_eq!(found(Query::new().types(["Sent", "Moved", "Viewed"])), [0; 0]);
    assert_eq!(
        upcasts.expand(Query::new().event_type("Arrived")),
        Query::new().types(["Arrived", "Moved"])
    );
}

#[test]
fn parts_are_numbered_and_a_cursor_moves_behind_the_last() {
    let (store, upcasts) = (store(), upcasts());
    let start = || upcasts.subscribe(&store, Query::new()).cursor("c").start().unwrap();
    let mut first = start();
    let next = |s: &mut annals::kit::LiftedSubscription| {
        let event = s.try_next().unwrap().unwrap();
        (event.position().0, event.part(), event.is_last_part(), (*s).position().0)
    };
    assert_eq!(next(&mut first), (1, 1, true, 1));
    assert_eq!(next(&mut first), (3, 1, false, 2));
    first.save().unwrap();
    drop(first);
    let mut second = start();
    assert_eq!(next(&mut second), (3, 1, false, 2), "the whole event comes again");
    assert_eq!(next(&mut second), (3, 2, true, 3));
    second.save().unwrap();
    assert_eq!(store.cursor("c").unwrap().unwrap().position, Position(3));
    assert_eq!(next(&mut second), (4, 1, true, 4));
    assert_eq!(next(&mut second), (5, 1, true, 5));
    assert!(second.try_next().unwrap().is_none());
    second.save().unwrap();
    let cursor = store.cursor("c").unwrap().unwrap();
    assert_eq!(cursor.position, Position(6), "what was dropped moves it too");
}

#[test]
fn parts_that_do_not_match_hold_up_no_cursor() {
    let (store, upcasts) = (store(), upcasts());
    let query = Query::new().event_type("Left");
    let mut left = upcasts.subscribe(&store, query).after(Position(1)).start().unwrap();
    assert_eq!(left.try_next().unwrap().unwrap().event_type(), "Left");
    assert_eq!((&left as &annals::kit::LiftedSubscription).position(), Position(3));
}

#[test]
fn steps_that_multiply_what_they_made_fail_in_time() {
    let lifted = |versions: u32| {
        let twice = |at: u32| {
            move |payload: PayloadRef<'_>| {
                let part = Payload { schema_version: at + 1, ..payload.to_owned() };
                Ok(vec![part.clone(), part])
            }
        };
        let steps = (1..versions).fold(Upcasts::builder(), |steps, at| {
            steps.split(("Doubled", at), &[("Doubled", at + 1)], twice(at))
        });
        let store = Store::in_memory().unwrap();
        store.append("A-1", ExpectedVersion::Any, [NewEvent::new("Doubled", "x")]).unwrap();
        let upcasts = steps.build().unwrap();
        upcasts.apply(store.read_all()).map(|event| event.map(drop)).collect::<Result<Vec<_>>>()
    };
    assert_eq!(lifted(17).unwrap().len(), 65_536);
    let Err(Error::Schema(SchemaError::StepFailed { found, why })) = lifted(60) else {
        panic!("an event became 2 to the power of 59");
    };
    assert_eq!((found.event_type.as_str(), found.schema_version), ("Doubled", 1));
    assert!(why.contains("more than 65536"), "{why}");
}

#[test]
fn a_step_that_fails_says_of_which_event() {
    let store = store();
    let upcasts = upcasts();
    let bad = NewEvent::new("Placed", r#"{"sum":4}"#);
    store.append("Order-2", ExpectedVersion::Any, [bad]).unwrap();
    store.append("Order-2", ExpectedVersion::Any, [NewEvent::new("Sent", "{}")]).unwrap();
    let mut read = upcasts.read_stream(&store, "Order-2");
    let Err(Error::Schema(SchemaError::StepFailed { found, why })) = read.next().unwrap() else {
        panic!("there is no total");
    };
    assert_eq!((found.event_type.as_str(), found.schema_version), ("Placed", 1));
    assert_eq!((found.position, why.as_str()), (Some(Position(7)), "no total"));
    assert_eq!(read.next().unwrap().unwrap().event_type(), "Shipped");

    let live = upcasts.subscribe(&store, Query::new()).cursor("c").after(Position(6));
    let mut live = live.start().unwrap();
    assert!(matches!(live.try_next(), Err(Error::Schema(_))));
    assert!(live.try_next().unwrap().is_none(), "it has ended");
    live.save().unwrap();
    assert_eq!(store.cursor("c").unwrap().unwrap().position, Position(6), "in front of it");
}

#[test]
fn a_step_makes_only_what_it_said() {
    let upcasts = Upcasts::builder()
        .step(("A", 1), &[("B", 1)], |payload| -> StepResult<Vec<Payload>> {
            Ok(vec![Payload { event_type: "C".into(), ..payload.to_owned() }])
        })
        .build()
        .unwrap();
    let error = upcasts.lift_payload(Payload::new("A", 1, codec::RAW, "").as_ref()).unwrap_err();
    assert!(error.to_string().contains("it made \"C\" version 1"), "{error}");
}

#[test]
fn typed_steps_cross_codecs() {
    #[derive(TypedEvent, Serialize, Deserialize)]
    #[event(name = "Weighed", version = 1)]
    struct Old {
        kilos: u32,
    }
    #[derive(TypedEvent)]
    #[event(name = "Weighed", version = 2, codec = "raw")]
    struct New(Vec<u8>);
    impl AsRef<[u8]> for New {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl From<Vec<u8>> for New {
        fn from(bytes: Vec<u8>) -> Self {
            Self(bytes)
        }
    }
    let upcasts = Upcasts::builder()
        .typed(|old: Old| Ok(New(vec![u8::try_from(old.kilos)?])))
        .build()
        .unwrap();
    let lift = |kilos: u32| {
        let old = Old { kilos }.to_payload().unwrap();
        upcasts.lift_payload(old.as_ref())
    };
    let lifted = lift(9).unwrap();
    assert_eq!((lifted[0].content_type.as_str(), &lifted[0].data[..]), (codec::RAW, &[9][..]));
    assert!(matches!(lift(300), Err(Error::Schema(SchemaError::StepFailed { .. }))));
}
