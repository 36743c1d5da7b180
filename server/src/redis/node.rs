//! One node, and the tasks that ask it: each has a connection of its own, takes what has queued, sends it as one
//! pipeline, and waits for the replicas once for all of it.

use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use ::redis::{Cmd, Pipeline, Script, ServerError, ServerErrorKind, Value, cmd};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::link::{Cause, Dialer, Link};
use super::url::Address;

/// How many jobs may wait for a node.
const QUEUE: usize = 1024;
/// How many commands are sent as one pipeline at most.
const PIPELINE: usize = 1024;
/// A connection that was not used for this long is asked whether it still works.
const IDLE: Duration = Duration::from_secs(15);
/// How many milliseconds the replicas of a node that was short of them have to show that they are back.
const PROBE: u64 = 50;
/// The pause before a node that could not be reached is dialled again.
const PAUSE: Duration = Duration::from_millis(100);

/// A Lua script, known to a node by its hash once it was loaded there.
struct Code {
    text: &'static str,
    hash: LazyLock<String>,
}

/// Writes a record if the stored revision, or the whole stored record, is the expected one. Revisions are compared as
/// text, with the space after them: Lua's numbers lose what is above 2^53.
const WRITE_TEXT: &str = "local stored = redis.call('GET', KEYS[1])
local revision = stored and (string.match(stored, '^%d+ ') or '?') or ''
if revision ~= ARGV[1] and stored ~= ARGV[1] then return 0 end
if ARGV[3] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
else
  redis.call('SET', KEYS[1], ARGV[2])
end
return 1";
static WRITE: Code = Code { text: WRITE_TEXT, hash: LazyLock::new(|| hash(WRITE_TEXT)) };

/// Reads a record, and writes its first byte as it is, so that a `WAIT` after it covers what was read.
const READ_TEXT: &str = "local stored = redis.call('GET', KEYS[1])
if stored and #stored > 0 then redis.call('SETRANGE', KEYS[1], 0, string.sub(stored, 1, 1)) end
return stored";
static READ: Code = Code { text: READ_TEXT, hash: LazyLock::new(|| hash(READ_TEXT)) };

fn hash(text: &str) -> String {
    Script::new(text).get_hash().to_owned()
}

/// What is asked about one key.
pub struct Request {
    pub key: String,
    pub ask: Ask,
}

pub enum Ask {
    Read,
    /// A read that does not wait for replicas.
    Glance,
    Write {
        /// The expected revision and a space, the whole expected record, or nothing if nothing must be stored.
        expected: Vec<u8>,
        record: Vec<u8>,
        ttl: Option<Duration>,
    },
}

/// A request on its way to a node.
#[derive(Clone)]
pub struct Item {
    pub request: Arc<Request>,
    /// Another node said `ASK`.
    pub asking: bool,
}

/// What came of a request.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// This is stored, on as many replicas as are waited for if it was not a glance.
    Found(Option<Vec<u8>>),
    /// It was written, and is on as many replicas as are waited for.
    Written,
    /// Another revision is stored than was expected.
    Differs,
    /// What is stored under the key is not of the type that this engine writes.
    Foreign,
    /// Another node has the slot.
    Moved(Address),
    /// Another node has the key, while its slot is moved there.
    Ask(Address),
    /// Nothing was done.
    Refused(Refusal),
    /// It was sent, and may have been done or not.
    Unknown(Arc<str>),
}

/// Why nothing was done.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub cause: Arc<str>,
    /// For how long that has been known. None: since now.
    pub since: Option<Instant>,
}

impl Refusal {
    pub fn now(cause: impl Into<Arc<str>>) -> Self {
        Self { cause: cause.into(), since: None }
    }
}

/// Some requests for one node.
pub struct Job {
    items: Vec<Item>,
    reply: oneshot::Sender<Vec<Outcome>>,
}

impl Job {
    pub fn new(items: Vec<Item>) -> (Self, oneshot::Receiver<Vec<Outcome>>) {
        let (reply, outcomes) = oneshot::channel();
        (Self { items, reply }, outcomes)
    }

    fn answer(self, outcome: &Outcome) {
        let outcomes = vec![outcome.clone(); self.items.len()];
        // Whoever asked may have gone.
        let _ = self.reply.send(outcomes);
    }
}

fn answer_all(jobs: Vec<Job>, outcome: &Outcome) {
    for job in jobs {
        job.answer(outcome);
    }
}

/// How nodes are asked.
#[derive(Clone, Copy)]
pub struct Manner {
    /// How many connections a node gets.
    pub connections: usize,
    /// How many replicas must have a write before it counts.
    pub replicas: usize,
    /// How long they have for it.
    pub wait: Duration,
    /// How long a pipeline may take in all.
    pub reply: Duration,
}

/// The way to one node. Its tasks end when it is dropped.
pub struct Node {
    queue: mpsc::Sender<Job>,
}

impl Node {
    /// Starts its tasks, in the tokio runtime that it is called in.
    pub fn start(address: Address, dialer: &Arc<Dialer>, manner: Manner) -> Arc<Self> {
        let (sender, queue) = mpsc::channel(QUEUE);
        let worker = Arc::new(Worker {
            address,
            dialer: dialer.clone(),
            manner,
            queue: Mutex::new(queue),
            trouble: StdMutex::default(),
        });
        for _ in 0..manner.connections.max(1) {
            tokio::spawn(worker.clone().run());
        }
        Arc::new(Self { queue: sender })
    }

    /// The refusal comes back at once if too many jobs wait.
    pub fn submit(&self, job: Job) {
        if let Err(TrySendError::Full(job) | TrySendError::Closed(job)) = self.queue.try_send(job) {
            job.answer(&Outcome::Refused(Refusal::now("too many requests wait for a node")));
        }
    }
}

/// What is wrong with a node, and since when.
struct Trouble {
    cause: Arc<str>,
    since: Instant,
    /// It answers, and has too few replicas.
    short: bool,
}

struct Worker {
    address: Address,
    dialer: Arc<Dialer>,
    manner: Manner,
    queue: Mutex<mpsc::Receiver<Job>>,
    trouble: StdMutex<Option<Trouble>>,
}

impl Worker {
    /// Until the node is no longer wanted.
    async fn run(self: Arc<Self>) {
        let mut suspect = false;
        loop {
            let dialled = if suspect {
                match self.refuse_until(self.dialer.dial(&self.address)).await {
                    ControlFlow::Continue(dialled) => dialled,
                    ControlFlow::Break(()) => return,
                }
            } else {
                self.dialer.dial(&self.address).await
            };
            match dialled {
                Ok(mut link) => {
                    self.recovered();
                    let ControlFlow::Continue(cause) = self.serve(&mut link).await else { return };
                    suspect = cause.silent;
                    if cause.silent {
                        self.in_trouble(&cause.text, false);
                    }
                }
                Err(cause) => {
                    suspect = true;
                    self.in_trouble(&cause.text, false);
                    if self.refuse_until(sleep(PAUSE)).await.is_break() {
                        return;
                    }
                }
            }
        }
    }

    /// Refuses what comes in until `done`: no one waits for a node that is known not to answer.
    async fn refuse_until<T>(&self, done: impl Future<Output = T>) -> ControlFlow<(), T> {
        tokio::pin!(done);
        loop {
            let job = tokio::select! {
                biased;
                done = &mut done => return ControlFlow::Continue(done),
                job = async { self.queue.lock().await.recv().await } => job,
            };
            match job {
                Some(job) => job.answer(&self.refusal()),
                None => return ControlFlow::Break(()),
            }
        }
    }

    /// Until the connection is of no more use, or the node is no longer wanted.
    async fn serve(&self, link: &mut Link) -> ControlFlow<(), Cause> {
        let mut scripts_loaded = false;
        loop {
            let jobs = tokio::select! {
                biased;
                () = link.closed() => return ControlFlow::Continue(Cause::passing("the connection was closed")),
                jobs = self.take() => jobs,
                () = sleep(IDLE) => Some(Vec::new()),
            };
            let Some(jobs) = jobs else { return ControlFlow::Break(()) };
            if let Err(cause) = self.carry_out(link, &mut scripts_loaded, jobs).await {
                return ControlFlow::Continue(cause);
            }
        }
    }

    /// Whatever has queued. None: the node is no longer wanted.
    async fn take(&self) -> Option<Vec<Job>> {
        let mut queue = self.queue.lock().await;
        let mut jobs = vec![queue.recv().await?];
        let mut items = jobs.iter().map(|job| job.items.len()).sum::<usize>();
        while items < PIPELINE {
            let Ok(job) = queue.try_recv() else { break };
            items += job.items.len();
            jobs.push(job);
        }
        Some(jobs)
    }

    async fn carry_out(&self, link: &mut Link, loaded: &mut bool, mut jobs: Vec<Job>) -> Result<(), Cause> {
        // Nothing is done for those who no longer wait.
        jobs.retain(|job| !job.reply.is_closed());
        let items: Vec<Item> = jobs.iter().flat_map(|job| job.items.iter().cloned()).collect();
        if items.is_empty() {
            return link.ask(&pipeline([cmd("PING")]), self.manner.reply).await.map(drop);
        }
        if self.is_short() && !self.replicas_are_back(link).await? {
            answer_all(jobs, &self.refusal());
            return Ok(());
        }
        match self.send(link, loaded, &items).await {
            Ok(outcomes) => {
                let mut outcomes = outcomes.into_iter();
                for job in jobs {
                    let outcomes = outcomes.by_ref().take(job.items.len()).collect();
                    // Whoever asked may have gone.
                    let _ = job.reply.send(outcomes);
                }
                Ok(())
            }
            Err(cause) => {
                answer_all(jobs, &Outcome::Unknown(cause.text.clone()));
                Err(cause)
            }
        }
    }

    /// One pipeline, and a second one if the first did not cover all that was read.
    async fn send(&self, link: &mut Link, loaded: &mut bool, items: &[Item]) -> Result<Vec<Outcome>, Cause> {
        let last_read = items.iter().rposition(|item| matches!(item.request.ask, Ask::Read));
        let covering = last_read.filter(|_| self.manner.replicas > 0);
        let mut commands = Pipeline::with_capacity(items.len() + 3);
        // It is asked for its scripts at the first use of a connection, and when it has lost them.
        let skip = if std::mem::replace(loaded, true) { 0 } else { self.load_scripts(&mut commands) };
        for (index, item) in items.iter().enumerate() {
            add(&mut commands, item, Some(index) == covering);
        }
        let waits = self.manner.replicas > 0 && items.iter().any(|item| !matches!(item.request.ask, Ask::Glance));
        if waits {
            self.wait_for_replicas(&mut commands);
        }
        let mut replies = link.ask(&commands, self.manner.reply).await?.into_iter().skip(skip);
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            if item.asking {
                replies.next();
            }
            let reply = replies.next().unwrap_or_default();
            *loaded &= !matches!(&reply, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript));
            outcomes.push(self.outcome(&item.request.ask, reply));
        }
        if waits {
            let acknowledged = self.acknowledged(replies.next().as_ref());
            self.hold(link, items, &mut outcomes, covering, acknowledged).await?;
        }
        Ok(outcomes)
    }

    /// Takes back what too few replicas acknowledged.
    async fn hold(
        &self,
        link: &mut Link,
        items: &[Item],
        outcomes: &mut [Outcome],
        covering: Option<usize>,
        acknowledged: bool,
    ) -> Result<(), Cause> {
        let last_change = outcomes.iter().enumerate().rposition(|(index, outcome)| match outcome {
            Outcome::Written => true,
            Outcome::Found(Some(_)) => Some(index) == covering,
            _ => false,
        });
        let read = |(item, outcome): (&Item, &Outcome)| {
            matches!(item.request.ask, Ask::Read) && matches!(outcome, Outcome::Found(Some(_)))
        };
        // `WAIT` covers what came before the connection's last change, so what was read after it is not covered.
        let open =
            items.iter().zip(outcomes.iter()).rposition(read).filter(|open| acknowledged && Some(*open) > last_change);
        let mut covered = acknowledged;
        if let Some(item) = open.and_then(|open| items.get(open)) {
            let mut commands = Pipeline::with_capacity(3);
            add(&mut commands, item, true);
            self.wait_for_replicas(&mut commands);
            let mut replies = link.ask(&commands, self.manner.reply).await?.into_iter().skip(usize::from(item.asking));
            let changed = matches!(replies.next(), Some(Value::BulkString(_)));
            covered = changed && self.acknowledged(replies.next().as_ref());
        }
        for (index, (item, outcome)) in items.iter().zip(outcomes).enumerate() {
            match outcome {
                _ if matches!(item.request.ask, Ask::Glance) => {}
                Outcome::Written if !acknowledged => *outcome = Outcome::Unknown(TOO_FEW.into()),
                Outcome::Found(Some(_)) if !(covered || acknowledged && Some(index) <= last_change) => {
                    *outcome = Outcome::Refused(Refusal { cause: TOO_FEW.into(), since: self.since() });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn load_scripts(&self, commands: &mut Pipeline) -> usize {
        let scripts: &[&Code] = if self.manner.replicas > 0 { &[&WRITE, &READ] } else { &[&WRITE] };
        for script in scripts {
            commands.cmd("SCRIPT").arg("LOAD").arg(script.text);
        }
        scripts.len()
    }

    fn wait_for_replicas(&self, commands: &mut Pipeline) {
        if self.manner.replicas > 0 {
            let wait = u64::try_from(self.manner.wait.as_millis()).unwrap_or(u64::MAX);
            commands.cmd("WAIT").arg(self.manner.replicas).arg(wait);
        }
    }

    /// Whether enough replicas have it.
    fn acknowledged(&self, reply: Option<&Value>) -> bool {
        let enough = matches!(reply, Some(Value::Int(count)) if usize::try_from(*count).is_ok_and(|count| count >= self.manner.replicas));
        if !enough {
            self.in_trouble(&TOO_FEW.into(), true);
        }
        enough
    }

    /// A node that was short of replicas is not written to before it has them again: what it takes alone is lost with
    /// it, and its fate is unknown to whoever sent it.
    async fn replicas_are_back(&self, link: &mut Link) -> Result<bool, Cause> {
        let mut wait = cmd("WAIT");
        wait.arg(self.manner.replicas).arg(PROBE);
        let replies = link.ask(&pipeline([wait]), self.manner.reply).await?;
        let back = self.acknowledged(replies.first());
        if back {
            self.recovered();
        }
        Ok(back)
    }

    fn outcome(&self, ask: &Ask, reply: Value) -> Outcome {
        match (ask, reply) {
            (Ask::Read | Ask::Glance, Value::Nil) => Outcome::Found(None),
            (Ask::Read | Ask::Glance, Value::BulkString(record)) => Outcome::Found(Some(record)),
            (Ask::Write { .. }, Value::Int(1)) => Outcome::Written,
            (Ask::Write { .. }, Value::Int(0)) => Outcome::Differs,
            (_, Value::ServerError(error)) => self.refused(&error),
            _ => Outcome::Unknown("a reply of another kind than expected".into()),
        }
    }

    /// An error in place of a reply means that the command changed nothing: the script writes last, and once.
    fn refused(&self, error: &ServerError) -> Outcome {
        let target = || Address::of_redirection(error.details()?, &self.address.host);
        match (error.kind(), target()) {
            (Some(ServerErrorKind::Moved), Some(address)) => Outcome::Moved(address),
            (Some(ServerErrorKind::Ask), Some(address)) => Outcome::Ask(address),
            _ if error.code() == "WRONGTYPE" => Outcome::Foreign,
            _ => Outcome::Refused(Refusal::now(error.code())),
        }
    }

    fn refusal(&self) -> Outcome {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        Outcome::Refused(trouble.as_ref().map_or(Refusal::now("the node is gone"), |trouble| Refusal {
            cause: trouble.cause.clone(),
            since: Some(trouble.since),
        }))
    }

    fn is_short(&self) -> bool {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(|trouble| trouble.short)
    }

    fn since(&self) -> Option<Instant> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|trouble| trouble.since)
    }

    fn in_trouble(&self, cause: &Arc<str>, short: bool) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let since = trouble.as_ref().map_or_else(Instant::now, |trouble| trouble.since);
        if trouble.as_ref().is_none_or(|trouble| trouble.cause != *cause) {
            tracing::warn!(node = %self.address, cause = &**cause, "a Redis node cannot be used");
        }
        *trouble = Some(Trouble { cause: cause.clone(), since, short });
    }

    fn recovered(&self) {
        if self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            tracing::info!(node = %self.address, "a Redis node can be used again");
        }
    }
}

const TOO_FEW: &str = "too few replicas acknowledged";

fn pipeline(commands: impl IntoIterator<Item = Cmd>) -> Pipeline {
    let mut pipeline = Pipeline::new();
    for command in commands {
        pipeline.add_command(command);
    }
    pipeline
}

fn add(commands: &mut Pipeline, item: &Item, covering: bool) {
    if item.asking {
        commands.cmd("ASKING");
    }
    let key = &*item.request.key;
    match &item.request.ask {
        Ask::Read if covering => {
            commands.cmd("EVALSHA").arg(&**READ.hash).arg(1).arg(key);
        }
        Ask::Read | Ask::Glance => {
            commands.cmd("GET").arg(key);
        }
        Ask::Write { expected, record, ttl } => {
            commands.cmd("EVALSHA").arg(&**WRITE.hash).arg(1).arg(key).arg(&**expected).arg(&**record);
            if let Some(ttl) = ttl {
                commands.arg(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
            }
        }
    }
}
