//! Any text as a line to import: refused, or the same after a way out and in again.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| annals::fuzzing::import_line(bytes));
