//! The piece between HTTP and a [`Store`]. It queues commands, decides them in batches, and answers each of them after
//! its write is durable. It knows nothing of HTTP, and nothing of databases.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::Poll;
use std::time::Duration;

use midsession::{
    Active, Answer, AnySession, CommType, DuplicatePolicy, LinkChange, LinkError, LinkRequest, Session, apply_link,
};
use time::OffsetDateTime;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::Span;

use crate::metrics::{BATCH_SIZE, LOST_RACES, QUEUE_LENGTH, RESOLVED_OUTCOMES, STORE_ERRORS};
use crate::{Change, Found, Store, StoreError, UnreadableRecord, Written};

/// Tells the time: the machine's in the server, any in a test.
pub type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// How often a command is decided again after another server was first.
const RACES_MAX: u32 = 16;
/// The pause before a database that failed is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// The bounds of [`Sessions`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many batches may be under way at once. Commands on one session are always in the same lane. One lane is best
    /// for a store that writes one batch at a time.
    pub lanes: usize,
    /// How many commands may wait in a lane. Those beyond it are refused at once.
    pub queue: usize,
    /// How many commands are decided in one batch at most.
    pub batch: usize,
    /// How long a command may take, its wait in the queue included. One call of the store may take half of it.
    pub patience: Duration,
}

impl Default for Limits {
    /// One lane, 2,048 in the queue, 512 in a batch, 5 seconds.
    fn default() -> Self {
        Self { lanes: 1, queue: 2048, batch: 512, patience: Duration::from_secs(5) }
    }
}

/// What is asked of a session.
#[derive(Clone, Debug)]
pub enum Command {
    /// Store this new session.
    Start(Session<Active>),
    /// Link it to an end user, as [`apply_link`] decides.
    Link(LinkRequest<'static>),
    /// End it, if it is of this comm type. Ending twice keeps the first end.
    End(CommType),
    /// Erase the personal data of it, if it is of this comm type and has ended.
    Erase(CommType),
}

/// What was decided. Where that is a change, it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// The session is stored.
    Started,
    /// It is not: another is stored under its id.
    IdTaken,
    /// What [`apply_link`] decided, and its answer.
    Link(Answer, Result<LinkChange, LinkError>),
    /// The session has ended, now or before.
    Ended,
    /// The ended session has no personal data, now or before.
    Erased,
    /// It is not erased, since it has not ended.
    StillActive,
    /// There is no such session of that comm type.
    NotFound,
}

impl Decided {
    /// A word for logs and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::IdTaken => "id_taken",
            Self::Link(_, Ok(change)) => change.as_str(),
            Self::Link(_, Err(error)) => error.kind().as_str(),
            Self::Ended => "ended",
            Self::Erased => "erased",
            Self::StillActive => "still_active",
            Self::NotFound => "not_found",
        }
    }
}

/// Why a command has no decision. `Display` is fit for a log: it repeats nothing that is stored or sent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// Too many others wait. Nothing was done.
    #[error("the queue is full")]
    Full,
    /// Its time was over before it was decided. Nothing was done.
    #[error("it waited too long and was not decided")]
    Late,
    /// The server stops. Nothing was done.
    #[error("the server stops")]
    Stopping,
    /// Others changed the session again and again. Nothing was done.
    #[error("others changed the session again and again")]
    Contended,
    /// The database could not be asked. Nothing was done.
    #[error(transparent)]
    Store(StoreError),
    /// What is stored under the id is no session.
    #[error("{0}")]
    Unreadable(String),
    /// The decision panicked, which is a bug. Nothing was done.
    #[error("the decision panicked")]
    Panicked,
    /// Whether the change was made could not be found out in time.
    #[error("whether the change was made is not known: {0}")]
    Unknown(Arc<str>),
}

impl Failure {
    fn unknown(cause: impl fmt::Display) -> Self {
        Self::Unknown(cause.to_string().into())
    }
}

/// Decides commands on sessions in batches, over any [`Store`]. A clone is another handle of the same.
///
/// Commands queue by session id in lanes. The next batch of a lane is whatever has queued while the last one was under
/// way: one read for all, a decision for each, one conditional write for all, then the answers. There is no timer, so a
/// lone command does not wait. Several commands on one session are decided one after the other, on the session as it
/// evolves, and share one write.
///
/// - What was decided on a session that another server changed meanwhile is decided again, on the session as it then is.
/// - If the fate of a write is unknown, the session is read again: if it is what was decided, the change was made. If
///   it is as it was before, the command is decided again. Otherwise the answer is [`Failure::Unknown`].
/// - A command that was taken up is finished, whether or not anyone waits for its answer. If no one does, a line in the
///   log says what came of it.
pub struct Sessions<S>(Arc<Inner<S>>);

struct Inner<S> {
    batches: Arc<Batches<S>>,
    lanes: RwLock<Vec<mpsc::Sender<Task>>>,
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl<S> Clone for Sessions<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Store> Sessions<S> {
    /// Starts the lanes, as tasks of the tokio runtime that it is called in.
    pub fn start(store: S, policy: DuplicatePolicy, clock: Clock, limits: Limits) -> Self {
        let batches = Arc::new(Batches { store, policy, clock, limits });
        let lane = |_| {
            let (sender, queue) = mpsc::channel(limits.queue.max(1));
            (sender, tokio::spawn(batches.clone().run(queue)))
        };
        let (lanes, running) = (0..limits.lanes.max(1)).map(lane).unzip();
        Self(Arc::new(Inner { batches, lanes: RwLock::new(lanes), running: Mutex::new(running) }))
    }

    /// Has `command` decided on the session `id`, and waits for its answer.
    ///
    /// If the future is dropped, the command is finished all the same.
    ///
    /// # Errors
    /// - The queue is full, or the server stops.
    /// - The command's time is over.
    /// - The store failed, or the stored record cannot be read.
    pub async fn submit(&self, id: &str, command: Command) -> Result<Decided, Failure> {
        let deadline = Instant::now() + self.0.batches.limits.patience;
        let (reply, answer) = oneshot::channel();
        let span = Span::current();
        let (races, doubted, attempts) = (0, false, Vec::new());
        let task = Task { id: id.into(), command, deadline, reply, span: span.clone(), races, doubted, attempts };
        self.enqueue(task)?;
        Waiter { answer, span }.until(deadline).await
    }

    /// What is stored under `id`. It does not queue, so it does not wait behind writes.
    ///
    /// # Errors
    /// - The store failed, or the stored record cannot be read.
    pub async fn read(&self, id: &str) -> Result<Option<AnySession>, Failure> {
        let Batches { store, limits, .. } = &*self.0.batches;
        let read = patiently(*limits, 1, store.read(&[id])).await;
        let found = read.map_err(Failure::Store)?.pop().unwrap_or(Ok(None));
        found.map_err(|error| match error {
            UnreadableRecord::OutOfReach(error) => Failure::Store(error),
            UnreadableRecord::NoSession(error) => Failure::Unreadable(error.to_string()),
        })
    }

    /// The time, as decisions are told it.
    pub fn now(&self) -> OffsetDateTime {
        (self.0.batches.clock)()
    }

    /// The store behind it.
    pub fn store(&self) -> &S {
        &self.0.batches.store
    }

    /// Takes no more commands, and waits until those that it has are answered. That takes no longer than their patience
    /// and one more call of the store.
    pub async fn stop(&self) {
        self.0.lanes.write().unwrap_or_else(PoisonError::into_inner).clear();
        let running = std::mem::take(&mut *self.0.running.lock().unwrap_or_else(PoisonError::into_inner));
        for lane in running {
            // It does not panic, and no one aborts it.
            let _ = lane.await;
        }
    }

    fn enqueue(&self, task: Task) -> Result<(), Failure> {
        let lanes = self.0.lanes.read().unwrap_or_else(PoisonError::into_inner);
        // The same in every process, so that a simulation can be repeated.
        let mut hasher = DefaultHasher::new();
        task.id.hash(&mut hasher);
        let lane = hasher.finish().checked_rem(lanes.len() as u64).ok_or(Failure::Stopping)?;
        let lane = usize::try_from(lane).ok().and_then(|lane| lanes.get(lane)).ok_or(Failure::Stopping)?;
        lane.try_send(task).map_err(|error| match error {
            TrySendError::Full(_) => Failure::Full,
            TrySendError::Closed(_) => Failure::Stopping,
        })?;
        metrics::gauge!(QUEUE_LENGTH).increment(1);
        Ok(())
    }
}

/// One command on its way.
struct Task {
    id: Arc<str>,
    command: Command,
    deadline: Instant,
    reply: oneshot::Sender<Result<Decided, Failure>>,
    span: Span,
    races: u32,
    /// It was to be refused after a glance: it is decided again after a read.
    doubted: bool,
    /// The writes it was part of whose fate is not known.
    attempts: Vec<Attempt>,
}

/// A write whose fate is not known: it may have been made, or may still be made.
struct Attempt {
    expected: Option<u64>,
    next: AnySession,
    decided: Decided,
}

/// What the stored session says of an [`Attempt`].
#[derive(PartialEq)]
enum Fate {
    /// It was made.
    Made,
    /// It was not made, and may still be.
    Open,
    /// It was not made, and cannot be any more.
    Lost,
    /// Others went on from there: it may have been made before.
    Unknown,
}

impl Attempt {
    /// Revisions only rise, and each write takes a session from the one it expects to a later one.
    fn fate(&self, stored: Option<&AnySession>) -> Fate {
        let revision = stored.map(AnySession::revision);
        if stored == Some(&self.next) {
            Fate::Made
        } else if revision == self.expected {
            Fate::Open
        } else if revision > self.expected && revision <= Some(self.next.revision()) {
            Fate::Lost
        } else {
            Fate::Unknown
        }
    }
}

impl Task {
    /// What an open write came to, and what is refused, takes a read.
    fn may_glance(&self) -> bool {
        !self.doubted && self.attempts.is_empty()
    }

    fn answer(self, result: Result<Decided, Failure>) {
        if let Err(Ok(decided)) = self.reply.send(result) {
            log_unheard(&self.span, decided);
        }
    }

    /// What earlier attempts came to: its answer, if they tell it. Otherwise the task is to be decided again.
    fn resolve(mut self, stored: Option<&AnySession>) -> Option<Self> {
        self.attempts.retain(|attempt| attempt.fate(stored) != Fate::Lost);
        if let Some(made) = self.attempts.iter().find(|attempt| attempt.fate(stored) == Fate::Made) {
            let decided = made.decided;
            metrics::counter!(RESOLVED_OUTCOMES).increment(1);
            self.answer(Ok(decided));
            None
        } else if self.attempts.iter().any(|attempt| attempt.fate(stored) == Fate::Unknown) {
            self.answer(Err(Failure::unknown("others changed the session since")));
            None
        } else {
            Some(self)
        }
    }
}

/// Who waits for a task's answer.
struct Waiter {
    answer: oneshot::Receiver<Result<Decided, Failure>>,
    span: Span,
}

impl Waiter {
    async fn until(mut self, deadline: Instant) -> Result<Decided, Failure> {
        let Ok(answered) = timeout_at(deadline, &mut self.answer).await else {
            self.answer.close();
            return self.answer.try_recv().unwrap_or_else(|_| Err(Failure::unknown("the database does not answer")));
        };
        answered.unwrap_or_else(|_| Err(Failure::unknown("its lane is gone")))
    }
}

impl Drop for Waiter {
    /// An answer that came, and that no one took.
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Ok(decided)) = self.answer.try_recv() {
            log_unheard(&self.span, decided);
        }
    }
}

/// Without it, a link could be stored of which the log knows nothing.
fn log_unheard(span: &Span, decided: Decided) {
    tracing::info!(parent: span, outcome = decided.as_str(), "finished after its client had gone");
}

/// What each lane works with.
struct Batches<S> {
    store: S,
    policy: DuplicatePolicy,
    clock: Clock,
    limits: Limits,
}

/// What is stored under an id.
struct Looked {
    found: Found,
    /// The store did not make sure of it.
    glanced: bool,
}

/// The commands of a batch on one session, decided, and the write on which their answers wait.
struct Decision {
    change: Change,
    tasks: Vec<(Task, Decided)>,
}

/// What a batch leaves for the next.
#[derive(Default)]
struct Again {
    tasks: Vec<Task>,
    /// The store failed: it is given a pause.
    troubled: bool,
}

impl<S: Store> Batches<S> {
    /// One lane, until its queue is closed and empty.
    async fn run(self: Arc<Self>, mut queue: mpsc::Receiver<Task>) {
        let mut again = Again::default();
        loop {
            let mut batch = again.tasks;
            let kept = batch.len();
            if again.troubled {
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
            again = self.round(batch).await;
        }
    }

    /// Reads, decides and writes one batch. The answers that rest on no write are sent before it.
    async fn round(&self, batch: Vec<Task>) -> Again {
        let mut again = Again::default();
        // In the order of ids, so that the writes of two servers do not lock each other out.
        let mut sessions: BTreeMap<Arc<str>, Vec<Task>> = BTreeMap::new();
        for task in in_time(batch) {
            sessions.entry(task.id.clone()).or_default().push(task);
        }
        if sessions.is_empty() {
            return again;
        }
        let looked = self.look(&sessions).await;
        let mut decisions = Vec::with_capacity(sessions.len());
        for (tasks, Looked { found, glanced }) in sessions.into_values().zip(looked) {
            match found {
                Ok(stored) if glanced => decisions.extend(self.decide(tasks, stored.as_ref(), Some(&mut again))),
                Ok(stored) => decisions.extend(self.decide(tasks, stored.as_ref(), None)),
                Err(UnreadableRecord::OutOfReach(error)) => {
                    for task in tasks {
                        again.fail(task, &error);
                    }
                }
                Err(UnreadableRecord::NoSession(_)) if glanced => tasks.into_iter().for_each(|task| again.doubt(task)),
                Err(UnreadableRecord::NoSession(error)) => {
                    let failure = Failure::Unreadable(error.to_string());
                    for task in tasks {
                        task.answer(Err(failure.clone()));
                    }
                }
            }
        }
        if !decisions.is_empty() {
            self.write(decisions, &mut again).await;
        }
        again
    }

    /// What is stored under each id, in their order.
    async fn look(&self, sessions: &BTreeMap<Arc<str>, Vec<Task>>) -> Vec<Looked> {
        let may_glance = |tasks: &Vec<Task>| tasks.iter().all(Task::may_glance);
        let (mut quick, mut firm) = (Vec::with_capacity(sessions.len()), Vec::new());
        for (id, tasks) in sessions {
            if may_glance(tasks) { &mut quick } else { &mut firm }.push(&**id);
        }
        let (quick, firm) = tokio::join!(self.glance(&quick), self.read(&firm));
        let (mut quick, mut firm) = (quick.into_iter(), firm.into_iter());
        let next = |tasks| if may_glance(tasks) { quick.next() } else { firm.next() };
        sessions.values().filter_map(next).collect()
    }

    async fn glance(&self, ids: &[&str]) -> Vec<Looked> {
        let mut glanced = true;
        let call = async {
            if let Some(found) = self.store.glance(ids).await? {
                return Ok(found);
            }
            glanced = false;
            self.store.read(ids).await
        };
        let found = self.each(ids, call).await;
        found.into_iter().map(|found| Looked { found, glanced }).collect()
    }

    async fn read(&self, ids: &[&str]) -> Vec<Looked> {
        let found = self.each(ids, self.store.read(ids)).await;
        found.into_iter().map(|found| Looked { found, glanced: false }).collect()
    }

    /// What the store could not be asked at all is out of reach, each id for itself.
    async fn each(&self, ids: &[&str], call: impl Future<Output = Result<Vec<Found>, StoreError>>) -> Vec<Found> {
        if ids.is_empty() {
            return Vec::new();
        }
        let found = patiently(self.limits, ids.len(), call).await;
        found.unwrap_or_else(|error| ids.iter().map(|_| Err(error.clone().into())).collect())
    }

    /// Decides the commands on one session one after the other. Those that leave it as it is stored are answered, but not
    /// after a glance: those are left to be decided once more.
    fn decide(
        &self,
        tasks: Vec<Task>,
        stored: Option<&AnySession>,
        mut glance: Option<&mut Again>,
    ) -> Option<Decision> {
        let mut next: Option<AnySession> = None;
        let mut waiting = Vec::new();
        let mut id = None;
        for task in tasks.into_iter().filter_map(|task| task.resolve(stored)) {
            let current = next.as_ref().or(stored);
            let decided = catch_unwind(AssertUnwindSafe(|| self.decide_one(&task.command, current)));
            match decided {
                Ok((decided, change)) if change.is_some() || next.is_some() => {
                    next = change.or(next);
                    id.get_or_insert_with(|| task.id.clone());
                    waiting.push((task, decided));
                }
                // An earlier write may still be made, against what was decided now.
                _ if !task.attempts.is_empty() => task.answer(Err(Failure::unknown("an earlier write may still come"))),
                Err(_) => task.answer(Err(Failure::Panicked)),
                Ok((decided, _)) => match &mut glance {
                    Some(again) => again.doubt(task),
                    None => task.answer(Ok(decided)),
                },
            }
        }
        let (expected, glanced) = (stored.map(AnySession::revision), stored.filter(|_| glance.is_some()).cloned());
        let change = Change { id: id?.to_string(), expected, glanced, next: next? };
        Some(Decision { change, tasks: waiting })
    }

    /// What becomes of the session, if anything.
    fn decide_one(&self, command: &Command, session: Option<&AnySession>) -> (Decided, Option<AnySession>) {
        let now = (self.clock)();
        let of_type = |comm_type| session.filter(|session| session.comm_type() == comm_type);
        match command {
            Command::Start(new) if session.is_none() => (Decided::Started, Some(new.clone().into())),
            Command::Start(_) => (Decided::IdTaken, None),
            Command::Link(request) => {
                let decision = apply_link(session, request, &self.policy, now);
                let answer = Answer::from(&decision);
                match decision {
                    Ok(accepted) => {
                        (Decided::Link(answer, Ok(accepted.change())), Some(accepted.into_session().into()))
                    }
                    Err(error) => (Decided::Link(answer, Err(error)), None),
                }
            }
            Command::End(comm_type) => match of_type(*comm_type) {
                None => (Decided::NotFound, None),
                Some(AnySession::Ended(_)) => (Decided::Ended, None),
                Some(active) => (Decided::Ended, Some(active.clone().end(now))),
            },
            Command::Erase(comm_type) => match of_type(*comm_type) {
                None => (Decided::NotFound, None),
                Some(AnySession::Active(_)) => (Decided::StillActive, None),
                Some(AnySession::Ended(ended)) => {
                    let erased = ended.clone().erase();
                    let changed = erased != *ended;
                    (Decided::Erased, changed.then(|| erased.into()))
                }
            },
        }
    }

    /// Writes, and answers what was written.
    async fn write(&self, decisions: Vec<Decision>, again: &mut Again) {
        let (changes, waiting): (Vec<_>, Vec<_>) =
            decisions.into_iter().map(|Decision { change, tasks }| (change, tasks)).unzip();
        match patiently(self.limits, changes.len(), self.store.write(&changes)).await {
            Ok(written) => {
                for ((change, tasks), written) in changes.iter().zip(waiting).zip(written) {
                    match written {
                        Written::Yes => tasks.into_iter().for_each(|(task, decided)| task.answer(Ok(decided))),
                        Written::No => tasks.into_iter().for_each(|(task, _)| again.lost(change, task)),
                        Written::Unknown => again.look_up(change, tasks),
                    }
                }
            }
            Err(error) if error.nothing_was_written() => {
                waiting.into_iter().flatten().for_each(|(task, _)| again.fail(task, &error));
            }
            Err(_) => changes.iter().zip(waiting).for_each(|(change, tasks)| again.look_up(change, tasks)),
        }
    }
}

impl Again {
    /// Nothing was done in this round. Where nothing was attempted before, the answer is clear.
    fn fail(&mut self, task: Task, error: &StoreError) {
        if task.attempts.is_empty() {
            task.answer(Err(Failure::Store(error.clone())));
        } else {
            self.tasks.push(task);
            self.troubled = true;
        }
    }

    /// A glance is not enough to answer from.
    fn doubt(&mut self, task: Task) {
        self.tasks.push(Task { doubted: true, ..task });
    }

    /// Another server was first.
    fn lost(&mut self, change: &Change, mut task: Task) {
        metrics::counter!(LOST_RACES).increment(1);
        task.races += 1;
        // A record of another form is never found as it was glanced at.
        task.doubted |= change.glanced.is_some();
        if task.races < RACES_MAX {
            self.tasks.push(task);
        } else if task.attempts.is_empty() {
            task.answer(Err(Failure::Contended));
        } else {
            task.answer(Err(Failure::unknown(Failure::Contended)));
        }
    }

    fn look_up(&mut self, change: &Change, tasks: Vec<(Task, Decided)>) {
        self.troubled = true;
        for (mut task, decided) in tasks {
            task.attempts.push(Attempt { expected: change.expected, next: change.next.clone(), decided });
            self.tasks.push(task);
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
        let failure =
            if task.attempts.is_empty() { Failure::Late } else { Failure::unknown("the database does not answer") };
        task.answer(Err(failure));
        None
    })
}

/// One call of the store, which may hang, panic, or answer too little: each is one of its errors.
async fn patiently<T>(
    limits: Limits,
    expected: usize,
    call: impl Future<Output = Result<Vec<T>, StoreError>>,
) -> Result<Vec<T>, StoreError> {
    let mut call = pin!(timeout(limits.patience / 2, call));
    let answered = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context))) {
        Ok(poll) => poll.map(|answered| answered.unwrap_or_else(|_| Err(StoreError::new("it does not answer")))),
        Err(_) => Poll::Ready(Err(StoreError::new("its client panicked"))),
    });
    let answered = match answered.await {
        Ok(answers) if answers.len() != expected => Err(StoreError::new("its client gave too few or too many answers")),
        answered => answered,
    };
    if answered.is_err() {
        metrics::counter!(STORE_ERRORS).increment(1);
    }
    answered
}

fn count(length: usize) -> f64 {
    u32::try_from(length).unwrap_or(u32::MAX).into()
}
