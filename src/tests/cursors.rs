//! Named cursors of the whole store: what they promise, and with events in one commit, through
//! crashes.

use std::time::Duration;

use super::{MODES, Scene, open, open_read_only, scaled, seed, small};
use crate::storage::memory::{Call, Fault, MemoryDisk};
use crate::{
    CursorError, CursorsFound, Error, ExpectedVersion, NewEvent, Position, Result, Store,
    StoreOptions, Timestamp,
};

fn append(store: &Store, count: usize, bytes: usize) -> Result<Position> {
    let events = (0..count).map(|_| NewEvent::new("Noted", vec![b'x'; bytes]));
    Ok(store.append("Note-1", ExpectedVersion::Any, events)?.position)
}

fn saved(store: &Store, name: &str) -> Option<u64> {
    store.cursor(name).unwrap().map(|cursor| cursor.position.0)
}

fn cursor_error(result: Result<impl std::fmt::Debug>) -> CursorError {
    match result {
        Err(Error::Cursor(e)) => e,
        other => panic!("{other:?}"),
    }
}

/// What the calls of the cursors come to on the disk: all that the sweeps below go through.
pub(super) fn trace() -> Vec<Call> {
    let disk = MemoryDisk::simulated(seed());
    disk.start_trace();
    for round in 1..3 {
        let store = open(&disk, &small()).unwrap();
        let position = append(&store, 5, 10).unwrap();
        store.save_cursor("alone", position).unwrap();
        store
            .batch()
            .append("A-1", ExpectedVersion::Any, [NewEvent::new("Noted", format!("{round}"))])
            .save_cursor("together", position)
            .commit()
            .unwrap();
        store.close().unwrap();
    }
    disk.trace()
}

#[test]
fn a_cursor_only_moves_on_and_only_over_what_is_visible() {
    let disk = MemoryDisk::simulated(seed());
    let store = open(&disk, &small()).unwrap();
    append(&store, 5, 10).unwrap();
    assert_eq!(store.cursor("billing").unwrap(), None);
    store.save_cursor("billing", Position::START).unwrap();
    store.save_cursor("billing", Position(3)).unwrap();
    store.save_cursor("billing", Position(3)).unwrap();
    let back = cursor_error(store.save_cursor("billing", Position(2)));
    let (position, saved_at) = (Position(2), Position(3));
    let expected = CursorError::Backwards { name: "billing".into(), position, saved: saved_at };
    assert_eq!(back, expected);
    let ahead = cursor_error(store.save_cursor("billing", Position(6)));
    let (position, visible) = (Position(6), Position(5));
    assert_eq!(ahead, CursorError::Ahead { name: "billing".into(), position, visible });
    assert!(matches!(
        cursor_error(store.reset_cursor("billing", Position(6))),
        CursorError::Ahead { .. }
    ));
    let info = store.cursor("billing").unwrap().unwrap();
    assert_eq!((info.position, info.lag, info.has_diverged), (Position(3), Some(2), false));
    assert_eq!(info.event_id, store.event(Position(3)).unwrap().map(|event| event.id()));
    store.reset_cursor("billing", Position(1)).unwrap();
    assert_eq!(saved(&store, "billing"), Some(1));
    store.close().unwrap();
    let store = open(&disk, &small()).unwrap();
    assert_eq!(saved(&store, "billing"), Some(1));
}

#[test]
fn cursors_are_listed_deleted_and_renamed() {
    let disk = MemoryDisk::simulated(seed());
    let store = open(&disk, &small()).unwrap();
    append(&store, 2, 10).unwrap();
    for (name, position) in [("mail", 1), ("billing", 2), ("search", 0)] {
        store.save_cursor(name, Position(position)).unwrap();
    }
    let list = |store: &Store| -> Vec<(String, u64)> {
        let cursors = store.cursors().unwrap();
        cursors.map(|cursor| cursor.unwrap()).map(|c| (c.name, c.position.0)).collect()
    };
    let named = |list: &[(&str, u64)]| -> Vec<(String, u64)> {
        list.iter().map(|(name, position)| ((*name).into(), *position)).collect()
    };
    assert_eq!(list(&store), named(&[("billing", 2), ("mail", 1), ("search", 0)]));
    assert!(store.delete_cursor("search").unwrap());
    assert!(!store.delete_cursor("search").unwrap());
    store.rename_cursor("mail", "post").unwrap();
    let exists = CursorError::Exists { name: "post".into() };
    assert_eq!(cursor_error(store.rename_cursor("billing", "post")), exists);
    let none = CursorError::NotFound { name: "mail".into() };
    assert_eq!(cursor_error(store.rename_cursor("mail", "other")), none);
    assert_eq!(list(&store), named(&[("billing", 2), ("post", 1)]));
    drop(store);
    let reader = open_read_only(&disk, &small()).unwrap();
    assert_eq!(list(&reader), named(&[("billing", 2), ("post", 1)]));
    let before = disk.files();
    for refused in [
        reader.save_cursor("billing", Position(2)),
        reader.reset_cursor("billing", Position(2)),
        reader.delete_cursor("billing").map(drop),
        reader.rename_cursor("billing", "x").map(drop),
        reader.own_cursor("billing").map(drop),
        reader.wait_for("billing", Position(1), Duration::ZERO).map(drop),
    ] {
        assert!(matches!(refused, Err(Error::ReadOnly)), "{refused:?}");
    }
    assert_eq!(disk.files(), before, "reading changes nothing");
}

#[test]
fn names_have_rules() {
    let store = Store::in_memory().unwrap();
    let long = "x".repeat(256);
    for name in ["", "a\nb", &long] {
        for refused in [
            store.save_cursor(name, Position::START),
            store.cursor(name).map(drop),
            store.own_cursor(name).map(drop),
            store
                .batch()
                .append("A-1", ExpectedVersion::Any, [NewEvent::new("T", "")])
                .save_cursor(name, Position::START)
                .commit()
                .map(drop),
        ] {
            let is_typed =
                matches!(refused, Err(Error::InvalidName { .. } | Error::LimitExceeded { .. }));
            assert!(is_typed, "{refused:?}");
        }
    }
    store.save_cursor(&long[1..], Position::START).unwrap();
    assert_eq!(store.head(), Position::START);
}

#[test]
fn a_cursor_has_one_owner() {
    let store = Store::in_memory().unwrap();
    append(&store, 3, 10).unwrap();
    let owned = store.own_cursor("billing").unwrap();
    assert_eq!((owned.name(), owned.position().unwrap()), ("billing", None));
    for refused in [
        store.own_cursor("billing").map(drop),
        store.save_cursor("billing", Position(1)),
        store.reset_cursor("billing", Position(1)),
        store.delete_cursor("billing").map(drop),
        store.rename_cursor("billing", "x"),
        store.rename_cursor("x", "billing"),
    ] {
        assert_eq!(cursor_error(refused), CursorError::InUse { name: "billing".into() });
    }
    owned.save(Position(2)).unwrap();
    assert!(matches!(cursor_error(owned.save(Position(1))), CursorError::Backwards { .. }));
    store.save_cursor("mail", Position(1)).unwrap();
    let invoice = [NewEvent::new("Issued", "")];
    let batch = store.batch().append("Invoice-1", ExpectedVersion::Any, invoice);
    batch.save_cursor("billing", Position(3)).commit().unwrap();
    assert_eq!(owned.position().unwrap(), Some(Position(3)));
    drop(owned);
    store.save_cursor("billing", Position(4)).unwrap();
    assert_eq!(store.own_cursor("billing").unwrap().position().unwrap(), Some(Position(4)));
}

#[test]
fn a_cursor_of_another_history_is_recognised() {
    let disk = MemoryDisk::simulated(seed());
    let backup = MemoryDisk::simulated(seed() + 1);
    let store = open(&disk, &small()).unwrap();
    append(&store, 3, 10).unwrap();
    store.close().unwrap();
    let log = disk.files();
    let store = open(&disk, &small()).unwrap();
    append(&store, 3, 10).unwrap();
    store.save_cursor("early", Position(2)).unwrap();
    store.save_cursor("late", Position(6)).unwrap();
    store.close().unwrap();
    // The log is put back to where it was; the cursors are not.
    for (name, bytes) in &log {
        backup.put(name, bytes);
    }
    for (name, bytes) in disk.files().iter().filter(|(name, _)| name.starts_with("state/")) {
        backup.put(name, bytes);
    }
    backup.set_time(Timestamp::from_micros(1_800_000_000_000_000));
    let store = open(&backup, &small()).unwrap();
    let check = |store: &Store| {
        assert_eq!(store.recovery().cursors.diverged, ["late"], "said when it was opened");
        assert_eq!(store.recovery().cursors.unchecked, None);
        let late = store.cursor("late").unwrap().unwrap();
        assert_eq!((late.position, late.lag, late.has_diverged), (Position(6), None, true));
        let diverged = CursorError::Diverged { name: "late".into(), position: Position(6) };
        for refused in [
            store.own_cursor("late").map(drop),
            store.save_cursor("late", store.head()),
            store.wait_for("late", Position(1), Duration::ZERO).map(drop),
        ] {
            assert_eq!(cursor_error(refused), diverged);
        }
        let list: Vec<_> = store.cursors().unwrap().map(|cursor| cursor.unwrap()).collect();
        assert_eq!(list.iter().map(|c| c.has_diverged).collect::<Vec<_>>(), [false, true]);
        assert_eq!(saved(store, "early"), Some(2));
    };
    // Beyond the end, and then at a position that another event has.
    check(&store);
    append(&store, 7, 10).unwrap();
    check(&store);
    // State writes of frames count, although the state claims to be further than this log.
    let batch = store.batch().append("A-1", ExpectedVersion::Any, [NewEvent::new("T", "")]);
    batch.save_cursor("early", Position(4)).commit().unwrap();
    let killed = backup.crash_keeping_everything();
    let store = open(&killed, &small()).unwrap();
    assert_eq!(saved(&store, "early"), Some(4));
    store.reset_cursor("late", Position(5)).unwrap();
    store.save_cursor("late", Position(6)).unwrap();
    assert_eq!(store.cursor("late").unwrap().unwrap().lag, Some(5));
}

#[test]
fn opening_says_what_it_did_not_compare() {
    let disk = MemoryDisk::simulated(seed());
    let store = open(&disk, &small()).unwrap();
    for number in 0..256 {
        store.save_cursor(format!("cursor-{number}"), Position::START).unwrap();
    }
    store.close().unwrap();
    let store = open(&disk, &small()).unwrap();
    assert_eq!(store.recovery().cursors, CursorsFound::default());
    store.save_cursor("one-more", Position::START).unwrap();
    store.close().unwrap();
    let store = open(&disk, &small()).unwrap();
    let why = store.recovery().cursors.unchecked.clone().unwrap();
    assert!(why.contains("more than 256"), "{why}");
    store.close().unwrap();
    // A value that cannot be read: the log opens all the same.
    let (name, mut bytes) =
        disk.files().into_iter().find(|(name, _)| name.starts_with("state/")).unwrap();
    let value = bytes.windows(8).rposition(|bytes| bytes == b"one-more").unwrap();
    bytes[value] ^= 1;
    disk.put(&name, &bytes);
    let store = open(&disk, &small()).unwrap();
    let found = &store.recovery().cursors;
    assert!(found.unchecked.is_some() && found.diverged.is_empty(), "{found}");
}

#[test]
fn waiting_ends_when_the_cursor_is_there_or_the_store_is_closed() {
    let store = Store::in_memory().unwrap();
    append(&store, 3, 10).unwrap();
    let far = Duration::from_secs(600);
    assert!(store.wait_for("billing", Position::START, Duration::ZERO).unwrap());
    assert!(!store.wait_for("billing", Position(1), Duration::from_millis(5)).unwrap());
    std::thread::scope(|scope| {
        let waiting = |upto| {
            let store = store.clone();
            scope.spawn(move || {
                let there = store.wait_for("billing", Position(upto), far)?;
                Ok::<_, Error>((there, saved(&store, "billing")))
            })
        };
        let (one, two, three, four) = (waiting(1), waiting(2), waiting(3), waiting(4));
        store.save_cursor("billing", Position(1)).unwrap();
        let (there, at) = one.join().unwrap().unwrap();
        assert!(there && at >= Some(1));
        store.own_cursor("billing").unwrap().save(Position(2)).unwrap();
        assert!(two.join().unwrap().unwrap().0);
        let batch = store.batch().append("A-1", ExpectedVersion::Any, [NewEvent::new("T", "")]);
        batch.save_cursor("billing", Position(3)).commit().unwrap();
        assert_eq!(three.join().unwrap().unwrap(), (true, Some(3)));
        store.close().unwrap();
        assert!(matches!(four.join().unwrap(), Err(Error::Closed)));
    });
    assert!(matches!(store.save_cursor("billing", Position(3)), Err(Error::Closed)));
    assert!(matches!(store.cursor("billing"), Err(Error::Closed)));
}

#[test]
fn saving_makes_the_log_durable_first_in_every_mode() {
    for (name, durability) in MODES {
        let _scene = Scene(move || name.into());
        let disk = MemoryDisk::simulated(seed());
        let options = small().durability(durability);
        let store = open(&disk, &options).unwrap();
        let position = append(&store, 3, 10).unwrap();
        store.save_cursor("billing", position).unwrap();
        assert_eq!(store.durable(), position);
        append(&store, 1, 10).unwrap();
        let image = disk.crash_keeping_nothing();
        let after = open(&image, &options).unwrap();
        assert_eq!(saved(&after, "billing"), Some(3));
        assert!(after.own_cursor("billing").is_ok());
    }
}

#[test]
fn a_retried_batch_saves_its_cursor_unless_that_has_moved_on() {
    let store = Store::in_memory().unwrap();
    append(&store, 5, 10).unwrap();
    let id: crate::EventId = uuid::Uuid::from_u128(7).into();
    let event = || [NewEvent::new("Issued", "").id(id)];
    store.append("Invoice-1", ExpectedVersion::Any, event()).unwrap();
    let retry = |position| {
        let batch = store.batch().append("Invoice-1", ExpectedVersion::NoStream, event());
        batch.save_cursor("billing", Position(position)).commit()
    };
    assert!(retry(2).unwrap()[0].deduplicated);
    assert_eq!(saved(&store, "billing"), Some(2));
    store.save_cursor("billing", Position(4)).unwrap();
    assert!(retry(2).unwrap()[0].deduplicated);
    assert_eq!(saved(&store, "billing"), Some(4), "it only moves on");
    let empty = store.batch().save_cursor("billing", Position(5)).commit();
    assert!(matches!(empty, Err(Error::EmptyAppend)));
    let batch = store.batch().append("A-1", ExpectedVersion::Any, [NewEvent::new("T", "")]);
    let back = cursor_error(batch.save_cursor("billing", Position(1)).commit());
    assert!(matches!(back, CursorError::Backwards { .. }));
    assert_eq!((saved(&store, "billing"), store.head()), (Some(4), Position(6)));
}

/// A consumer that writes an event for each that it reads, and saves its cursor with it. Says how
/// many were acknowledged, and what was saved beside.
fn projection(disk: &MemoryDisk, options: &StoreOptions, rounds: u64) -> (u64, u64) {
    let (mut done, mut beside) = (0, 0);
    let mut go = || -> Result<()> {
        let store = open(disk, options)?;
        for n in 1..=rounds {
            append(&store, 1, 1500)?;
            let batch = store.batch().append(
                "Copy-1",
                ExpectedVersion::Any,
                [NewEvent::new("Copied", vec![b'y'; 1500])],
            );
            batch.save_cursor("copier", Position(2 * n - 1)).commit()?;
            done = n;
            if n.is_multiple_of(5) {
                store.save_cursor("beside", Position(n))?;
                beside = n;
            }
            if n.is_multiple_of(7) {
                store.keep_up()?;
            }
        }
        store.close()
    };
    let _ = go();
    (done, beside)
}

#[test]
fn a_cursor_and_the_events_of_its_batch_are_both_there_or_neither() {
    let mut images = 0;
    for (name, durability) in MODES {
        let options = small().durability(durability);
        let rounds = 45;
        let whole = MemoryDisk::simulated(seed());
        assert_eq!(projection(&whole, &options, rounds), (rounds, rounds));
        assert!(whole.files().keys().filter(|name| name.contains(".seg")).count() > 2);
        for call in (0..=whole.calls()).step_by(scaled(9, 1)) {
            let _scene = Scene(move || format!("{name}, no power from call {call}"));
            let disk = MemoryDisk::simulated(seed());
            disk.crash_at(call);
            let (done, beside) = projection(&disk, &options, rounds);
            let left = [
                disk.crash_keeping_everything(),
                disk.crash_keeping_nothing(),
                disk.crash_seeded(call),
            ];
            for image in left {
                images += 1;
                check_projection(&image, &options, beside);
                if name == "sync" {
                    let store = open(&image, &options).unwrap();
                    let at = saved(&store, "copier").map_or(0, |position| position.div_ceil(2));
                    assert!(at == done || at == done + 1, "{at} of {done}");
                }
            }
        }
    }
    eprintln!("{images} images");
}

fn check_projection(image: &MemoryDisk, options: &StoreOptions, beside: u64) {
    let look = |store: &Store| {
        let copies = store.stream("Copy-1").unwrap().map_or(0, |stream| stream.version.0);
        (copies, saved(store, "copier"), saved(store, "beside"))
    };
    let read_only = match open_read_only(image, options) {
        Ok(store) => Some(look(&store)),
        Err(Error::NotFound { .. } | Error::NotAStore { .. }) => None,
        Err(e) => panic!("{e}"),
    };
    let store = open(image, options).unwrap();
    let found = look(&store);
    let (copies, copier, at) = found;
    assert_eq!(copier, (copies > 0).then(|| 2 * copies - 1));
    assert!(at.unwrap_or(0) >= beside && at.unwrap_or(0) <= beside + 5, "{at:?} of {beside}");
    assert!(read_only.is_none_or(|read| read == found), "{read_only:?} and {found:?}");
    // What was decided stays, whatever is saved next, also without index files.
    append(&store, 1, 10).unwrap();
    store.save_cursor("next", Position(1)).unwrap();
    let again = open(&image.crash_keeping_nothing(), options).unwrap();
    assert_eq!(look(&again), found);
    assert_eq!(saved(&again, "next"), Some(1));
}

#[test]
fn cursors_that_fail_leave_the_log_alone_and_come_back() {
    let disk = MemoryDisk::simulated(seed());
    let store = open(&disk, &small()).unwrap();
    append(&store, 3, 10).unwrap();
    store.save_cursor("billing", Position(1)).unwrap();
    let before = disk.calls();
    store.save_cursor("billing", Position(1)).unwrap();
    let sync = 2 * disk.calls() - before - 1;
    disk.fail_at(sync, Fault::Errno(5));
    assert!(matches!(store.save_cursor("billing", Position(2)), Err(Error::Unknown { .. })));
    assert!(matches!(store.save_cursor("billing", Position(3)), Err(Error::Poisoned { .. })));
    // Appends go on over several segments, and so do cursors that commit with events.
    for n in 0..60 {
        append(&store, 1, 3000).unwrap();
        let batch = store.batch().append("A-1", ExpectedVersion::Any, [NewEvent::new("T", "")]);
        batch.save_cursor("inline", Position(n)).commit().unwrap();
    }
    assert_eq!((saved(&store, "billing"), saved(&store, "inline")), (Some(1), Some(59)));
    assert!(store.close().is_err());
    drop(store);
    for image in [disk.crash_keeping_everything(), disk.crash_keeping_nothing()] {
        for store in [open_read_only(&image, &small()).unwrap(), open(&image, &small()).unwrap()] {
            assert_eq!((saved(&store, "billing"), saved(&store, "inline")), (Some(1), Some(59)));
        }
    }
}

#[test]
fn damage_of_the_cursors_leaves_the_log_alone() {
    let disk = MemoryDisk::simulated(seed());
    let store = open(&disk, &small()).unwrap();
    append(&store, 3, 10).unwrap();
    store.save_cursor("billing", Position(1)).unwrap();
    store.save_cursor("mail", Position(1)).unwrap();
    store.close().unwrap();
    // Behind the mark that a new file has: the group of the first cursor.
    disk.corrupt("state/values-1", 4096 + 32, 0xff);
    let store = open(&disk, &small()).unwrap();
    append(&store, 1, 10).unwrap();
    assert_eq!(store.read_all().into_iter().flatten().count(), 4);
    for name in ["billing", "never"] {
        for refused in [
            store.cursor(name).map(drop),
            store.save_cursor(name, Position(2)),
            store.own_cursor(name).map(drop),
        ] {
            assert!(refused.is_err_and(|e| e.is_corruption()), "{name}");
        }
    }
    // What was saved behind the damage is certain.
    store.save_cursor("mail", Position(2)).unwrap();
    let list: Vec<_> = store.cursors().unwrap().collect();
    assert!(list.last().unwrap().as_ref().is_err_and(Error::is_corruption));
    store.reset_cursor("billing", Position(2)).unwrap();
    store.save_cursor("billing", Position(4)).unwrap();
    store.close().unwrap();
    let store = open(&disk, &small()).unwrap();
    assert_eq!(saved(&store, "billing"), Some(4));
    assert!(store.cursor("never").is_err_and(|e| e.is_corruption()));
    assert!(store.delete_cursor("never").unwrap());
    assert_eq!(saved(&store, "never"), None);
}
