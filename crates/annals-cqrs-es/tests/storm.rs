//! The storm of `examples/storm.rs`, small: both loops apply each command exactly once.

#![allow(dead_code, reason = "the example's own `main`")]

#[path = "../examples/storm.rs"]
mod storm;

#[test]
fn sixteen_threads_on_one_entity_apply_each_command_once() {
    let settings = storm::Settings { threads: 16, commands: 160, rounds: 1 };
    storm::compare(settings).unwrap();
}
