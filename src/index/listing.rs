//! What there is: names with their counts, the streams that begin in a segment, times.

use std::collections::BTreeMap;

use super::Index;
use super::segment::Unit;
use crate::error::Result;
use crate::format::sealed::{NameRow, SchemaRow, ZONE_EVENTS};
use crate::position::{Position, Timestamp};

/// Which names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    Types,
    Categories,
}

/// How many events have a name, and the first and last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) events: u64,
    pub(crate) first: Position,
    pub(crate) last: Position,
}

impl Index {
    /// All types, or all categories, in order.
    pub(crate) fn names(&self, naming: Naming) -> Result<BTreeMap<String, Counted>> {
        let mut all = BTreeMap::new();
        for slot in &self.tiers().segments {
            let rows = self.healing(|| {
                let index = self.segment_of(slot)?;
                let (units, live) = index.look(|live| match naming {
                    Naming::Types => live.type_names.rows.clone(),
                    Naming::Categories => live.category_names.rows.clone(),
                });
                let mut rows: Vec<NameRow> = Vec::new();
                for unit in units.iter() {
                    rows.extend_from_slice(match (unit, naming) {
                        (Unit::Sealed(sealed), Naming::Types) => &sealed.names()?.0,
                        (Unit::Sealed(sealed), Naming::Categories) => &sealed.names()?.1,
                        (Unit::Live(live), Naming::Types) => &live.type_names.rows,
                        (Unit::Live(live), Naming::Categories) => &live.category_names.rows,
                    });
                }
                rows.extend(live);
                Ok(rows)
            })?;
            for row in rows {
                let [first, last] =
                    [row.first, row.last].map(|at| Position(slot.base + u64::from(at)));
                let counted = Counted { events: u64::from(row.events), first, last };
                note(&mut all, row.name.into(), counted);
            }
        }
        Ok(all)
    }

    /// All types with their schema versions, in order.
    pub(crate) fn schemas(&self) -> Result<BTreeMap<(String, u32), Counted>> {
        let mut all = BTreeMap::new();
        for slot in &self.tiers().segments {
            let rows = self.healing(|| {
                let index = self.segment_of(slot)?;
                let (units, live) =
                    index.look(|live| named(&live.type_names.rows, &live.schemas.rows));
                let mut rows = Vec::new();
                for unit in units.iter() {
                    rows.extend(match unit {
                        Unit::Sealed(sealed) => named(&sealed.names()?.0, &sealed.schemas()?),
                        Unit::Live(live) => named(&live.type_names.rows, &live.schemas.rows),
                    });
                }
                rows.extend(live);
                Ok(rows)
            })?;
            for (name, row) in rows {
                let [first, last] =
                    [row.first, row.last].map(|at| Position(slot.base + u64::from(at)));
                let counted = Counted { events: u64::from(row.events), first, last };
                note(&mut all, (name.into(), row.version), counted);
            }
        }
        Ok(all)
    }

    /// The segments, oldest first.
    pub(crate) fn segment_ordinals(&self) -> Vec<u32> {
        self.tiers().segments.iter().map(|slot| slot.ordinal).collect()
    }

    /// The numbers of the events with which streams begin in a segment, in order.
    pub(crate) fn beginnings(&self, segment: u32) -> Result<Vec<u32>> {
        self.healing(|| {
            let index = self.segment(segment)?;
            let (units, mut found) = index.look(|live| {
                let streams = live.all_streams().filter(|stream| stream.first_version == 1);
                streams.filter_map(|s| s.events.as_slice().first().copied()).collect::<Vec<u32>>()
            });
            for unit in units.iter() {
                match unit {
                    Unit::Sealed(sealed) => {
                        for (_, part) in sealed.all_terms()? {
                            if part.first_version == 1 {
                                found.extend(sealed.events(&part, &(1..=1))?);
                            }
                        }
                    }
                    Unit::Live(live) => found.extend(
                        live.all_streams()
                            .filter(|stream| stream.first_version == 1)
                            .filter_map(|stream| stream.events.as_slice().first()),
                    ),
                }
            }
            found.sort_unstable();
            Ok(found)
        })
    }

    /// The first run of events, from a position on, in which one was created after a time: its
    /// first position and how many events it has. `None` where there is none.
    pub(crate) fn zone_after(&self, time: Timestamp, from: u64) -> Result<Option<(u64, u64)>> {
        let tiers = self.tiers();
        let before = tiers.segments.partition_point(|slot| slot.base <= from);
        for slot in tiers.segments.iter().skip(before.saturating_sub(1)) {
            let found = self.healing(|| {
                let index = self.segment_of(slot)?;
                let first = u32::try_from(from.saturating_sub(slot.base)).unwrap_or(u32::MAX);
                let first = first / ZONE_EVENTS;
                let late = |zone: u32, latest: Timestamp| zone >= first && latest > time;
                let (units, live) = index.look(|live| {
                    (live.first / ZONE_EVENTS..)
                        .zip(&live.zones)
                        .find(|(zone, its)| late(*zone, its.latest))
                        .map(|(zone, _)| zone)
                });
                for unit in units.iter() {
                    let zone = match unit {
                        Unit::Sealed(sealed) => (0..)
                            .zip(sealed.zones()?)
                            .find(|(zone, its)| late(*zone, its.latest))
                            .map(|(zone, _)| zone),
                        Unit::Live(live) => (live.first / ZONE_EVENTS..)
                            .zip(&live.zones)
                            .find(|(zone, its)| late(*zone, its.latest))
                            .map(|(zone, _)| zone),
                    };
                    if zone.is_some() {
                        return Ok(zone);
                    }
                }
                Ok(live)
            })?;
            if let Some(zone) = found {
                let first = slot.base + u64::from(zone * ZONE_EVENTS);
                return Ok(Some((first, u64::from(ZONE_EVENTS))));
            }
        }
        Ok(None)
    }
}

/// Adds what a later part says to what the earlier ones said.
fn note<K: Ord>(all: &mut BTreeMap<K, Counted>, key: K, more: Counted) {
    all.entry(key)
        .and_modify(|known| {
            known.events += more.events;
            known.last = more.last;
        })
        .or_insert(more);
}

/// The schema versions of a part, with the names of their types.
fn named(names: &[NameRow], rows: &[SchemaRow]) -> Vec<(Box<str>, SchemaRow)> {
    let name = |row: &SchemaRow| names.get(row.type_id as usize).map(|its| its.name.clone());
    rows.iter().filter_map(|row| Some((name(row)?, *row))).collect()
}
