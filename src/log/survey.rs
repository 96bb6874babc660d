//! What lies in `log/`: which segments there are, how they hang together, and which is the last.

use std::collections::BTreeMap;

use super::scan::Scanner;
use crate::error::{Error, Result};
use crate::format::control::Begin;
use crate::format::directory::SegmentRow;
use crate::format::files::{LOG, LogFile, TEMPORARY};
use crate::format::frame::{BEGIN_BYTES, Frame};
use crate::format::segment::{HEADER_BYTES, Seed, SegmentHeader, USED_LEN};
use crate::position::Timestamp;
use crate::storage::{Access, Dir, NamedFile};

/// The files of `log/`, by what they are.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The newest generation of each segment.
    pub(crate) segments: BTreeMap<u32, u32>,
    pub(crate) others: Vec<LogFile>,
    /// What interrupted replacements left.
    pub(crate) temporary: Vec<String>,
}

/// The last segment that holds frames, and how it begins.
#[derive(Debug)]
pub(crate) struct Last {
    pub(crate) header: SegmentHeader,
    pub(crate) file: NamedFile,
    pub(crate) begin: Begin,
    /// The time of its first frame, which is not before any in the segments before it.
    pub(crate) begun_at: Timestamp,
    /// Where the directory says that it ends, all of it durable; 0 where it says nothing.
    pub(crate) known_end: u32,
}

/// What a survey finds.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The sealed segments, oldest first.
    pub(crate) sealed: Vec<SegmentRow>,
    /// The unsealed one; `None` in a store that has never held a frame.
    pub(crate) last: Option<Last>,
    /// A segment behind the last one without a valid first frame: prepared, or its first write
    /// torn. Unless the store was closed in good order, that is still to be
    /// [checked](Unused::check).
    pub(crate) unused: Option<Unused>,
    /// Why nothing behind the last one can be used, though something is there or was. What is good
    /// in front of it can be shown; nothing may be written.
    pub(crate) damage: Option<Error>,
}

/// A segment without a valid first frame.
#[derive(Debug)]
pub(crate) struct Unused {
    pub(crate) ordinal: u32,
    pub(crate) file: NamedFile,
    /// Missing where it is damaged.
    pub(crate) header: Option<SegmentHeader>,
}

/// Lists `log/`. Names that are not ours are left alone.
pub(crate) fn list(dir: &Dir) -> Result<Listing> {
    let mut listing = Listing::default();
    for name in dir.list(LOG)? {
        match LogFile::parse(&name) {
            Some(LogFile::Segment { ordinal, generation }) => {
                let newest = listing.segments.entry(ordinal).or_insert(generation);
                *newest = generation.max(*newest);
            }
            Some(other) => listing.others.push(other),
            None if is_temporary(&name) => listing.temporary.push(name),
            None => {}
        }
    }
    listing.others.sort_unstable();
    Ok(listing)
}

/// Whether a name is what an interrupted replacement of one of our files leaves.
fn is_temporary(name: &str) -> bool {
    name.strip_suffix(TEMPORARY).is_some_and(|name| LogFile::parse(name).is_some())
}

/// Reads the headers of the segments that `known` (the directory's table) does not vouch for, and
/// checks that all hang together, as far as they do.
pub(crate) fn survey(
    dir: &Dir,
    store: [u8; 16],
    listing: &Listing,
    known: &[SegmentRow],
) -> Result<Survey> {
    // A directory is written behind the segments that it names, so one that names a segment that
    // is not there proves that it was.
    let promised = known.last().map_or(0, |row| row.ordinal);
    let listed = listing.segments.keys().next_back().copied().unwrap_or(0);
    let newest = listed.max(promised);
    let known = known.iter().take_while(|row| is_listed(listing, row));
    let mut survey =
        Survey { sealed: known.copied().collect(), last: None, unused: None, damage: None };
    let first = survey.sealed.last().map_or(1, |row| row.ordinal + 1);
    for ordinal in first..=newest {
        let added = survey.add(dir, store, listing, (ordinal, ordinal == newest));
        survey.damage = damage_of(added)?;
        if survey.damage.is_some() {
            break;
        }
    }
    // The directory may cover the last segment that holds frames: the next one was torn, or is
    // being replaced. Then that one is looked at again.
    while survey.last.is_none()
        && let Some(row) = survey.sealed.pop()
    {
        match reopen(dir, store, &row) {
            Ok(last) => survey.last = Some(last),
            Err(e) => {
                survey.damage = damage_of(Err(e))?;
                survey.unused = None;
            }
        }
    }
    Ok(survey)
}

/// Damage is a finding; whatever else fails says nothing about the log.
fn damage_of(found: Result<()>) -> Result<Option<Error>> {
    match found {
        Ok(()) => Ok(None),
        Err(e) if e.is_damage() => Ok(Some(e)),
        Err(e) => Err(e),
    }
}

impl Survey {
    /// Looks at the next segment.
    fn add(
        &mut self,
        dir: &Dir,
        store: [u8; 16],
        listing: &Listing,
        (ordinal, is_newest): (u32, bool),
    ) -> Result<()> {
        let Some(generation) = listing.segments.get(&ordinal).copied() else {
            return Err(missing(dir, ordinal));
        };
        let name = LogFile::Segment { ordinal, generation }.path();
        let file = dir.open(&name, Access::Read)?;
        match look(&file, store, (ordinal, generation), is_newest)? {
            Look::Used(header, begin, begun_at) => {
                self.link(&file, &begin)?;
                self.last = Some(Last { header, file, begin, begun_at, known_end: 0 });
            }
            Look::Unused(header) => self.unused = Some(Unused { ordinal, file, header }),
        }
        Ok(())
    }

    /// Checks that a segment follows the last one, which is thereby sealed.
    fn link(&mut self, file: &NamedFile, begin: &Begin) -> Result<()> {
        let wrong = |what: &str, expected: u64, found: u64| {
            Error::corrupt(
                file.path(),
                u64::from(HEADER_BYTES),
                format!("a link to {what} {expected}"),
                format!("{found}"),
            )
        };
        let mut sealed = None;
        let (ordinal, next_base) = if let Some(last) = &self.last {
            let events = begin.base.checked_sub(last.begin.base);
            let events = events.and_then(|events| u32::try_from(events).ok()).ok_or_else(|| {
                wrong("a segment that begins at position", last.begin.base, begin.base)
            })?;
            if begin.predecessor_end < HEADER_BYTES || begin.predecessor_end > last.header.len {
                let end = u64::from(begin.predecessor_end);
                return Err(wrong("an end inside", u64::from(last.header.len), end));
            }
            let row = SegmentRow {
                ordinal: last.header.ordinal,
                generation: last.header.generation,
                salt: last.header.salt,
                base: last.begin.base,
                events,
                end: begin.predecessor_end,
                len: last.header.len,
                last_crc: begin.predecessor_crc,
                chain: begin.predecessor_chain,
            };
            sealed = Some(row);
            (row.ordinal, begin.base)
        } else if let Some(row) = self.sealed.last() {
            let (found, expected) = (begin.predecessor_chain.0, row.chain.0);
            if (begin.predecessor_crc, found) != (row.last_crc, expected) {
                return Err(wrong("a segment with the digest", expected, found));
            }
            (row.ordinal, row.base + u64::from(row.events))
        } else {
            (0, 1)
        };
        if begin.predecessor != ordinal {
            return Err(wrong("segment", u64::from(ordinal), u64::from(begin.predecessor)));
        }
        if begin.base != next_base {
            return Err(wrong("position", next_base, begin.base));
        }
        self.sealed.extend(sealed);
        Ok(())
    }
}

/// Looks again at a segment that the directory describes as sealed.
fn reopen(dir: &Dir, store: [u8; 16], row: &SegmentRow) -> Result<Last> {
    let name = LogFile::Segment { ordinal: row.ordinal, generation: row.generation }.path();
    let file = dir.open(&name, Access::Read)?;
    match look(&file, store, (row.ordinal, row.generation), false)? {
        Look::Used(header, begin, begun_at)
            if (header.salt, begin.base) == (row.salt, row.base) =>
        {
            Ok(Last { header, file, begin, begun_at, known_end: row.end })
        }
        _ => Err(Error::corrupt(file.path(), 0, "the segment of the directory", "another one")),
    }
}

fn is_listed(listing: &Listing, row: &SegmentRow) -> bool {
    listing.segments.get(&row.ordinal) == Some(&row.generation)
}

/// An error that says that a segment is gone.
pub(crate) fn missing(dir: &Dir, ordinal: u32) -> Error {
    let file = LogFile::Segment { ordinal, generation: 0 };
    Error::corrupt(dir.path(&file.path()), 0, "the segment", "no file")
}

/// What a segment is at first sight.
#[derive(Debug)]
pub(crate) enum Look {
    /// With its header, and what its first frame says and when.
    Used(SegmentHeader, Begin, Timestamp),
    Unused(Option<SegmentHeader>),
}

/// Looks at the header and the first frame of a segment. Only the newest may be without one.
pub(crate) fn look(
    file: &NamedFile,
    store: [u8; 16],
    (ordinal, generation): (u32, u32),
    is_newest: bool,
) -> Result<Look> {
    let len = u32::try_from(file.len()?)
        .map_err(|_| Error::corrupt(file.path(), 0, "a file below 4 GiB", "a longer one"))?;
    let mut page = vec![0; HEADER_BYTES as usize];
    let read = file.read_at(&mut page, 0)?;
    let header = match SegmentHeader::decode(page.get(..read).unwrap_or_default()) {
        Ok(header) => header,
        Err(invalid) => {
            // With zeros behind it, it may never have been used, which a clean end proves. Anything
            // else there was a log once, or another file.
            let mut behind = Scanner::new(file, Seed::of(&[0; 16]), len.max(HEADER_BYTES));
            if is_newest && !invalid.unsupported && behind.is_zero_from(USED_LEN)? {
                return Ok(Look::Unused(None));
            }
            return Err(invalid.at(file.path(), 0));
        }
    };
    if (header.store, header.ordinal, header.generation) != (store, ordinal, generation) {
        let expected = format!("segment {ordinal}.{generation} of this store");
        let found = format!(
            "segment {}.{} of store {}",
            header.ordinal,
            header.generation,
            hex(header.store)
        );
        return Err(Error::corrupt(file.path(), 0, expected, found));
    }
    let seed = Seed::of(&header.salt);
    let mut first = vec![0; BEGIN_BYTES as usize];
    file.read_at(&mut first, u64::from(HEADER_BYTES))?;
    let parsed = Frame::parse(&first, seed, HEADER_BYTES, BEGIN_BYTES);
    if let Err(invalid) = &parsed
        && invalid.unsupported
    {
        // A newer version's segment is no unused one.
        return Err(invalid.clone().at(file.path(), u64::from(HEADER_BYTES)));
    }
    let begin = parsed
        .ok()
        .filter(|frame| frame.previous == header.crc())
        .and_then(|frame| Some((frame.begin(&first)?, frame.time)));
    let Some((begin, begun_at)) = begin else {
        return if is_newest {
            Ok(Look::Unused(Some(header)))
        } else {
            Err(Error::corrupt(file.path(), u64::from(HEADER_BYTES), "a first frame", "none"))
        };
    };
    if len < header.len {
        let (expected, found) = (format!("{} bytes", header.len), format!("{len} bytes"));
        return Err(Error::corrupt(file.path(), u64::from(len), expected, found));
    }
    Ok(Look::Used(header, begin, begun_at))
}

impl Unused {
    /// Makes sure that the segment never held an event: it is as its preparation left it, or its
    /// first write was torn. A frame that verifies behind the missing first one would prove that
    /// the first group was durable once.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |offset: u32, expected: String, found: String| {
            Err(Error::corrupt(self.file.path(), u64::from(offset), expected, found))
        };
        let Some(header) = &self.header else {
            return wrong(0, "a segment header".into(), "none".into());
        };
        let len = u32::try_from(self.file.len()?).unwrap_or(u32::MAX);
        if len < header.len {
            return wrong(len, format!("{} bytes", header.len), format!("{len} bytes"));
        }
        let mut scanner = Scanner::new(&self.file, Seed::of(&header.salt), header.len);
        let mut from = HEADER_BYTES;
        while let Some((offset, durable_end)) = scanner.search(from)? {
            if durable_end > HEADER_BYTES {
                let found = format!("none, but a later one at byte {offset}");
                return wrong(HEADER_BYTES, "a first frame".into(), found);
            }
            from = offset + 4;
        }
        Ok(())
    }
}

fn hex(bytes: [u8; 16]) -> String {
    uuid::Uuid::from_bytes(bytes).to_string()
}
