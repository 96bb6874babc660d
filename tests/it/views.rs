//! Views and snapshots on a real disk, and with other processes' eyes.

use std::time::Duration;

use annals::{
    Error, ExpectedVersion, NewEvent, NewSnapshot, Position, Store, Timestamp, Version, ViewError,
};

fn append(store: &Store, count: usize) -> Position {
    let events = (0..count).map(|_| NewEvent::new("Noted", "x"));
    store.append("Note-1", ExpectedVersion::Any, events).unwrap().position
}

#[test]
fn views_and_snapshots_outlive_the_store_and_are_read_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let upto = append(&store, 3);
    let view = store.create_view("notes", 4).unwrap();
    assert_eq!((view.name(), view.schema()), ("notes", 4));
    let update = view.update(Position::START).put("a", "1").put("b", "2").delete("b");
    assert_eq!((update.name(), update.from(), update.len()), ("notes", Position::START, 2));
    assert!(!update.is_empty() && view.update(upto).is_empty());
    view.commit(update, upto).unwrap();
    store.save_snapshot("Note-1", "count", NewSnapshot::new(Version(3), "3")).unwrap();
    let beside = Store::open_read_only(dir.path()).unwrap();
    let look = |store: &Store, position: u64| {
        let view = store.view("notes").unwrap().unwrap();
        let info = view.info().unwrap();
        assert_eq!((info.position, info.entries, info.schema), (Position(position), 1, 4));
        assert_eq!((info.bytes, info.lag), (2, Some(0)));
        assert_eq!(info.event_id, store.event(Position(position)).unwrap().map(|e| e.id()));
        assert_eq!(view.get("a").unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(view.get("b").unwrap(), None);
        assert_eq!(store.snapshot("Note-1", "count").unwrap().unwrap().data, b"3");
    };
    look(&store, 3);
    look(&beside, 3);
    // With events, through a batch.
    let batch = store.batch().append("Note-1", ExpectedVersion::Any, [NewEvent::new("Noted", "")]);
    batch.update_view(view.update(upto).put("a", "1")).commit().unwrap();
    look(&store, 4);
    look(&beside, 4);
    store.close().unwrap();
    assert!(matches!(view.get("a"), Err(Error::Closed)));
    assert!(matches!(store.create_view("notes", 4), Err(Error::Closed)));
    look(&beside, 4);
    let store = Store::open(dir.path()).unwrap();
    look(&store, 4);
    let shown = store.view("notes").unwrap().unwrap();
    assert_eq!(
        (shown.to_string(), shown.info().unwrap().to_string()),
        ("view \"notes\"".to_owned(), "view \"notes\" at position 4, 0 behind".to_owned(),)
    );
}

#[test]
fn events_that_are_parked_are_listed_until_they_are_taken_back() {
    let store = Store::in_memory().unwrap();
    let upto = append(&store, 300);
    let view = store.create_view("notes", 1).unwrap();
    let mut update = view.update(Position::START).put("a", "1");
    for position in [300, 2, 256] {
        let event = store.event(Position(position)).unwrap().unwrap();
        let at = Timestamp::from_micros(7);
        update = update.park(event.position(), event.id(), 3, at, format!("no {position}"));
    }
    view.commit(update, upto).unwrap();
    let parked = view.parked().unwrap();
    assert_eq!(parked.iter().map(|p| p.position.0).collect::<Vec<_>>(), [2, 256, 300]);
    assert_eq!((parked[1].attempts, parked[1].reason.as_str()), (3, "no 256"));
    assert_eq!(parked[1].event_id, store.event(Position(256)).unwrap().unwrap().id());
    let info = view.info().unwrap();
    assert_eq!((info.entries, info.parked), (1, 3));
    assert_eq!(view.scan().read().unwrap().count(), 1, "they are no entries");
    view.commit(view.update(upto).unpark(Position(256)), upto).unwrap();
    assert_eq!(view.parked().unwrap().len(), 2);
}

#[test]
fn waiting_ends_when_the_view_is_there_or_the_store_is_closed() {
    let store = Store::in_memory().unwrap();
    append(&store, 3);
    let view = store.create_view("notes", 1).unwrap();
    let far = Duration::from_secs(600);
    assert!(store.wait_for_view("notes", Position::START, Duration::ZERO).unwrap());
    assert!(!store.wait_for_view("notes", Position(1), Duration::from_millis(5)).unwrap());
    let missing = store.wait_for_view("none", Position(1), far);
    assert!(matches!(missing, Err(Error::View(ViewError::NotFound { .. }))));
    std::thread::scope(|scope| {
        let waiting = |upto| {
            let store = store.clone();
            scope.spawn(move || store.wait_for_view("notes", Position(upto), far))
        };
        let (one, four, five) = (waiting(1), waiting(4), waiting(5));
        view.commit(view.update(Position::START), Position(2)).unwrap();
        assert!(one.join().unwrap().unwrap());
        let batch = store.batch().append("Note-1", ExpectedVersion::Any, [NewEvent::new("N", "")]);
        batch.update_view(view.update(Position(2))).commit().unwrap();
        assert!(four.join().unwrap().unwrap());
        store.close().unwrap();
        assert!(matches!(five.join().unwrap(), Err(Error::Closed)));
    });
}

/// The async way to the same commit.
#[cfg(feature = "async")]
#[test]
fn a_task_commits_views_with_its_events() {
    let store = Store::in_memory().unwrap();
    let view = store.create_view("notes", 1).unwrap();
    let batch = |from: u64| {
        let event = [NewEvent::new("Noted", "")];
        let batch = store.batch().append("Note-1", ExpectedVersion::Any, event);
        batch.update_view(view.update(Position(from)).put("last", from.to_string()))
    };
    let (first, second) = (batch(0).commit_async(), batch(1).commit_async());
    let (first, second) = futures::executor::block_on(async { (first.await, second.await) });
    assert_eq!((first.unwrap()[0].position.0, second.unwrap()[0].position.0), (1, 2));
    let late = futures::executor::block_on(batch(1).commit_async());
    assert!(matches!(late, Err(Error::View(ViewError::Moved { .. }))), "{late:?}");
    assert_eq!(view.get("last").unwrap().as_deref(), Some(&b"1"[..]));
}
