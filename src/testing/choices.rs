//! Where the generators take their choices from: a fuzzer's bytes, or the numbers of a property test.

// The core is `no_std`; what is for tests only need not be.
use std::prelude::rust_2024::*;

/// A source of choices. The generators put the simplest value first, so a source that only ever says 0 builds the
/// simplest value, and a source that is used up says 0.
pub(crate) trait Choices {
    /// A number below `options`, which is at least 1.
    fn below(&mut self, options: u64) -> u64;

    /// A few characters. Long text repeats them.
    fn characters(&mut self) -> Vec<char> {
        (0..self.below(12)).map(|_| character(self)).collect()
    }

    /// Starts the next part of a value that has any number of parts; false: there are no more.
    fn another(&mut self) -> bool;
}

fn character(choices: &mut (impl Choices + ?Sized)) -> char {
    let code = match choices.below(8) {
        0..=2 => choices.below(26).saturating_add(0x61),
        3 | 4 => choices.below(94).saturating_add(0x21),
        5 => choices.below(0x11_0000),
        _ => return choices.one_of(&['é', '漢', '🙂', ' ', '\u{301}', '٧']),
    };
    u32::try_from(code).ok().and_then(char::from_u32).unwrap_or('x')
}

/// What every source can do with its numbers.
pub(crate) trait Choose: Choices {
    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length.max(1) as u64)).unwrap_or(0)
    }

    #[allow(clippy::indexing_slicing, reason = "no list of options is empty, and the index is below its length")]
    fn one_of<T: Copy>(&mut self, options: &[T]) -> T {
        options[self.index(options.len())]
    }

    /// True once in `times`. The simple choice is false.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times).saturating_add(1) == times
    }

    fn range(&mut self, from: i64, to: i64) -> i64 {
        from.saturating_add_unsigned(self.below(to.abs_diff(from).saturating_add(1)))
    }
}

impl<C: Choices + ?Sized> Choose for C {}

#[cfg(feature = "arbitrary")]
pub(crate) struct Bytes<'u, 'a>(pub(crate) &'u mut arbitrary::Unstructured<'a>);

#[cfg(feature = "arbitrary")]
impl Choices for Bytes<'_, '_> {
    fn below(&mut self, options: u64) -> u64 {
        self.0.int_in_range(0..=options.saturating_sub(1)).unwrap_or(0)
    }

    // As they stand in the bytes, so that a fuzzer's dictionary and its comparisons reach them.
    fn characters(&mut self) -> Vec<char> {
        let length = self.index(12);
        let text = self.0.bytes(length.min(self.0.len())).unwrap_or_default();
        String::from_utf8_lossy(text).chars().collect()
    }

    fn another(&mut self) -> bool {
        !self.0.is_empty()
    }
}
