//! Appends and streams of tasks, on the executors of `futures` and `tokio`, and by hand.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use annals::{
    AppendFuture, CursorError, Error, EventStream, ExpectedVersion, NewEvent, Position, Query,
    Store,
};
use futures::executor::{LocalPool, ThreadPool, block_on};
use futures::stream::FuturesUnordered;
use futures::task::{LocalSpawnExt, SpawnExt};
use futures::{Stream, StreamExt, future};

use crate::support::{Place, numbered, sized, small_segments};

const LONG: Duration = Duration::from_secs(60);

fn append(store: &Store, stream: &str, number: u64) -> AppendFuture {
    store.append_async(stream, ExpectedVersion::Any, [numbered(number)])
}

/// A waker that counts, and the thread that waits for it.
struct Counter {
    woken: AtomicUsize,
    thread: thread::Thread,
}

impl Counter {
    fn new() -> Arc<Self> {
        Arc::new(Self { woken: AtomicUsize::new(0), thread: thread::current() })
    }

    fn woken(&self) -> usize {
        self.woken.load(Ordering::SeqCst)
    }

    /// Waits until it was woken so often.
    fn wait_for(&self, times: usize) {
        let until = Instant::now() + LONG;
        while self.woken() < times {
            assert!(Instant::now() < until, "woken {} times, not {times}", self.woken());
            thread::park_timeout(Duration::from_millis(100));
        }
    }
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::SeqCst);
        self.thread.unpark();
    }
}

fn poll_next(
    stream: &mut EventStream,
    counter: &Arc<Counter>,
) -> Poll<Option<annals::Result<annals::Event>>> {
    let waker = Waker::from(Arc::clone(counter));
    Pin::new(stream).poll_next(&mut Context::from_waker(&waker))
}

/// Polls until something comes.
fn next(stream: &mut EventStream, counter: &Arc<Counter>) -> Option<annals::Result<annals::Event>> {
    loop {
        let before = counter.woken();
        match poll_next(stream, counter) {
            Poll::Ready(next) => return next,
            Poll::Pending => counter.wait_for(before + 1),
        }
    }
}

fn positions(store: &Store, query: Query) -> Vec<u64> {
    store.read(query).into_iter().map(|event| event.unwrap().position().0).collect()
}

#[test]
fn one_task_has_1024_appends_in_flight() {
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    block_on(async {
        for round in 0..4 {
            let appends = (0..1024).map(|n| append(&store, &format!("A-{}", n % 10), n));
            let done = future::join_all(appends).await;
            for (n, done) in (0..).zip(done) {
                // In the order in which they were made.
                assert_eq!(done.unwrap().position, Position(round * 1024 + n + 1));
            }
        }
    });
    assert_eq!(store.head(), Position(4096));
    let data: Vec<String> = store
        .read_all()
        .into_iter()
        .map(|event| String::from_utf8(event.unwrap().data().to_vec()).unwrap())
        .collect();
    let expected: Vec<String> = (0..4096).map(|n| (n % 1024).to_string()).collect();
    assert_eq!(data, expected);
}

#[test]
fn verdicts_are_those_of_the_blocking_calls() {
    let store = Store::in_memory().unwrap();
    block_on(async {
        let new = |n| store.append_async("A-1", ExpectedVersion::NoStream, [numbered(n)]);
        let (first, second) = (new(1), new(2));
        assert_eq!(first.await.unwrap().version.0, 1);
        assert!(matches!(second.await, Err(Error::Conflict(_))));
        let nothing = store.append_async("A-1", ExpectedVersion::Any, []).await;
        assert!(matches!(nothing, Err(Error::EmptyAppend)));
        let bad = store.append_async("", ExpectedVersion::Any, [numbered(1)]).await;
        assert!(matches!(bad, Err(Error::InvalidName { .. })));
        let batch = || store.batch().append("B-1", ExpectedVersion::NoStream, [numbered(3)]);
        let saving = batch().save_cursor("c", Position(1)).commit_async();
        let refused = batch().unless(Query::new().category("A")).commit_async();
        assert_eq!(saving.await.unwrap().len(), 1);
        assert!(refused.await.is_err());
        assert_eq!(store.cursor("c").unwrap().unwrap().position, Position(1));
    });
    assert_eq!(store.head(), Position(2));
}

/// Appends of tasks and of threads meet in the same groups, and each is there once.
#[test]
fn tasks_and_threads_append_together() {
    const EACH: u64 = 300;
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let store = store.clone();
            runtime.spawn(async move {
                for n in 0..EACH {
                    append(&store, &format!("T-{task}"), n).await.unwrap();
                }
            })
        })
        .collect();
    thread::scope(|scope| {
        for writer in 0..2 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..EACH {
                    store.append(format!("W-{writer}"), annals::Version(n), [numbered(n)]).unwrap();
                }
            });
        }
    });
    runtime.block_on(future::join_all(tasks)).into_iter().for_each(|task| task.unwrap());
    assert_eq!(store.head(), Position(6 * EACH));
    for stream in ["T-0", "T-1", "T-2", "T-3", "W-0", "W-1"] {
        let events = store.read_stream(stream).into_iter().map(Result::unwrap);
        let data: Vec<String> =
            events.map(|e| String::from_utf8(e.data().to_vec()).unwrap()).collect();
        assert_eq!(data, (0..EACH).map(|n| n.to_string()).collect::<Vec<_>>(), "{stream}");
    }
}

/// What the consumers get from somewhere in the history on, while others append.
async fn follow(store: Store, query: Query, after: u64, total: u64) -> Vec<u64> {
    let mut events =
        store.subscribe().matching(query).after(Position(after)).start_stream().unwrap();
    let mut seen = Vec::new();
    while events.position().0 < total {
        // A mark at the end matches every query, so nobody waits for what does not come.
        seen.push(events.next().await.unwrap().unwrap().position().0);
    }
    assert_eq!(events.lag(), 0);
    seen
}

const TOTAL: u64 = 2001;

async fn write(store: Store) {
    for round in 0..20 {
        let appends: FuturesUnordered<_> = (0..100)
            .map(|n| {
                let event = numbered(n).tag(format!("mod:{}", n % 7)).tag("all");
                let stream = format!("C{}-{}", n % 2, round % 5);
                store.append_async(stream, ExpectedVersion::Any, [event])
            })
            .collect();
        appends
            .for_each(|done| {
                done.unwrap();
                future::ready(())
            })
            .await;
    }
    let mark = NewEvent::new("End", "").tag("mod:3").tag("all");
    store.append_async("C1-end", ExpectedVersion::Any, [mark]).await.unwrap();
}

fn queries() -> [Query; 3] {
    [Query::new(), Query::new().category("C1").tag("mod:3"), Query::new().tag("all")]
}

fn check(store: &Store, seen: Vec<(Query, u64, Vec<u64>)>) {
    assert_eq!(store.head(), Position(TOTAL));
    for (query, after, seen) in seen {
        let mut expected = positions(store, query.clone());
        expected.retain(|position| *position > after);
        assert_eq!(seen, expected, "{query:?} after {after}");
    }
}

#[test]
fn streams_get_everything_once_on_one_thread_of_futures() {
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    let mut pool = LocalPool::new();
    let spawner = pool.spawner();
    spawner.spawn_local(write(store.clone())).unwrap();
    let seen = pool.run_until(async {
        let followers = queries().map(|query| async {
            (query.clone(), 0, follow(store.clone(), query, 0, TOTAL).await)
        });
        // All streams in one task.
        future::join_all(followers).await
    });
    check(&store, seen);
}

#[test]
fn streams_get_everything_once_on_threads_of_futures() {
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    let pool = ThreadPool::builder().pool_size(2).create().unwrap();
    pool.spawn(write(store.clone())).unwrap();
    let followers: Vec<_> = queries()
        .map(|query| {
            let follower = follow(store.clone(), query.clone(), 500, TOTAL);
            pool.spawn_with_handle(async move { (query, 500, follower.await) }).unwrap()
        })
        .into();
    check(&store, block_on(future::join_all(followers)));
}

fn on_tokio(runtime: &tokio::runtime::Runtime) {
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    let writer = runtime.spawn(write(store.clone()));
    let followers: Vec<_> = (0..9)
        .map(|n| {
            let query = queries()[n % 3].clone();
            let store = store.clone();
            runtime.spawn(async move {
                // Each begins where the log is by then.
                while store.head().0 < 150 * n as u64 {
                    tokio::task::yield_now().await;
                }
                let after = store.head().0 / 2;
                (query.clone(), after, follow(store, query, after, TOTAL).await)
            })
        })
        .collect();
    let seen = runtime.block_on(async {
        writer.await.unwrap();
        future::join_all(followers).await.into_iter().map(Result::unwrap).collect()
    });
    check(&store, seen);
}

#[test]
fn streams_get_everything_once_on_one_thread_of_tokio() {
    on_tokio(&tokio::runtime::Builder::new_current_thread().build().unwrap());
}

#[test]
fn streams_get_everything_once_on_threads_of_tokio() {
    on_tokio(&tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap());
}

/// A task is woken once for each batch, and not at all for what does not match.
#[test]
fn a_stream_wakes_its_task_once_for_what_it_has_to_take() {
    let store = Store::in_memory().unwrap();
    let mut events = store.subscribe().category("A").start_stream().unwrap();
    let counter = Counter::new();
    assert!(poll_next(&mut events, &counter).is_pending());
    for n in 0..100 {
        store.append("B-1", ExpectedVersion::Any, [numbered(n)]).unwrap();
    }
    for round in 0..50 {
        // Polling again asks for nothing again.
        assert!(poll_next(&mut events, &counter).is_pending());
        assert_eq!(counter.woken(), round);
        store.append("B-1", ExpectedVersion::Any, [numbered(0)]).unwrap();
        let appended = store.append("A-1", ExpectedVersion::Any, [numbered(0)]).unwrap();
        counter.wait_for(round + 1);
        let Poll::Ready(Some(Ok(event))) = poll_next(&mut events, &counter) else { panic!() };
        assert_eq!(event.position(), appended.position);
        assert!(poll_next(&mut events, &counter).is_pending());
    }
    // Its place passes what does not match.
    let appended = store.append("B-1", ExpectedVersion::Any, [numbered(0)]).unwrap();
    let until = Instant::now() + LONG;
    while events.position() < appended.position {
        assert!(Instant::now() < until);
        thread::yield_now();
    }
    assert_eq!(counter.woken(), 50);
}

/// The waker of the last poll counts, and it is let go of with the stream.
#[test]
fn only_the_waker_of_the_last_poll_is_kept() {
    let store = Store::in_memory().unwrap();
    let mut events = store.subscribe().start_stream().unwrap();
    let (first, second) = (Counter::new(), Counter::new());
    assert!(poll_next(&mut events, &first).is_pending());
    assert!(poll_next(&mut events, &second).is_pending());
    assert_eq!(Arc::strong_count(&first), 1);
    store.append("A-1", ExpectedVersion::Any, [numbered(0)]).unwrap();
    second.wait_for(1);
    assert_eq!((first.woken(), second.woken()), (0, 1));
    assert!(poll_next(&mut events, &second).is_ready());
    assert!(poll_next(&mut events, &second).is_pending());
    drop(events);
    // The thread that has woken the task lets go of its waker a moment later.
    let until = Instant::now() + LONG;
    while Arc::strong_count(&second) > 1 {
        assert!(Instant::now() < until);
        thread::yield_now();
    }
    store.append("A-1", ExpectedVersion::Any, [numbered(0)]).unwrap();
    assert_eq!(second.woken(), 1);
}

#[test]
fn an_append_wakes_its_task_once() {
    let store = Store::in_memory().unwrap();
    for n in 0..200 {
        let counter = Counter::new();
        let waker = Waker::from(Arc::clone(&counter));
        let mut done = pin!(append(&store, "A-1", n));
        let mut context = Context::from_waker(&waker);
        if let Poll::Ready(done) = done.as_mut().poll(&mut context) {
            assert_eq!((done.unwrap().version.0, counter.woken()), (n + 1, 0));
            continue;
        }
        counter.wait_for(1);
        let Poll::Ready(Ok(done)) = done.as_mut().poll(&mut context) else { panic!() };
        assert_eq!((done.version.0, counter.woken()), (n + 1, 1));
    }
}

/// Futures are dropped at every stage; those that are not are answered, and nothing is twice.
#[test]
fn dropped_appends_are_made_unless_they_wait_for_room() {
    let place = Place::new();
    let store = small_segments().pending_bytes(4096).open(place.path()).unwrap();
    let waker = Waker::noop();
    let mut kept = Vec::new();
    for n in 0..2000_u64 {
        let mut done = append(&store, "A-1", n);
        match n % 4 {
            0 => drop(done),
            1 => drop(Pin::new(&mut done).poll(&mut Context::from_waker(waker))),
            _ => kept.push((n, done)),
        }
    }
    let mut answered: Vec<(u64, u64)> = Vec::new();
    for (n, done) in kept {
        answered.push((block_on(done).unwrap().version.0, n));
    }
    store.sync().unwrap();
    let data = |event: annals::Event| String::from_utf8(event.data().to_vec()).unwrap();
    let stored: Vec<(u64, u64)> = store
        .read_stream("A-1")
        .into_iter()
        .map(|event| event.map(|e| (e.version().0, data(e).parse().unwrap())).unwrap())
        .collect();
    assert!(stored.windows(2).all(|two| two[0].1 < two[1].1), "once each, and in order");
    let numbers: Vec<_> = stored.iter().filter(|(_, n)| n % 4 > 1).copied().collect();
    assert_eq!(numbers, answered);
}

/// With so little room that one append fills it, all of many get their turn, in order.
#[test]
fn appends_wait_for_room_in_order() {
    let store = Store::options().pending_bytes(1).in_memory().unwrap();
    block_on(async {
        let large = || store.append_async("A-1", ExpectedVersion::Any, [sized(100_000)]);
        let done = future::join_all((0..50).map(|_| large())).await;
        for (version, done) in (1..).zip(done) {
            assert_eq!(done.unwrap().version.0, version);
        }
    });
}

#[test]
fn closing_answers_every_future_and_ends_every_stream() {
    for pause in 0..20 {
        let place = Place::new();
        let store = small_segments().pending_bytes(10_000).open(place.path()).unwrap();
        let mut streams: Vec<_> =
            (0..5).map(|_| store.subscribe().start_stream().unwrap()).collect();
        let never_polled = store.subscribe().start_stream().unwrap();
        let counter = Counter::new();
        for stream in &mut streams {
            assert!(poll_next(stream, &counter).is_pending());
        }
        let appends: Vec<_> = (0..500).map(|n| append(&store, "A-1", n)).collect();
        thread::sleep(Duration::from_micros(100 * pause));
        store.close().unwrap();
        let answers = block_on(future::join_all(appends));
        let made = answers.iter().take_while(|answer| answer.is_ok()).count();
        assert!(answers[made..].iter().all(|answer| matches!(answer, Err(Error::Closed))));
        for mut stream in streams.into_iter().chain([never_polled]) {
            let end = loop {
                match next(&mut stream, &counter) {
                    Some(Ok(_)) => {}
                    end => break end,
                }
            };
            assert!(matches!(end, Some(Err(Error::Closed))), "{end:?}");
            assert!(next(&mut stream, &counter).is_none());
        }
        assert!(matches!(block_on(append(&store, "A-1", 0)), Err(Error::Closed)));
        assert!(matches!(store.subscribe().start_stream(), Err(Error::Closed)));
        let store = small_segments().open(place.path()).unwrap();
        assert_eq!(store.head(), Position(made as u64));
    }
}

#[test]
fn a_stop_ends_a_stream_that_waits_and_one_that_does_not() {
    let store = Store::in_memory().unwrap();
    let mut events = store.subscribe().start_stream().unwrap();
    let counter = Counter::new();
    assert!(poll_next(&mut events, &counter).is_pending());
    events.stop_handle().stop();
    assert!(next(&mut events, &counter).is_none());
    for n in 0..3 {
        store.append("A-1", ExpectedVersion::Any, [numbered(n)]).unwrap();
    }
    let mut events = store.subscribe().start_stream().unwrap();
    assert!(next(&mut events, &counter).unwrap().is_ok());
    events.stop_handle().stop();
    assert!(matches!(poll_next(&mut events, &counter), Poll::Ready(None)));
    assert!(matches!(poll_next(&mut events, &counter), Poll::Ready(None)));
}

/// Streams are dropped before they are polled, while a batch is read, with a batch to take, and
/// while they wait; the cursor is free for the next one each time.
#[test]
fn a_stream_can_be_dropped_at_every_stage() {
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    for n in 0..300 {
        store.append("A-1", ExpectedVersion::Any, [numbered(n)]).unwrap();
    }
    let counter = Counter::new();
    for stage in 0..400_u64 {
        let mut events = store.subscribe().cursor("c").start_stream().unwrap();
        if stage % 4 > 0 {
            assert!(poll_next(&mut events, &counter).is_pending());
        }
        for _ in 1..stage % 4 {
            assert!(next(&mut events, &counter).unwrap().is_ok());
        }
        let position = events.position();
        if stage % 8 == 7 {
            // The save is made, though neither the future nor the stream is kept.
            drop(events.save());
        }
        drop(events);
        if stage % 8 == 7 {
            let saved = store.wait_for("c", position, LONG);
            assert!(saved.unwrap(), "{position}");
            // Whoever owns a cursor next comes behind in the same queue.
            let mut events = store.subscribe().cursor("c").start_stream().unwrap();
            let again = next(&mut events, &counter).unwrap().unwrap();
            assert_eq!(again.position(), Position(position.0 + 1));
            drop(events);
            // Free when the thread has let go, so this one waits its turn as well.
            let mut gone = store.subscribe().cursor("d").start_stream().unwrap();
            assert!(next(&mut gone, &counter).unwrap().is_ok());
            store.reset_cursor("c", Position::START).unwrap();
        }
    }
    let mut blocking = loop {
        match store.subscribe().cursor("c").start() {
            Err(Error::Cursor(CursorError::InUse { .. })) => thread::yield_now(),
            started => break started.unwrap(),
        }
    };
    assert_eq!(blocking.next().unwrap().unwrap().position(), Position(1));
}

#[test]
fn a_cursor_is_saved_when_told_and_by_itself() {
    let store = Store::in_memory().unwrap();
    for n in 0..200 {
        store.append("A-1", ExpectedVersion::Any, [numbered(n)]).unwrap();
    }
    let saved = |name: &str| store.cursor(name).unwrap().map_or(0, |cursor| cursor.position.0);
    block_on(async {
        let mut events = store.subscribe().cursor("told").start_stream().unwrap();
        for n in 1..=100 {
            assert_eq!(events.next().await.unwrap().unwrap().position(), Position(n));
        }
        assert_eq!(saved("told"), 0);
        events.save().await.unwrap();
        assert_eq!(saved("told"), 100);
        let second = store.subscribe().cursor("told").start_stream().unwrap().next().await;
        assert!(matches!(second, Some(Err(Error::Cursor(CursorError::InUse { .. })))));
        let mut none = store.subscribe().start_stream().unwrap();
        assert!(matches!(none.save().await, Err(Error::InvalidOptions { .. })));

        let mut events = store.subscribe().cursor("each").save_every(10).start_stream().unwrap();
        for _ in 0..25 {
            events.next().await.unwrap().unwrap();
        }
        // The twenty-first was asked for after so many were processed.
        assert!(store.wait_for("each", Position(20), LONG).unwrap());
        assert!(saved("each") < 25);
        while events.position() < Position(200) {
            events.next().await.unwrap().unwrap();
        }
        let counter = Counter::new();
        assert!(poll_next(&mut events, &counter).is_pending());
        // Nothing comes, and it asks for more: all is processed.
        assert!(store.wait_for("each", Position(200), LONG).unwrap());
        assert_eq!(counter.woken(), 0);
    });
}

/// A task that holds the last handle is dropped by the thread that wakes it.
#[test]
fn the_last_handle_can_go_with_a_waker() {
    struct Holds(std::sync::Mutex<Option<Store>>, AtomicUsize);
    impl Wake for Holds {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().unwrap().take());
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    for in_history in [false, true] {
        let place = Place::new();
        let store = small_segments().open(place.path()).unwrap();
        let holds = Arc::new(Holds(std::sync::Mutex::new(Some(store.clone())), 0.into()));
        let waker = Waker::from(Arc::clone(&holds));
        let mut context = Context::from_waker(&waker);
        let mut events = store.subscribe().start_stream().unwrap();
        if in_history {
            assert!(Pin::new(&mut events).poll_next(&mut context).is_pending());
        }
        let mut done = append(&store, "A-1", 1);
        let pending = in_history || Pin::new(&mut done).poll(&mut context).is_pending();
        drop(store);
        let until = Instant::now() + LONG;
        while pending && holds.1.load(Ordering::SeqCst) == 0 {
            assert!(Instant::now() < until);
            thread::yield_now();
        }
        drop(holds.0.lock().unwrap().take());
        assert_eq!(Store::open(place.path()).unwrap().head(), Position(1));
    }
}
