//! What a batch leaves to be decided again.

use super::attempt::Attempt;
use super::command::{Outcome, SubmitError};
use super::task::Task;
use crate::metrics::WRITE_CONFLICTS;
use crate::store::{ConditionalWrite, StoreError};

/// How often a command is decided again after another server was first.
const CONFLICTS_MAX: u32 = 16;

/// Commands that are to be decided again.
#[derive(Default)]
pub(super) struct Carryover {
    /// With the next batch.
    pub(super) again: Vec<Task>,
    /// After a pause.
    pub(super) aside: Vec<Task>,
}

impl Carryover {
    /// Nothing was done in this round. Where nothing was attempted before, the answer is clear.
    pub(super) fn fail(&mut self, task: Task, error: &StoreError) {
        if task.attempts.is_empty() {
            task.answer(Err(SubmitError::Store(error.clone())));
        } else {
            self.aside.push(task);
        }
    }

    /// A weak read is not enough to answer from.
    pub(super) fn read_durably(&mut self, mut task: Task) {
        task.needs_durable_read = true;
        self.again.push(task);
    }

    /// Something else holds the session.
    pub(super) fn wait(&mut self, task: Task) {
        task.withdraw();
        self.aside.push(task);
    }

    /// Another server was first.
    pub(super) fn conflict(&mut self, write: &ConditionalWrite, mut task: Task) {
        metrics::counter!(WRITE_CONFLICTS).increment(1);
        task.withdraw();
        task.conflicts += 1;
        // A record of another form is never found as it was read weakly.
        task.needs_durable_read |= write.weakly_read.is_some();
        if task.conflicts < CONFLICTS_MAX {
            self.again.push(task);
        } else if task.attempts.is_empty() {
            task.answer(Err(SubmitError::Contended));
        } else {
            task.answer(Err(SubmitError::unknown(SubmitError::Contended)));
        }
    }

    /// Whether it was written is not known.
    pub(super) fn look_up(&mut self, write: &ConditionalWrite, tasks: Vec<(Task, Outcome)>) {
        for (mut task, outcome) in tasks {
            task.attempts.push(Attempt { expected: write.expected, next: write.next.clone(), outcome });
            self.aside.push(task);
        }
    }
}
