//! What one part of a segment's index knows of a stream.

/// A stream's events in one part of a segment's index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamPart {
    pub(crate) first_version: u64,
    pub(crate) count: u32,
    /// The segment with the events before these; this segment itself where an older part of its
    /// index has them; 0 where there are none.
    pub(crate) previous: u32,
    /// Where its posting list begins; only in files.
    pub(super) posting: u32,
}

impl StreamPart {
    pub(crate) const fn last_version(&self) -> u64 {
        self.first_version + self.count as u64 - 1
    }

    /// A part in memory.
    pub(crate) const fn live(first_version: u64, count: u32, previous: u32) -> Self {
        Self { first_version, count, previous, posting: 0 }
    }
}
