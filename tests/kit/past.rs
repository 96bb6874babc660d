//! States as they were at a time, against a fold of what had been created by then.

use std::time::Duration;

use annals::kit::{AsOf, Decider, EventSet, FoldCost, Repository, Snapshots};
use annals::{Event, ExpectedVersion, Position, Result, Store, Timestamp, Version};

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

#[derive(EventSet, Debug, Clone)]
enum Entry {
    #[event(name = "Added")]
    Added { amount: u64 },
}

/// A sum of entries.
struct Sums;

impl Decider for Sums {
    type State = u64;
    type Command = u64;
    type Event = Entry;
    type Error = std::convert::Infallible;

    fn initial(&self) -> u64 {
        0
    }

    fn decide(&self, _: &u64, amount: &u64) -> Result<Vec<Entry>, Self::Error> {
        Ok(vec![Entry::Added { amount: *amount }])
    }

    fn evolve(&self, sum: u64, Entry::Added { amount }: &Entry) -> u64 {
        sum + amount
    }
}

fn add(sum: u64, event: &Event) -> Result<u64> {
    Ok(Sums.evolve(sum, &Entry::from_event(event)?))
}

/// State, version and position of a stream behind everything up to the first event of the log that
/// was created after a time.
fn expected(store: &Store, stream: &str, time: Timestamp) -> (u64, Version, Position) {
    let mut then = (0, Version::NONE, Position::START);
    for event in store.read_all() {
        let event = event.unwrap();
        if event.created_at() > time {
            break;
        }
        if event.stream() == stream {
            then = (add(then.0, &event).unwrap(), event.version(), event.position());
        }
    }
    then
}

/// Stream, time and amount of each append, in this order.
const APPENDS: [(&str, i64, u64); 9] = [
    ("Other-1", -5, 0),
    ("Account-1", 10, 1),
    // Equal times, with another stream in between.
    ("Account-1", 20, 2),
    ("Other-1", 20, 0),
    ("Account-1", 20, 4),
    ("Other-1", 25, 0),
    ("Account-1", 30, 8),
    // A given time that steps back: it is behind one that is later.
    ("Account-1", 15, 16),
    ("Account-1", 40, 32),
];

fn store() -> Store {
    let store = Store::in_memory().unwrap();
    for (stream, time, amount) in APPENDS {
        let event = Entry::Added { amount }.to_event().unwrap().created_at(at(time));
        store.append(stream, ExpectedVersion::Any, [event]).unwrap();
    }
    store
}

#[test]
fn the_state_of_a_time_ends_in_front_of_the_first_event_that_was_created_later() {
    let store = store();
    let plain: Snapshots<u64> = Snapshots::new(&store, "plain", 1).every(u64::MAX);
    let often: Snapshots<u64> = Snapshots::new(&store, "often", 1).every(1).keep(9);
    let folded = Repository::new(&store, Sums);
    let kept: Snapshots<u64> = Snapshots::new(&store, "often", 1).every(1).keep(9);
    let kept = Repository::new(&store, Sums).keeper(kept);
    let times = [i64::MIN, -6, -5, 0, 9, 10, 11, 15, 19, 20, 21, 24, 25, 26, 29, 30, 39, 40, 41];
    // First without snapshots, then with those that the round before has left.
    for _ in 0..2 {
        for time in times.into_iter().chain([i64::MAX]).map(at) {
            let (state, version, position) = expected(&store, "Account-1", time);
            for sums in [&plain, &often] {
                let then = sums.fold("Account-1", AsOf::Time(time), 0, add).unwrap();
                let told = (then.state, then.version, then.position);
                assert_eq!(told, (state, version, position), "as of {time:?}");
            }
            for repository in [&folded, &kept] {
                let then = repository.load_as_of("Account-1", AsOf::Time(time)).unwrap();
                assert_eq!((then.state, then.version), (state, version), "as of {time:?}");
            }
        }
    }
    let of = |time: i64| plain.fold("Account-1", AsOf::Time(at(time)), 0, add).unwrap();
    assert_eq!((of(9).state, of(9).version), (0, Version::NONE), "before the first");
    assert_eq!((of(10).state, of(19).state), (1, 1), "at its time, and between");
    assert_eq!((of(20).state, of(24).state), (7, 7), "all of one time");
    assert_eq!((of(15).state, of(30).state), (1, 31), "one that is given a time of the past");
    assert_eq!((of(40).state, of(i64::MAX).state), (63, 63), "behind the last");
    assert_eq!(often.fold("Account-1", AsOf::Time(at(24)), 0, add).unwrap().folded, 0, "saved");
    let nothing = plain.fold("Nobody-1", AsOf::Time(at(99)), 0, add).unwrap();
    assert_eq!((nothing.state, nothing.version), (0, Version::NONE));
}

#[test]
fn the_events_of_one_commit_are_of_one_time() {
    let store = Store::in_memory().unwrap();
    let entries = [1, 2, 4].map(|amount| Entry::Added { amount }.to_event().unwrap());
    store.append("Account-1", ExpectedVersion::Any, entries).unwrap();
    let time = store.event(Position(1)).unwrap().unwrap().created_at();
    let sums: Snapshots<u64> = Snapshots::new(&store, "sum", 1);
    let of = |time| sums.fold("Account-1", AsOf::Time(time), 0, add).unwrap();
    assert_eq!((of(time).state, of(time).version), (7, Version(3)));
    let before = at(time.as_micros() - 1);
    assert_eq!((of(before).state, of(before).version), (0, Version::NONE));
}

#[test]
fn a_snapshot_is_due_by_how_many_events_were_folded_or_by_how_long_it_took() {
    let store = store();
    let cost = |events, millis| FoldCost { events, took: Duration::from_millis(millis) };
    let both: Snapshots<u64> =
        Snapshots::new(&store, "both", 1).every(3).or_cost(Duration::from_millis(5));
    assert!(both.is_due(cost(3, 0)) && both.is_due(cost(1, 5)), "either");
    assert!(!both.is_due(cost(2, 4)) && !both.is_due(cost(0, 9)), "neither, and nothing folded");
    // Folded by hand and by a repository: however short it took is long enough here.
    for (kind, of_time) in [("never", Duration::MAX), ("always", Duration::ZERO)] {
        let sums = || -> Snapshots<u64> {
            Snapshots::new(&store, kind, 1).every(u64::MAX).or_cost(of_time)
        };
        sums().fold("Account-1", AsOf::Version(Version(2)), 0, add).unwrap();
        let by_hand = sums().load("Account-1", None).map(|kept| (kept.state, kept.version));
        Repository::new(&store, Sums).keeper(sums()).load("Account-1").unwrap();
        let loaded = sums().load("Account-1", None).map(|kept| (kept.state, kept.version));
        let expected = (kind == "always").then_some([(3, Version(2)), (63, Version(6))]);
        assert_eq!(by_hand.zip(loaded).map(|(one, other)| [one, other]), expected, "{kind}");
    }
}
