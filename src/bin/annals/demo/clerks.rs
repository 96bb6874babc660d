//! The clerks: several threads with commands for the same orders at the same time.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use annals::{Result, Store};

use super::checks::Checks;
use super::projection::{Followed, Projection, follow};
use super::shop::{CLERKS, Command, ITEMS, ORDER_ITEMS, ORDERS, handle, stream};
use crate::failure::Failure;
use crate::output::{Output, grouped, rate};

/// An order is placed, filled, paid and shipped, each exactly once.
const EVENTS: u64 = ORDERS * (ORDER_ITEMS + 3);

/// What a day at the desk gave.
pub(super) struct Desk {
    pub(super) projection: Projection,
    pub(super) conflicts: u64,
    rounds: u64,
    in_order: bool,
    appended: u64,
    elapsed: Duration,
}

/// Lets the clerks work, each in a thread, while a projection follows in another.
pub(super) fn work(path: &Path) -> Result<Desk, Failure> {
    let store = Store::open(path)?;
    let done = AtomicBool::new(false);
    let start = Instant::now();
    let (worked, followed) = thread::scope(|scope| {
        let projection = scope.spawn(|| follow(&store, &done));
        let clerks: Vec<_> = (0..CLERKS).map(|_| scope.spawn(|| clerk(&store))).collect();
        let worked: Vec<_> = clerks.into_iter().map(thread::ScopedJoinHandle::join).collect();
        let elapsed = start.elapsed();
        done.store(true, Ordering::Release);
        ((worked, elapsed), projection.join())
    });
    let panicked = |_| Failure::Demo("a thread panicked".into());
    let Followed { projection, rounds, in_order } = followed.map_err(panicked)??;
    let (worked, elapsed) = worked;
    let (mut appended, mut conflicts) = (0, 0);
    for clerk in worked {
        let (events, retries) = clerk.map_err(panicked)??;
        appended += events;
        conflicts += retries;
    }
    store.close()?;
    Ok(Desk { projection, conflicts, rounds, in_order, appended, elapsed })
}

/// Sees to every order. Returns how many events and how many conflicts that took.
fn clerk(store: &Store) -> Result<(u64, u64)> {
    let (mut events, mut conflicts) = (0, 0);
    for order in 1..=ORDERS {
        let stream = stream(order);
        let items = (1..=ITEMS).map(|item| Command::AddItem { price: 100 * item + order });
        let commands = [Command::Place]
            .into_iter()
            .chain(items)
            .chain([Command::Pay { items: ORDER_ITEMS }, Command::Ship]);
        for command in commands {
            let (appended, retries) = handle(store, &stream, command)?;
            events += u64::from(appended.is_some());
            conflicts += retries;
        }
    }
    Ok((events, conflicts))
}

impl Desk {
    pub(super) fn events_per_second(&self) -> u64 {
        rate(self.appended, self.elapsed)
    }

    pub(super) fn report(&self, output: &mut Output, checks: &mut Checks) -> Result<(), Failure> {
        let followed: u64 = self.projection.types.values().sum();
        output.say(format_args!(
            "{CLERKS} clerks, {ORDERS} orders, every append synced to disk\n  \
                 {} events in {:.2} s: {} events/s; {} conflicts, each decided again\n  \
                 a projection followed live: {} events in {} reads; {} orders shipped, revenue {}",
            grouped(self.appended),
            self.elapsed.as_secs_f64(),
            grouped(self.events_per_second()),
            grouped(self.conflicts),
            grouped(followed),
            grouped(self.rounds),
            grouped(self.projection.count("OrderShipped")),
            grouped(self.projection.revenue)
        ))?;
        checks.add("every command took effect exactly once", self.appended == EVENTS);
        checks.add(
            "the projection saw every event live, once, in order",
            self.in_order && followed == EVENTS,
        );
        Ok(())
    }
}
