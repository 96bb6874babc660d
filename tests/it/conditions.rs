//! Conditions over queries: one verdict, exact under concurrency, with the examples that the
//! Dynamic Consistency Boundary specification gives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use annals::{
    Durability, Error, Event, ExpectedVersion, NewEvent, Position, Query, Result, Store, Version,
};

use crate::support::{Place, id, small_segments};

const ANY: ExpectedVersion = ExpectedVersion::Any;

fn event(event_type: &str, data: &str, tags: &[&str]) -> NewEvent {
    NewEvent::new(event_type, data).tags(tags.iter().copied())
}

/// What a decision comes to: events to append, or a refusal.
type Decision = std::result::Result<Vec<NewEvent>, &'static str>;

/// Reads what matches, decides, and appends unless something more matches by then; again until it
/// is one or the other.
fn decide(
    store: &Store,
    stream: &str,
    query: &Query,
    decide: impl Fn(&[Event]) -> Decision,
) -> std::result::Result<(), &'static str> {
    loop {
        let known: Vec<Event> =
            store.read(query.clone()).into_iter().collect::<Result<_>>().unwrap();
        let seen = known.last().map_or(Position::START, Event::position);
        let events = decide(&known)?;
        let batch = store.batch().append(stream, ANY, events).unless(query.clone().after(seen));
        match batch.commit() {
            Ok(_) => return Ok(()),
            Err(Error::ConditionFailed(failed)) => {
                let position = failed.position.unwrap();
                assert!(position > seen && !failed.required && failed.condition == 0);
                let newer = store.event(position).unwrap().unwrap();
                assert!(query.matches(&newer), "what is named matches");
            }
            Err(e) => panic!("{e}"),
        }
    }
}

fn count(store: &Store, query: Query) -> usize {
    store.read(query).into_iter().map(Result::unwrap).count()
}

/// In memory, and on a disk in the mode that groups the most.
fn stores(check: impl Fn(&Store)) {
    check(&Store::in_memory().unwrap());
    let place = Place::new();
    check(&small_segments().open(place.path()).unwrap());
    let place = Place::new();
    check(&small_segments().durability(Durability::Sync).hash_bits(4).open(place.path()).unwrap());
}

/// A course has a capacity and a student a limit: a decision over two tags of one event.
#[test]
fn course_subscriptions_keep_within_capacity_and_limit() {
    const COURSES: usize = 4;
    const CAPACITY: usize = 5;
    const STUDENTS: usize = 8;
    const LIMIT: usize = 2;
    stores(|store| {
        for course in 0..COURSES {
            let defined = event("CourseDefined", "", &[&format!("course:{course}")]);
            store.append(format!("Course-{course}"), ANY, [defined]).unwrap();
        }
        let refused = AtomicUsize::new(0);
        thread::scope(|scope| {
            for student in 0..STUDENTS {
                let refused = &refused;
                scope.spawn(move || {
                    for course in 0..COURSES {
                        let (c, s) = (format!("course:{course}"), format!("student:{student}"));
                        let query = Query::new()
                            .types(["CourseDefined", "Subscribed"])
                            .tag(&c)
                            .or(Query::new().types(["Subscribed"]).tag(&s));
                        let done = decide(store, "Subscriptions", &query, |known| {
                            let with = |tag: &str| {
                                let with = known.iter().filter(|e| e.event_type() == "Subscribed");
                                with.filter(|e| e.tags().any(|t| t == tag)).count()
                            };
                            if with(&c) >= CAPACITY {
                                return Err("full");
                            }
                            if with(&s) >= LIMIT {
                                return Err("enough");
                            }
                            Ok(vec![event("Subscribed", "", &[&c, &s])])
                        });
                        refused.fetch_add(usize::from(done.is_err()), Ordering::Relaxed);
                    }
                });
            }
        });
        let subscribed = Query::new().event_type("Subscribed");
        for course in 0..COURSES {
            assert!(count(store, subscribed.clone().tag(format!("course:{course}"))) <= CAPACITY);
        }
        for student in 0..STUDENTS {
            assert!(count(store, subscribed.clone().tag(format!("student:{student}"))) <= LIMIT);
        }
        let all = count(store, subscribed);
        assert_eq!(all + refused.into_inner(), STUDENTS * COURSES);
        assert_eq!(all, STUDENTS * LIMIT, "there are places for all that the limit allows");
    });
}

/// A name is taken by whoever registers first, and free again once its account is closed.
#[test]
fn user_names_are_unique() {
    stores(|store| {
        let names = ["ann", "bob", "eve"];
        let registered = AtomicUsize::new(0);
        thread::scope(|scope| {
            for user in 0..8 {
                let registered = &registered;
                scope.spawn(move || {
                    for name in names {
                        let tag = format!("name:{name}");
                        let query = Query::new().types(["Registered", "AccountClosed"]).tag(&tag);
                        let stream = format!("User-{user}-{name}");
                        let done = decide(store, &stream, &query, |known| {
                            match known.last().map(Event::event_type) {
                                Some("Registered") => Err("taken"),
                                _ => Ok(vec![event("Registered", "", &[&tag])]),
                            }
                        });
                        registered.fetch_add(usize::from(done.is_ok()), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(registered.into_inner(), names.len());
        let query = Query::new().types(["Registered", "AccountClosed"]).tag("name:ann");
        store.append("User-x", ANY, [event("AccountClosed", "", &["name:ann"])]).unwrap();
        decide(store, "User-y", &query, |known| {
            assert_eq!(known.len(), 2);
            Ok(vec![event("Registered", "", &["name:ann"])])
        })
        .unwrap();
    });
}

/// Invoices are numbered without a gap: the condition covers all of a type.
#[test]
fn invoice_numbers_have_no_gap() {
    stores(|store| {
        let query = Query::new().event_type("InvoiceCreated");
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        decide(store, "Invoices", &query, |known| {
                            let number = known.len() + 1;
                            let tag = format!("invoice:{number}");
                            Ok(vec![event("InvoiceCreated", &number.to_string(), &[&tag])])
                        })
                        .unwrap();
                    }
                });
            }
        });
        let numbers: Vec<String> = store
            .read(query.clone())
            .into_iter()
            .map(|event| String::from_utf8(event.unwrap().data().to_vec()).unwrap())
            .collect();
        assert!(numbers.into_iter().eq((1..=40).map(|n| n.to_string())));
    });
}

/// A token confirms a sign-up once, and only one that was sent.
#[test]
fn opt_in_tokens_are_redeemed_once() {
    stores(|store| {
        let tokens: Vec<String> = (0..6).map(|n| format!("otp:{n}")).collect();
        for token in &tokens {
            store.append("SignUp-1", ANY, [event("SignUpInitiated", "", &[token])]).unwrap();
        }
        let redeem = |token: &str| {
            let confirmed = Query::new().event_type("SignUpConfirmed").tag(token);
            let initiated = Query::new().event_type("SignUpInitiated").tag(token);
            store
                .batch()
                .append("SignUp-1", ANY, [event("SignUpConfirmed", "", &[token])])
                .unless(confirmed)
                .require(initiated)
                .commit()
        };
        let won = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for token in &tokens {
                        match redeem(token) {
                            Ok(_) => drop(won.fetch_add(1, Ordering::Relaxed)),
                            Err(Error::ConditionFailed(failed)) => assert_eq!(failed.condition, 0),
                            Err(e) => panic!("{e}"),
                        }
                    }
                });
            }
        });
        assert_eq!(won.into_inner(), tokens.len());
        let Err(Error::ConditionFailed(failed)) = redeem("otp:99") else { panic!("never sent") };
        assert_eq!((failed.condition, failed.required, failed.position), (1, true, None));
    });
}

/// A command carries a token: the second time nothing happens. With event ids that takes no
/// condition, and holds even where the rest of the batch would be refused by now.
#[test]
fn commands_are_idempotent() {
    stores(|store| {
        let order = |token: &str| {
            let placed = event("OrderPlaced", "", &[token]);
            store
                .batch()
                .append("Orders", ANY, [placed])
                .unless(Query::new().event_type("OrderPlaced").tag(token))
                .commit()
        };
        order("token:1").unwrap();
        assert!(order("token:1").unwrap_err().is_conflict());
        let done = |n: u64| {
            let placed = event("OrderPlaced", "", &["token:2"]).id(id(n));
            store
                .batch()
                .append("Orders", ANY, [placed])
                .expect("Stock-1", ExpectedVersion::NoStream)
                .unless(Query::new().event_type("OrderPlaced").tag("token:2"))
                .commit()
        };
        let first = done(1).unwrap();
        store.append("Stock-1", ANY, [event("Counted", "", &[])]).unwrap();
        let again = done(1).unwrap();
        assert!(again[0].deduplicated && !first[0].deduplicated);
        assert_eq!((again[0].position, again[0].version), (first[0].position, first[0].version));
        assert!(done(2).unwrap_err().is_conflict());
    });
}

/// An order is taken at the price that was shown, while that one or the one before it is valid.
#[test]
fn prices_that_were_shown_are_kept() {
    stores(|store| {
        let product = Query::new().types(["ProductDefined", "PriceChanged"]).tag("product:1");
        store.append("Product-1", ANY, [event("ProductDefined", "10", &["product:1"])]).unwrap();
        let order = |shown: &str| {
            decide(store, "Orders", &product, |known| {
                let prices: Vec<&[u8]> = known.iter().rev().take(2).map(Event::data).collect();
                match prices.contains(&shown.as_bytes()) {
                    true => Ok(vec![event("Ordered", shown, &["product:1"])]),
                    false => Err("another price"),
                }
            })
        };
        order("10").unwrap();
        assert_eq!(order("12"), Err("another price"));
        let change = |price: &str| {
            store.append("Product-1", ANY, [event("PriceChanged", price, &["product:1"])]).unwrap()
        };
        change("12");
        order("12").unwrap();
        order("10").unwrap();
        change("15");
        assert_eq!(order("10"), Err("another price"));
        let ordered = Query::new().event_type("Ordered").tag("product:1");
        assert_eq!(count(store, ordered), 3);
    });
}

/// Racing batches whose conditions look at each other's events: what is there afterwards must be
/// what some order of the batches gives, checked position by position.
#[test]
fn racing_batches_are_as_if_one_by_one() {
    stores(|store| {
        thread::scope(|scope| {
            for writer in 0..6_u64 {
                scope.spawn(move || {
                    for n in 0..30_u64 {
                        let mine = format!("key:{}", (writer * 7 + n * 3) % 10);
                        let other = format!("key:{}", (writer * 5 + n) % 10);
                        let seen = store.head();
                        let batch = store
                            .batch()
                            .append(format!("S-{writer}"), ANY, [event("Set", &other, &[&mine])])
                            .unless(Query::new().tag(&mine).after(seen))
                            .unless(Query::new().tag(&other).event_type("Set").after(seen));
                        let written = batch.commit();
                        if let Ok(done) = &written {
                            // Nothing that either condition forbids lies between.
                            let between: Vec<Event> = store
                                .read_all()
                                .any_tag([&mine, &other])
                                .after(seen)
                                .into_iter()
                                .map(Result::unwrap)
                                .take_while(|event| event.position() < done[0].position)
                                .collect();
                            assert!(between.is_empty(), "{seen} {done:?} {between:?}");
                        } else {
                            assert!(written.unwrap_err().is_conflict());
                        }
                    }
                });
            }
        });
        let mut keys = BTreeMap::<String, BTreeSet<u64>>::new();
        for event in store.read_all() {
            let event = event.unwrap();
            let key = event.tags().next().unwrap().to_owned();
            keys.entry(key).or_default().insert(event.position().0);
        }
        for (key, positions) in keys {
            let found: BTreeSet<u64> = store
                .read_all()
                .tag(key)
                .into_iter()
                .map(|event| event.unwrap().position().0)
                .collect();
            assert_eq!(found, positions);
        }
    });
}

#[test]
fn expectations_come_before_conditions_and_both_before_anything_is_written() {
    let store = Store::in_memory().unwrap();
    store.append("A-1", ANY, [event("X", "", &["t"])]).unwrap();
    let batch = || store.batch().append("B-1", ANY, [event("Y", "", &["t"])]);
    let both = batch().expect("A-1", Version(7)).unless(Query::new().tag("t"));
    assert!(matches!(both.commit(), Err(Error::Conflict(_))));
    let second = batch().require(Query::new().tag("t")).unless(Query::new().stream("A-1"));
    let Err(Error::ConditionFailed(failed)) = second.commit() else { panic!() };
    assert_eq!((failed.condition, failed.position), (1, Some(Position(1))));
    let none = store.batch().unless(Query::new().tag("u")).commit();
    assert!(matches!(none, Err(Error::EmptyAppend)));
    let wrong = batch().unless(Query::new().tag("")).commit();
    assert!(matches!(wrong, Err(Error::InvalidName { what: "tag", .. })));
    assert_eq!(store.head(), Position(1));
    // Its own events do not count, and what comes after a position beyond the head cannot match.
    batch().unless(Query::new().tag("t").after(Position(99))).commit().unwrap();
    batch().unless(Query::new().event_type("Z")).commit().unwrap();
    assert_eq!(store.head(), Position(3));
}
