//! Before anything is measured: each store gives back what it was given.

use std::path::Path;

use crate::Result;
use crate::store::{Mode, NOT_OFFERED, Peer, Setup, Store, Work};
use crate::workload::{Event, Tally, Workload};

const STREAMS: u64 = 40;
const SINGLES: u64 = 120;

/// Writes in every way, closes, opens again, and compares what every kind of read gives.
pub fn check(peer: &Peer, dir: &Path) -> Result<()> {
    let modes =
        [(Mode::Sync, Work::Durable1), (Mode::Os, Work::Os), (Mode::Interval, Work::Interval)];
    for (mode, work) in modes {
        if peer.can(work) {
            let dir = dir.join(work.key());
            written_and_read(peer, &dir, mode)
                .map_err(|error| format!("{}, {}: {error}", peer.name, work.key()))?;
        }
    }
    if peer.can(Work::Conditional) {
        condition(peer, &dir.join("conditional"))
            .map_err(|error| format!("{}, conditions: {error}", peer.name))?;
    }
    if peer.can(Work::Follow) {
        followed(peer, &dir.join("follow"))
            .map_err(|error| format!("{}, following: {error}", peer.name))?;
    }
    Ok(())
}

fn see(tally: &mut Tally, event: &Event<'_>) {
    tally.see(event.stream, event.event_type, event.payload);
}

fn written_and_read(peer: &Peer, dir: &Path, mode: Mode) -> Result<()> {
    let workload = Workload::new(STREAMS);
    let mut given: Vec<Event<'_>> = Vec::new();
    let store = (peer.open)(dir, Setup { mode, events: 1000 })?;
    for n in 0..SINGLES {
        given.push(workload.event(n));
        store.append(&given[given.len() - 1..])?;
    }
    let of_one_stream: Vec<_> = (500..600).map(|n| workload.event_of(3, n)).collect();
    let of_many: Vec<_> = (600..700).map(|n| workload.event(n)).collect();
    for batch in [of_one_stream, of_many] {
        store.append(&batch)?;
        given.extend(batch);
    }
    if mode == Mode::Sync && peer.can(Work::Pipeline) {
        let mut events = (700..900).map(|n| workload.event(n));
        let done = store.pipeline(&mut events, 64)?;
        if done != 200 {
            return Err(format!("{done} of 200 appends in flight were acknowledged").into());
        }
        given.extend((700..900).map(|n| workload.event(n)));
    }
    store.close()?;
    let store = (peer.open)(dir, Setup { mode, events: 1000 })?;
    let is_read = compare(peer, &*store, &workload, &given)?;
    store.close()?;
    if is_read { Ok(()) } else { Err("nothing of it can be read back".into()) }
}

/// Compares by every kind of read that there is; says whether there was one.
fn compare(
    peer: &Peer,
    store: &dyn Store,
    workload: &Workload,
    given: &[Event<'_>],
) -> Result<bool> {
    let mut all = Tally::deep();
    given.iter().for_each(|event| see(&mut all, event));
    let mut is_read = false;
    let mut expect = |what: &str, expected: Tally, found: Tally| {
        is_read = true;
        if expected == found {
            return Ok(());
        }
        Err(format!("{what}: {found:?} instead of {expected:?}"))
    };
    // Also where a scan is not measured.
    let mut found = Tally::deep();
    match store.scan(&mut found) {
        Ok(()) => expect("scan", all, found)?,
        Err(error) if error.to_string() == NOT_OFFERED => {}
        Err(error) => return Err(error),
    }
    let of = |keep: &dyn Fn(&Event<'_>) -> bool| {
        let mut tally = Tally::deep();
        given.iter().filter(|event| keep(event)).for_each(|event| see(&mut tally, event));
        tally
    };
    if peer.can(Work::Streams) {
        for n in 0..workload.streams() {
            let (name, mut found) = (workload.stream(n), Tally::deep());
            store.read_stream(name, &mut found)?;
            expect(name, of(&|event| event.stream == name), found)?;
        }
    }
    for n in 0..8 {
        if peer.can(Work::Category) {
            let (name, mut found) = (Workload::category(n), Tally::deep());
            store.read_category(name, &mut found)?;
            expect(name, of(&|event| event.category() == name), found)?;
        }
        if peer.can(Work::Type) {
            let (name, mut found) = (Workload::event_type(n), Tally::deep());
            store.read_type(name, &mut found)?;
            expect(name, of(&|event| event.event_type == name), found)?;
        }
    }
    Ok(is_read)
}

fn condition(peer: &Peer, dir: &Path) -> Result<()> {
    let workload = Workload::new(STREAMS);
    let store = (peer.open)(dir, Setup { mode: Mode::Sync, events: 1000 })?;
    for n in 0..20 {
        store.append_if_unseen(workload.event(n), &format!("customer:{n}"))?;
    }
    let again = store.append_if_unseen(workload.event(20), "customer:7");
    store.close()?;
    if again.is_ok() {
        Err("a tag that was there did not keep an event out".into())
    } else {
        Ok(())
    }
}

fn followed(peer: &Peer, dir: &Path) -> Result<()> {
    let workload = Workload::new(STREAMS);
    let store = (peer.open)(dir, Setup { mode: Mode::Sync, events: 1000 })?;
    store.append(&[workload.event(0)])?;
    let (mut following, mut seen) = (store.follow()?, Vec::new());
    for n in 1..=10 {
        store.append(&[workload.event(n)])?;
    }
    while seen.len() < 10 {
        following.wait(&mut seen)?;
    }
    drop(following);
    store.close()?;
    if seen.len() == 10 {
        Ok(())
    } else {
        Err(format!("{} events came, not 10", seen.len()).into())
    }
}
