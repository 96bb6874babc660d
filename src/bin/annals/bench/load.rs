//! The events of a bench: from numbers, so that another process knows them too.

use annals::{Durability, EventId, ExpectedVersion, NewEvent, Result, Store};
use std::time::Duration;

use crate::args::{Load, Mode};

const CATEGORIES: [&str; 8] =
    ["Order", "Stock", "Agent", "Claim", "Offer", "Route", "Trade", "Visit"];
const TYPES: [&str; 8] =
    ["Created", "Changed", "Shipped", "Charged", "Blocked", "Removed", "Counted", "Checked"];
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// What is appended.
pub(super) struct Events {
    streams: u64,
    load: Load,
    data: Vec<u8>,
}

impl Events {
    pub(super) fn new(streams: u64, load: &Load) -> Self {
        Self { streams, load: load.clone(), data: vec![b'x'; load.size] }
    }

    pub(super) const fn durability(&self) -> Durability {
        match self.load.durability {
            Mode::Sync => Durability::Sync,
            Mode::Interval => Durability::Interval(Duration::from_millis(10)),
            Mode::Os => Durability::Os,
        }
    }

    /// Appends the `n`th of `events`. Streams begin at an even pace; what is not the first event
    /// of one goes to one that is there, by Zipf's law: the `k`th stream gets a `k`th of what the
    /// first one gets.
    pub(super) fn append(&self, store: &Store, n: u64, events: u64) -> Result<()> {
        let begun = |n: u64| {
            let streams = u128::from(n) * u128::from(self.streams) / u128::from(events.max(1));
            u64::try_from(streams).unwrap_or(u64::MAX)
        };
        let before = begun(n);
        let stream = if n == 0 || begun(n + 1) > before { before } else { zipf(n, before + 1) };
        store.append(Self::stream(stream), ExpectedVersion::Any, [self.event(n)])?;
        Ok(())
    }

    pub(super) fn stream(n: u64) -> String {
        format!("{}-{n:09}", Self::category(n))
    }

    /// A stream at random, the `n`th of a fixed order.
    pub(super) fn random_stream(&self, n: u64) -> String {
        Self::stream(mixed(n) % self.streams)
    }

    pub(super) fn category(n: u64) -> &'static str {
        CATEGORIES.get(usize::try_from(n % 8).unwrap_or(0)).copied().unwrap_or("Order")
    }

    pub(super) fn event_type(n: u64) -> &'static str {
        TYPES.get(usize::try_from(n % 8).unwrap_or(0)).copied().unwrap_or("Created")
    }

    pub(super) fn event(&self, n: u64) -> NewEvent {
        let mut event = NewEvent::new(Self::event_type(mixed(n) >> 7), self.data.clone());
        if self.load.tags {
            event = event.tag(format!("customer:{}", mixed(n) % (1 + n / 10)));
        }
        if self.load.ids { event.id(id(n)) } else { event }
    }
}

/// An id of the caller: a UUID of version 4, each once.
pub(super) fn id(n: u64) -> EventId {
    let bits = u128::from(mixed(n)) << 64 | u128::from(mixed(n ^ MIX));
    let builder = uuid::Builder::from_u128(bits).with_version(uuid::Version::Random);
    builder.with_variant(uuid::Variant::RFC4122).into_uuid().into()
}

/// A number below `count`, small ones more often: the inverse of the distribution whose density
/// falls as the number grows.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a sample of a distribution"
)]
fn zipf(n: u64, count: u64) -> u64 {
    let uniform = (mixed(n) >> 11) as f64 / (1_u64 << 53) as f64;
    let rank = (count as f64).powf(uniform) - 1.0;
    (rank as u64).min(count - 1)
}

/// A bijection, so that what is made of different numbers differs.
const fn mixed(n: u64) -> u64 {
    let n = n.wrapping_add(MIX);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn the_first_streams_get_most_and_every_stream_something() {
        let store = Store::in_memory().unwrap();
        let load = Load { size: 1, durability: Mode::Os, ids: true, tags: false };
        let events = Events::new(50, &load);
        for n in 0..1000 {
            events.append(&store, n, 1000).unwrap();
        }
        let mut counts: HashMap<String, u64> = HashMap::new();
        for event in store.read_all() {
            *counts.entry(event.unwrap().stream().into()).or_default() += 1;
        }
        assert_eq!(counts.len(), 50);
        let of = |n| counts.get(&Events::stream(n)).copied().unwrap_or(0);
        assert!(of(0) > 5 * of(20) && of(0) > of(1), "{counts:?}");
    }
}
