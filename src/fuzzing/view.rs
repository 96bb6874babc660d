//! A store of which a view's file is not what was written: the view is refused or the fold of the
//! log up to where it stands, everything else is as it was, and a reset mends it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::damage::edit;
use super::input::Input;
use crate::error::{Error, Result};
use crate::format::state::mend::mend;
use crate::format::view::{
    ListedView, ParkedValue, SnapshotHead, ViewPlace, listed_key, listed_name, of_entry, of_frame,
    of_parked, of_snapshot, parked_key, snapshot_key,
};
use crate::new_event::NewEvent;
use crate::position::{ExpectedVersion, Position, Timestamp};
use crate::storage::Dir;
use crate::storage::memory::MemoryDisk;
use crate::store::{Store, StoreOptions};
use crate::sync::Arc;
use crate::view::{StoredView, ViewUpdate};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// The files of a store that was closed, the name of the view's, and what the events say.
#[derive(Debug)]
struct Base {
    files: BTreeMap<String, Vec<u8>>,
    name: String,
    events: Vec<Vec<u8>>,
}

/// Any bytes as what a view's file holds, and any changes to such a file.
pub(super) fn view(bytes: &[u8]) {
    look_at_values(bytes);
    damaged(Input::new(bytes));
}

/// What is read comes back as it was.
fn look_at_values(bytes: &[u8]) {
    if let Ok(listed) = ListedView::decode(bytes) {
        assert_eq!(listed.encode(), bytes);
    }
    if let Ok(place) = ViewPlace::decode(bytes) {
        assert_eq!(place.encode(), bytes);
    }
    if let Ok(parked) = ParkedValue::decode(bytes) {
        assert_eq!(parked.encode(), bytes);
    }
    if let Ok((head, state)) = SnapshotHead::decode(bytes) {
        assert_eq!(head.encode(state), bytes);
    }
    if let Some(name) = listed_name(bytes) {
        assert_eq!(listed_key(name), bytes);
    }
    if let Some(position) = of_parked(bytes) {
        assert_eq!(parked_key(position), bytes);
    }
    if let Some((stream, kind, version)) = of_snapshot(bytes) {
        assert_eq!(snapshot_key(stream, kind, version), bytes);
    }
    let _ = (of_frame(bytes), of_entry(bytes));
}

fn options() -> StoreOptions {
    Store::options().segment_bytes(64 << 10).upkeep_thread(false)
}

fn open(disk: &MemoryDisk) -> Result<Store> {
    options().open_in(Dir::new(Arc::new(disk.clone())))
}

/// An event `key=value` puts an entry, and one without a value deletes it.
fn apply(update: ViewUpdate, data: &[u8]) -> ViewUpdate {
    let text = String::from_utf8_lossy(data);
    match text.split_once('=') {
        Some((key, value)) => update.put(key, value),
        None => update.delete(text.as_bytes()),
    }
}

fn fold(events: &[Vec<u8>], upto: Position) -> Map {
    let mut map = Map::new();
    let upto = usize::try_from(upto.0).unwrap_or(usize::MAX);
    for data in events.iter().take(upto) {
        let text = String::from_utf8_lossy(data);
        match text.split_once('=') {
            Some((key, value)) => drop(map.insert(key.into(), value.into())),
            None => drop(map.remove(text.as_bytes())),
        }
    }
    map
}

fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let disk = MemoryDisk::simulated(1);
        let store = open(&disk).unwrap();
        let view = store.create_view("all", 1).unwrap();
        let mut events = Vec::new();
        for round in 0..12_u64 {
            let from = view.position().unwrap();
            let key = format!("key-{}", round % 5);
            let data = if round % 4 == 3 { key } else { format!("{key}={}", "v".repeat(40)) };
            let update = apply(view.update(from), data.as_bytes());
            let event = NewEvent::new("Changed", data.clone());
            events.push(data.into_bytes());
            if round % 3 == 0 {
                let batch = store.batch().append("Load-1", ExpectedVersion::Any, [event]);
                batch.update_view(update).commit().unwrap();
            } else {
                let done = store.append("Load-1", ExpectedVersion::Any, [event]).unwrap();
                let id = store.event(done.position).unwrap().unwrap().id();
                let park = |u: ViewUpdate| u.park(done.position, id, 3, Timestamp::default(), "no");
                let update = if round == 7 { park(update) } else { update };
                view.commit(update, done.position).unwrap();
            }
        }
        store.save_cursor("billing", Position(2)).unwrap();
        store.close().unwrap();
        let files = disk.files();
        let name = files.keys().find(|name| name.contains("view-")).unwrap().clone();
        Base { files, name, events }
    })
}

/// Damages the file as the input says, opens the store, reads, and resets the view.
fn damaged(mut input: Input<'_>) {
    let base = base();
    let is_mended = input.u8() & 1 == 1;
    let mut files = base.files.clone();
    let Some(bytes) = files.get_mut(&base.name) else { return };
    for _ in 0..8 {
        if input.is_empty() {
            break;
        }
        edit(bytes, &mut input);
    }
    if is_mended {
        mend(bytes);
    }
    let disk = MemoryDisk::simulated(2);
    for (name, bytes) in &files {
        disk.put(name, bytes);
    }
    let reader = options().open_read_only_in(&Dir::new(Arc::new(disk.clone()))).unwrap();
    check(&reader, base, is_mended);
    assert!(disk.files() == files, "reading changed a file");
    let store = open(&disk).unwrap();
    check(&store, base, is_mended);
    drop(reader);
    let view = store.reset_view("all", 1).unwrap();
    let update = base.events.iter().fold(view.update(Position::START), |u, data| apply(u, data));
    view.commit(update, store.head()).unwrap();
    store.close().unwrap();
    let again = open(&disk).unwrap();
    let view = again.view("all").unwrap().unwrap();
    assert_eq!(entries(&view).unwrap(), fold(&base.events, again.head()));
}

fn entries(view: &StoredView) -> Result<Map> {
    view.scan().read()?.map(|entry| entry.map(|(key, value)| (key, value.to_vec()))).collect()
}

/// The log and the cursors are as they were. The view says what the log says, or why not; whoever
/// computes checksums can write anything, but has to be read all the same.
fn check(store: &Store, base: &Base, is_mended: bool) {
    let events: Vec<_> = store.read_all().into_iter().map(|e| e.unwrap().data().to_vec()).collect();
    assert_eq!(events, base.events);
    assert_eq!(store.cursor("billing").unwrap().unwrap().position, Position(2));
    let view = store.view("all").unwrap().unwrap();
    let refused = |e: &Error| {
        let is_typed = e.is_corruption() || matches!(e, Error::UnsupportedFormat { .. });
        assert!(is_typed || (is_mended && matches!(e, Error::View(_))), "{e:?}");
    };
    let position = view.position();
    let expected = position.as_ref().ok().map(|position| fold(&base.events, *position));
    match (entries(&view), &expected) {
        (Ok(found), Some(expected)) if !is_mended => assert_eq!(found, *expected),
        (Ok(_), None) if !is_mended => panic!("entries of a view that stands nowhere"),
        (found, _) => drop(found.map_err(|e| refused(&e))),
    }
    for key in (0..6).map(|n| format!("key-{n}")) {
        match (view.get(&key), &expected) {
            (Ok(found), Some(expected)) if !is_mended => {
                assert_eq!(found.as_deref(), expected.get(key.as_bytes()).map(Vec::as_slice));
            }
            (found, _) => drop(found.map_err(|e| refused(&e))),
        }
    }
    let _ = position.map_err(|e| refused(&e));
    drop(view.info().map_err(|e| refused(&e)));
    drop(view.parked().map_err(|e| refused(&e)));
    for listed in store.views().unwrap() {
        drop(listed.map_err(|e| refused(&e)));
    }
}
