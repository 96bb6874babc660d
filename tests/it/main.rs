//! The store from outside, one module for each subject.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::pedantic,
    clippy::big_endian_bytes,
    missing_docs,
    reason = "tests fail by panicking, and write numbers as they come"
)]

mod append;
mod collisions;
mod conditions;
mod damage;
mod directories;
mod follow;
mod groups;
mod idempotency;
mod lifecycle;
mod limits;
mod projections;
mod query;
mod reopen;
mod repair;
mod subscribe;
mod support;
mod survey;
#[cfg(feature = "async")]
mod tasks;
mod torture;
mod transact;
mod verdict;
mod verify;
mod views;
