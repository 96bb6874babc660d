//! The index of a segment: columns over its events, and the postings of its streams.
//!
//! The same layout serves a sealed segment (`.idx`) and the committed part of the active one
//! (`.part`, the index checkpoint). Everything in it can be built again from the segment.

use super::MAX_POSITION;
use super::codec::{Cursor, Put, u32_at, u64_at};
use super::packed::MAX_WIDTH;
use super::segment::Chain;
use crate::position::Timestamp;

/// Frame offsets are kept relative to the first of each run of this many events.
pub(crate) const OFFSET_RUN: usize = 128;
/// Times and the sets of types and categories are summed up for each run of this many events.
pub(crate) const ZONE_EVENTS: u32 = 1024;
/// Posting lists have a way in at each multiple of this many entries.
pub(crate) const POSTING_RUN: usize = 128;
/// A term: the hash of a stream's name and where its posting list begins.
pub(crate) const TERM_BYTES: usize = 12;
pub(crate) const ZONE_BYTES: usize = 32;
/// A row of a type and schema version.
pub(crate) const SCHEMA_BYTES: usize = 20;
/// How many sections a footer has at least.
const SECTIONS: usize = 10;

/// A range of the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) at: u64,
    pub(crate) len: u64,
}

/// What the footer says: which part of the log is indexed, and where each column lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SealedFooter {
    pub(crate) store: [u8; 16],
    /// The salt of the segment, which is its identity.
    pub(crate) salt: [u8; 16],
    pub(crate) ordinal: u32,
    pub(crate) generation: u32,
    pub(crate) base: u64,
    pub(crate) events: u32,
    pub(crate) frames: u32,
    /// The end of the last frame that is indexed, its head checksum, and the digest up to it.
    pub(crate) end: u32,
    pub(crate) last_crc: u32,
    pub(crate) chain: Chain,
    pub(crate) first_time: Timestamp,
    pub(crate) last_time: Timestamp,
    pub(crate) terms: u32,
    pub(crate) types: u32,
    pub(crate) categories: u32,
    pub(crate) ids: u32,
    /// Bits of each number in the packed columns.
    pub(crate) offset_width: u8,
    pub(crate) type_width: u8,
    pub(crate) category_width: u8,
    pub(crate) sections: Sections,
}

/// Where each column lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sections {
    /// `u32` for each run of events: the offset of the first one's frame, in units of 4 bytes.
    pub(crate) offset_bases: Section,
    /// For each event the offset of its frame less its run's base, in units of 4 bytes.
    pub(crate) offsets: Section,
    pub(crate) types: Section,
    pub(crate) categories: Section,
    pub(crate) zones: Section,
    pub(crate) names: Section,
    pub(crate) terms: Section,
    pub(crate) postings: Section,
    /// Given ids, as in an id run; see `idruns`.
    pub(crate) ids: Section,
    pub(crate) schemas: Section,
}

impl Sections {
    fn all(&self) -> [Section; SECTIONS] {
        [
            self.offset_bases,
            self.offsets,
            self.types,
            self.categories,
            self.zones,
            self.names,
            self.terms,
            self.postings,
            self.ids,
            self.schemas,
        ]
    }
}

impl SealedFooter {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put(&self.store);
        out.put(&self.salt);
        out.put_u32(self.ordinal);
        out.put_u32(self.generation);
        out.put_u64(self.base);
        out.put_u32(self.events);
        out.put_u32(self.frames);
        out.put_u32(self.end);
        out.put_u32(self.last_crc);
        out.put_u64(self.chain.0);
        out.put_i64(self.first_time.as_micros());
        out.put_i64(self.last_time.as_micros());
        out.put_u32(self.terms);
        out.put_u32(self.types);
        out.put_u32(self.categories);
        out.put_u32(self.ids);
        out.put(&[self.offset_width, self.type_width, self.category_width, 0]);
        let sections = self.sections.all();
        out.put_u32(u32::try_from(sections.len()).unwrap_or(0));
        for section in sections {
            out.put_u64(section.at);
            out.put_u64(section.len);
        }
        out
    }

    /// Reads a footer whose blocks were verified; `None` where it is not one.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut c = Cursor::new(bytes);
        let mut footer = Self {
            store: c.array()?,
            salt: c.array()?,
            ordinal: c.u32()?,
            generation: c.u32()?,
            base: c.u64()?,
            events: c.u32()?,
            frames: c.u32()?,
            end: c.u32()?,
            last_crc: c.u32()?,
            chain: Chain(c.u64()?),
            first_time: Timestamp::from_micros(c.i64()?),
            last_time: Timestamp::from_micros(c.i64()?),
            terms: c.u32()?,
            types: c.u32()?,
            categories: c.u32()?,
            ids: c.u32()?,
            offset_width: c.u8()?,
            type_width: c.u8()?,
            category_width: c.u8()?,
            sections: Sections::default(),
        };
        c.u8()?;
        // Later versions may add sections behind these.
        if (c.u32()? as usize) < SECTIONS {
            return None;
        }
        let mut section = || Some(Section { at: c.u64()?, len: c.u64()? });
        footer.sections = Sections {
            offset_bases: section()?,
            offsets: section()?,
            types: section()?,
            categories: section()?,
            zones: section()?,
            names: section()?,
            terms: section()?,
            postings: section()?,
            ids: section()?,
            schemas: section()?,
        };
        footer.is_possible().then_some(footer)
    }

    /// Whether nothing that is computed from it leaves what numbers can hold. Where
    /// the sections lie in the file is checked when they are read.
    fn is_possible(&self) -> bool {
        let widths = [self.offset_width, self.type_width, self.category_width];
        let ends = |section: &Section| section.at.checked_add(section.len);
        self.base <= MAX_POSITION
            && widths.iter().all(|width| u32::from(*width) <= MAX_WIDTH)
            && self.sections.all().iter().all(|section| ends(section).is_some())
    }
}

/// What is known of the events of a zone, to pass over it unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Zone {
    pub(crate) earliest: Timestamp,
    pub(crate) latest: Timestamp,
    /// Bit `id % 64` is set for each type, and for each category, that occurs.
    pub(crate) types: u64,
    pub(crate) categories: u64,
}

impl Zone {
    /// The zone of no event.
    pub(crate) const EMPTY: Self = Self {
        earliest: Timestamp::from_micros(i64::MAX),
        latest: Timestamp::from_micros(i64::MIN),
        types: 0,
        categories: 0,
    };

    pub(crate) fn add(&mut self, created_at: Timestamp, type_id: u32, category_id: u32) {
        self.earliest = self.earliest.min(created_at);
        self.latest = self.latest.max(created_at);
        self.types |= 1 << (type_id % 64);
        self.categories |= 1 << (category_id % 64);
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_i64(self.earliest.as_micros());
        out.put_i64(self.latest.as_micros());
        out.put_u64(self.types);
        out.put_u64(self.categories);
    }

    /// The zone at an index of the column.
    pub(crate) fn at(column: &[u8], index: usize) -> Option<Self> {
        let mut cursor = Cursor::at(column, index.checked_mul(ZONE_BYTES)?);
        Some(Self {
            earliest: Timestamp::from_micros(cursor.i64()?),
            latest: Timestamp::from_micros(cursor.i64()?),
            types: cursor.u64()?,
            categories: cursor.u64()?,
        })
    }
}

/// A type or a category of a segment: how often it occurs, and where first and last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameRow {
    pub(crate) name: Box<str>,
    pub(crate) events: u32,
    pub(crate) first: u32,
    pub(crate) last: u32,
}

impl NameRow {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_u32(self.events);
        out.put_u32(self.first);
        out.put_u32(self.last);
        out.put_u16(u16::try_from(self.name.len()).unwrap_or(u16::MAX));
        out.put(self.name.as_bytes());
    }

    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        let (events, first, last) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        let len = cursor.u16()?;
        let name = str::from_utf8(cursor.take(usize::from(len))?).ok()?.into();
        Some(Self { name, events, first, last })
    }
}

/// A type with a schema version: how often it occurs in a segment, and where first and last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SchemaRow {
    /// The number of its type.
    pub(crate) type_id: u32,
    pub(crate) version: u32,
    pub(crate) events: u32,
    pub(crate) first: u32,
    pub(crate) last: u32,
}

impl SchemaRow {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        for number in [self.type_id, self.version, self.events, self.first, self.last] {
            out.put_u32(number);
        }
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        Some(Self {
            type_id: cursor.u32()?,
            version: cursor.u32()?,
            events: cursor.u32()?,
            first: cursor.u32()?,
            last: cursor.u32()?,
        })
    }
}

/// Appends a term.
pub(crate) fn put_term(out: &mut Vec<u8>, hash: u64, posting: u32) {
    out.put_u64(hash);
    out.put_u32(posting);
}

/// The hash of the term at an index of the column.
pub(crate) fn term_hash(column: &[u8], index: usize) -> Option<u64> {
    u64_at(column, index.checked_mul(TERM_BYTES)?)
}

/// Where the posting list of the term at an index of the column begins.
pub(crate) fn term_posting(column: &[u8], index: usize) -> Option<u32> {
    u32_at(column, index.checked_mul(TERM_BYTES)?.checked_add(8)?)
}

/// Where the events of a stream stand in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PostingHead {
    pub(crate) count: u32,
    pub(crate) first_version: u64,
    /// The segment before this one that holds the stream, 0 where there is none.
    pub(crate) previous: u32,
}

/// Appends a posting list.
pub(crate) fn put_posting(out: &mut Vec<u8>, ordinal: u32, head: &PostingHead, events: &[u32]) {
    // The low bit is kept for a pointer that jumps over many segments.
    out.put_varint(u64::from(head.count) << 1);
    out.put_varint(head.first_version);
    let back = if head.previous == 0 { 0 } else { 1 + u64::from(ordinal - head.previous) };
    out.put_varint(back);
    let mut gaps = Vec::with_capacity(events.len() * 2);
    let mut ways_in = Vec::new();
    let mut before = 0;
    for (index, event) in events.iter().enumerate() {
        if index > 0 && index % POSTING_RUN == 0 {
            ways_in.push((before, gaps.len()));
        }
        gaps.put_varint(u64::from(event - before));
        before = *event;
    }
    for (event, offset) in ways_in {
        out.put_u32(event);
        out.put_u32(u32::try_from(offset).unwrap_or(u32::MAX));
    }
    out.put(&gaps);
}

/// Reads a posting list; `postings` begins with it.
#[derive(Clone, Debug)]
pub(crate) struct Posting<'a> {
    pub(crate) head: PostingHead,
    ways_in: &'a [u8],
    gaps: &'a [u8],
}

impl<'a> Posting<'a> {
    pub(crate) fn read(postings: &'a [u8], ordinal: u32) -> Option<Self> {
        let mut cursor = Cursor::new(postings);
        let count_and_jump = cursor.varint()?;
        if count_and_jump & 1 != 0 {
            return None;
        }
        let count = u32::try_from(count_and_jump >> 1).ok()?;
        let first_version = cursor.varint()?;
        let previous = match cursor.varint_u32()? {
            0 => 0,
            back => ordinal.checked_sub(back - 1)?,
        };
        let ways_in = (count as usize).saturating_sub(1) / POSTING_RUN;
        let ways_in = cursor.take(ways_in.checked_mul(8)?)?;
        let gaps = postings.get(cursor.offset()..)?;
        if count == 0 || first_version == 0 || first_version > MAX_POSITION {
            return None;
        }
        Some(Self { head: PostingHead { count, first_version, previous }, ways_in, gaps })
    }

    /// The ordinals of the events from the `from`-th on.
    pub(crate) fn events(&self, from: u32) -> impl Iterator<Item = u32> + use<'a> {
        let run = (from as usize / POSTING_RUN).min(self.ways_in.len() / 8);
        let (mut before, offset) = match run.checked_sub(1) {
            Some(way) => (
                u32_at(self.ways_in, way * 8).unwrap_or(0),
                u32_at(self.ways_in, way * 8 + 4).unwrap_or(u32::MAX) as usize,
            ),
            None => (0, 0),
        };
        let mut cursor = Cursor::at(self.gaps, offset);
        let start = u32::try_from(run * POSTING_RUN).unwrap_or(u32::MAX);
        (start..self.head.count)
            .map_while(move |index| {
                before = cursor.varint_u32().and_then(|gap| before.checked_add(gap))?;
                Some((index, before))
            })
            .skip_while(move |(index, _)| *index < from)
            .map(|(_, event)| event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postings_of_every_length_come_back_from_everywhere() {
        for count in [1_u32, 2, 127, 128, 129, 256, 257, 1000] {
            let events: Vec<u32> = (0..count).map(|i| i * i + 3).collect();
            let head = PostingHead { count, first_version: 41, previous: 5 };
            let mut bytes = Vec::new();
            put_posting(&mut bytes, 9, &head, &events);
            let posting = Posting::read(&bytes, 9).unwrap();
            assert_eq!(posting.head, head);
            for from in [0, 1, 127, 128, 129, count - 1, count] {
                let found: Vec<u32> = posting.events(from).collect();
                assert_eq!(found, events.get(from as usize..).unwrap_or_default(), "from {from}");
            }
        }
    }

    #[test]
    fn a_short_posting_takes_few_bytes() {
        let mut bytes = Vec::new();
        let head = PostingHead { count: 1, first_version: 1, previous: 0 };
        put_posting(&mut bytes, 9, &head, &[77]);
        assert_eq!(bytes, [2, 1, 0, 77]);
    }

    #[test]
    fn footers_come_back() {
        let section = Section { at: 1, len: 2 };
        let sections = Sections { postings: section, ..Sections::default() };
        let footer = SealedFooter { sections, ..footer() };
        let bytes = footer.encode();
        assert_eq!(SealedFooter::decode(&bytes), Some(footer));
        for len in 0..bytes.len() {
            assert!(SealedFooter::decode(&bytes[..len]).is_none());
        }
    }

    fn footer() -> SealedFooter {
        SealedFooter {
            store: [1; 16],
            salt: [2; 16],
            ordinal: 3,
            generation: 4,
            base: 5,
            events: 6,
            frames: 7,
            end: 8,
            last_crc: 9,
            chain: Chain(10),
            first_time: Timestamp::from_micros(11),
            last_time: Timestamp::from_micros(12),
            terms: 13,
            types: 14,
            categories: 15,
            ids: 16,
            offset_width: 17,
            type_width: 18,
            category_width: 19,
            sections: Sections::default(),
        }
    }

    #[test]
    fn impossible_footers_are_refused() {
        let is_possible = |footer: SealedFooter| SealedFooter::decode(&footer.encode()).is_some();
        let last = 0x0fff_ffff_ffff_ffff;
        assert!(is_possible(SealedFooter { base: last, ..footer() }));
        assert!(!is_possible(SealedFooter { base: last + 1, ..footer() }));
        for (width, possible) in [(57, true), (58, false)] {
            assert_eq!(is_possible(SealedFooter { offset_width: width, ..footer() }), possible);
            assert_eq!(is_possible(SealedFooter { type_width: width, ..footer() }), possible);
            assert_eq!(is_possible(SealedFooter { category_width: width, ..footer() }), possible);
        }
        for (len, possible) in [(1, true), (2, false)] {
            let ids = Section { at: u64::MAX - 1, len };
            let sections = Sections { ids, ..Sections::default() };
            assert_eq!(is_possible(SealedFooter { sections, ..footer() }), possible);
        }
    }

    #[test]
    fn sections_may_be_added_and_not_left_out() {
        let bytes = footer().encode();
        let count_at = bytes.len() - 10 * 16 - 4;
        let with = |count: u32| {
            let mut bytes = [&bytes[..], &[7; 16]].concat();
            super::super::codec::patch_u32(&mut bytes, count_at, count);
            SealedFooter::decode(&bytes)
        };
        assert_eq!(u32_at(&bytes, count_at), Some(10));
        assert_eq!((with(10), with(11)), (Some(footer()), Some(footer())));
        assert_eq!(with(9), None);
    }

    #[test]
    fn zones_sum_up_what_they_hold() {
        let time = Timestamp::from_micros;
        let mut zone = Zone::EMPTY;
        zone.add(time(7), 1, 64);
        zone.add(time(5), 65, 2);
        zone.add(time(6), 3, 3);
        let sum = Zone { earliest: time(5), latest: time(7), types: 0b1010, categories: 0b1101 };
        assert_eq!(zone, sum);
        let mut column = Vec::new();
        Zone::EMPTY.put(&mut column);
        zone.put(&mut column);
        assert_eq!(column.len(), 2 * ZONE_BYTES);
        let locked = [&[5, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0][..], &[0b1010, 0]].concat();
        assert_eq!(column[32..50], locked);
        assert_eq!((Zone::at(&column, 0), Zone::at(&column, 1)), (Some(Zone::EMPTY), Some(zone)));
        assert_eq!((Zone::at(&column, 2), Zone::at(&column, usize::MAX)), (None, None));
    }

    #[test]
    fn names_and_terms_come_back() {
        let row = NameRow { name: "OrderPlaced".into(), events: 3, first: 1, last: 0x0102 };
        let mut bytes = Vec::new();
        row.put(&mut bytes);
        assert_eq!(bytes, b"\x03\0\0\0\x01\0\0\0\x02\x01\0\0\x0b\0OrderPlaced");
        assert_eq!(NameRow::read(&mut Cursor::new(&bytes)), Some(row));
        for len in 0..bytes.len() {
            assert_eq!(NameRow::read(&mut Cursor::new(&bytes[..len])), None, "{len} bytes");
        }
        bytes[14] = 0xff;
        assert_eq!(NameRow::read(&mut Cursor::new(&bytes)), None, "not UTF-8");

        let mut column = Vec::new();
        put_term(&mut column, 0x0102, 3);
        put_term(&mut column, 0x0103, 0x0405);
        assert_eq!(column[12..], [3, 1, 0, 0, 0, 0, 0, 0, 5, 4, 0, 0]);
        assert_eq!((term_hash(&column, 0), term_hash(&column, 1)), (Some(0x0102), Some(0x0103)));
        assert_eq!((term_posting(&column, 0), term_posting(&column, 1)), (Some(3), Some(0x0405)));
        assert_eq!((term_hash(&column, 2), term_posting(&column, 2)), (None, None));
    }

    #[test]
    fn the_bytes_of_a_schema_row_are_locked() {
        let row = SchemaRow { type_id: 0x0102, version: 3, events: 4, first: 5, last: 0x0607 };
        let mut bytes = Vec::new();
        row.put(&mut bytes);
        assert_eq!(bytes, [2, 1, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 7, 6, 0, 0]);
        assert_eq!(SchemaRow::read(&bytes), Some(row));
        for len in 0..bytes.len() {
            assert_eq!(SchemaRow::read(&bytes[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn impossible_postings_are_refused() {
        let put = |count: u64, first_version: u64, back: u64| {
            let mut bytes = Vec::new();
            bytes.put_varint(count);
            bytes.put_varint(first_version);
            bytes.put_varint(back);
            bytes.put(&[7, 1, 1]);
            bytes
        };
        let read = |count, first_version, back| {
            Posting::read(&put(count, first_version, back), 9).map(|posting| posting.head)
        };
        let head = PostingHead { count: 2, first_version: 1, previous: 0 };
        assert_eq!(read(2 << 1, 1, 0), Some(head.clone()));
        assert_eq!(read(2 << 1 | 1, 1, 0), None, "a pointer that jumps");
        assert_eq!(read(0, 1, 0), None, "no event");
        assert_eq!(read(2 << 1, 0, 0), None, "no version");
        let last = 0x0fff_ffff_ffff_ffff;
        assert_eq!(read(2 << 1, last + 1, 0), None, "a version that no stream has");
        let at_last = PostingHead { first_version: last, ..head.clone() };
        assert_eq!(read(2 << 1, last, 0), Some(at_last));
        assert_eq!(read(2 << 1, 1, 9), Some(PostingHead { previous: 1, ..head.clone() }));
        assert_eq!(read(2 << 1, 1, 10), Some(head), "the one before the first is none");
        assert_eq!(read(2 << 1, 1, 11), None, "a segment before the first");
    }

    #[test]
    fn ways_in_are_locked() {
        let events: Vec<u32> = (0..300).map(|n| 2 * n + 5).collect();
        let head = PostingHead { count: 300, first_version: 1, previous: 0 };
        let mut bytes = Vec::new();
        put_posting(&mut bytes, 9, &head, &events);
        let mut expected = vec![0xd8, 0x04, 1, 0];
        for (event, offset) in [(127 * 2 + 5, 128_u32), (255 * 2 + 5, 256)] {
            expected.put_u32(event);
            expected.put_u32(offset);
        }
        expected.push(5);
        expected.resize(expected.len() + 299, 2);
        assert_eq!(bytes, expected);
    }
}
