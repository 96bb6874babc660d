//! Decisions inside the write: nothing comes between, nothing waits for itself, nothing is left of
//! a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use annals::{Error, ExpectedVersion, NewEvent, Position, Query, Result, Store, Version};

use crate::support::{Place, numbered, small_segments};

const ANY: ExpectedVersion = ExpectedVersion::Any;

#[test]
fn nothing_comes_between_a_decision_and_its_write() {
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    let store = &store;
    thread::scope(|scope| {
        for writer in 0..3 {
            scope.spawn(move || {
                for n in 0..200 {
                    store.append(format!("Noise-{writer}"), ANY, [numbered(n)]).unwrap();
                }
            });
        }
        for _ in 0..4 {
            scope.spawn(move || {
                for _ in 0..50 {
                    let mut seen = Position::START;
                    let done = store
                        .transact(|view| {
                            seen = view.head();
                            let count =
                                view.read(Query::new().category("Count")).into_iter().count();
                            assert_eq!(
                                view.stream("Count-1")?.map_or(0, |s| s.version.0),
                                count as u64
                            );
                            let event = NewEvent::new("Counted", count.to_string());
                            let exact = Version(count as u64);
                            Ok::<_, Error>(view.batch().append("Count-1", exact, [event]))
                        })
                        .unwrap();
                    assert_eq!(done[0].position.0, seen.0 + 1, "right behind what it saw");
                }
            });
        }
    });
    let counted: Vec<String> = store
        .read_stream("Count-1")
        .into_iter()
        .map(|event| String::from_utf8(event.unwrap().data().to_vec()).unwrap())
        .collect();
    assert!(counted.into_iter().eq((0..200).map(|n| n.to_string())));
    store.close().unwrap();
    let store = small_segments().open(place.path()).unwrap();
    assert_eq!(store.head(), Position(3 * 200 + 200));
}

#[test]
fn a_call_that_would_wait_for_itself_is_refused() {
    let store = Store::in_memory().unwrap();
    let other = Store::in_memory().unwrap();
    store.append("A-1", ANY, [numbered(1)]).unwrap();
    let owned = store.own_cursor("a").unwrap();
    let done = store
        .transact(|view| {
            let refusals: Vec<Error> = vec![
                store.append("A-1", ANY, [numbered(2)]).unwrap_err(),
                store.batch().append("A-1", ANY, [numbered(2)]).commit().unwrap_err(),
                store.sync().unwrap_err(),
                store.close().unwrap_err(),
                store.save_cursor("b", Position(1)).unwrap_err(),
                owned.save(Position(1)).unwrap_err(),
                store.transact(|view| Ok::<_, Error>(view.batch())).unwrap_err(),
            ];
            assert!(refusals.iter().all(|e| matches!(e, Error::Reentrant)), "{refusals:?}");
            // Another store is another matter.
            other.append("A-1", ANY, [numbered(2)])?;
            other
                .transact(|view| Ok::<_, Error>(view.batch().append("B-1", ANY, [numbered(3)])))?;
            assert_eq!(view.head(), Position(1));
            Ok::<_, Error>(view.batch().append("A-1", Version(1), [numbered(2)]))
        })
        .unwrap();
    assert_eq!(done[0].position, Position(2));
    store.append("A-1", Version(2), [numbered(3)]).unwrap();
    assert_eq!(other.head(), Position(2));
    // The refused close has closed nothing.
    owned.save(Position(2)).unwrap();
    assert!(store.wait_for("a", Position(2), Duration::ZERO).unwrap());
}

#[test]
fn a_panic_goes_to_its_caller_and_leaves_nothing() {
    let store = Store::in_memory().unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        store.transact(|view| -> Result<annals::Batch> {
            let _ = view.batch().append("A-1", ANY, [numbered(1)]);
            panic!("the closure's own")
        })
    }));
    assert_eq!(*panicked.unwrap_err().downcast::<&str>().unwrap(), "the closure's own");
    assert_eq!(store.head(), Position::START);
    store.append("A-1", ExpectedVersion::NoStream, [numbered(1)]).unwrap();
    store.transact(|view| Ok::<_, Error>(view.batch().append("A-1", ANY, [numbered(2)]))).unwrap();
    assert_eq!(store.head(), Position(2));
}

/// An error of the application's own.
#[derive(Debug)]
enum Refusal {
    Sold,
    Store(Error),
}

impl From<Error> for Refusal {
    fn from(e: Error) -> Self {
        Self::Store(e)
    }
}

#[test]
fn what_is_refused_is_not_written() {
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    let sold = store.transact(|_| Err(Refusal::Sold));
    assert!(matches!(sold, Err(Refusal::Sold)));
    let conflict = store
        .transact(|view| Ok::<_, Refusal>(view.batch().append("A-1", Version(7), [numbered(1)])));
    assert!(matches!(conflict, Err(Refusal::Store(Error::Conflict(_)))));
    let failed = store.transact(|view| {
        let batch = view.batch().append("A-1", ANY, [numbered(1)]);
        Ok::<_, Refusal>(batch.require(Query::new().tag("t")))
    });
    assert!(matches!(failed, Err(Refusal::Store(Error::ConditionFailed(_)))));
    let saves = store.transact(|view| {
        let batch = view.batch().append("A-1", ANY, [numbered(1)]);
        Ok::<_, Refusal>(batch.save_cursor("c", Position::START))
    });
    assert!(matches!(saves, Err(Refusal::Store(Error::InvalidOptions { .. }))));
    let nothing = store.transact(|view| Ok::<_, Refusal>(view.batch())).unwrap();
    assert!(nothing.is_empty());
    assert_eq!(store.head(), Position::START);
    // Closing waits for the decision that is being made.
    thread::scope(|scope| {
        let deciding = scope.spawn(|| {
            store.transact(|view| {
                thread::sleep(Duration::from_millis(50));
                Ok::<_, Refusal>(view.batch().append("A-1", ANY, [numbered(1)]))
            })
        });
        thread::sleep(Duration::from_millis(10));
        store.close().unwrap();
        let late = matches!(deciding.join().unwrap(), Err(Refusal::Store(Error::Closed)));
        let events = u64::from(!late);
        let reader = small_segments().open_read_only(place.path()).unwrap();
        assert_eq!(reader.head(), Position(events));
    });
    let closed = store.transact(|view| Ok::<_, Refusal>(view.batch()));
    assert!(matches!(closed, Err(Refusal::Store(Error::Closed))));
    let reader = small_segments().open_read_only(place.path()).unwrap();
    let refused = reader.transact(|view| Ok::<_, Refusal>(view.batch()));
    assert!(matches!(refused, Err(Refusal::Store(Error::ReadOnly))));
}
