//! A stream directory, changed in any way: it costs a rebuild.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| annals::fuzzing::directory(bytes));
