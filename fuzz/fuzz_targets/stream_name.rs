//! Any text as a stream's name: taken or refused, and what is taken reads back.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| annals::fuzzing::stream_name(bytes));
