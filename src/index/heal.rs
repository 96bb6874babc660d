//! Going on without index files that are missing or damaged: what they held is read again.

use super::live::LiveIndex;
use super::sealed::SealedIndex;
use super::segment::Unit;
use super::{Context, Index};
use crate::error::{Error, Result};
use crate::format::directory::SegmentRow;
use crate::format::files::{self, LogFile};
use crate::sync::Arc;

impl Index {
    /// An index file of a sealed segment; `None` where it is missing, damaged or another's.
    pub(super) fn open_file(&self, row: &SegmentRow, name: LogFile) -> Option<SealedIndex> {
        let Context { dir, mode, store, .. } = &self.context;
        let sealed = SealedIndex::open(dir, name, *mode).ok().flatten()?;
        let footer = &sealed.footer;
        let is_its = (footer.store, footer.salt, footer.base) == (*store, row.salt, row.base);
        let whole = (footer.events, footer.end, footer.chain) == (row.events, row.end, row.chain);
        let part = footer.events < row.events && footer.end < row.end;
        let fits = if matches!(name, LogFile::SealedIndex { .. }) { whole } else { part };
        (is_its && fits).then_some(sealed)
    }

    /// The index of a sealed segment without its file: what the last checkpoint had, and the rest
    /// of the log read again.
    pub(super) fn read_again(&self, row: &SegmentRow) -> Result<Vec<Unit>> {
        let name = LogFile::IndexCheckpoint { ordinal: row.ordinal, generation: row.generation };
        let part = self.open_file(row, name);
        let (known, from) =
            part.as_ref().map_or((0, 0), |part| (part.footer.events, part.footer.end));
        let rest = self.replay(row.ordinal, from, known, row.events)?;
        self.want_files();
        let part = part.map(|part| Unit::Sealed(Arc::new(part)));
        Ok(part.into_iter().chain([Unit::Live(Arc::new(rest))]).collect())
    }

    /// Reads events of a segment into a new index: those with the ordinals from `known` to before
    /// `end`, the first of them in the frame at `from` or later.
    pub(super) fn replay(
        &self,
        ordinal: u32,
        from: u32,
        known: u32,
        end: u32,
    ) -> Result<LiveIndex> {
        let mut live = LiveIndex::new(known);
        if known >= end {
            return Ok(live);
        }
        let hasher = self.context.hasher;
        self.context.frames.replay(ordinal, from, end - known, &mut |event| {
            if live.end() < end {
                live.add(&hasher.indexed(event, &hasher.labels(event)));
            }
            Ok(())
        })?;
        Ok(live)
    }

    /// Repeats what failed on a damaged index file after leaving that file out. Where it is out of
    /// use, another thread may have left it out since the attempt began: then it fails no more.
    pub(super) fn healing<T>(&self, attempt: impl Fn() -> Result<T>) -> Result<T> {
        const ROUNDS: usize = 64;
        let mut before = None;
        for _ in 0..ROUNDS {
            match attempt() {
                Err(Error::Corrupt { path, offset, expected, found }) => {
                    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                    if !self.leave_out(name)? && before.as_ref() == Some(&path) {
                        return Err(Error::Corrupt { path, offset, expected, found });
                    }
                    before = Some(path);
                }
                other => return other,
            }
        }
        attempt()
    }

    /// Stops using an index file. `false` where the name is none, or where that was done before.
    pub(super) fn leave_out(&self, name: &str) -> Result<bool> {
        if files::parse_directory(name).is_some() {
            let had = self.tiers().directory.is_some();
            self.change(|tiers| tiers.directory = None);
            return Ok(had);
        }
        match LogFile::parse(name) {
            Some(LogFile::IdRun { first, last }) => {
                let count = self.tiers().runs.len();
                self.change(|tiers| {
                    tiers.runs.retain(|run| (run.first(), run.last()) != (first, last));
                });
                Ok(self.tiers().runs.len() < count)
            }
            Some(
                LogFile::SealedIndex { ordinal, .. } | LogFile::IndexCheckpoint { ordinal, .. },
            ) => {
                let Some(slot) = self.tiers().slot(ordinal).cloned() else { return Ok(false) };
                let Some(index) = slot.index.read().clone() else { return Ok(false) };
                let Some(damaged) = index.file() else { return Ok(false) };
                let live = self.replay(ordinal, 0, 0, damaged.footer.events)?;
                index.replace_sealed(&damaged, live);
                self.want_files();
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}
