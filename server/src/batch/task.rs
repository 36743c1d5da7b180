//! One command on its way through its shard, and who waits for it.

use std::sync::Arc;

use midsession::AnySession;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tracing::Span;

use super::attempt::{Attempt, Fate};
use super::command::{Command, Outcome, SubmitError};
use crate::metrics::RESOLVED_OUTCOMES;

/// One command on its way.
pub(super) struct Task {
    pub(super) id: Arc<str>,
    pub(super) command: Command,
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<Result<Outcome, SubmitError>>,
    pub(super) span: Span,
    pub(super) conflicts: u32,
    /// It was to be refused after a weak read: it is decided again after a durable one.
    pub(super) needs_durable_read: bool,
    /// The writes it was part of whose fate is not known.
    pub(super) attempts: Vec<Attempt>,
}

impl Task {
    /// What an open write came to, and what is refused, takes a durable read.
    pub(super) fn may_read_weak(&self) -> bool {
        !self.needs_durable_read && self.attempts.is_empty()
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
            Some(self)
        }
    }
}

/// Who waits for a task's answer.
pub(super) struct Waiter {
    pub(super) answer: oneshot::Receiver<Result<Outcome, SubmitError>>,
    pub(super) span: Span,
}

impl Waiter {
    pub(super) async fn until(mut self, deadline: Instant) -> Result<Outcome, SubmitError> {
        let Ok(answered) = timeout_at(deadline, &mut self.answer).await else {
            self.answer.close();
            return self
                .answer
                .try_recv()
                .unwrap_or_else(|_| Err(SubmitError::unknown("the database does not answer")));
        };
        answered.unwrap_or_else(|_| Err(SubmitError::unknown("its shard is gone")))
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
