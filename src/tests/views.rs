//! Views of the whole store: a view is always the fold of exactly the events up to its position,
//! through crashes, faults, damage, and files of other histories.

use std::collections::BTreeMap;

use super::{MODES, Random, Scene, open, open_read_only, scaled, seed, small};
use crate::storage::memory::{Call, Fault, MemoryDisk};
use crate::{
    Durability, Error, ExpectedVersion, NewEvent, Position, Query, Result, Store, StoreOptions,
    StoredView, ViewError, ViewUpdate,
};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// A key and its new value, or a key to be deleted.
fn random_event(random: &mut Random) -> NewEvent {
    let key = format!("{}/{}", random.below(3), random.below(20));
    let len = [1, 10, 300, 3_000][random.below(4)];
    if random.below(4) == 0 {
        NewEvent::new("Deleted", key)
    } else {
        NewEvent::new("Put", format!("{key}={}", "v".repeat(len + random.below(9))))
    }
}

fn apply(update: ViewUpdate, event_type: &str, data: &[u8]) -> ViewUpdate {
    let at = data.iter().position(|byte| *byte == b'=');
    match (event_type, at) {
        ("Put", Some(at)) => update.put(&data[..at], &data[at + 1..]),
        ("Deleted", _) => update.delete(data),
        _ => update,
    }
}

/// What a view is that has taken in all events up to a position.
fn fold(store: &Store, upto: Position) -> Map {
    let mut map = Map::new();
    for event in store.read_all() {
        let event = event.unwrap();
        if event.position() > upto {
            break;
        }
        let data = event.data();
        match (event.event_type(), data.iter().position(|byte| *byte == b'=')) {
            ("Put", Some(at)) => drop(map.insert(data[..at].to_vec(), data[at + 1..].to_vec())),
            ("Deleted", _) => drop(map.remove(data)),
            _ => {}
        }
    }
    map
}

fn entries(view: &StoredView) -> Result<(Map, Position)> {
    let read = view.scan().read()?;
    let position = read.position();
    let map = read.map(|entry| entry.map(|(key, value)| (key, value.to_vec())));
    Ok((map.collect::<Result<_>>()?, position))
}

/// Takes events behind a view into an update, at most so many, and says up to where.
fn catch_up(store: &Store, view: &StoredView, most: usize) -> Result<(ViewUpdate, Position)> {
    let from = view.position()?;
    let (mut update, mut upto) = (view.update(from), from);
    for event in store.read_all().after(from).limit(most) {
        let event = event?;
        update = apply(update, event.event_type(), event.data());
        upto = event.position();
    }
    Ok((update, upto))
}

/// The view is the fold of the log up to where it stands. Says where that is; `None` where it was
/// never created.
fn assert_is_fold(store: &Store) -> Option<Position> {
    let view = store.view("all").unwrap()?;
    let (map, position) = entries(&view).unwrap();
    assert!(position <= store.head(), "{position} of {}", store.head());
    assert_eq!(map, fold(store, position), "at {position}");
    for (key, value) in &map {
        assert_eq!(view.get(key).unwrap().as_deref(), Some(value.as_slice()));
    }
    assert_eq!(view.get("never").unwrap(), None);
    let info = view.info().unwrap();
    assert_eq!((info.position, info.entries), (position, map.len() as u64));
    Some(position)
}

/// What a history was told: where the view stands for sure.
#[derive(Default)]
struct Told {
    /// By commits of the view alone, which are durable in every mode.
    alone: Position,
    /// By commits with events, which are as durable as these.
    inline: Position,
}

/// Appends, folds, and appends and folds in one, up to the first error.
fn history(
    disk: &MemoryDisk,
    options: &StoreOptions,
    seed: u64,
    steps: usize,
) -> (Told, Result<()>) {
    let mut random = Random(seed);
    let mut told = Told::default();
    let mut go = || -> Result<()> {
        let mut store = open(disk, options)?;
        let mut view = store.create_view("all", 1)?;
        for _ in 0..steps {
            let count = 1 + random.below(3);
            let events: Vec<NewEvent> = (0..count).map(|_| random_event(&mut random)).collect();
            match random.below(12) {
                0..5 => drop(store.append("Load-1", ExpectedVersion::Any, events)?),
                5..8 => {
                    let (update, upto) = catch_up(&store, &view, 1 + random.below(9))?;
                    view.commit(update, upto)?;
                    told.alone = upto;
                }
                8..10 => {
                    let (mut update, _) = catch_up(&store, &view, usize::MAX)?;
                    for event in &events {
                        update = apply(update, event.event_type(), event.data());
                    }
                    let batch = store.batch().append("Load-2", ExpectedVersion::Any, events);
                    let batch = batch.unless(Query::new().after(store.head()));
                    told.inline = batch.update_view(update).commit()?[0].position;
                }
                10 => drop(store.keep_up()?),
                _ => {
                    store.close()?;
                    store = open(disk, options)?;
                    view = store.view("all")?.expect("it was created");
                }
            }
        }
        store.close()
    };
    let ended = go();
    (told, ended)
}

/// What the calls of the views and snapshots come to on the disk: all that the sweeps go through.
pub(super) fn trace() -> Vec<Call> {
    let disk = MemoryDisk::simulated(seed());
    disk.start_trace();
    history(&disk, &small(), 1, 60).1.unwrap();
    super::snapshots::history(&disk, &small()).1.unwrap();
    disk.trace()
}

fn check_image(
    image: &MemoryDisk,
    options: &StoreOptions,
    told: &Told,
    is_sync: bool,
    has_failed: bool,
) {
    let read_only = match open_read_only(image, options) {
        Ok(store) => assert_is_fold(&store),
        Err(Error::NotFound { .. } | Error::NotAStore { .. }) => None,
        Err(e) => panic!("{e}"),
    };
    let store = open(image, options).unwrap();
    let found = assert_is_fold(&store);
    // What a failed sync left in the cache is seen by readers, and gone for the next writer.
    let is_same = read_only == found || (has_failed && read_only > found);
    assert!(read_only.is_none() || is_same, "{read_only:?} and {found:?}");
    let least = if is_sync { told.alone.max(told.inline) } else { told.alone };
    assert!(found.unwrap_or_default() >= least, "{found:?}, told {least}");
    // It goes on, and a crash right behind that keeps what was found.
    let view = store.create_view("all", 1).unwrap();
    let (update, upto) = catch_up(&store, &view, usize::MAX).unwrap();
    view.commit(update, upto).unwrap();
    let again = open(&image.crash_keeping_nothing(), options).unwrap();
    assert_eq!(assert_is_fold(&again), Some(upto));
}

#[test]
fn a_view_is_the_fold_of_the_log_behind_a_crash_at_any_call() {
    let mut images = 0;
    for (name, durability) in MODES {
        let options = small().durability(durability);
        for seed in 1..=scaled(1, 4) as u64 {
            let whole = MemoryDisk::simulated(seed);
            history(&whole, &options, seed, 110).1.unwrap();
            let segments = whole.files().keys().filter(|name| name.contains(".seg")).count();
            assert!(segments > 2, "{segments} segments");
            for call in (0..=whole.calls()).step_by(scaled(23, 1)) {
                let _scene = Scene(move || format!("{name}, seed {seed}, no power from {call}"));
                let disk = MemoryDisk::simulated(seed);
                disk.crash_at(call);
                let (told, _) = history(&disk, &options, seed, 110);
                let seeded = disk.crash_seeded(call);
                for image in [disk.crash_keeping_everything(), disk.crash_keeping_nothing(), seeded]
                {
                    images += 1;
                    check_image(&image, &options, &told, durability == Durability::Sync, false);
                }
            }
        }
    }
    eprintln!("{images} images");
}

#[test]
fn a_fault_at_any_call_is_typed_and_leaves_a_fold() {
    let whole = MemoryDisk::simulated(3);
    history(&whole, &small(), 3, 80).1.unwrap();
    let mut failed = 0;
    for call in (1..whole.calls()).step_by(scaled(13, 1)) {
        let fault = match call % 3 {
            0 => Fault::Errno(5),
            1 => Fault::Error(std::io::ErrorKind::StorageFull),
            _ => Fault::ShortCount,
        };
        let _scene = Scene(move || format!("call {call}: {fault:?}"));
        let disk = MemoryDisk::simulated(3);
        disk.fail_at(call, fault);
        let (told, ended) = history(&disk, &small(), 3, 80);
        if let Err(e) = &ended {
            failed += 1;
            assert!(!matches!(e, Error::Panicked { .. } | Error::View(_)), "{e}");
        }
        for image in [disk.crash_keeping_everything(), disk.crash_keeping_nothing()] {
            check_image(&image, &small(), &told, true, true);
        }
    }
    eprintln!("{failed} histories ended by a fault");
    assert!(failed > 10);
}

/// A closed store with a view of some entries that it has written more than once.
fn sample() -> (MemoryDisk, String) {
    let disk = MemoryDisk::simulated(seed());
    let store = open(&disk, &small()).unwrap();
    let view = store.create_view("all", 1).unwrap();
    let put = |text: &str| NewEvent::new("Put", text.to_owned());
    for events in [
        vec![put("a=old"), put("b=bee")],
        vec![put("a=new"), NewEvent::new("Deleted", "b")],
        vec![put("c=see")],
    ] {
        store.append("Load-1", ExpectedVersion::Any, events).unwrap();
        let (update, upto) = catch_up(&store, &view, usize::MAX).unwrap();
        view.commit(update, upto).unwrap();
    }
    store.save_cursor("billing", Position(1)).unwrap();
    store.close().unwrap();
    let name = disk.files().into_keys().find(|name| name.contains("view-")).unwrap();
    (disk, name)
}

/// Reads say what was written or a typed error; the log and the cursors are as they were; a reset
/// mends it.
fn assert_honest(disk: &MemoryDisk) -> bool {
    let mut is_detected = false;
    for store in [open_read_only(disk, &small()).unwrap(), open(disk, &small()).unwrap()] {
        let view = store.view("all").unwrap().unwrap();
        let good = fold(&store, store.head());
        for key in ["a", "b", "c", "never"] {
            match view.get(key) {
                Ok(value) => {
                    assert_eq!(value.as_deref(), good.get(key.as_bytes()).map(Vec::as_slice));
                }
                Err(e) => {
                    assert!(e.is_corruption(), "{e}");
                    is_detected = true;
                }
            }
        }
        match entries(&view) {
            Ok((map, position)) => assert_eq!((map, position), (good, store.head())),
            Err(e) => assert!(e.is_corruption() && is_detected, "{e}"),
        }
        assert_eq!(store.cursor("billing").unwrap().unwrap().position, Position(1));
    }
    let store = open(disk, &small()).unwrap();
    assert_eq!(store.head(), Position(5));
    let view = store.reset_view("all", 1).unwrap();
    let (update, upto) = catch_up(&store, &view, usize::MAX).unwrap();
    view.commit(update, upto).unwrap();
    assert_eq!(assert_is_fold(&store), Some(Position(5)));
    store.close().unwrap();
    let kept = disk.files().into_keys().filter(|name| name.contains("view-")).count();
    assert_eq!(kept, 1, "the damaged file is gone");
    is_detected
}

/// The name of what is damaged below.
pub(super) fn damaged_name() -> String {
    sample().1
}

#[test]
fn damage_of_a_view_is_an_error_until_it_is_reset_and_never_nothing() {
    let (disk, name) = sample();
    let bytes = disk.files().remove(&name).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let (mut damaged, mut detected) = (0, 0);
    for offset in (0..64).chain(4096..used).step_by(scaled(3, 1)) {
        let _scene = Scene(move || format!("byte {offset}"));
        let copy = disk.crash_keeping_everything();
        copy.corrupt(&name, offset, 0x41);
        damaged += 1;
        detected += usize::from(assert_honest(&copy));
    }
    for len in [0, 63, 4095, 4200, used - 1, bytes.len() - 1] {
        let copy = disk.crash_keeping_everything();
        copy.put(&name, &bytes[..len]);
        assert!(assert_honest(&copy), "cut to {len}");
    }
    eprintln!("{damaged} damaged bytes, {detected} that hide something");
    assert!(detected > 60);
}

#[test]
fn a_view_whose_file_is_gone_or_another_ones_is_damaged() {
    let (disk, name) = sample();
    let store = open(&disk, &small()).unwrap();
    let other = store.create_view("other", 1).unwrap();
    other.commit(other.update(Position::START).put("x", "1"), Position(5)).unwrap();
    store.close().unwrap();
    let is_other = |found: &String| found.contains("view-") && *found != name;
    let others = disk.files().into_iter().find(|(found, _)| is_other(found)).unwrap().1;
    for content in [None, Some(others)] {
        let copy = disk.crash_keeping_everything();
        match content {
            Some(content) => copy.put(&name, &content),
            None => copy.delete(&name),
        }
        for store in [open_read_only(&copy, &small()).unwrap(), open(&copy, &small()).unwrap()] {
            let view = store.view("all").unwrap().unwrap();
            for failed in
                [view.get("a").map(drop), view.position().map(drop), view.info().map(drop)]
            {
                assert!(failed.unwrap_err().is_corruption());
            }
            let listed: Vec<_> = store.views().unwrap().collect();
            assert!(listed[0].is_err() && listed[1].is_ok(), "{listed:?}");
        }
        let store = open(&copy, &small()).unwrap();
        store.reset_view("all", 2).unwrap();
        assert!(store.view("all").unwrap().unwrap().get("a").unwrap().is_none());
    }
}

/// The files of the state of a disk.
fn state_files(disk: &MemoryDisk) -> Vec<(String, Vec<u8>)> {
    disk.files().into_iter().filter(|(name, _)| name.starts_with("state/")).collect()
}

/// Puts the state of one disk in the place of another's.
fn restore_state(disk: &MemoryDisk, state: &[(String, Vec<u8>)]) {
    for (name, _) in state_files(disk) {
        disk.delete(&name);
    }
    for (name, bytes) in state {
        disk.put(name, bytes);
    }
}

#[test]
fn a_view_of_another_history_is_refused_until_it_is_reset() {
    let disk = MemoryDisk::simulated(seed());
    let store = open(&disk, &small()).unwrap();
    let view = store.create_view("all", 1).unwrap();
    store.append("Load-1", ExpectedVersion::Any, [NewEvent::new("Put", "a=1")]).unwrap();
    store.close().unwrap();
    let backup = disk.crash_keeping_everything();
    drop(view);
    let store = open(&disk, &small()).unwrap();
    let view = store.view("all").unwrap().unwrap();
    for value in 2..5 {
        let event = NewEvent::new("Put", format!("a={value}"));
        store.append("Load-1", ExpectedVersion::Any, [event]).unwrap();
    }
    let (update, upto) = catch_up(&store, &view, usize::MAX).unwrap();
    view.commit(update, upto).unwrap();
    store.close().unwrap();
    restore_state(&backup, &state_files(&disk));
    let check = |store: &Store| {
        let view = store.view("all").unwrap().unwrap();
        let diverged = |result: Result<()>| {
            let position = Position(4);
            let expected = ViewError::Diverged { name: "all".into(), position };
            assert!(matches!(&result, Err(Error::View(found)) if *found == expected), "{result:?}");
        };
        diverged(view.get("a").map(drop));
        diverged(view.scan().read().map(drop));
        diverged(view.position().map(drop));
        assert!(view.info().unwrap().has_diverged);
        assert!(store.views().unwrap().all(|info| info.unwrap().lag.is_none()));
    };
    check(&open_read_only(&backup, &small()).unwrap());
    // Beyond the end, and then at a position that another event has.
    let store = open(&backup, &small()).unwrap();
    check(&store);
    // In one append, so that its time is another, too: the ids that the store assigns are the same.
    let others = (12..16).map(|value| NewEvent::new("Put", format!("a={value}")));
    store.append("Load-1", ExpectedVersion::Any, others).unwrap();
    check(&store);
    let view = store.view("all").unwrap().unwrap();
    assert!(view.commit(view.update(Position(4)).put("x", "y"), Position(5)).is_err());
    let view = store.reset_view("all", 1).unwrap();
    let (update, upto) = catch_up(&store, &view, usize::MAX).unwrap();
    view.commit(update, upto).unwrap();
    assert_eq!(assert_is_fold(&store), Some(Position(5)));
}

#[test]
fn a_file_that_is_older_than_the_log_gets_no_changes_that_do_not_follow_it() {
    let disk = MemoryDisk::simulated(seed());
    let store = open(&disk, &small()).unwrap();
    let view = store.create_view("all", 1).unwrap();
    store.close().unwrap();
    let mut older = vec![state_files(&disk)];
    let mut random = Random(5);
    let mut store = open(&disk, &small()).unwrap();
    drop(view);
    for round in 0..12 {
        let view = store.view("all").unwrap().unwrap();
        let (mut update, _) = catch_up(&store, &view, usize::MAX).unwrap();
        let event = random_event(&mut random);
        update = apply(update, event.event_type(), event.data());
        let batch = store.batch().append("Load-1", ExpectedVersion::Any, [event]);
        batch.update_view(update).commit().unwrap();
        if round % 3 == 2 {
            store.close().unwrap();
            older.push(state_files(&disk));
            store = open(&disk, &small()).unwrap();
        }
    }
    let mut stood = Vec::new();
    for state in &older {
        for image in [disk.crash_keeping_everything(), disk.crash_keeping_nothing()] {
            restore_state(&image, state);
            stood.push(assert_is_fold(&open_read_only(&image, &small()).unwrap()).unwrap().0);
            let store = open(&image, &small()).unwrap();
            stood.push(assert_is_fold(&store).unwrap().0);
            store.close().unwrap();
            assert_is_fold(&open(&image, &small()).unwrap());
        }
    }
    assert!(stood.iter().any(|position| *position < 12) && stood.contains(&12), "{stood:?}");
}

#[test]
fn random_scans_find_what_a_map_has_through_reopens_and_compactions() {
    for seed in 1..=scaled(2, 10) as u64 {
        let _scene = Scene(move || format!("seed {seed}"));
        let disk = MemoryDisk::simulated(seed);
        let mut random = Random(seed);
        let (mut model, mut position) = (Map::new(), Position::START);
        let mut store = open(&disk, &small()).unwrap();
        let mut view = store.create_view("many", 7).unwrap();
        for round in 0..60 {
            let mut update = view.update(position);
            for _ in 0..random.below(60) {
                let key = format!("{:x}/{}", random.below(16), random.below(40));
                if random.below(3) == 0 {
                    update = update.delete(&key);
                    model.remove(key.as_bytes());
                } else {
                    let value = vec![b'x'; random.below(400)];
                    update = update.put(&key, value.clone());
                    model.insert(key.into_bytes(), value);
                }
            }
            let event = NewEvent::new("Noted", "");
            if random.below(2) == 0 {
                let batch = store.batch().append("A-1", ExpectedVersion::Any, [event]);
                position = batch.update_view(update).commit().unwrap()[0].position;
            } else {
                position = store.append("A-1", ExpectedVersion::Any, [event]).unwrap().position;
                view.commit(update, position).unwrap();
            }
            if round % 13 == 12 {
                store.close().unwrap();
                store = open(&disk, &small()).unwrap();
                view = store.view("many").unwrap().unwrap();
            }
            for _ in 0..4 {
                check_scan(&view, &model, &mut random);
            }
        }
        assert_eq!((view.schema(), view.position().unwrap()), (7, position));
        let replaced = disk
            .files()
            .into_keys()
            .any(|name| name.contains("view-") && !name.ends_with("-1") && !name.contains(".tmp"));
        assert!(replaced, "the file was never compacted");
    }
}

fn check_scan(view: &StoredView, model: &Map, random: &mut Random) {
    let text = |random: &mut Random| format!("{:x}/{}", random.below(16), random.below(40));
    let prefix =
        [String::new(), format!("{:x}", random.below(16)), "none".into()][random.below(3)].clone();
    let (mut scan, mut expected) = (
        view.scan().prefix(&prefix),
        model.iter().filter(|(key, _)| key.starts_with(prefix.as_bytes())).collect::<Vec<_>>(),
    );
    if random.below(2) == 0 {
        let after = text(random);
        scan = scan.after(&after);
        expected.retain(|(key, _)| key.as_slice() > after.as_bytes());
    }
    if random.below(2) == 0 {
        let before = text(random);
        scan = scan.before(&before);
        expected.retain(|(key, _)| key.as_slice() < before.as_bytes());
    }
    if random.below(2) == 0 {
        scan = scan.backwards();
        expected.reverse();
    }
    if random.below(2) == 0 {
        let limit = random.below(9);
        scan = scan.limit(limit);
        expected.truncate(limit);
    }
    let found: Vec<_> = scan.read().unwrap().collect::<Result<_>>().unwrap();
    let found: Vec<_> = found.iter().map(|(key, value)| (key.as_slice(), &**value)).collect();
    let expected: Vec<_> =
        expected.into_iter().map(|(key, value)| (key.as_slice(), value.as_slice())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_read_that_has_begun_sees_one_moment() {
    let disk = MemoryDisk::simulated(seed());
    let store = open(&disk, &small()).unwrap();
    let view = store.create_view("all", 1).unwrap();
    let mut update = view.update(Position::START);
    for n in 0..200 {
        update = update.put(format!("{n:03}"), vec![b'x'; 100]);
    }
    view.commit(update, Position::START).unwrap();
    let mut read = view.scan().read().unwrap();
    assert_eq!(read.next().unwrap().unwrap().0, b"000");
    // Enough to replace the file more than once, then the view itself.
    for round in 0..20 {
        let mut update = view.update(Position::START).delete("100");
        for n in 0..200 {
            update = update.put(format!("{n:03}"), vec![b'y'; 100 + round]);
        }
        view.commit(update.delete("150"), Position::START).unwrap();
    }
    assert!(!disk.files().keys().any(|name| name.contains("view-") && name.ends_with("-1")));
    store.delete_view("all").unwrap();
    let rest: Vec<_> = read.collect::<Result<_>>().unwrap();
    assert_eq!(rest.len(), 199);
    assert!(rest.iter().all(|(_, value)| **value == [b'x'; 100]));
    assert!(matches!(view.get("1"), Err(Error::View(ViewError::NotFound { .. }))));
}

#[test]
fn followers_see_each_commit_of_a_view_whole() {
    for (name, durability) in MODES {
        let _scene = Scene(move || name.into());
        let options = small().durability(durability);
        let disk = MemoryDisk::simulated(seed());
        let mut random = Random(9);
        let store = open(&disk, &options).unwrap();
        let view = store.create_view("all", 1).unwrap();
        let follower = open_read_only(&disk, &options).unwrap();
        let late = open_read_only(&disk, &options).unwrap();
        let mut moves = 0;
        for round in 0..150 {
            let events = [random_event(&mut random)];
            if round % 3 == 0 {
                store.append("Load-1", ExpectedVersion::Any, events).unwrap();
            } else {
                let (mut update, _) = catch_up(&store, &view, usize::MAX).unwrap();
                update = apply(update, events[0].event_type(), events[0].data());
                let batch = store.batch().append("Load-1", ExpectedVersion::Any, events);
                batch.update_view(update).commit().unwrap();
            }
            if round % 5 == 0 {
                let (update, upto) = catch_up(&store, &view, usize::MAX).unwrap();
                view.commit(update, upto).unwrap();
            }
            if round % 17 == 0 {
                store.keep_up().unwrap();
            }
            let before = moves;
            moves = assert_is_fold(&follower).unwrap().0;
            assert!(moves >= before, "{moves} behind {before}");
            if durability != MODES[2].1 {
                assert_eq!(Position(moves), view.position().unwrap(), "round {round}");
            }
        }
        assert!(matches!(follower.create_view("b", 1), Err(Error::ReadOnly)));
        let read = follower.view("all").unwrap().unwrap();
        let refused = read.commit(read.update(read.position().unwrap()), Position(1));
        assert!(matches!(refused, Err(Error::ReadOnly)));
        store.reset_view("all", 2).unwrap();
        assert_eq!(assert_is_fold(&follower), Some(Position::START));
        assert_eq!(assert_is_fold(&late), Some(Position::START));
        store.close().unwrap();
    }
}

#[test]
fn whoever_is_late_is_refused_and_nothing_is_lost() {
    let store = Store::in_memory().unwrap();
    let view = store.create_view("sum", 1).unwrap();
    let add = |store: &Store, view: &StoredView, inline: bool| -> Result<()> {
        let from = view.position()?;
        let mut sum = view.get("sum")?.map_or(0, |value| value.len());
        sum += store.read_all().after(from).into_iter().count();
        let event = NewEvent::new("Added", "");
        if inline {
            let update = view.update(from).put("sum", vec![0; sum + 1]);
            let batch = store.batch().append("Sum-1", ExpectedVersion::Any, [event]);
            let batch = batch.unless(Query::new().after(Position(sum as u64)));
            return batch.update_view(update).commit().map(drop);
        }
        let upto = store.head();
        let sum = usize::try_from(upto.0).unwrap();
        view.commit(view.update(from).put("sum", vec![0; sum]), upto)
    };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (store, view) = (&store, &view);
            scope.spawn(move || {
                for n in 0..30 {
                    loop {
                        match add(store, view, (thread + n) % 2 == 0) {
                            Ok(()) => break,
                            Err(e) if e.is_conflict() => {}
                            Err(Error::View(ViewError::Backwards { .. })) => {}
                            Err(e) => panic!("{e}"),
                        }
                    }
                }
            });
        }
    });
    let upto = view.position().unwrap();
    assert_eq!(view.get("sum").unwrap().unwrap().len() as u64, upto.0);
    assert_eq!(store.head(), Position(60));
    // Twice in one batch, too late, beyond the end, back, a handle of what is gone.
    let event = || [NewEvent::new("Added", "")];
    let batch = || store.batch().append("Sum-1", ExpectedVersion::Any, event());
    let twice = batch().update_view(view.update(upto)).update_view(view.update(upto)).commit();
    assert!(matches!(twice, Err(Error::InvalidOptions { .. })), "{twice:?}");
    let late = batch().update_view(view.update(Position(1))).commit();
    assert!(matches!(late, Err(Error::View(ViewError::Moved { .. }))), "{late:?}");
    assert!(late.unwrap_err().is_conflict());
    let ahead = view.commit(view.update(upto), Position(61));
    assert!(matches!(ahead, Err(Error::View(ViewError::Ahead { .. }))), "{ahead:?}");
    let back = view.commit(view.update(upto), Position(1));
    assert!(matches!(back, Err(Error::View(ViewError::Backwards { .. }))), "{back:?}");
    let inside = store.transact(|_| Ok::<_, Error>(batch().update_view(view.update(upto))));
    assert!(matches!(inside, Err(Error::InvalidOptions { .. })), "{inside:?}");
    assert_eq!(store.head(), Position(60), "nothing was written");
    let next = store.create_view("next", 2).unwrap();
    store.rename_view("next", "sum").unwrap();
    let gone = view.commit(view.update(Position::START), Position(1));
    assert!(matches!(gone, Err(Error::View(ViewError::Replaced { .. }))), "{gone:?}");
    let gone = next.commit(next.update(Position::START), Position(1));
    assert!(matches!(gone, Err(Error::View(ViewError::NotFound { .. }))), "{gone:?}");
    let missing = store.rename_view("next", "sum");
    assert!(matches!(missing, Err(Error::View(ViewError::NotFound { .. }))), "{missing:?}");
    let other = store.create_view("sum", 1);
    assert!(matches!(other, Err(Error::View(ViewError::OtherSchema { found: 2, .. }))));
    let long = vec![0; crate::MAX_VIEW_KEY + 1];
    let view = store.view("sum").unwrap().unwrap();
    let long = view.commit(view.update(Position::START).put(&long, ""), Position::START);
    assert!(matches!(long, Err(Error::LimitExceeded { .. })), "{long:?}");
}

#[test]
fn a_batch_that_was_made_before_changes_no_view() {
    let store = Store::in_memory().unwrap();
    let view = store.create_view("all", 1).unwrap();
    let id: crate::EventId = uuid::Uuid::from_u128(7).into();
    let make = |from: u64| {
        let event = NewEvent::new("Put", "a=1").id(id);
        let batch = store.batch().append("Load-1", ExpectedVersion::NoStream, [event]);
        batch.update_view(view.update(Position(from)).put("a", "1")).commit()
    };
    assert!(!make(0).unwrap()[0].deduplicated);
    assert!(make(0).unwrap()[0].deduplicated, "also where the view has moved on");
    assert_eq!(assert_is_fold(&store), Some(Position(1)));
    let event = NewEvent::new("Put", "a=2").id(uuid::Uuid::from_u128(8));
    store.append("Load-1", ExpectedVersion::Any, [event.clone()]).unwrap();
    let batch = store.batch().append("Load-1", ExpectedVersion::Any, [event]);
    let done = batch.update_view(view.update(Position(1)).put("a", "wrong")).commit().unwrap();
    assert!(done[0].deduplicated);
    assert_eq!(assert_is_fold(&store), Some(Position(1)), "the event came without the view");
}

#[test]
fn an_interrupted_reset_or_rename_leaves_one_view_or_the_other() {
    let build = || {
        let (disk, _) = sample();
        let store = open(&disk, &small()).unwrap();
        let next = store.create_view("next", 2).unwrap();
        next.commit(next.update(Position::START).put("only", "next"), Position(5)).unwrap();
        store.close().unwrap();
        disk
    };
    let change = |disk: &MemoryDisk| -> Result<()> {
        let store = open(disk, &small())?;
        store.rename_view("next", "all")?;
        store.reset_view("all", 3)?;
        store.delete_view("all")?;
        store.close()
    };
    let whole = build();
    let before = whole.calls();
    change(&whole).unwrap();
    assert!(!whole.files().keys().any(|name| name.contains("view-")));
    let mut seen = std::collections::BTreeSet::new();
    for call in before..=whole.calls() {
        let _scene = Scene(move || format!("no power from call {call}"));
        let disk = build();
        disk.crash_at(call);
        let _ = change(&disk);
        for image in [disk.crash_keeping_everything(), disk.crash_keeping_nothing()] {
            let store = open(&image, &small()).unwrap();
            let schema = store.view("all").unwrap().map(|view| {
                entries(&view).unwrap();
                view.schema()
            });
            assert_eq!(store.view("next").unwrap().is_some(), schema == Some(1));
            seen.insert(schema);
            // What is left over goes with the next change of the list.
            store.create_view("last", 1).unwrap();
            let listed = store.views().unwrap().count();
            store.close().unwrap();
            let files = image.files().into_keys().filter(|name| name.contains("view-")).count();
            assert_eq!(files, listed);
        }
    }
    assert_eq!(seen, [None, Some(1), Some(2), Some(3)].into());
}
