//! PostgreSQL as it is really run: behind PgBouncer, with standbys, TLS and few rights.

mod audit;
mod connection;
mod error;
mod failure;
mod hosts;
mod pool;
mod schema;
mod tls;
mod url;
mod write;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use midsession::AnySession;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_postgres::types::Type;

use self::connection::{Parameter, Sql};
pub use self::error::PostgresOpenError;
use self::failure::Failure;
use self::hosts::Database;
use self::pool::Pool;
use self::schema::SESSIONS;
use self::url::Url;
use self::write::{Kind, Revisions, Rows, Written};
use crate::detach::blocking;
use crate::engines::audit::{Audit, warn_of_gap};
use crate::retention::{EndedSession, Purgeable};
use crate::store::{ConditionalWrite, ReadOutcome, Store, StoreError, WriteOutcome};

const SELECT: Sql = Sql { at: 0, text: "SELECT id, revision, record FROM sessions WHERE id = ANY($1)" };
/// By the partial index, so that its size is what it costs.
const LIST_ENDED: Sql = Sql {
    at: 4,
    text: "SELECT id, ended_at FROM sessions WHERE ended_at <= $1 AND (ended_at, id) > ($2, $3) \
           ORDER BY ended_at, id LIMIT $4",
};

/// For how long a row that was held is written apart from others.
const HELD: Duration = Duration::from_secs(5);
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
    /// Whether an audit is written: a row in the table `midsession_audit` for each accepted link, end and erasure, in the
    /// transaction of the change itself. By default none is.
    pub audit: Audit,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        let (timeout, start) = (Duration::from_millis(2500), Duration::from_secs(30));
        Self { connections: 16, timeout, start, audit: Audit::Off }
    }
}

/// Sessions in PostgreSQL: one row a session, any number of servers.
///
/// It speaks to a server that takes writes, directly or through PgBouncer in any mode, and moves to another host of its
/// URL when that one takes over.
///
/// [`WriteOutcome::Applied`] is PostgreSQL's own word that the transaction is committed: on its disk, and on the standbys that
/// its `synchronous_standby_names` demands. It is PostgreSQL's promise, with its limit: a commit that an administrator releases
/// from its wait, or that a crash of the server ends, counts as committed although the standby may not have it yet. A clone is
/// another handle of the same.
#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    reads: Pool,
    writes: Pool,
    /// Sessions whose rows were held by something else, and until when their writes are kept apart: they would slow others.
    held: Mutex<HashMap<String, Instant>>,
    /// Whether changes are written to the audit, too.
    audit: bool,
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
        let mut inner = Inner::new(url, options).await?;
        let audit = options.audit;
        let deadline = Instant::now() + options.start;
        let mut said = String::new();
        loop {
            let ready = inner.writes.run(|connection| async move {
                schema::prepare(&connection, &SESSIONS).await?;
                schema::inspect(&connection).await?;
                let has_audit = schema::prepare_audit(&connection, audit).await?;
                schema::prove(&connection).await.map(|()| has_audit)
            });
            let failure = match timeout_at(deadline, ready).await {
                Ok(Ok(has_audit)) => {
                    inner.audit = audit.is_written(has_audit);
                    // Not before: a start that waits comes here again and again.
                    if has_audit && !inner.audit {
                        warn_of_gap();
                    }
                    return Ok(Self(Arc::new(inner)));
                }
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
            held: Mutex::default(),
            audit: false,
        })
    }

    async fn rows(&self, ids: Vec<String>) -> Result<HashMap<String, ReadOutcome>, Failure> {
        let rows = self.reads.run(|connection| async move {
            let parameters: [Parameter<'_>; 1] = [(&ids, Type::TEXT_ARRAY)];
            connection.query(SELECT, &parameters).await
        });
        let (mut found, mut wrong) = (HashMap::new(), Revisions::default());
        for row in rows.await? {
            let (id, revision, record): (String, i64, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let session = serde_json::from_str::<AnySession>(&record);
            if let Ok(session) = &session
                && session.revision().cast_signed() != revision
            {
                wrong.push(&id, revision, session.revision().cast_signed(), record);
            }
            found.insert(id, session.map(Some).map_err(Into::into));
        }
        self.correct(wrong).await;
        Ok(found)
    }

    /// So that the writes that are decided on these rows find them. Someone changed a record or a column by hand.
    async fn correct(&self, wrong: Revisions) {
        if !wrong.is_empty()
            && let Err(failure) = self.writes.run(|connection| async move { wrong.correct(&connection).await }).await
        {
            tracing::warn!(cause = failure.cause(), "a row whose revision is not that of its record was not corrected");
        }
    }

    async fn apply(&self, rows: Rows) -> Result<Written, Failure> {
        if rows.ids.is_empty() {
            return Ok(Written::default());
        }
        match self.writes.run(|connection| async move { rows.write(&connection).await }).await {
            Ok(written) => {
                self.remember(&written.held);
                Ok(written)
            }
            Err(failure) if failure.lost_the_race() => Ok(Written::default()),
            Err(failure) => Err(failure),
        }
    }

    fn remember(&self, held: &HashSet<String>) {
        if !held.is_empty() {
            let (mut known, now) = (self.held(), Instant::now());
            known.retain(|_, until| *until > now);
            known.extend(held.iter().map(|id| (id.clone(), now + HELD)));
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Postgres {
    async fn read(&self, ids: &[&str]) -> Result<Vec<ReadOutcome>, StoreError> {
        let mut rows = self.0.rows(ids.iter().map(|&id| id.to_owned()).collect()).await?;
        Ok(ids.iter().map(|id| rows.remove(*id).unwrap_or(Ok(None))).collect())
    }

    async fn write(&self, writes: &[ConditionalWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
        let held = self.0.held().clone();
        let now = Instant::now();
        let kind_of = |write: &ConditionalWrite| match write.expected {
            None => Kind::New,
            Some(_) if held.get(&*write.id).is_some_and(|until| *until > now) => Kind::Held,
            Some(_) => Kind::Old,
        };
        let rows = |kind| {
            let rows = Rows::of(writes, kind, kind_of, self.0.audit);
            rows.map_err(|_| StoreError::nothing_written("a session cannot be stored"))
        };
        let (new, old, held) = tokio::join!(
            self.0.apply(rows(Kind::New)?),
            self.0.apply(rows(Kind::Old)?),
            self.0.apply(rows(Kind::Held)?)
        );
        let of = |write: &ConditionalWrite| match kind_of(write) {
            Kind::New => &new,
            Kind::Old => &old,
            Kind::Held => &held,
        };
        let outcome = |write: &ConditionalWrite| match of(write) {
            Ok(written) if written.made.contains(&*write.id) => WriteOutcome::Applied,
            Ok(written) if written.held.contains(&*write.id) => WriteOutcome::Busy,
            Ok(_) => WriteOutcome::Conflict,
            Err(failure) if failure.nothing_was_written() => WriteOutcome::Refused,
            Err(_) => WriteOutcome::Unknown,
        };
        let outcomes: Vec<_> = writes.iter().map(outcome).collect();
        let refused = outcomes.iter().all(|outcome| *outcome == WriteOutcome::Refused);
        let unknown = outcomes.iter().all(|outcome| *outcome == WriteOutcome::Unknown);
        match [new, old, held].into_iter().find_map(Result::err) {
            // The whole call failed, and in one way: its cause can be told.
            Some(failure) if refused || unknown => Err(failure.into()),
            _ => Ok(outcomes),
        }
    }
}

impl Purgeable for Postgres {
    async fn list_ended(
        &self,
        before: OffsetDateTime,
        after: Option<&EndedSession>,
        limit: usize,
    ) -> Result<Vec<EndedSession>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        // Nothing ended before the year 0, and no text is before the empty one.
        let Some(before) = to_column(before) else { return Ok(Vec::new()) };
        let (after, id) =
            after.and_then(|after| Some((to_column(after.ended_at)?, after.id.clone()))).unwrap_or_default();
        let rows = self.0.reads.run(|connection| async move {
            let parameters: [Parameter<'_>; 4] =
                [(&before, Type::TEXT), (&after, Type::TEXT), (&id, Type::TEXT), (&limit, Type::INT8)];
            connection.query(LIST_ENDED, &parameters).await
        });
        let rows = rows.await?.into_iter().map(|row| Ok((row.try_get(0)?, row.try_get::<_, String>(1)?)));
        let rows: Vec<(String, String)> = rows.collect::<Result<_, Failure>>()?;
        let listed = |(id, ended_at): (_, String)| Some(EndedSession { id, ended_at: from_column(&ended_at)? });
        Ok(rows.into_iter().filter_map(listed).collect())
    }

    async fn purge_audit(&self, before: OffsetDateTime, limit: usize) -> Result<Option<u64>, StoreError> {
        if !self.0.audit {
            return Ok(None);
        }
        let deleted =
            self.0.writes.run(move |connection| async move { audit::delete(&connection, before, limit).await });
        Ok(Some(deleted.await?))
    }
}

/// A moment in UTC as the column `ended_at` has it: to the second.
fn to_column(at: OffsetDateTime) -> Option<String> {
    let text = at.checked_to_offset(UtcOffset::UTC)?.replace_nanosecond(0).ok()?.format(&Rfc3339).ok()?;
    Some(text.trim_end_matches('Z').to_owned())
}

/// None: a day that no calendar has.
fn from_column(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339).ok()
}
