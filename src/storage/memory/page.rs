//! A simulated page that processes share.

use crate::format::codec::{Put, u64_at};
use crate::storage::{PAGE_WORDS, SharedPage};
use crate::sync::{AtomicU64, Ordering};

/// The words of a page. A power cut loses all of them: nothing that has to survive is in one.
#[derive(Debug)]
pub(super) struct MemoryPage {
    words: Vec<AtomicU64>,
}

impl MemoryPage {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let word = |index: usize| u64_at(bytes, index * 8).unwrap_or_default();
        Self { words: (0..PAGE_WORDS).map(|index| AtomicU64::new(word(index))).collect() }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.words.iter().for_each(|word| bytes.put_u64(word.load(Ordering::Acquire)));
        bytes
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
