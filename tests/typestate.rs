//! What must not compile does not, with the message the user will see.

#[test]
fn illegal_states_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
