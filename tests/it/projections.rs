//! Projections, typed views and snapshots of the kit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use annals::kit::{
    ApplyError, AsJson, AsOf, InlineProjection, LiftedPayload, OnError, Projected, Projection,
    ProjectionError, Projector, Snapshots, Step, View, ViewChanges, compare_views,
};
use annals::{
    Error, Event, ExpectedVersion, NewEvent, NewSnapshot, Position, Query, Store, Version,
    ViewError,
};

/// The sum per account. `Broken` events fail for as long as they are to.
struct Sums {
    name: &'static str,
    schema: u32,
    fails: Arc<AtomicU64>,
    replayed: Arc<AtomicU64>,
    one_key: bool,
}

impl Sums {
    fn new(schema: u32) -> Self {
        let (fails, replayed) = (Arc::default(), Arc::default());
        Self { name: "sums", schema, fails, replayed, one_key: false }
    }
}

impl Projection for Sums {
    type Key = String;
    type Value = i64;
    type Codec = AsJson;

    fn name(&self) -> &'static str {
        self.name
    }

    fn schema(&self) -> u32 {
        self.schema
    }

    fn query(&self) -> Query {
        Query::new().category("Account")
    }

    fn apply(
        &self,
        event: &Projected<'_>,
        view: &mut ViewChanges<String, i64, AsJson>,
    ) -> Result<(), ApplyError> {
        self.replayed.fetch_add(u64::from(event.is_replaying()), Ordering::SeqCst);
        let key = if self.one_key { "all".to_owned() } else { event.stream().to_owned() };
        let amount = match event.event_type() {
            "Added" => event.json::<i64>()?,
            // It changes something before it fails.
            "Broken" => {
                view.put(&key, &-1)?;
                view.delete(&"never".to_owned());
                if self.fails.load(Ordering::SeqCst) > 0 {
                    self.fails.fetch_sub(1, Ordering::SeqCst);
                    return Err("it is broken".into());
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        Ok(view.change(&key, |sum| Some(sum.unwrap_or(0) + amount))?)
    }
}

fn add(store: &Store, account: u64, amount: i64) -> Position {
    let event = [NewEvent::json("Added", &amount).unwrap()];
    store.append(format!("Account-{account}"), ExpectedVersion::Any, event).unwrap().position
}

fn other(store: &Store) -> Position {
    store.append("Other-1", ExpectedVersion::Any, [NewEvent::new("Noted", "")]).unwrap().position
}

fn filled(events: u64) -> Store {
    let store = Store::in_memory().unwrap();
    for n in 0..events {
        add(&store, n % 7, i64::try_from(n).unwrap());
        if n % 3 == 0 {
            other(&store);
        }
    }
    store
}

fn sums_of(store: &Store) -> Vec<(String, i64)> {
    let mut sums = std::collections::BTreeMap::new();
    for event in store.read_all().category("Account") {
        let event = event.unwrap();
        if event.event_type() == "Added" {
            *sums.entry(event.stream().to_owned()).or_insert(0) += event.json::<i64>().unwrap();
        }
    }
    sums.into_iter().collect()
}

fn entries(view: &View<String, i64>) -> Vec<(String, i64)> {
    view.entries().unwrap().collect::<annals::Result<_>>().unwrap()
}

#[test]
fn a_projector_goes_on_where_its_view_stands_with_any_batch_and_threads() {
    for (batch, threads) in [(1, 1), (7, 1), (1_000, 1), (16, 3), (1_000, 4)] {
        let store = filled(100);
        let start = || {
            Projector::builder(&store, Sums::new(1)).batch(batch).threads(threads).start().unwrap()
        };
        let mut projector = start();
        let Step::Applied { events, upto } = projector.step().unwrap() else { panic!("a step") };
        assert!(events > 0 && events <= batch as u64);
        assert_eq!(projector.view().position().unwrap(), upto);
        drop(projector);
        let mut projector = start();
        let progress = projector.run_until_caught_up().unwrap();
        assert_eq!((progress.position, progress.lag()), (store.head(), 0));
        assert_eq!(entries(projector.view()), sums_of(&store), "{batch} on {threads}");
        assert_eq!(projector.step().unwrap(), Step::CaughtUp);
        // Past what does not match.
        let last = other(&store);
        assert_eq!(projector.step().unwrap(), Step::Applied { events: 0, upto: last });
        // A second one of the same view; whoever is late starts over.
        let mut second = start();
        add(&store, 1, 5);
        second.run_until_caught_up().unwrap();
        add(&store, 2, 6);
        projector.run_until_caught_up().unwrap();
        second.run_until_caught_up().unwrap();
        assert_eq!(entries(second.view()), sums_of(&store));
    }
}

#[test]
fn lanes_that_meet_in_a_key_are_applied_by_one_thread() {
    let store = filled(200);
    let mut sums = Sums::new(1);
    sums.one_key = true;
    let mut projector = Projector::builder(&store, sums).batch(50).threads(4).start().unwrap();
    projector.run_until_caught_up().unwrap();
    let total: i64 = sums_of(&store).iter().map(|(_, sum)| sum).sum();
    assert_eq!(entries(projector.view()), [("all".to_owned(), total)]);
}

#[test]
fn an_event_that_fails_is_tried_again_then_stops_is_skipped_or_parked() {
    for (on_error, threads) in
        [(OnError::Stop, 1), (OnError::Stop, 3), (OnError::Skip, 1), (OnError::Park, 3)]
    {
        let store = filled(20);
        let broken = [NewEvent::new("Broken", "")];
        let at = store.append("Account-1", ExpectedVersion::Any, broken).unwrap().position;
        let last = add(&store, 1, 1000);
        let sums = Sums::new(1);
        let fails = Arc::clone(&sums.fails);
        fails.store(u64::MAX, Ordering::SeqCst);
        let mut projector = Projector::builder(&store, sums)
            .on_error(on_error)
            .threads(threads)
            .attempts(3, Duration::from_micros(1))
            .start()
            .unwrap();
        let before = |upto: u64| -> Vec<(String, i64)> {
            let mut sums = sums_of(&store);
            if upto < last.0 {
                sums.iter_mut().filter(|(key, _)| key == "Account-1").for_each(|s| s.1 -= 1000);
            }
            sums
        };
        match on_error {
            OnError::Stop => {
                for _ in 0..2 {
                    let Err(ProjectionError::Apply { position, attempts, .. }) =
                        projector.run_until_caught_up()
                    else {
                        panic!("it went on")
                    };
                    assert_eq!((position, attempts), (Some(at), 3));
                    assert_eq!(projector.view().position().unwrap(), Position(at.0 - 1));
                    assert_eq!(entries(projector.view()), before(0), "nothing of it is left");
                }
                fails.store(2, Ordering::SeqCst);
                projector.run_until_caught_up().unwrap();
                assert_eq!(projector.view().get(&"Account-1".into()).unwrap(), Some(999));
            }
            OnError::Skip => {
                let progress = projector.run_until_caught_up().unwrap();
                assert_eq!((progress.skipped, progress.parked, progress.position), (1, 0, last));
                assert_eq!(entries(projector.view()), before(u64::MAX));
            }
            _ => {
                let progress = projector.run_until_caught_up().unwrap();
                assert_eq!((progress.skipped, progress.parked, progress.position), (0, 1, last));
                let parked = projector.view().stored().parked().unwrap();
                assert_eq!((parked[0].position, parked[0].attempts), (at, 3));
                assert_eq!(parked[0].reason, "it is broken");
                assert!(projector.retry_parked(at).is_err());
                assert_eq!(entries(projector.view()), before(u64::MAX));
                fails.store(0, Ordering::SeqCst);
                assert!(projector.retry_parked(at).unwrap());
                assert!(!projector.retry_parked(at).unwrap());
                assert!(projector.view().stored().parked().unwrap().is_empty());
                assert_eq!(projector.view().get(&"Account-1".into()).unwrap(), Some(-1));
            }
        }
    }
}

#[test]
fn a_thread_projects_what_comes_and_can_be_paused_and_stopped() {
    let store = Store::in_memory().unwrap();
    let running = Projector::builder(&store, Sums::new(1)).start().unwrap().spawn().unwrap();
    let far = Duration::from_secs(60);
    for n in 0..20 {
        let position = add(&store, n % 3, 1);
        assert!(store.wait_for_view("sums", position, far).unwrap());
    }
    assert!(store.wait_for_view("sums", other(&store), far).unwrap(), "past what does not match");
    running.pause();
    std::thread::sleep(Duration::from_millis(120));
    let position = add(&store, 1, 1);
    assert!(!store.wait_for_view("sums", position, Duration::from_millis(100)).unwrap());
    running.resume();
    assert!(store.wait_for_view("sums", position, far).unwrap());
    assert!(running.is_running());
    running.stop().unwrap();
    let view: View<String, i64> = View::open(&store, "sums").unwrap().unwrap();
    assert_eq!(entries(&view), sums_of(&store));
    // The end of the store ends it, too.
    let running = Projector::builder(&store, Sums::new(1)).start().unwrap().spawn().unwrap();
    store.close().unwrap();
    while running.is_running() {
        std::thread::sleep(Duration::from_millis(5));
    }
    running.stop().unwrap();
}

#[test]
fn a_new_version_is_built_beside_compared_and_takes_over_at_once() {
    let store = filled(60);
    let mut blue = Projector::builder(&store, Sums::new(1)).start().unwrap();
    blue.run_until_caught_up().unwrap();
    let reader: View<String, i64> = View::open(&store, "sums").unwrap().unwrap();
    let seen = blue.view().position().unwrap();
    add(&store, 1, 7);
    let sums = Sums::new(2);
    let replayed = Arc::clone(&sums.replayed);
    let mut green = Projector::builder(&store, sums).beside("sums@2").batch(9).start().unwrap();
    green.run_until_caught_up().unwrap();
    let matching = store.read_all().category("Account").into_iter();
    let matching = matching.filter(|event| event.as_ref().unwrap().position() <= seen).count();
    assert_eq!(replayed.load(Ordering::SeqCst), matching as u64, "what blue has seen is replayed");
    let is_same = |_: &[u8], one: &[u8], other: &[u8]| one == other;
    let difference = compare_views(blue.view().stored(), green.view().stored(), is_same).unwrap();
    assert_eq!((difference.changed, difference.only_first, difference.only_second), (1, 0, 0));
    blue.run_until_caught_up().unwrap();
    let difference = compare_views(blue.view().stored(), green.view().stored(), is_same).unwrap();
    assert!(difference.is_none() && difference.same == 7, "{difference:?}");
    green.switch().unwrap();
    assert_eq!(green.view().name(), "sums");
    assert_eq!(store.views().unwrap().count(), 1, "the old one is gone");
    assert_eq!(reader.stored().info().unwrap().schema, 2, "readers are at the new one");
    add(&store, 2, 8);
    let refused = blue.run_until_caught_up();
    assert!(matches!(
        refused,
        Err(ProjectionError::Store(Error::View(ViewError::Replaced { .. })))
    ));
    green.run_until_caught_up().unwrap();
    assert_eq!(entries(&reader), sums_of(&store));
}

#[test]
fn a_rebuild_goes_on_after_an_interruption_and_readers_see_old_or_new() {
    let store = filled(90);
    Projector::builder(&store, Sums::new(1)).start().unwrap().run_until_caught_up().unwrap();
    let reader = store.view("sums").unwrap().unwrap();
    let build = |stop_at: Option<u64>| {
        let mut first = None;
        let mut batches = 0;
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Projector::builder(&store, Sums::new(2)).batch(10).rebuild(|progress| {
                first.get_or_insert(progress.position);
                batches += 1;
                assert_eq!(reader.info().unwrap().schema, 1);
                assert!(stop_at.is_none_or(|stop| progress.position.0 < stop), "interrupted");
            })
        }));
        (first, batches, caught.map(Result::unwrap))
    };
    let (first, _, interrupted) = build(Some(50));
    assert!(interrupted.is_err() && first.unwrap() < Position(20));
    let (first, batches, done) = build(None);
    assert!(first.unwrap() > Position(50) && batches > 3, "{first:?}");
    assert_eq!(entries(done.unwrap().view()), sums_of(&store));
    assert_eq!(reader.info().unwrap().schema, 2);
    assert_eq!(store.views().unwrap().count(), 1);
}

#[test]
fn an_inline_view_is_there_with_the_append_whoever_else_appends() {
    let store = filled(700);
    let inline = InlineProjection::start(&store, Sums::new(1)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (store, inline) = (&store, &inline);
            scope.spawn(move || {
                for n in 0..25 {
                    if thread == 3 {
                        add(store, n % 7, 1);
                        other(store);
                        continue;
                    }
                    let event = [NewEvent::json("Added", &1).unwrap()];
                    let account = format!("Account-{}", n % 7);
                    let done = inline.append(account, ExpectedVersion::Any, event).unwrap();
                    assert!(inline.view().position().unwrap() >= done.position);
                }
            });
        }
    });
    inline.append("Other-1", ExpectedVersion::Any, [NewEvent::new("Noted", "")]).unwrap();
    assert_eq!(inline.view().position().unwrap(), store.head());
    assert_eq!(entries(inline.view()), sums_of(&store));
    // A projector of the same view has nothing to do, and a refused event writes nothing.
    let mut projector = Projector::builder(&store, Sums::new(1)).start().unwrap();
    assert_eq!(projector.step().unwrap(), Step::CaughtUp);
    let sums = Sums::new(1);
    sums.fails.store(u64::MAX, Ordering::SeqCst);
    let failing = InlineProjection::start(&store, sums).unwrap();
    let head = store.head();
    let broken = [NewEvent::new("Broken", "")];
    let refused = failing.append("Account-1", ExpectedVersion::Any, broken);
    assert!(matches!(refused, Err(ProjectionError::Apply { position: None, .. })), "{refused:?}");
    let conflict = inline.append("Account-1", ExpectedVersion::NoStream, [NewEvent::new("A", "")]);
    assert!(matches!(conflict, Err(ProjectionError::Store(Error::Conflict(_)))), "{conflict:?}");
    assert_eq!(store.head(), head);
    let id = annals::EventId::from_bytes([7; 16]);
    let once = || [NewEvent::json("Added", &5).unwrap().id(id)];
    assert!(!inline.append("Account-1", ExpectedVersion::Any, once()).unwrap().deduplicated);
    assert!(inline.append("Account-1", ExpectedVersion::Any, once()).unwrap().deduplicated);
    assert_eq!(entries(inline.view()), sums_of(&store));
}

struct Timed;

impl Projection for Timed {
    type Key = u64;
    type Value = ();
    type Codec = AsJson;

    fn name(&self) -> &'static str {
        "timed"
    }

    fn query(&self) -> Query {
        Query::new().since(annals::Timestamp::from_micros(5))
    }

    fn apply(
        &self,
        event: &Projected<'_>,
        view: &mut ViewChanges<u64, (), AsJson>,
    ) -> Result<(), ApplyError> {
        let position = event.position().ok_or("not stored yet")?;
        // More keys than one commit takes with a batch of many events.
        (0..100).try_for_each(|n| view.put(&(position.0 * 100 + n), &()))?;
        Ok(())
    }
}

#[test]
fn a_batch_whose_changes_are_too_many_is_made_smaller() {
    let store = Store::in_memory().unwrap();
    assert!(matches!(
        InlineProjection::start(&store, Timed),
        Err(ProjectionError::Store(Error::InvalidOptions { .. }))
    ));
    store.append("A-1", ExpectedVersion::Any, (0..900).map(|_| NewEvent::new("A", ""))).unwrap();
    let mut projector = Projector::builder(&store, Timed).start().unwrap();
    projector.run_until_caught_up().unwrap();
    assert_eq!(projector.view().stored().info().unwrap().entries, 90_000);
}

#[test]
fn old_events_are_lifted_before_a_projection_sees_them() {
    let store = Store::in_memory().unwrap();
    for (name, data) in [("Moved", "5"), ("Added", "2"), ("Viewed", "9")] {
        store.append("Account-1", ExpectedVersion::Any, [NewEvent::new(name, data)]).unwrap();
    }
    let lift = |event: &Projected<'_>| {
        let part = |data: String| LiftedPayload {
            event_type: "Added".into(),
            schema_version: 2,
            content_type: event.content_type().into(),
            data: data.into_bytes(),
        };
        Ok(match event.event_type() {
            "Moved" => Some(vec![part(format!("-{}", event.json::<u64>()?)), part("100".into())]),
            "Viewed" => Some(Vec::new()),
            _ => None,
        })
    };
    let mut projector = Projector::builder(&store, Sums::new(1)).lift(lift).start().unwrap();
    let progress = projector.run_until_caught_up().unwrap();
    assert_eq!((progress.applied, progress.position), (3, Position(3)));
    assert_eq!(projector.view().get(&"Account-1".into()).unwrap(), Some(97));
}

#[test]
fn states_of_the_past_are_folded_from_the_best_older_snapshot() {
    let store = Store::in_memory().unwrap();
    let time = |n: i64| annals::Timestamp::from_micros(n * 1_000_000);
    for n in 1..=20 {
        let noted = NewEvent::new("Noted", "").created_at(time(n));
        store.append("Other-1", ExpectedVersion::Any, [noted]).unwrap();
        let event = NewEvent::json("Added", &n).unwrap().created_at(time(n));
        store.append("Account-1", ExpectedVersion::Any, [event]).unwrap();
    }
    let sums: Snapshots<i64> = Snapshots::new(&store, "sum", 1).every(5).keep(10);
    let add = |sum: i64, event: &Event| Ok(sum + event.json::<i64>()?);
    let sum = |n: i64| n * (n + 1) / 2;
    for version in [5, 10, 15] {
        let at = sums.fold("Account-1", AsOf::Version(Version(version)), 0, add).unwrap();
        assert_eq!((at.version.0, at.folded), (version, 5), "it was saved");
    }
    for n in 0..=25_i64 {
        let expected = (sum(n.min(20)), u64::try_from(n.min(20)).unwrap());
        let version = u64::try_from(n).unwrap();
        for as_of in [
            AsOf::Version(Version(version)),
            AsOf::Position(Position(2 * version)),
            AsOf::Position(Position(2 * version + 1)),
            AsOf::Time(time(n)),
        ] {
            let at = sums.fold("Account-1", as_of, 0, add).unwrap();
            assert_eq!((at.state, at.version.0), expected, "{as_of:?}");
            assert_eq!(at.position.0, 2 * expected.1);
            assert!(at.folded <= 5, "{as_of:?} took {}", at.folded);
        }
    }
    // Another schema, or bytes that are no state: an older one, or none.
    let newer: Snapshots<i64> = Snapshots::new(&store, "sum", 2).every(1_000);
    assert!(newer.load("Account-1", None).is_none());
    assert_eq!(newer.fold("Account-1", AsOf::Now, 0, add).unwrap().folded, 20);
    let odd = NewSnapshot::new(Version(20), "no number").keep(10);
    store.save_snapshot("Account-1", "sum", odd).unwrap();
    let at = sums.load("Account-1", None).unwrap();
    assert_eq!((at.state, at.version.0), (sum(15), 15));
    assert_eq!(sums.load("Account-1", Some(Version(12))).unwrap().version.0, 10);
    let costly: Snapshots<i64> = Snapshots::new(&store, "costly", 1).or_cost(Duration::ZERO);
    assert_eq!(costly.fold("Account-1", AsOf::Now, 0, add).unwrap().folded, 20);
    assert_eq!(costly.load("Account-1", None).unwrap().state, sum(20));
    let failed = sums.fold("Account-1", AsOf::Version(Version(3)), 0, |_, _| Err(Error::Closed));
    assert!(failed.is_err());
}

#[test]
fn a_panic_of_a_projection_is_told_where_it_runs_by_itself() {
    struct Panics(Arc<AtomicBool>);
    impl Projection for Panics {
        type Key = u64;
        type Value = ();
        type Codec = AsJson;

        fn name(&self) -> &'static str {
            "panics"
        }

        fn apply(
            &self,
            _: &Projected<'_>,
            _: &mut ViewChanges<u64, (), AsJson>,
        ) -> Result<(), ApplyError> {
            assert!(!self.0.load(Ordering::SeqCst), "as it was told to");
            Ok(())
        }
    }
    let store = filled(10);
    let panics = Arc::new(AtomicBool::new(true));
    let start =
        || Projector::builder(&store, Panics(Arc::clone(&panics))).threads(3).start().unwrap();
    let ended = {
        let running = start().spawn().unwrap();
        while running.is_running() {
            std::thread::sleep(Duration::from_millis(5));
        }
        running.stop()
    };
    assert!(matches!(ended, Err(ProjectionError::Store(Error::Panicked { .. }))), "{ended:?}");
    panics.store(false, Ordering::SeqCst);
    assert_eq!(start().run_until_caught_up().unwrap().lag(), 0);
}
