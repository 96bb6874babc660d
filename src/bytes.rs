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
    // Segments are shorter than 4 GiB, and each event carries one of these.
    start: u32,
    len: u32,
}

impl Bytes {
    /// A range of a region, or `None` where the range leaves it.
    pub(crate) fn new(region: Arc<dyn Region>, range: Range<usize>) -> Option<Self> {
        let len = u32::try_from(range.end.checked_sub(range.start)?).ok()?;
        let start = u32::try_from(range.start).ok()?;
        region.bytes(range)?;
        Some(Self { region, start, len })
    }

    /// All of an owned buffer, up to its first 4 GiB.
    pub(crate) fn from_vec(buffer: Vec<u8>) -> Self {
        let len = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        Self { region: Arc::new(buffer), start: 0, len }
    }

    /// The bytes.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        // The range was checked when this value was made and regions never shrink.
        let start = self.start as usize;
        self.region.bytes(start..start + self.len as usize).unwrap_or_default()
    }

    /// A range of this range, or `None` where it leaves it.
    #[inline]
    pub(crate) fn slice(&self, range: Range<usize>) -> Option<Self> {
        let (start, end) = (u32::try_from(range.start).ok()?, u32::try_from(range.end).ok()?);
        let len = end.checked_sub(start).filter(|_| end <= self.len)?;
        let start = self.start.checked_add(start)?;
        Some(Self { region: Arc::clone(&self.region), start, len })
    }

    /// How many bytes there are.
    pub(crate) const fn len(&self) -> usize {
        self.len as usize
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
