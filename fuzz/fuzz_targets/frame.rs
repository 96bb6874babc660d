//! Any bytes as a frame: no panic, and no place outside it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| annals::fuzzing::frame(bytes));
