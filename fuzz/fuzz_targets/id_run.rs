//! A run of ids, changed in any way: it costs a rebuild.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| annals::fuzzing::id_run(bytes));
