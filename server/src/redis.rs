//! Sessions in Redis Cluster, Valkey, MemoryDB, or a single Redis.
//!
//! One key a session, `midsession:{id}` without the braces, so that its slot is that of the whole key. Its value is the
//! revision, a space, and the session as JSON. A conditional write is a Lua script that compares the revision.
//!
//! Each node has a few connections, and each of them is one task's alone (`node`). It takes what has queued, sends it
//! as one pipeline, and ends it with one `WAIT` for all of it. That is why this engine does not use the client's own
//! cluster connection: it shares one connection a node among all, on which one caller's `WAIT` would hold up everyone
//! else; it sends a pipeline to a single node, or splits it up without room for a `WAIT` at the end of each part; and it
//! sends a write again of which it does not know whether it was made, after which the script's "another revision is
//! stored" may mean its own. What is taken from the client is the protocol and the single connection. Slots, redirections
//! and what may be sent again are decided here (`topology`, and [`Redis`] itself).
//!
//! # What is durable when
//!
//! `WAIT` answers how many replicas have what its own connection wrote last, and with it all that the node wrote before.
//! So it covers the whole pipeline before it.
//! - A write is [`Written::Yes`] once enough replicas have it, and [`Written::Unknown`] if they have not in time.
//! - A read waits too. What it finds may be another server's write that no replica has yet; a refusal, an end or an
//!   answer to `GET` that rests on it would be wrong if a failover then loses it. `WAIT` covers what its own
//!   connection wrote, and a read is no write, so the last read of a pipeline writes the first byte of what it found
//!   again, as it is. The same makes a look-up after [`Written::Unknown`] safe, and it keeps a master that a failover
//!   has replaced, and that does not know it yet, from answering with what it still has: its replicas no longer follow.
//! - A node that was short of replicas is asked whether they are back before anything is written to it again.

mod link;
mod node;
mod settings;
mod topology;
mod url;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use midsession::AnySession;
use serde::de::Error as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

use self::link::Dialer;
use self::node::{Ask, Item, Job, Manner, Node, Outcome, Refusal, Request};
use self::topology::{Topology, look};
use self::url::Url;
use crate::{Change, Found, Store, StoreError, Written};

/// For how long what was refused is tried again: a new map of the slots is there by then, and a failover mostly is not.
const SETTLE: Duration = Duration::from_millis(300);
/// The pause before it is tried again.
const PAUSE: Duration = Duration::from_millis(25);
/// How often in a row another node is asked without a pause.
const REDIRECTIONS: u32 = 4;

/// The bounds of [`Redis`].
#[derive(Clone, Copy, Debug)]
pub struct RedisOptions {
    /// How many connections each node gets. The default is 2.
    pub connections: usize,
    /// How long one call may take. Replicas have half of it to acknowledge a write, and a node has three quarters of it
    /// to answer. The default is 2 s.
    pub timeout: Duration,
    /// How long a start waits for a database that is not ready. The default is 30 s.
    pub start: Duration,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self { connections: 2, timeout: Duration::from_secs(2), start: Duration::from_secs(30) }
    }
}

/// Why [`Redis`] does not open. `Display` is one line, and repeats no password.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RedisOpenError {
    /// It is no URL that this engine reads.
    #[error("the URL is not of the form redis://USER:PASSWORD@HOST:PORT,HOST:PORT?PARAMETERS, or rediss:// for TLS")]
    Url,
    /// The URL has a parameter that does not exist.
    #[error("the URL's parameter {0} is unknown")]
    UnknownParameter(String),
    /// The URL has a parameter whose value is not of its form.
    #[error("the URL's parameter {0} has a value that cannot be read")]
    Parameter(String),
    /// The URL has a parameter for TLS, and does not ask for TLS.
    #[error("the URL's parameter {0} needs TLS: begin the URL with rediss://")]
    TlsParameter(String),
    /// A cluster has one database only.
    #[error("the URL names a database other than 0, and a cluster has no other")]
    Database,
    /// No connections, or no time.
    #[error("the connections and the time-out must be above zero")]
    Options,
    /// A file that the URL names cannot be read, or holds no certificate or key in PEM.
    #[error("the file in the URL's parameter {0} cannot be read, or is not in PEM")]
    File(&'static str),
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(String),
    /// The database refuses, and waiting does not help.
    #[error("the database cannot be used: {0}")]
    Refused(String),
    /// The database was not ready in time.
    #[error("the database was not ready in time: {0}")]
    NotReady(String),
}

/// Sessions in Redis Cluster, Valkey, MemoryDB, or a single Redis: one key a session, any number of servers.
///
/// Whether it is a cluster is asked of the nodes. It follows failovers and slots that move, without a restart.
///
/// [`Written::Yes`] means that the master has the write, and that as many replicas as the URL's `replicas` have it. What
/// is read is on as many replicas, too.
pub struct Redis {
    topology: Arc<Topology>,
    ended_ttl: Option<Duration>,
    timeout: Duration,
}

impl fmt::Debug for Redis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Redis").finish_non_exhaustive()
    }
}

impl Redis {
    /// Opens the database at `url`: `redis://HOST:PORT,HOST:PORT`, or `rediss://` for TLS, with a user and a password in
    /// front if it asks for them. Of a cluster, a few of its nodes are enough. If it is no cluster, the first host that
    /// is a master is used.
    ///
    /// | parameter | what it says |
    /// |---|---|
    /// | `replicas=1` | how many replicas must have a write before it counts. The default is 1 with a cluster and with a node that has replicas, and 0 with a node that has none |
    /// | `ended_ttl=30d` | how long an ended session is kept after its last write (`d`, `h`, `m`, `s`); without it, for good |
    /// | `cacert=FILE` | with TLS: the root certificates to trust, in PEM, in place of the machine's own |
    /// | `cert=FILE`, `key=FILE` | with TLS: the certificate and the key to show to a node that asks for one |
    ///
    /// It waits for a database that is absent or starting, and says so in the log. Whoever drops the future ends the
    /// wait. It warns in the log if a node keeps no log of its writes on disk, or drops keys when its memory is full.
    ///
    /// ```no_run
    /// use midsession_server::{Limits, Redis, RedisOptions};
    ///
    /// # async fn open() -> Result<Redis, midsession_server::RedisOpenError> {
    /// // A call of the store may take half of a request's patience at most.
    /// let timeout = Limits::default().patience * 2 / 5;
    /// let options = RedisOptions { timeout, ..RedisOptions::default() };
    /// Redis::open("redis://host1:6379,host2:6379?ended_ttl=30d", &options).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// - The URL or the options are wrong, or a file that the URL names cannot be read.
    /// - The database refuses the user, or its certificate is not one that the URL trusts.
    /// - The database was not ready in time.
    pub async fn open(url: &str, options: &RedisOptions) -> Result<Self, RedisOpenError> {
        let Url { hosts, login, tls, replicas, ended_ttl } = Url::parse(url)?;
        let RedisOptions { connections, timeout, start } = *options;
        if connections == 0 || timeout.is_zero() {
            return Err(RedisOpenError::Options);
        }
        let database = login.db();
        let reply = timeout * 3 / 4;
        let dialer = Arc::new(Dialer::new(login, tls.as_ref(), timeout / 2)?);
        let deadline = Instant::now() + start;
        let mut said = None;
        let view = loop {
            let cause = match look(&dialer, &hosts, 0, reply).await {
                Ok(view) => break view,
                Err(cause) if !cause.may_pass => return Err(RedisOpenError::Refused(cause.text.to_string())),
                Err(cause) => cause,
            };
            if Instant::now() >= deadline {
                return Err(RedisOpenError::NotReady(cause.text.to_string()));
            }
            if said.as_ref() != Some(&cause) {
                tracing::warn!(cause = &*cause.text, "waiting for the database");
                said = Some(cause);
            }
            sleep(4 * PAUSE).await;
        };
        if view.cluster && database != 0 {
            return Err(RedisOpenError::Database);
        }
        let replicas = replicas.unwrap_or(usize::from(view.cluster || !view.replicas.is_empty()));
        let masters = view.masters().len();
        tracing::info!(cluster = view.cluster, masters, replicas, "Redis is open: a write waits for so many replicas");
        settings::check(&dialer, &view, replicas, reply).await;
        let manner = Manner { connections, replicas, wait: timeout / 2, reply };
        Ok(Self { topology: Topology::start(dialer, manner, hosts, &view), ended_ttl, timeout })
    }

    /// Sends each request to its node, follows it where it is sent, and gives up in time.
    async fn run(&self, requests: Vec<Request>) -> Vec<Outcome> {
        let started = Instant::now();
        let open = |(place, request)| Open { place, request: Arc::new(request), ask: None };
        let mut run = Run {
            topology: &self.topology,
            started,
            deadline: started + self.timeout,
            outcomes: vec![Outcome::Unknown("it was not answered in time".into()); requests.len()],
            open: requests.into_iter().enumerate().map(open).collect(),
            redirections: 0,
        };
        while !run.open.is_empty() {
            if run.round().await {
                self.topology.look_again();
                sleep(PAUSE).await;
            }
        }
        run.outcomes
    }
}

/// A request that has no outcome yet.
struct Open {
    place: usize,
    request: Arc<Request>,
    /// The node that it is asked of instead, while its slot moves there.
    ask: Option<Arc<Node>>,
}

/// Requests under way to one node.
struct Sent {
    requests: Vec<Open>,
    answer: oneshot::Receiver<Vec<Outcome>>,
}

/// One call under way.
struct Run<'a> {
    topology: &'a Topology,
    started: Instant,
    deadline: Instant,
    outcomes: Vec<Outcome>,
    open: Vec<Open>,
    redirections: u32,
}

impl Run<'_> {
    /// One job for each node that has any of the open requests. True: a pause is due before the next round.
    async fn round(&mut self) -> bool {
        let mut pause = false;
        for Sent { requests, answer } in self.submit() {
            let answered = timeout_at(self.deadline, answer).await;
            let outcomes = answered.ok().and_then(Result::ok).unwrap_or_default();
            // Without an answer, the outcome stays what it was: unknown.
            for (open, outcome) in requests.into_iter().zip(outcomes) {
                pause |= self.take(open, outcome);
            }
        }
        pause
    }

    fn submit(&mut self) -> Vec<Sent> {
        let mut jobs: Vec<(Arc<Node>, Vec<Open>)> = Vec::new();
        for open in std::mem::take(&mut self.open) {
            let Some(node) = open.ask.clone().or_else(|| self.topology.node_of(&open.request.key)) else {
                self.topology.look_again();
                self.set(open.place, Outcome::Refused(Refusal::now("no node has the slot")));
                continue;
            };
            match jobs.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &node)) {
                Some((_, requests)) => requests.push(open),
                None => jobs.push((node, vec![open])),
            }
        }
        let submitted = jobs.into_iter().map(|(node, requests)| {
            let item = |open: &Open| Item { request: open.request.clone(), asking: open.ask.is_some() };
            let (job, answer) = Job::new(requests.iter().map(item).collect());
            node.submit(job);
            Sent { requests, answer }
        });
        submitted.collect()
    }

    /// True: the request is to be sent again, after a pause.
    fn take(&mut self, Open { place, request, .. }: Open, outcome: Outcome) -> bool {
        let since = match &outcome {
            Outcome::Moved(address) => {
                self.topology.moved(&request.key, address);
                return self.redirect(place, request, None);
            }
            Outcome::Ask(address) => {
                let node = self.topology.node_at(address);
                return self.redirect(place, request, Some(node));
            }
            // A read may be sent again whatever came of it.
            Outcome::Unknown(_) if matches!(request.ask, Ask::Read | Ask::Glance) => None,
            Outcome::Refused(refusal) => refusal.since,
            _ => {
                self.set(place, outcome);
                return false;
            }
        };
        let again =
            since.unwrap_or(self.started).min(self.started).elapsed() < SETTLE && Instant::now() < self.deadline;
        self.set(place, outcome);
        if again {
            self.open.push(Open { place, request, ask: None });
        } else {
            self.topology.look_again();
        }
        again
    }

    fn redirect(&mut self, place: usize, request: Arc<Request>, ask: Option<Arc<Node>>) -> bool {
        self.set(place, Outcome::Refused(Refusal::now("the nodes point at each other")));
        if Instant::now() >= self.deadline {
            return false;
        }
        self.open.push(Open { place, request, ask });
        self.redirections += 1;
        self.redirections.is_multiple_of(REDIRECTIONS)
    }

    fn set(&mut self, place: usize, outcome: Outcome) {
        if let Some(entry) = self.outcomes.get_mut(place) {
            *entry = outcome;
        }
    }
}

impl Store for Redis {
    async fn read(&self, ids: &[&str]) -> Result<Vec<Found>, StoreError> {
        self.look(ids, || Ask::Read).await
    }

    async fn glance(&self, ids: &[&str]) -> Result<Option<Vec<Found>>, StoreError> {
        self.look(ids, || Ask::Glance).await.map(Some)
    }

    async fn write(&self, changes: &[Change]) -> Result<Vec<Written>, StoreError> {
        let mut requests = Vec::with_capacity(changes.len());
        for change in changes {
            requests.push(self.request(change).map_err(|_| StoreError::nothing_written("a session has no JSON"))?);
        }
        let outcomes = self.run(requests).await;
        let refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(_));
        match outcomes.first() {
            Some(Outcome::Refused(refusal)) if outcomes.iter().all(refused) => {
                Err(StoreError::nothing_written(refusal.cause.clone()))
            }
            _ => Ok(outcomes.iter().map(written).collect()),
        }
    }
}

impl Redis {
    async fn look(&self, ids: &[&str], ask: fn() -> Ask) -> Result<Vec<Found>, StoreError> {
        let request = |id: &&str| Request { key: key(id), ask: ask() };
        let outcomes = self.run(ids.iter().map(request).collect()).await;
        if let Some(cause) = failure_of_all(&outcomes) {
            return Err(StoreError::new(cause));
        }
        Ok(outcomes.into_iter().map(found).collect())
    }

    fn request(&self, change: &Change) -> serde_json::Result<Request> {
        let ask = Ask::Write {
            expected: match (&change.glanced, change.expected) {
                (Some(glanced), _) => record(glanced)?,
                (None, expected) => expected.map_or_else(Vec::new, revision),
            },
            record: record(&change.next)?,
            ttl: self.ended_ttl.filter(|_| !change.next.is_active()),
        };
        Ok(Request { key: key(&change.id), ask })
    }
}

fn key(id: &str) -> String {
    format!("midsession:{id}")
}

fn revision(revision: u64) -> Vec<u8> {
    format!("{revision} ").into_bytes()
}

fn record(session: &AnySession) -> serde_json::Result<Vec<u8>> {
    let mut record = revision(session.revision());
    serde_json::to_writer(&mut record, session)?;
    Ok(record)
}

/// The cause, if no request was answered.
fn failure_of_all(outcomes: &[Outcome]) -> Option<Arc<str>> {
    let mut causes = outcomes.iter().map(|outcome| match outcome {
        Outcome::Refused(Refusal { cause, .. }) | Outcome::Unknown(cause) => Some(cause),
        _ => None,
    });
    let first = causes.next()??.clone();
    causes.all(|cause| cause.is_some()).then_some(first)
}

fn found(outcome: Outcome) -> Found {
    match outcome {
        Outcome::Found(record) => Ok(record.map(|record| session(&record)).transpose()?),
        Outcome::Refused(Refusal { cause, .. }) | Outcome::Unknown(cause) => Err(StoreError::new(cause).into()),
        _ => Err(serde_json::Error::custom("what is stored is no record").into()),
    }
}

fn session(record: &[u8]) -> serde_json::Result<AnySession> {
    let space = record.iter().position(|byte| *byte == b' ');
    let json = space.and_then(|space| record.get(space..)).unwrap_or_default();
    serde_json::from_slice(json)
}

fn written(outcome: &Outcome) -> Written {
    match outcome {
        Outcome::Written => Written::Yes,
        Outcome::Differs | Outcome::Foreign => Written::No,
        _ => Written::Unknown,
    }
}
