//! Tasks that wait while the store is stopped by a failure: each is answered, and none waits for
//! ever.

use std::time::Duration;

use futures::executor::block_on;
use futures::{StreamExt, future};

use super::{open, seed, small};
use crate::storage::memory::{Fault, MemoryDisk};
use crate::{Error, ExpectedVersion, NewEvent, Store};

const EIO: i32 = 5;

fn counted() -> [NewEvent; 1] {
    [NewEvent::new("Counted", "1")]
}

/// Fails if what a thread does takes longer than anything here may.
fn within_a_minute<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(run()));
    result.recv_timeout(Duration::from_secs(60)).expect("a task still waits")
}

/// The appends of tasks on a store whose every call fails from now on, beside a stream that waits
/// for an event: their answers, and what the stream came to.
fn stopped(store: &Store, disk: &MemoryDisk) -> (Vec<Error>, Option<Error>) {
    let mut stream = store.subscribe().after(store.head()).start_stream().unwrap();
    let waiting = std::thread::spawn(move || block_on(stream.next()));
    disk.fail_from(disk.calls(), Fault::Errno(EIO));
    let appends: Vec<_> =
        (0..200).map(|_| store.append_async("A-1", ExpectedVersion::Any, counted())).collect();
    let answers = within_a_minute(move || block_on(future::join_all(appends)));
    let ended = within_a_minute(move || waiting.join().unwrap());
    let refused = answers.into_iter().map(|answer| answer.expect_err("nothing was synced"));
    (refused.collect(), ended.and_then(Result::err))
}

#[test]
fn a_store_that_is_stopped_answers_all_tasks_that_wait() {
    let disk = MemoryDisk::simulated(seed());
    let store = open(&disk, &small()).unwrap();
    let acknowledged = store.append("A-1", ExpectedVersion::NoStream, counted()).unwrap();
    let (answers, ended) = stopped(&store, &disk);
    assert!(answers.iter().any(|e| matches!(e, Error::Unknown { .. })), "{answers:?}");
    for e in &answers {
        let is_told = matches!(e, Error::Unknown { .. } | Error::Poisoned { .. });
        assert!(is_told, "neither there nor stopped: {e:?}");
    }
    assert!(matches!(ended, Some(Error::Poisoned { .. })), "{ended:?}");
    let late = store.append_async("A-1", ExpectedVersion::Any, counted());
    let late = within_a_minute(move || block_on(late));
    assert!(matches!(late, Err(Error::Poisoned { .. })), "{late:?}");
    // What was acknowledged before is read, and a reopen goes on.
    disk.heal();
    assert!(store.event(acknowledged.position).unwrap().is_some());
    assert!(store.close().is_err(), "closing says so too");
    let store = open(&disk.crash_keeping_nothing(), &small()).unwrap();
    assert!(store.event(acknowledged.position).unwrap().is_some());
    store.append("A-1", ExpectedVersion::Exists, counted()).unwrap();
}
