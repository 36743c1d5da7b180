//! A shard: its queues, and the three loops that empty them. What one waits for does not delay the others.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::aside::Aside;
use super::caller::Share;
use super::carryover::Carryover;
use super::command::SubmitError;
use super::limits::Limits;
use super::queue::{NotQueued, Queue};
use super::round::{Batches, count};
use super::show::{Look, show};
use super::task::Task;
use crate::metrics::{BATCH_SIZE, QUEUE_LENGTH};
use crate::store::Store;

/// How long a loop rests that panicked.
const REST: Duration = Duration::from_millis(50);

/// What waits in a shard.
pub(super) struct Shard {
    commands: Queue<Task>,
    aside: Aside,
    looks: Queue<Look>,
}

impl Shard {
    /// Its loops, as tasks of `runtime`, which end when it is closed and empty.
    pub(super) fn start<S: Store>(batches: &Arc<Batches<S>>, runtime: &Handle) -> (Arc<Self>, [JoinHandle<()>; 3]) {
        let Limits { queue, .. } = batches.limits;
        let shard = Arc::new(Self { commands: Queue::new(queue), aside: Aside::new(queue), looks: Queue::new(queue) });
        let new = || (shard.clone(), batches.clone());
        let (decides, decides_again, shows) = (new(), new(), new());
        let loops = [
            runtime.spawn(async move { supervised(|| decides.0.decide(&decides.1)).await }),
            runtime.spawn(async move { supervised(|| decides_again.0.decide_again(&decides_again.1)).await }),
            runtime.spawn(async move { supervised(|| shows.0.show(&shows.1)).await }),
        ];
        (shard, loops)
    }

    pub(super) fn submit(&self, share: Share, task: Task) -> Result<(), SubmitError> {
        match self.commands.push(share, task)? {
            Some(gives_way) => gives_way.answer(Err(SubmitError::Full)),
            None => metrics::gauge!(QUEUE_LENGTH).increment(1),
        }
        Ok(())
    }

    pub(super) fn look(&self, share: Share, look: Look) -> Result<(), SubmitError> {
        if let Some(gives_way) = self.looks.push(share, look)? {
            gives_way.answer(Err(SubmitError::Full));
        }
        Ok(())
    }

    pub(super) fn close(&self) {
        self.commands.close();
        self.looks.close();
    }

    /// What has queued while the last batch was under way is the next.
    async fn decide<S: Store>(&self, batches: &Batches<S>) {
        let mut again = Vec::new();
        loop {
            if again.is_empty() {
                self.aside.room().await;
                if !self.commands.ready().await {
                    return self.aside.close();
                }
            }
            let new = self.commands.take(batches.limits.batch.max(1).saturating_sub(again.len()));
            metrics::gauge!(QUEUE_LENGTH).decrement(count(new.len()));
            let batch: Vec<Task> = again.into_iter().chain(new).filter_map(|task| self.aside.join(task)).collect();
            metrics::histogram!(BATCH_SIZE).record(count(batch.len()));
            let carryover = batches.round(batch).await;
            self.aside.put(carryover.aside);
            again = carryover.again;
        }
    }

    /// What was put aside, when its time has come.
    async fn decide_again<S: Store>(&self, batches: &Batches<S>) {
        // If it panicked, some were taken and are gone.
        self.aside.release();
        while let Some(batch) = self.aside.due(batches.limits.batch).await {
            let Carryover { again, aside } = batches.round(batch).await;
            self.aside.put_at_once(again);
            self.aside.put(aside);
            self.aside.release();
        }
    }

    async fn show<S: Store>(&self, batches: &Batches<S>) {
        while self.looks.ready().await {
            show(&batches.store, batches.limits, self.looks.take(batches.limits.batch.max(1))).await;
        }
    }
}

impl From<NotQueued> for SubmitError {
    fn from(reason: NotQueued) -> Self {
        match reason {
            NotQueued::Full => Self::Full,
            NotQueued::Closed => Self::Stopping,
        }
    }
}

/// Starts a loop again that panics: what it had taken is answered as lost, and what waits is not.
async fn supervised<F: Future<Output = ()>>(start: impl Fn() -> F) {
    loop {
        let mut run = pin!(start());
        let ended = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(context))) {
            Ok(poll) => poll.map(|()| true),
            Err(_) => Poll::Ready(false),
        });
        if ended.await {
            return;
        }
        tracing::error!("a shard panicked, which is a bug: it is started again");
        sleep(REST).await;
    }
}
