#[cfg(feature = "transfer")]
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| annals::fuzzing::import_line(bytes));
