//! Sorted runs of event ids and labels: from the hash of one to the places of its events.
//!
//! An entry is the hash without the bits that its bucket implies, and the event's number in the
//! run, packed together: about 6.5 bytes. A hash only proposes a place; the event there decides.

use super::MAX_POSITION;
use super::codec::{Cursor, Put, u32_at};
use super::packed::{MAX_WIDTH, packed_at, packed_bytes, put_packed, width_of};
use crate::names::MAX_TAGS;

/// The bits of an id's hash that a run keeps: a run of a billion ids proposes a wrong place for
/// one absent id in 70,000.
pub(crate) const HASH_BITS: u32 = 46;
/// The most events of a run: more than any store holds, and few enough for a layout.
const MAX_EVENTS: u64 = 1 << 48;
/// The most entries that one event can have: its id, its tags, a correlation and a causation id.
const MOST_OF_AN_EVENT: u64 = 1 + MAX_TAGS as u64 + 2;
/// Entries that share a bucket, on average.
const PER_BUCKET: u64 = 16;

/// How a run is laid out: buckets (`u32` each, one more than there are), then packed entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdLayout {
    pub(crate) ids: u64,
    /// How many bits of the hash choose the bucket.
    bucket_bits: u32,
    /// How many bits an event's number takes.
    event_bits: u32,
}

impl IdLayout {
    /// The layout of a run of `ids` ids over `events` events.
    pub(crate) fn new(ids: u64, events: u64) -> Self {
        let event_bits = width_of(events).max(1);
        // Buckets must take enough bits for the rest of the hash to fit beside the event.
        let least = (HASH_BITS + event_bits).saturating_sub(MAX_WIDTH);
        let bucket_bits = width_of(ids / PER_BUCKET).clamp(least, HASH_BITS);
        Self { ids, bucket_bits, event_bits }
    }

    const fn rest_bits(self) -> u32 {
        HASH_BITS - self.bucket_bits
    }

    const fn width(self) -> u32 {
        self.rest_bits() + self.event_bits
    }

    const fn bucket_bytes(self) -> usize {
        ((1 << self.bucket_bits) + 1) * 4
    }

    /// The bytes of the whole run.
    pub(crate) fn bytes(self) -> Option<u64> {
        let ids = usize::try_from(self.ids).ok()?;
        Some((self.bucket_bytes() + packed_bytes(self.width(), ids)) as u64)
    }

    /// The bytes of the buckets of a hash's bucket: its start and its end.
    pub(crate) fn bucket_range(self, hash: u64) -> std::ops::Range<usize> {
        let at = self.bucket(hash) * 4;
        at..at + 8
    }

    fn bucket(self, hash: u64) -> usize {
        usize::try_from(kept(hash) >> self.rest_bits()).unwrap_or(usize::MAX)
    }

    /// The entries of a bucket, from the bytes of [`IdLayout::bucket_range`].
    pub(crate) fn bucket_entries(self, bucket: &[u8]) -> Option<std::ops::Range<usize>> {
        let (start, end) = (u32_at(bucket, 0)?, u32_at(bucket, 4)?);
        (start <= end && u64::from(end) <= self.ids).then_some(start as usize..end as usize)
    }

    /// The bytes that hold some entries (and a few before the first).
    pub(crate) fn entries_range(self, entries: &std::ops::Range<usize>) -> std::ops::Range<usize> {
        let bit = |index: usize| index * self.width() as usize;
        let packed = self.bucket_bytes();
        packed + bit(entries.start) / 8..packed + bit(entries.end).div_ceil(8) + 8
    }

    /// The numbers of the events that may have an id, from the bytes of its bucket's entries.
    pub(crate) fn matches(
        self,
        bytes: &[u8],
        entries: &std::ops::Range<usize>,
        hash: u64,
    ) -> impl Iterator<Item = u64> {
        let wanted = self.rest(hash);
        self.decode(bytes, entries).filter(move |(rest, _)| *rest == wanted).map(|(_, event)| event)
    }

    /// Whether an entry, from the bytes of its range, comes before those of a hash from an event
    /// on.
    pub(crate) fn is_before(
        self,
        bytes: &[u8],
        entry: usize,
        hash: u64,
        event: u64,
    ) -> Option<bool> {
        let found = self.decode(bytes, &(entry..entry + 1)).next()?;
        Some(found < (self.rest(hash), event))
    }

    /// What of a hash the entries of its bucket keep.
    const fn rest(self, hash: u64) -> u64 {
        kept(hash) & ((1 << self.rest_bits()) - 1)
    }

    /// Hash remainders and events of entries, from the bytes of [`IdLayout::entries_range`].
    fn decode(
        self,
        bytes: &[u8],
        entries: &std::ops::Range<usize>,
    ) -> impl Iterator<Item = (u64, u64)> {
        // `bytes` begin with the byte that holds the first entry's first bit.
        let width = self.width();
        let skipped = entries.start * width as usize % 8;
        let event_bits = self.event_bits;
        (0..entries.len()).map_while(move |index| {
            let bit = skipped + index * width as usize;
            let word = Cursor::at(bytes, bit / 8).u64()?;
            let number = word >> (bit % 8) & ((1 << width) - 1);
            Some((number >> event_bits, number & ((1 << event_bits) - 1)))
        })
    }

    /// All entries of a whole run, as (kept hash, event), in order of the hash.
    pub(crate) fn all(self, run: &[u8]) -> impl Iterator<Item = (u64, u64)> {
        let packed = run.get(self.bucket_bytes()..).unwrap_or_default();
        let mut bucket = 0_usize;
        (0..usize::try_from(self.ids).unwrap_or(0)).map_while(move |index| {
            while u32_at(run, (bucket + 1) * 4)? as usize <= index {
                bucket += 1;
            }
            let number = packed_at(packed, self.width(), index)?;
            let rest = number >> self.event_bits;
            let hash = (bucket as u64) << self.rest_bits() | rest;
            Some((hash, number & ((1 << self.event_bits) - 1)))
        })
    }
}

/// The bits of a hash that a run keeps.
pub(crate) const fn kept(hash: u64) -> u64 {
    hash >> (u64::BITS - HASH_BITS)
}

/// Appends a run: `entries` are (kept hash, event), sorted.
pub(crate) fn put_run(out: &mut Vec<u8>, layout: IdLayout, entries: &[(u64, u64)]) {
    let mut next = 0;
    for bucket in 0..=1_u64 << layout.bucket_bits {
        while entries.get(next).is_some_and(|(hash, _)| hash >> layout.rest_bits() < bucket) {
            next += 1;
        }
        out.put_u32(u32::try_from(next).unwrap_or(u32::MAX));
    }
    let rest = |hash: u64| hash & ((1 << layout.rest_bits()) - 1);
    let packed = entries.iter().map(|(hash, event)| rest(*hash) << layout.event_bits | event);
    put_packed(out, layout.width(), packed);
}

/// The footer of an id run file: which segments it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdRunFooter {
    pub(crate) store: [u8; 16],
    pub(crate) first_segment: u32,
    pub(crate) last_segment: u32,
    /// The salts of the first and the last segment, which are their identities.
    pub(crate) first_salt: [u8; 16],
    pub(crate) last_salt: [u8; 16],
    /// The position of the first event, which the entries count from.
    pub(crate) base: u64,
    pub(crate) events: u64,
    pub(crate) ids: u64,
}

impl IdRunFooter {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put(&self.store);
        out.put_u32(self.first_segment);
        out.put_u32(self.last_segment);
        out.put(&self.first_salt);
        out.put(&self.last_salt);
        out.put_u64(self.base);
        out.put_u64(self.events);
        out.put_u64(self.ids);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut c = Cursor::new(bytes);
        let footer = Self {
            store: c.array()?,
            first_segment: c.u32()?,
            last_segment: c.u32()?,
            first_salt: c.array()?,
            last_salt: c.array()?,
            base: c.u64()?,
            events: c.u64()?,
            ids: c.u64()?,
        };
        let is_possible = footer.first_segment <= footer.last_segment
            && footer.base <= MAX_POSITION
            && footer.events <= MAX_EVENTS
            && footer.ids <= footer.events.saturating_mul(MOST_OF_AN_EVENT)
            // Buckets count entries in 32 bits. An event can have several: its labels.
            && u32::try_from(footer.ids).is_ok();
        is_possible.then_some(footer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(n: u64) -> u64 {
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn runs_of_every_size_find_their_ids() {
        for count in [0_u64, 1, 15, 16, 17, 1000] {
            let mut entries: Vec<(u64, u64)> = (0..count).map(|n| (kept(hash_of(n)), n)).collect();
            entries.sort_unstable();
            let layout = IdLayout::new(count, count);
            let mut bytes = Vec::new();
            put_run(&mut bytes, layout, &entries);
            assert_eq!(Some(bytes.len() as u64), layout.bytes());
            assert!(layout.all(&bytes).eq(entries.iter().copied()));
            let find = |hash: u64| {
                let range = layout.bucket_entries(&bytes[layout.bucket_range(hash)]).unwrap();
                let entries = &bytes[layout.entries_range(&range)];
                layout.matches(entries, &range, hash).collect::<Vec<_>>()
            };
            for n in 0..count {
                assert_eq!(find(hash_of(n)), [n]);
            }
            assert!(find(hash_of(count + 7)).is_empty());
        }
    }

    #[test]
    fn layouts_of_any_size_fit_a_word() {
        for exponent in 0..40 {
            let layout = IdLayout::new(1 << exponent, 1 << exponent);
            assert!(layout.width() <= MAX_WIDTH, "2^{exponent} ids");
        }
    }

    #[test]
    fn footers_come_back() {
        let footer = IdRunFooter {
            store: [1; 16],
            first_segment: 2,
            last_segment: 3,
            first_salt: [4; 16],
            last_salt: [5; 16],
            base: 6,
            events: 9,
            ids: 8,
        };
        assert_eq!(IdRunFooter::decode(&footer.encode()), Some(footer));
        let labelled = IdRunFooter { ids: 10 * footer.events, ..footer };
        assert_eq!(IdRunFooter::decode(&labelled.encode()), Some(labelled));
        let impossible = IdRunFooter { ids: 1 << 32, ..footer };
        assert_eq!(IdRunFooter::decode(&impossible.encode()), None);
    }

    #[test]
    fn the_bytes_of_a_run_are_locked() {
        // Two bits choose the bucket: 44 of the hash are left, and 5 of the event.
        let layout = IdLayout::new(32, 31);
        assert_eq!((layout.bucket_bits, layout.event_bits, layout.width()), (2, 5, 49));
        let entries = [(1, 30), (1 << 44, 0), (3 << 44 | 5, 31)];
        let mut bytes = vec![0xaa];
        put_run(&mut bytes, layout, &entries);
        let mut expected = vec![0xaa];
        for start in [0_u32, 1, 2, 2, 3] {
            expected.put_u32(start);
        }
        // An entry of 49 bits each; the one in the middle is 0.
        let packed = (1_u128 << 5 | 0b1_1110) | (5_u128 << 5 | 0b1_1111) << 98;
        expected.extend_from_slice(&packed.to_le_bytes());
        expected.resize(1 + 20 + 19 + 8, 0);
        assert_eq!(bytes, expected);
        assert_eq!(layout.bytes(), Some(20 + (49 * 32) / 8 + 8));
    }

    #[test]
    fn layouts_are_locked() {
        let locked = |ids, events| {
            let layout = IdLayout::new(ids, events);
            (layout.bucket_bits, layout.event_bits)
        };
        assert_eq!(locked(0, 0), (0, 1), "an event takes a bit at least");
        assert_eq!(locked(15, 15), (0, 4));
        assert_eq!(locked(16, 16), (1, 5));
        assert_eq!(locked(1000, 1000), (6, 10));
        assert_eq!(locked(1000, 1 << 40), (30, 41), "the rest has to fit beside the event");
        assert_eq!(locked(u64::MAX, 1), (46, 1), "not more than there are of the hash");
        assert_eq!(IdLayout::new(1000, 1000).bytes(), Some(65 * 4 + 50 * 1000 / 8 + 8));
    }

    #[test]
    fn entries_are_read_from_their_own_bytes() {
        let layout = IdLayout::new(1000, 1000);
        // 65 buckets, 50 bits each.
        assert_eq!(layout.entries_range(&(0..0)), 260..268);
        assert_eq!(layout.entries_range(&(3..5)), 260 + 18..260 + 32 + 8);
        assert_eq!(layout.entries_range(&(4..8)), 260 + 25..260 + 50 + 8);
    }

    #[test]
    fn buckets_that_leave_the_run_are_refused() {
        let layout = IdLayout::new(32, 31);
        let entries = |start: u32, end: u32| {
            layout.bucket_entries(&[start.to_le_bytes(), end.to_le_bytes()].concat())
        };
        assert_eq!((entries(3, 3), entries(3, 32)), (Some(3..3), Some(3..32)));
        assert_eq!((entries(4, 3), entries(3, 33)), (None, None));
    }

    #[test]
    fn entries_are_before_a_hash_and_event_as_they_are_sorted() {
        let count = 200;
        // Few hashes, each with many events.
        let mut all: Vec<(u64, u64)> = (0..count).map(|n| (kept(hash_of(n % 7)), n)).collect();
        all.sort_unstable();
        let layout = IdLayout::new(count, count);
        let mut bytes = Vec::new();
        put_run(&mut bytes, layout, &all);
        for hash in (0..7).map(hash_of) {
            let range = layout.bucket_entries(&bytes[layout.bucket_range(hash)]).unwrap();
            for entry in range {
                let one = &bytes[layout.entries_range(&(entry..entry + 1))];
                for event in [0, 50, all[entry].1, all[entry].1 + 1, 199] {
                    let expected = all[entry] < (kept(hash), event);
                    assert_eq!(layout.is_before(one, entry, hash, event), Some(expected));
                }
            }
        }
    }

    #[test]
    fn impossible_footers_are_refused() {
        let footer = IdRunFooter {
            store: [1; 16],
            first_segment: 3,
            last_segment: 3,
            first_salt: [4; 16],
            last_salt: [5; 16],
            base: 6,
            events: 9,
            ids: 9 * 67,
        };
        let is_possible = |footer: IdRunFooter| IdRunFooter::decode(&footer.encode()).is_some();
        assert!(is_possible(footer), "an id, 64 tags, correlation and causation of each event");
        assert!(!is_possible(IdRunFooter { ids: 9 * 67 + 1, ..footer }));
        assert!(!is_possible(IdRunFooter { first_segment: 4, ..footer }));
        let last = 0x0fff_ffff_ffff_ffff;
        assert!(is_possible(IdRunFooter { base: last, ..footer }));
        assert!(!is_possible(IdRunFooter { base: last + 1, ..footer }));
        let most = 0x0001_0000_0000_0000;
        assert!(is_possible(IdRunFooter { events: most, ..footer }));
        assert!(!is_possible(IdRunFooter { events: most + 1, ..footer }));
        let many = IdRunFooter { events: most, ids: u64::from(u32::MAX), ..footer };
        assert!(is_possible(many));
        assert!(!is_possible(IdRunFooter { ids: many.ids + 1, ..many }));
    }
}
