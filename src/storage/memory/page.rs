//! A simulated page that processes share.

use crate::storage::{PAGE_WORDS, SharedPage};
use crate::sync::{AtomicU64, Ordering};

/// The words of a page. A power cut loses all of them: nothing that has to survive is in one.
#[derive(Debug)]
pub(super) struct MemoryPage {
    words: Vec<AtomicU64>,
}

impl MemoryPage {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        let words = bytes.chunks_exact(8).take(PAGE_WORDS).map(|bytes| AtomicU64::new(word(bytes)));
        Self { words: words.collect() }
    }

    pub(super) fn bytes(&self) -> impl Iterator<Item = u8> {
        self.words.iter().flat_map(|word| word.load(Ordering::Acquire).to_le_bytes())
    }

    /// Flips bits of a byte.
    pub(super) fn flip(&self, offset: usize, xor: u8) {
        if let Some(word) = self.words.get(offset / 8) {
            word.fetch_xor(u64::from(xor) << (offset % 8 * 8), Ordering::AcqRel);
        }
    }
}

impl SharedPage for MemoryPage {
    fn load(&self, word: usize) -> u64 {
        self.words.get(word).map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn store(&self, word: usize, value: u64) {
        if let Some(word) = self.words.get(word) {
            word.store(value, Ordering::Release);
        }
    }
}
