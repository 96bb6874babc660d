//! Layer 4: small replaceable values under keys: cursors, and later snapshots and views. The
//! latest value of a key wins.
//!
//! Keys are in memory, values are read when they are asked for. A write is durable when it returns;
//! callers that write at the same time share one group, which whoever gets the file first writes
//! for all that have queued. State writes of frames are durable in the log, so they are only taken
//! note of here, and saved later: before an index file is written that covers their frames, so that
//! an opening finds all others behind the index files.

mod change;
mod compact;
mod load;
mod save;
mod table;
mod values;

pub(crate) use change::{Change, changes_of, check, encode};
pub(crate) use values::{Scan, State};

#[cfg(test)]
pub(crate) mod tests;
