//! Where the events with an id or a label are: what both tiers of keys together answer.

use std::ops::Range;

use super::segment::Unit;
use super::{IdRun, Index, Slot, Tiers};
use crate::error::Result;

/// The positions that a look-up asks about, both ends included, and from which end it begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) backwards: bool,
}

impl Stretch {
    /// The numbers that a part of the log has in common with it, counted from the part's base.
    fn within(&self, base: u64, events: u64) -> Range<u64> {
        let from = self.first.saturating_sub(base);
        let end = self.last.saturating_add(1).saturating_sub(base).min(events);
        from.min(end)..end
    }
}

/// What knows the keys of a stretch of the log.
enum Source<'a> {
    Run(&'a IdRun),
    Slot(&'a Slot),
}

impl Tiers {
    /// What knows the keys of a stretch, in order. Its length grows with the number of runs, and
    /// not with that of the segments.
    fn sources(&self, stretch: &Stretch) -> Vec<Source<'_>> {
        let first = self.segments.first().map_or(1, |slot| slot.ordinal);
        let before = self.segments.partition_point(|slot| slot.base <= stretch.first);
        let mut index = before.saturating_sub(1);
        let mut sources = Vec::new();
        while let Some(slot) = self.segments.get(index).filter(|slot| slot.base <= stretch.last) {
            let before = self.runs.partition_point(|run| run.first() <= slot.ordinal);
            let run = before.checked_sub(1).and_then(|index| self.runs.get(index));
            if let Some(run) = run.filter(|run| run.last() >= slot.ordinal) {
                sources.push(Source::Run(run));
                index = (run.last() - first) as usize + 1;
            } else {
                sources.push(Source::Slot(slot));
                index += 1;
            }
        }
        sources
    }
}

impl Index {
    /// The positions of the events of a stretch that may have an id or a label with a hash, in the
    /// stretch's order; at most so many.
    pub(crate) fn keyed(&self, hash: u64, stretch: &Stretch, limit: usize) -> Result<Vec<u64>> {
        self.healing(|| {
            let tiers = self.tiers();
            let mut sources = tiers.sources(stretch);
            if stretch.backwards {
                sources.reverse();
            }
            let mut found = Vec::new();
            for source in sources {
                let left = limit - found.len();
                if left == 0 {
                    break;
                }
                match source {
                    Source::Run(run) => {
                        let range = stretch.within(run.base(), run.end() - run.base());
                        let events =
                            run.with_run(|r| r.events(hash, &range, left, stretch.backwards))?;
                        found.extend(events.into_iter().map(|event| run.base() + event));
                    }
                    Source::Slot(slot) => {
                        let events = self.keyed_in(slot, hash, stretch, left)?;
                        found.extend(events.into_iter().map(|event| slot.base + event));
                    }
                }
            }
            Ok(found)
        })
    }

    /// How many events of a stretch may have a label with a hash.
    pub(crate) fn count_keyed(&self, hash: u64, stretch: &Stretch) -> Result<u64> {
        self.healing(|| {
            let mut count = 0;
            for source in self.tiers().sources(stretch) {
                count += match source {
                    Source::Run(run) => {
                        let range = stretch.within(run.base(), run.end() - run.base());
                        run.with_run(|run| run.count(hash, &range))? as u64
                    }
                    Source::Slot(slot) => self.count_keyed_in(slot, hash, stretch)?,
                };
            }
            Ok(count)
        })
    }

    /// The numbers of the events of one segment, counted from its base.
    fn keyed_in(
        &self,
        slot: &Slot,
        hash: u64,
        stretch: &Stretch,
        limit: usize,
    ) -> Result<Vec<u64>> {
        let index = self.segment_of(slot)?;
        let range = stretch.within(slot.base, u64::from(u32::MAX));
        let (units, mut live) = index.look(|live| live.keyed(hash, &range));
        let mut found = Vec::new();
        let take = |more: Vec<u64>, found: &mut Vec<u64>| {
            let left = limit - found.len();
            found.extend(more.into_iter().take(left));
        };
        if stretch.backwards {
            live.reverse();
            take(live, &mut found);
            for unit in units.iter().rev() {
                take(keyed_in_unit(unit, hash, &range, limit - found.len(), true)?, &mut found);
            }
        } else {
            for unit in units.iter() {
                take(keyed_in_unit(unit, hash, &range, limit - found.len(), false)?, &mut found);
            }
            take(live, &mut found);
        }
        Ok(found)
    }

    fn count_keyed_in(&self, slot: &Slot, hash: u64, stretch: &Stretch) -> Result<u64> {
        let index = self.segment_of(slot)?;
        let range = stretch.within(slot.base, u64::from(u32::MAX));
        let (units, live) = index.look(|live| live.keyed(hash, &range).len());
        let mut count = live as u64;
        for unit in units.iter() {
            count += match unit {
                Unit::Sealed(sealed) => sealed.with_run(|run| run.count(hash, &range))? as u64,
                Unit::Live(live) => live.keyed(hash, &range).len() as u64,
            };
        }
        Ok(count)
    }
}

fn keyed_in_unit(
    unit: &Unit,
    hash: u64,
    range: &Range<u64>,
    limit: usize,
    backwards: bool,
) -> Result<Vec<u64>> {
    match unit {
        Unit::Sealed(sealed) => sealed.with_run(|run| run.events(hash, range, limit, backwards)),
        Unit::Live(live) => {
            let mut events = live.keyed(hash, range);
            if backwards {
                events.reverse();
            }
            Ok(events)
        }
    }
}
