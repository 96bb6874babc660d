//! What a search cost.

/// What a search cost. Made by [`ReadAll::explain`](crate::ReadAll::explain).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// Events that matched.
    pub matched: u64,
    /// Events that were read and decoded.
    pub decoded: u64,
    /// Segments that were looked into.
    pub segments_touched: u64,
    /// Segments of the range that were not looked into.
    pub segments_skipped: u64,
    /// Look-ups of a list of a label, a stream, or the columns.
    pub lists_read: u64,
    /// Entries of the lists of labels and streams that were looked at.
    pub postings_read: u64,
}
