//! The power goes at each call of the disk while a consumer group works: nothing is lost.
#![cfg(feature = "testkit")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use annals::kit::{ConsumerGroup, ParkedPolicy};
use annals::testkit::SimulatedDisk;
use annals::{Durability, ExpectedVersion, NewEvent, Position, Result, Store, StoreOptions};

const EVENTS: u64 = 9;

/// What was acknowledged, by key and in order, and what a call said is parked or not any more.
#[derive(Clone, Default)]
struct Seen {
    appended: u64,
    acked: BTreeMap<String, Vec<u64>>,
    parked: BTreeSet<u64>,
    discarded: BTreeSet<u64>,
    /// The last calls failed, so what they were to do may be done or not.
    unsure: BTreeSet<u64>,
}

fn options(durability: Durability) -> StoreOptions {
    Store::options().segment_bytes(64 << 10).durability(durability)
}

fn start(store: &Store, policy: ParkedPolicy) -> Result<ConsumerGroup> {
    ConsumerGroup::builder(store, "work")
        .category("C")
        .when_parked(policy)
        .retry_delay(Duration::ZERO)
        .max_attempts(2)
        .save_every(2)
        .start()
}

/// Events 1 and 5 fail until they are replayed, event 6 is parked at once and given up.
fn work(store: &Store, policy: ParkedPolicy, seen: &mut Seen) -> Result<()> {
    for n in 1..=EVENTS {
        let event = NewEvent::new("Counted", n.to_string());
        store.append(format!("C-{}", n % 3), ExpectedVersion::Any, [event])?;
        seen.appended = n;
    }
    let group = start(store, policy)?;
    run(&group, seen, true)?;
    for position in [1, 6, 5] {
        seen.unsure.insert(position);
        if position == 6 {
            if group.discard(Position(6), "given up")? {
                seen.discarded.insert(6);
            }
        } else {
            group.replay(Position(position))?;
        }
        run(&group, seen, false)?;
        seen.unsure.remove(&position);
    }
    group.close()
}

fn run(group: &ConsumerGroup, seen: &mut Seen, fails: bool) -> Result<()> {
    let mut consumer = group.consumer();
    while let Some(delivery) = consumer.try_next()? {
        let position = delivery.event().position().0;
        match position {
            1 | 5 if fails => drop(delivery),
            6 if fails => {
                delivery.park("no use")?;
                seen.parked.insert(6);
            }
            _ => {
                let key = delivery.event().stream().to_owned();
                seen.unsure.insert(position);
                delivery.ack()?;
                seen.unsure.remove(&position);
                seen.parked.remove(&position);
                seen.acked.entry(key).or_default().push(position);
            }
        }
    }
    Ok(())
}

/// Opens what is left and works on until nothing is left to do.
fn check(left: &SimulatedDisk, durability: Durability, policy: ParkedPolicy, before: &Seen) {
    let store = left.open(options(durability)).unwrap();
    let there: BTreeSet<u64> =
        store.read_all().category("C").into_iter().map(|e| e.unwrap().position().0).collect();
    if matches!(durability, Durability::Sync) {
        assert!(there.len() as u64 >= before.appended);
    }
    let group = start(&store, policy).unwrap();
    let listed: BTreeSet<u64> = group.parked().iter().map(|parked| parked.position.0).collect();
    for position in before.parked.difference(&before.discarded) {
        if !before.unsure.contains(position) {
            assert!(listed.contains(position), "{position} is parked: {listed:?}");
        }
    }
    assert!(listed.is_disjoint(&before.discarded), "discarded and parked");
    let mut after = Seen::default();
    run(&group, &mut after, false).unwrap();
    for parked in group.parked() {
        group.replay(parked.position).unwrap();
    }
    run(&group, &mut after, false).unwrap();
    assert!(group.parked().is_empty());
    let mut done: BTreeSet<u64> = before.discarded.clone();
    done.extend(before.acked.values().chain(after.acked.values()).flatten());
    let lost: Vec<&u64> =
        there.difference(&done).filter(|position| !before.unsure.contains(position)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let again: BTreeSet<u64> = after.acked.values().flatten().copied().collect();
    assert!(again.is_disjoint(&before.discarded), "discarded and handed out again");
    if policy == ParkedPolicy::BlocksKey {
        // Of what was not acknowledged before, each key comes in order.
        for (key, positions) in &after.acked {
            let earlier = before.acked.get(key);
            let new = positions.iter().filter(|p| earlier.is_none_or(|e| !e.contains(p)));
            assert!(new.is_sorted(), "{key}: {positions:?} after {earlier:?}");
        }
    }
    group.close().unwrap();
    let cursor = store.cursor("work").unwrap();
    // Of an empty log there is nothing to save.
    assert_eq!(cursor.map_or(Some(store.head().0), |cursor| cursor.lag), Some(0));
}

#[test]
fn nothing_is_lost_wherever_the_power_goes() {
    let mut images = 0;
    for policy in [ParkedPolicy::BlocksKey, ParkedPolicy::BlocksNothing] {
        for durability in [Durability::Sync, Durability::Os] {
            for call in 0.. {
                let disk = SimulatedDisk::new(call);
                disk.cut_power_at(call);
                let mut seen = Seen::default();
                let done = disk
                    .open(options(durability))
                    .and_then(|store| work(&store, policy, &mut seen));
                for left in disk.power_cuts(3).chain([disk.after_kill()]) {
                    check(&left, durability, policy, &seen);
                    images += 1;
                }
                if done.is_ok() && disk.calls() <= call {
                    assert_eq!(seen.discarded.len(), 1);
                    assert_eq!(seen.acked.values().map(Vec::len).sum::<usize>(), 8);
                    break;
                }
            }
        }
    }
    assert!(images > 500, "{images} images");
    println!("{images} images");
}
