//! For verify: index files against what the log gives.

use super::build::{LookUp, build};
use super::live::LiveIndex;
use super::save::{Covers, describe};
use super::{Directory, Hasher, IdRun, SealedIndex};
use crate::error::{Error, Result};
use crate::format::directory::Slot;
use crate::place::{Frames, LoggedEvent, Place};
use crate::position::{Position, Version};

/// Where a file is not what the log gives.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) offset: u64,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Difference {
    fn at(offset: u64, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { offset, expected: expected.into(), found: found.into() }
    }
}

/// The index of a segment, as its log gives it, from the first event on.
#[derive(Debug)]
pub(crate) struct Rebuild {
    live: LiveIndex,
}

impl Rebuild {
    pub(crate) fn new() -> Self {
        Self { live: LiveIndex::new(0) }
    }

    /// Takes in the next event. `previous` is the segment with the events of its stream before
    /// this segment, 0 where there are none.
    pub(crate) fn add(&mut self, hasher: &Hasher, event: &LoggedEvent<'_>, previous: u32) {
        let labels = hasher.labels(event);
        let mut indexed = hasher.indexed(event, &labels);
        indexed.previous = previous;
        self.live.add(&indexed);
    }

    /// How an index file differs from what the log gives, up to where `covers` says. The same
    /// events give the same bytes, so bytes are compared.
    pub(crate) fn difference(
        &self,
        file: &SealedIndex,
        store: [u8; 16],
        covers: &Covers,
    ) -> Result<Option<Difference>> {
        let describes = describe(store, file.footer.ordinal, covers);
        let units = if self.live.is_empty() {
            Vec::new()
        } else {
            vec![super::Unit::Live(crate::sync::Arc::new(self.live.clone()))]
        };
        let previous = |_: &str, _: u64| Ok(0);
        let look_up = LookUp { frames: &Unasked, previous: &previous };
        let (mut expected, footer) = build(&units, describes, &look_up)?;
        expected.extend_from_slice(&footer);
        let found = file.content()?;
        Ok(first_difference(&expected, &found))
    }
}

fn first_difference(expected: &[u8], found: &[u8]) -> Option<Difference> {
    if expected == found {
        return None;
    }
    let at = expected.iter().zip(found).position(|(a, b)| a != b);
    let at = at.unwrap_or_else(|| expected.len().min(found.len()));
    let show = |bytes: &[u8]| {
        let some = bytes.get(at..bytes.len().min(at + 8)).unwrap_or_default();
        if some.is_empty() {
            return "the end".to_owned();
        }
        let hex: Vec<String> = some.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("bytes {}", hex.join(" "))
    };
    Some(Difference::at(at as u64, show(expected), show(found)))
}

/// How the slots of a directory differ from those that the log gives, which must be sorted.
pub(crate) fn directory_difference(
    directory: &Directory,
    expected: &[Slot],
) -> Result<Option<Difference>> {
    let found = directory.all()?;
    if found == expected {
        // All is there; it also has to be where a look-up goes.
        for slot in expected {
            if !directory.find(slot.hash)?.contains(slot) {
                let wanted = format!("stream {:016x} where its hash leads", slot.hash);
                return Ok(Some(Difference::at(0, wanted, "another place")));
            }
        }
        return Ok(None);
    }
    let at = expected.iter().zip(&found).position(|(a, b)| a != b);
    let at = at.unwrap_or_else(|| expected.len().min(found.len()));
    let show = |slots: &[Slot]| match slots.get(at) {
        Some(slot) => format!(
            "stream {:016x} last in segment {} at byte {}",
            slot.hash, slot.segment, slot.frame
        ),
        None => format!("{} streams", slots.len()),
    };
    Ok(Some(Difference::at(0, show(expected), show(&found))))
}

/// Whether a run proposes a position for the hash of an id or a label.
pub(crate) fn run_has(run: &IdRun, hash: u64, position: Position) -> Result<bool> {
    let Some(number) = position.0.checked_sub(run.base()) else { return Ok(false) };
    let here = number..number.saturating_add(1);
    Ok(run.with_run(|run| run.count(hash, &here))? > 0)
}

/// Nothing is looked up while an index is built of what the log gave: every stream comes with the
/// segment before.
pub(super) struct Unasked;

impl Unasked {
    fn error() -> Error {
        Error::corrupt("log", 0, "an index that is complete by itself", "a look-up")
    }
}

impl Frames for Unasked {
    fn stream_is(&self, _: Place, _: &str) -> Result<bool> {
        Err(Self::error())
    }

    fn stream_name(&self, _: Place) -> Result<String> {
        Err(Self::error())
    }

    fn last_of_stream(&self, _: u32, _: u32, _: &str) -> Result<Option<(Version, Position)>> {
        Err(Self::error())
    }

    fn replay(
        &self,
        _: u32,
        _: u32,
        _: u32,
        _: &mut dyn FnMut(&LoggedEvent<'_>) -> Result<()>,
    ) -> Result<()> {
        Err(Self::error())
    }
}
