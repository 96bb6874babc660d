//! Any bytes as a frame, as they are and with right checksums: no place outside it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| annals::fuzzing::frame(bytes));
