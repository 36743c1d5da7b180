//! Many sessions in memory.

use std::collections::HashMap;

use midsession::AnySession;

use crate::linked_chat;

/// The numbers of sessions that are measured.
pub const NUMBERS: [u32; 5] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// A plain map of `n` sessions by ids as long as a UUID's text, each of them linked to an end user of its own.
#[must_use]
pub fn linked_sessions(n: u32) -> HashMap<String, AnySession> {
    let mut sessions = HashMap::with_capacity(n as usize);
    sessions.extend((0..n).map(|index| (id(index), linked_chat())));
    sessions
}

/// The ids of `n` sessions in random order, with repetitions. They lie side by side, so that finding the next one does
/// not add to what is measured.
pub struct RandomIds(String);

/// So many that the sessions they lead to do not fit into the processor's caches.
const ROUND: u32 = 1 << 20;

impl RandomIds {
    /// Ids of the sessions in [`linked_sessions`] of the same `n`.
    #[must_use]
    pub fn of(n: u32) -> Self {
        Self((0..ROUND).map(|draw| id(scramble(draw) % n)).collect())
    }

    /// One after the other, and again from the start.
    pub fn cycle(&self) -> impl Iterator<Item = &str> {
        (0..self.0.len()).step_by(ID_LENGTH).cycle().map(|start| &self.0[start..][..ID_LENGTH])
    }
}

const ID_LENGTH: usize = 36;

/// The id of one session.
#[must_use]
pub fn id(index: u32) -> String {
    format!("{:08x}-0000-7000-8000-{index:012x}", scramble(index))
}

/// `MurmurHash3`'s last step, which sends no two numbers to one: every run looks up the same sessions.
const fn scramble(mut bits: u32) -> u32 {
    bits = (bits ^ (bits >> 16)).wrapping_mul(0x85eb_ca6b);
    bits = (bits ^ (bits >> 13)).wrapping_mul(0xc2b2_ae35);
    bits ^ (bits >> 16)
}
