//! What is wrong with an event is said where it is wrong.
//!
//! The macros refuse before annals would be needed, so nothing but them is built for it.

#[test]
fn what_cannot_be_stored_is_refused_with_the_reason() {
    trybuild::TestCases::new().compile_fail("tests/compile/*.rs");
}
