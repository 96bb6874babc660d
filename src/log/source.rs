//! Where the bytes of a segment come from: maps of its file, or the file.

use std::ops::Range;
use std::sync::{LazyLock, Weak};
use std::time::Instant;

use crate::bytes::{Bytes, Region, Window};
use crate::error::Result;
use crate::format::segment::{Seed, SegmentHeader};
use crate::options::ReadMode;
use crate::storage::NamedFile;
use crate::sync::{Arc, AtomicU32, AtomicU64, Mutex, Ordering};

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
    Mapped(Mapped),
    File(NamedFile),
}

/// A map of a file, which need not stay open.
///
/// On a miss of its cache the system reads around the page as far as the machine is set up to read
/// ahead. That is right for what is read in order, and on some machines a thousand times what a
/// read of one event wants; so such a read asks for a block around the event first.
pub(super) struct Mapped {
    window: Arc<Window>,
    /// A bit for each block that was asked for in the span.
    asked: Box<[AtomicU64]>,
    span: AtomicU32,
}

/// What is asked for at once: about as much as most systems read around a page, so that a store
/// that fits the cache is soon there.
const BLOCK: u32 = 128 << 10;
/// Pages leave the cache and nobody says so. So blocks are asked for again behind so many seconds,
/// which costs little where they are still there.
const SPAN: u64 = 10;

/// The number of the span of time that it is.
pub(super) fn span() -> u32 {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    u32::try_from(BEGUN.elapsed().as_secs() / SPAN).unwrap_or(u32::MAX)
}

impl Source {
    /// The bytes of a segment's file, which has the length that its header says at least.
    pub(super) fn of(file: &NamedFile, mode: ReadMode, header: &SegmentHeader) -> Result<Self> {
        let region = match mode {
            ReadMode::Mmap => file.map(u64::from(header.len))?,
            ReadMode::Positional => None,
        };
        Ok(match region {
            Some(region) => {
                remember_map(Seed::of(&header.salt), &region);
                let window = Arc::new(Window::new(region, header.salt));
                Self::Mapped(Mapped::new(window, header.len))
            }
            None => Self::File(file.clone()),
        })
    }
}

impl Mapped {
    pub(super) fn new(window: Arc<Window>, len: u32) -> Self {
        let words = len.div_ceil(BLOCK).div_ceil(u64::BITS);
        let asked = (0..words).map(|_| AtomicU64::new(0)).collect();
        Self { window, asked, span: AtomicU32::new(0) }
    }

    /// A range whose bytes no longer change, if it lies inside.
    #[inline]
    pub(super) fn bytes(&self, range: Range<u32>, fetch: Fetch) -> Option<Bytes> {
        if fetch == Fetch::One {
            self.ask(range.start / BLOCK);
        }
        Bytes::new(&self.window, range.start as usize..range.end as usize)
    }

    /// The same, only to look at.
    #[inline]
    pub(super) fn look(&self, range: Range<u32>) -> &[u8] {
        self.window.bytes(range)
    }

    /// Has the disk read what is around an offset, without waiting for it, if nobody asked for that
    /// in the span of time that it is.
    #[inline]
    pub(super) fn ask_in(&self, span: u32, offset: u32) {
        if self.span.load(Ordering::Relaxed) != span {
            self.begin(span);
        }
        self.ask(offset / BLOCK);
    }

    /// The same for a range of which every byte will be read. What is long is always asked for:
    /// that is little beside the read.
    pub(super) fn ask_range(&self, offset: u32, len: u32) {
        let last = offset.saturating_add(len.saturating_sub(1)) / BLOCK;
        for block in offset / BLOCK..=last {
            // In pieces, since the system cuts what is asked for at once.
            if len > BLOCK { self.will_need(block) } else { self.ask(block) }
        }
    }

    #[cold]
    fn begin(&self, span: u32) {
        self.span.store(span, Ordering::Relaxed);
        self.asked.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    #[inline]
    fn ask(&self, block: u32) {
        if let Some(word) = self.asked.get((block / u64::BITS) as usize)
            && word.load(Ordering::Relaxed) & 1 << (block % u64::BITS) == 0
        {
            word.fetch_or(1 << (block % u64::BITS), Ordering::Relaxed);
            self.will_need(block);
        }
    }

    #[cold]
    fn will_need(&self, block: u32) {
        let start = block as usize * BLOCK as usize;
        self.window.will_need(start..start + BLOCK as usize);
    }
}

/// How much of a frame or an entry is touched before it is read.
const TOUCHED: usize = 384;

/// Reads a byte here and there. Processors fetch lines of 64 bytes in pairs.
pub(super) fn touch(bytes: &[u8]) -> u8 {
    bytes.iter().take(TOUCHED).step_by(128).fold(0, |all, byte| all ^ byte)
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
pub(super) mod tests {
    use super::*;

    /// Bytes that note which blocks of them are asked for.
    #[derive(Default)]
    pub(in super::super) struct Asked {
        pub(in super::super) bytes: Vec<u8>,
        pub(in super::super) blocks: Mutex<Vec<usize>>,
    }

    impl Region for Asked {
        fn bytes(&self, range: Range<usize>) -> Option<&[u8]> {
            self.bytes.get(range)
        }

        fn will_need(&self, range: Range<usize>) {
            assert_eq!((range.len(), range.start % range.len()), (BLOCK as usize, 0));
            self.blocks.lock().push(range.start / range.len());
        }
    }

    /// A source over bytes, and what is asked of it.
    pub(in super::super) fn mapped(bytes: Vec<u8>) -> (Mapped, Arc<Asked>) {
        let len = u32::try_from(bytes.len()).unwrap();
        let region = Arc::new(Asked { bytes, blocks: Mutex::default() });
        let window = Arc::new(Window::new(Arc::clone(&region) as _, [0; 16]));
        (Mapped::new(window, len), region)
    }

    #[test]
    fn a_block_is_asked_for_once_in_a_span_of_time() {
        let (mapped, region) = mapped(vec![0; 100 * BLOCK as usize]);
        for offset in [5, BLOCK - 1, 99 * BLOCK, 7] {
            mapped.bytes(offset..offset + 1, Fetch::One).unwrap();
        }
        assert_eq!(*region.blocks.lock(), [0, 99]);
        mapped.ask_in(0, BLOCK);
        mapped.ask_in(0, BLOCK + 9);
        mapped.ask_in(0, u32::MAX);
        assert_eq!(*region.blocks.lock(), [0, 99, 1], "and none behind the end");
        for fetch in [Fetch::Near, Fetch::Ahead] {
            mapped.bytes(50 * BLOCK..50 * BLOCK + 1, fetch).unwrap();
        }
        mapped.look(51 * BLOCK..51 * BLOCK + 1);
        assert_eq!(region.blocks.lock().len(), 3);
        for span in [1, 1, 2] {
            mapped.ask_in(span, 3);
            mapped.ask_in(span, 4);
        }
        assert_eq!(region.blocks.lock()[3..], [0, 0]);
    }

    #[test]
    fn a_long_range_is_always_asked_for() {
        let (mapped, region) = mapped(vec![0; 100 * BLOCK as usize]);
        for _ in 0..2 {
            mapped.ask_range(BLOCK - 1, 2);
            mapped.ask_range(64 * BLOCK, 0);
        }
        assert_eq!(*region.blocks.lock(), [0, 1, 64]);
        for _ in 0..2 {
            mapped.ask_range(BLOCK + 1, BLOCK + 1);
        }
        assert_eq!(region.blocks.lock()[3..], [1, 2, 1, 2]);
        mapped.ask_range(u32::MAX, u32::MAX);
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
