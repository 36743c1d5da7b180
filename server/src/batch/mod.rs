//! The piece between HTTP and a [`Store`]. It queues commands, decides them in batches, and answers each of them after
//! its write is durable. It knows nothing of HTTP, and nothing of databases.

mod attempt;
mod call;
mod carryover;
mod command;
mod decide;
mod limits;
mod reads;
mod round;
mod task;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use midsession::{AnySession, DuplicatePolicy};
use time::OffsetDateTime;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::Span;

use self::call::with_timeout;
pub use self::command::{Command, Outcome, SubmitError};
pub use self::decide::Clock;
use self::decide::Decider;
pub use self::limits::Limits;
use self::round::Batches;
use self::task::{Task, Waiter};
use crate::metrics::QUEUE_LENGTH;
use crate::store::{Store, UnreadableRecord};

/// Decides commands on sessions in batches, over any [`Store`]. A clone is another handle of the same.
///
/// Commands queue by session id in shards. The next batch of a shard is whatever has queued while the last one was under
/// way: one read for all, a decision for each, one conditional write for all, then the answers. There is no timer, so a
/// lone command does not wait. Several commands on one session are decided one after the other, on the session as it
/// evolves, and share one write.
///
/// - What was decided on a session that another server changed meanwhile is decided again, on the session as it then is.
/// - If the fate of a write is unknown, the session is read again: if it is what was decided, the change was made. If
///   it is as it was before, the command is decided again. Otherwise the answer is [`SubmitError::Unknown`].
/// - A command that was taken up is finished, whether or not anyone waits for its answer. If no one does, a line in the
///   log says what came of it.
pub struct Sessions<S>(Arc<Inner<S>>);

struct Inner<S> {
    batches: Arc<Batches<S>>,
    shards: RwLock<Vec<mpsc::Sender<Task>>>,
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl<S> Clone for Sessions<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Store> Sessions<S> {
    /// Starts the shards, as tasks of the tokio runtime that it is called in.
    pub fn start(store: S, policy: DuplicatePolicy, clock: Clock, limits: Limits) -> Self {
        let batches = Arc::new(Batches { store, decider: Decider { policy, clock }, limits });
        let shard = |_| {
            let (sender, queue) = mpsc::channel(limits.queue.max(1));
            (sender, tokio::spawn(batches.clone().run(queue)))
        };
        let (shards, running) = (0..limits.shards.max(1)).map(shard).unzip();
        Self(Arc::new(Inner { batches, shards: RwLock::new(shards), running: Mutex::new(running) }))
    }

    /// Has `command` decided on the session `id`, and waits for its answer.
    ///
    /// If the future is dropped, the command is finished all the same.
    ///
    /// # Errors
    /// - The queue is full, or the server stops.
    /// - The command's time is over.
    /// - The store failed, or the stored record cannot be read.
    pub async fn submit(&self, id: &str, command: Command) -> Result<Outcome, SubmitError> {
        let deadline = Instant::now() + self.0.batches.limits.request_timeout;
        let (reply, answer) = oneshot::channel();
        let span = Span::current();
        let task = Task {
            id: id.into(),
            command,
            deadline,
            reply,
            span: span.clone(),
            conflicts: 0,
            needs_durable_read: false,
            attempts: Vec::new(),
        };
        self.enqueue(task)?;
        Waiter { answer, span }.until(deadline).await
    }

    /// What is stored under `id`. It does not queue, so it does not wait behind writes.
    ///
    /// # Errors
    /// - The store failed, or the stored record cannot be read.
    pub async fn read(&self, id: &str) -> Result<Option<AnySession>, SubmitError> {
        let Batches { store, limits, .. } = &*self.0.batches;
        let read = with_timeout(limits.call_timeout(), 1, store.read(&[id])).await;
        let found = read.map_err(SubmitError::Store)?.pop().unwrap_or(Ok(None));
        found.map_err(|error| match error {
            UnreadableRecord::OutOfReach(error) => SubmitError::Store(error),
            UnreadableRecord::NoSession(error) => SubmitError::Unreadable(error.to_string()),
        })
    }

    /// The time, as decisions are told it.
    pub fn now(&self) -> OffsetDateTime {
        (self.0.batches.decider.clock)()
    }

    /// The store behind it.
    pub fn store(&self) -> &S {
        &self.0.batches.store
    }

    /// Takes no more commands, and waits until those that it has are answered. That takes no longer than their time-out and one
    /// more call of the store.
    pub async fn stop(&self) {
        self.0.shards.write().unwrap_or_else(PoisonError::into_inner).clear();
        let running = std::mem::take(&mut *self.0.running.lock().unwrap_or_else(PoisonError::into_inner));
        for shard in running {
            // It does not panic, and no one aborts it.
            let _ = shard.await;
        }
    }

    fn enqueue(&self, task: Task) -> Result<(), SubmitError> {
        let shards = self.0.shards.read().unwrap_or_else(PoisonError::into_inner);
        // The same in every process, so that a simulation can be repeated.
        let mut hasher = DefaultHasher::new();
        task.id.hash(&mut hasher);
        let shard = hasher.finish().checked_rem(shards.len() as u64).ok_or(SubmitError::Stopping)?;
        let shard = usize::try_from(shard).ok().and_then(|shard| shards.get(shard)).ok_or(SubmitError::Stopping)?;
        shard.try_send(task).map_err(|error| match error {
            TrySendError::Full(_) => SubmitError::Full,
            TrySendError::Closed(_) => SubmitError::Stopping,
        })?;
        metrics::gauge!(QUEUE_LENGTH).increment(1);
        Ok(())
    }
}
