//! The piece between HTTP and a [`Store`]. It queues commands, decides them in batches, and answers each of them after
//! its write is durable. It knows nothing of HTTP, and nothing of databases.

mod aside;
mod attempt;
mod call;
mod caller;
mod carryover;
mod command;
mod decide;
mod limits;
mod queue;
mod reads;
mod round;
mod shard;
mod show;
mod task;

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use midsession::{AnySession, DuplicatePolicy};
use time::OffsetDateTime;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

pub use self::caller::Caller;
use self::caller::Share;
pub use self::command::{Command, Outcome, SubmitError};
pub use self::decide::Clock;
use self::decide::Decider;
pub use self::limits::Limits;
use self::round::Batches;
use self::shard::Shard;
use self::show::Look;
use self::task::{Task, Work};
use crate::store::{Origin, PROBE_ID, Store, StoreError};

/// How many parts of a store are told apart, and how many shards there are in each at most.
const PARTITIONS_MAX: usize = 256;
const SHARDS_MAX: usize = 1024;
/// How long who is refused is held back: half of the second that a client is told to wait.
const REFUSAL: Duration = Duration::from_millis(500);
/// What is beyond all calendars: thirty years.
const FOREVER: Duration = Duration::from_hours(24 * 365 * 30);

/// The same in every process, so that a simulation can be repeated.
type Hasher = BuildHasherDefault<DefaultHasher>;

/// Decides commands on sessions in batches, over any [`Store`]. A clone is another handle of the same.
///
/// Commands queue by session id in shards. The next batch of a shard is whatever has queued while the last one was under
/// way: one read for all, a decision for each, one conditional write for all, then the answers. There is no timer, so a
/// lone command does not wait. Several commands on one session are decided one after the other, on the session as it
/// evolves, and share one write. No batch spans two [parts](Store::partition) of the store.
///
/// - What was decided on a session that another server changed meanwhile is decided again, on the session as it then is.
/// - If the fate of a write is unknown, the session is read again: if it is what was decided, the change was made. If
///   it is as it was before, the command is decided again. Otherwise the answer is [`SubmitError::Unknown`].
/// - A command whose session something else holds, or the fate of whose write is not known, is put aside, with all that is
///   asked of its session. The others go on.
/// - Where the queue is full, each [`Caller`] has a share of it. Who is refused is told so after half a second.
/// - A command that was taken up is finished, whether or not anyone waits for its answer. If no one does, a line in the
///   log says what came of it.
pub struct Sessions<S>(Arc<Inner<S>>);

struct Inner<S> {
    batches: Arc<Batches<S>>,
    shards: RwLock<Shards>,
    running: Mutex<Vec<JoinHandle<()>>>,
    runtime: Handle,
}

/// Each is started when it is first needed.
#[derive(Default)]
struct Shards {
    /// By the part of the store, and the number in it.
    started: HashMap<(usize, usize), Arc<Shard>, Hasher>,
    stopped: bool,
}

impl<S> Clone for Sessions<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Store> Sessions<S> {
    /// Its shards are tasks of the tokio runtime that it is called in.
    pub fn start(store: S, policy: DuplicatePolicy, clock: Clock, limits: Limits) -> Self {
        let limits = Limits { shards: limits.shards.clamp(1, SHARDS_MAX), ..limits };
        let batches = Arc::new(Batches { store, decider: Decider { policy, clock }, limits });
        Self(Arc::new(Inner {
            batches,
            shards: RwLock::default(),
            running: Mutex::default(),
            runtime: Handle::current(),
        }))
    }

    /// Has `command` decided on the session `id`, and waits for its answer.
    ///
    /// The id may be any that a path can name: 1 to 255 ASCII letters and digits, `-`, `.`, `_` and `~`. It need not be one that the
    /// server made, so a session can be started under an id of your own, with [`Command::Start`]; [`routes`](crate::routes) has an
    /// example. With tenants, it is the [`Tenant::stored_id`](crate::Tenant::stored_id).
    ///
    /// If the future is dropped, the command is finished all the same.
    ///
    /// # Errors
    /// - The queue is full, or the server stops.
    /// - The command's time is over.
    /// - The store failed, or the stored record cannot be read.
    pub async fn submit(&self, id: &str, command: Command) -> Result<Outcome, SubmitError> {
        self.submit_as(Caller::default(), id, command).await
    }

    /// The same for one of several callers, who share the queue.
    ///
    /// # Errors
    /// As [`Sessions::submit`] has them.
    pub async fn submit_as(&self, caller: Caller, id: &str, command: Command) -> Result<Outcome, SubmitError> {
        let deadline = self.deadline();
        let decided = async {
            let (task, waiter) = Task::new(id, Work::Command(command), caller.origin().clone(), deadline);
            self.shard_of(id)?.submit(caller.share(), task)?;
            waiter.until(deadline).await
        };
        slowly_if_full(deadline, decided.await).await
    }

    /// What is stored under `id`. It waits behind other reads, and not behind commands.
    ///
    /// # Errors
    /// - The queue of reads is full, or the server stops.
    /// - Its time is over.
    /// - The store failed, or the stored record cannot be read.
    pub async fn read(&self, id: &str) -> Result<Option<AnySession>, SubmitError> {
        self.read_as(Caller::default(), id).await
    }

    /// The same for one of several callers, who share the queue.
    ///
    /// # Errors
    /// As [`Sessions::read`] has them.
    pub async fn read_as(&self, caller: Caller, id: &str) -> Result<Option<AnySession>, SubmitError> {
        let deadline = self.deadline();
        let found = async {
            let (look, looker) = Look::new(id, deadline);
            self.shard_of(id)?.look(caller.share(), look)?;
            looker.wait().await
        };
        slowly_if_full(deadline, found.await).await
    }

    /// Whether links can be made: the record of [`PROBE_ID`] is written once more, on the way of every link. Each shard of its
    /// part of the store must take something up in time.
    ///
    /// # Errors
    /// - It could not be written, or not in time.
    pub async fn probe(&self, limit: Duration) -> Result<(), SubmitError> {
        let deadline = after(limit);
        let own = self.shard_of(PROBE_ID)?;
        let part = self.partition(PROBE_ID);
        let others = (0..self.0.batches.limits.shards).map(|number| self.shard((part, number)));
        let mut waiting = Vec::new();
        for shard in others {
            let shard = shard?;
            let work = if Arc::ptr_eq(&shard, &own) { Work::Probe } else { Work::Ping };
            let (task, waiter) = Task::new(PROBE_ID, work, Origin::default(), deadline);
            shard.submit(Share::PROBE, task)?;
            waiting.push(waiter);
        }
        for waiter in waiting {
            if waiter.until(deadline).await? != Outcome::Started {
                return Err(SubmitError::Store(StoreError::nothing_written("the probe's record is none")));
            }
        }
        Ok(())
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
        {
            let mut shards = self.0.shards.write().unwrap_or_else(PoisonError::into_inner);
            shards.stopped = true;
            shards.started.drain().for_each(|(_, shard)| shard.close());
        }
        let running = std::mem::take(&mut *self.0.running.lock().unwrap_or_else(PoisonError::into_inner));
        for shard in running {
            // It does not panic, and no one aborts it.
            let _ = shard.await;
        }
    }

    fn deadline(&self) -> Instant {
        after(self.0.batches.limits.request_timeout)
    }

    fn shard_of(&self, id: &str) -> Result<Arc<Shard>, SubmitError> {
        let shards = self.0.batches.limits.shards as u64;
        let number = Hasher::default().hash_one(id).checked_rem(shards).unwrap_or_default();
        self.shard((self.partition(id), usize::try_from(number).unwrap_or_default()))
    }

    /// A store may panic.
    fn partition(&self, id: &str) -> usize {
        let partition = catch_unwind(AssertUnwindSafe(|| self.store().partition(id)));
        partition.unwrap_or_default().checked_rem(PARTITIONS_MAX).unwrap_or_default()
    }

    fn shard(&self, place: (usize, usize)) -> Result<Arc<Shard>, SubmitError> {
        {
            let shards = self.0.shards.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(shard) = shards.started.get(&place) {
                return Ok(shard.clone());
            }
        }
        let mut shards = self.0.shards.write().unwrap_or_else(PoisonError::into_inner);
        if shards.stopped {
            return Err(SubmitError::Stopping);
        }
        let start = || {
            let (shard, running) = Shard::start(&self.0.batches, &self.0.runtime);
            self.0.running.lock().unwrap_or_else(PoisonError::into_inner).extend(running);
            shard
        };
        Ok(shards.started.entry(place).or_insert_with(start).clone())
    }
}

/// Who asks again at once, whatever it is told, would otherwise keep the processor from the others.
async fn slowly_if_full<T>(deadline: Instant, answer: Result<T, SubmitError>) -> Result<T, SubmitError> {
    if let Err(SubmitError::Full) = answer {
        sleep_until(deadline.min(after(REFUSAL))).await;
    }
    answer
}

fn after(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or_else(|| now + FOREVER)
}
