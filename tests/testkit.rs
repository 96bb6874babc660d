//! How an application tests a handler and a projection of its own against crashes.
#![cfg(feature = "testkit")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use annals::testkit::{Fault, SimulatedDisk};
use annals::{Error, Event, EventId, ExpectedVersion, NewEvent, Result, Store, StoreOptions};

const ORDERS: u64 = 3;

fn options() -> StoreOptions {
    Store::options().segment_bytes(64 << 10)
}

fn place_orders(store: &Store) -> Result<()> {
    for n in 1..=ORDERS {
        let placed = NewEvent::new("OrderPlaced", n.to_string());
        match store.append(format!("Order-{n}"), ExpectedVersion::NoStream, [placed]) {
            Err(e) if !e.is_conflict() => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// A handler: ships each order. It may be run again at any time; that an order is shipped once is
/// left to the id, which follows from what is handled.
fn ship(store: &Store) -> Result<()> {
    for event in store.read_all() {
        let event = event?;
        if event.event_type() == "OrderPlaced" {
            let mut id = *event.id().as_bytes();
            id[0] ^= 0xFF;
            let shipped = NewEvent::new("Shipped", event.data()).id(EventId::from_bytes(id));
            store.append(
                format!("Parcel-{}", event.position()),
                ExpectedVersion::Any,
                [shipped],
            )?;
        }
    }
    Ok(())
}

/// The same with a mistake: nothing keeps it from shipping what it has shipped.
fn ship_carelessly(store: &Store) -> Result<()> {
    for event in store.read_all() {
        let event = event?;
        if event.event_type() == "OrderPlaced" {
            let shipped = NewEvent::new("Shipped", event.data());
            store.append(
                format!("Parcel-{}", event.position()),
                ExpectedVersion::Any,
                [shipped],
            )?;
        }
    }
    Ok(())
}

/// A projection: how often each order was shipped. With the snapshot, which is an event as well,
/// it reads only what is newer.
fn project(store: &Store) -> Result<BTreeMap<String, u64>> {
    let newest = store.read_stream("Snapshot-shipped").backwards().limit(1).into_iter().next();
    let newest: Option<Event> = newest.transpose()?;
    let (mut counts, after): (BTreeMap<String, u64>, u64) = match &newest {
        Some(snapshot) => serde_json::from_slice(snapshot.data()).unwrap(),
        None => Default::default(),
    };
    let mut upto = after;
    for event in store.read_all().after(annals::Position(after)) {
        let event = event?;
        upto = event.position().0;
        if event.event_type() == "Shipped" {
            *counts.entry(String::from_utf8(event.data().to_vec()).unwrap()).or_default() += 1;
        }
    }
    let snapshot = NewEvent::new("Snapshot", serde_json::to_vec(&(&counts, upto)).unwrap());
    store.append("Snapshot-shipped", ExpectedVersion::Any, [snapshot])?;
    Ok(counts)
}

fn work(disk: &SimulatedDisk, ship: fn(&Store) -> Result<()>) -> Result<BTreeMap<String, u64>> {
    let store = disk.open(options())?;
    place_orders(&store)?;
    ship(&store)?;
    project(&store)
}

/// Runs the work with the power going before each call, and again on what that leaves. Returns how
/// many runs ended with another result than one shipment for each order, of how many.
fn wrong_results(ship: fn(&Store) -> Result<()>) -> (usize, usize) {
    let expected: BTreeMap<String, u64> = (1..=ORDERS).map(|n| (n.to_string(), 1)).collect();
    let (mut wrong, mut runs) = (0, 0);
    for call in 0.. {
        let disk = SimulatedDisk::new(7);
        disk.cut_power_at(call);
        let done = work(&disk, ship);
        for left in disk.power_cuts(4).chain([disk.after_kill()]) {
            runs += 1;
            wrong += usize::from(work(&left, ship).unwrap() != expected);
        }
        if done.is_ok() && disk.calls() <= call {
            return (wrong, runs);
        }
    }
    unreachable!()
}

#[test]
fn a_handler_with_derived_ids_ships_each_order_once_whatever_the_crash() {
    let (wrong, runs) = wrong_results(ship);
    assert!(runs > 300, "{runs} runs");
    assert_eq!(wrong, 0, "of {runs}");
}

#[test]
fn a_careless_handler_is_found_out() {
    let (wrong, runs) = wrong_results(ship_carelessly);
    assert!(wrong > 0, "of {runs}");
}

#[test]
fn a_failing_sync_is_told_and_a_reopen_goes_on() {
    let disk = SimulatedDisk::new(1);
    let store = disk.open(options()).unwrap();
    let event = || NewEvent::new("Counted", "1");
    store.append("A-1", ExpectedVersion::Any, [event()]).unwrap();
    // An append is a write, and then a sync.
    disk.fail_at(disk.calls() + 1, Fault::DiskError);
    let told = store.append("A-1", ExpectedVersion::Any, [event()]).unwrap_err();
    assert!(matches!(told, Error::Unknown { .. }), "{told:?}");
    let told = store.append("A-1", ExpectedVersion::Any, [event()]).unwrap_err();
    assert!(matches!(told, Error::Poisoned { .. }), "{told:?}");
    drop(store);
    let store = disk.open(options()).unwrap();
    assert_eq!(store.head().0, 1, "what the sync lost is not there");
    store.append("A-1", ExpectedVersion::Exact(annals::Version(1)), [event()]).unwrap();
    store.close().unwrap();
    let reader = disk.open_read_only(options()).unwrap();
    assert_eq!(reader.head().0, 2);
}

#[test]
fn a_full_disk_refuses_until_there_is_space() {
    let disk = SimulatedDisk::new(1);
    let store = disk.open(options()).unwrap();
    disk.fail_from(disk.calls(), Fault::DiskFull);
    assert!(store.append("A-1", ExpectedVersion::Any, [NewEvent::new("Counted", "1")]).is_err());
    let _ = store.close();
    disk.heal();
    disk.set_time(annals::Timestamp::from_micros(5));
    let store = disk.open(options()).unwrap();
    store.append("A-1", ExpectedVersion::Any, [NewEvent::new("Counted", "1")]).unwrap();
}
