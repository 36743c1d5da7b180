//! The whole server but its sockets, in one thread, on tokio's paused clock: two servers with clocks apart share a store in
//! memory that delays, fails, and forgets to answer after it has written. All that happens follows from a seed.
//!
//! ```text
//! cargo test -p midsession-server --test simulation
//! SIMULATION_SEEDS=50000 cargo test --release -p midsession-server --test simulation
//! SIMULATION_SEED=4711 cargo test -p midsession-server --test simulation -- --nocapture
//! ```

mod history;
mod run;
mod store;

use run::simulate;
use store::Bug;

const BUGS: [Bug; 13] = [
    Bug::WriteWithoutCondition,
    Bug::AnswerBeforeTheCommit,
    Bug::DroppedLoser,
    Bug::SwappedAnswers,
    Bug::UnknownTakenForFailure,
    Bug::SwappedReads,
    Bug::WeakReads,
    Bug::WeakReadRevisionAlone,
    Bug::WrittenThoughRefused,
    Bug::WrittenThoughHeld,
    Bug::NothingWrittenButSome,
    Bug::OutOfReachTakenForNone,
    Bug::UnreadableTakenForNone,
];

#[test]
fn every_history_is_explained_by_the_contract() {
    let seeds = match variable("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("SIMULATION_SEEDS").unwrap_or(1_000),
    };
    let mut seen = run::Seen::default();
    for seed in seeds.clone() {
        match simulate(seed, None) {
            Ok(run) => seen += run,
            Err(problem) => panic!("SIMULATION_SEED={seed}: {problem}"),
        }
    }
    println!("{} seeds: {seen:?}", seeds.end - seeds.start);
    // A run of one seed may meet little.
    if seeds.end - seeds.start >= 1_000 {
        seen.assert_everything_happened();
    }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in 0..20 {
        assert_eq!(simulate(seed, None), simulate(seed, None), "seed {seed}");
    }
}

#[test]
fn every_planted_bug_is_found() {
    for bug in BUGS {
        let found = (0..20_000).find(|seed| simulate(*seed, Some(bug)).is_err());
        let seeds = found.unwrap_or_else(|| panic!("{bug:?} goes unnoticed")) + 1;
        println!("{bug:?} is found after {seeds} seeds");
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}
