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

    /// Has a range that will be read soon come into memory, without waiting for it.
    fn will_need(&self, _range: Range<usize>) {}
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

/// Bytes of one segment, all or some of them, with what else its events have in common.
///
/// Events share it: so one count keeps both alive, and an event stays small.
pub(crate) struct Window {
    region: Arc<dyn Region>,
    /// The salt of the segment, from which the ids are computed that the store assigns.
    salt: [u8; 16],
}

impl Window {
    pub(crate) const fn new(region: Arc<dyn Region>, salt: [u8; 16]) -> Self {
        Self { region, salt }
    }

    /// A range of it, whose bytes no longer change; nothing outside.
    pub(crate) fn bytes(&self, range: Range<u32>) -> &[u8] {
        self.region.bytes(range.start as usize..range.end as usize).unwrap_or_default()
    }

    /// Has a range that will be read soon come into memory, without waiting for it.
    pub(crate) fn will_need(&self, range: Range<usize>) {
        self.region.will_need(range);
    }
}

/// A range of a counted window: owned, cheap to clone, never copied.
#[derive(Clone)]
pub(crate) struct Bytes {
    window: Arc<Window>,
    // Segments are shorter than 4 GiB, and each event carries one of these.
    start: u32,
    len: u32,
}

impl Bytes {
    /// A range of a window that begins where its region does, if it lies inside.
    pub(crate) fn new(window: &Arc<Window>, range: Range<usize>) -> Option<Self> {
        let len = u32::try_from(range.end.checked_sub(range.start)?).ok()?;
        let start = u32::try_from(range.start).ok()?;
        window.region.bytes(range)?;
        Some(Self { window: Arc::clone(window), start, len })
    }

    /// All of a buffer, of a segment with this salt.
    pub(crate) fn from_vec(buffer: Vec<u8>, salt: [u8; 16]) -> Self {
        let len = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let window = Arc::new(Window::new(Arc::new(buffer), salt));
        Self { window, start: 0, len }
    }

    /// The bytes.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        // The range was checked when this value was made and regions never shrink.
        let start = self.start as usize;
        self.window.region.bytes(start..start + self.len as usize).unwrap_or_default()
    }

    /// A part of this range, counted by itself.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "else the parts are written, and waited for")]
    pub(crate) fn slice(&self, range: Range<usize>) -> Option<Self> {
        let (start, end) = (u32::try_from(range.start).ok()?, u32::try_from(range.end).ok()?);
        let len = end.checked_sub(start).filter(|_| end <= self.len)?;
        let start = self.start.checked_add(start)?;
        Some(Self { window: Arc::clone(&self.window), start, len })
    }

    /// The length in bytes.
    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }

    /// The salt of the segment that they are of.
    pub(crate) fn salt(&self) -> &[u8; 16] {
        &self.window.salt
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
        let all = Bytes::from_vec(vec![1, 2, 3, 4], [7; 16]);
        let middle = all.slice(1..3).unwrap();
        assert_eq!(middle.as_slice(), [2, 3]);
        assert_eq!(middle.slice(1..2).unwrap().as_slice(), [3]);
        assert!(middle.slice(1..3).is_none());
        assert_eq!(middle.salt(), &[7; 16]);
        let window = Arc::new(Window::new(Arc::new(vec![0_u8; 4]), [0; 16]));
        assert!(Bytes::new(&window, 2..5).is_none());
    }
}
