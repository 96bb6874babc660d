//! The file of a view, changed in any way: the view is refused or right, and a reset mends it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| annals::fuzzing::view(bytes));
