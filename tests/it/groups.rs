//! Consumer groups: every event to one consumer, in the order of its key, until it is acknowledged
//! or durably parked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use annals::kit::{ConsumerGroup, Delivery, GroupBuilder, ParkedPolicy};
use annals::{CursorError, Error, ExpectedVersion, Position, Store};

use crate::support::{Place, numbered, small_segments};

const LONG: Duration = Duration::from_secs(30);

fn append(store: &Store, stream: &str, number: u64) -> Position {
    store.append(stream, ExpectedVersion::Any, [numbered(number)]).unwrap().position
}

fn builder(store: &Store) -> GroupBuilder {
    ConsumerGroup::builder(store, "work").category("C").retry_delay(Duration::ZERO)
}

fn at(delivery: &Delivery) -> u64 {
    delivery.event().position().0
}

/// Positions of what is parked.
fn parked(group: &ConsumerGroup) -> Vec<u64> {
    group.parked().iter().map(|parked| parked.position.0).collect()
}

/// Numbers that look random and are the same each time.
fn scrambled(number: u64) -> u64 {
    (number ^ number >> 7).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33
}

/// Acknowledges all that comes without waiting, and returns where it was.
fn drain(group: &ConsumerGroup) -> Vec<u64> {
    let mut consumer = group.consumer();
    let mut seen = Vec::new();
    while let Some(delivery) = consumer.try_next().unwrap() {
        seen.push(at(&delivery));
        delivery.ack().unwrap();
    }
    seen
}

#[test]
fn each_event_goes_to_one_consumer_once_and_keys_keep_their_order() {
    const EACH: u64 = 500;
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    let group = builder(&store).window(64).save_every(32).start().unwrap();
    let seen: Mutex<BTreeMap<String, Vec<u64>>> = Mutex::default();
    let (busy, count): (Mutex<BTreeSet<String>>, _) = (Mutex::default(), AtomicU64::new(0));
    thread::scope(|scope| {
        for writer in 0..3_u64 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..EACH {
                    append(store, &format!("C-{}", scrambled(n * 3 + writer) % 7), n);
                    append(store, "Other-1", n);
                }
            });
        }
        for _ in 0..6 {
            let (mut consumer, seen, busy, count) = (group.consumer(), &seen, &busy, &count);
            let group = &group;
            scope.spawn(move || {
                while let Some(delivery) = consumer.next().unwrap() {
                    let key = delivery.event().stream().to_owned();
                    assert!(busy.lock().unwrap().insert(key.clone()), "two of {key} at a time");
                    assert_eq!(delivery.attempt(), 1);
                    assert!(group.info().window <= 64);
                    let version = delivery.event().version().0;
                    seen.lock().unwrap().entry(key.clone()).or_default().push(version);
                    busy.lock().unwrap().remove(&key);
                    delivery.ack().unwrap();
                    if count.fetch_add(1, Ordering::SeqCst) + 1 == 3 * EACH {
                        group.close().unwrap();
                    }
                }
            });
        }
    });
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.values().map(Vec::len).sum::<usize>() as u64, 3 * EACH);
    for (key, versions) in seen {
        let expected = 1..=store.stream(&key).unwrap().unwrap().version.0;
        assert!(versions.iter().copied().eq(expected), "{key}: {versions:?}");
    }
    let last = store.read_all().category("C").backwards().limit(1).into_iter().next();
    let saved = store.cursor("work").unwrap().unwrap().position;
    assert!(saved >= last.unwrap().unwrap().position(), "{saved}");
}

/// Consumers that fail, drop, panic and park at random.
fn unreliable(policy: ParkedPolicy) {
    const EVENTS: u64 = 600;
    const ATTEMPTS: u32 = 3;
    let store = Store::in_memory().unwrap();
    for n in 0..EVENTS {
        append(&store, &format!("C-{}", scrambled(n) % 9), n);
    }
    let group =
        builder(&store).max_attempts(ATTEMPTS).when_parked(policy).window(100).start().unwrap();
    // What was acknowledged, by key; what was parked, and with how many attempts.
    let acked: Mutex<BTreeMap<String, Vec<u64>>> = Mutex::default();
    let given_up: Mutex<BTreeMap<u64, (u32, &str)>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..5 {
            let (mut consumer, acked, given_up) = (group.consumer(), &acked, &given_up);
            let group = &group;
            scope.spawn(move || {
                loop {
                    let Some(delivery) = consumer.try_next().unwrap() else {
                        let info = group.info();
                        if info.position >= Position(EVENTS) && info.window == 0 {
                            return;
                        }
                        thread::yield_now();
                        continue;
                    };
                    let (position, attempt) = (at(&delivery), delivery.attempt());
                    let luck = scrambled(position * 8 + u64::from(attempt)) % 10;
                    let reason = ["nacked", "not answered", "the consumer panicked", "parked"];
                    let why = *reason.get(luck as usize).unwrap_or(&"");
                    if luck < 4 && (luck == 3 || attempt == ATTEMPTS) {
                        given_up.lock().unwrap().insert(position, (attempt, why));
                    }
                    match luck {
                        0 => delivery.nack(why),
                        1 => drop(delivery),
                        2 => {
                            let panicking = move || {
                                let _delivery = delivery;
                                std::panic::resume_unwind(Box::new("planned"));
                            };
                            let panicking = std::panic::AssertUnwindSafe(panicking);
                            std::panic::catch_unwind(panicking).unwrap_err();
                        }
                        3 => delivery.park(why).unwrap(),
                        _ => {
                            let key = delivery.event().stream().to_owned();
                            acked.lock().unwrap().entry(key).or_default().push(position);
                            delivery.ack().unwrap();
                        }
                    }
                }
            });
        }
    });
    let (acked, given_up) = (acked.into_inner().unwrap(), given_up.into_inner().unwrap());
    assert!(given_up.len() > 5, "{given_up:?}");
    for (key, positions) in &acked {
        assert!(positions.is_sorted_by(|a, b| a < b), "{key}: {positions:?}");
    }
    let all: BTreeSet<u64> = acked.values().flatten().copied().collect();
    let mut told = BTreeMap::new();
    for parked in group.parked() {
        let key = store.event(parked.position).unwrap().unwrap().stream().to_owned();
        assert_eq!(parked.key, key);
        if parked.is_queued {
            assert_eq!((policy, parked.attempts), (ParkedPolicy::BlocksKey, 0), "{parked:?}");
            let first = group.parked().into_iter().find(|other| other.key == key).unwrap();
            assert!(first.position < parked.position && !first.is_queued, "{first:?} {parked:?}");
        } else {
            let (attempts, why) = given_up[&parked.position.0];
            assert_eq!((parked.attempts, parked.reason.as_str()), (attempts, why));
        }
        assert!(!all.contains(&parked.position.0));
        told.insert(parked.position.0, parked.is_queued);
    }
    assert!(told.iter().filter(|(_, queued)| !**queued).map(|(p, _)| p).eq(given_up.keys()));
    assert_eq!(all.len() + told.len(), EVENTS as usize, "nothing is lost");
    // All of it comes again: what was parked is replayed, what is behind it follows by itself.
    for parked in group.parked().iter().filter(|parked| !parked.is_queued) {
        assert!(group.replay(parked.position).unwrap());
    }
    let again: BTreeSet<u64> = drain(&group).into_iter().collect();
    assert!(again.iter().eq(told.keys()));
    assert!(group.parked().is_empty());
}

#[test]
fn whatever_consumers_do_each_event_is_acknowledged_or_parked() {
    unreliable(ParkedPolicy::BlocksNothing);
}

#[test]
fn whatever_consumers_do_a_parked_event_holds_up_its_key_and_no_other() {
    unreliable(ParkedPolicy::BlocksKey);
}

#[test]
fn a_blocked_key_waits_through_a_restart_and_goes_on_in_order() {
    let place = Place::new();
    let open = || small_segments().open(place.path()).unwrap();
    let store = open();
    for n in 1..=3 {
        append(&store, "C-a", n);
        append(&store, "C-b", n);
    }
    let group = builder(&store).start().unwrap();
    let mut consumer = group.consumer();
    consumer.try_next().unwrap().unwrap().park("broken").unwrap();
    assert_eq!(drain(&group), [2, 4, 6]);
    assert_eq!(parked(&group), [1, 3, 5]);
    drop((group, consumer));
    assert_eq!(store.cursor("work").unwrap().unwrap().position.0, store.head().0);
    store.close().unwrap();

    let store = open();
    let group = builder(&store).start().unwrap();
    assert_eq!(parked(&group), [1, 3, 5]);
    append(&store, "C-a", 4);
    let later = append(&store, "C-b", 4).0;
    assert_eq!(drain(&group), [later], "C-a is blocked, C-b is not");
    // Replayed and failing again, it is parked again, and nothing behind it has moved.
    assert!(group.replay(Position(1)).unwrap());
    let mut consumer = group.consumer();
    let first = consumer.try_next().unwrap().unwrap();
    assert_eq!((at(&first), first.attempt()), (1, 2));
    assert!(!group.replay(Position(1)).unwrap() && !group.discard(Position(1), "").unwrap());
    first.park("still broken").unwrap();
    assert!(consumer.try_next().unwrap().is_none());
    assert_eq!(group.parked()[0].reason, "still broken");
    // Given up, the rest of the key follows, in order; and one of them fails.
    assert!(group.discard(Position(1), "not worth it").unwrap());
    let second = consumer.try_next().unwrap().unwrap();
    assert_eq!(at(&second), 3);
    assert!(consumer.try_next().unwrap().is_none(), "one at a time");
    second.park("broken too").unwrap();
    assert!(consumer.try_next().unwrap().is_none());
    group.close().unwrap();

    let group = builder(&store).start().unwrap();
    assert_eq!(parked(&group), [3, 5, later - 1]);
    assert!(group.replay(Position(3)).unwrap());
    group.close().unwrap();
    // A replay that nobody has taken up is still one after a restart.
    let group = builder(&store).start().unwrap();
    assert_eq!(drain(&group), [3, 5, later - 1]);
    append(&store, "C-a", 5);
    assert_eq!(drain(&group), [store.head().0], "the key is free again");
    assert!(group.parked().is_empty());
    let records = store.read_stream(group.stream());
    let reasons: Vec<String> = records
        .into_iter()
        .map(Result::unwrap)
        .filter(|event| event.event_type() == "ParkedDiscarded")
        .map(|event| String::from_utf8(event.data().to_vec()).unwrap())
        .collect();
    assert_eq!(reasons, ["not worth it"]);
}

#[test]
fn a_slow_consumer_stops_others_only_at_the_window() {
    let store = Store::in_memory().unwrap();
    for n in 0..30 {
        append(&store, &format!("C-{n}"), n);
    }
    let group = builder(&store).window(10).start().unwrap();
    let mut slow = group.consumer();
    let stuck = slow.try_next().unwrap().unwrap();
    assert_eq!(drain(&group), (2..=10).collect::<Vec<u64>>());
    let info = group.info();
    assert_eq!((info.position.0, info.window, info.in_flight, info.lag), (0, 10, 1, 30));
    assert!(slow.next_timeout(Duration::from_millis(5)).unwrap().is_none());
    stuck.ack().unwrap();
    assert_eq!(drain(&group), (11..=30).collect::<Vec<u64>>());
    assert_eq!((group.info().position.0, group.info().window), (30, 0));
    let consumers = group.info().consumers;
    assert_eq!(consumers.len(), 1, "the others have left");
    assert_eq!((consumers[0].delivered, consumers[0].acked, consumers[0].in_flight), (1, 1, 0));
}

/// One waits for the log and knows nothing of what the other gives back, until it is told.
#[test]
fn consumers_that_wait_are_woken_by_whatever_concerns_them() {
    let store = Store::in_memory().unwrap();
    let group = builder(&store).retry_delay(Duration::from_millis(30)).start().unwrap();
    append(&store, "C-1", 1);
    append(&store, "C-1", 2);
    for waiters in 1..=3_u64 {
        let first = group.consumer().try_next().unwrap().unwrap();
        let position = at(&first);
        let woken = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..waiters {
                let (group, woken) = (&group, &woken);
                scope.spawn(move || {
                    let delivery = group.consumer().next().unwrap().unwrap();
                    woken.fetch_add(at(&delivery), Ordering::SeqCst);
                    delivery.ack().unwrap();
                });
            }
            thread::sleep(Duration::from_millis(10));
            // With a delay, and then what stands behind it, and then what is new.
            first.nack("again");
            if waiters >= 2 {
                // The second of the key is there already the first time only.
                append(&store, "C-2", 1);
            }
            if waiters >= 3 {
                append(&store, "C-3", 1);
            }
        });
        assert!(woken.load(Ordering::SeqCst) >= position);
        drain(&group);
        append(&store, "C-1", 1);
    }
    // A saved cursor, without anybody pulling again.
    let last = store.head();
    let delivery = group.consumer().try_next().unwrap().unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| group.consumer().next());
        thread::sleep(Duration::from_millis(10));
        delivery.ack().unwrap();
        assert!(store.wait_for("work", last, LONG).unwrap(), "saved by the one who waits");
        group.close().unwrap();
        assert!(waiting.join().unwrap().unwrap().is_none());
    });
}

#[test]
fn a_group_that_is_closed_takes_no_answers_and_its_name_is_free() {
    let store = Store::in_memory().unwrap();
    append(&store, "C-1", 1);
    let group = builder(&store).start().unwrap();
    let refused = builder(&store).start().unwrap_err();
    assert!(matches!(refused, Error::Cursor(CursorError::InUse { .. })), "{refused:?}");
    let mut consumer = group.consumer();
    let late = consumer.try_next().unwrap().unwrap();
    group.close().unwrap();
    assert!(consumer.next().unwrap().is_none());
    assert!(matches!(late.ack(), Err(Error::Closed)));
    assert!(matches!(group.replay(Position(1)), Err(Error::Closed)));
    let group = builder(&store).start().unwrap();
    assert_eq!(drain(&group), [1], "it comes again");
    for bad in [builder(&store).window(0), builder(&store).max_attempts(0)] {
        assert!(matches!(bad.start(), Err(Error::InvalidOptions { .. })));
    }
    // The end of the store ends those who wait, all of them.
    thread::scope(|scope| {
        let waiting = [0, 1].map(|_| scope.spawn(|| group.consumer().next()));
        thread::sleep(Duration::from_millis(10));
        store.close().unwrap();
        for waiting in waiting {
            assert!(matches!(waiting.join().unwrap(), Err(Error::Closed)));
        }
    });
}

#[test]
fn a_key_function_that_panics_loses_nothing() {
    let store = Store::in_memory().unwrap();
    for n in 1..=3 {
        append(&store, "C-1", n);
    }
    static PANICS: AtomicBool = AtomicBool::new(true);
    let group = builder(&store)
        .key(|event| {
            if event.position().0 == 2 && PANICS.swap(false, Ordering::SeqCst) {
                std::panic::resume_unwind(Box::new("planned"));
            }
            "one".into()
        })
        .start()
        .unwrap();
    let mut consumer = group.consumer();
    consumer.try_next().unwrap().unwrap().ack().unwrap();
    let pull = std::panic::AssertUnwindSafe(|| consumer.try_next());
    assert!(std::panic::catch_unwind(pull).is_err());
    assert_eq!(drain(&group), [2, 3]);
}

#[test]
fn a_group_that_follows_everything_does_not_follow_itself() {
    let store = Store::in_memory().unwrap();
    append(&store, "C-1", 1);
    let group = ConsumerGroup::builder(&store, "work").start().unwrap();
    group.consumer().try_next().unwrap().unwrap().park("x".repeat(5000)).unwrap();
    assert!(drain(&group).is_empty());
    assert_eq!(group.parked()[0].reason.len(), 1024);
    // Other groups see its records as they see any event, and anybody's events are no records.
    append(&store, group.stream(), 9);
    let other = ConsumerGroup::builder(&store, "other").start().unwrap();
    assert_eq!(drain(&other), [1, 2, 3]);
    group.close().unwrap();
    let group = ConsumerGroup::builder(&store, "work").start().unwrap();
    assert_eq!(parked(&group), [1]);
}

/// The cursor stays before an event without an answer, so what is behind it is fetched again.
#[test]
fn what_was_discarded_does_not_come_again_though_the_cursor_is_before_it() {
    let store = Store::in_memory().unwrap();
    append(&store, "C-1", 1);
    append(&store, "C-2", 2);
    let group = builder(&store).start().unwrap();
    let mut consumer = group.consumer();
    let held = consumer.try_next().unwrap().unwrap();
    consumer.try_next().unwrap().unwrap().park("broken").unwrap();
    assert!(group.discard(Position(2), "given up").unwrap());
    assert_eq!(group.info().position, Position(0));
    group.close().unwrap();
    drop(held);
    let group = builder(&store).start().unwrap();
    assert_eq!(drain(&group), [1]);
}
