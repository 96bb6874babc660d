//! Reactions: every event handled, each command once.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use annals::kit::{CommandError, Reaction, ReactionError, Repository, Upcasts};
use annals::{ExpectedVersion, NewEvent, Position, Query, Store};

use super::repository::{Accounts, Command, Refusal};

fn orders(store: &Store, from: u64, to: u64) {
    for n in from..=to {
        let paid = NewEvent::new("Paid", n.to_string()).correlation(format!("c-{n}"));
        store.append(format!("Order-{n}"), ExpectedVersion::Any, [paid]).unwrap();
    }
}

fn repository(store: &Store) -> Repository<&'static Accounts> {
    Repository::new(store, Box::leak(Box::default()))
}

type Outcome = Result<(), CommandError<Refusal>>;

#[test]
fn each_event_causes_its_commands_once_however_often_it_comes() {
    let store = Store::in_memory().unwrap();
    orders(&store, 1, 3);
    let accounts = repository(&store);
    let credit = |cause: &annals::kit::Cause<'_>| -> Outcome {
        accounts.execute("Account-a", cause.request("one", Command::Deposit(1)))?;
        accounts.execute("Account-a", cause.request("two", Command::Deposit(10)))?;
        Ok(())
    };
    let start =
        |store: &Store| Reaction::builder(store, "credit").event_type("Paid").start().unwrap();
    let mut reaction = start(&store);
    assert_eq!(reaction.catch_up(credit).unwrap(), 3);
    assert_eq!(accounts.load("Account-a").unwrap().state.cents, 33);
    drop(reaction);
    // Everything again, as if nothing had ever been saved.
    store.reset_cursor("credit", Position::START).unwrap();
    let mut reaction = start(&store);
    assert_eq!(reaction.catch_up(credit).unwrap(), 3);
    assert_eq!(accounts.load("Account-a").unwrap().state.cents, 33);
    assert_eq!(store.cursor("credit").unwrap().unwrap().lag, Some(0), "past its own events too");
    assert_eq!(reaction.catch_up(credit).unwrap(), 0);
    drop(reaction);
    // Another reaction is another cause.
    let mut bonus = Reaction::builder(&store, "bonus").event_type("Paid").start().unwrap();
    bonus.catch_up(credit).unwrap();
    assert_eq!(accounts.load("Account-a").unwrap().state.cents, 66);
}

#[test]
fn an_event_on_which_the_function_fails_comes_again() {
    let store = Store::in_memory().unwrap();
    orders(&store, 1, 3);
    let mut reaction = Reaction::builder(&store, "r").event_type("Paid").start().unwrap();
    let seen = Cell::new(Vec::new());
    let note = |position: u64| {
        let mut all = seen.take();
        all.push(position);
        seen.set(all);
    };
    let fails = Cell::new(true);
    let react = |cause: &annals::kit::Cause<'_>| {
        note(cause.event().position().0);
        if cause.event().position().0 == 2 && fails.get() { Err("down") } else { Ok(()) }
    };
    for _ in 0..2 {
        let failed = reaction.catch_up(react);
        assert!(matches!(
            failed,
            Err(ReactionError::Failed { position: Position(2), why: "down" })
        ));
        assert_eq!(store.cursor("r").unwrap().unwrap().position, Position(1));
    }
    drop(reaction);
    fails.set(false);
    let mut reaction = Reaction::builder(&store, "r").event_type("Paid").start().unwrap();
    reaction.catch_up(react).unwrap();
    assert_eq!(seen.take(), [1, 2, 2, 2, 3]);
    assert_eq!(store.cursor("r").unwrap().unwrap().position, Position(3));
}

#[test]
fn parts_of_one_event_are_causes_of_their_own() {
    let store = Store::in_memory().unwrap();
    store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("PaidTwice", "")]).unwrap();
    let upcasts = Upcasts::builder()
        .split(("PaidTwice", 1), &[("Paid", 1)], |payload| {
            let paid = annals::kit::Payload { event_type: "Paid".into(), ..payload.to_owned() };
            Ok(vec![paid.clone(), paid])
        })
        .build()
        .unwrap();
    let accounts = repository(&store);
    let query = Query::new().event_type("Paid");
    let mut reaction =
        Reaction::builder(&store, "credit").matching(query).upcasts(upcasts).start().unwrap();
    let handled = reaction.catch_up(|cause| -> Outcome {
        accounts.execute("Account-a", cause.request("one", Command::Deposit(1)))?;
        // The cursor stays in front of the event until its last part is handled.
        assert_eq!(store.cursor("credit").unwrap().map(|c| c.position.0).unwrap_or(0), 0);
        Ok(())
    });
    assert_eq!(handled.unwrap(), 2);
    assert_eq!(accounts.load("Account-a").unwrap().state.cents, 2);
}

#[test]
fn it_follows_live_until_it_is_stopped() {
    let store = Store::in_memory().unwrap();
    orders(&store, 1, 1);
    let accounts = repository(&store);
    let mut reaction = Reaction::builder(&store, "credit").event_type("Paid").start().unwrap();
    let stop = reaction.stop_handle();
    thread::scope(|scope| {
        let running = scope.spawn(|| {
            reaction.run_for(None, |cause| -> Outcome {
                accounts.execute("Account-a", cause.request("one", Command::Deposit(1))).map(drop)
            })
        });
        orders(&store, 2, 5);
        store.wait_for("credit", Position(5), Duration::from_secs(60)).unwrap();
        stop.stop();
        assert_eq!(running.join().unwrap().unwrap(), 5);
    });
    assert_eq!(accounts.load("Account-a").unwrap().state.cents, 5);
}
