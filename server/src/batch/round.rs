//! A shard: its queue, taken in batches. Each batch is read, decided and written together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::call::with_timeout;
use super::carryover::Carryover;
use super::command::SubmitError;
use super::decide::{Decider, Decision};
use super::limits::Limits;
use super::reads::{ReadResult, read_batch};
use super::task::Task;
use crate::metrics::{BATCH_SIZE, QUEUE_LENGTH};
use crate::store::{Store, StoreError, UnreadableRecord, WriteOutcome};

/// The pause before a database that failed is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// What each shard works with.
pub(super) struct Batches<S> {
    pub(super) store: S,
    pub(super) decider: Decider,
    pub(super) limits: Limits,
}

impl<S: Store> Batches<S> {
    /// One shard, until its queue is closed and empty.
    pub(super) async fn run(self: Arc<Self>, mut queue: mpsc::Receiver<Task>) {
        let mut carryover = Carryover::default();
        loop {
            let mut batch = carryover.tasks;
            let kept = batch.len();
            if carryover.backoff {
                sleep(PAUSE).await;
            } else if batch.is_empty() {
                let Some(first) = queue.recv().await else { return };
                batch.push(first);
            }
            while batch.len() < self.limits.batch.max(1) {
                let Ok(task) = queue.try_recv() else { break };
                batch.push(task);
            }
            metrics::gauge!(QUEUE_LENGTH).decrement(count(batch.len() - kept));
            metrics::histogram!(BATCH_SIZE).record(count(batch.len()));
            carryover = self.round(batch).await;
        }
    }

    /// Reads, decides and writes one batch. The answers that rest on no write are sent before it.
    async fn round(&self, batch: Vec<Task>) -> Carryover {
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
                        task.answer(Err(unreadable.clone()));
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
        match with_timeout(self.limits.call_timeout(), writes.len(), self.store.write(&writes)).await {
            Ok(outcomes) => {
                for ((write, tasks), outcome) in writes.iter().zip(waiting).zip(outcomes) {
                    match outcome {
                        WriteOutcome::Applied => {
                            for (task, outcome) in tasks {
                                task.answer(Ok(outcome));
                            }
                        }
                        WriteOutcome::Conflict => {
                            for (task, _) in tasks {
                                carryover.conflict(write, task);
                            }
                        }
                        WriteOutcome::Busy => {
                            carryover.backoff = true;
                            carryover.tasks.extend(tasks.into_iter().map(|(task, _)| task));
                        }
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

/// Those whose time is not over. The others are answered.
fn in_time(batch: Vec<Task>) -> impl Iterator<Item = Task> {
    let now = Instant::now();
    batch.into_iter().filter_map(move |task| {
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

fn count(length: usize) -> f64 {
    u32::try_from(length).unwrap_or(u32::MAX).into()
}
