//! Counted ranges of bytes: the zero-copy currency between the storage and an event.

use std::fmt;
use std::ops::Range;

use crate::sync::Arc;

/// Memory that others may hold ranges of: a file's map, or a buffer.
///
/// A map may still grow at its committed end while ranges of it are held, so a region is never
/// borrowed whole; it hands out only ranges whose bytes no longer change.
pub(crate) trait Region: Send + Sync {
    /// The bytes of a range, or `None` where it leaves the region.
    fn bytes(&self, range: Range<usize>) -> Option<&[u8]>;
}

impl Region for Box<[u8]> {
    fn bytes(&self, range: Range<usize>) -> Option<&[u8]> {
        self.get(range)
    }
}

impl Region for Vec<u8> {
    fn bytes(&self, range: Range<usize>) -> Option<&[u8]> {
        self.get(range)
    }
}

/// A range of a counted region: owned, cheap to clone, never copied.
#[derive(Clone)]
pub(crate) struct Bytes {
    region: Arc<dyn Region>,
    start: usize,
    len: usize,
}

impl Bytes {
    /// A range of a region, or `None` where the range leaves it.
    pub(crate) fn new(region: Arc<dyn Region>, range: Range<usize>) -> Option<Self> {
        let len = range.end.checked_sub(range.start)?;
        region.bytes(range.clone())?;
        Some(Self { region, start: range.start, len })
    }

    /// All of an owned buffer.
    pub(crate) fn from_vec(buffer: Vec<u8>) -> Self {
        let len = buffer.len();
        Self { region: Arc::new(buffer), start: 0, len }
    }

    /// The bytes.
    pub(crate) fn as_slice(&self) -> &[u8] {
        // The range was checked when this value was made and regions never shrink.
        self.region.bytes(self.start..self.start + self.len).unwrap_or_default()
    }

    /// A range of this range, or `None` where it leaves it.
    pub(crate) fn slice(&self, range: Range<usize>) -> Option<Self> {
        let len = range.end.checked_sub(range.start)?;
        (range.end <= self.len).then(|| Self {
            region: Arc::clone(&self.region),
            start: self.start + range.start,
            len,
        })
    }

    /// How many bytes there are.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Payloads do not belong into logs.
        write!(f, "Bytes({})", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stay_inside_their_region() {
        let all = Bytes::from_vec(vec![1, 2, 3, 4]);
        let middle = all.slice(1..3).unwrap();
        assert_eq!(middle.as_slice(), [2, 3]);
        assert_eq!(middle.slice(1..2).unwrap().as_slice(), [3]);
        assert!(middle.slice(1..3).is_none());
        let region: Arc<dyn Region> = Arc::new(vec![0_u8; 4]);
        assert!(Bytes::new(region, 2..5).is_none());
    }
}
