//! Runs of event ids that cover many sealed segments, so that looking up an id that is not there
//! costs a probe per run and not one per segment.
//!
//! Eight neighbouring segments are merged into a run, eight runs into a larger one and so on, as
//! in a log-structured merge tree: a store of n segments has at most about 7 log8(n) of them.

use std::ops::Range;

use super::checked::{self, CheckedFile};
use super::run::Run;
use crate::error::Result;
use crate::format::blocks::FileKind;
use crate::format::directory::SegmentRow;
use crate::format::files::{LOG, LogFile};
use crate::format::idruns::{IdLayout, IdRunFooter, put_run};
use crate::options::ReadMode;
use crate::storage::Dir;

/// How many neighbours are merged into one.
pub(crate) const FAN_IN: usize = 8;

/// An open run.
#[derive(Debug)]
pub(crate) struct IdRun {
    file: CheckedFile,
    footer: IdRunFooter,
    layout: IdLayout,
}

impl IdRun {
    /// Opens a run; `None` where it is missing.
    pub(crate) fn open(
        dir: &Dir,
        first: u32,
        last: u32,
        store: [u8; 16],
        mode: ReadMode,
    ) -> Result<Option<Self>> {
        let name = LogFile::IdRun { first, last }.path();
        let Some(file) = CheckedFile::open(dir, &name, FileKind::IdRun, mode)? else {
            return Ok(None);
        };
        let wrong = || file.corrupt(0, "the footer of an id run of this store", "other bytes");
        let footer = IdRunFooter::decode(&file.footer()?).ok_or_else(wrong)?;
        let layout = IdLayout::new(footer.ids, footer.events);
        let names = (footer.store, footer.first_segment, footer.last_segment);
        if names != (store, first, last) || (footer.ids > 0 && layout.bytes().is_none()) {
            return Err(wrong());
        }
        Ok(Some(Self { file, footer, layout }))
    }

    pub(crate) const fn first(&self) -> u32 {
        self.footer.first_segment
    }

    pub(crate) const fn last(&self) -> u32 {
        self.footer.last_segment
    }

    /// How many ids it has.
    pub(crate) const fn ids(&self) -> u64 {
        self.footer.ids
    }

    /// How many segments it covers.
    pub(crate) const fn segments(&self) -> u32 {
        self.footer.last_segment - self.footer.first_segment + 1
    }

    /// The position behind the last event that it covers.
    pub(crate) const fn end(&self) -> u64 {
        self.footer.base.saturating_add(self.footer.events)
    }

    /// Whether it was built of these segments.
    pub(crate) fn covers(&self, first: &SegmentRow, last: &SegmentRow) -> bool {
        self.footer.first_salt == first.salt && self.footer.last_salt == last.salt
    }

    /// The position of the first event that it covers.
    pub(crate) const fn base(&self) -> u64 {
        self.footer.base
    }

    /// Looks something up; the numbers of events count from the base.
    pub(super) fn with_run<T>(&self, look_up: impl FnOnce(&Run<'_>) -> Result<T>) -> Result<T> {
        let read = |range: Range<usize>| self.file.read(range.start as u64..range.end as u64);
        let broken = || self.file.corrupt(0, "a bucket of ids", "one outside the run");
        look_up(&Run { layout: self.layout, read: &read, broken: &broken })
    }

    /// All entries, as (kept hash, position).
    pub(crate) fn all(&self) -> Result<Vec<(u64, u64)>> {
        if self.layout.ids == 0 {
            return Ok(Vec::new());
        }
        let run = self.file.read(0..self.layout.bytes().unwrap_or(u64::MAX))?;
        let base = self.footer.base;
        Ok(self.layout.all(&run).map(|(hash, event)| (hash, base.saturating_add(event))).collect())
    }

    /// Bytes of the whole file.
    pub(crate) fn bytes(&self) -> u64 {
        self.file.len()
    }
}

/// Writes the run of some neighbouring segments; `entries` are (kept hash, position).
pub(crate) fn write(
    dir: &Dir,
    store: [u8; 16],
    first: &SegmentRow,
    last: &SegmentRow,
    mut entries: Vec<(u64, u64)>,
) -> Result<()> {
    let base = first.base;
    for (_, event) in &mut entries {
        *event = event.saturating_sub(base);
    }
    entries.sort_unstable();
    let events = (last.base - base).saturating_add(u64::from(last.events));
    let footer = IdRunFooter {
        store,
        first_segment: first.ordinal,
        last_segment: last.ordinal,
        first_salt: first.salt,
        last_salt: last.salt,
        base,
        events,
        ids: entries.len() as u64,
    };
    let mut body = Vec::new();
    if !entries.is_empty() {
        put_run(&mut body, IdLayout::new(footer.ids, events), &entries);
    }
    let name = LogFile::IdRun { first: first.ordinal, last: last.ordinal }.path();
    checked::write(dir, LOG, &name, FileKind::IdRun, false, body, &footer.encode())
}
