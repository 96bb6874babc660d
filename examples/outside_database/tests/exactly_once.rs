//! Each event is in the database exactly once, whatever fails between the two.

use annals::{ExpectedVersion, NewEvent, Position, Store};
use outside_database::{Failure, Totals};

fn place(store: &Store, customer: &str, cents: i64) {
    let event = [NewEvent::json("OrderPlaced", &(customer, cents)).unwrap()];
    store.append("Order-1", ExpectedVersion::Any, event).unwrap();
    store.append("Other-1", ExpectedVersion::Any, [NewEvent::new("Noted", "")]).unwrap();
}

fn ok() -> Result<(), Failure> {
    Ok(())
}

#[test]
fn what_fails_before_the_commit_is_taken_in_once_by_the_next_run() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("shop.annals")).unwrap();
    let database = dir.path().join("totals.db");
    for n in 0..30 {
        place(&store, ["ann", "bob"][n % 2], 1 + n as i64);
    }
    let mut runs = 0;
    loop {
        // A new connection each time, as after a crash; every second run fails behind its changes.
        let mut totals = Totals::open(&database).unwrap();
        runs += 1;
        let before = totals.place().unwrap();
        if runs % 2 == 1 {
            assert!(totals.catch_up(&store, 7, || Err("no power".into())).is_err());
            assert_eq!(Totals::open(&database).unwrap().place().unwrap(), before);
        } else if totals.catch_up(&store, 7, ok).unwrap() == 0 {
            break;
        }
    }
    assert_eq!(runs, 12, "30 events in sevens, and each run failed once");
    let totals = Totals::open(&database).unwrap();
    assert_eq!(totals.of("ann").unwrap(), Some((1..=29).step_by(2).sum()));
    assert_eq!(totals.of("bob").unwrap(), Some((2..=30).step_by(2).sum()));
    assert_eq!(totals.of("eve").unwrap(), None);
}

#[test]
fn a_log_of_another_history_builds_it_anew() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("totals.db");
    let mut totals = Totals::open(&database).unwrap();
    let first = Store::open(dir.path().join("first.annals")).unwrap();
    (0..5).for_each(|_| place(&first, "ann", 10));
    totals.catch_up(&first, 100, ok).unwrap();
    assert_eq!((totals.of("ann").unwrap(), totals.place().unwrap()), (Some(50), Position(9)));
    // Other events at the same positions; then a log that ends before.
    for (name, orders) in [("second.annals", 6), ("third.annals", 2)] {
        let other = Store::open(dir.path().join(name)).unwrap();
        (0..orders).for_each(|_| place(&other, "bob", 1));
        totals.catch_up(&other, 100, ok).unwrap();
        assert_eq!((totals.of("ann").unwrap(), totals.of("bob").unwrap()), (None, Some(orders)));
    }
}
