//! The store from outside, one module for each subject.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod append;
mod collisions;
mod damage;
mod directories;
mod idempotency;
mod limits;
mod reopen;
mod support;
mod torture;
