//! Lifted events as streams of tasks: the same events as on every other way.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use annals::kit::{Lifted, LiftedStream};
use annals::{Error, ExpectedVersion, NewEvent, Position, Query, Result, SchemaError, Store};
use futures::executor::block_on;
use futures::{Stream, StreamExt};

use crate::upcasts::{OLD, Today, store, today, upcasts};

fn told(event: Result<Lifted>) -> (u64, Today) {
    let event = event.unwrap();
    (event.position().0, event.decode().unwrap())
}

fn append_old(store: &Store) {
    for (name, version, data) in OLD {
        let event = NewEvent::new(name, data).schema_version(version);
        store.append("Order-2", ExpectedVersion::Any, [event]).unwrap();
    }
}

#[test]
fn a_stream_of_a_task_gives_what_events_are_today_from_history_to_live() {
    let (store, upcasts) = (store(), upcasts());
    let events = upcasts.subscribe(&store, Query::new()).start_stream().unwrap();
    let stop = events.stop_handle();
    let parts = today().len();
    let writer = store.clone();
    let found: Vec<_> = block_on(async move {
        let mut events = events;
        let mut found: Vec<_> = events.by_ref().take(parts).map(told).collect().await;
        // Whoever waits is woken by what comes, also where the first of it is dropped.
        let appending = std::thread::spawn(move || append_old(&writer));
        found.extend(events.by_ref().take(parts).map(told).collect::<Vec<_>>().await);
        appending.join().unwrap();
        stop.stop();
        assert!(events.next().await.is_none());
        found
    });
    let behind = today().into_iter().map(|(position, event)| (position + 6, event));
    assert_eq!(found, today().into_iter().chain(behind).collect::<Vec<_>>());
}

#[test]
fn tasks_of_tokio_each_get_all_that_matches_today() {
    let (store, upcasts) = (store(), upcasts());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let queries = [
        (Query::new().event_type("Placed"), vec![1, 4, 7, 10]),
        (Query::new().types(["Left", "Arrived"]), vec![3, 3, 9, 9]),
        (Query::new().event_type("Shipped"), vec![5, 11]),
    ];
    runtime.block_on(async {
        let tasks: Vec<_> = queries
            .into_iter()
            .map(|(query, expected)| {
                let events = upcasts.subscribe(&store, query).start_stream().unwrap();
                tokio::spawn(async move {
                    let found = events.take(expected.len()).map(|event| told(event).0);
                    assert_eq!(found.collect::<Vec<_>>().await, expected);
                })
            })
            .collect();
        append_old(&store);
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn the_cursor_of_a_stream_moves_behind_the_last_part() {
    let (store, upcasts) = (store(), upcasts());
    let start = || upcasts.subscribe(&store, Query::new()).cursor("c").start_stream().unwrap();
    let saved = || store.cursor("c").unwrap().map(|cursor| cursor.position);
    let next = async |events: &mut LiftedStream| {
        let event = events.next().await.unwrap().unwrap();
        (event.position().0, event.part(), event.is_last_part(), (*events).position().0)
    };
    block_on(async {
        let mut first = start();
        assert_eq!(next(&mut first).await, (1, 1, true, 1));
        assert_eq!(next(&mut first).await, (3, 1, false, 2));
        first.save().await.unwrap();
        assert_eq!(saved(), Some(Position(2)), "in front of an event of which a part is left");
        drop(first);
        let mut second = loop {
            // The thread that reads for a stream lets go of its cursor a moment after the drop.
            let mut second = start();
            match second.next().await.unwrap() {
                Ok(event) => {
                    assert_eq!((event.position().0, event.part()), (3, 1), "it comes again");
                    break second;
                }
                Err(Error::Cursor(_)) => std::thread::yield_now(),
                Err(e) => panic!("{e}"),
            }
        };
        assert_eq!(next(&mut second).await, (3, 2, true, 3));
        second.save().await.unwrap();
        assert_eq!(saved(), Some(Position(3)));
        assert_eq!(next(&mut second).await, (4, 1, true, 4));
        // Whether the stream knows of the event that is dropped behind it depends on its batches.
        let (position, _, _, behind) = next(&mut second).await;
        assert!(position == 5 && (5..=6).contains(&behind));
    });
}

#[test]
fn what_was_dropped_moves_the_cursor_of_a_stream() {
    let (store, upcasts) = (store(), upcasts());
    let mut events = upcasts.subscribe(&store, Query::new()).cursor("c").start_stream().unwrap();
    block_on(async {
        for _ in today() {
            events.next().await.unwrap().unwrap();
        }
        let mut cx = Context::from_waker(Waker::noop());
        while events.position() < Position(6) {
            assert!(matches!(Pin::new(&mut events).poll_next(&mut cx), Poll::Pending));
            std::thread::yield_now();
        }
        events.save().await.unwrap();
    });
    assert_eq!(store.cursor("c").unwrap().unwrap().position, Position(6));
    assert_eq!(events.lag(), 0);
}

#[test]
fn a_stream_ends_in_front_of_an_event_that_cannot_be_lifted() {
    let (store, upcasts) = (store(), upcasts());
    let bad = NewEvent::new("Placed", r#"{"sum":4}"#);
    store.append("Order-2", ExpectedVersion::Any, [bad]).unwrap();
    store.append("Order-2", ExpectedVersion::Any, [NewEvent::new("Sent", "{}")]).unwrap();
    let subscribe = upcasts.subscribe(&store, Query::new()).after(Position(4)).cursor("c");
    let mut events = subscribe.start_stream().unwrap();
    block_on(async {
        assert_eq!(told(events.next().await.unwrap()), (5, Today::Shipped));
        let Some(Err(Error::Schema(SchemaError::StepFailed { found, .. }))) = events.next().await
        else {
            panic!("there is no total");
        };
        assert_eq!(found.position, Some(Position(7)));
        assert!(events.next().await.is_none(), "it has ended");
        events.save().await.unwrap();
    });
    assert_eq!(store.cursor("c").unwrap().unwrap().position, Position(6), "in front of it");
    let mut without = upcasts.subscribe(&store, Query::new()).start_stream().unwrap();
    assert!(matches!(block_on(without.save()), Err(Error::InvalidOptions { .. })));
}
