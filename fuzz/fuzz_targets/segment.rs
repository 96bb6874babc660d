//! A segment of a killed store, changed in any way: what was there up to some point, or a refusal.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| annals::fuzzing::segment(bytes));
