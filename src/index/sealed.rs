//! The index of a segment in its file: sealed (`.idx`), or saved for the active one (`.part`).

use std::ops::{Range, RangeInclusive};
use std::sync::OnceLock;

use super::checked::CheckedFile;
use super::run::Run;
use crate::error::{Error, Result};
use crate::format::blocks::FileKind;
use crate::format::codec::{Cursor, u32_at};
use crate::format::files::LogFile;
use crate::format::idruns::IdLayout;
use crate::format::packed::packed_at;
use crate::format::sealed::{
    NameRow, OFFSET_RUN, Posting, SCHEMA_BYTES, SchemaRow, SealedFooter, Section, TERM_BYTES,
    ZONE_BYTES, ZONE_EVENTS, Zone, term_hash, term_posting,
};
use crate::options::ReadMode;
use crate::place::Place;
use crate::storage::Dir;

/// An index file that was opened. Its blocks are verified as they are used.
#[derive(Debug)]
pub(crate) struct SealedIndex {
    file: CheckedFile,
    pub(crate) footer: SealedFooter,
    /// It is an index checkpoint, and not the file of a sealed segment.
    pub(crate) is_checkpoint: bool,
    names: OnceLock<(Vec<NameRow>, Vec<NameRow>)>,
}

/// A stream's events in one part of a segment's index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamPart {
    pub(crate) first_version: u64,
    pub(crate) count: u32,
    /// The segment with the events before these; this segment itself where an older part of its
    /// index has them; 0 where there are none.
    pub(crate) previous: u32,
    /// Where its posting list begins; only in files.
    posting: u32,
}

impl StreamPart {
    pub(crate) const fn last_version(&self) -> u64 {
        self.first_version + self.count as u64 - 1
    }
}

/// How much of a posting list is read at first.
const POSTING_BYTES: u64 = 64;

impl SealedIndex {
    /// Opens an index file; `None` where it is missing. An error where it is damaged.
    pub(crate) fn open(dir: &Dir, name: LogFile, mode: ReadMode) -> Result<Option<Self>> {
        let kind = match name {
            LogFile::IndexCheckpoint { .. } => FileKind::IndexCheckpoint,
            _ => FileKind::SealedIndex,
        };
        let Some(file) = CheckedFile::open(dir, &name.path(), kind, mode)? else {
            return Ok(None);
        };
        let footer = SealedFooter::decode(&file.footer()?)
            .ok_or_else(|| file.corrupt(0, "the footer of an index", "other bytes"))?;
        // A file under another's name says nothing about the segment that it is called after.
        if !name.is_of(footer.ordinal, footer.generation) {
            let found = format!("the one of segment {}", footer.ordinal);
            return Err(file.corrupt(0, "the index that its name says", &found));
        }
        let is_checkpoint = kind == FileKind::IndexCheckpoint;
        Ok(Some(Self { file, footer, is_checkpoint, names: OnceLock::new() }))
    }

    /// Whether the store was closed in good order when it was written.
    pub(crate) const fn is_clean(&self) -> bool {
        self.file.clean
    }

    /// Everything that it says, verified: its body and its footer.
    pub(crate) fn content(&self) -> Result<std::borrow::Cow<'_, [u8]>> {
        self.file.content()
    }

    /// Bytes of the whole file.
    pub(crate) fn bytes(&self) -> u64 {
        self.file.len()
    }

    /// The offset of an event's frame.
    pub(crate) fn offset(&self, ordinal: u32) -> Result<u32> {
        let run = ordinal as usize / OFFSET_RUN;
        let bases = self.part(self.footer.sections.offset_bases, run * 4..run * 4 + 4)?;
        let base = u32_at(&bases, 0).unwrap_or_default();
        let offset =
            self.packed(self.footer.sections.offsets, self.footer.offset_width, ordinal)?;
        let offset = u32::try_from(offset).ok().and_then(|offset| base.checked_add(offset));
        offset
            .and_then(|offset| offset.checked_mul(4))
            .ok_or_else(|| self.file.corrupt(0, "a frame offset", "one beyond 4 GiB"))
    }

    /// The events of a stream; `is` tells whether an event belongs to it.
    pub(crate) fn stream(
        &self,
        hash: u64,
        is: &dyn Fn(Place) -> Result<bool>,
    ) -> Result<Option<StreamPart>> {
        let mut index = self.first_term(hash)?;
        while index < self.footer.terms as usize {
            let term = self.terms(index..index + 1)?;
            if term_hash(&term, 0) != Some(hash) {
                break;
            }
            let posting = term_posting(&term, 0).unwrap_or(u32::MAX);
            if let Some(part) = self.check(posting, is)? {
                return Ok(Some(part));
            }
            index += 1;
        }
        Ok(None)
    }

    /// The events of a stream that it is known to hold: a lone one with the hash is that one.
    pub(super) fn known_stream(
        &self,
        hash: u64,
        is: &dyn Fn(Place) -> Result<bool>,
    ) -> Result<Option<StreamPart>> {
        let first = self.first_term(hash)?;
        let terms = self.terms(first..(first + 2).clamp(first, self.footer.terms as usize))?;
        if term_hash(&terms, 0) != Some(hash) {
            return Ok(None);
        }
        if term_hash(&terms, 1) == Some(hash) {
            return self.stream(hash, is);
        }
        let posting = term_posting(&terms, 0).unwrap_or(u32::MAX);
        self.with_posting(posting, POSTING_BYTES, |read| Some(part_of(posting, read))).map(Some)
    }

    /// The ordinals of a stream's events at some versions.
    pub(crate) fn events(
        &self,
        part: &StreamPart,
        versions: &RangeInclusive<u64>,
    ) -> Result<Vec<u32>> {
        let from = versions.start().saturating_sub(part.first_version);
        let to = (*versions.end()).min(part.last_version());
        let wanted = (to + 1).saturating_sub(part.first_version + from);
        let from = u32::try_from(from).unwrap_or(u32::MAX);
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        self.with_posting(part.posting, 16 * u64::from(part.count), |posting| {
            let events: Vec<u32> = posting.events(from).take(wanted).collect();
            (events.len() == wanted).then_some(events)
        })
    }

    /// Looks something up in its run of ids and labels.
    pub(super) fn with_run<T>(&self, look_up: impl FnOnce(&Run<'_>) -> Result<T>) -> Result<T> {
        let section = self.footer.sections.ids;
        let read = |range: Range<usize>| self.part(section, range);
        let broken = || self.file.corrupt(section.at, "a bucket of ids", "one outside the run");
        look_up(&Run { layout: self.id_layout(), read: &read, broken: &broken })
    }

    /// How the ids are laid out.
    pub(crate) fn id_layout(&self) -> IdLayout {
        IdLayout::new(u64::from(self.footer.ids), u64::from(self.footer.events))
    }

    /// All ids, as (kept hash, ordinal), in order of the hash.
    pub(crate) fn all_ids(&self) -> Result<Vec<(u64, u64)>> {
        let section = self.footer.sections.ids;
        let run = self.file.read(section.at..section.at + section.len)?;
        Ok(self.id_layout().all(&run).collect())
    }

    /// Types and categories, kept once they have been read: they are few.
    pub(crate) fn names(&self) -> Result<&(Vec<NameRow>, Vec<NameRow>)> {
        if let Some(names) = self.names.get() {
            return Ok(names);
        }
        let names = self.read_names()?;
        Ok(self.names.get_or_init(|| names))
    }

    fn read_names(&self) -> Result<(Vec<NameRow>, Vec<NameRow>)> {
        let section = self.footer.sections.names;
        let bytes = self.file.read(section.at..section.at + section.len)?;
        let mut cursor = Cursor::new(&bytes);
        let mut rows = |count: u32| {
            let rows: Option<Vec<_>> = (0..count).map(|_| NameRow::read(&mut cursor)).collect();
            rows.ok_or_else(|| self.file.corrupt(section.at, "names", "other bytes"))
        };
        Ok((rows(self.footer.types)?, rows(self.footer.categories)?))
    }

    /// The schema versions of the types.
    pub(crate) fn schemas(&self) -> Result<Vec<SchemaRow>> {
        let section = self.footer.sections.schemas;
        let bytes = self.file.read(section.at..section.at + section.len)?;
        bytes
            .chunks(SCHEMA_BYTES)
            .map(|row| SchemaRow::read(row).filter(|row| row.type_id < self.footer.types))
            .collect::<Option<_>>()
            .ok_or_else(|| self.file.corrupt(section.at, "schema versions", "other bytes"))
    }

    /// The number of an event's type, and of its category.
    pub(crate) fn columns(&self, ordinal: u32) -> Result<(u32, u32)> {
        let sections = &self.footer.sections;
        let event_type = self.packed(sections.types, self.footer.type_width, ordinal)?;
        let category = self.packed(sections.categories, self.footer.category_width, ordinal)?;
        let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Ok((narrow(event_type), narrow(category)))
    }

    /// The numbers of the types of some events.
    pub(crate) fn types(&self, events: &Range<u32>) -> Result<Vec<u32>> {
        self.numbers(self.footer.sections.types, self.footer.type_width, events)
    }

    /// The numbers of the categories of some events.
    pub(crate) fn categories(&self, events: &Range<u32>) -> Result<Vec<u32>> {
        self.numbers(self.footer.sections.categories, self.footer.category_width, events)
    }

    /// One zone.
    pub(crate) fn zone(&self, index: u32) -> Result<Zone> {
        let section = self.footer.sections.zones;
        let start = index as usize * ZONE_BYTES;
        let bytes = self.part(section, start..start + ZONE_BYTES)?;
        Zone::at(&bytes, 0).ok_or_else(|| self.file.corrupt(section.at, "a zone", "other bytes"))
    }

    /// The zones.
    pub(crate) fn zones(&self) -> Result<Vec<Zone>> {
        let section = self.footer.sections.zones;
        let bytes = self.file.read(section.at..section.at + section.len)?;
        let zones = self.footer.events.div_ceil(ZONE_EVENTS) as usize;
        (0..zones)
            .map(|index| Zone::at(&bytes, index))
            .collect::<Option<_>>()
            .ok_or_else(|| self.file.corrupt(section.at, "zones", "other bytes"))
    }

    /// Every term, in order of the hash, with its posting list.
    pub(crate) fn all_terms(&self) -> Result<Vec<(u64, StreamPart)>> {
        let terms = self.terms(0..self.footer.terms as usize)?;
        let section = self.footer.sections.postings;
        let postings = self.file.read(section.at..section.at + section.len)?;
        (0..self.footer.terms as usize)
            .map(|index| {
                let posting = term_posting(&terms, index)?;
                let read = Posting::read(postings.get(posting as usize..)?, self.footer.ordinal)?;
                Some((term_hash(&terms, index)?, part_of(posting, &read)))
            })
            .collect::<Option<_>>()
            .ok_or_else(|| self.file.corrupt(section.at, "posting lists", "other bytes"))
    }

    /// An error about parts that do not go together.
    pub(crate) fn contradiction(&self, expected: &str) -> Error {
        self.file.corrupt(0, expected, "something else")
    }

    /// The place of an event.
    pub(crate) fn place(&self, ordinal: u32) -> Result<Place> {
        Ok(Place { segment: self.footer.ordinal, frame: self.offset(ordinal)?, ordinal })
    }

    /// The posting list of a term, if its stream is the one that is looked for.
    fn check(
        &self,
        posting: u32,
        is: &dyn Fn(Place) -> Result<bool>,
    ) -> Result<Option<StreamPart>> {
        let (part, first) = self.with_posting(posting, POSTING_BYTES, |read| {
            Some((part_of(posting, read), read.events(0).next()?))
        })?;
        Ok(is(self.place(first)?)?.then_some(part))
    }

    /// The index of the first term whose hash is not below a hash. Hashes are spread evenly, so a
    /// guess lands near it (interpolation search), and few lines of memory are touched.
    fn first_term(&self, hash: u64) -> Result<usize> {
        let count = self.footer.terms as usize;
        let below = |index: usize| -> Result<bool> {
            let term = self.terms(index..index + 1)?;
            Ok(term_hash(&term, 0).is_some_and(|found| found < hash))
        };
        let share = |of: u64| {
            let terms = (u128::from(of) * count as u128) >> 64;
            usize::try_from(terms).unwrap_or(0)
        };
        let mut guess = share(hash);
        // What stands there says how far off that is: twice, then it is a matter of a few terms.
        for _ in 0..2 {
            if guess < count {
                let found = term_hash(&self.terms(guess..guess + 1)?, 0).unwrap_or(hash);
                let off = share(found.abs_diff(hash));
                let forwards = guess.saturating_add(off).min(count);
                guess = if found < hash { forwards } else { guess.saturating_sub(off) };
            }
        }
        let mut step = 4;
        let (mut low, mut high);
        if guess < count && below(guess)? {
            low = guess + 1;
            while low + step < count && below(low + step)? {
                low += step + 1;
                step *= 2;
            }
            high = (low + step).min(count);
        } else {
            high = guess;
            while high > step && !below(high - step)? {
                high -= step;
                step *= 2;
            }
            low = high.saturating_sub(step);
        }
        while low < high {
            let middle = usize::midpoint(low, high);
            if below(middle)? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn terms(&self, range: Range<usize>) -> Result<std::borrow::Cow<'_, [u8]>> {
        self.part(self.footer.sections.terms, range.start * TERM_BYTES..range.end * TERM_BYTES)
    }

    /// Reads a posting list, with more of its bytes where a first look did not reach its end.
    fn with_posting<T>(
        &self,
        posting: u32,
        expected: u64,
        read: impl Fn(&Posting<'_>) -> Option<T>,
    ) -> Result<T> {
        let section = self.footer.sections.postings;
        let left = section.len.saturating_sub(u64::from(posting));
        let start = section.at + u64::from(posting);
        for len in [expected.clamp(POSTING_BYTES, left.max(POSTING_BYTES)).min(left), left] {
            let bytes = self.file.read(start..start + len)?;
            let list = Posting::read(&bytes, self.footer.ordinal);
            if let Some(found) = list.as_ref().and_then(&read) {
                return Ok(found);
            }
        }
        Err(self.file.corrupt(start, "a posting list", "other bytes"))
    }

    fn packed(&self, section: Section, width: u8, index: u32) -> Result<u64> {
        // Whole units of eight numbers begin at a byte, so the column is read from such a one on.
        let width = u32::from(width);
        let unit = index as usize / 8;
        let start = unit * width as usize;
        let inside = index as usize % 8;
        let end = start + inside * width as usize / 8 + 8;
        let bytes = self.part(section, start..end)?;
        let number = packed_at(&bytes, width, inside);
        number.ok_or_else(|| self.file.corrupt(section.at, "a number", "the column's end"))
    }

    /// Numbers of a packed column, read at once.
    fn numbers(&self, section: Section, width: u8, events: &Range<u32>) -> Result<Vec<u32>> {
        let width = u32::from(width);
        // Whole units of eight numbers begin at a byte.
        let unit = events.start as usize / 8;
        let start = unit * width as usize;
        let first = events.start as usize - unit * 8;
        let behind = first + events.len();
        let end = start + (behind * width as usize).div_ceil(8) + 8;
        let bytes = self.part(section, start..end)?;
        (first..behind)
            .map(|index| packed_at(&bytes, width, index).and_then(|n| u32::try_from(n).ok()))
            .collect::<Option<_>>()
            .ok_or_else(|| self.file.corrupt(section.at, "a number", "the column's end"))
    }

    fn part(&self, section: Section, range: Range<usize>) -> Result<std::borrow::Cow<'_, [u8]>> {
        if range.end as u64 > section.len {
            return Err(self.file.corrupt(section.at, "data inside a column", "its end"));
        }
        self.file.read(section.at + range.start as u64..section.at + range.end as u64)
    }
}

fn part_of(posting: u32, read: &Posting<'_>) -> StreamPart {
    StreamPart {
        first_version: read.head.first_version,
        count: read.head.count,
        previous: read.head.previous,
        posting,
    }
}

impl StreamPart {
    /// A part in memory.
    pub(crate) const fn live(first_version: u64, count: u32, previous: u32) -> Self {
        Self { first_version, count, previous, posting: 0 }
    }
}
