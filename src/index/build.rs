//! Building an index file from the parts of a segment's index.
//!
//! The same events give the same bytes, whether they come from memory or from older files: that is
//! what makes a rebuilt index comparable with a loaded one.

use std::collections::HashMap;

use hashbrown::HashTable;

use super::live::{LiveIndex, Ordinals, UNRESOLVED};
use super::part::StreamPart;
use super::sealed::SealedIndex;
use super::segment::Unit;
use crate::error::Result;
use crate::format::codec::Put;
use crate::format::idruns::{IdLayout, kept, put_run};
use crate::format::packed::{put_packed, width_of};
use crate::format::sealed::{
    NameRow, OFFSET_RUN, PostingHead, SchemaRow, SealedFooter, Section, Sections, ZONE_EVENTS,
    Zone, put_posting, put_term,
};
use crate::place::{Frames, Place};

/// What a build asks of the rest of the store.
pub(crate) struct LookUp<'a> {
    pub(crate) frames: &'a dyn Frames,
    /// The newest segment before this one that holds a stream; 0 where none does.
    pub(crate) previous: &'a dyn Fn(&str, u64) -> Result<u32>,
}

/// A stream's events in the whole segment.
#[derive(Debug)]
struct Term {
    hash: u64,
    first_version: u64,
    previous: u32,
    events: Ordinals,
}

/// The columns of all parts, joined.
#[derive(Debug, Default)]
struct Columns {
    offsets: Vec<u32>,
    types: Vec<u32>,
    categories: Vec<u32>,
    type_rows: Vec<NameRow>,
    category_rows: Vec<NameRow>,
    schemas: Vec<SchemaRow>,
    zones: Vec<Zone>,
    /// The hashes of ids and labels, each with its event.
    ids: Vec<(u64, u64)>,
    terms: Vec<Term>,
    /// The terms by their hashes, as places among them.
    by_hash: HashTable<usize>,
}

/// The bytes of an index file, without its frame: the body and the footer. `describes` says what
/// is known of the segment; what depends on the columns is filled in here.
pub(crate) fn build(
    units: &[Unit],
    mut describes: SealedFooter,
    look_up: &LookUp<'_>,
) -> Result<(Vec<u8>, Vec<u8>)> {
    let mut columns = Columns::default();
    for unit in units {
        match unit {
            Unit::Live(live) => columns.add_live(live, describes.ordinal, look_up)?,
            Unit::Sealed(sealed) => columns.add_sealed(sealed)?,
        }
    }
    // A checksum vouches for the bytes of an older file, not that the rest follows from them.
    let older = units.iter().find_map(|unit| match unit {
        Unit::Sealed(sealed) if !columns.are_in_order() => Some(sealed),
        _ => None,
    });
    if let Some(older) = older {
        return Err(older.contradiction("the events before those that follow"));
    }
    columns.ids.sort_unstable();
    columns.terms.sort_unstable_by_key(|term| (term.hash, term.events.first().copied()));
    let mut body = Vec::new();
    columns.put(&mut body, &mut describes);
    let footer = describes.encode();
    Ok((body, footer))
}

impl Columns {
    fn add_live(&mut self, live: &LiveIndex, ordinal: u32, look_up: &LookUp<'_>) -> Result<()> {
        self.offsets.extend(&live.offsets);
        let types = join(&mut self.type_rows, live.type_names.rows.iter().cloned());
        let categories = join(&mut self.category_rows, live.category_names.rows.iter().cloned());
        let renamed = |map: &[u32], id: &u32| map.get(*id as usize).copied().unwrap_or(u32::MAX);
        self.types.extend(live.types.iter().map(|id| renamed(&types, id)));
        self.categories.extend(live.categories.iter().map(|id| renamed(&categories, id)));
        let of_types = live.schemas.rows.iter();
        let of_types =
            of_types.map(|row| SchemaRow { type_id: renamed(&types, &row.type_id), ..*row });
        join_schemas(&mut self.schemas, of_types);
        self.add_zones(live.first, &live.zones);
        self.ids.extend(live.all_ids().map(|(hash, event)| (kept(hash), u64::from(event))));
        for stream in live.all_streams() {
            let (name, events) = (live.name(stream), stream.events.as_slice());
            let older = if stream.previous == ordinal || stream.previous == UNRESOLVED {
                let is_there = stream.previous == ordinal;
                let is = |place| look_up.frames.stream_is(place, name);
                self.find(stream.hash, ordinal, is_there, &is)?
            } else {
                None
            };
            if let Some(term) = older.and_then(|index| self.terms.get_mut(index)) {
                term.events.extend_from_slice(events);
                continue;
            }
            let previous = match stream.previous {
                UNRESOLVED => (look_up.previous)(name, stream.hash)?,
                known => known,
            };
            self.push(Term {
                hash: stream.hash,
                first_version: stream.first_version,
                previous,
                events: events.into(),
            });
        }
        Ok(())
    }

    /// A file is always the first part, so its terms have no older ones to join.
    fn add_sealed(&mut self, sealed: &SealedIndex) -> Result<()> {
        let (type_rows, category_rows) = sealed.names()?;
        self.type_rows.clone_from(type_rows);
        self.category_rows.clone_from(category_rows);
        self.schemas = sealed.schemas()?;
        for ordinal in 0..sealed.footer.events {
            self.offsets.push(sealed.offset(ordinal)?);
            let (event_type, category) = sealed.columns(ordinal)?;
            self.types.push(event_type);
            self.categories.push(category);
        }
        self.add_zones(0, &sealed.zones()?);
        self.ids.extend(sealed.all_ids()?);
        for (hash, part) in sealed.all_terms()? {
            let StreamPart { first_version, previous, .. } = part;
            let events = sealed.events(&part, &(first_version..=part.last_version()))?;
            self.push(Term { hash, first_version, previous, events: events.into() });
        }
        Ok(())
    }

    /// Whether frames, and the events of each stream, stand in their order.
    fn are_in_order(&self) -> bool {
        self.offsets.is_sorted() && self.terms.iter().all(|term| term.events.is_sorted())
    }

    fn push(&mut self, term: Term) {
        let hash_of = |index: &usize| self.terms.get(*index).map_or(0, |term| term.hash);
        self.by_hash.insert_unique(term.hash, self.terms.len(), hash_of);
        self.terms.push(term);
    }

    /// The term of a stream that an older part has. Where the stream is known to be there, a hash
    /// that only one term has needs no look at the names.
    fn find(
        &self,
        hash: u64,
        ordinal: u32,
        is_there: bool,
        is: &dyn Fn(Place) -> Result<bool>,
    ) -> Result<Option<usize>> {
        let terms = self.by_hash.iter_hash(hash).copied();
        let mut candidates =
            terms.filter(|index| self.terms.get(*index).is_some_and(|term| term.hash == hash));
        let first = candidates.next();
        let second = candidates.next();
        if is_there && second.is_none() {
            return Ok(first);
        }
        for index in first.into_iter().chain(second).chain(candidates) {
            let first = self.terms.get(index).and_then(|term| term.events.first()).copied();
            let frame = first.and_then(|first| self.offsets.get(first as usize)).copied();
            if let (Some(event), Some(frame)) = (first, frame)
                && is(Place { segment: ordinal, frame, ordinal: event })?
            {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    fn add_zones(&mut self, first: u32, zones: &[Zone]) {
        for (index, zone) in ((first / ZONE_EVENTS) as usize..).zip(zones) {
            match self.zones.get_mut(index) {
                Some(known) => {
                    known.earliest = known.earliest.min(zone.earliest);
                    known.latest = known.latest.max(zone.latest);
                }
                None => self.zones.push(*zone),
            }
        }
    }

    fn put(&mut self, body: &mut Vec<u8>, footer: &mut SealedFooter) {
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let width = |numbers: usize| {
            u8::try_from(width_of(numbers.saturating_sub(1) as u64)).unwrap_or(u8::MAX)
        };
        footer.events = count(self.offsets.len());
        footer.types = count(self.type_rows.len());
        footer.categories = count(self.category_rows.len());
        footer.terms = count(self.terms.len());
        footer.ids = count(self.ids.len());
        footer.type_width = width(self.type_rows.len());
        footer.category_width = width(self.category_rows.len());
        let runs = self.offsets.chunks(OFFSET_RUN);
        let spread = runs.map(|run| run.last().unwrap_or(&0) - run.first().unwrap_or(&0)).max();
        let spread = u64::from(spread.unwrap_or(0) / 4);
        footer.offset_width = u8::try_from(width_of(spread)).unwrap_or(u8::MAX);

        let offset_bases = section(body, |out| {
            for run in self.offsets.chunks(OFFSET_RUN) {
                out.put_u32(run.first().unwrap_or(&0) / 4);
            }
        });
        let mut sections = Sections { offset_bases, ..Sections::default() };
        let relative = self.offsets.chunks(OFFSET_RUN).flat_map(|run| {
            let base = run.first().copied().unwrap_or(0);
            run.iter().map(move |offset| u64::from((offset - base) / 4))
        });
        sections.offsets =
            section(body, |out| put_packed(out, u32::from(footer.offset_width), relative));
        sections.types = section(body, |out| {
            let numbers = self.types.iter().copied().map(u64::from);
            put_packed(out, u32::from(footer.type_width), numbers);
        });
        sections.categories = section(body, |out| {
            let numbers = self.categories.iter().copied().map(u64::from);
            put_packed(out, u32::from(footer.category_width), numbers);
        });
        self.sum_up_zones();
        sections.zones = section(body, |out| self.zones.iter().for_each(|zone| zone.put(out)));
        sections.names = section(body, |out| {
            for row in self.type_rows.iter().chain(&self.category_rows) {
                row.put(out);
            }
        });
        (sections.terms, sections.postings) = self.put_terms(body, footer.ordinal);
        let layout = IdLayout::new(u64::from(footer.ids), u64::from(footer.events));
        if footer.ids > 0 {
            sections.ids = section(body, |out| put_run(out, layout, &self.ids));
        }
        sections.schemas = section(body, |out| self.schemas.iter().for_each(|row| row.put(out)));
        footer.sections = sections;
    }

    /// The sets of types and categories of each zone, from the joined columns.
    fn sum_up_zones(&mut self) {
        for zone in &mut self.zones {
            (zone.types, zone.categories) = (0, 0);
        }
        let columns = self.types.iter().zip(&self.categories).enumerate();
        for (event, (event_type, category)) in columns {
            if let Some(zone) = self.zones.get_mut(event / ZONE_EVENTS as usize) {
                zone.types |= 1 << (event_type % 64);
                zone.categories |= 1 << (category % 64);
            }
        }
    }

    fn put_terms(&self, body: &mut Vec<u8>, ordinal: u32) -> (Section, Section) {
        let mut postings = Vec::new();
        let terms = section(body, |out| {
            for term in &self.terms {
                put_term(out, term.hash, u32::try_from(postings.len()).unwrap_or(u32::MAX));
                let head = PostingHead {
                    count: u32::try_from(term.events.len()).unwrap_or(u32::MAX),
                    first_version: term.first_version,
                    previous: term.previous,
                };
                put_posting(&mut postings, ordinal, &head, &term.events);
            }
        });
        (terms, section(body, |out| out.put(&postings)))
    }
}

/// Adds names of a later part to those of the earlier ones, and says which number each has now.
fn join(rows: &mut Vec<NameRow>, more: impl Iterator<Item = NameRow>) -> Vec<u32> {
    more.map(|row| {
        let known = rows.iter().position(|known| known.name == row.name);
        let index = known.unwrap_or_else(|| {
            rows.push(NameRow { events: 0, ..row.clone() });
            rows.len() - 1
        });
        if let Some(known) = rows.get_mut(index) {
            known.events = known.events.saturating_add(row.events);
            known.last = row.last;
        }
        u32::try_from(index).unwrap_or(u32::MAX)
    })
    .collect()
}

/// Adds the schema versions of a later part to those of the earlier ones.
fn join_schemas(rows: &mut Vec<SchemaRow>, more: impl Iterator<Item = SchemaRow>) {
    let schema = |row: &SchemaRow| (row.type_id, row.version);
    let known = rows.iter().enumerate().map(|(index, row)| (schema(row), index));
    let mut known: HashMap<_, _> = known.collect();
    for row in more {
        let index = *known.entry(schema(&row)).or_insert(rows.len());
        match rows.get_mut(index) {
            Some(known) => {
                known.events = known.events.saturating_add(row.events);
                known.last = row.last;
            }
            None => rows.push(row),
        }
    }
}

fn section(body: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) -> Section {
    let at = body.len() as u64;
    put(body);
    Section { at, len: body.len() as u64 - at }
}
