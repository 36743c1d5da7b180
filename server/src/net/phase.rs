//! What a connection's service and its socket tell each other, past hyper.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use crate::http::Ambiguity;

/// Where a connection is between two requests. Its service sets it, and its socket reads it: hyper tells neither.
#[derive(Clone, Default)]
pub(crate) struct Phase(Arc<Shared>);

#[derive(Default)]
struct Shared {
    phase: AtomicU8,
    closes: AtomicBool,
    /// Of the connection's last request, after which nothing is read.
    last: OnceLock<Ambiguity>,
}

impl Phase {
    /// The next request's head has not come yet, or not all of it.
    const WAITING: u8 = 0;
    /// A request is being answered.
    const HANDLING: u8 = 1;
    /// The answer is there, and is being sent.
    const ANSWERED: u8 = 2;

    pub(crate) fn handling(&self) {
        self.0.phase.store(Self::HANDLING, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self) {
        self.0.phase.store(Self::ANSWERED, Ordering::Relaxed);
    }

    /// Why this request is the last.
    pub(super) fn last(&self) -> Option<Ambiguity> {
        self.0.last.get().copied()
    }

    /// The server stops: from its next read on, the connection ends if no request comes. Whoever holds it has it read.
    pub(super) fn close_when_idle(&self) {
        self.0.closes.store(true, Ordering::Relaxed);
    }

    pub(super) fn closes(&self) -> bool {
        self.0.closes.load(Ordering::Relaxed)
    }

    /// The request that comes now is the last.
    pub(super) fn set_last(&self, why: Ambiguity) {
        let _ = self.0.last.set(why);
    }

    /// Whether the answer was there, and so is sent now.
    pub(super) fn sent(&self) -> bool {
        self.0.phase.compare_exchange(Self::ANSWERED, Self::WAITING, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.0.phase.load(Ordering::Relaxed) == Self::WAITING
    }
}
