//! Layer 6: finding the events that match a query, by the index, without reading others beyond what
//! the best list leaves.
//!
//! A search goes segment by segment. For each alternative of the query it takes the shortest of the
//! lists that the index has there (of a set of labels, of streams, of types and categories), lets
//! the columns decide what they can, and reads the events that are left. Lists of labels also say
//! where the next one is, so that segments without one cost nothing.

mod explain;
mod plan;

pub use explain::Explanation;

use crate::catalog::{Catalog, LastFrame};
use crate::error::Result;
use crate::event::Event;
use crate::index::Stretch;
use crate::position::Position;
use crate::query::Query;
use crate::sync::Arc;
use plan::{Plan, Window};

/// How many candidates are taken from a list at first, and at most.
const FIRST: usize = 32;
const MOST: usize = 4096;

/// A search over a stretch of the log that was committed before it began.
#[derive(Debug)]
pub(crate) struct Search {
    catalog: Arc<Catalog>,
    query: Query,
    plans: Vec<Plan>,
    stretch: Stretch,
    /// Candidates, the next one last.
    candidates: Vec<u64>,
    limit: usize,
    last_frame: LastFrame,
    /// The segment that was looked into last.
    touched: u32,
    pub(crate) explanation: Explanation,
}

impl Search {
    /// A search of the positions `first..=last`.
    pub(crate) fn new(
        catalog: Arc<Catalog>,
        query: Query,
        first: u64,
        last: u64,
        backwards: bool,
    ) -> Result<Self> {
        query.check()?;
        let first = first.max(query.excluded().0.saturating_add(1)).max(1);
        let stretch = Stretch { first, last, backwards };
        let mut explanation = Explanation::default();
        let plans = query
            .alternatives()
            .iter()
            .map(|criteria| Plan::new(criteria, &catalog, first, &mut explanation))
            .collect::<Result<_>>()?;
        Ok(Self {
            catalog,
            query,
            plans,
            stretch,
            candidates: Vec::new(),
            limit: FIRST,
            last_frame: None,
            touched: 0,
            explanation,
        })
    }

    /// The next event that matches.
    pub(crate) fn next(&mut self) -> Result<Option<Event>> {
        loop {
            while let Some(position) = self.candidates.pop() {
                let event = self.catalog.event_behind(Position(position), &mut self.last_frame)?;
                self.explanation.decoded += 1;
                if self.query.admits(&event) {
                    self.explanation.matched += 1;
                    return Ok(Some(event));
                }
            }
            if self.stretch.first > self.stretch.last {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    /// How many positions are left at most.
    pub(crate) fn left(&self) -> u64 {
        let left = (self.stretch.last + 1).saturating_sub(self.stretch.first);
        left + self.candidates.len() as u64
    }

    /// Takes the candidates of the next window.
    fn fill(&mut self) -> Result<()> {
        let Stretch { backwards, .. } = self.stretch;
        let mut from: Option<u64> = None;
        for plan in &self.plans {
            let found = plan.seek(&self.catalog, &self.stretch, &mut self.explanation)?;
            from = match (from, found) {
                (Some(a), Some(b)) if backwards => Some(a.max(b)),
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        let inside = self.stretch.first..=self.stretch.last;
        let from = from.filter(|from| inside.contains(from));
        let segment = from.and_then(|from| self.catalog.log.segment_of(Position(from)));
        let (Some(from), Some(segment)) = (from, segment) else {
            self.stretch.first = self.stretch.last + 1;
            return Ok(());
        };
        let base = segment.base();
        let next = self.catalog.log.base_behind(segment.ordinal());
        let (first, last) = if backwards {
            (self.stretch.first.max(base), from)
        } else {
            (from, self.stretch.last.min(next.saturating_sub(1)))
        };
        let number = |position: u64| u32::try_from(position - base).unwrap_or(u32::MAX);
        let window = Window {
            segment: segment.ordinal(),
            base,
            range: number(first)..number(last).saturating_add(1),
            limit: self.limit,
            backwards,
        };
        if self.touched != window.segment {
            self.touched = window.segment;
            self.explanation.segments_touched += 1;
        }
        self.limit = (self.limit * 2).min(MOST);
        self.look_into(window)
    }

    fn look_into(&mut self, mut window: Window) -> Result<()> {
        let mut candidates = Vec::new();
        for plan in &self.plans {
            candidates.extend(plan.candidates(
                &self.catalog,
                &mut window,
                &mut self.explanation,
            )?);
        }
        // A list that was full ends the window for all of them.
        candidates.retain(|event| window.range.contains(event));
        candidates.sort_unstable();
        candidates.dedup();
        let base = window.base;
        let positions = candidates.into_iter().map(|event| base + u64::from(event));
        if window.backwards {
            self.candidates = positions.collect();
            self.stretch.last = (base + u64::from(window.range.start)).saturating_sub(1);
        } else {
            self.candidates = positions.rev().collect();
            self.stretch.first = base + u64::from(window.range.end);
        }
        Ok(())
    }
}
