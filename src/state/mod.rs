//! Layer 4: small replaceable values under keys: cursors, snapshots, views. The latest value of a
//! key wins.
//!
//! Each part (the cursors and the list of views; the snapshots; each view) has a file of its own.
//! Keys are in memory, values are read when they are asked for. A write is durable when it returns;
//! callers that write to a part at the same time share one group, which whoever gets the file first
//! writes for all that have queued. State writes of frames are durable in the log, so they are only
//! taken note of here, and saved later: before an index file is written that covers their frames,
//! so that an opening finds all others behind the index files.

mod change;
mod compact;
mod frames;
mod home;
mod load;
mod part;
mod range;
mod save;
mod table;
mod whole;

pub(crate) use change::{Change, changes_of, check, encode};
pub(crate) use home::Home;
pub(crate) use part::{Part, Scan};
pub(crate) use range::Range;
pub(crate) use table::Found;
pub(crate) use whole::{FrameEnd, State, changes_of_view};

#[cfg(test)]
mod tests;
