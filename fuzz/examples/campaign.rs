//! How many runs each generator and each law takes to find what is wrong with the crate: `.ci/plants` plants mistakes into
//! a copy of it and runs this there. Without a mistake, nothing is found.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::path::Path;

use midsession::testing::strategies;
use midsession_fuzz::laws;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

const MOST_RUNS: usize = 4_000;

fn main() {
    set_hook(Box::new(|_| {}));
    let situations = strategy(strategies::situation(), laws::agrees_on_situation);
    let histories = strategy(strategies::history(), laws::agrees_on_history);
    let finders: [(&str, Option<usize>); 6] = [
        ("strategy situation", situations),
        ("strategy history", histories),
        ("target situation", random_bytes(laws::situation)),
        ("target history", random_bytes(laws::history)),
        ("target sequence", random_bytes(laws::sequence)),
        ("target request", corpus(laws::request)),
    ];
    for (finder, found) in finders {
        println!("{finder}\t{}", found.map_or_else(|| "-".to_owned(), |runs| runs.to_string()));
    }
}

/// The first run that fails, counted from 1.
fn first_failure(mut run: impl FnMut(usize), runs: usize) -> Option<usize> {
    (1..=runs).find(|at| catch_unwind(AssertUnwindSafe(|| run(*at))).is_err())
}

fn strategy<T: core::fmt::Debug>(strategy: impl Strategy<Value = T>, law: fn(&T)) -> Option<usize> {
    let mut runner = TestRunner::deterministic();
    first_failure(|_| law(&strategy.new_tree(&mut runner).unwrap().current()), MOST_RUNS)
}

/// A fuzzer's input without a fuzzer.
fn random_bytes(law: fn(&[u8])) -> Option<usize> {
    let mut state = 1_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33).to_le_bytes()[0]
    };
    first_failure(|_| law(&(0..1_024).map(|_| random()).collect::<Vec<u8>>()), MOST_RUNS)
}

/// The committed corpus, which a fuzzer runs first.
fn corpus(law: fn(&[u8])) -> Option<usize> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/request");
    let mut files: Vec<_> = fs::read_dir(corpus).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort_by_key(|file| fs::metadata(file).unwrap().len());
    first_failure(|at| law(&fs::read(&files[at - 1]).unwrap()), files.len())
}
