//! Where the bytes of a segment come from: maps of its file, or the file.

use std::ops::Range;
use std::sync::Weak;

use crate::bytes::{Bytes, Region, Window};
use crate::error::Result;
use crate::format::segment::{Seed, SegmentHeader};
use crate::options::ReadMode;
use crate::storage::{NamedFile, Reads};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};

/// What a read asks the disk for, beside what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetch {
    /// A frame, and those behind it next.
    Ahead,
    /// One frame, near the one that was read before.
    Near,
    /// One frame anywhere.
    One,
}

/// Frames that are no further from each other are read as if in order: what lies between them takes
/// the disk no longer than another read would.
const NEAR: u32 = 128 << 10;

impl Fetch {
    /// For a frame that is read behind another one, if that is of the same segment.
    #[inline]
    pub(crate) const fn behind(before: Option<u32>, offset: u32) -> Self {
        match before {
            Some(before) if before.abs_diff(offset) <= NEAR => Self::Near,
            _ => Self::One,
        }
    }

    /// How much to read at once where there is no map.
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::Ahead => 256 << 10,
            Self::Near | Self::One => 4 << 10,
        }
    }
}

/// Where the bytes come from.
pub(super) enum Source {
    Mapped(Maps),
    File(NamedFile),
}

/// Two maps of one file, which need not stay open. What the system reads beside a page that is not
/// in its cache depends on the map: up to many megabytes, as the machine is set up, which is right
/// for a scan, and a thousand times what a read of one event wants.
pub(super) struct Maps {
    in_order: Arc<Window>,
    scattered: Arc<Window>,
    asked: Box<[AtomicU64]>,
}

/// The first time that something of such a block is wanted by itself, all of it is asked for: that
/// takes a disk hardly longer than a page, and a store that fits the cache is soon there. What has
/// gone from the cache since was pushed out by something else, and is read by the page.
const BLOCK: u32 = 128 << 10;

impl Source {
    /// The bytes of a segment's file, which has the length that its header says at least. What is
    /// behind `written` will be written by this process.
    pub(super) fn of(
        file: &NamedFile,
        mode: ReadMode,
        header: &SegmentHeader,
        written: u32,
    ) -> Result<Self> {
        let seed = Seed::of(&header.salt);
        let map = |reads: Reads| -> Result<Option<Arc<Window>>> {
            let region = match mode {
                ReadMode::Mmap => file.map(u64::from(header.len), reads)?,
                ReadMode::Positional => None,
            };
            Ok(region.map(|region| {
                remember_map(seed, &region);
                Arc::new(Window::new(region, header.salt))
            }))
        };
        let maps = (map(Reads::InOrder)?, map(Reads::Scattered)?);
        let (Some(in_order), Some(scattered)) = maps else {
            return Ok(Self::File(file.clone()));
        };
        Ok(Self::Mapped(Maps::new(in_order, scattered, header.len, written)))
    }
}

impl Maps {
    fn new(in_order: Arc<Window>, scattered: Arc<Window>, len: u32, written: u32) -> Self {
        let words = len.div_ceil(BLOCK).div_ceil(u64::BITS);
        // What this process writes is in the cache as it is written.
        let old = written.div_ceil(BLOCK);
        let asked = (0..words).map(|word| {
            let old = old.saturating_sub(word * u64::BITS);
            AtomicU64::new(u64::MAX.checked_shl(old).unwrap_or(0))
        });
        Self { in_order, scattered, asked: asked.collect() }
    }

    /// A range whose bytes no longer change, if it lies inside.
    #[inline]
    pub(super) fn bytes(&self, range: Range<u32>, fetch: Fetch) -> Option<Bytes> {
        let window = match fetch {
            Fetch::Ahead | Fetch::Near => &self.in_order,
            Fetch::One => {
                self.ask(range.start / BLOCK);
                &self.scattered
            }
        };
        Bytes::new(window, range.start as usize..range.end as usize)
    }

    /// The same, only to look at.
    #[inline]
    pub(super) fn look(&self, range: Range<u32>, fetch: Fetch) -> &[u8] {
        match fetch {
            Fetch::Ahead | Fetch::Near => self.in_order.bytes(range),
            Fetch::One => self.scattered.bytes(range),
        }
    }

    /// Has the disk read a range that will be read of the scattered map, without waiting for it.
    pub(super) fn ask_range(&self, offset: u32, len: u32) {
        let last = offset.saturating_add(len.saturating_sub(1));
        (offset / BLOCK..=last / BLOCK).for_each(|block| self.ask(block));
    }

    /// The same for the block of an offset.
    #[inline]
    pub(super) fn ask_at(&self, offset: u32) {
        self.ask(offset / BLOCK);
    }

    #[inline]
    fn ask(&self, block: u32) {
        if let Some(word) = self.asked.get((block / u64::BITS) as usize)
            && word.load(Ordering::Relaxed) & 1 << (block % u64::BITS) == 0
        {
            self.ask_first(word, block);
        }
    }

    #[cold]
    fn ask_first(&self, word: &AtomicU64, block: u32) {
        word.fetch_or(1 << (block % u64::BITS), Ordering::Relaxed);
        let start = block as usize * BLOCK as usize;
        self.scattered.will_need(start..start + BLOCK as usize);
    }
}

/// The maps of segments that this process has made, by any store, and that may still
/// live: a later opening must know, because the cache behind a map cannot be dropped.
static MAPS: Mutex<Vec<(Seed, Weak<dyn Region>)>> = Mutex::new(Vec::new());

fn remember_map(seed: Seed, region: &Arc<dyn Region>) {
    let mut maps = MAPS.lock();
    maps.retain(|(_, region)| region.strong_count() > 0);
    maps.push((seed, Arc::downgrade(region)));
}

/// Whether this process still has a map of the segment with a seed.
pub(crate) fn is_mapped(seed: Seed) -> bool {
    MAPS.lock().iter().any(|(of, region)| *of == seed && region.strong_count() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes the blocks that are asked for.
    #[derive(Default)]
    struct Asked(Mutex<Vec<usize>>);

    impl Region for Asked {
        fn bytes(&self, _: Range<usize>) -> Option<&[u8]> {
            Some(&[])
        }

        fn will_need(&self, range: Range<usize>) {
            assert_eq!((range.len(), range.start % range.len()), (BLOCK as usize, 0));
            self.0.lock().push(range.start / range.len());
        }
    }

    fn maps(blocks: u32, written: u32) -> (Maps, Arc<Asked>, Arc<Asked>) {
        let regions = [Arc::<Asked>::default(), Arc::default()];
        let window = |region: &Arc<Asked>| {
            let region: Arc<dyn Region> = Arc::clone(region) as _;
            Arc::new(Window::new(region, [0; 16]))
        };
        let [in_order, scattered] = &regions;
        let maps = Maps::new(window(in_order), window(scattered), blocks * BLOCK, written);
        let [in_order, scattered] = regions;
        (maps, in_order, scattered)
    }

    #[test]
    fn a_block_is_asked_for_once() {
        let (maps, in_order, scattered) = maps(100, 100 * BLOCK);
        for offset in [5, BLOCK - 1, 99 * BLOCK, 7] {
            maps.bytes(offset..offset + 1, Fetch::One).unwrap();
        }
        assert_eq!(*scattered.0.lock(), [0, 99]);
        maps.ask_at(BLOCK);
        maps.ask_range(BLOCK + 1, 2 * BLOCK);
        maps.ask_range(64 * BLOCK, 0);
        maps.ask_range(u32::MAX, u32::MAX);
        assert_eq!(*scattered.0.lock(), [0, 99, 1, 2, 3, 64], "and none behind the end");
        for fetch in [Fetch::Near, Fetch::Ahead] {
            maps.bytes(50 * BLOCK..50 * BLOCK + 1, fetch).unwrap();
        }
        maps.look(51 * BLOCK..51 * BLOCK + 1, Fetch::One);
        assert_eq!((scattered.0.lock().len(), in_order.0.lock().len()), (6, 0));
    }

    #[test]
    fn what_this_process_writes_is_not_asked_for() {
        for (written, blocks) in [(0, 0), (1, 1), (BLOCK, 1), (64 * BLOCK, 64), (65 * BLOCK, 65)] {
            let (maps, _, scattered) = maps(200, written);
            (0..200).for_each(|block| maps.ask(block));
            assert_eq!(scattered.0.lock().len(), blocks, "{written}");
        }
    }

    #[test]
    fn what_is_near_is_read_in_order() {
        assert_eq!(Fetch::behind(None, 0), Fetch::One);
        for (before, offset) in [(0, NEAR), (NEAR, 0), (9, 9), (u32::MAX - NEAR, u32::MAX)] {
            assert_eq!(Fetch::behind(Some(before), offset), Fetch::Near);
        }
        for (before, offset) in [(0, NEAR + 1), (NEAR + 1, 0), (0, u32::MAX)] {
            assert_eq!(Fetch::behind(Some(before), offset), Fetch::One);
        }
    }

    #[test]
    fn each_map_of_a_segment_is_remembered() {
        let seed = Seed::of(b"each map of one.");
        let regions: [Arc<dyn Region>; 2] = [Arc::new(vec![1]), Arc::new(vec![2])];
        let [first, second] = regions;
        remember_map(seed, &first);
        remember_map(seed, &second);
        drop(second);
        assert!(is_mapped(seed), "the first one lives");
        drop(first);
        assert!(!is_mapped(seed));
    }
}
