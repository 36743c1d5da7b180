//! What a batch leaves for the next.

use super::attempt::Attempt;
use super::command::{Outcome, SubmitError};
use super::task::Task;
use crate::metrics::WRITE_CONFLICTS;
use crate::store::{ConditionalWrite, StoreError};

/// How often a command is decided again after another server was first.
const CONFLICTS_MAX: u32 = 16;

/// Commands that are to be decided again, with the next batch.
#[derive(Default)]
pub(super) struct Carryover {
    pub(super) tasks: Vec<Task>,
    /// The store failed: it is given a pause.
    pub(super) backoff: bool,
}

impl Carryover {
    /// Nothing was done in this round. Where nothing was attempted before, the answer is clear.
    pub(super) fn fail(&mut self, task: Task, error: &StoreError) {
        if task.attempts.is_empty() {
            task.answer(Err(SubmitError::Store(error.clone())));
        } else {
            self.tasks.push(task);
            self.backoff = true;
        }
    }

    /// A weak read is not enough to answer from.
    pub(super) fn read_durably(&mut self, task: Task) {
        self.tasks.push(Task { needs_durable_read: true, ..task });
    }

    /// Another server was first.
    pub(super) fn conflict(&mut self, write: &ConditionalWrite, mut task: Task) {
        metrics::counter!(WRITE_CONFLICTS).increment(1);
        task.conflicts += 1;
        // A record of another form is never found as it was read weakly.
        task.needs_durable_read |= write.weakly_read.is_some();
        if task.conflicts < CONFLICTS_MAX {
            self.tasks.push(task);
        } else if task.attempts.is_empty() {
            task.answer(Err(SubmitError::Contended));
        } else {
            task.answer(Err(SubmitError::unknown(SubmitError::Contended)));
        }
    }

    /// Whether it was written is not known.
    pub(super) fn look_up(&mut self, write: &ConditionalWrite, tasks: Vec<(Task, Outcome)>) {
        self.backoff = true;
        for (mut task, outcome) in tasks {
            task.attempts.push(Attempt { expected: write.expected, next: write.next.clone(), outcome });
            self.tasks.push(task);
        }
    }
}
