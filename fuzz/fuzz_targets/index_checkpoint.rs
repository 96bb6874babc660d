//! An index checkpoint, changed in any way: it costs reading the log again.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| annals::fuzzing::index_checkpoint(bytes));
