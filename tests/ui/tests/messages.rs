//! The words of one version of the compiler, which `.ci/run messages` names.

#[test]
fn the_compiler_says_what_is_wrong() {
    trybuild::TestCases::new().compile_fail("cases/*.rs");
}
