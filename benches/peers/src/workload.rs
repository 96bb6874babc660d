//! What every store is given: the same events, from the same numbers.

use crate::Result;

/// Bytes of payload: with the names and the id of an event 280.
pub const PAYLOAD: usize = 238;
const CATEGORIES: [&str; 8] =
    ["Order", "Stock", "Agent", "Claim", "Offer", "Route", "Trade", "Visit"];
const TYPES: [&str; 8] = [
    "ItemCreated",
    "ItemChanged",
    "ItemShipped",
    "ItemInvoice",
    "ItemBlocked",
    "ItemRemoved",
    "ItemCounted",
    "ItemChecked",
];
/// A prime, so that steps of it visit every stream, in no order of theirs.
const STEP: u64 = 7919;
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// An event on its way into a store.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    pub stream: &'a str,
    pub event_type: &'static str,
    pub id: [u8; 16],
    pub payload: &'a [u8],
}

impl<'a> Event<'a> {
    pub fn category(&self) -> &'a str {
        category_of(self.stream)
    }
}

/// What is in front of the hyphen.
pub fn category_of(stream: &str) -> &str {
    stream.split('-').next().unwrap_or(stream)
}

/// The names and texts that events are made of, made before a clock starts.
pub struct Workload {
    streams: Vec<String>,
    text: Vec<u8>,
}

impl Workload {
    pub fn new(streams: u64) -> Self {
        let name = |n: u64| {
            let category = CATEGORIES[usize::try_from(n % 8).unwrap_or(0)];
            format!("{category}-{n:09}")
        };
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut state = MIX;
        let text = (0..1 << 16).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            letters[usize::try_from(state >> 40).unwrap_or(0) % letters.len()]
        });
        Self { streams: (0..streams.max(1)).map(name).collect(), text: text.collect() }
    }

    pub fn streams(&self) -> u64 {
        self.streams.len() as u64
    }

    /// The `n`th event of all. Streams take turns in no order of theirs, so that the events of one
    /// lie far apart, and each gets as many as the others.
    pub fn event(&self, n: u64) -> Event<'_> {
        self.event_of(n.wrapping_mul(STEP), n)
    }

    /// The `n`th event, in a stream of choice.
    pub fn event_of(&self, stream: u64, n: u64) -> Event<'_> {
        let mixed = n.wrapping_mul(MIX);
        let at = usize::try_from(mixed >> 33).unwrap_or(0) % (self.text.len() - PAYLOAD);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&mixed.to_le_bytes());
        id[8..].copy_from_slice(&n.to_le_bytes());
        id[6] = 0x40 | (id[6] & 0x0f);
        id[8] = 0x80 | (id[8] & 0x3f);
        Event {
            stream: self.stream(stream),
            event_type: TYPES[usize::try_from(mixed >> 61).unwrap_or(0)],
            id,
            payload: &self.text[at..at + PAYLOAD],
        }
    }

    pub fn stream(&self, n: u64) -> &str {
        &self.streams[usize::try_from(n % self.streams()).unwrap_or(0)]
    }

    /// A stream at random, the `n`th of a fixed order.
    pub fn random_stream(&self, n: u64) -> &str {
        self.stream(n.wrapping_add(1).wrapping_mul(0xd134_2543_de82_ef95) >> 17)
    }

    pub fn category(n: u64) -> &'static str {
        CATEGORIES[usize::try_from(n % 8).unwrap_or(0)]
    }

    pub fn event_type(n: u64) -> &'static str {
        TYPES[usize::try_from(n % 8).unwrap_or(0)]
    }
}

/// What a read has seen. A store hands each event to it once, decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub events: u64,
    pub bytes: u64,
    /// Of the contents, whatever their order; only where a check asks for it.
    pub sum: u64,
    is_deep: bool,
}

impl Tally {
    /// One that compares contents too.
    pub fn deep() -> Self {
        Self { is_deep: true, ..Self::default() }
    }

    #[inline]
    pub fn see(&mut self, stream: &str, event_type: &str, payload: &[u8]) {
        self.events += 1;
        self.bytes += (stream.len() + event_type.len() + payload.len()) as u64;
        if self.is_deep {
            let mut crc = crc32fast::Hasher::new();
            crc.update(stream.as_bytes());
            crc.update(event_type.as_bytes());
            crc.update(payload);
            self.sum = self.sum.wrapping_add(u64::from(crc.finalize()));
        }
    }

    /// For stores that hand out bytes where texts were put in.
    #[inline]
    pub fn see_bytes(&mut self, stream: &[u8], event_type: &[u8], payload: &[u8]) -> Result<()> {
        self.see(std::str::from_utf8(stream)?, std::str::from_utf8(event_type)?, payload);
        Ok(())
    }
}
