//! The kit from outside, one module for each subject.
#![cfg(all(feature = "derive", feature = "json"))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::pedantic,
    reason = "a test fails by panicking"
)]

mod past;
mod projected;
mod reactions;
mod repository;
mod scenarios;
#[cfg(feature = "async")]
mod streams;
#[cfg(feature = "testkit")]
mod timers;
mod typed;
mod upcasts;
