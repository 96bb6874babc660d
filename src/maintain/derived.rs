//! The derived files against what the walk of the log gives.

use std::collections::VecDeque;

use super::plan::Plan;
use crate::error::{Error, Result};
use crate::format::directory::{SegmentRow, Slot};
use crate::format::files::{self, LogFile};
use crate::index::{
    Covers, Difference, Directory, Hasher, IdRun, Rebuild, SealedIndex, directory_difference,
    run_has,
};
use crate::log::scan::Progress;
use crate::options::ReadMode;
use crate::place::LoggedEvent;
use crate::position::Position;
use crate::storage::Dir;

const MODE: ReadMode = ReadMode::Positional;

/// All derived files, and the index of the segment that is being walked.
#[derive(Debug)]
pub(super) struct Derived<'a> {
    dir: &'a Dir,
    store: [u8; 16],
    hasher: Hasher,
    is_live: bool,
    /// What is still to be compared.
    indexes: Vec<LogFile>,
    directories: Vec<(String, Directory)>,
    runs: VecDeque<Run>,
    rows: Vec<SegmentRow>,
    rebuild: Rebuild,
    here: VecDeque<(LogFile, SealedIndex)>,
    /// How many files were compared.
    pub(super) compared: u64,
    /// What was found: in a file, and where.
    pub(super) faults: Vec<Error>,
}

/// A run of ids, and how many ids the log has had in its segments so far.
#[derive(Debug)]
struct Run {
    file: IdRun,
    ids: u64,
    is_wrong: bool,
}

impl<'a> Derived<'a> {
    /// Opens what there is. Files that cannot be opened are findings.
    pub(super) fn open(dir: &'a Dir, plan: &Plan, hasher: Hasher) -> Result<Self> {
        let mut derived = Self {
            dir,
            store: plan.header.id,
            hasher,
            is_live: plan.is_live,
            indexes: Vec::new(),
            directories: Vec::new(),
            runs: VecDeque::new(),
            rows: Vec::new(),
            rebuild: Rebuild::new(),
            here: VecDeque::new(),
            compared: 0,
            faults: Vec::new(),
        };
        for file in &plan.listing.others {
            match *file {
                LogFile::IdRun { first, last } => {
                    let opened = IdRun::open(dir, first, last, plan.header.id, MODE);
                    let run = derived.sound(opened)?.flatten();
                    derived.runs.extend(run.map(|file| Run { file, ids: 0, is_wrong: false }));
                }
                other => derived.indexes.push(other),
            }
        }
        for name in dir.list("")? {
            if let Some(number) = files::parse_directory(&name) {
                let opened = Directory::open(dir, number, plan.header.id, MODE);
                let directory = derived.sound(opened)?.flatten();
                derived.directories.extend(directory.map(|directory| (name, directory)));
            }
        }
        Ok(derived)
    }

    /// Begins a segment: its index files are opened.
    pub(super) fn begin(&mut self, ordinal: u32, generation: u32) -> Result<()> {
        self.rebuild = Rebuild::new();
        self.here.clear();
        let (mine, others): (Vec<LogFile>, Vec<LogFile>) =
            self.indexes.drain(..).partition(|file| file.is_of(ordinal, generation));
        self.indexes = others;
        for file in mine {
            let opened = SealedIndex::open(self.dir, file, MODE);
            let index = self.sound(opened)?.flatten();
            self.here.extend(index.map(|index| (file, index)));
        }
        Ok(())
    }

    /// Takes in the next event of the log.
    pub(super) fn event(
        &mut self,
        event: &LoggedEvent<'_>,
        segment: u32,
        previous: u32,
        position: Position,
    ) -> Result<()> {
        self.rebuild.add(&self.hasher, event, previous);
        // Labels of one event with the same hash have one entry.
        let mut keys = self.hasher.labels(event);
        keys.sort_unstable();
        keys.dedup();
        keys.extend(event.id.map(|id| self.hasher.id(id)));
        for hash in keys {
            self.key(hash, segment, position)?;
        }
        Ok(())
    }

    /// Looks for the hash of an id or a label in the runs that cover its event.
    fn key(&mut self, hash: u64, segment: u32, position: Position) -> Result<()> {
        let mut found = Vec::new();
        for run in self.runs.iter_mut().filter(|run| run.covers(segment)) {
            run.ids += 1;
            if run.is_wrong {
                continue;
            }
            let name = LogFile::IdRun { first: run.file.first(), last: run.file.last() };
            match run_has(&run.file, hash, position) {
                Ok(true) => {}
                Ok(false) => {
                    run.is_wrong = true;
                    let expected = format!("ids and labels of the event at position {position}");
                    found.push(Error::corrupt(self.dir.path(&name.path()), 0, expected, "none"));
                }
                Err(e) if e.is_damage() => {
                    run.is_wrong = true;
                    found.push(e);
                }
                Err(e) => return Err(e),
            }
        }
        self.faults.extend(found);
        Ok(())
    }

    /// Looks at the index files that end where the log has come to.
    pub(super) fn frame(&mut self, progress: &Progress, row: &SegmentRow) -> Result<()> {
        let ends_here = |(_, index): &(LogFile, SealedIndex)| {
            index.is_checkpoint && index.footer.end == progress.end
        };
        while let Some(at) = self.here.iter().position(ends_here) {
            let Some((file, index)) = self.here.remove(at) else { break };
            if index.footer.salt != row.salt {
                self.here.push_back((file, index));
                break;
            }
            let covers = Covers {
                salt: row.salt,
                generation: row.generation,
                base: row.base,
                frames: progress.frames,
                end: progress.end,
                last_crc: progress.last_crc,
                chain: progress.chain,
                first_time: progress.first_time,
                last_time: progress.last_time,
            };
            self.compare(file, &index, &covers)?;
        }
        Ok(())
    }

    /// Ends a segment that was walked without a gap.
    pub(super) fn end(&mut self, row: &SegmentRow, is_sealed: bool) -> Result<()> {
        self.rows.push(*row);
        for (file, index) in std::mem::take(&mut self.here) {
            let footer = &index.footer;
            // A segment without an event may be replaced, and its checkpoint stays behind. Beside
            // a writer, files of later moments appear.
            let is_left_over = footer.salt != row.salt && footer.events == 0;
            let is_newer = self.is_live && !is_sealed;
            if is_left_over || is_newer {
                continue;
            }
            if index.is_checkpoint {
                let expected = format!("an index that ends with a frame before byte {}", row.end);
                let found = format!("one that ends at byte {}", footer.end);
                self.fault(&file.path(), 0, &expected, &found);
                continue;
            }
            self.compare(file, &index, &Covers::sealed(row))?;
        }
        self.end_runs(row)
    }

    /// What the directories that end with the segment say, against the streams of the log.
    pub(super) fn directories(
        &mut self,
        ordinal: u32,
        slots: impl Fn() -> Vec<Slot>,
    ) -> Result<()> {
        for (name, directory) in std::mem::take(&mut self.directories) {
            if directory.covered() != ordinal {
                self.directories.push((name, directory));
                continue;
            }
            if directory.segments != self.rows {
                let rows = directory.segments.iter().zip(&self.rows);
                let wrong = rows.into_iter().find(|(a, b)| a != b).map_or(0, |(_, b)| b.ordinal);
                let expected = format!("what the log says of segment {wrong}");
                self.fault(&name, 0, &expected, "something else");
            }
            let difference = directory_difference(&directory, &slots());
            self.note(&name, difference)?;
        }
        Ok(())
    }

    fn end_runs(&mut self, row: &SegmentRow) -> Result<()> {
        let (ended, rest): (VecDeque<Run>, VecDeque<Run>) = std::mem::take(&mut self.runs)
            .into_iter()
            .partition(|run| run.file.last() == row.ordinal);
        self.runs = rest;
        for Run { file: run, ids, is_wrong } in ended {
            let name = LogFile::IdRun { first: run.first(), last: run.last() }.path();
            self.compared += 1;
            let first = self.rows.iter().find(|row| row.ordinal == run.first()).copied();
            if !first.is_some_and(|first| run.covers(&first, row)) {
                self.fault(&name, 0, "the ids of these segments", "those of others");
            } else if !is_wrong && run.ids() != ids {
                self.fault(&name, 0, &format!("{ids} ids"), &format!("{} ids", run.ids()));
            } else if !is_wrong {
                // Every block is read once, also those that no id of the log leads to.
                let all = run.all().map(|_| ());
                self.sound(all)?;
            }
        }
        Ok(())
    }

    fn compare(&mut self, file: LogFile, index: &SealedIndex, covers: &Covers) -> Result<()> {
        let difference = self.rebuild.difference(index, self.store, covers);
        self.note(&file.path(), difference)
    }

    fn note(&mut self, name: &str, difference: Result<Option<Difference>>) -> Result<()> {
        self.compared += 1;
        if let Some(Some(Difference { offset, expected, found })) = self.sound(difference)? {
            self.fault(name, offset, &expected, &found);
        }
        Ok(())
    }

    fn fault(&mut self, name: &str, offset: u64, expected: &str, found: &str) {
        self.faults.push(Error::corrupt(self.dir.path(name), offset, expected, found));
    }

    /// A damaged file is a finding; whatever else fails ends the check.
    fn sound<T>(&mut self, found: Result<T>) -> Result<Option<T>> {
        match found {
            Ok(value) => Ok(Some(value)),
            Err(e) if e.is_damage() => {
                self.faults.push(e);
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

impl Run {
    fn covers(&self, segment: u32) -> bool {
        (self.file.first()..=self.file.last()).contains(&segment)
    }
}
