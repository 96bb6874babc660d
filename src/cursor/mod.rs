//! Layer 5: named cursors: how far a consumer has come, kept by the store.
//!
//! A cursor is a value of `state/`: a position, and the id of the event there, so that a cursor of
//! another history (a restored backup) is recognised. Changes of one name are made one after the
//! other; changes of several names share writes and syncs.

mod busy;
mod cursors;
mod found;
mod moved;
mod owned;
mod wait;

pub(crate) use busy::{Busy, Held};
pub use cursors::CursorInfo;
pub(crate) use cursors::Cursors;
pub use found::CursorsFound;
pub(crate) use moved::Moved;
pub use owned::OwnedCursor;
