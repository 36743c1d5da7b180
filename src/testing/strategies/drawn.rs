//! A strategy that builds its value from a record of choices, and shrinks the record.
//!
//! proptest's own combinators cost microseconds a number in a debug build, and they shrink a value of many parts in more
//! steps than proptest's defaults allow. A record is cheap, and it says which parts a value can do without.

use core::fmt;
use std::prelude::rust_2024::*;
use std::vec;

use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::testing::choices::Choices;

/// The strategy of what `build` makes.
pub(super) fn drawn<T: fmt::Debug, F: Fn(&mut dyn Choices) -> T + Clone>(build: F) -> Drawn<F> {
    Drawn(build)
}

#[derive(Clone)]
pub(super) struct Drawn<F>(F);

impl<F> fmt::Debug for Drawn<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Drawn")
    }
}

impl<T: fmt::Debug, F: Fn(&mut dyn Choices) -> T + Clone> Strategy for Drawn<F> {
    type Tree = Tree<F>;
    type Value = T;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let seed = proptest::num::u64::ANY.new_tree(runner)?.current();
        let mut recorder = Recorder { state: seed, record: vec![Vec::new()], parts_left: None };
        (self.0)(&mut recorder);
        Ok(Tree {
            build: self.0.clone(),
            remove: recorder.record.len().saturating_sub(1),
            best: recorder.record,
            tried: None,
            stage: Stage::Remove { at: 1 },
            steps_left: MAX_STEPS,
        })
    }
}

/// The choices in a row, of the value as a whole and then of each of its parts.
type Record = Vec<Vec<u64>>;

/// Makes the choices at random, and writes them down.
struct Recorder {
    state: u64,
    record: Record,
    parts_left: Option<u64>,
}

impl Recorder {
    /// The generator `SplitMix64`.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The most parts that a value has.
const MAX_PARTS: u64 = 24;

impl Choices for Recorder {
    fn below(&mut self, options: u64) -> u64 {
        let choice = self.random().checked_rem(options).unwrap_or(0);
        if let Some(part) = self.record.last_mut() {
            part.push(choice);
        }
        choice
    }

    fn another(&mut self) -> bool {
        let left = match self.parts_left {
            Some(left) => left,
            None => self.random().checked_rem(MAX_PARTS).unwrap_or(0).saturating_add(1),
        };
        self.parts_left = Some(left.saturating_sub(1));
        if left > 0 {
            self.record.push(Vec::new());
        }
        left > 0
    }
}

/// Makes the choices of a record again. Where the record ends, it makes the simplest one.
struct Replay<'a> {
    part: core::slice::Iter<'a, u64>,
    parts: core::slice::Iter<'a, Vec<u64>>,
}

impl Choices for Replay<'_> {
    fn below(&mut self, options: u64) -> u64 {
        self.part.next().map_or(0, |choice| (*choice).min(options.saturating_sub(1)))
    }

    fn another(&mut self) -> bool {
        let part = self.parts.next();
        self.part = part.map_or([].iter(), |part| part.iter());
        part.is_some()
    }
}

/// Stays well below the 1,024 steps that proptest takes by default, so that shrinking ends by itself, also in a tuple.
const MAX_STEPS: u32 = 450;

/// A value that becomes simpler: first it loses parts, then its choices become smaller.
#[derive(Clone)]
pub(super) struct Tree<F> {
    build: F,
    best: Record,
    /// Simpler than the best one, and not known yet to fail.
    tried: Option<Record>,
    stage: Stage,
    /// How many parts are taken away at once.
    remove: usize,
    steps_left: u32,
}

#[derive(Clone, Copy)]
enum Stage {
    /// Take parts away, from this one on.
    Remove {
        at: usize,
    },
    /// Make every choice of this part the simplest one.
    Clear {
        part: usize,
    },
    /// Make this choice smaller: the simplest one, or half of it.
    Lower {
        part: usize,
        at: usize,
        halve: bool,
    },
    Done,
}

impl<T: fmt::Debug, F: Fn(&mut dyn Choices) -> T> ValueTree for Tree<F> {
    type Value = T;

    fn current(&self) -> T {
        let mut parts = self.tried.as_ref().unwrap_or(&self.best).iter();
        let part = parts.next().map_or([].iter(), |part| part.iter());
        (self.build)(&mut Replay { part, parts })
    }

    fn simplify(&mut self) -> bool {
        if let Some(simpler) = self.tried.take() {
            self.best = simpler;
            self.stage = self.stage.after(true, self.remove);
        }
        self.try_next()
    }

    fn complicate(&mut self) -> bool {
        self.tried = None;
        self.stage = self.stage.after(false, self.remove);
        self.try_next()
    }
}

impl<F> Tree<F> {
    /// Tries the next simpler record; false: there is none.
    fn try_next(&mut self) -> bool {
        while self.steps_left > 0 {
            match self.simpler() {
                Some(record) => {
                    self.tried = Some(record);
                    self.steps_left = self.steps_left.saturating_sub(1);
                    return true;
                }
                None if matches!(self.stage, Stage::Done) => return false,
                None => {}
            }
        }
        false
    }

    /// What the stage makes of the best record. None: nothing, and the stage has moved on.
    fn simpler(&mut self) -> Option<Record> {
        let mut record = self.best.clone();
        match self.stage {
            Stage::Remove { at } if at < record.len() => {
                record.drain(at..at.saturating_add(self.remove).min(record.len()));
                return Some(record);
            }
            Stage::Remove { .. } if self.remove > 1 => {
                self.remove /= 2;
                self.stage = Stage::Remove { at: 1 };
            }
            Stage::Remove { .. } => self.stage = Stage::Clear { part: 0 },
            Stage::Clear { part } => match record.get_mut(part) {
                Some(choices) if choices.iter().any(|choice| *choice > 0) => {
                    choices.clear();
                    return Some(record);
                }
                Some(_) => self.stage = Stage::Clear { part: part.saturating_add(1) },
                None => self.stage = Stage::Lower { part: 0, at: 0, halve: false },
            },
            Stage::Lower { part, at, halve } => match record.get_mut(part).map(|choices| choices.get_mut(at)) {
                Some(Some(choice)) if *choice > u64::from(halve) => {
                    *choice = if halve { *choice / 2 } else { 0 };
                    return Some(record);
                }
                Some(Some(_)) => self.stage = Stage::Lower { part, at: at.saturating_add(1), halve: false },
                Some(None) => self.stage = Stage::Lower { part: part.saturating_add(1), at: 0, halve: false },
                None => self.stage = Stage::Done,
            },
            Stage::Done => {}
        }
        None
    }
}

impl Stage {
    /// The stage after a record was tried, which failed as the best one does, or did not.
    fn after(self, failed: bool, removed: usize) -> Self {
        match self {
            Self::Remove { at } if !failed => Self::Remove { at: at.saturating_add(removed) },
            Self::Clear { part } => Self::Clear { part: part.saturating_add(1) },
            // Where the simplest one fails as well, there is nothing to halve.
            Self::Lower { part, at, halve: false } => Self::Lower { part, at, halve: true },
            Self::Lower { part, at, halve: true } if !failed => {
                Self::Lower { part, at: at.saturating_add(1), halve: false }
            }
            stage => stage,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::test_runner::Reason;

    use super::*;

    #[test]
    fn a_strategy_says_what_it_is_and_not_how_it_builds() {
        assert_eq!(std::format!("{:?}", drawn(|c| c.below(2))), "Drawn");
    }

    /// With the numbers that the authors of `SplitMix64` print for this seed.
    #[test]
    fn the_choices_are_those_of_split_mix_64() {
        let mut recorder = Recorder { state: 1_234_567, record: vec![Vec::new()], parts_left: None };
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(expected.map(|_| recorder.below(u64::MAX)), expected);
        assert_eq!(recorder.record, [expected]);
    }

    #[test]
    fn a_number_is_halved_as_long_as_it_fails() {
        for (number, _) in shrunk(|c| c.below(1_000), |number| *number >= 100) {
            assert!((100..200).contains(&number), "{number}");
        }
    }

    #[test]
    fn a_choice_that_does_not_matter_becomes_the_simplest_one() {
        let three = |c: &mut dyn Choices| [c.below(1_000), c.below(1_000), c.below(1_000)];
        for ([first, middle, last], runs) in shrunk(three, |[_, middle, _]| *middle >= 100) {
            assert!(first == 0 && last == 0 && (100..200).contains(&middle), "{first} {middle} {last}");
            // All at once, then each alone, and the one that matters by halves.
            assert!(runs <= 1 + 3 + 4, "{runs}");
        }
    }

    #[test]
    fn choices_of_which_none_matters_are_given_up_together() {
        let many = |c: &mut dyn Choices| (0..100).map(|_| c.below(1_000)).sum::<u64>();
        for (sum, runs) in shrunk(many, |_| true) {
            assert_eq!((sum, runs), (0, 1));
        }
        // The simplest one is left alone.
        for (number, runs) in shrunk(|c| c.below(1), |_| true) {
            assert_eq!((number, runs), (0, 0));
        }
    }

    #[test]
    fn parts_that_do_not_matter_are_taken_away() {
        let parts = |c: &mut dyn Choices| {
            let mut parts = Vec::new();
            while c.another() {
                parts.push(c.below(1_000));
            }
            parts
        };
        for (parts, runs) in shrunk(parts, |parts| parts.iter().any(|part| *part >= 500)) {
            assert!(parts.len() == 1 && parts.iter().all(|part| (500..1_000).contains(part)), "{parts:?}");
            assert!(runs < 40, "{runs}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "nothing but arithmetic, for minutes")]
    fn shrinking_ends_after_so_many_runs() -> Result<(), Reason> {
        // Each of them matters, so that each is tried twice.
        let many = |c: &mut dyn Choices| (0..300).map(|_| u64::from(c.below(1_000) > 1)).sum::<u64>();
        let tree = drawn(many).new_tree(&mut TestRunner::deterministic())?;
        let ones = tree.current();
        assert_eq!(shrink(tree, |fewer| *fewer == ones), (ones, MAX_STEPS));
        Ok(())
    }

    /// How many values are shrunk, if all of them fail.
    const VALUES: usize = if cfg!(miri) { 8 } else { 100 };

    /// What some values that fail shrink to, and the runs that each took.
    fn shrunk<T: fmt::Debug>(
        build: impl Fn(&mut dyn Choices) -> T + Clone,
        fails: impl Fn(&T) -> bool,
    ) -> Vec<(T, u32)> {
        let mut runner = TestRunner::deterministic();
        let trees = (0..VALUES).filter_map(|_| drawn(build.clone()).new_tree(&mut runner).ok());
        let shrunk: Vec<_> = trees.filter(|tree| fails(&tree.current())).map(|tree| shrink(tree, &fails)).collect();
        assert!(shrunk.len() > VALUES / 4, "{}", shrunk.len());
        shrunk
    }

    /// As proptest does.
    fn shrink<T: fmt::Debug, F: Fn(&mut dyn Choices) -> T>(mut tree: Tree<F>, fails: impl Fn(&T) -> bool) -> (T, u32) {
        let (mut best, mut runs) = (tree.current(), 0);
        let mut goes_on = tree.simplify();
        while goes_on {
            runs += 1;
            assert!(runs <= MAX_STEPS, "it does not end");
            let simpler = tree.current();
            goes_on = if fails(&simpler) {
                best = simpler;
                tree.simplify()
            } else {
                tree.complicate()
            };
        }
        (best, runs)
    }
}
