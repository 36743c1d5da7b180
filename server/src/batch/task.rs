//! One command on its way through its shard, and who waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use midsession::AnySession;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tracing::Span;

use super::attempt::{Attempt, Fate};
use super::command::{Command, Outcome, SubmitError};
use crate::metrics::RESOLVED_OUTCOMES;
use crate::store::Origin;

/// One command on its way.
pub(super) struct Task {
    pub(super) id: Arc<str>,
    pub(super) work: Work,
    pub(super) origin: Origin,
    pub(super) deadline: Instant,
    pub(super) conflicts: u32,
    /// How often it was put aside.
    pub(super) waits: u32,
    /// It was to be refused after a weak read: it is decided again after a durable one.
    pub(super) needs_durable_read: bool,
    /// The writes it was part of whose fate is not known.
    pub(super) attempts: Vec<Attempt>,
    reply: oneshot::Sender<Result<Outcome, SubmitError>>,
    span: Span,
    claim: Arc<Claim>,
}

/// What a task is for.
pub(super) enum Work {
    Command(Command),
    /// The server's probe: its record is written once more.
    Probe,
    /// The server's probe of a shard that has not its record: it is answered when the shard takes it up.
    Ping,
}

/// Whether a change may be made of which the client is told nothing. The task and whoever waits for it agree on it: what is
/// said not to be decided is not decided later.
struct Claim(AtomicU8);

impl Claim {
    /// No write of it is under way.
    const WAITING: u8 = 0;
    /// A write of it may be made.
    const WRITING: u8 = 1;
    /// Its client was told that nothing was done.
    const GIVEN_UP: u8 = 2;

    fn change(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Task {
    pub(super) fn new(id: &str, work: Work, origin: Origin, deadline: Instant) -> (Self, Waiter) {
        let (reply, answer) = oneshot::channel();
        let (span, claim) = (Span::current(), Arc::new(Claim(AtomicU8::new(Claim::WAITING))));
        let waiter = Waiter { answer, span: span.clone(), claim: claim.clone() };
        let (conflicts, waits, needs_durable_read, attempts) = (0, 0, false, Vec::new());
        let id = id.into();
        (
            Self { id, work, origin, deadline, conflicts, waits, needs_durable_read, attempts, reply, span, claim },
            waiter,
        )
    }

    /// What an open write came to, and what is refused, takes a durable read.
    pub(super) fn may_read_weak(&self) -> bool {
        !self.needs_durable_read && self.attempts.is_empty()
    }

    /// Asked before a change is written. False: the client was told that nothing was done, so nothing may be.
    pub(super) fn claim(&self) -> bool {
        self.claim.change(Claim::WAITING, Claim::WRITING) || self.claim.0.load(Ordering::Acquire) == Claim::WRITING
    }

    /// Its last write is certain not to be made. If no other is open, nothing was done so far.
    pub(super) fn withdraw(&self) {
        if self.attempts.is_empty() {
            self.claim.change(Claim::WRITING, Claim::WAITING);
        }
    }

    pub(super) fn answer(self, result: Result<Outcome, SubmitError>) {
        if let Err(Ok(outcome)) = self.reply.send(result) {
            log_abandoned(&self.span, outcome);
        }
    }

    /// What earlier attempts came to: its answer, if they tell it. Otherwise the task is to be decided again.
    pub(super) fn resolve(mut self, stored: Option<&AnySession>) -> Option<Self> {
        self.attempts.retain(|attempt| attempt.fate(stored) != Fate::Lost);
        if let Some(made) = self.attempts.iter().find(|attempt| attempt.fate(stored) == Fate::Made) {
            let outcome = made.outcome;
            metrics::counter!(RESOLVED_OUTCOMES).increment(1);
            self.answer(Ok(outcome));
            None
        } else if self.attempts.iter().any(|attempt| attempt.fate(stored) == Fate::Unknown) {
            self.answer(Err(SubmitError::unknown("others changed the session since")));
            None
        } else {
            self.withdraw();
            Some(self)
        }
    }
}

/// Who waits for a task's answer.
pub(super) struct Waiter {
    answer: oneshot::Receiver<Result<Outcome, SubmitError>>,
    span: Span,
    claim: Arc<Claim>,
}

impl Waiter {
    pub(super) async fn until(mut self, deadline: Instant) -> Result<Outcome, SubmitError> {
        match timeout_at(deadline, &mut self.answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) if self.give_up() => Err(SubmitError::Panicked),
            Ok(Err(_)) => Err(SubmitError::unknown("its shard panicked")),
            Err(_) => self.late(),
        }
    }

    fn late(&mut self) -> Result<Outcome, SubmitError> {
        self.answer.close();
        // It may have come in this moment.
        self.answer.try_recv().unwrap_or_else(|_| {
            Err(if self.give_up() { SubmitError::Late } else { SubmitError::unknown("the database does not answer") })
        })
    }

    /// True: it is certain that nothing was done, and that nothing will be.
    fn give_up(&self) -> bool {
        self.claim.change(Claim::WAITING, Claim::GIVEN_UP)
    }
}

impl Drop for Waiter {
    /// An answer that came, and that no one took.
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Ok(outcome)) = self.answer.try_recv() {
            log_abandoned(&self.span, outcome);
        }
    }
}

/// Without it, a link could be stored of which the log knows nothing.
fn log_abandoned(span: &Span, outcome: Outcome) {
    tracing::info!(parent: span, outcome = outcome.as_str(), "finished after its client had gone");
}
