//! Any bytes as the file `STORE`, and any changes to one.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| annals::fuzzing::store_file(bytes));
