//! PostgreSQL as it is really run: behind PgBouncer, with standbys, TLS and few rights.

mod error;
mod failure;
mod pool;
mod schema;
mod tls;
mod url;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_postgres::types::Type;

pub use self::error::PostgresOpenError;
use self::failure::Failure;
use self::pool::{Connection, Database, Parameter, Pool, Sql};
use self::url::Url;
use crate::detach::blocking;
use crate::retention::{EndedSession, Purgeable};
use crate::store::{ConditionalWrite, ReadOutcome, Store, StoreError, WriteOutcome};

const SELECT: Sql = Sql { at: 0, text: "SELECT id, record FROM sessions WHERE id = ANY($1)" };
/// It writes, so that its commit waits for the standby as a write's does.
const CONFIRM: Sql =
    Sql { at: 1, text: "SELECT id, record FROM sessions WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE" };
const UPDATE: Sql = Sql {
    at: 2,
    text: "UPDATE sessions SET revision = change.revision, record = change.record \
           FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[]) AS change (id, expected, revision, record) \
           WHERE sessions.id = change.id AND sessions.revision = change.expected RETURNING sessions.id",
};
const INSERT: Sql = Sql {
    at: 3,
    text: "INSERT INTO sessions (id, revision, record) \
           SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[]) ON CONFLICT DO NOTHING RETURNING id",
};
/// No id is empty.
const LIST_IDS: Sql = Sql { at: 4, text: "SELECT id FROM sessions WHERE id > $1 ORDER BY id LIMIT $2" };

/// For how long after a write of unknown fate its sessions are made sure of when they are read: longer than any request
/// waits.
const UNSETTLED: Duration = Duration::from_mins(1);
/// The most connections, and the longest times. No clock overflows.
const CONNECTIONS_MAX: usize = 10_000;
const TIME_MAX: Duration = Duration::from_hours(24);
/// How long a start waits between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// How much of the database a server takes, and how long it waits.
///
/// ```
/// use midsession_server::PostgresOptions;
/// use std::time::Duration;
///
/// let patient = PostgresOptions { timeout: Duration::from_secs(10), ..PostgresOptions::default() };
/// assert_eq!(patient.connections, 16);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostgresOptions {
    /// The most connections to one database server, at least 2: a quarter of them for reads, the others for writes.
    /// The default is 16.
    pub connections: usize,
    /// The most time a read or a write takes, connecting included. The database itself ends a statement after four
    /// fifths of it. The default is 2.5 s: a request has twice as long, so that a write of unknown fate can be looked
    /// up.
    pub timeout: Duration,
    /// How long a start waits for a database that is not ready. The default is 30 s.
    pub start: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { connections: 16, timeout: Duration::from_millis(2500), start: Duration::from_secs(30) }
    }
}

/// Sessions in PostgreSQL: one row a session, any number of servers.
///
/// It speaks to a server that takes writes, directly or through PgBouncer in any mode, and moves to another host of its
/// URL when that one takes over.
///
/// [`WriteOutcome::Applied`] is PostgreSQL's own word that the transaction is committed: on its disk, and on the standbys that
/// its `synchronous_standby_names` demands. A clone is another handle of the same.
#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    reads: Pool,
    writes: Pool,
    /// Sessions that a write of unknown fate was for, and until when they are made sure of.
    unsettled: Mutex<HashMap<String, Instant>>,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Postgres").finish_non_exhaustive()
    }
}

impl Postgres {
    /// Opens the database at `url`, such as `postgres://user:password@host1,host2/database?sslmode=verify-full`, and
    /// makes its tables if they are not there, for which the user must be allowed to create them.
    ///
    /// It waits for a database that is absent, starting or locked, and says so in the log. Whoever drops the future ends
    /// the wait.
    ///
    /// # Errors
    /// - The URL or the options are wrong.
    /// - The database refuses the user, or the user lacks a right.
    /// - TLS fails, or the server's certificate is not one that the URL trusts.
    /// - The tables are a later release's, or cannot hold sessions.
    /// - The database was not ready in time.
    pub async fn open(url: &str, options: &PostgresOptions) -> Result<Self, PostgresOpenError> {
        let inner = Inner::new(url, options).await?;
        let deadline = Instant::now() + options.start;
        let mut said = String::new();
        loop {
            let ready = inner.writes.run(|connection| async move {
                schema::prepare(&connection).await?;
                schema::inspect(&connection).await
            });
            let failure = match timeout_at(deadline, ready).await {
                Ok(Ok(())) => return Ok(Self(Arc::new(inner))),
                Ok(Err(Failure::Unfit(error))) => return Err(error),
                Ok(Err(failure)) if !failure.may_pass() => return Err(PostgresOpenError::Refused(failure.cause())),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::Silent,
            };
            let cause = failure.cause();
            if deadline.saturating_duration_since(Instant::now()) < PAUSE {
                return Err(PostgresOpenError::NotReady(cause));
            }
            if cause != said {
                tracing::warn!(cause, "waiting for the database");
                said = cause;
            }
            sleep(PAUSE).await;
        }
    }

    /// Makes the tables of the database at `url`, if they are not there. Then [`open`](Self::open) needs fewer rights:
    /// a user who may read, insert and update is enough.
    ///
    /// # Errors
    /// - As those of [`open`](Self::open).
    pub async fn migrate(url: &str, options: &PostgresOptions) -> Result<(), PostgresOpenError> {
        Self::open(url, options).await.map(drop)
    }
}

impl Inner {
    async fn new(url: &str, options: &PostgresOptions) -> Result<Self, PostgresOpenError> {
        let is_in_bounds = (2..=CONNECTIONS_MAX).contains(&options.connections)
            && (Duration::from_millis(1)..=TIME_MAX).contains(&options.timeout)
            && options.start <= TIME_MAX;
        if !is_in_bounds {
            return Err(PostgresOpenError::Options);
        }
        let (url, timeout) = (Url::parse(url)?, options.timeout);
        // It reads the file of `sslrootcert`, which may be on a mount that hangs.
        let database = blocking(options.start, move || Database::new(url, timeout));
        let database =
            database.await.ok_or_else(|| PostgresOpenError::parameter("sslrootcert", "names a file that blocks"))?;
        let database = Arc::new(database?);
        let reads = (options.connections / 4).max(1);
        Ok(Self {
            reads: Pool::new(database.clone(), reads),
            writes: Pool::new(database, options.connections - reads),
            unsettled: Mutex::default(),
        })
    }

    async fn rows(&self, ids: Vec<String>) -> Result<HashMap<String, String>, Failure> {
        let (pool, sql) = if self.is_unsettled(&ids) { (&self.writes, CONFIRM) } else { (&self.reads, SELECT) };
        let rows = pool.run(|connection| async move {
            let parameters: [Parameter<'_>; 1] = [(&ids, Type::TEXT_ARRAY)];
            connection.query(sql, &parameters).await
        });
        let rows = rows.await?.into_iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        rows.collect()
    }

    /// The ids of those rows that were written.
    async fn apply(&self, rows: Rows) -> Result<HashSet<String>, Failure> {
        if rows.ids.is_empty() {
            return Ok(HashSet::new());
        }
        // Also if nobody waits for the outcome until there is one.
        let mut unsettled = Unsettled { store: self, ids: rows.ids.clone() };
        let written = self.writes.run(|connection| async move { rows.write(&connection).await }).await;
        if written.as_ref().err().is_none_or(Failure::nothing_was_written) {
            unsettled.ids.clear();
        }
        match written {
            Ok(written) => written.into_iter().map(|row| Ok(row.try_get(0)?)).collect(),
            Err(failure) if failure.lost_the_race() => Ok(HashSet::new()),
            Err(failure) => Err(failure),
        }
    }

    fn is_unsettled(&self, ids: &[String]) -> bool {
        let now = Instant::now();
        let unsettled = self.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
        !unsettled.is_empty() && ids.iter().any(|id| unsettled.get(id).is_some_and(|until| *until > now))
    }
}

impl Store for Postgres {
    async fn read(&self, ids: &[&str]) -> Result<Vec<ReadOutcome>, StoreError> {
        let mut rows = self.0.rows(ids.iter().map(|&id| id.to_owned()).collect()).await?;
        let found = |id: &&str| rows.remove(*id).map(|record| serde_json::from_str(&record)).transpose();
        Ok(ids.iter().map(found).map(|found| Ok(found?)).collect())
    }

    async fn write(&self, writes: &[ConditionalWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
        let (old, new) = Rows::of(writes).map_err(|_| StoreError::nothing_written("a session cannot be stored"))?;
        let (updated, inserted) = tokio::join!(self.0.apply(old), self.0.apply(new));
        let of = |write: &ConditionalWrite| if write.expected.is_some() { &updated } else { &inserted };
        let outcome = |write: &ConditionalWrite| match of(write) {
            Ok(ids) if ids.contains(&*write.id) => WriteOutcome::Applied,
            Ok(_) => WriteOutcome::Conflict,
            Err(failure) if failure.nothing_was_written() => WriteOutcome::Refused,
            Err(_) => WriteOutcome::Unknown,
        };
        let outcomes: Vec<_> = writes.iter().map(outcome).collect();
        let refused = outcomes.iter().all(|outcome| *outcome == WriteOutcome::Refused);
        let unknown = outcomes.iter().all(|outcome| *outcome == WriteOutcome::Unknown);
        match [updated, inserted].into_iter().find_map(Result::err) {
            // The whole call failed, and in one way: its cause can be told.
            Some(failure) if refused || unknown => Err(failure.into()),
            _ => Ok(outcomes),
        }
    }
}

impl Purgeable for Postgres {
    /// All of them: there is no index yet.
    async fn list_ended(
        &self,
        before: OffsetDateTime,
        after: Option<&EndedSession>,
        limit: usize,
    ) -> Result<Vec<EndedSession>, StoreError> {
        let after = after.map(|ended| ended.id.clone()).unwrap_or_default();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.0.reads.run(|connection| async move {
            let parameters: [Parameter<'_>; 2] = [(&after, Type::TEXT), (&limit, Type::INT8)];
            connection.query(LIST_IDS, &parameters).await
        });
        let listed = rows.await?.into_iter().map(|row| Ok(EndedSession { id: row.try_get(0)?, ended_at: before }));
        let listed: Result<_, Failure> = listed.collect();
        Ok(listed?)
    }
}

/// Ids whose write is under way. What is left of them when it is dropped is of unknown fate.
struct Unsettled<'a> {
    store: &'a Inner,
    ids: Vec<String>,
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        if !self.ids.is_empty() {
            let now = Instant::now();
            let mut unsettled = self.store.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
            unsettled.retain(|_, until| *until > now);
            unsettled.extend(self.ids.drain(..).map(|id| (id, now + UNSETTLED)));
        }
    }
}

/// Writes of one kind, as the columns of a statement's parameters.
#[derive(Default)]
struct Rows {
    ids: Vec<String>,
    /// Empty: the sessions are new.
    expected: Vec<i64>,
    revisions: Vec<i64>,
    records: Vec<String>,
}

impl Rows {
    /// Those of the updates, and those of the new sessions. By id, so that two servers lock rows in the same order.
    fn of(writes: &[ConditionalWrite]) -> Result<(Self, Self), serde_json::Error> {
        let mut sorted: Vec<_> = writes.iter().collect();
        sorted.sort_by_key(|write| &write.id);
        let (mut updates, mut inserts) = (Self::default(), Self::default());
        for write in sorted {
            let rows = if let Some(expected) = write.expected {
                updates.expected.push(expected.cast_signed());
                &mut updates
            } else {
                &mut inserts
            };
            rows.ids.push(write.id.to_string());
            rows.revisions.push(write.next.revision().cast_signed());
            rows.records.push(serde_json::to_string(&write.next)?);
        }
        Ok((updates, inserts))
    }

    async fn write(&self, connection: &Connection) -> Result<Vec<tokio_postgres::Row>, Failure> {
        let ids = (&self.ids as _, Type::TEXT_ARRAY);
        let expected = (&self.expected as _, Type::INT8_ARRAY);
        let revisions = (&self.revisions as _, Type::INT8_ARRAY);
        let records = (&self.records as _, Type::TEXT_ARRAY);
        if self.expected.is_empty() {
            connection.query(INSERT, &[ids, revisions, records]).await
        } else {
            connection.query(UPDATE, &[ids, expected, revisions, records]).await
        }
    }
}
