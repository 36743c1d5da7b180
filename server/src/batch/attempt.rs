//! What became of a write whose fate is not known.

use midsession::AnySession;

use super::command::Outcome;

/// A write whose fate is not known: it may have been made, or may still be made.
pub(super) struct Attempt {
    pub(super) expected: Option<u64>,
    pub(super) next: AnySession,
    pub(super) outcome: Outcome,
}

/// What the stored session says of an [`Attempt`].
#[derive(PartialEq)]
pub(super) enum Fate {
    /// It was made.
    Made,
    /// It was not made, and may still be.
    Open,
    /// It was not made, and cannot be any more.
    Lost,
    /// Others went on from there: it may have been made before.
    Unknown,
}

impl Attempt {
    /// Revisions only rise, and each write takes a session from the one it expects to a later one.
    pub(super) fn fate(&self, stored: Option<&AnySession>) -> Fate {
        let revision = stored.map(AnySession::revision);
        if stored == Some(&self.next) {
            Fate::Made
        } else if revision == self.expected {
            Fate::Open
        } else if revision > self.expected && revision <= Some(self.next.revision()) {
            Fate::Lost
        } else {
            Fate::Unknown
        }
    }
}
