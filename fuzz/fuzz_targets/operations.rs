//! Operations on a store whose disk fails and loses power: what was acknowledged is there.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| annals::fuzzing::operations(bytes));
