//! The bytes of a simulated file.

use std::collections::BTreeMap;
use std::iter;
use std::ops::Range;
use std::sync::OnceLock;

use crate::sync::Arc;

/// Bytes are kept in chunks of this size, shared between the copies of a file.
const CHUNK: usize = 1 << 10;

static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// A length and bytes, where zeros take no memory: files are filled with zeros long before they
/// are written. Copies share what none of them has changed, and what was computed about it.
#[derive(Clone, Default)]
pub(super) struct Content {
    chunks: Arc<Chunks>,
    len: usize,
}

/// The chunks that were written, by number.
#[derive(Clone, Default)]
struct Chunks {
    stored: BTreeMap<usize, Arc<Chunk>>,
    digest: OnceLock<u64>,
}

#[derive(Clone)]
struct Chunk {
    bytes: [u8; CHUNK],
    digest: OnceLock<u64>,
}

impl Content {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn grow(&mut self, len: usize) {
        self.len = self.len.max(len);
    }

    /// Reads what there is at an offset, up to the length of the buffer.
    pub(super) fn read(&self, buffer: &mut [u8], offset: usize) -> usize {
        let count = buffer.len().min(self.len.saturating_sub(offset));
        let Some(buffer) = buffer.get_mut(..count).filter(|buffer| !buffer.is_empty()) else {
            return 0;
        };
        buffer.fill(0);
        let numbers = offset / CHUNK..=(offset + count - 1) / CHUNK;
        for (number, chunk) in self.chunks.stored.range(numbers) {
            // Where the chunk begins in the buffer, or the buffer in the chunk.
            let (to, from) = match (number * CHUNK).checked_sub(offset) {
                Some(behind) => (behind, 0),
                None => (0, offset - number * CHUNK),
            };
            let len = (CHUNK - from).min(count - to);
            if let (Some(target), Some(source)) =
                (buffer.get_mut(to..to + len), chunk.bytes.get(from..from + len))
            {
                target.copy_from_slice(source);
            }
        }
        count
    }

    /// Writes at an offset, growing if need be.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        for (at, range) in parts(offset, bytes.len(), CHUNK) {
            let source = bytes.get(range).unwrap_or_default();
            if self.stored(at, source.len()) != source {
                self.chunk_mut(at / CHUNK).put(at % CHUNK, source);
            }
        }
        self.grow(offset + bytes.len());
    }

    /// A chunk that is about to change.
    fn chunk_mut(&mut self, number: usize) -> &mut Chunk {
        let chunks = Arc::make_mut(&mut self.chunks);
        chunks.digest = OnceLock::new();
        Arc::make_mut(chunks.stored.entry(number).or_default())
    }

    /// Whether these bytes stand at an offset. What was never written is zeros, also behind the
    /// end.
    pub(super) fn holds(&self, offset: usize, bytes: &[u8]) -> bool {
        parts(offset, bytes.len(), CHUNK).all(|(at, range)| {
            bytes.get(range).is_some_and(|bytes| bytes == self.stored(at, bytes.len()))
        })
    }

    pub(super) fn flip(&mut self, offset: usize, xor: u8) {
        let mut byte = [0];
        if self.read(&mut byte, offset) == 1 {
            self.write(offset, &byte.map(|byte| byte ^ xor));
        }
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.read(&mut bytes, 0);
        bytes
    }

    /// A number that other bytes or another length hardly have.
    pub(super) fn digest(&self) -> u64 {
        let stored = self.chunks.digest.get_or_init(|| {
            let stored = self.chunks.stored.iter().filter(|(_, chunk)| chunk.bytes != ZEROS);
            stored.fold(0, |digest, (number, chunk)| {
                mixed(mixed(digest ^ *number as u64) ^ chunk.digest())
            })
        });
        mixed(mixed(self.len as u64) ^ stored)
    }

    /// Bytes that do not cross the end of a chunk.
    fn stored(&self, at: usize, len: usize) -> &[u8] {
        let chunk = self.chunks.stored.get(&(at / CHUNK)).map_or(&ZEROS, |chunk| &chunk.bytes);
        let start = at % CHUNK;
        chunk.get(start..start + len).unwrap_or_default()
    }
}

impl Default for Chunk {
    fn default() -> Self {
        Self { bytes: ZEROS, digest: OnceLock::new() }
    }
}

impl Chunk {
    fn put(&mut self, start: usize, bytes: &[u8]) {
        self.digest = OnceLock::new();
        if let Some(target) = self.bytes.get_mut(start..start + bytes.len()) {
            target.copy_from_slice(bytes);
        }
    }

    fn digest(&self) -> u64 {
        *self.digest.get_or_init(|| {
            let (low, high) = self.bytes.split_at(CHUNK / 2);
            u64::from(crc32fast::hash(low)) | u64::from(crc32fast::hash(high)) << 32
        })
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        let mut content = Self::default();
        content.write(0, bytes);
        content
    }
}

/// Splitmix64's last step: every bit of the number decides about every bit of the result.
pub(super) const fn mixed(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed ^ (mixed >> 31)).wrapping_add(0x9E37_79B9_7F4A_7C15)
}

/// Cuts a range of a file at the multiples of `unit`: where each part starts in the file, and its
/// range of the bytes.
pub(super) fn parts(
    offset: usize,
    len: usize,
    unit: usize,
) -> impl Iterator<Item = (usize, Range<usize>)> {
    let mut done = 0;
    iter::from_fn(move || {
        let start = done;
        let at = offset + start;
        done = len.min(start + unit - at % unit);
        (start < len).then_some((at, start..done))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_end_at_multiples() {
        assert_eq!(parts(0, 0, 512).count(), 0);
        assert!(parts(510, 4, 512).eq([(510, 0..2), (512, 2..4)]));
        assert!(parts(512, 1024, 512).eq([(512, 0..512), (1024, 512..1024)]));
    }

    #[test]
    fn what_is_written_is_read() {
        let mut content = Content::default();
        let bytes: Vec<u8> = (1..=250).cycle().take(2 * CHUNK).collect();
        content.write(CHUNK - 10, &bytes);
        assert_eq!(content.len(), 3 * CHUNK - 10);
        let mut buffer = vec![0xEE; 3 * CHUNK];
        assert_eq!(content.read(&mut buffer, CHUNK - 12), 2 * CHUNK + 2);
        assert_eq!(buffer[..2], [0, 0]);
        assert_eq!(buffer[2..2 * CHUNK + 2], bytes);
        assert_eq!(content.read(&mut buffer, content.len()), 0);
        assert_eq!(content.read(&mut buffer, 9 * CHUNK), 0);
        content.grow(1);
        assert_eq!(content.len(), 3 * CHUNK - 10);
    }

    #[test]
    fn zeros_take_no_memory() {
        let mut content = Content::default();
        content.write(5, &vec![0; 10 * CHUNK]);
        assert!(content.chunks.stored.is_empty());
        assert_eq!(content.len(), 10 * CHUNK + 5);
        content.write(3 * CHUNK, &vec![7; 2 * CHUNK]);
        assert_eq!(content.chunks.stored.len(), 2);
        content.write(2 * CHUNK + 1, &vec![0; 2 * CHUNK]);
        assert_eq!(content.chunks.stored.len(), 2);
        assert!(content.holds(0, &vec![0; 4 * CHUNK + 1]));
        assert!(content.holds(4 * CHUNK + 1, &vec![7; CHUNK - 1]));
    }

    #[test]
    fn copies_do_not_change_each_other() {
        let mut content = Content::from(&b"old"[..]);
        let copy = content.clone();
        content.write(0, b"new");
        assert_eq!(copy.to_vec(), b"old");
        assert_eq!(content.to_vec(), b"new");
        assert_ne!(copy.digest(), content.digest());
        content.write(0, b"old");
        assert_eq!(copy.digest(), content.digest());
    }

    #[test]
    fn a_digest_is_of_the_bytes_and_not_of_how_they_came_there() {
        let mut content = Content::from(&b"a"[..]);
        content.write(3 * CHUNK, b"b");
        let before = content.digest();
        content.write(CHUNK, &[1]);
        assert_ne!(content.digest(), before);
        content.write(CHUNK, &[0]);
        assert_eq!(content.digest(), before);
        content.grow(4 * CHUNK);
        assert_ne!(content.digest(), before);
    }

    #[test]
    fn bytes_behind_the_end_are_zeros() {
        let content = Content::from(&b"a"[..]);
        assert!(content.holds(0, b"a\0\0"));
        assert!(!content.holds(0, b"a\0b"));
    }
}
