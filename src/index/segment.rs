//! The index of one segment: files for what is old, memory for what is new.

use std::ops::RangeInclusive;

use super::live::{Indexed, LiveIndex, UNRESOLVED};
use super::part::StreamPart;
use super::sealed::SealedIndex;
use crate::error::{Error, Result};
use crate::place::Place;
use crate::sync::{Arc, RwLock};

/// A part of a segment's index that does not change any more.
#[derive(Clone, Debug)]
pub(crate) enum Unit {
    /// In its file; always the oldest part.
    Sealed(Arc<SealedIndex>),
    /// In memory, until a file takes it in.
    Live(Arc<LiveIndex>),
}

/// The index of a segment: units that do not change, oldest first, and the growing rest.
#[derive(Debug)]
pub(crate) struct SegmentIndex {
    ordinal: u32,
    parts: RwLock<Parts>,
}

#[derive(Debug)]
struct Parts {
    units: Arc<Vec<Unit>>,
    live: LiveIndex,
}

impl SegmentIndex {
    /// The index of a segment whose first events are in `units`.
    pub(crate) fn new(ordinal: u32, units: Vec<Unit>) -> Self {
        let first = units.last().map_or(0, Unit::end);
        let parts = Parts { units: Arc::new(units), live: LiveIndex::new(first) };
        Self { ordinal, parts: RwLock::new(parts) }
    }

    pub(crate) const fn ordinal(&self) -> u32 {
        self.ordinal
    }

    /// Takes in the next event.
    pub(crate) fn add(&self, event: &Indexed<'_>) {
        self.parts.write().live.add(event);
    }

    /// Takes in the events of a group under one lock.
    pub(crate) fn add_all<'a>(&self, events: impl Iterator<Item = Indexed<'a>>) {
        let mut parts = self.parts.write();
        events.for_each(|event| parts.live.add(&event));
    }

    /// How many events are indexed.
    pub(crate) fn events(&self) -> u32 {
        self.parts.read().live.end()
    }

    /// Moves what is in memory into a unit of its own, so that a file can be built of all units
    /// while the index goes on growing. Returns the units.
    pub(crate) fn freeze(&self) -> Arc<Vec<Unit>> {
        self.freeze_before(|live| LiveIndex::new(live.end()))
    }

    /// The same where as much is to follow.
    pub(crate) fn freeze_and_go_on(&self) -> Arc<Vec<Unit>> {
        self.freeze_before(LiveIndex::next)
    }

    fn freeze_before(&self, next: impl FnOnce(&LiveIndex) -> LiveIndex) -> Arc<Vec<Unit>> {
        let mut parts = self.parts.write();
        let next = next(&parts.live);
        // Also where nothing has come, so that no room is kept for what will not.
        let frozen = std::mem::replace(&mut parts.live, next);
        if !frozen.is_empty() {
            let mut units = Vec::clone(&parts.units);
            units.push(Unit::Live(Arc::new(frozen)));
            parts.units = Arc::new(units);
        }
        Arc::clone(&parts.units)
    }

    /// Puts a file in the place of the units it was built of.
    pub(crate) fn replace(&self, built_of: &Arc<Vec<Unit>>, sealed: SealedIndex) {
        let mut parts = self.parts.write();
        let newer = parts.units.iter().skip(built_of.len()).cloned();
        let units = std::iter::once(Unit::Sealed(Arc::new(sealed))).chain(newer).collect();
        parts.units = Arc::new(units);
    }

    /// Its file, where that is all there is.
    pub(super) fn only_file(&self) -> Option<Arc<SealedIndex>> {
        let parts = self.parts.read();
        match parts.units.as_slice() {
            [Unit::Sealed(sealed)] if parts.live.is_empty() => Some(Arc::clone(sealed)),
            _ => None,
        }
    }

    /// How many events its file holds; `None` where it has none.
    pub(crate) fn sealed_events(&self) -> Option<u32> {
        self.file().map(|file| file.footer.events)
    }

    /// Its file, which may be a part of it; `None` where it has none.
    pub(super) fn file(&self) -> Option<Arc<SealedIndex>> {
        match self.parts.read().units.first() {
            Some(Unit::Sealed(sealed)) => Some(Arc::clone(sealed)),
            _ => None,
        }
    }

    /// Puts what was read from the log in the place of a file that is damaged. Not where another
    /// file is there by now, which upkeep has built of what another thread has read again.
    pub(super) fn replace_sealed(&self, damaged: &Arc<SealedIndex>, rebuilt: LiveIndex) {
        let mut parts = self.parts.write();
        let is_there =
            |unit: &Unit| matches!(unit, Unit::Sealed(file) if Arc::ptr_eq(file, damaged));
        if !parts.units.first().is_some_and(is_there) {
            return;
        }
        let newer = parts.units.iter().skip(1).cloned();
        let units = std::iter::once(Unit::Live(Arc::new(rebuilt))).chain(newer).collect();
        parts.units = Arc::new(units);
    }

    /// The offset of an event's frame; `None` where the event is not indexed.
    pub(crate) fn offset(&self, ordinal: u32) -> Result<Option<u32>> {
        let units = {
            let parts = self.parts.read();
            if ordinal >= parts.live.first {
                return Ok(parts.live.offset(ordinal));
            }
            Arc::clone(&parts.units)
        };
        units.iter().find(|unit| ordinal < unit.end()).map(|unit| unit.offset(ordinal)).transpose()
    }

    /// The newest part of a stream, as it stands in this segment.
    pub(crate) fn newest(
        &self,
        name: &str,
        hash: u64,
        is: &dyn Fn(Place) -> Result<bool>,
    ) -> Result<Option<StreamPart>> {
        self.newest_from(name, hash, 0, is)
    }

    /// The same, as far as a part has events from an ordinal on.
    pub(crate) fn newest_from(
        &self,
        name: &str,
        hash: u64,
        from: u32,
        is: &dyn Fn(Place) -> Result<bool>,
    ) -> Result<Option<StreamPart>> {
        let units = {
            let parts = self.parts.read();
            if let Some(part) = live_part(&parts.live, name, hash) {
                return Ok(Some(part));
            }
            Arc::clone(&parts.units)
        };
        for unit in units.iter().rev().take_while(|unit| unit.end() > from) {
            if let Some(part) = unit.stream(name, hash, is)? {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    /// All parts of a stream in this segment, as one: its first version here, how many events, and
    /// the segment before, which may be unresolved.
    pub(crate) fn stream(
        &self,
        name: &str,
        hash: u64,
        is: &dyn Fn(Place) -> Result<bool>,
    ) -> Result<Option<StreamPart>> {
        let Some(newest) = self.newest(name, hash, is)? else { return Ok(None) };
        let (mut first_version, mut previous) = (newest.first_version, newest.previous);
        if previous == self.ordinal || previous == UNRESOLVED {
            let units = Arc::clone(&self.parts.read().units);
            for unit in units.iter().rev() {
                if let Some(part) = unit.stream(name, hash, is)?
                    && part.first_version < first_version
                {
                    (first_version, previous) = (part.first_version, part.previous);
                }
            }
        }
        let count = (newest.last_version() + 1).checked_sub(first_version);
        let count = count.and_then(|count| u32::try_from(count).ok());
        let count = count.ok_or_else(|| self.broken("another stream"))?;
        Ok(Some(StreamPart::live(first_version, count, previous)))
    }

    /// The places of a stream's events at some versions, all of which must be in this segment.
    pub(crate) fn places(
        &self,
        name: &str,
        hash: u64,
        versions: &RangeInclusive<u64>,
        is: &dyn Fn(Place) -> Result<bool>,
    ) -> Result<Vec<Place>> {
        let mut found = Vec::new();
        let (units, live) = {
            let parts = self.parts.read();
            let live = parts.live.stream(name, hash).map(|stream| {
                let part = StreamPart::live(stream.first_version, 0, 0);
                cut(stream.events.as_slice(), part.first_version, versions)
                    .iter()
                    .filter_map(|ordinal| Some((*ordinal, parts.live.offset(*ordinal)?)))
                    .collect::<Vec<_>>()
            });
            (Arc::clone(&parts.units), live)
        };
        let wanted = versions.end() + 1 - versions.start();
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let live = live.unwrap_or_default();
        if live.len() < wanted {
            for unit in units.iter() {
                unit.places(name, hash, versions, is, &mut found)?;
            }
        }
        found.extend(live);
        if found.len() != wanted {
            return Err(self.broken("another number of events of a stream"));
        }
        let place = |(ordinal, frame)| Place { segment: self.ordinal, frame, ordinal };
        Ok(found.into_iter().map(place).collect())
    }

    /// The units, oldest first, and what is asked of the growing part.
    pub(crate) fn look<T>(&self, ask: impl FnOnce(&LiveIndex) -> T) -> (Arc<Vec<Unit>>, T) {
        let parts = self.parts.read();
        (Arc::clone(&parts.units), ask(&parts.live))
    }

    /// All there is, the growing part as if it had been frozen now.
    #[cfg(test)]
    pub(super) fn all_units(&self) -> Vec<Unit> {
        let parts = self.parts.read();
        let mut units = Vec::clone(&parts.units);
        if !parts.live.is_empty() {
            units.push(Unit::Live(Arc::new(parts.live.clone())));
        }
        units
    }

    /// The units, without what has come in since they were frozen.
    pub(crate) fn units(&self) -> Arc<Vec<Unit>> {
        Arc::clone(&self.parts.read().units)
    }

    fn broken(&self, found: &str) -> Error {
        let file =
            crate::format::files::LogFile::SealedIndex { ordinal: self.ordinal, generation: 0 };
        Error::corrupt(file.path(), 0, "an index that agrees with itself", found)
    }
}

impl Unit {
    /// The ordinal behind its last event.
    pub(crate) fn end(&self) -> u32 {
        match self {
            Self::Sealed(sealed) => sealed.footer.events,
            Self::Live(live) => live.end(),
        }
    }

    fn offset(&self, ordinal: u32) -> Result<u32> {
        match self {
            Self::Sealed(sealed) => sealed.offset(ordinal),
            Self::Live(live) => Ok(live.offset(ordinal).unwrap_or_default()),
        }
    }

    fn stream(
        &self,
        name: &str,
        hash: u64,
        is: &dyn Fn(Place) -> Result<bool>,
    ) -> Result<Option<StreamPart>> {
        match self {
            Self::Sealed(sealed) => sealed.stream(hash, is),
            Self::Live(live) => Ok(live_part(live, name, hash)),
        }
    }

    fn places(
        &self,
        name: &str,
        hash: u64,
        versions: &RangeInclusive<u64>,
        is: &dyn Fn(Place) -> Result<bool>,
        found: &mut Vec<(u32, u32)>,
    ) -> Result<()> {
        match self {
            Self::Sealed(sealed) => {
                let Some(part) = sealed.stream(hash, is)? else { return Ok(()) };
                if *versions.start() > part.last_version() || *versions.end() < part.first_version {
                    return Ok(());
                }
                for ordinal in sealed.events(&part, versions)? {
                    found.push((ordinal, sealed.offset(ordinal)?));
                }
            }
            Self::Live(live) => {
                let Some(stream) = live.stream(name, hash) else { return Ok(()) };
                let events = cut(stream.events.as_slice(), stream.first_version, versions);
                found.extend(events.iter().filter_map(|o| Some((*o, live.offset(*o)?))));
            }
        }
        Ok(())
    }
}

fn live_part(live: &LiveIndex, name: &str, hash: u64) -> Option<StreamPart> {
    live.stream(name, hash).map(|stream| {
        let count = u32::try_from(stream.events.as_slice().len()).unwrap_or(u32::MAX);
        StreamPart::live(stream.first_version, count, stream.previous)
    })
}

/// The ordinals of some versions, out of those that begin with a version.
fn cut<'a>(events: &'a [u32], first: u64, versions: &RangeInclusive<u64>) -> &'a [u32] {
    let index = |version: u64| usize::try_from(version.saturating_sub(first)).unwrap_or(usize::MAX);
    let from = index(*versions.start()).min(events.len());
    let to = index(versions.end().saturating_add(1)).clamp(from, events.len());
    events.get(from..to).unwrap_or_default()
}
