//! Layer 4: check, number, frame, sync, index, watermark.
//!
//! [`core`] and the steps on it ([`stage`], [`commit`], [`roll`]) are a plain state machine without
//! threads and locks; [`shell`] is the thin leader/follower around it.

mod commit;
mod conditions;
mod core;
mod facts;
mod ids;
pub(crate) mod reentry;
mod request;
mod roll;
mod shell;
mod stage;
mod staged;
mod upkeep;

pub(crate) use self::core::{Core, Leftover, Parts};
pub(crate) use conditions::Condition;
pub(crate) use request::{Part, Request};
#[cfg(test)]
pub(crate) use roll::Preparation;
pub(crate) use upkeep::{Frozen, PendingSync, covers};

/// The shared writer of a store.
pub(crate) type Writer = shell::Writer<Core>;
