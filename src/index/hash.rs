//! Keyed hashes of stream names, event ids and labels. A hash proposes; the log decides.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

use super::live::{Indexed, UNRESOLVED};
use crate::names::{EventId, Label};
use crate::place::LoggedEvent;

/// The hashes of one store: the key is its own and secret, so that nobody can aim at a collision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hasher {
    sip: SipHasher13,
    /// How many bits of a name's hash count; fewer than 64 only in tests of collisions.
    bits: u32,
}

impl Hasher {
    pub(crate) fn new(key: &[u8; 16], bits: u32) -> Self {
        Self { sip: SipHasher13::new_with_key(key), bits: bits.clamp(1, 64) }
    }

    pub(crate) fn stream(&self, name: &str) -> u64 {
        self.sip.hash(name.as_bytes()) & u64::MAX << (64 - self.bits)
    }

    /// An event of the log, as the index takes it in. The segment before is looked up later.
    pub(crate) fn indexed<'a>(&self, event: &LoggedEvent<'a>, labels: &'a [u64]) -> Indexed<'a> {
        Indexed {
            frame: event.frame,
            stream: event.stream,
            stream_hash: self.stream(event.stream),
            version: event.version,
            previous: if event.version > 1 { UNRESOLVED } else { 0 },
            event_type: event.event_type,
            schema_version: event.schema_version,
            created_at: event.created_at,
            id_hash: event.id.map(|id| self.id(id)),
            labels,
        }
    }

    pub(crate) fn id(&self, id: EventId) -> u64 {
        self.sip.hash(id.as_bytes()) & u64::MAX << (64 - self.bits)
    }

    /// The hash of a label: of a byte for its kind, and its text.
    pub(crate) fn label(&self, label: Label<'_>) -> u64 {
        let mut sip = self.sip;
        sip.write_u8(label.kind());
        sip.write(label.text().as_bytes());
        sip.finish() & u64::MAX << (64 - self.bits)
    }

    /// The hashes of an event's labels.
    pub(crate) fn labels(&self, event: &LoggedEvent<'_>) -> Vec<u64> {
        event.labels.iter().map(|label| self.label(*label)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_of_different_kinds_have_different_hashes() {
        let hasher = Hasher::new(&[1; 16], 64);
        let kinds = [Label::Tag("x"), Label::Correlation("x"), Label::Causation("x")];
        let [tag, correlation, causation] = kinds.map(|label| hasher.label(label));
        assert!(tag != correlation && correlation != causation && causation != tag);
        // The byte of the kind, then the text, as the format says.
        assert_eq!(tag, hasher.stream("\u{1}x"));
    }

    #[test]
    fn hashes_depend_on_the_key_and_can_be_shortened() {
        let (a, b) = (Hasher::new(&[1; 16], 64), Hasher::new(&[2; 16], 64));
        assert_ne!(a.stream("Order-1"), b.stream("Order-1"));
        assert_eq!(Hasher::new(&[1; 16], 8).stream("Order-1"), a.stream("Order-1") >> 56 << 56);
    }
}
