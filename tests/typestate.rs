//! The proof that illegal states do not compile: the examples of `src/typestate.md`, which run as doctests. `tests/ui` has the
//! compiler's messages.

#[test]
fn each_example_that_must_not_compile_has_a_twin_that_differs_in_one_line_and_compiles() {
    let page = include_str!("../src/typestate.md");
    let blocks: Vec<_> = page.split("```").skip(1).step_by(2).collect();
    assert!(blocks.len() >= 18, "nine pairs");
    for pair in blocks.chunks(2) {
        let [refused, twin] = pair else { panic!("an example without its twin: {pair:?}") };
        let (kind, refused) = refused.split_once('\n').unwrap();
        assert!(kind.starts_with("compile_fail,E0"), "{kind}");
        let twin = twin.strip_prefix('\n').expect("a plain example");
        let differing = refused.lines().zip(twin.lines()).filter(|(one, other)| one != other).count();
        assert_eq!((refused.lines().count(), differing), (twin.lines().count(), 1), "{refused}");
    }
}
