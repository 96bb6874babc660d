//! Any bytes as an event's entry.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| annals::fuzzing::entry(bytes));
