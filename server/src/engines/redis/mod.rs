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
//! and what may be sent again are decided here (`topology`, and `run`).
//!
//! # What is durable when
//!
//! `WAIT` answers how many replicas have what its own connection wrote last, and with it all that the node wrote before.
//! So it covers the whole pipeline before it.
//! - A write is [`WriteOutcome::Applied`] once enough replicas have it, and [`WriteOutcome::Unknown`] if they have not in time.
//! - A read waits too. What it finds may be another server's write that no replica has yet; a refusal, an end or an
//!   answer to `GET` that rests on it would be wrong if a failover then loses it. `WAIT` covers what its own
//!   connection wrote, and a read is no write, so the last read of a pipeline writes the first byte of what it found
//!   again, as it is. The same makes a look-up after [`WriteOutcome::Unknown`] safe, and it keeps a master that a failover
//!   has replaced, and that does not know it yet, from answering with what it still has: its replicas no longer follow.
//! - A node that was short of replicas is asked whether they are back before anything is written to it again: twice a second,
//!   and what comes in between is refused at once.
//!
//! Each master is a [`Store::partition`] of its own, so that one that is slow delays the sessions that it has, and no others.

mod error;
mod exchange;
mod health;
mod link;
mod node;
mod request;
mod run;
mod script;
mod settings;
mod topology;
mod url;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use midsession::AnySession;
use serde::de::Error as _;
use tokio::time::{Instant, sleep};

pub use self::error::RedisOpenError;
use self::exchange::NodeOptions;
use self::link::Dialer;
use self::request::{Answer, Ask, Refusal, Request};
use self::run::run;
use self::topology::{Topology, discover};
use self::url::Url;
use crate::detach::blocking;
use crate::store::{ConditionalWrite, ReadOutcome, Store, StoreError, WriteOutcome};

/// The most connections to a node, and the longest times. No clock overflows.
const CONNECTIONS_MAX: usize = 1000;
const TIME_MAX: Duration = Duration::from_hours(24);
/// The pause before a start asks again.
const PAUSE: Duration = Duration::from_millis(100);

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

/// Sessions in Redis Cluster, Valkey, MemoryDB, or a single Redis: one key a session, any number of servers.
///
/// Whether it is a cluster is asked of the nodes. It follows failovers and slots that move, without a restart.
///
/// [`WriteOutcome::Applied`] means that the master has the write, and that as many replicas as the URL's `replicas` have it. What
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
    /// // A call of the store may take half of a request's time-out at most.
    /// let timeout = Limits::default().request_timeout * 2 / 5;
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
        let is_in_bounds = (1..=CONNECTIONS_MAX).contains(&connections)
            && (Duration::from_millis(1)..=TIME_MAX).contains(&timeout)
            && start <= TIME_MAX;
        if !is_in_bounds {
            return Err(RedisOpenError::Options);
        }
        let database = login.db();
        let reply = timeout * 3 / 4;
        // It reads the URL's files, which may be on a mount that hangs.
        let dialer = blocking(start, move || Dialer::new(login, tls.as_ref(), timeout / 2)).await;
        let dialer = dialer.ok_or_else(|| RedisOpenError::NotReady("a file that its URL names blocks".to_owned()))?;
        let dialer = Arc::new(dialer?);
        let deadline = Instant::now() + start;
        let mut said = None;
        let view = loop {
            let cause = match discover(&dialer, &hosts, 0, reply).await {
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
            sleep(PAUSE).await;
        };
        if view.cluster && database != 0 {
            return Err(RedisOpenError::Database);
        }
        let replicas = replicas.unwrap_or(usize::from(view.cluster || !view.replicas.is_empty()));
        let masters = view.masters().len();
        tracing::info!(cluster = view.cluster, masters, replicas, "Redis is open: a write waits for so many replicas");
        settings::check(&dialer, &view, replicas, reply).await;
        let options = NodeOptions { connections, replicas, wait: timeout / 2, reply };
        Ok(Self { topology: Topology::start(dialer, options, hosts, &view), ended_ttl, timeout })
    }
}

impl Store for Redis {
    async fn read(&self, ids: &[&str]) -> Result<Vec<ReadOutcome>, StoreError> {
        self.read_as(ids, || Ask::Read).await
    }

    async fn read_weak(&self, ids: &[&str]) -> Result<Option<Vec<ReadOutcome>>, StoreError> {
        self.read_as(ids, || Ask::ReadWeak).await.map(Some)
    }

    fn partition(&self, id: &str) -> usize {
        self.topology.part_of(&key(id))
    }

    async fn write(&self, writes: &[ConditionalWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
        let mut requests = Vec::with_capacity(writes.len());
        for write in writes {
            requests.push(self.request(write).map_err(|_| StoreError::nothing_written("a session has no JSON"))?);
        }
        let answers = run(&self.topology, self.timeout, requests).await;
        let refused = |answer: &Answer| matches!(answer, Answer::Refused(_));
        match answers.first() {
            Some(Answer::Refused(refusal)) if answers.iter().all(refused) => {
                Err(StoreError::nothing_written(refusal.cause.clone()))
            }
            _ => Ok(answers.iter().map(written).collect()),
        }
    }
}

impl Redis {
    async fn read_as(&self, ids: &[&str], ask: fn() -> Ask) -> Result<Vec<ReadOutcome>, StoreError> {
        let request = |id: &&str| Request { key: key(id), ask: ask() };
        let answers = run(&self.topology, self.timeout, ids.iter().map(request).collect()).await;
        if let Some(cause) = failure_of_all(&answers) {
            return Err(StoreError::new(cause));
        }
        Ok(answers.into_iter().map(found).collect())
    }

    fn request(&self, write: &ConditionalWrite) -> serde_json::Result<Request> {
        let ask = Ask::Write {
            expected: match (&write.weakly_read, write.expected) {
                (Some(read), _) => record(read)?,
                (None, expected) => expected.map_or_else(Vec::new, revision),
            },
            record: record(&write.next)?,
            ttl: self.ended_ttl.filter(|_| !write.next.is_active()),
        };
        Ok(Request { key: key(&write.id), ask })
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
fn failure_of_all(answers: &[Answer]) -> Option<Arc<str>> {
    let mut causes = answers.iter().map(|answer| match answer {
        Answer::Refused(Refusal { cause, .. }) | Answer::Unknown(cause) => Some(cause),
        _ => None,
    });
    let first = causes.next()??.clone();
    causes.all(|cause| cause.is_some()).then_some(first)
}

fn found(answer: Answer) -> ReadOutcome {
    match answer {
        Answer::Found(record) => Ok(record.map(|record| session(&record)).transpose()?),
        Answer::Refused(Refusal { cause, .. }) | Answer::Unknown(cause) => Err(StoreError::new(cause).into()),
        _ => Err(serde_json::Error::custom("what is stored is no record").into()),
    }
}

fn session(record: &[u8]) -> serde_json::Result<AnySession> {
    let space = record.iter().position(|byte| *byte == b' ');
    let json = space.and_then(|space| record.get(space..)).unwrap_or_default();
    serde_json::from_slice(json)
}

fn written(answer: &Answer) -> WriteOutcome {
    match answer {
        Answer::Written => WriteOutcome::Applied,
        Answer::Differs | Answer::Foreign => WriteOutcome::Conflict,
        Answer::Refused(_) => WriteOutcome::Refused,
        _ => WriteOutcome::Unknown,
    }
}
