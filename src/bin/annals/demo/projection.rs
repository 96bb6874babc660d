//! A read model of the desk: folded live while the clerks work, and again from the beginning.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use annals::{Event, Position, Result, Store};

use super::shop::number;

/// Numbers over all orders.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Projection {
    /// How many events of each type there are.
    pub(super) types: BTreeMap<String, u64>,
    pub(super) revenue: u64,
}

impl Projection {
    /// Takes one event in; those of other categories than `Order` are passed over.
    pub(super) fn apply(&mut self, event: &Event) -> Result<()> {
        if event.category() != "Order" {
            return Ok(());
        }
        match self.types.get_mut(event.event_type()) {
            Some(count) => *count += 1,
            None => {
                self.types.insert(event.event_type().into(), 1);
            }
        }
        if event.event_type() == "OrderPaid" {
            self.revenue += number(event, "amount")?;
        }
        Ok(())
    }

    pub(super) fn count(&self, event_type: &str) -> u64 {
        self.types.get(event_type).copied().unwrap_or_default()
    }
}

/// What following the store live gave.
pub(super) struct Followed {
    pub(super) projection: Projection,
    /// How many reads of news it took.
    pub(super) rounds: u64,
    /// Whether every position came, once, in order.
    pub(super) in_order: bool,
}

/// Follows the store until the work is done and everything is seen.
pub(super) fn follow(store: &Store, done: &AtomicBool) -> Result<Followed> {
    let mut followed = Followed { projection: Projection::default(), rounds: 0, in_order: true };
    let mut seen = Position::START;
    loop {
        // In this order: what was appended before the work was done is then below the head.
        let last_round = done.load(Ordering::Acquire);
        if store.head() > seen {
            followed.rounds += 1;
            for event in store.read_all().after(seen) {
                let event = event?;
                followed.in_order &= Some(event.position()) == seen.next();
                followed.projection.apply(&event)?;
                seen = event.position();
            }
        } else if last_round {
            return Ok(followed);
        } else {
            thread::sleep(Duration::from_micros(200));
        }
    }
}
