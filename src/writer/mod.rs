//! Layer 4: check, number, frame, sync, index, watermark.
//!
//! [`core`](commit) is a plain state machine without threads and locks; [`shell`] is the thin
//! leader/follower around it.

mod commit;
mod ids;
mod request;
mod roll;
mod shell;
mod upkeep;

pub(crate) use commit::{Core, Parts};
pub(crate) use request::{Part, Request};
pub(crate) use shell::Writer;
pub(crate) use upkeep::covers;
