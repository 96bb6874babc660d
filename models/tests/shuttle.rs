//! Random schedules of more threads than can be tried in every order, on the same files as the
//! loom models: so many per test, or many more with `ANNALS_LONG=1`. A failure prints the
//! schedule, which `shuttle::replay` runs again.
#![allow(dead_code, reason = "the library's files have calls that no model needs")]

pub(crate) use shuttle as checker;

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

use crate::core::{Answer, Request, Store};
use crate::error::Error;
use crate::sync::{Arc, AtomicBool, Ordering};

/// Schedules of each test; half of them random, half by preemptions at few places.
fn schedules() -> usize {
    let long = std::env::var_os("ANNALS_LONG").is_some_and(|long| long != "0");
    if long { 2_500_000 } else { 25_000 }
}

fn explore(name: &str, run: impl Fn() + Sync + Send + Clone + 'static) {
    let half = schedules() / 2;
    shuttle::check_random(run.clone(), half);
    shuttle::check_pct(run, half, 3);
    eprintln!("{name}: {} schedules", half * 2);
}

/// A thread for each list of requests; what all of them were answered.
fn append_all(store: &Store, lists: Vec<Vec<Request>>) -> Vec<Answer> {
    let threads: Vec<_> = lists
        .into_iter()
        .map(|list| {
            let store = store.clone();
            shuttle::thread::spawn(move || {
                list.into_iter().map(|request| store.append(request)).collect::<Vec<_>>()
            })
        })
        .collect();
    threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
}

#[test]
fn six_threads_append_and_read() {
    explore("six threads", || {
        let store = Store::new();
        let reader = store.clone();
        let reader = shuttle::thread::spawn(move || {
            let mut last = 0;
            for _ in 0..4 {
                let now = reader.look();
                assert!(now >= last, "the watermark went back");
                last = now;
            }
        });
        let lists = (0..5).map(|n| {
            vec![Request::Event, if n % 2 == 0 { Request::Large } else { Request::Event }]
        });
        let answers = append_all(&store, lists.collect());
        reader.join().unwrap();
        assert!(answers.iter().all(|answer| matches!(answer, Answer::Done(_))), "{answers:?}");
        store.check(&answers);
    });
}

#[test]
fn the_writer_is_poisoned_among_five_threads() {
    explore("poison", || {
        for bad in [Request::FailingSync, Request::Panic] {
            let store = Store::new();
            let mut lists = vec![vec![Request::Event; 2]; 4];
            lists.push(vec![Request::Event, bad]);
            let answers = append_all(&store, lists);
            store.check(&answers);
            assert_eq!(store.append(Request::Event), Answer::Poisoned);
        }
    });
}

#[test]
fn the_store_is_closed_among_six_threads() {
    explore("close", || {
        let store = Store::new();
        let closers = [0, 1].map(|_| {
            let store = store.clone();
            shuttle::thread::spawn(move || {
                let is_first = store.writer.close();
                let core = store.writer.core();
                assert_eq!(core.written, store.look(), "closed with something under way");
                is_first
            })
        });
        let answers = append_all(&store, vec![vec![Request::Event; 2]; 4]);
        let firsts = closers.map(|closer| closer.join().unwrap());
        assert!(firsts[0] != firsts[1], "{firsts:?}");
        for answer in &answers {
            assert!(matches!(answer, Answer::Done(_) | Answer::Closed), "{answer:?}");
        }
        let taken: Vec<Answer> =
            answers.into_iter().filter(|answer| *answer != Answer::Closed).collect();
        store.check(&taken);
    });
}

#[test]
fn a_poisoned_store_is_closed_among_five_threads() {
    explore("close and poison", || {
        let store = Store::new();
        let closer = store.clone();
        let closer = shuttle::thread::spawn(move || closer.writer.close());
        let mut lists = vec![vec![Request::Event; 2]; 3];
        lists.push(vec![Request::FailingSync]);
        let answers = append_all(&store, lists);
        assert!(closer.join().unwrap());
        assert_eq!(store.append(Request::Event), Answer::Closed);
        let taken: Vec<Answer> =
            answers.into_iter().filter(|answer| *answer != Answer::Closed).collect();
        store.check(&taken);
    });
}

#[test]
fn three_subscribers_see_everything_of_three_threads_and_one_is_stopped() {
    explore("subscribers", || {
        let store = Store::new();
        let stopped = Arc::new(AtomicBool::new(false));
        let subscribers = [0, 1, 2].map(|n| {
            let (store, stopped) = (store.clone(), Arc::clone(&stopped));
            shuttle::thread::spawn(move || match n {
                0 => store.follow(u64::MAX, &stopped),
                _ => store.follow(6, &AtomicBool::new(false)),
            })
        });
        let stopper = {
            let (store, stopped) = (store.clone(), Arc::clone(&stopped));
            shuttle::thread::spawn(move || {
                stopped.store(true, Ordering::SeqCst);
                store.shared.watermark.wake();
            })
        };
        let answers = append_all(&store, vec![vec![Request::Event; 2]; 3]);
        stopper.join().unwrap();
        let [off, all @ ..] = subscribers.map(|subscriber| subscriber.join().unwrap());
        assert!(off.0 <= 6 && off.1.is_none(), "{off:?}");
        assert_eq!(all, [(6, None); 2]);
        store.check(&answers);
    });
}

#[test]
fn three_subscribers_see_what_was_taken_before_the_end() {
    explore("subscribers and the end", || {
        for bad in [Request::Event, Request::FailingSync] {
            let store = Store::new();
            let subscribers = [0, 1, 2].map(|_| {
                let store = store.clone();
                shuttle::thread::spawn(move || store.follow(u64::MAX, &AtomicBool::new(false)))
            });
            let lists = vec![vec![Request::Event; 2], vec![Request::Event], vec![bad]];
            let answers = append_all(&store, lists);
            assert!(store.close());
            for subscriber in subscribers {
                let (seen, why) = subscriber.join().unwrap();
                assert_eq!(seen, store.look(), "ended before the last event");
                let poisoned = bad == Request::FailingSync && why == Some(Error::Poisoned);
                assert!(poisoned || why == Some(Error::Closed), "{why:?}");
            }
            store.check(&answers);
        }
    });
}
