//! What survives damage, and what becomes of it: the report of a repair.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::carry::KeptState;
use crate::event::Event;
use crate::position::{Position, Version};

/// What a repair keeps and what is lost, the same before (a dry run) and after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// Nothing was written.
    pub dry_run: bool,
    /// Events that survive.
    pub events: u64,
    /// The runs of positions that survive, in order, and where they begin in the new store.
    pub kept: Vec<MovedRange>,
    /// The positions whose events are lost.
    pub lost: Vec<LostRange>,
    /// The streams that are known to have lost events, in the order in which that showed.
    pub streams: Vec<StreamGap>,
    /// Events that could not be stored again, because an event with the same id was stored before
    /// them. Never in a store that annals wrote and nothing changed; a dry run does not see them.
    pub repeated: Vec<Position>,
    /// A write at the end that was never finished, and that nobody was told about, does not
    /// survive: so many bytes.
    pub torn_bytes: u64,
    /// The cursors and views that are kept, and those that are not.
    pub state: KeptState,
}

/// Positions that survive as one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MovedRange {
    /// The first position of the run in the old store.
    pub first: Position,
    /// The last one.
    pub last: Position,
    /// The position of the first one's event in the new store.
    pub new_first: Position,
}

/// Positions whose events are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LostRange {
    /// The first position.
    pub first: Position,
    /// The last one; `None` where nothing says how many events the damaged end held.
    pub last: Option<Position>,
}

/// Versions of a stream that are lost, so that those behind them have moved.
///
/// Only what a later event of the stream shows is known: where the last events of a stream are
/// lost, their positions are among [`RepairReport::lost`], but nothing tells whose they were.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamGap {
    /// The stream.
    pub stream: String,
    /// The first version that is lost.
    pub first: Version,
    /// The last one.
    pub last: Version,
    /// The version that the event behind them has in the new store.
    pub new_version: Version,
}

impl RepairReport {
    /// Every event survives, and no position or version moves.
    pub fn is_complete(&self) -> bool {
        self.lost.is_empty() && self.streams.is_empty() && self.repeated.is_empty()
    }

    /// Up to here every event survives, where it was.
    pub(super) fn unmoved(&self) -> Position {
        let first = self.kept.first().filter(|range| range.first == range.new_first);
        first.filter(|range| range.first == Position(1)).map_or(Position::START, |range| range.last)
    }

    /// The position that an event of the old store has in the new one; `None` where it is lost.
    pub fn new_position(&self, old: Position) -> Option<Position> {
        let behind = self.kept.partition_point(|range| range.first <= old);
        let range = self.kept.get(behind.checked_sub(1)?)?;
        let moved = Position(range.new_first.0 + (old.0 - range.first.0));
        (old <= range.last).then_some(moved)
    }
}

/// A stream so far: its last version in the old store and in the new one.
#[derive(Clone, Copy, Debug, Default)]
struct Versions {
    old: u64,
    new: u64,
}

/// Counts survivors in the order of the log.
#[derive(Debug)]
pub(super) struct Survivors {
    pub(super) report: RepairReport,
    hashers: (RandomState, RandomState),
    streams: HashMap<(u64, u64), Versions>,
    /// The position behind the last one that is accounted for.
    behind: u64,
}

impl Survivors {
    pub(super) fn new(dry_run: bool) -> Self {
        Self {
            report: RepairReport { dry_run, ..RepairReport::default() },
            hashers: (RandomState::new(), RandomState::new()),
            streams: HashMap::new(),
            behind: 1,
        }
    }

    /// Takes note that all positions before one are gone, as far as they were not there.
    pub(super) fn lost_before(&mut self, position: u64) {
        if position > self.behind {
            self.lose(self.behind, Some(position - 1));
            self.behind = position;
        }
    }

    /// Takes note that nothing is known of what was behind the last survivor.
    pub(super) fn lost_end(&mut self) {
        self.lose(self.behind, None);
    }

    fn lose(&mut self, first: u64, last: Option<u64>) {
        let last = last.map(Position);
        if let Some(before) = self.report.lost.last_mut()
            && before.last.is_some_and(|before| before.0 + 1 == first)
        {
            before.last = last;
            return;
        }
        self.report.lost.push(LostRange { first: Position(first), last });
    }

    /// Takes note of the next event that survives.
    pub(super) fn keep(&mut self, event: &Event) {
        let position = event.position();
        self.lost_before(position.0);
        self.behind = position.0 + 1;
        self.report.events += 1;
        let new = Position(self.report.events);
        match self.report.kept.last_mut() {
            Some(range)
                if range.last.0 + 1 == position.0
                    && range.new_first.0 + (position.0 - range.first.0) == new.0 =>
            {
                range.last = position;
            }
            _ => {
                let range = MovedRange { first: position, last: position, new_first: new };
                self.report.kept.push(range);
            }
        }
        let name = event.stream();
        let key = (self.hashers.0.hash_one(name), self.hashers.1.hash_one(name));
        let versions = self.streams.entry(key).or_default();
        versions.new += 1;
        if event.version().0 > versions.old + 1 {
            self.report.streams.push(StreamGap {
                stream: name.into(),
                first: Version(versions.old + 1),
                last: Version(event.version().0 - 1),
                new_version: Version(versions.new),
            });
        }
        versions.old = event.version().0;
    }

    /// Takes note of an event that is there and cannot be stored again.
    pub(super) fn skip_repeated(&mut self, position: Position) {
        self.lost_before(position.0);
        self.behind = position.0 + 1;
        self.report.repeated.push(position);
    }
}
