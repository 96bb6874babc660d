//! Looking things up in a sorted run of hashes, wherever it lies: in the section of an index file,
//! or in a file of its own.

use std::borrow::Cow;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::format::idruns::IdLayout;

/// A run: its layout, a way to its bytes, and what to say where they make no sense.
pub(crate) struct Run<'a> {
    pub(crate) layout: IdLayout,
    pub(crate) read: &'a dyn Fn(Range<usize>) -> Result<Cow<'a, [u8]>>,
    pub(crate) broken: &'a dyn Fn() -> Error,
}

/// Buckets of at most so many entries are read whole. Larger ones belong to labels of many events.
const SMALL: usize = 64;

impl Run<'_> {
    /// The numbers of the events from one of the range that may have an id or a label with a hash,
    /// in order, or in reverse; at most so many.
    pub(crate) fn events(
        &self,
        hash: u64,
        range: &Range<u64>,
        limit: usize,
        backwards: bool,
    ) -> Result<Vec<u64>> {
        let entries = self.narrow(hash, range)?;
        let entries = match entries.len().checked_sub(limit) {
            None => entries,
            Some(more) if backwards => entries.start + more..entries.end,
            Some(_) => entries.start..entries.start + limit,
        };
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = (self.read)(self.layout.entries_range(&entries))?;
        let mut events: Vec<u64> = self.layout.matches(&bytes, &entries, hash).collect();
        if events.len() != entries.len() {
            return Err((self.broken)());
        }
        if backwards {
            events.reverse();
        }
        Ok(events)
    }

    /// How many events of a range may have an id or a label with a hash.
    pub(crate) fn count(&self, hash: u64, range: &Range<u64>) -> Result<usize> {
        Ok(self.narrow(hash, range)?.len())
    }

    /// The entries of a hash whose events are in a range.
    fn narrow(&self, hash: u64, range: &Range<u64>) -> Result<Range<usize>> {
        if self.layout.ids == 0 || range.is_empty() {
            return Ok(0..0);
        }
        let bucket = (self.read)(self.layout.bucket_range(hash))?;
        let bucket = self.layout.bucket_entries(&bucket).ok_or_else(self.broken)?;
        if bucket.len() > SMALL {
            let start = self.lower_bound(&bucket, hash, range.start)?;
            let end = self.lower_bound(&(start..bucket.end), hash, range.end)?;
            return Ok(start..end);
        }
        let bytes = (self.read)(self.layout.entries_range(&bucket))?;
        let offset = self.layout.entries_range(&bucket).start;
        let before = |entry: usize, event: u64| {
            let one = self.layout.entries_range(&(entry..entry + 1));
            let bytes = bytes.get(one.start - offset..).unwrap_or_default();
            self.layout.is_before(bytes, entry, hash, event).ok_or_else(self.broken)
        };
        let (mut start, mut end) = (bucket.start, bucket.start);
        for entry in bucket {
            if before(entry, range.start)? {
                start = entry + 1;
            }
            if before(entry, range.end)? {
                end = entry + 1;
            }
        }
        Ok(start..end)
    }

    /// The first entry of a sorted range that is not before those of a hash from an event on.
    fn lower_bound(&self, entries: &Range<usize>, hash: u64, event: u64) -> Result<usize> {
        let (mut low, mut high) = (entries.start, entries.end);
        while low < high {
            let middle = usize::midpoint(low, high);
            let bytes = (self.read)(self.layout.entries_range(&(middle..middle + 1)))?;
            let before = self.layout.is_before(&bytes, middle, hash, event);
            if before.ok_or_else(self.broken)? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::idruns::{kept, put_run};

    /// The run of some (hash, event) pairs, looked up in.
    fn with<T>(pairs: &[(u64, u64)], events: u64, ask: impl FnOnce(&Run<'_>) -> T) -> T {
        let layout = IdLayout::new(pairs.len() as u64, events);
        let mut entries: Vec<_> = pairs.iter().map(|(hash, event)| (kept(*hash), *event)).collect();
        entries.sort_unstable();
        let mut bytes = Vec::new();
        if !entries.is_empty() {
            put_run(&mut bytes, layout, &entries);
        }
        let broken = || Error::corrupt("run", 0, "bytes inside the run", "its end");
        let read = |range: Range<usize>| {
            bytes.get(range).map(|bytes| Cow::Owned(bytes.to_vec())).ok_or_else(broken)
        };
        ask(&Run { layout, read: &read, broken: &broken })
    }

    #[test]
    fn a_run_without_entries_is_not_read() {
        with(&[], 10, |run| {
            assert!(run.events(7, &(0..10), 5, false).unwrap().is_empty());
            assert_eq!(run.count(7, &(0..10)).unwrap(), 0);
        });
    }

    #[test]
    fn every_stretch_of_few_and_of_many_events_is_found_from_both_ends() {
        let rare = 0x1234_5678_9abc_def0;
        let frequent = rare ^ 1 << 63;
        // A neighbour in the same bucket, which differs in the lowest bit that is kept.
        let neighbour = frequent ^ 1 << 18;
        let mut pairs: Vec<(u64, u64)> = (0..500).map(|n| (frequent, n * 2)).collect();
        pairs.extend((0..3).map(|n| (rare, n * 300 + 1)));
        pairs.extend((0..90).map(|n| (neighbour, n * 11)));
        with(&pairs, 1000, |run| {
            for hash in [rare, frequent, neighbour, 99] {
                let all: Vec<u64> =
                    (0..1000).filter(|event| pairs.contains(&(hash, *event))).collect();
                for range in [0..1000, 0..0, 1..2, 13..700, 998..1000, 999..1000] {
                    let inside: Vec<u64> =
                        all.iter().copied().filter(|event| range.contains(event)).collect();
                    assert_eq!(run.count(hash, &range).unwrap(), inside.len());
                    for limit in [1, 2, 100, usize::MAX] {
                        let forwards: Vec<u64> = inside.iter().copied().take(limit).collect();
                        assert_eq!(run.events(hash, &range, limit, false).unwrap(), forwards);
                        let back: Vec<u64> = inside.iter().rev().copied().take(limit).collect();
                        assert_eq!(run.events(hash, &range, limit, true).unwrap(), back);
                    }
                }
            }
        });
    }
}
