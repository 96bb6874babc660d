//! What is to be walked: every segment of which anything can be read, and up to where. The faults
//! that show without reading frames are found on the way.

use std::collections::BTreeMap;
use std::path::Path;

use super::salvage::{Hint, salvage};
use crate::error::{Error, Result};
use crate::format::control::Begin;
use crate::format::directory::SegmentRow;
use crate::format::files::LogFile;
use crate::format::segment::{Chain, SegmentHeader};
use crate::format::store::StoreHeader;
use crate::index::SealedIndex;
use crate::log::recovery::Decision;
use crate::log::survey::{self, Last, Listing, Look};
use crate::open;
use crate::options::{ReadMode, Settings};
use crate::position::Timestamp;
use crate::storage::{Access, Dir, NamedFile};

/// The log as it is to be walked.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) header: StoreHeader,
    pub(super) listing: Listing,
    /// Oldest first.
    pub(super) segments: Vec<Planned>,
    /// What is wrong already.
    pub(super) faults: Vec<Error>,
    /// Bytes behind the end that no one was told about: the file, where, how many.
    pub(super) torn: Option<(LogFile, u32, u64)>,
    /// A position up to which something that verifies says that there were events.
    pub(super) promised: u64,
    /// The end of the log is gone, and nothing says how far it went.
    pub(super) lost_tail: bool,
    /// A writer goes on meanwhile.
    pub(super) is_live: bool,
}

/// A segment that is to be walked.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) header: SegmentHeader,
    pub(super) base: u64,
    /// Where its frames end.
    pub(super) end: u32,
    /// `end` is what the log says, and not how far to look.
    pub(super) end_is_known: bool,
    /// Up to where its frames were durable, as the directory or an index file knows.
    pub(super) known_end: u32,
    /// How many events it held, where something says so.
    pub(super) events: Option<u32>,
    /// What the segment behind it says of its last frame and its digest.
    pub(super) digest: Option<(u32, Chain)>,
    /// Its header or first frame is damaged, and known to be.
    pub(super) is_damaged: bool,
    /// The segment behind it begins, so nothing is added to it.
    pub(super) is_sealed: bool,
}

impl Planned {
    pub(super) const fn file(&self) -> LogFile {
        LogFile::Segment { ordinal: self.header.ordinal, generation: self.header.generation }
    }
}

/// Up to where a store that is open has handed frames to its files: the newest segment, its end.
pub(super) type Written = Option<(u32, u32)>;

/// What looking at a segment's header and first frame gave.
struct Seen {
    file: NamedFile,
    header: SegmentHeader,
    begin: Option<Begin>,
    base: Option<u64>,
}

/// Looks at everything but frames and indexes.
pub(super) fn plan(dir: &Dir, header: StoreHeader, written: Written) -> Result<Plan> {
    let settings = Settings { read_mode: ReadMode::Positional, ..Settings::default() };
    let opened = open::open_read_only(dir, &settings, written.is_some())?;
    let damage = opened.catalog.damage();
    let is_live = written.is_some() || open::writer_is_alive(dir)?;
    let listing = survey::list(dir)?;
    let rows = open::directory_rows(dir, header.id, ReadMode::Positional)?;
    let hints = hints(dir, header.id, &listing, &rows)?;
    let promised = hints.values().flatten().filter_map(Hint::behind).max().unwrap_or(1) - 1;
    let mut plan = Plan {
        header,
        listing,
        segments: Vec::new(),
        faults: Vec::new(),
        torn: None,
        promised,
        lost_tail: false,
        is_live,
    };
    let seen = plan.look(dir, &hints, damage.as_ref())?;
    plan.chain(dir, seen, &hints, written)?;
    // Opening has the last word: whatever it refuses is damage, and named as it names it.
    if let Some(damage) = damage {
        plan.add_fault(damage);
    }
    // What a newer version wrote is no damage, and is not ours to judge.
    let newer = |fault: &&Error| matches!(fault, Error::UnsupportedFormat { .. });
    plan.faults.iter().find(newer).cloned().map_or(Ok(()), Err)?;
    Ok(plan)
}

impl Plan {
    fn add_fault(&mut self, fault: Error) {
        let place = |e: &Error| match e {
            Error::Corrupt { path, offset, .. } => Some((path.clone(), *offset)),
            Error::UnsupportedFormat { path, .. } => Some((path.clone(), 0)),
            _ => None,
        };
        if !self.faults.iter().any(|known| place(known) == place(&fault)) {
            self.faults.push(fault);
        }
    }

    /// Looks at the header and the first frame of each segment.
    fn look(
        &mut self,
        dir: &Dir,
        hints: &BTreeMap<u32, Vec<Hint>>,
        damage: Option<&Error>,
    ) -> Result<Vec<Seen>> {
        let is_refused = |path: &Path| match damage {
            Some(Error::Corrupt { path: damaged, .. }) => damaged == path,
            _ => false,
        };
        let mut seen = Vec::new();
        let newest = self.listing.segments.keys().next_back().copied().unwrap_or(0);
        for ordinal in 1..=newest {
            let known = hints.get(&ordinal).map(Vec::as_slice).unwrap_or_default();
            let Some(generation) = self.listing.segments.get(&ordinal).copied() else {
                self.add_fault(survey::missing(dir, ordinal));
                self.lost_tail = !known.iter().any(|hint| hint.is_whole);
                continue;
            };
            let name = LogFile::Segment { ordinal, generation };
            let file = dir.open(&name.path(), Access::Read)?;
            match survey::look(&file, self.header.id, (ordinal, generation), ordinal == newest) {
                Ok(Look::Used(header, begin, _)) => {
                    self.lost_tail = false;
                    let base = Some(begin.base);
                    seen.push(Seen { file, header, begin: Some(begin), base });
                }
                Ok(Look::Unused(_)) if is_refused(file.path()) => {
                    let found = salvage(&file, self.header.id, (ordinal, generation), None, known)?;
                    self.lost_tail = true;
                    if let Some((header, begin)) = found {
                        let base = base_of(begin.as_ref(), &header, known);
                        seen.push(Seen { file, header, begin: None, base });
                    }
                }
                Ok(Look::Unused(header)) => {
                    // Prepared, unless something says that there were events.
                    if known.iter().any(Hint::has_events)
                        && let Some((header, begin)) =
                            salvage(&file, self.header.id, (ordinal, generation), header, known)?
                    {
                        let base = base_of(begin.as_ref(), &header, known);
                        seen.push(Seen { file, header, begin: None, base });
                    }
                }
                Err(e) if e.is_damage() => {
                    self.add_fault(e);
                    let found = salvage(&file, self.header.id, (ordinal, generation), None, known)?;
                    self.lost_tail = found.is_none() && !known.iter().any(|hint| hint.is_whole);
                    if let Some((header, begin)) = found {
                        let base = base_of(begin.as_ref(), &header, known);
                        seen.push(Seen { file, header, begin: None, base });
                    }
                }
                Err(e) => return Err(e),
            }
        }
        // Index files of segments that are not there any more.
        let mut gone = hints.range(newest + 1..).flat_map(|(_, hints)| hints);
        let next = LogFile::Segment { ordinal: newest + 1, generation: 0 };
        self.lost_tail |= match gone.next() {
            Some(first) => !first.is_whole || gone.any(|hint| !hint.is_whole),
            None => is_refused(&dir.path(&next.path())),
        };
        Ok(seen)
    }

    /// Says of each segment where it begins and ends, by its neighbours and by what else there is.
    fn chain(
        &mut self,
        dir: &Dir,
        seen: Vec<Seen>,
        hints: &BTreeMap<u32, Vec<Hint>>,
        written: Written,
    ) -> Result<()> {
        let mut behind = 1;
        let mut seen = seen.into_iter().peekable();
        while let Some(Seen { file, header, begin, base }) = seen.next() {
            let known = hints.get(&header.ordinal).map(Vec::as_slice).unwrap_or_default();
            let known =
                known.iter().filter(|hint| hint.salt == header.salt && hint.end <= header.len);
            let base = base.unwrap_or(behind);
            let is_sealed = seen.peek().is_some();
            let next = seen.peek().and_then(|next| next.begin).filter(|next| {
                next.predecessor == header.ordinal && next.predecessor_end <= header.len
            });
            let known_end = known.clone().map(|hint| hint.end).max().unwrap_or(0);
            let mut planned = Planned {
                known_end,
                header,
                base,
                end: header.len,
                end_is_known: false,
                events: known.clone().filter_map(|hint| hint.events).max(),
                digest: None,
                is_damaged: begin.is_none(),
                is_sealed,
            };
            if let Some(next) = next {
                planned.end = next.predecessor_end;
                planned.end_is_known = true;
                planned.events = u32::try_from(next.base.saturating_sub(base)).ok();
                planned.digest = Some((next.predecessor_crc, next.predecessor_chain));
            } else if let Some(end) = known.clone().filter(|h| h.is_whole).map(|h| h.end).max()
                && end <= header.len
                && is_sealed
            {
                (planned.end, planned.end_is_known) = (end, true);
            } else if let Some(begin) = begin
                && !is_sealed
            {
                let rows = known.filter(|hint| hint.is_row);
                let known_end = rows.map(|hint| hint.end).max().unwrap_or(0);
                let begun_at = Timestamp::default();
                let last = Last { header, file, begin, begun_at, known_end };
                self.end_of_log(dir, &mut planned, &last, written)?;
            }
            behind = base + u64::from(planned.events.unwrap_or(0));
            self.segments.push(planned);
        }
        Ok(())
    }

    /// Where the unsealed segment ends, as opening would decide.
    fn end_of_log(
        &mut self,
        dir: &Dir,
        planned: &mut Planned,
        last: &Last,
        written: Written,
    ) -> Result<()> {
        if let Some((ordinal, end)) = written
            && ordinal == planned.header.ordinal
        {
            (planned.end, planned.end_is_known, planned.events) = (end, true, None);
            return Ok(());
        }
        let store = self.header.id;
        let examined = open::examine(dir, store, ReadMode::Positional, last, self.is_live)?;
        match &examined.decision {
            Decision::Refuse(damage) => self.add_fault(damage.error(last.file.path())),
            _ => {
                planned.end = examined.progress.end;
                planned.end_is_known = true;
                planned.events = Some(examined.progress.events);
                if examined.bytes_behind > 0 {
                    self.torn = Some((planned.file(), planned.end, examined.bytes_behind));
                }
            }
        }
        Ok(())
    }
}

/// The position of a segment's first event, as its first frame or something else says.
fn base_of(begin: Option<&Begin>, header: &SegmentHeader, known: &[Hint]) -> Option<u64> {
    let hinted = known.iter().find(|hint| hint.salt == header.salt).map(|hint| hint.base);
    begin.map(|begin| begin.base).or(hinted)
}

/// What the directory and the index files say of segments. They are derived, and name the segments
/// by their salts, so what verifies is true of the segment that has the salt.
fn hints(
    dir: &Dir,
    store: [u8; 16],
    listing: &Listing,
    rows: &[SegmentRow],
) -> Result<BTreeMap<u32, Vec<Hint>>> {
    let mut hints: BTreeMap<u32, Vec<Hint>> = BTreeMap::new();
    for row in rows {
        hints.entry(row.ordinal).or_default().push(Hint {
            salt: row.salt,
            base: row.base,
            events: Some(row.events),
            end: row.end,
            is_whole: true,
            is_row: true,
        });
    }
    for file in &listing.others {
        let (LogFile::SealedIndex { ordinal, .. } | LogFile::IndexCheckpoint { ordinal, .. }) =
            *file
        else {
            continue;
        };
        match SealedIndex::open(dir, *file, ReadMode::Positional) {
            Ok(Some(index)) if index.footer.store == store => {
                hints.entry(ordinal).or_default().push(Hint {
                    salt: index.footer.salt,
                    base: index.footer.base,
                    events: Some(index.footer.events),
                    end: index.footer.end,
                    is_whole: !index.is_checkpoint || index.is_clean(),
                    is_row: false,
                });
            }
            Err(e) if !e.is_damage() => return Err(e),
            _ => {}
        }
    }
    Ok(hints)
}
