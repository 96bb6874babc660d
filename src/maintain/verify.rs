//! Verify: everything against everything, without changing anything.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use super::derived::Derived;
use super::identities::Identities;
use super::plan::{Plan, Planned, Written, plan};
use super::report::{Finding, Severity, VerifyReport};
use super::walk::{Gap, Visit, walk};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::format::Invalid;
use crate::format::directory::{SegmentRow, Slot};
use crate::format::frame::Kind;
use crate::index::Hasher;
use crate::log::scan::Progress;
use crate::log::segment::FrameAt;
use crate::log::{Segment, logged};
use crate::open;
use crate::position::Timestamp;
use crate::storage::Dir;
use crate::storage::disk::Disk;
use crate::sync::Arc;

/// Checks the store in a directory: every record of the log, and every derived file against the
/// log. Changes nothing and takes no lock; works beside a running writer, on what that has made
/// durable by then.
///
/// ```
/// use annals::{ExpectedVersion, NewEvent, Store, maintain};
/// let dir = tempfile::tempdir().unwrap();
/// let path = dir.path().join("s");
/// let store = Store::open(&path)?;
/// store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("OrderPlaced", "{}")])?;
/// store.close()?;
/// let report = maintain::verify(&path).progress(|done, total| assert!(done <= total)).run()?;
/// assert!(report.is_clean());
/// assert_eq!(report.events, 1);
/// # Ok::<(), annals::Error>(())
/// ```
pub fn verify(path: impl AsRef<Path>) -> Verify<'static> {
    Verify::new(Dir::new(Arc::new(Disk::new(path.as_ref().into()))), None)
}

/// A check of a store, to be run. Made by [`verify`] and [`Store::verify`](crate::Store::verify).
#[must_use = "a check does nothing until it is run"]
pub struct Verify<'a> {
    dir: Dir,
    written: Written,
    hash_bits: u32,
    progress: Option<Box<dyn FnMut(u64, u64) + 'a>>,
}

impl fmt::Debug for Verify<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verify").field("path", &self.dir.path("")).finish_non_exhaustive()
    }
}

impl<'a> Verify<'a> {
    pub(crate) fn new(dir: Dir, written: Option<(u32, u32)>) -> Self {
        Self { dir, written, hash_bits: 64, progress: None }
    }

    /// Calls back with the bytes of the log that were walked and those that are to be. The second
    /// number grows where ids take several walks.
    pub fn progress(self, progress: impl FnMut(u64, u64) + 'a) -> Self {
        Self { progress: Some(Box::new(progress)), ..self }
    }

    /// For stores that were written with shortened hashes, in tests.
    #[doc(hidden)]
    pub fn hash_bits(self, bits: u32) -> Self {
        Self { hash_bits: bits, ..self }
    }

    /// Runs the check.
    ///
    /// Memory is bounded by about 64 bytes for each stream, the index of one segment (for segments
    /// of 64 MiB some tens of MiB), 64 MiB for event ids, and the findings.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::NotAStore`], [`Error::UnsupportedFormat`] where a newer
    /// version wrote to the store, and [`Error::Io`] where something cannot be read. Damage is no
    /// error here but a finding.
    pub fn run(mut self) -> Result<VerifyReport> {
        let (mut report, is_live) = self.round()?;
        if is_live && !report.findings.is_empty() {
            // Files change under a look beside a writer; what is really damaged is found twice.
            let (again, _) = self.round()?;
            let first = std::mem::replace(&mut report, again).findings;
            let is_known = |found: &Finding| {
                first.iter().any(|known| (&known.file, known.offset) == (&found.file, found.offset))
            };
            report.findings.retain(is_known);
        }
        Ok(report)
    }

    fn round(&mut self) -> Result<(VerifyReport, bool)> {
        let mut report = VerifyReport::default();
        let header = match open::read_header(&self.dir) {
            Ok(header) => header,
            Err(e) if e.is_corruption() => {
                report.add(Severity::Log, e);
                return Ok((report, false));
            }
            Err(e) => return Err(e),
        };
        let dir = self.dir.clone();
        let plan = plan(&dir, header, self.written)?;
        for fault in plan.faults.iter().cloned() {
            report.add(Severity::Log, fault);
        }
        let hasher = Hasher::new(&header.hash_key, self.hash_bits);
        let derived = Derived::open(&dir, &plan, hasher)?;
        let total: u64 = plan.segments.iter().map(|segment| u64::from(segment.end)).sum();
        let mut check = Check {
            report,
            derived,
            hasher,
            second: RandomState::new(),
            streams: HashMap::new(),
            ids: Identities::new(),
            is_broken: false,
            is_first_round: true,
            progress: None,
            row: None,
            last_time: Timestamp::default(),
            behind: 1,
        };
        let (mut done, mut all) = (0, total);
        loop {
            for planned in &plan.segments {
                check.segment(&dir, planned)?;
                done += u64::from(planned.end);
                if let Some(progress) = &mut self.progress {
                    progress(done, all);
                }
            }
            check.repeated_ids(&dir);
            if !check.ids.next_round() {
                break;
            }
            check.is_first_round = false;
            all += total;
        }
        Ok((check.finish(&dir, &plan), plan.is_live))
    }
}

/// A stream as far as the log was walked.
#[derive(Clone, Copy, Debug)]
struct Stream {
    version: u64,
    segment: u32,
    frame: u32,
}

/// The check under way.
struct Check<'a> {
    report: VerifyReport,
    derived: Derived<'a>,
    hasher: Hasher,
    /// With the store's hash it tells streams apart, in 128 bits that nobody can aim at.
    second: RandomState,
    streams: HashMap<(u64, u64), Stream>,
    ids: Identities,
    /// There was a gap, so versions may jump and derived files hold what the log has lost.
    is_broken: bool,
    /// Later rounds look at ids only.
    is_first_round: bool,
    /// The frames of the segment so far, and what the segment is.
    progress: Option<Progress>,
    row: Option<SegmentRow>,
    last_time: Timestamp,
    /// The position behind the last event.
    behind: u64,
}

impl Check<'_> {
    fn segment(&mut self, dir: &Dir, planned: &Planned) -> Result<()> {
        let header = &planned.header;
        if !self.is_first_round {
            return walk(dir, planned, self).map(|_| ());
        }
        if planned.base != self.behind {
            self.log_fault(
                dir,
                planned,
                &format!("a segment that begins at position {}", self.behind),
                &format!("one that begins at {}", planned.base),
            );
        }
        self.is_broken |= planned.is_damaged;
        self.derived.begin(header.ordinal, header.generation)?;
        self.progress = Some(Progress::start(header));
        self.row = Some(SegmentRow {
            ordinal: header.ordinal,
            generation: header.generation,
            salt: header.salt,
            base: planned.base,
            events: 0,
            end: 0,
            len: header.len,
            last_crc: 0,
            chain: crate::format::segment::Chain::EMPTY,
        });
        let (progress, is_whole) = walk(dir, planned, self)?;
        self.report.segments += 1;
        self.report.bytes += u64::from(progress.end);
        self.is_broken |= !is_whole;
        let events = planned.events.filter(|_| !is_whole).unwrap_or(progress.events);
        self.behind = planned.base + u64::from(events.max(progress.events));
        if !is_whole || self.is_broken {
            return Ok(());
        }
        if let Some((crc, chain)) = planned.digest
            && (crc, chain) != (progress.last_crc, progress.chain)
        {
            let found = format!("{:08x} and {:016x}", progress.last_crc, progress.chain.0);
            let expected = format!("frames with the digest {crc:08x} and {:016x}", chain.0);
            self.log_fault(dir, planned, &expected, &found);
            return Ok(());
        }
        let row = self.row.map(|row| SegmentRow {
            events: progress.events,
            end: progress.end,
            last_crc: progress.last_crc,
            chain: progress.chain,
            ..row
        });
        if let Some(row) = row {
            self.derived.end(&row, planned.is_sealed)?;
            let streams = &self.streams;
            self.derived.directories(row.ordinal, || slots(streams))?;
        }
        Ok(())
    }

    fn log_fault(&mut self, dir: &Dir, planned: &Planned, expected: &str, found: &str) {
        self.is_broken = true;
        let path = dir.path(&planned.file().path());
        self.report.add(Severity::Log, Error::corrupt(path, 4096, expected, found));
    }

    /// One event of the log, whole.
    fn event(&mut self, segment: &Segment, frame: u32, event: &Event) -> Result<()> {
        let hash = event.has_given_id().then(|| self.hasher.id(event.id()));
        if let Some(hash) = hash {
            self.ids.add(hash, event.id(), event.position());
        }
        if !self.is_first_round {
            return Ok(());
        }
        self.report.events += 1;
        self.report.last_position = event.position();
        let name = event.stream();
        let key = (self.hasher.stream(name), self.second.hash_one(name));
        let version = event.version().0;
        let here = Stream { version, segment: segment.ordinal(), frame };
        let before = self.streams.insert(key, here);
        let next = before.map_or(1, |before| before.version + 1);
        if version < next || (version > next && !self.is_broken) {
            let expected = format!("version {next} of stream \"{}\"", crate::names::shown(name));
            let error = segment.corrupt(frame, &expected, &format!("version {version}"));
            self.report.add(Severity::Log, error);
        }
        if self.is_broken {
            return Ok(());
        }
        let logged = logged(frame, event);
        let previous = before.map_or(0, |before| before.segment);
        self.derived.event(&logged, segment.ordinal(), previous, event.position())
    }

    /// What a control frame says, against what was walked.
    fn control(&mut self, segment: &Segment, at: &FrameAt) {
        let Some(progress) = &self.progress else { return };
        if let Some(seal) = at.frame.seal(at.bytes())
            && !self.is_broken
            && (seal.frames, seal.events, seal.first_time, seal.last_time, seal.chain)
                != (
                    progress.frames,
                    progress.events,
                    progress.first_time,
                    progress.last_time,
                    progress.chain,
                )
        {
            let expected = format!("a seal of {} events", progress.events);
            let found = format!("one of {} events, or of others", seal.events);
            self.report.add(Severity::Log, segment.corrupt(at.offset, &expected, &found));
        }
    }

    fn repeated_ids(&mut self, dir: &Dir) {
        for (id, first, second) in self.ids.repeated() {
            let expected = format!("event id {id} once, at position {first}");
            let found = format!("again at position {second}");
            let error = Error::corrupt(dir.path("log"), second.0, expected, found);
            self.report.add(Severity::Log, error);
        }
    }

    fn finish(mut self, dir: &Dir, plan: &Plan) -> VerifyReport {
        for fault in std::mem::take(&mut self.derived.faults) {
            self.report.add(Severity::Derived, fault);
        }
        if let Some((file, end, bytes)) = plan.torn {
            let path = dir.path(&file.path());
            let found = format!("{bytes} bytes of a write that was never finished");
            let error = Error::corrupt(path, end.into(), "the end of the log", found);
            self.report.add(Severity::TornTail, error);
        }
        self.report.index_files = self.derived.compared;
        self.report.uncompared = self.is_broken;
        self.report.streams = self.streams.len() as u64;
        self.report
    }
}

impl Visit for Check<'_> {
    fn frame(&mut self, segment: &Segment, at: &FrameAt, damage: Option<&Invalid>) -> Result<()> {
        self.is_broken |= damage.is_some();
        let mut is_named = false;
        for index in 0..at.frame.events {
            match segment.event(at, index) {
                Ok(event) => self.event(segment, at.offset, &event)?,
                Err(e) if !e.is_corruption() => return Err(e),
                Err(e) => {
                    is_named = true;
                    self.is_broken = true;
                    self.report.add(Severity::Log, e);
                }
            }
        }
        if let Some(invalid) = damage
            && !is_named
        {
            let error = segment.corrupt(at.offset, &invalid.expected, &invalid.found);
            self.report.add(Severity::Log, error);
        }
        if !self.is_first_round {
            return Ok(());
        }
        if at.frame.kind == Kind::Seal {
            self.control(segment, at);
        }
        if at.frame.time < self.last_time {
            let expected = format!("a time not before {}", self.last_time.as_micros());
            let found = at.frame.time.as_micros().to_string();
            self.report.add(Severity::Log, segment.corrupt(at.offset, &expected, &found));
        }
        self.last_time = self.last_time.max(at.frame.time);
        self.report.frames += u64::from(damage.is_none());
        let frame = &at.frame;
        if let (Some(progress), Some(row)) = (&mut self.progress, &self.row) {
            progress.advance(frame.crc, frame.len, frame.kind, frame.events.into(), frame.time);
            if !self.is_broken {
                self.derived.frame(progress, row)?;
            }
        }
        Ok(())
    }

    fn gap(&mut self, segment: &Segment, gap: &Gap) -> Result<()> {
        self.is_broken = true;
        if !gap.is_known && self.is_first_round {
            let error = segment.corrupt(gap.offset, &gap.invalid.expected, &gap.invalid.found);
            self.report.add(Severity::Log, error);
        }
        Ok(())
    }
}

/// The slots of a directory of these streams.
fn slots(streams: &HashMap<(u64, u64), Stream>) -> Vec<Slot> {
    let slot = |((hash, _), stream): (&(u64, u64), &Stream)| Slot {
        hash: *hash,
        segment: stream.segment,
        frame: stream.frame,
    };
    let mut slots: Vec<Slot> = streams.iter().map(slot).collect();
    slots.sort_unstable();
    slots
}
