//! Every schedule of up to three threads, and every order that the memory model allows, on the
//! shell around the commit core, the watermark, close and poison.
//!
//! How far it goes is bounded by preemptions, a number for each model, and one more with
//! `ANNALS_LONG=1`. `LOOM_MAX_PREEMPTIONS=n` takes another number.
#![allow(dead_code, reason = "the library's files have calls that no model needs")]

pub(crate) use loom as checker;

#[path = "shared/core.rs"]
mod core;
#[path = "shared/error.rs"]
mod error;
#[path = "shared/position.rs"]
mod position;
#[path = "../../src/writer/shell.rs"]
mod shell;
#[path = "shared/sync.rs"]
mod sync;
#[path = "../../src/watermark.rs"]
mod watermark;

use std::sync::atomic::{AtomicUsize, Ordering};

use std::time::Instant;

use crate::core::{Answer, Request, Store};
use crate::error::Error;
use crate::position::Position;
use crate::sync::{Arc, AtomicBool};
use crate::watermark::{Watermark, Woken};

/// Runs a model in every schedule with at most so many preemptions.
fn model(name: &str, preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let is_long = std::env::var_os("ANNALS_LONG").is_some_and(|long| long != "0");
    let mut builder = loom::model::Builder::new();
    let preemptions = preemptions + usize::from(is_long);
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    let bound = builder.preemption_bound;
    let schedules: &'static AtomicUsize = Box::leak(Box::default());
    builder.check(move || {
        schedules.fetch_add(1, Ordering::Relaxed);
        run();
    });
    let schedules = schedules.load(Ordering::Relaxed);
    eprintln!("{name}: {schedules} schedules, at most {bound:?} preemptions");
}

/// Two more threads beside this one, each doing one append; what all three were answered.
fn three(store: &Store, requests: [Request; 3]) -> Vec<Answer> {
    let [mine, others @ ..] = requests;
    let others = others.map(|request| {
        let store = store.clone();
        loom::thread::spawn(move || store.append(request))
    });
    let mut answers = vec![store.append(mine)];
    answers.extend(others.map(|other| other.join().unwrap()));
    answers
}

#[test]
fn three_appends_are_each_committed_once_and_seen_when_they_return() {
    model("three appends", 2, || {
        let store = Store::new();
        let answers = three(&store, [Request::Event; 3]);
        assert!(answers.iter().all(|answer| matches!(answer, Answer::Done(_))), "{answers:?}");
        store.check(&answers);
    });
}

#[test]
fn a_request_that_does_not_fit_a_group_leads_the_next() {
    model("large appends", 2, || {
        let store = Store::new();
        let answers = three(&store, [Request::Event, Request::Large, Request::Large]);
        assert!(answers.iter().all(|answer| matches!(answer, Answer::Done(_))), "{answers:?}");
        store.check(&answers);
    });
}

#[test]
fn a_reader_never_sees_more_than_the_index_has_and_never_less_than_before() {
    model("a reader", 2, || {
        let store = Store::new();
        let appender = store.clone();
        let appender = loom::thread::spawn(move || appender.append(Request::Event));
        let other = store.clone();
        let other = loom::thread::spawn(move || other.append(Request::Event));
        let (first, second) = (store.look(), store.look());
        assert!(first <= second, "the watermark went back");
        store.check(&[appender.join().unwrap(), other.join().unwrap()]);
    });
}

#[test]
fn close_waits_for_what_was_taken_and_takes_nothing_more() {
    model("close", 4, || {
        let store = Store::new();
        let appenders = [0, 1].map(|_| {
            let store = store.clone();
            loom::thread::spawn(move || store.append(Request::Event))
        });
        assert!(store.writer.close(), "the first close");
        // Everything that was taken has been committed: close may save and unlock now.
        let committed = store.writer.core().written;
        let visible = store.look();
        assert_eq!(committed, visible);
        let answers = appenders.map(|appender| appender.join().unwrap());
        assert_eq!(store.writer.core().written, committed, "committed behind the end");
        for answer in answers {
            assert!(matches!(answer, Answer::Done(_) | Answer::Closed), "{answer:?}");
        }
        assert_eq!(store.append(Request::Event), Answer::Closed);
        let answers: Vec<Answer> =
            answers.into_iter().filter(|answer| *answer != Answer::Closed).collect();
        store.check(&answers);
    });
}

#[test]
fn of_two_that_close_one_ends_the_store() {
    model("two that close", 5, || {
        let store = Store::new();
        let [appender, closer] = [store.clone(), store.clone()];
        let appender = loom::thread::spawn(move || appender.append(Request::Event));
        let closer = loom::thread::spawn(move || closer.writer.close());
        let mine = store.writer.close();
        let others = closer.join().unwrap();
        assert!(mine != others, "closed {} times", u8::from(mine) + u8::from(others));
        let answer = appender.join().unwrap();
        assert!(matches!(answer, Answer::Done(_) | Answer::Closed), "{answer:?}");
    });
}

/// Who is answered what when one of three requests stops the writer.
fn poison(bad: Request) {
    let store = Store::new();
    let answers = three(&store, [Request::Event, bad, Request::Event]);
    assert_eq!(answers[1], Answer::Unknown, "{answers:?}");
    store.check(&answers);
    let before = store.writer.core().written;
    assert_eq!(store.append(Request::Event), Answer::Poisoned);
    assert_eq!(store.writer.core().written, before, "written behind the poison");
    store.look();
}

#[test]
fn a_failed_sync_stops_the_writer_and_leaves_nobody_waiting() {
    model("a failed sync", 3, || poison(Request::FailingSync));
}

#[test]
fn a_panic_stops_the_writer_and_leaves_nobody_waiting() {
    model("a panic", 3, || poison(Request::Panic));
}

#[test]
fn closing_a_poisoned_writer_does_not_wait_for_ever() {
    model("closing behind the poison", 4, || {
        let store = Store::new();
        let appenders = [Request::FailingSync, Request::Event].map(|request| {
            let store = store.clone();
            loom::thread::spawn(move || store.append(request))
        });
        assert!(store.writer.close());
        for answer in appenders.map(|appender| appender.join().unwrap()) {
            assert_ne!(answer, Answer::Unanswered);
        }
    });
}

#[test]
fn the_marks_only_move_forward_and_durable_never_leads() {
    model("the marks", 3, || {
        let marks = Arc::new(Watermark::at(Position(1)));
        let movers = [3, 2].map(|position| {
            let marks = Arc::clone(&marks);
            loom::thread::spawn(move || {
                marks.make_durable(Position(position));
                marks.show(Position(position));
            })
        });
        let mut last = (marks.durable(), marks.visible());
        assert!(last.0 <= last.1, "{last:?}");
        for _ in 0..2 {
            let now = (marks.durable(), marks.visible());
            assert!(now.0 <= now.1 && now.0 >= last.0 && now.1 >= last.1, "{last:?} {now:?}");
            last = now;
        }
        for mover in movers {
            mover.join().unwrap();
        }
        assert_eq!((marks.durable(), marks.visible()), (Position(3), Position(3)));
    });
}

// Waiting: register, look again, sleep. A wake-up that is missed is a thread that waits for ever,
// which the checker calls a deadlock.

/// Another thread that waits behind a position.
fn waiter(marks: &Arc<Watermark>, position: u64) -> loom::thread::JoinHandle<Woken> {
    let marks = Arc::clone(marks);
    loom::thread::spawn(move || {
        let woken = marks.wait_behind(Position(position), None, &|| false);
        if matches!(woken, Woken::Moved) {
            assert!(marks.visible() > Position(position), "woken by nothing");
        }
        woken
    })
}

#[test]
fn a_waiter_never_misses_that_something_is_shown() {
    model("a waiter", 5, || {
        let marks = Arc::new(Watermark::default());
        let waiter = waiter(&marks, 0);
        marks.show(Position(1));
        assert!(matches!(waiter.join().unwrap(), Woken::Moved));
    });
}

#[test]
fn a_waiter_for_the_second_is_woken_by_the_second() {
    model("a waiter for the second", 4, || {
        let marks = Arc::new(Watermark::default());
        let [first, second] = [waiter(&marks, 0), waiter(&marks, 1)];
        marks.show(Position(1));
        marks.show(Position(2));
        assert!(matches!(first.join().unwrap(), Woken::Moved));
        assert!(matches!(second.join().unwrap(), Woken::Moved));
    });
}

#[test]
fn two_waiters_are_both_woken() {
    model("two waiters", 4, || {
        let marks = Arc::new(Watermark::default());
        let waiters = [waiter(&marks, 0), waiter(&marks, 0)];
        marks.show(Position(1));
        for waiter in waiters {
            assert!(matches!(waiter.join().unwrap(), Woken::Moved));
        }
    });
}

#[test]
fn a_waiter_never_misses_that_it_is_stopped() {
    model("a waiter that is stopped", 5, || {
        let marks = Arc::new(Watermark::default());
        let stopped = Arc::new(AtomicBool::new(false));
        let waiter = {
            let (marks, stopped) = (Arc::clone(&marks), Arc::clone(&stopped));
            let is_off = move || stopped.load(Ordering::SeqCst);
            loom::thread::spawn(move || marks.wait_behind(Position(0), None, &is_off))
        };
        stopped.store(true, Ordering::SeqCst);
        marks.wake();
        assert!(matches!(waiter.join().unwrap(), Woken::Moved));
    });
}

#[test]
fn one_is_stopped_and_the_other_sees_what_is_shown() {
    model("stop beside show", 3, || {
        let marks = Arc::new(Watermark::default());
        let stopped = Arc::new(AtomicBool::new(false));
        let stopper = {
            let (marks, stopped) = (Arc::clone(&marks), Arc::clone(&stopped));
            loom::thread::spawn(move || {
                stopped.store(true, Ordering::SeqCst);
                marks.wake();
            })
        };
        let other = waiter(&marks, 0);
        marks.show(Position(1));
        // Behind what is shown, only the stop can end it.
        let is_off = || stopped.load(Ordering::SeqCst);
        assert!(matches!(marks.wait_behind(Position(1), None, &is_off), Woken::Moved));
        assert!(is_off(), "ended by nothing");
        assert!(matches!(other.join().unwrap(), Woken::Moved));
        stopper.join().unwrap();
    });
}

#[test]
fn a_waiter_sees_what_was_shown_before_the_end_and_then_the_end() {
    model("the end", 4, || {
        let marks = Arc::new(Watermark::default());
        let [first, second] = [waiter(&marks, 0), waiter(&marks, 1)];
        marks.show(Position(1));
        marks.end(Error::Closed);
        assert!(matches!(first.join().unwrap(), Woken::Moved), "ended before the last event");
        assert!(matches!(second.join().unwrap(), Woken::Ended(Error::Closed)));
        assert!(marks.is_closed());
    });
}

#[test]
fn that_a_store_was_closed_says_more_than_that_it_was_poisoned() {
    model("two ends", 4, || {
        let marks = Arc::new(Watermark::default());
        let waiter = waiter(&marks, 0);
        let poisoner = Arc::clone(&marks);
        let poisoner = loom::thread::spawn(move || poisoner.end(Error::Poisoned));
        marks.end(Error::Closed);
        assert!(matches!(waiter.join().unwrap(), Woken::Ended(_)));
        poisoner.join().unwrap();
        let woken = marks.wait_behind(Position(0), None, &|| false);
        assert!(matches!(woken, Woken::Ended(Error::Closed)), "{woken:?}");
    });
}

#[test]
fn a_wait_whose_time_is_over_says_whether_something_moved() {
    model("time", 4, || {
        let marks = Arc::new(Watermark::default());
        let shower = Arc::clone(&marks);
        let shower = loom::thread::spawn(move || shower.show(Position(1)));
        let other = waiter(&marks, 0);
        let now = Some(Instant::now());
        match marks.wait_behind(Position(0), now, &|| false) {
            Woken::Moved => assert_eq!(marks.visible(), Position(1)),
            Woken::TimedOut => {}
            Woken::Ended(why) => panic!("ended by {why:?}"),
        }
        shower.join().unwrap();
        assert!(matches!(other.join().unwrap(), Woken::Moved));
        let woken = marks.wait_behind(Position(0), now, &|| false);
        assert!(matches!(woken, Woken::Moved), "{woken:?}");
        let woken = marks.wait_behind(Position(1), now, &|| false);
        assert!(matches!(woken, Woken::TimedOut), "{woken:?}");
    });
}

#[test]
fn a_subscriber_sees_every_append_of_two_threads() {
    model("a subscriber", 2, || {
        let store = Store::new();
        let appenders = [0, 1].map(|_| {
            let store = store.clone();
            loom::thread::spawn(move || store.append(Request::Event))
        });
        assert_eq!(store.follow(2, &AtomicBool::new(false)), (2, None));
        store.check(&appenders.map(|appender| appender.join().unwrap()));
    });
}

#[test]
fn a_subscriber_sees_what_was_taken_before_the_store_was_closed() {
    model("a subscriber and close", 2, || {
        let store = Store::new();
        let appender = store.clone();
        let appender = loom::thread::spawn(move || appender.append(Request::Event));
        let closer = store.clone();
        let closer = loom::thread::spawn(move || closer.close());
        let (seen, why) = store.follow(2, &AtomicBool::new(false));
        assert_eq!(why, Some(Error::Closed));
        assert!(closer.join().unwrap());
        let taken = matches!(appender.join().unwrap(), Answer::Done(_));
        assert_eq!(seen, u64::from(taken), "ended before the last event");
    });
}
