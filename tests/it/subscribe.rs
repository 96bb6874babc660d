//! Subscriptions: history, then live, each matching event once, in order, and every way to end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use annals::{CursorError, Error, ExpectedVersion, NewEvent, Position, Query, Signal, Store};

use crate::support::{Place, numbered, small_segments};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(20);

fn append(store: &Store, stream: &str, number: u64) -> Position {
    store.append(stream, ExpectedVersion::Any, [numbered(number)]).unwrap().position
}

/// Writers append while filtered consumers begin at random places; each gets exactly what a read
/// of the finished log gives, in order, across the seam between history and live.
#[test]
fn consumers_get_everything_once_whenever_they_begin() {
    const WRITERS: u64 = 4;
    const EACH: u64 = 400;
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    let total = WRITERS * EACH;
    let (store, done) = (&store, &AtomicU64::new(0));
    let consumed: Vec<(Query, u64, Vec<u64>)> = thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                for n in 0..EACH {
                    let event = numbered(n).tag(format!("mod:{}", n % 7)).tag("all");
                    let stream = format!("C{}-{}", writer % 2, n % 5);
                    store.append(stream, ExpectedVersion::Any, [event]).unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let consumers: Vec<_> = (0..6_u64)
            .map(|n| {
                scope.spawn(move || {
                    // Somewhere in the history that there is by then.
                    while done.load(Ordering::Relaxed) < n * total / 8 {
                        thread::sleep(Duration::from_millis(1));
                    }
                    let query = match n % 3 {
                        0 => Query::new(),
                        1 => Query::new().category("C1").tag("mod:3"),
                        _ => Query::new().tag("all").stream("C0-2"),
                    };
                    let after = store.head().0 / 2;
                    let mut events = store
                        .subscribe()
                        .matching(query.clone())
                        .after(Position(after))
                        .start()
                        .unwrap();
                    let mut seen = Vec::new();
                    while events.position().0 < total {
                        if let Some(Signal::Event(event)) = events.next_signal(SHORT).unwrap() {
                            seen.push(event.position().0);
                        }
                        if n == 5 && seen.len() % 50 == 1 {
                            thread::sleep(Duration::from_millis(5));
                        }
                    }
                    (query, after, seen)
                })
            })
            .collect();
        consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect()
    });
    for (query, after, seen) in consumed {
        let expected: Vec<u64> = store
            .read(query.clone())
            .after(Position(after))
            .into_iter()
            .map(|event| event.unwrap().position().0)
            .collect();
        assert_eq!(seen, expected, "{query:?} after {after}");
    }
}

#[test]
fn marks_say_when_it_is_live_and_when_it_falls_behind() {
    let store = Store::in_memory().unwrap();
    append(&store, "A-1", 1);
    let mut events = store.subscribe().fell_behind_after(5).start().unwrap();
    let mut next = || events.next_signal(LONG).unwrap().unwrap();
    assert!(matches!(next(), Signal::Event(_)));
    assert!(matches!(next(), Signal::CaughtUp(Position(1))));
    append(&store, "A-1", 2);
    assert!(matches!(next(), Signal::Event(_)));
    for n in 3..10 {
        append(&store, "A-1", n);
    }
    assert!(matches!(next(), Signal::FellBehind(Position(2))));
    for n in 3..10_u64 {
        let Signal::Event(event) = next() else { panic!("an event") };
        assert_eq!(event.position(), Position(n));
    }
    assert!(matches!(next(), Signal::CaughtUp(Position(9))));
}

#[test]
fn its_place_moves_past_what_does_not_match() {
    let store = Store::in_memory().unwrap();
    for n in 0..50 {
        append(&store, "A-1", n);
    }
    let mut events = store.subscribe().category("B").start().unwrap();
    assert_eq!(events.lag(), 50);
    assert!(events.try_next().unwrap().is_none());
    assert_eq!((events.position(), events.lag()), (Position(50), 0));
    append(&store, "B-1", 0);
    assert_eq!(events.try_next().unwrap().unwrap().position(), Position(51));
    let begun = Instant::now();
    assert!(events.next_timeout(SHORT).unwrap().is_none());
    assert!(begun.elapsed() >= SHORT);
}

#[test]
fn a_stop_wakes_a_consumer_that_waits() {
    let store = Store::in_memory().unwrap();
    let mut events = store.subscribe().start().unwrap();
    let stop = events.stop_handle();
    let waits = thread::spawn(move || {
        let first = events.next();
        (first.is_none(), events.next().is_none(), events.try_next())
    });
    thread::sleep(SHORT);
    assert!(!stop.is_stopped());
    stop.stop();
    let (first, second, third) = waits.join().unwrap();
    assert!(first && second && third.unwrap().is_none() && stop.is_stopped());
}

#[test]
fn closing_wakes_every_consumer_with_one_error() {
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    append(&store, "A-1", 1);
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let mut events = store.subscribe().start().unwrap();
            thread::spawn(move || {
                assert!(events.next().unwrap().is_ok());
                let end = events.next().unwrap().unwrap_err();
                (end, events.next().is_none())
            })
        })
        .collect();
    let mut behind = store.subscribe().start().unwrap();
    thread::sleep(SHORT);
    store.close().unwrap();
    for consumer in waiting {
        let (end, is_over) = consumer.join().unwrap();
        assert!(matches!(end, Error::Closed) && is_over);
    }
    assert!(matches!(behind.next().unwrap(), Err(Error::Closed)));
    assert!(behind.next().is_none());
    assert!(matches!(store.subscribe().start(), Err(Error::Closed)));
    // Dropping the last handle is a close, too.
    let store = small_segments().open(place.path()).unwrap();
    let mut events = store.subscribe().after(Position(1)).start().unwrap();
    let consumer = thread::spawn(move || events.next());
    thread::sleep(SHORT);
    drop(store);
    assert!(matches!(consumer.join().unwrap(), Some(Err(Error::Closed))));
}

#[test]
fn a_slow_consumer_gets_everything_and_slows_nobody() {
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    let mut slow = store.subscribe().start().unwrap();
    append(&store, "A-1", 0);
    assert!(slow.try_next().unwrap().is_some());
    // It does not look again until a hundred segments have come and gone.
    for n in 1..3_000 {
        let event = NewEvent::new("Filled", vec![b'x'; 2000]);
        store.append(format!("A-{}", n % 9), ExpectedVersion::Any, [event]).unwrap();
    }
    let seen: Vec<u64> =
        std::iter::from_fn(|| slow.try_next().unwrap()).map(|event| event.position().0).collect();
    assert!(seen.iter().copied().eq(2..=3_000));
}

#[test]
fn a_filter_that_nothing_can_match_is_refused_at_once() {
    let store = Store::in_memory().unwrap();
    let refused = store.subscribe().tag("").start().unwrap_err();
    assert!(matches!(refused, Error::InvalidName { what: "tag", .. }));
}

#[test]
fn an_idle_consumer_is_woken_by_each_append() {
    let store = Store::in_memory().unwrap();
    let mut events = store.subscribe().tag("wanted").start().unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let consumer = scope.spawn(|| {
            let mut seen = Vec::new();
            while !over.load(Ordering::Relaxed) {
                if let Some(event) = events.next_timeout(LONG).unwrap() {
                    seen.push(event.position().0);
                    over.fetch_or(seen.len() == 200, Ordering::Relaxed);
                }
            }
            seen
        });
        for n in 0..400_u64 {
            let event = if n % 2 == 0 { numbered(n).tag("wanted") } else { numbered(n) };
            store.append("A-1", ExpectedVersion::Any, [event]).unwrap();
        }
        assert!(consumer.join().unwrap().into_iter().eq((1..400).step_by(2)));
    });
}

#[test]
fn a_cursor_goes_on_where_it_was_saved() {
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    for n in 0..20 {
        append(&store, if n % 2 == 0 { "A-1" } else { "B-1" }, n);
    }
    let subscribe = || store.subscribe().category("A").cursor("a").start();
    let mut events = subscribe().unwrap();
    assert!(matches!(subscribe(), Err(Error::Cursor(CursorError::InUse { .. }))));
    for expected in [1, 3, 5] {
        assert_eq!(events.try_next().unwrap().unwrap().position(), Position(expected));
    }
    events.save().unwrap();
    assert_eq!(events.try_next().unwrap().unwrap().position(), Position(7));
    drop(events);
    assert_eq!(store.cursor("a").unwrap().unwrap().position, Position(5));
    store.close().unwrap();
    let store = small_segments().open(place.path()).unwrap();
    let mut events =
        store.subscribe().category("A").cursor("a").after(Position(9)).start().unwrap();
    let rest: Vec<u64> =
        std::iter::from_fn(|| events.try_next().unwrap()).map(|event| event.position().0).collect();
    assert_eq!(rest, [7, 9, 11, 13, 15, 17, 19]);
    events.save().unwrap();
    // Past what does not match.
    assert_eq!(store.cursor("a").unwrap().unwrap().lag, Some(0));
    let mut plain = store.subscribe().start().unwrap();
    assert!(matches!(plain.save(), Err(Error::InvalidOptions { .. })));
}

#[test]
fn a_cursor_is_saved_as_its_consumer_asks_for_more() {
    let store = Store::in_memory().unwrap();
    for n in 0..10 {
        append(&store, "A-1", n);
    }
    let saved = || store.cursor("a").unwrap().map_or(0, |cursor| cursor.position.0);
    let mut events = store.subscribe().cursor("a").save_every(4).start().unwrap();
    for n in 1..=4 {
        assert_eq!(events.try_next().unwrap().unwrap().position(), Position(n));
        assert_eq!(saved(), 0);
    }
    // The fifth says that the fourth is processed.
    events.try_next().unwrap().unwrap();
    assert_eq!(saved(), 4);
    drop(events);
    // Where nothing comes for a while, what was processed is saved, and whoever waits is told.
    let mut events = store.subscribe().cursor("a").save_every(1000).start().unwrap();
    thread::scope(|scope| {
        let waits = scope.spawn(|| store.wait_for("a", Position(10), LONG));
        while events.try_next().unwrap().is_some() {}
        assert!(events.next_timeout(Duration::from_millis(200)).unwrap().is_none());
        assert!(waits.join().unwrap().unwrap());
    });
    assert_eq!(saved(), 10);
}
