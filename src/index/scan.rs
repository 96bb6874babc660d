//! Looking along the columns of a segment: which events have a type or a category, as far as it can
//! be told without reading them.

use std::ops::Range;

use super::Index;
use super::live::LiveIndex;
use super::sealed::SealedIndex;
use super::segment::Unit;
use crate::error::Result;
use crate::format::sealed::{NameRow, ZONE_EVENTS, Zone};
use crate::position::Timestamp;

/// What is asked of the columns. `None` is anything.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    pub(crate) types: Option<&'a dyn Fn(&str) -> bool>,
    pub(crate) categories: Option<&'a dyn Fn(&str) -> bool>,
    /// Created at the first or later, and before the second.
    pub(crate) times: Option<(Timestamp, Timestamp)>,
}

/// What is asked, in the numbers of one unit.
struct Wanted {
    types: Option<Set>,
    categories: Option<Set>,
    times: Option<(Timestamp, Timestamp)>,
}

/// Numbers of names.
struct Set {
    has: Vec<bool>,
    /// The bits of a zone that stand for them.
    bits: u64,
    /// How many events have one of them.
    events: u64,
}

impl Set {
    fn new(rows: &[NameRow], wanted: &dyn Fn(&str) -> bool) -> Self {
        let has: Vec<bool> = rows.iter().map(|row| wanted(&row.name)).collect();
        let chosen = || has.iter().enumerate().filter(|(_, has)| **has).map(|(id, _)| id);
        let bits = chosen().fold(0, |bits, id| bits | 1 << (id % 64));
        let events = chosen().filter_map(|id| rows.get(id)).map(|row| u64::from(row.events)).sum();
        Self { has, bits, events }
    }

    fn has(&self, id: u32) -> bool {
        self.has.get(id as usize).copied().unwrap_or(false)
    }
}

impl Wanted {
    fn new(columns: &Columns<'_>, types: &[NameRow], categories: &[NameRow]) -> Self {
        Self {
            types: columns.types.map(|wanted| Set::new(types, wanted)),
            categories: columns.categories.map(|wanted| Set::new(categories, wanted)),
            times: columns.times,
        }
    }

    /// The most events that can have what is wanted; `None` where names say nothing.
    fn events(&self) -> Option<u64> {
        let sets = [&self.types, &self.categories];
        sets.into_iter().flatten().map(|set| set.events).min()
    }

    /// Whether a zone may hold such an event.
    fn is_in(&self, zone: &Zone, knows_names: bool) -> bool {
        let has = |set: &Option<Set>, bits: u64| {
            !knows_names || set.as_ref().is_none_or(|set| set.bits & bits != 0)
        };
        let timely = self.times.is_none_or(|(from, to)| zone.latest >= from && zone.earliest < to);
        timely && has(&self.types, zone.types) && has(&self.categories, zone.categories)
    }
}

impl Index {
    /// The most events of a segment that can have what is wanted; `None` where names say nothing.
    pub(crate) fn estimate(&self, segment: u32, columns: &Columns<'_>) -> Result<Option<u64>> {
        self.healing(|| {
            let index = self.segment(segment)?;
            let (units, mut estimate) = index.look(|live| wanted_of(live, columns).events());
            for unit in units.iter() {
                let events = match unit {
                    Unit::Sealed(sealed) => wanted_in(sealed, columns)?.events(),
                    Unit::Live(live) => wanted_of(live, columns).events(),
                };
                estimate = estimate.zip(events).map(|(a, b)| a + b);
            }
            Ok(estimate)
        })
    }

    /// The events of a range of a segment that may have what is wanted, in order, or in reverse;
    /// at most so many.
    pub(crate) fn scan(
        &self,
        segment: u32,
        columns: &Columns<'_>,
        range: &Range<u32>,
        limit: usize,
        backwards: bool,
    ) -> Result<Vec<u32>> {
        self.healing(|| {
            let index = self.segment(segment)?;
            let walk = Walk { range: range.clone(), limit, backwards };
            let (units, live) = index.look(|live| {
                let mut found = Vec::new();
                walk.live(live, &wanted_of(live, columns), &mut found);
                found
            });
            let mut found = if backwards { live.clone() } else { Vec::new() };
            let mut in_turn: Vec<&Unit> = units.iter().collect();
            if backwards {
                in_turn.reverse();
            }
            for unit in in_turn {
                match unit {
                    Unit::Sealed(sealed) => {
                        walk.sealed(sealed, &wanted_in(sealed, columns)?, &mut found)?;
                    }
                    Unit::Live(live) => walk.live(live, &wanted_of(live, columns), &mut found),
                }
            }
            if !backwards {
                found.extend(live);
                found.truncate(limit);
            }
            Ok(found)
        })
    }

    /// Leaves only those of some events of a segment that may have what is wanted.
    pub(crate) fn sift(
        &self,
        segment: u32,
        columns: &Columns<'_>,
        events: &mut Vec<u32>,
    ) -> Result<()> {
        if columns.types.is_none() && columns.categories.is_none() {
            return Ok(());
        }
        let kept = self.healing(|| {
            let index = self.segment(segment)?;
            let (units, mut kept) = index.look(|live| {
                let wanted = wanted_of(live, columns);
                let is_wanted = |event: &u32| {
                    let at = event.checked_sub(live.first).map(|at| at as usize);
                    at.is_some_and(|at| live_has(live, &wanted, at))
                };
                events.iter().copied().filter(is_wanted).collect::<Vec<_>>()
            });
            let mut first = 0;
            for unit in units.iter() {
                let inside = events.iter().filter(|event| (first..unit.end()).contains(*event));
                match unit {
                    Unit::Sealed(sealed) => {
                        let wanted = wanted_in(sealed, columns)?;
                        for event in inside {
                            let (event_type, category) = sealed.columns(*event)?;
                            if wanted.types.as_ref().is_none_or(|set| set.has(event_type))
                                && wanted.categories.as_ref().is_none_or(|set| set.has(category))
                            {
                                kept.push(*event);
                            }
                        }
                    }
                    Unit::Live(live) => {
                        let wanted = wanted_of(live, columns);
                        let has =
                            |event: &&u32| live_has(live, &wanted, (**event - live.first) as usize);
                        kept.extend(inside.filter(has).copied());
                    }
                }
                first = unit.end();
            }
            kept.sort_unstable();
            Ok(kept)
        })?;
        *events = kept;
        Ok(())
    }
}

/// A way along the columns.
struct Walk {
    range: Range<u32>,
    limit: usize,
    backwards: bool,
}

impl Walk {
    /// The zones that the range has in common with a unit, in turn, each cut to the range.
    fn zones(&self, first: u32, end: u32) -> impl Iterator<Item = (u32, Range<u32>)> + use<> {
        let range = self.range.start.max(first)..self.range.end.min(end);
        let (from, to) = if range.is_empty() {
            (0, 0)
        } else {
            (range.start / ZONE_EVENTS, (range.end - 1) / ZONE_EVENTS + 1)
        };
        let backwards = self.backwards;
        (0..to - from).map(move |turn| {
            let zone = if backwards { to - 1 - turn } else { from + turn };
            let start = zone * ZONE_EVENTS;
            (zone, range.start.max(start)..range.end.min(start.saturating_add(ZONE_EVENTS)))
        })
    }

    fn is_full(&self, found: &[u32]) -> bool {
        found.len() >= self.limit
    }

    /// Takes those of a zone's events that are wanted, in turn.
    fn take(&self, events: &Range<u32>, found: &mut Vec<u32>, has: impl Fn(u32) -> bool) {
        let left = self.limit - found.len().min(self.limit);
        if self.backwards {
            found.extend(events.clone().rev().filter(|event| has(*event)).take(left));
        } else {
            found.extend(events.clone().filter(|event| has(*event)).take(left));
        }
    }

    fn live(&self, live: &LiveIndex, wanted: &Wanted, found: &mut Vec<u32>) {
        if wanted.events() == Some(0) {
            return;
        }
        for (zone, events) in self.zones(live.first, live.end()) {
            if self.is_full(found) {
                return;
            }
            let its = live.zones.get((zone - live.first / ZONE_EVENTS) as usize);
            if its.is_some_and(|zone| wanted.is_in(zone, false)) {
                self.take(&events, found, |event| {
                    live_has(live, wanted, (event - live.first) as usize)
                });
            }
        }
    }

    fn sealed(&self, sealed: &SealedIndex, wanted: &Wanted, found: &mut Vec<u32>) -> Result<()> {
        if wanted.events() == Some(0) {
            return Ok(());
        }
        for (zone, events) in self.zones(0, sealed.footer.events) {
            if self.is_full(found) {
                return Ok(());
            }
            if !wanted.is_in(&sealed.zone(zone)?, true) {
                continue;
            }
            let types = match &wanted.types {
                Some(set) => Some((set, sealed.types(&events)?)),
                None => None,
            };
            let categories = match &wanted.categories {
                Some(set) => Some((set, sealed.categories(&events)?)),
                None => None,
            };
            let is = |column: &Option<(&Set, Vec<u32>)>, event: u32| {
                column.as_ref().is_none_or(|(set, numbers)| {
                    let id = numbers.get((event - events.start) as usize).copied();
                    id.is_some_and(|id| set.has(id))
                })
            };
            self.take(&events, found, |event| is(&types, event) && is(&categories, event));
        }
        Ok(())
    }
}

fn wanted_of(live: &LiveIndex, columns: &Columns<'_>) -> Wanted {
    Wanted::new(columns, &live.type_names.rows, &live.category_names.rows)
}

fn wanted_in(sealed: &SealedIndex, columns: &Columns<'_>) -> Result<Wanted> {
    let (types, categories) = sealed.names()?;
    Ok(Wanted::new(columns, types, categories))
}

fn live_has(live: &LiveIndex, wanted: &Wanted, at: usize) -> bool {
    let is = |set: &Option<Set>, column: &[u32]| {
        set.as_ref().is_none_or(|set| column.get(at).is_some_and(|id| set.has(*id)))
    };
    is(&wanted.types, &live.types) && is(&wanted.categories, &live.categories)
}
