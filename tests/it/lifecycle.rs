//! From opening to closing: what ends with a close and what outlives it, what opening reports after
//! a close and after a kill, and what each durability keeps at which moment.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use annals::{
    Durability, Error, Event, ExpectedVersion, IndexCheckpoint, Position, ReadMode, Result, Store,
    StoreOptions, Version,
};

use crate::support::{
    Place, all_events, child, child_path, id, log_paths, numbered, sized, small_segments,
    used_segments,
};

const ANY: ExpectedVersion = ExpectedVersion::Any;
const HOUR: Duration = Duration::from_secs(3600);

fn append(store: &Store, events: u64) {
    for _ in 0..events {
        let number = store.head().0 + 1;
        store.append(format!("Stream-{}", number % 3), ANY, [numbered(number)]).unwrap();
    }
}

/// Sees that a store holds so many events of [`append`], the first of them all.
#[track_caller]
fn assert_holds(store: &Store, events: u64) {
    let found = all_events(store);
    assert_eq!(found.len() as u64, events);
    assert!(found.iter().all(|e| e.data() == e.position().to_string().as_bytes()));
}

/// How many events a store would have if it was killed now.
fn after_a_kill(place: &Place) -> u64 {
    let path = place.killed("a copy");
    let count = all_events(&Store::open_read_only(&path).unwrap()).len() as u64;
    let store = Store::open(&path).unwrap();
    assert_holds(&store, count);
    drop(store);
    fs::remove_dir_all(path).unwrap();
    count
}

fn every_call(store: &Store) -> Vec<(&'static str, Result<()>)> {
    vec![
        ("append", store.append("A-1", ANY, [numbered(1)]).map(drop)),
        ("batch", store.batch().append("A-1", ANY, [numbered(1)]).commit().map(drop)),
        ("read_all", store.read_all().into_iter().try_for_each(|e| e.map(drop))),
        ("backwards", store.read_all().backwards().into_iter().try_for_each(|e| e.map(drop))),
        ("read_stream", store.read_stream("A-1").into_iter().try_for_each(|e| e.map(drop))),
        ("event", store.event(Position(1)).map(drop)),
        ("event_by_id", store.event_by_id(id(1)).map(drop)),
        ("stream", store.stream("A-1").map(drop)),
        ("info", store.info().map(drop)),
        ("sync", store.sync().map(drop)),
    ]
}

#[test]
fn a_close_ends_the_store_for_every_clone() {
    let place = Place::new();
    let memory = Store::in_memory().unwrap();
    for store in [Store::open(place.path()).unwrap(), memory] {
        append(&store, 5);
        let (clone, read) = (store.clone(), store.read_all());
        let mut begun = store.read_stream("Stream-1").into_iter();
        let first = begun.next().unwrap().unwrap();
        for (name, result) in every_call(&clone) {
            assert!(result.is_ok(), "{name}: {result:?}");
        }
        store.close().unwrap();
        for handle in [&store, &clone, &clone.clone()] {
            for (name, result) in every_call(handle) {
                let Err(e) = result else { panic!("{name} works on a closed store") };
                assert!(matches!(e, Error::Closed) && e.is_retryable(), "{name}: {e:?}");
            }
            assert!(handle.read_all().into_iter().nth(1).is_none(), "one error, then the end");
            // What needs no file goes on.
            assert_eq!((handle.head(), handle.durable()), (Position(7), Position(7)));
            assert!(handle.recovery().clean);
            handle.close().unwrap();
        }
        // So does what was begun before.
        assert_eq!(first.version(), Version(1));
        assert_eq!(begun.map(|event| event.unwrap().version().0).collect::<Vec<_>>(), [2]);
        assert_eq!(read.into_iter().count(), 7);
    }
    let store = Store::open(place.path()).unwrap();
    assert_eq!(store.head(), Position(7));
}

/// Nothing is looked up for it, so it does not matter what has become of the files.
#[test]
fn a_closed_store_says_so_whatever_has_become_of_its_files() {
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    for n in 1..=400 {
        store.append(format!("Stream-{n}"), ANY, [sized(500)]).unwrap();
    }
    store.close().unwrap();
    assert!(used_segments(&place.path()).len() > 2);
    let store = small_segments().open(place.path()).unwrap();
    store.close().unwrap();
    fs::remove_dir_all(place.path()).unwrap();
    for n in [1, 200, 400, 401] {
        let again = store.append(format!("Stream-{n}"), ANY, [numbered(n).id(id(n))]);
        assert!(matches!(again, Err(Error::Closed)), "{n}: {again:?}");
    }
}

#[test]
fn a_reader_closes_too() {
    let place = Place::new();
    let store = Store::open(place.path()).unwrap();
    append(&store, 3);
    store.close().unwrap();
    let reader = Store::open_read_only(place.path()).unwrap();
    let clone = reader.clone();
    assert_holds(&clone, 3);
    reader.close().unwrap();
    assert!(matches!(clone.event(Position(1)), Err(Error::Closed)));
    assert!(matches!(clone.append("A-1", ANY, [numbered(1)]), Err(Error::ReadOnly)));
    reader.close().unwrap();
}

#[test]
fn events_outlive_their_store_and_keep_nobody_out() {
    for mode in [ReadMode::Mmap, ReadMode::Positional] {
        for durability in [Durability::Sync, Durability::Os, Durability::Interval(HOUR)] {
            let place = Place::new();
            let open = || {
                let options = small_segments().durability(durability).read_mode(mode);
                options.open(place.path()).unwrap()
            };
            let store = open();
            append(&store, 10);
            let kept: Vec<Event> = all_events(&store);
            let begun = store.read_all().after(Position(5)).into_iter();
            store.close().unwrap();
            // Events live, a read is under way, and the old handle too.
            let next = open();
            assert!(next.recovery().clean);
            assert!(matches!(store.append("A-1", ANY, [numbered(1)]), Err(Error::Closed)));
            append(&next, 2_000);
            assert!(next.info().unwrap().segments > 1);
            assert_eq!(begun.map(Result::unwrap).count(), 5);
            drop((store, next));
            fs::remove_dir_all(place.path()).unwrap();
            for (number, event) in (1..).zip(&kept) {
                assert_eq!(event.position(), Position(number));
                assert_eq!(event.data(), number.to_string().as_bytes());
                assert_eq!((event.event_type(), event.category()), ("Counted", "Stream"));
            }
        }
    }
}

#[test]
fn the_last_handle_closes_when_it_is_dropped() {
    let place = Place::new();
    for round in 0..4 {
        let options = Store::options().durability(Durability::Interval(HOUR));
        let store = options.open(place.path()).unwrap();
        assert!(store.recovery().clean, "{:?}", store.recovery());
        assert_eq!(store.recovery().events_replayed, 0);
        assert_holds(&store, 100 * round);
        let clone = store.clone();
        drop(store);
        append(&clone, 100);
        // A batch that is never committed, a read that is never begun or never ended: they are
        // handles for as long as they live.
        let batch = clone.batch().append("A-1", ANY, [numbered(1)]);
        let mut begun = clone.read_all().into_iter();
        begun.next();
        thread::spawn(move || drop((batch, clone))).join().unwrap();
        assert_eq!(begun.count() as u64, 100 * (round + 1) - 1);
    }
}

#[test]
fn a_close_beside_appends_answers_each_of_them() {
    for durability in [Durability::Sync, Durability::Os, Durability::Interval(HOUR)] {
        for in_thread in [true, false] {
            let place = Place::new();
            let options = || small_segments().durability(durability).upkeep_thread(in_thread);
            let store = options().open(place.path()).unwrap();
            let answered: u64 = thread::scope(|scope| {
                let store = &store;
                let append = move |thread: u64| {
                    let stream = format!("Thread-{thread}");
                    for version in 0.. {
                        match store.append(&stream, Version(version), [sized(500)]) {
                            Ok(_) => {}
                            Err(Error::Closed) => return version,
                            Err(e) => panic!("{e}"),
                        }
                    }
                    0
                };
                let threads: Vec<_> =
                    (0..6).map(|thread| scope.spawn(move || append(thread))).collect();
                while store.head() < Position(300) {
                    thread::yield_now();
                }
                // Two at once: both return once it is closed, or is being closed.
                let closers: Vec<_> = (0..2).map(|_| scope.spawn(|| store.close())).collect();
                for closer in closers {
                    closer.join().unwrap().unwrap();
                }
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert_eq!(store.head().0, answered, "what was answered, and nothing else");
            assert_eq!(store.durable().0, answered);
            drop(store);
            let store = options().open(place.path()).unwrap();
            assert!(store.recovery().clean, "{:?}", store.recovery());
            assert_eq!(all_events(&store).len() as u64, answered);
        }
    }
}

/// Opens what a kill would leave, and sees what that reports.
#[track_caller]
fn assert_reports(path: &Path, clean: bool, replayed: u64, checkpoint: &IndexCheckpoint) -> Store {
    for open in
        [|path| Store::open_read_only(path), |path| Store::open(path)] as [fn(&Path) -> _; 2]
    {
        let store: Store = open(path).unwrap();
        let report = store.recovery();
        assert_eq!(
            (report.clean, report.bytes_cut, report.events_replayed, &report.index_checkpoint),
            (clean, 0, replayed, checkpoint),
        );
        assert!(report.elapsed > Duration::ZERO && report.elapsed < Duration::from_secs(60));
    }
    Store::open(path).unwrap()
}

#[test]
fn what_opening_reports() {
    use IndexCheckpoint::{Ignored, Missing, NewStore, Used};
    let place = Place::new();
    let store = Store::open(place.path()).unwrap();
    let report = store.recovery();
    assert!(report.clean);
    assert_eq!((report.bytes_cut, report.events_replayed), (0, 0));
    assert_eq!(report.index_checkpoint, NewStore);

    append(&store, 40);
    assert_reports(&place.killed("first"), false, 40, &Used { events: 0 });
    store.close().unwrap();
    let store = assert_reports(&place.path(), true, 0, &Used { events: 40 });
    assert_reports(&place.killed("unused"), true, 0, &Used { events: 40 });

    append(&store, 2);
    assert_reports(&place.killed("second"), false, 2, &Used { events: 40 });
    store.sync().unwrap();
    let killed = place.killed("third");
    assert_holds(&assert_reports(&killed, false, 2, &Used { events: 40 }), 42);
    // After a kill a new segment is begun, and nothing has to be recovered twice.
    assert_reports(&killed, true, 0, &Used { events: 0 });
    append(&Store::open(&killed).unwrap(), 5);
    assert_reports(&killed, true, 0, &Used { events: 5 });

    let part = |path: &Path| log_paths(path, ".part").pop().unwrap();
    let without = place.killed("without");
    fs::remove_file(part(&without)).unwrap();
    assert_reports(&without, false, 42, &Missing);
    let damaged = place.killed("damaged");
    fs::write(part(&damaged), "nothing of the kind").unwrap();
    for open in [Store::open_read_only, Store::open] as [fn(_) -> _; 2] {
        let store: Store = open(&damaged).unwrap();
        assert!(matches!(&store.recovery().index_checkpoint, Ignored { why } if !why.is_empty()));
        assert_eq!(store.recovery().events_replayed, 42);
        assert_holds(&store, 42);
    }
}

#[test]
fn checkpoints_bound_what_a_kill_costs() {
    let place = Place::new();
    let store = Store::options().checkpoint_bytes(10_000).open(place.path()).unwrap();
    append(&store, 3_000);
    // Upkeep comes to it in its own time.
    let began = Instant::now();
    loop {
        let copy = place.killed("copy");
        let killed = Store::open_read_only(&copy).unwrap();
        assert_holds(&killed, 3_000);
        let replayed = killed.recovery().events_replayed;
        fs::remove_dir_all(&copy).unwrap();
        if replayed < 500 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{replayed} events to replay");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_torn_write_is_cut_and_counted() {
    let place = Place::new();
    let store = Store::open(place.path()).unwrap();
    append(&store, 20);
    let killed = place.killed("killed");
    let segment = used_segments(&killed).pop().unwrap();
    let whole = fs::read(&segment).unwrap();
    // Frames are aligned to four bytes.
    let end = (whole.iter().rposition(|byte| *byte != 0).unwrap() + 1).next_multiple_of(4);
    // The beginning of one more frame, and a write of which only later sectors have arrived.
    for (at, torn) in [(end, 100), (end, 1), (end + 8_192 - end % 4096, 512)] {
        let mut bytes = whole.clone();
        bytes[at..at + torn].fill(0xa5);
        fs::write(&segment, &bytes).unwrap();
        let bytes_cut = |store: &Store| {
            assert!(!store.recovery().clean);
            assert_holds(store, 20);
            store.recovery().bytes_cut
        };
        let expected = (at + torn - end) as u64;
        let reader = Store::open_read_only(&killed).unwrap();
        assert_eq!(bytes_cut(&reader), expected);
        drop(reader);
        let copy = place.other("copy");
        crate::support::copy_tree(&killed, &copy);
        let store = Store::open(&copy).unwrap();
        assert_eq!(bytes_cut(&store), expected);
        append(&store, 20);
        store.close().unwrap();
        drop(store);
        // It is cut once, and what was behind the cut never comes back.
        let store = Store::open(&copy).unwrap();
        assert!(store.recovery().clean && store.recovery().bytes_cut == 0);
        assert_holds(&store, 40);
        drop(store);
        fs::remove_dir_all(copy).unwrap();
    }
}

#[test]
fn a_torn_last_append_is_cut_whole() {
    let place = Place::new();
    let store = Store::open(place.path()).unwrap();
    append(&store, 20);
    store.append("Many-1", ANY, (0..10).map(numbered)).unwrap();
    let killed = place.killed("killed");
    let segment = used_segments(&killed).pop().unwrap();
    let whole = fs::read(&segment).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for missing in [1, 2, 50, 100, 150] {
        let mut bytes = whole.clone();
        bytes[end - missing..end].fill(0);
        fs::write(&segment, &bytes).unwrap();
        let copy = place.other("copy");
        crate::support::copy_tree(&killed, &copy);
        let store = Store::open(&copy).unwrap();
        assert_holds(&store, 20);
        assert!(store.recovery().bytes_cut > 0);
        assert!(store.stream("Many-1").unwrap().is_none());
        drop(store);
        fs::remove_dir_all(copy).unwrap();
    }
}

#[test]
fn a_store_that_was_killed_over_and_over() {
    let place = Place::new();
    let mut path = place.path();
    let mut store = Store::open(&path).unwrap();
    for round in 1..=20 {
        append(&store, round % 4);
        let copy = place.other(&format!("killed-{round}"));
        crate::support::copy_tree(&path, &copy);
        let head = store.head();
        drop(store);
        store = Store::open(&copy).unwrap();
        assert_holds(&store, head.0);
        fs::remove_dir_all(&path).unwrap();
        path = copy;
    }
    // A kill with nothing to keep leaves no segment behind.
    assert!(store.info().unwrap().segments <= 16, "{:?}", store.info());
}

#[test]
fn sync_is_durable_at_once() {
    let place = Place::new();
    let store = Store::open(place.path()).unwrap();
    for events in 1..=20 {
        append(&store, 1);
        assert_eq!((store.head(), store.durable()), (Position(events), Position(events)));
        assert_eq!(after_a_kill(&place), events);
        assert_eq!(store.sync().unwrap(), Position(events));
    }
}

/// Waits for a store to make durable what is visible.
#[track_caller]
fn wait_until_durable(store: &Store, at_most: Duration) {
    let began = Instant::now();
    while store.durable() < store.head() {
        assert!(began.elapsed() < at_most, "not durable after {at_most:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn os_survives_a_kill_at_once_and_is_durable_with_a_sync() {
    let place = Place::new();
    let store = Store::options().durability(Durability::Os).open(place.path()).unwrap();
    append(&store, 10);
    assert_eq!(store.head(), Position(10));
    assert_eq!(store.durable(), Position(0), "nobody has synced yet");
    assert_eq!(after_a_kill(&place), 10);
    assert_eq!(store.sync().unwrap(), Position(10));
    assert_eq!(store.durable(), Position(10));
    append(&store, 5);
    assert_eq!(store.durable(), Position(10));
    // A sync runs by itself, every second.
    wait_until_durable(&store, Duration::from_secs(20));
    assert_eq!(store.durable(), Position(15));
}

#[test]
fn os_syncs_a_segment_before_it_leaves_it() {
    let place = Place::new();
    let store = small_segments().open(place.path()).unwrap();
    let mut before = Position::START;
    let segments = store.info().unwrap().segments;
    while store.info().unwrap().segments == segments {
        before = store.head();
        store.append("A-1", ANY, [sized(5_000)]).unwrap();
    }
    assert!(store.durable() >= before, "{} of {before}", store.durable());
}

#[test]
fn interval_is_visible_at_once_and_on_disk_when_it_is_time() {
    for mode in [ReadMode::Mmap, ReadMode::Positional] {
        let place = Place::new();
        let options =
            |every| Store::options().durability(Durability::Interval(every)).read_mode(mode);
        let store = options(HOUR).open(place.path()).unwrap();
        append(&store, 10);
        assert_holds(&store, 10);
        assert_eq!(store.stream("Stream-1").unwrap().unwrap().version, Version(4));
        assert_eq!((store.head(), store.durable()), (Position(10), Position(0)));
        assert_eq!(after_a_kill(&place), 0, "held back, whatever happens to the process");
        let held = all_events(&store);
        assert_eq!(store.sync().unwrap(), Position(10));
        assert_eq!(after_a_kill(&place), 10);
        append(&store, 5);
        assert_eq!((store.durable(), after_a_kill(&place)), (Position(10), 10));
        store.close().unwrap();
        assert_eq!(after_a_kill(&place), 15, "a close writes what is held");
        for event in &held {
            assert_eq!(event.data(), event.position().to_string().as_bytes());
        }
        drop(store);

        let store = options(Duration::from_millis(20)).open(place.path()).unwrap();
        for round in 1..=5 {
            append(&store, 5);
            wait_until_durable(&store, Duration::from_secs(10));
            assert_eq!(after_a_kill(&place), 15 + 5 * round);
        }
        assert_holds(&store, 40);
    }
}

#[test]
fn interval_holds_no_more_than_a_mebibyte() {
    let place = Place::new();
    let store = Store::options().durability(Durability::Interval(HOUR)).open(place.path()).unwrap();
    for _ in 0..40 {
        store.append("A-1", ANY, [sized(100_000)]).unwrap();
    }
    let kept = all_events(&Store::open(place.killed("killed")).unwrap()).len();
    assert!((28..=40).contains(&kept), "{kept} of 40 are written");
}

#[test]
fn one_append_may_ask_for_more_than_the_store() {
    let ask = |store: &Store, durability| {
        let number = store.head().0 + 1;
        let stream = format!("Stream-{}", number % 3);
        let batch = store.batch().append(stream, ANY, [numbered(number)]);
        batch.durability(durability).commit().unwrap()[0].position
    };
    let place = Place::new();
    let store = Store::options().durability(Durability::Os).open(place.path()).unwrap();
    append(&store, 3);
    assert_eq!(ask(&store, Durability::Sync), Position(4));
    assert_eq!(store.durable(), Position(4), "with everything before it");
    ask(&store, Durability::Os);
    assert_eq!(store.durable(), Position(4));

    let place = Place::new();
    let store = Store::options().durability(Durability::Interval(HOUR)).open(place.path()).unwrap();
    append(&store, 3);
    assert_eq!(after_a_kill(&place), 0);
    ask(&store, Durability::Os);
    assert_eq!((after_a_kill(&place), store.durable()), (4, Position(0)));
    append(&store, 1);
    ask(&store, Durability::Interval(HOUR));
    assert_eq!((after_a_kill(&place), store.durable()), (4, Position(0)));
    assert_eq!(ask(&store, Durability::Sync), Position(7));
    assert_eq!((after_a_kill(&place), store.durable()), (7, Position(7)));

    // Less is not possible.
    let place = Place::new();
    let store = Store::open(place.path()).unwrap();
    for durability in [Durability::Os, Durability::Interval(HOUR)] {
        let position = ask(&store, durability);
        assert_eq!(store.durable(), position);
        assert_eq!(after_a_kill(&place), position.0);
    }
}

#[test]
fn without_a_thread_the_appends_do_what_is_due() {
    for durability in [Durability::Os, Durability::Interval(HOUR)] {
        let place = Place::new();
        let options = || small_segments().durability(durability).upkeep_thread(false);
        let store = options().open(place.path()).unwrap();
        append(&store, 3_000);
        assert!(store.info().unwrap().segments > 2);
        assert!(!log_paths(&place.path(), ".idx").is_empty(), "index files are written");
        store.sync().unwrap();
        assert_eq!(after_a_kill(&place), 3_000);
        store.close().unwrap();
        assert_holds(&options().open(place.path()).unwrap(), 3_000);
    }
}

/// In a process of its own: appends and says what was answered, until it is killed.
#[test]
fn child_that_appends() {
    let Some(path) = child_path() else { return };
    let options = options_of(path.file_name().unwrap().to_str().unwrap());
    let store = options.segment_bytes(64 << 10).open(path).unwrap();
    let mut said = std::io::stdout();
    loop {
        append(&store, 1);
        // By hand: it must be out before the next append begins.
        said.write_all(format!("\nanswered {}\n", store.head()).as_bytes()).unwrap();
        said.flush().unwrap();
    }
}

fn options_of(mode: &str) -> StoreOptions {
    let durability = match mode {
        "sync" => Durability::Sync,
        "os" => Durability::Os,
        _ => Durability::Interval(Duration::from_millis(5)),
    };
    Store::options().durability(durability)
}

#[test]
fn a_killed_process_keeps_what_it_was_answered() {
    let place = Place::new();
    for mode in ["sync", "os", "interval"] {
        let path = place.other(mode);
        let mut kept = 0;
        for round in 0..5 {
            let mut command = child("lifecycle::child_that_appends", &path);
            let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let is_answer = |line: &String| -> Option<u64> {
                line.strip_prefix("answered ").and_then(|number| number.parse().ok())
            };
            let goal = kept + 150 * round;
            let mut answered = kept;
            while answered <= goal {
                let line = lines.next().expect("the child goes on").unwrap();
                answered = is_answer(&line).unwrap_or(answered);
            }
            child.kill().unwrap();
            // What it had said before it died.
            for line in lines.map_while(Result::ok) {
                answered = is_answer(&line).unwrap_or(answered);
            }
            child.wait().unwrap();
            let store = options_of(mode).open(&path).unwrap();
            assert!(!store.recovery().clean);
            kept = store.head().0;
            assert_holds(&store, kept);
            if mode != "interval" {
                assert!(kept == answered || kept == answered + 1, "{mode}: {kept}, {answered}");
            }
            store.close().unwrap();
        }
        // Held writes may all be lost, however long a busy machine takes to get to them.
        assert!(kept > 0 || mode == "interval", "{mode}");
    }
}
