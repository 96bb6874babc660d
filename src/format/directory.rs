//! The stream directory: from the hash of a stream's name to its last event, in pages of slots,
//! and the table of the segments that it covers.

use super::codec::{Cursor, Put, u64_at};
use super::segment::Chain;

/// A page, which is also the unit of the file's checksums: a look-up touches one.
pub(crate) const PAGE_BYTES: usize = super::blocks::BLOCK_BYTES;
const PAGE_HEAD_BYTES: usize = 16;
const SLOT_BYTES: usize = 16;
/// The slots of a page.
pub(crate) const PAGE_SLOTS: usize = (PAGE_BYTES - PAGE_HEAD_BYTES) / SLOT_BYTES;
/// The most pages, for more streams than any store has.
const MAX_PAGES: u64 = 1 << 40;
/// How many of them are to be used, so that hardly any page spills into the next.
const FILL: (u64, u64) = (85, 100);

/// The newest sealed event of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(crate) hash: u64,
    pub(crate) segment: u32,
    /// The offset of the frame that holds its last event.
    pub(crate) frame: u32,
}

/// How many pages `slots` slots take.
pub(crate) fn pages_for(slots: u64) -> u64 {
    (slots * FILL.1).div_ceil(PAGE_SLOTS as u64 * FILL.0).max(1)
}

/// The page on which the look-up of a hash begins.
pub(crate) fn page_of(hash: u64, pages: u64) -> u64 {
    let page = (u128::from(hash) * u128::from(pages)) >> 64;
    u64::try_from(page).unwrap_or(0)
}

/// Appends the pages; the slots are sorted. A page that is full spills into the next, and the last
/// into pages of its own.
pub(crate) fn put_pages(out: &mut Vec<u8>, slots: &[Slot], pages: u64) {
    let mut rest = slots;
    let mut page = 0;
    while page < pages || !rest.is_empty() {
        let mine = rest.iter().take_while(|slot| page_of(slot.hash, pages) <= page).count();
        let (now, later) = rest.split_at_checked(mine.min(PAGE_SLOTS)).unwrap_or((rest, &[]));
        out.put_u16(u16::try_from(now.len()).unwrap_or(u16::MAX));
        out.put_u16(u16::from(mine > PAGE_SLOTS));
        out.put(&[0; PAGE_HEAD_BYTES - 4]);
        for slot in now {
            out.put_u64(slot.hash);
            out.put_u32(slot.segment);
            out.put_u32(slot.frame);
        }
        out.resize(out.len() + (PAGE_SLOTS - now.len()) * SLOT_BYTES, 0);
        rest = later;
        page += 1;
    }
}

/// A page that was verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page<'a> {
    bytes: &'a [u8],
    slots: usize,
    /// Slots that belong here stand on the next page.
    pub(crate) spills: bool,
}

impl<'a> Page<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let (slots, spills) = (usize::from(cursor.u16()?), cursor.u16()? != 0);
        (slots <= PAGE_SLOTS && bytes.len() == PAGE_BYTES).then_some(Self { bytes, slots, spills })
    }

    /// All slots, sorted.
    pub(crate) fn slots(self) -> impl Iterator<Item = Slot> + use<'a> {
        (0..self.slots).map_while(move |index| self.slot(index))
    }

    /// The slots of a hash.
    pub(crate) fn find(self, hash: u64) -> impl Iterator<Item = Slot> + use<'a> {
        let mut low = 0;
        let mut high = self.slots;
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.hash(middle).is_some_and(|found| found < hash) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (low..self.slots)
            .map_while(move |index| self.slot(index))
            .take_while(move |slot| slot.hash == hash)
    }

    fn hash(self, index: usize) -> Option<u64> {
        u64_at(self.bytes, PAGE_HEAD_BYTES + index * SLOT_BYTES)
    }

    fn slot(self, index: usize) -> Option<Slot> {
        let mut cursor = Cursor::at(self.bytes, PAGE_HEAD_BYTES + index * SLOT_BYTES);
        Some(Slot { hash: cursor.u64()?, segment: cursor.u32()?, frame: cursor.u32()? })
    }
}

/// A sealed segment as the directory knows it, so that open need not read its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentRow {
    pub(crate) ordinal: u32,
    pub(crate) generation: u32,
    pub(crate) salt: [u8; 16],
    pub(crate) base: u64,
    pub(crate) events: u32,
    pub(crate) end: u32,
    pub(crate) len: u32,
    pub(crate) last_crc: u32,
    pub(crate) chain: Chain,
}

/// The bytes of a row of the segment table.
pub(crate) const ROW_BYTES: usize = 56;

impl SegmentRow {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_u32(self.ordinal);
        out.put_u32(self.generation);
        out.put(&self.salt);
        out.put_u64(self.base);
        out.put_u32(self.events);
        out.put_u32(self.end);
        out.put_u32(self.len);
        out.put_u32(self.last_crc);
        out.put_u64(self.chain.0);
    }

    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        Some(Self {
            ordinal: cursor.u32()?,
            generation: cursor.u32()?,
            salt: cursor.array()?,
            base: cursor.u64()?,
            events: cursor.u32()?,
            end: cursor.u32()?,
            len: cursor.u32()?,
            last_crc: cursor.u32()?,
            chain: Chain(cursor.u64()?),
        })
    }
}

/// The footer of a directory file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirectoryFooter {
    pub(crate) store: [u8; 16],
    /// How many pages hashes are spread over; pages that took the spill of the last follow.
    pub(crate) pages: u64,
    pub(crate) all_pages: u64,
    pub(crate) streams: u64,
    pub(crate) segments: u32,
}

impl DirectoryFooter {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put(&self.store);
        out.put_u64(self.pages);
        out.put_u64(self.all_pages);
        out.put_u64(self.streams);
        out.put_u32(self.segments);
        out
    }

    pub(crate) fn decode(cursor: &mut Cursor<'_>) -> Option<Self> {
        let footer = Self {
            store: cursor.array()?,
            pages: cursor.u64()?,
            all_pages: cursor.u64()?,
            streams: cursor.u64()?,
            segments: cursor.u32()?,
        };
        let is_possible = footer.pages <= footer.all_pages && footer.all_pages <= MAX_PAGES;
        is_possible.then_some(footer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(bytes: &[u8], pages: u64, hash: u64) -> Vec<Slot> {
        let mut page = usize::try_from(page_of(hash, pages)).unwrap();
        let mut found = Vec::new();
        loop {
            let read = Page::read(&bytes[page * PAGE_BYTES..(page + 1) * PAGE_BYTES]).unwrap();
            found.extend(read.find(hash));
            if !read.spills {
                return found;
            }
            page += 1;
        }
    }

    #[test]
    fn every_stream_is_found_also_where_pages_spill() {
        for (count, spread) in [(0, 1), (1, 1), (10_000, u64::MAX / 10_000), (3000, 1)] {
            let slots: Vec<Slot> = (0..count)
                .map(|n| Slot { hash: n * spread, segment: 1, frame: u32::try_from(n).unwrap() })
                .collect();
            let pages = pages_for(count);
            let mut bytes = Vec::new();
            put_pages(&mut bytes, &slots, pages);
            for slot in &slots {
                assert_eq!(find(&bytes, pages, slot.hash), [*slot]);
            }
            assert!(find(&bytes, pages, u64::MAX).is_empty());
        }
    }

    #[test]
    fn streams_of_one_hash_are_all_found() {
        let slots: Vec<Slot> = (0..600).map(|frame| Slot { hash: 7, segment: 1, frame }).collect();
        let mut bytes = Vec::new();
        put_pages(&mut bytes, &slots, pages_for(600));
        assert_eq!(find(&bytes, pages_for(600), 7), slots);
    }

    #[test]
    fn rows_and_footers_come_back() {
        let row = SegmentRow {
            ordinal: 1,
            generation: 2,
            salt: [3; 16],
            base: 4,
            events: 5,
            end: 6,
            len: 7,
            last_crc: 8,
            chain: Chain(9),
        };
        let footer =
            DirectoryFooter { store: [1; 16], pages: 2, all_pages: 3, streams: 4, segments: 1 };
        let mut bytes = footer.encode();
        row.put(&mut bytes);
        let mut cursor = Cursor::new(&bytes);
        assert_eq!(DirectoryFooter::decode(&mut cursor), Some(footer));
        assert_eq!(SegmentRow::read(&mut cursor), Some(row));
        let mut row_bytes = Vec::new();
        row.put(&mut row_bytes);
        assert_eq!(row_bytes.len(), ROW_BYTES);
    }

    #[test]
    fn pages_are_filled_to_85_of_100() {
        assert_eq!(PAGE_SLOTS, 255);
        // 216.75 slots a page.
        for (slots, pages) in
            [(0, 1), (1, 1), (216, 1), (217, 2), (433, 2), (434, 3), (21_675, 100)]
        {
            assert_eq!(pages_for(slots), pages, "{slots} slots");
        }
    }

    #[test]
    fn a_page_spills_only_when_it_has_to() {
        for (count, all, spills) in [(254, 1, false), (255, 1, false), (256, 2, true)] {
            let slots: Vec<Slot> =
                (0..count).map(|frame| Slot { hash: 7, segment: 1, frame }).collect();
            let mut bytes = Vec::new();
            put_pages(&mut bytes, &slots, 1);
            assert_eq!(bytes.len(), all * PAGE_BYTES, "{count} slots");
            let first = Page::read(&bytes[..PAGE_BYTES]).unwrap();
            assert_eq!(first.spills, spills, "{count} slots");
            assert!(first.slots().eq(slots.iter().take(PAGE_SLOTS).copied()));
        }
        let mut bytes = Vec::new();
        put_pages(&mut bytes, &[], 3);
        assert_eq!(bytes.len(), 3 * PAGE_BYTES, "pages without slots");
    }

    #[test]
    fn what_is_no_page_is_refused() {
        let mut bytes = Vec::new();
        put_pages(&mut bytes, &[Slot { hash: 7, segment: 1, frame: 2 }], 1);
        assert!(Page::read(&bytes).is_some());
        assert!(Page::read(&bytes[..PAGE_BYTES - 1]).is_none(), "cut");
        assert!(Page::read(&[&bytes[..], &[0]].concat()).is_none(), "too long");
        bytes[..2].copy_from_slice(&256_u16.to_le_bytes());
        assert!(Page::read(&bytes).is_none(), "more slots than there is room for");
        bytes[..2].copy_from_slice(&255_u16.to_le_bytes());
        assert!(Page::read(&bytes).is_some());
    }

    #[test]
    fn the_pages_of_a_footer_are_bounded() {
        let decode = |pages, all_pages| {
            let footer =
                DirectoryFooter { store: [1; 16], pages, all_pages, streams: 4, segments: 1 };
            DirectoryFooter::decode(&mut Cursor::new(&footer.encode()))
        };
        assert!(decode(3, 3).is_some());
        assert!(decode(4, 3).is_none(), "more pages than all pages");
        let most = 0x0100_0000_0000;
        assert!(decode(most, most).is_some());
        assert!(decode(most, most + 1).is_none(), "more than any store has");
    }

    #[test]
    fn hashes_are_spread_evenly_over_the_pages() {
        assert_eq!([0, 1 << 63, u64::MAX].map(|hash| page_of(hash, 10)), [0, 5, 9]);
        let pages = 7;
        let slots: Vec<Slot> = (0..7 * 216)
            .map(|n| Slot { hash: n * (u64::MAX / (7 * 216)), segment: 1, frame: 8 })
            .collect();
        let mut bytes = Vec::new();
        put_pages(&mut bytes, &slots, pages);
        assert_eq!(bytes.len(), 7 * PAGE_BYTES);
        for page in bytes.chunks(PAGE_BYTES) {
            let page = Page::read(page).unwrap();
            assert!(!page.spills && (215..=217).contains(&page.slots().count()));
        }
    }
}
