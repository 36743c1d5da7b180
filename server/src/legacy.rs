use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, PoolError, RecycleResult};
use midsession::AnySession;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use tokio::time::timeout;

/// Where the sessions live: one row a session, the crate's own record in it.
///
/// Sessions are changed without a lock or a transaction: by a write on condition of the revision that was read.
#[derive(Clone)]
pub struct Store(Connections);

#[derive(Clone)]
enum Connections {
    /// One file, one server, or a few on the same machine.
    Sqlite(Pool<SqliteConnectOptions>),
    /// Any number of servers.
    Postgres(Pool<PgConnectOptions>),
}

type Pool<O> = managed::Pool<Opener<O>>;

/// What each version of the schema adds to the one before. Append to it, change nothing.
const SCHEMA: [&str; 1] =
    ["CREATE TABLE sessions (id TEXT PRIMARY KEY, revision BIGINT NOT NULL, record TEXT NOT NULL)"];

const INSERT: &str = "INSERT INTO sessions (id, revision, record) VALUES ($1, $2, $3)";
const SELECT: &str = "SELECT record FROM sessions WHERE id = $1";
const UPDATE: &str = "UPDATE sessions SET revision = $1, record = $2 WHERE id = $3 AND revision = $4";

/// How often a session is decided anew after another server was first.
const ATTEMPTS: usize = 16;
/// What one request may take of the database's time.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(1);
/// How long SQLite waits for another process to have written: less than all the patience there is, to be told of it.
const BUSY: Duration = Duration::from_secs(3);
/// How long a connection may idle before it is tested ahead of its use.
const FRESH: Duration = Duration::from_secs(1);
const POSTGRES_CONNECTIONS: usize = 16;
/// Any number will do that no one else takes for an advisory lock.
const SCHEMA_LOCK: &str = "SELECT pg_advisory_xact_lock(7310582946120335)";

/// The same SQL on either database. A connection that failed is not used again.
macro_rules! on {
    ($store:expr, $connection:ident => $body:expr) => {
        match &$store.0 {
            Connections::Sqlite(pool) => on!(pool, $connection, $body),
            Connections::Postgres(pool) => on!(pool, $connection, $body),
        }
    };
    ($pool:ident, $connection:ident, $body:expr) => {{
        let mut object = $pool.get().await?;
        let $connection = &mut *object;
        let result = async { $body }.await;
        if result.is_err() {
            drop(Object::take(object));
        }
        result
    }};
}

impl Store {
    /// Opens the database at `url`, `sqlite://…` or `postgres://…`, and brings its schema up to date.
    ///
    /// # Errors
    /// The database cannot be reached, is none, or has a schema newer than this server's.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        let store = match url.split_once(':') {
            Some(("sqlite", _)) => Self::sqlite(url.parse()?)?,
            Some(("postgres" | "postgresql", _)) => Self::postgres(url.parse()?)?,
            _ => return Err(OpenError::Scheme),
        };
        store.migrate().await?;
        Ok(store)
    }

    fn sqlite(options: SqliteConnectOptions) -> Result<Self, OpenError> {
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // In WAL mode the default leaves the last commits to the next checkpoint.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .disable_statement_logging();
        // SQLite writes one at a time: a queue here is fairer than its busy handler's polling.
        Ok(Self(Connections::Sqlite(pool(options, 1)?)))
    }

    fn postgres(options: PgConnectOptions) -> Result<Self, OpenError> {
        let options = options.application_name("midsession-server").disable_statement_logging();
        Ok(Self(Connections::Postgres(pool(options, POSTGRES_CONNECTIONS)?)))
    }

    /// In one transaction that any other server at its start waits for.
    async fn migrate(&self) -> Result<(), OpenError> {
        let (begin, lock) = match &self.0 {
            Connections::Sqlite(_) => ("BEGIN IMMEDIATE", "SELECT 1"),
            Connections::Postgres(_) => ("BEGIN", SCHEMA_LOCK),
        };
        on!(self, connection => {
            let mut transaction = connection.begin_with(begin).await?;
            sqlx::query(lock).execute(&mut *transaction).await?;
            let versions = "CREATE TABLE IF NOT EXISTS midsession_schema (version BIGINT PRIMARY KEY)";
            sqlx::query(versions).execute(&mut *transaction).await?;
            let latest = "SELECT COALESCE(MAX(version), 0) FROM midsession_schema";
            let found: i64 = sqlx::query_scalar(latest).fetch_one(&mut *transaction).await?;
            if found > SCHEMA.len().try_into().unwrap_or(i64::MAX) {
                return Err(OpenError::Newer);
            }
            for (version, statement) in (1_i64..).zip(SCHEMA).filter(|(version, _)| *version > found) {
                sqlx::query(statement).execute(&mut *transaction).await?;
                let done = sqlx::query("INSERT INTO midsession_schema (version) VALUES ($1)").bind(version);
                done.execute(&mut *transaction).await?;
            }
            Ok(transaction.commit().await?)
        })
    }

    /// Stores a new session.
    ///
    /// # Errors
    /// The database did not do so.
    pub async fn insert(&self, id: &str, session: &AnySession) -> Result<(), StoreError> {
        let (revision, record) = to_columns(session)?;
        in_time(async {
            on!(self, connection => {
                sqlx::query(INSERT).bind(id).bind(revision).bind(record).execute(connection).await?;
                Ok(())
            })
        })
        .await
    }

    /// The session stored under `id`.
    ///
    /// # Errors
    /// The database did not answer, or what it holds is no session.
    pub async fn load(&self, id: &str) -> Result<Option<AnySession>, StoreError> {
        self.change(id, |session| (session.cloned(), None)).await
    }

    /// Changes one session: loads it, decides, and writes what was decided if no one else wrote meanwhile. Else it
    /// decides again, on the session as it is then. Where there is nothing to write, there is no write.
    ///
    /// # Errors
    /// The database did not answer, or what it holds is no session; others were first again and again. Whether the
    /// change was made is then not known.
    pub async fn change<T>(
        &self,
        id: &str,
        decide: impl Fn(Option<&AnySession>) -> (T, Option<AnySession>),
    ) -> Result<T, StoreError> {
        in_time(async {
            on!(self, connection => {
                for _ in 0..ATTEMPTS {
                    let found = sqlx::query_scalar(SELECT).bind(id).fetch_optional(&mut *connection).await?;
                    let found = found.map(|record: String| serde_json::from_str(&record)).transpose()?;
                    let (answer, next) = decide(found.as_ref());
                    let Some(next) = next else { return Ok(answer) };
                    let revision = found.as_ref().map_or(0, AnySession::revision).cast_signed();
                    let (next_revision, record) = to_columns(&next)?;
                    let update = sqlx::query(UPDATE).bind(next_revision).bind(record).bind(id).bind(revision);
                    if update.execute(&mut *connection).await?.rows_affected() == 1 {
                        return Ok(answer);
                    }
                }
                Err(StoreError::Contended)
            })
        })
        .await
    }

    /// Whether the database answers, and still has the sessions.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        in_time(async {
            // Not `SELECT 1`, which SQLite answers without a look at its file.
            on!(self, connection => {
                sqlx::query(SELECT).bind("").execute(connection).await?;
                Ok(())
            })
        })
        .await
    }
}

/// Opens the connections of a pool, and tests those that idled.
///
/// sqlx has a pool of its own, which asks the database after each use whether the connection still works: a third round
/// trip beside the two of a link.
struct Opener<O>(O);

impl<O: ConnectOptions<Connection: Sized>> managed::Manager for Opener<O> {
    type Type = O::Connection;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<O::Connection, sqlx::Error> {
        self.0.connect().await
    }

    async fn recycle(&self, connection: &mut O::Connection, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if metrics.last_used() > FRESH {
            connection.ping().await?;
        }
        Ok(())
    }
}

fn pool<O: ConnectOptions<Connection: Sized>>(options: O, connections: usize) -> Result<Pool<O>, OpenError> {
    let pool = Pool::builder(Opener(options)).runtime(deadpool::Runtime::Tokio1).max_size(connections);
    Ok(pool.wait_timeout(Some(ACQUIRE)).create_timeout(Some(ACQUIRE)).recycle_timeout(Some(ACQUIRE)).build()?)
}

/// The revision is compared for being equal and nothing else, so its bits are enough of it.
fn to_columns(session: &AnySession) -> Result<(i64, String), serde_json::Error> {
    Ok((session.revision().cast_signed(), serde_json::to_string(session)?))
}

async fn in_time<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(PATIENCE, work).await.unwrap_or(Err(StoreError::Silent))
}

/// Why the database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No URL of a database that it knows.
    #[error("its URL must begin with sqlite:// or postgres://")]
    Scheme,
    /// It does not answer.
    #[error("it does not answer")]
    Silent,
    /// A later release of this server was here.
    #[error("its schema is newer than this server: start a later release")]
    Newer,
    /// The database's own word.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The runtime lacks what the pool needs.
    #[error(transparent)]
    Pool(#[from] managed::BuildError),
}

impl From<PoolError<sqlx::Error>> for OpenError {
    fn from(error: PoolError<sqlx::Error>) -> Self {
        match error {
            PoolError::Backend(error) => Self::Database(error),
            _ => Self::Silent,
        }
    }
}

/// Why a session was not read or written. `Display` is fit for a log: it repeats nothing that is stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused, or could not be reached.
    #[error("the database failed: {}", reason(.0))]
    Database(#[from] sqlx::Error),
    /// The database took too long.
    #[error("the database does not answer")]
    Silent,
    /// Others changed the session again and again.
    #[error("others changed the session again and again")]
    Contended,
    /// What is stored is no session, or the session cannot be stored.
    #[error("{0}")]
    Record(#[from] serde_json::Error),
}

impl From<PoolError<sqlx::Error>> for StoreError {
    fn from(error: PoolError<sqlx::Error>) -> Self {
        match error {
            PoolError::Backend(error) => Self::Database(error),
            _ => Self::Silent,
        }
    }
}

/// A database's own messages may repeat values; its codes do not.
fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => format!("code {}", error.code().unwrap_or_default()),
        sqlx::Error::Io(error) => error.kind().to_string(),
        _ => "the connection broke".to_owned(),
    }
}

/// Until its successor has landed.
impl crate::Store for Store {
    async fn read(&self, ids: &[&str]) -> Result<Vec<crate::Found>, crate::StoreError> {
        let mut found = Vec::new();
        for id in ids {
            found.push(match self.load(id).await {
                Ok(session) => Ok(session),
                Err(StoreError::Record(error)) => Err(error.into()),
                Err(error) => return Err(crate::StoreError::new(error.to_string())),
            });
        }
        Ok(found)
    }

    async fn write(&self, changes: &[crate::Change]) -> Result<Vec<crate::Written>, crate::StoreError> {
        let mut written = Vec::new();
        for change in changes {
            let Some(expected) = change.expected else {
                let inserted = self.insert(&change.id, &change.next).await;
                written.push(inserted.map_or(crate::Written::Unknown, |()| crate::Written::Yes));
                continue;
            };
            let replace = |found: Option<&AnySession>| match found {
                Some(found) if found.revision() == expected => (crate::Written::Yes, Some(change.next.clone())),
                _ => (crate::Written::No, None),
            };
            written.push(self.change(&change.id, replace).await.unwrap_or(crate::Written::Unknown));
        }
        Ok(written)
    }
}
