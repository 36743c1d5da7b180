//! One batch: read, decided and written together.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::call::with_timeout;
use super::carryover::Carryover;
use super::command::{Outcome, SubmitError};
use super::decide::{Decider, Decision};
use super::limits::Limits;
use super::reads::{ReadResult, read_batch};
use super::task::{Task, Work};
use crate::store::{Store, StoreError, UnreadableRecord, WriteOutcome};

/// What each shard works with.
pub(super) struct Batches<S> {
    pub(super) store: S,
    pub(super) decider: Decider,
    pub(super) limits: Limits,
}

impl<S: Store> Batches<S> {
    /// Reads, decides and writes one batch. The answers that rest on no write are sent before it.
    pub(super) async fn round(&self, batch: Vec<Task>) -> Carryover {
        let mut carryover = Carryover::default();
        // In the order of ids, so that the writes of two servers do not lock each other out.
        let mut sessions: BTreeMap<Arc<str>, Vec<Task>> = BTreeMap::new();
        for task in in_time(batch) {
            sessions.entry(task.id.clone()).or_default().push(task);
        }
        if sessions.is_empty() {
            return carryover;
        }
        let read = read_batch(&self.store, self.limits.call_timeout(), &sessions).await;
        let mut decisions = Vec::with_capacity(sessions.len());
        for (tasks, ReadResult { found, weak }) in sessions.into_values().zip(read) {
            match found {
                Ok(stored) => {
                    let carryover = weak.then_some(&mut carryover);
                    decisions.extend(self.decider.decide(tasks, stored.as_ref(), carryover));
                }
                Err(UnreadableRecord::OutOfReach(error)) => {
                    for task in tasks {
                        carryover.fail(task, &error);
                    }
                }
                Err(UnreadableRecord::NoSession(_)) if weak => {
                    for task in tasks {
                        carryover.read_durably(task);
                    }
                }
                Err(UnreadableRecord::NoSession(error)) => {
                    let unreadable = SubmitError::Unreadable(error.to_string());
                    for task in tasks {
                        let is_open = !task.attempts.is_empty();
                        let error = if is_open { SubmitError::unknown(&unreadable) } else { unreadable.clone() };
                        task.answer(Err(error));
                    }
                }
            }
        }
        if !decisions.is_empty() {
            self.write(decisions, &mut carryover).await;
        }
        carryover
    }

    /// Writes, and answers what was written.
    async fn write(&self, decisions: Vec<Decision>, carryover: &mut Carryover) {
        let (writes, waiting): (Vec<_>, Vec<_>) =
            decisions.into_iter().map(|Decision { write, tasks }| (write, tasks)).unzip();
        match with_timeout(self.limits.call_timeout(), writes.len(), || self.store.write(&writes)).await {
            Ok(outcomes) => {
                for ((write, tasks), outcome) in writes.iter().zip(waiting).zip(outcomes) {
                    match outcome {
                        WriteOutcome::Applied => {
                            for (task, outcome) in tasks {
                                task.answer(Ok(outcome));
                            }
                        }
                        WriteOutcome::Conflict => {
                            for (task, outcome) in tasks {
                                match task.work {
                                    // Another server's probe was first: its write was made.
                                    Work::Probe => task.answer(Ok(outcome)),
                                    _ => carryover.conflict(write, task),
                                }
                            }
                        }
                        WriteOutcome::Busy => tasks.into_iter().for_each(|(task, _)| carryover.wait(task)),
                        WriteOutcome::Refused => {
                            let error = StoreError::nothing_written("it refused this write");
                            for (task, _) in tasks {
                                carryover.fail(task, &error);
                            }
                        }
                        WriteOutcome::Unknown => carryover.look_up(write, tasks),
                    }
                }
            }
            Err(error) if error.nothing_was_written() => {
                for (task, _) in waiting.into_iter().flatten() {
                    carryover.fail(task, &error);
                }
            }
            Err(_) => writes.iter().zip(waiting).for_each(|(write, tasks)| carryover.look_up(write, tasks)),
        }
    }
}

/// Those that are to be decided, and whose time is not over. The others are answered.
fn in_time(batch: Vec<Task>) -> impl Iterator<Item = Task> {
    let now = Instant::now();
    batch.into_iter().filter_map(move |task| {
        if let Work::Ping = task.work {
            task.answer(Ok(Outcome::Started));
            return None;
        }
        if now < task.deadline {
            return Some(task);
        }
        let late = if task.attempts.is_empty() {
            SubmitError::Late
        } else {
            SubmitError::unknown("the database does not answer")
        };
        task.answer(Err(late));
        None
    })
}

pub(super) fn count(length: usize) -> f64 {
    u32::try_from(length).unwrap_or(u32::MAX).into()
}
