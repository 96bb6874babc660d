//! How the events of one alternative of a query are found: by which list, in which segment.

use std::collections::BTreeSet;
use std::ops::Range;

use super::explain::Explanation;
use crate::catalog::Catalog;
use crate::error::Result;
use crate::index::{Columns, Stretch};
use crate::query::Criteria;

/// One alternative, prepared for one search.
#[derive(Debug)]
pub(super) struct Plan {
    criteria: Criteria,
    /// For each set of labels, the hashes of its labels.
    labels: Vec<Vec<u64>>,
    /// The streams that are asked for, with their hashes.
    streams: Option<Vec<(String, u64)>>,
    /// The segments that hold one of them.
    segments: BTreeSet<u32>,
}

/// A segment's part of a search.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) segment: u32,
    pub(super) base: u64,
    /// Numbers of events, counted from the base.
    pub(super) range: Range<u32>,
    pub(super) limit: usize,
    pub(super) backwards: bool,
}

impl Window {
    fn stretch(&self) -> Stretch {
        Stretch {
            first: self.base + u64::from(self.range.start),
            last: (self.base + u64::from(self.range.end)).saturating_sub(1),
            backwards: self.backwards,
        }
    }

    /// What is left of it where a list was full: up to the last event that it gave.
    fn cut(&mut self, found: &[u32]) {
        let Some(last) = found.last().filter(|_| found.len() >= self.limit) else { return };
        if self.backwards {
            self.range.start = self.range.start.max(*last);
        } else {
            self.range.end = self.range.end.min(last + 1);
        }
    }
}

/// The list that leaves the fewest events to look at.
#[derive(Clone, Copy, Debug)]
enum Best {
    Labels(usize),
    Streams,
    Columns,
}

impl Plan {
    pub(super) fn new(
        criteria: &Criteria,
        catalog: &Catalog,
        low: u64,
        explanation: &mut Explanation,
    ) -> Result<Self> {
        let hasher = catalog.index.hasher();
        let labels = criteria.labels.iter().map(|set| {
            let mut hashes: Vec<u64> =
                set.iter().map(|label| hasher.label(label.as_label())).collect();
            hashes.sort_unstable();
            hashes.dedup();
            hashes
        });
        let streams = criteria.streams.as_ref().map(|names| {
            let mut names = names.clone();
            names.sort_unstable();
            names.dedup();
            names
                .into_iter()
                .map(|name| (hasher.stream(&name), name))
                .map(|(h, n)| (n, h))
                .collect()
        });
        let mut plan = Self {
            criteria: criteria.clone(),
            labels: labels.collect(),
            streams,
            segments: BTreeSet::new(),
        };
        plan.follow_streams(catalog, low, explanation)?;
        Ok(plan)
    }

    /// Finds the segments that hold the streams, along their chains, as far back as a position.
    fn follow_streams(
        &mut self,
        catalog: &Catalog,
        low: u64,
        explanation: &mut Explanation,
    ) -> Result<()> {
        for (name, hash) in self.streams.iter().flatten() {
            let mut next = catalog.index.head(name, *hash)?.map_or(0, |head| head.segment);
            while next != 0 {
                self.segments.insert(next);
                if catalog.log.segment(next)?.base() <= low {
                    break;
                }
                explanation.lists_read += 1;
                let span = catalog.index.span(next, name, *hash)?;
                next = span.map_or(0, |span| span.previous);
            }
        }
        Ok(())
    }

    /// The first position of a stretch, in its order, from which on there can be a match; `None`
    /// where there is none. As good as the labels and streams can tell.
    pub(super) fn seek(
        &self,
        catalog: &Catalog,
        stretch: &Stretch,
        explanation: &mut Explanation,
    ) -> Result<Option<u64>> {
        let farther = |a: u64, b: u64| if stretch.backwards { a.min(b) } else { a.max(b) };
        let nearer = |a: u64, b: u64| if stretch.backwards { a.max(b) } else { a.min(b) };
        let mut from = if stretch.backwards { stretch.last } else { stretch.first };
        for set in &self.labels {
            let mut nearest: Option<u64> = None;
            for hash in set {
                explanation.lists_read += 1;
                if let Some(found) = catalog.index.keyed(*hash, stretch, 1)?.first().copied() {
                    nearest = Some(nearest.map_or(found, |known| nearer(known, found)));
                }
            }
            let Some(nearest) = nearest else { return Ok(None) };
            from = farther(from, nearest);
        }
        if self.streams.is_some() {
            let at = |ordinal: &u32| catalog.log.segment(*ordinal);
            let Some(here) = catalog.log.segment_of(crate::position::Position(from)) else {
                return Ok(None);
            };
            if self.segments.contains(&here.ordinal()) {
                return Ok(Some(from));
            }
            let next = if stretch.backwards {
                let before = self.segments.range(..here.ordinal()).next_back();
                before.map(|ordinal| catalog.log.base_behind(*ordinal) - 1)
            } else {
                self.segments.range(here.ordinal()..).next().map(at).transpose()?.map(|s| s.base())
            };
            return Ok(next);
        }
        Ok(Some(from))
    }

    /// The events of a window that may match, in any order. Where the list is full, the window is
    /// cut to what was looked at.
    pub(super) fn candidates(
        &self,
        catalog: &Catalog,
        window: &mut Window,
        explanation: &mut Explanation,
    ) -> Result<Vec<u32>> {
        let types = |name: &str| self.criteria.admits_type(name);
        let categories = |name: &str| self.criteria.admits_category(name);
        let asks_category = self.criteria.categories.is_some()
            || self.criteria.prefixes.is_some()
            || self.criteria.streams.is_some();
        let columns = Columns {
            types: self.criteria.types.is_some().then_some(&types),
            categories: asks_category.then_some(&categories),
            times: self.times(),
        };
        let estimate = catalog.index.estimate(window.segment, &columns)?;
        if estimate == Some(0) {
            return Ok(Vec::new());
        }
        let best = self.best(catalog, window, estimate)?;
        explanation.lists_read += 1;
        let mut found = match best {
            Best::Columns => {
                let found = catalog.index.scan(
                    window.segment,
                    &columns,
                    &window.range,
                    window.limit,
                    window.backwards,
                )?;
                window.cut(&found);
                return Ok(found);
            }
            Best::Labels(set) => self.labelled(catalog, window, set)?,
            Best::Streams => self.of_streams(catalog, window)?,
        };
        explanation.postings_read += found.len() as u64;
        catalog.index.sift(window.segment, &columns, &mut found)?;
        Ok(found)
    }

    fn times(&self) -> Option<(crate::position::Timestamp, crate::position::Timestamp)> {
        let (since, until) = (self.criteria.since, self.criteria.until);
        (since.is_some() || until.is_some()).then(|| {
            (
                since.unwrap_or(crate::position::Timestamp::from_micros(i64::MIN)),
                until.unwrap_or(crate::position::Timestamp::from_micros(i64::MAX)),
            )
        })
    }

    fn best(&self, catalog: &Catalog, window: &Window, columns: Option<u64>) -> Result<Best> {
        let mut best = (columns.unwrap_or(u64::MAX), Best::Columns);
        for (index, set) in self.labels.iter().enumerate() {
            let mut events = 0;
            for hash in set {
                events += catalog.index.count_keyed(*hash, &window.stretch())?;
            }
            if events <= best.0 {
                best = (events, Best::Labels(index));
            }
        }
        if let Some(streams) = &self.streams {
            let mut events = 0;
            for (name, hash) in streams {
                let span = catalog.index.span(window.segment, name, *hash)?;
                events += span.map_or(0, |span| u64::from(span.count));
            }
            if events <= best.0 {
                best = (events, Best::Streams);
            }
        }
        Ok(best.1)
    }

    /// The events that have one of a set of labels, in order.
    fn labelled(&self, catalog: &Catalog, window: &mut Window, set: usize) -> Result<Vec<u32>> {
        let mut found = Vec::new();
        let hashes = self.labels.get(set).map(Vec::as_slice).unwrap_or_default();
        for hash in hashes {
            let positions = catalog.index.keyed(*hash, &window.stretch(), window.limit)?;
            let events: Vec<u32> = positions
                .iter()
                .filter_map(|position| u32::try_from(position - window.base).ok())
                .collect();
            window.cut(&events);
            found.extend(events);
        }
        Ok(in_order(found, &window.range))
    }

    /// The events of the streams, in order.
    fn of_streams(&self, catalog: &Catalog, window: &mut Window) -> Result<Vec<u32>> {
        let mut found = Vec::new();
        for (name, hash) in self.streams.iter().flatten() {
            let Some(span) = catalog.index.span(window.segment, name, *hash)? else { continue };
            let versions = span.first_version..=span.last_version();
            let places = catalog.index.places(window.segment, name, *hash, &versions)?;
            found.extend(places.into_iter().map(|place| place.ordinal));
        }
        Ok(in_order(found, &window.range))
    }
}

fn in_order(mut events: Vec<u32>, range: &Range<u32>) -> Vec<u32> {
    events.retain(|event| range.contains(event));
    events.sort_unstable();
    events.dedup();
    events
}
