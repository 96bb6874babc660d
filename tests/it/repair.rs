//! What a repair keeps beside events: cursors and views that stand where nothing has moved.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use annals::maintain::{self, LeftBehind, RepairReport};
use annals::{ExpectedVersion, NewEvent, NewSnapshot, Position, Store, StoredView, Timestamp};
use annals::{Version, ViewUpdate};

use crate::support::{Place, contents, log_paths, numbered, small_segments};

/// The event whose data is looked for and flipped.
const LOST: u64 = 200;
const EVENTS: u64 = 300;

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

fn entries(view: &StoredView) -> Entries {
    let read = view.scan().read().unwrap().map(Result::unwrap);
    read.map(|(key, value)| (key, value.to_vec())).collect()
}

fn put(update: ViewUpdate, number: u64) -> ViewUpdate {
    update.put(format!("key-{}", number % 17), number.to_string())
}

/// Takes the events up to a position into a view, in several commits, as a projector does.
fn fold(view: &StoredView, upto: u64) {
    let mut from = view.position().unwrap();
    while from.0 < upto {
        let next = (from.0 + 40).min(upto);
        let update = (from.0 + 1..=next).fold(view.update(from), put);
        view.commit(update, Position(next)).unwrap();
        from = Position(next);
    }
}

fn folded(upto: u64) -> Entries {
    let put = |number: u64| (format!("key-{}", number % 17).into_bytes(), number.to_string());
    (1..=upto).map(put).map(|(key, value)| (key, value.into_bytes())).collect()
}

/// A closed store of 300 events; cursors and views stand in front of the 200th and behind it.
fn filled(path: &Path) {
    let store = small_segments().open(path).unwrap();
    let inline = store.create_view("inline", 3).unwrap();
    for n in 1..=EVENTS {
        let event = NewEvent::new("Counted", format!("number {n:04} {}", "x".repeat(500)));
        let batch = store.batch().append(format!("A-{}", n % 7), ExpectedVersion::Any, [event]);
        // Up to the 150th with each event.
        let batch = if n <= 150 {
            batch.update_view(put(inline.update(inline.position().unwrap()), n))
        } else {
            batch
        };
        batch.commit().unwrap();
    }
    for (name, upto) in [("early", 100), ("at the edge", LOST - 1), ("late", LOST), ("empty", 0)] {
        fold(&store.create_view(name, 1).unwrap(), upto);
    }
    let early = store.view("early").unwrap().unwrap();
    let parked = store.event(Position(7)).unwrap().unwrap().id();
    let update = early.update(Position(100));
    let update = update.park(Position(7), parked, 3, Timestamp::from_micros(5), "no");
    early.commit(update, Position(100)).unwrap();
    for (name, at) in [("begun", 0), ("billing", 120), ("edge", LOST - 1), ("mails", LOST)] {
        store.save_cursor(name, Position(at)).unwrap();
    }
    store.save_snapshot("A-1", "sum", NewSnapshot::new(Version(3), "1")).unwrap();
    store.close().unwrap();
}

/// Flips a bit in the data of an event.
fn lose(path: &Path, number: u64) {
    let needle = format!("number {number:04}");
    let find = |file: PathBuf| {
        let bytes = fs::read(&file).unwrap();
        let at = bytes.windows(needle.len()).position(|found| found == needle.as_bytes())?;
        Some((file, bytes, at))
    };
    let (file, mut bytes, at) = log_paths(path, ".seg").into_iter().find_map(find).unwrap();
    bytes[at + 20] ^= 1;
    fs::write(file, bytes).unwrap();
}

/// Repairs a store; before and after say the same, and the old one stays as it is.
fn repaired(from: &Path, to: &Path) -> RepairReport {
    let files = contents(from);
    let mut before = maintain::repair(from, to).dry_run(true).run().unwrap();
    assert!(before.dry_run && !to.exists());
    let after = maintain::repair(from, to).run().unwrap();
    before.dry_run = false;
    assert_eq!(before, after);
    assert_eq!(contents(from), files);
    assert!(maintain::verify(to).run().unwrap().is_clean());
    after
}

#[test]
fn cursors_and_views_in_front_of_the_first_lost_event_are_kept() {
    let place = Place::new();
    let to = place.other("new");
    filled(&place.path());
    lose(&place.path(), LOST);
    let report = repaired(&place.path(), &to);
    assert_eq!(report.events, EVENTS - 1);
    assert_eq!(report.state.cursors, ["begun", "billing", "edge"]);
    assert_eq!(report.state.views, ["at the edge", "early", "empty", "inline"]);
    let position = Some(Position(LOST));
    let left = [
        LeftBehind::Cursor { name: "mails".into(), position },
        LeftBehind::View { name: "late".into(), position },
    ];
    assert_eq!(report.state.left, left);

    let store = Store::open(&to).unwrap();
    assert!(store.recovery().clean && store.recovery().cursors.diverged.is_empty());
    for (name, schema, upto) in
        [("early", 1, 100), ("at the edge", 1, LOST - 1), ("empty", 1, 0), ("inline", 3, 150)]
    {
        let view = store.view(name).unwrap().unwrap();
        assert_eq!((view.schema(), view.position().unwrap()), (schema, Position(upto)), "{name}");
        assert_eq!(entries(&view), folded(upto), "{name}");
    }
    let parked = store.view("early").unwrap().unwrap().parked().unwrap();
    let [parked] = &parked[..] else { panic!("{parked:?}") };
    assert_eq!((parked.position, parked.attempts, &*parked.reason), (Position(7), 3, "no"));
    assert_eq!(store.event(Position(7)).unwrap().unwrap().id(), parked.event_id);
    assert!(store.view("late").unwrap().is_none() && store.cursor("mails").unwrap().is_none());
    assert_eq!(store.snapshots().unwrap().count(), 0, "folded again");
    // Consumers go on behind what they had processed.
    let mut billing = store.subscribe().cursor("billing").start().unwrap();
    let next = billing.try_next().unwrap().unwrap();
    assert_eq!(next.position(), Position(121));
    assert!(next.data().starts_with(b"number 0121"));
    store.append("A-1", ExpectedVersion::Any, [numbered(1)]).unwrap();
    fold(&store.view("inline").unwrap().unwrap(), EVENTS);
    store.close().unwrap();
    let again = Store::open_read_only(&to).unwrap();
    assert_eq!(entries(&again.view("inline").unwrap().unwrap()), folded(EVENTS));
}

#[test]
fn with_the_first_event_lost_only_what_has_seen_none_is_kept() {
    let place = Place::new();
    filled(&place.path());
    lose(&place.path(), 1);
    let report = repaired(&place.path(), &place.other("new"));
    assert_eq!(report.lost.len(), 1);
    assert_eq!(
        (report.state.cursors, report.state.views),
        (vec!["begun".into()], vec!["empty".into()])
    );
    assert_eq!(report.state.left.len(), 3 + 4);
}

#[test]
fn a_whole_store_keeps_all_of_large_views() {
    let place = Place::new();
    let to = place.other("new");
    let store = small_segments().open(place.path()).unwrap();
    store.append("A-1", ExpectedVersion::Any, (1..=9).map(numbered)).unwrap();
    let large = store.create_view("large", 1).unwrap();
    // More entries and more bytes than fit one commit of a repair.
    for part in 0..3 {
        let (from, upto) = (Position(part * 3), Position(part * 3 + 3));
        let keys = (0..4_000).map(|n| format!("{part}/{n:05}"));
        let update = keys.fold(large.update(from), |u, key| u.put(key, "v".repeat(300)));
        large.commit(update, upto).unwrap();
    }
    let before = entries(&large);
    store.close().unwrap();
    let report = repaired(&place.path(), &to);
    assert!(report.is_complete() && report.state.left.is_empty());
    let store = Store::open_read_only(&to).unwrap();
    let large = store.view("large").unwrap().unwrap();
    assert_eq!((before.len(), large.position().unwrap()), (12_000, Position(9)));
    assert!(entries(&large) == before);
}

#[test]
fn damage_of_the_state_is_told_and_costs_no_event() {
    let place = Place::new();
    filled(&place.path());
    let state = |ends: &str| {
        let files = fs::read_dir(place.path().join("state")).unwrap();
        let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        let is_it = |file: &PathBuf| file.to_str().unwrap().contains(ends);
        files.into_iter().filter(is_it).collect::<Vec<_>>()
    };
    // A value of a view: its keys are told, so its name is.
    let flipped: Vec<PathBuf> = state("view-")
        .into_iter()
        .filter(|file| {
            let mut bytes = fs::read(file).unwrap();
            let value = bytes.windows(3).rposition(|found| found == b"199");
            value.is_some_and(|at| {
                bytes[at] ^= 1;
                fs::write(file, bytes).is_ok()
            })
        })
        .collect();
    assert_eq!(flipped.len(), 2, "two views have seen the 199th event");
    let report = repaired(&place.path(), &place.other("values"));
    assert_eq!(report.events, EVENTS);
    assert!(report.is_complete(), "no event is lost");
    let named = |left: &&LeftBehind| matches!(left, LeftBehind::View { .. });
    assert_eq!(report.state.left.iter().filter(named).count(), flipped.len());
    assert_eq!(report.state.views.len(), 5 - flipped.len());
    // The heads of all files of views, then that of the file with the cursors and the list.
    for (ends, views) in [("view-", true), ("values-", false)] {
        for file in state(ends) {
            let mut bytes = fs::read(&file).unwrap();
            bytes[40] ^= 1;
            fs::write(file, bytes).unwrap();
        }
        let report = repaired(&place.path(), &place.other(ends));
        assert_eq!((report.events, report.state.views.len()), (EVENTS, 0));
        let unnamed = |view: &str| LeftBehind::View { name: view.into(), position: None };
        assert_eq!(report.state.left.contains(&unnamed("early")), views);
        assert_eq!(report.state.left.contains(&LeftBehind::UnreadableViews), !views);
        assert_eq!(report.state.cursors.len(), if views { 4 } else { 0 });
        assert_eq!(report.state.left.contains(&LeftBehind::UnreadableCursors), !views);
    }
}
