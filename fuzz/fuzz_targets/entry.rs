//! Any bytes as an event's entry: no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| annals::fuzzing::entry(bytes));
