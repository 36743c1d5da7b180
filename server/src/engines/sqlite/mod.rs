//! SQLite: one file, and one server that has it.

mod connect;
mod error;
mod file;
mod schema;
mod threads;

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::de::Error as _;
use time::OffsetDateTime;
use tokio::sync::oneshot;

use self::connect::{connect, writer};
pub use self::error::SqliteOpenError;
use self::error::{failed, is_busy, nothing_written};
use self::file::{File, create, path, still_there};
use self::schema::{LATEST, migrate};
use self::threads::ThreadPool;
use crate::retention::{EndedSession, Purgeable};
use crate::store::{ConditionalWrite, ReadOutcome, Store, StoreError, UnreadableRecord, WriteOutcome};

const SELECT: &str = "SELECT record FROM sessions WHERE id = ?1";
const INSERT: &str = "INSERT INTO sessions (id, revision, record) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING";
const UPDATE: &str = "UPDATE sessions SET revision = ?2, record = ?3 WHERE id = ?1 AND revision = ?4";

/// By the partial index, so that its size is what it costs.
const LIST_ENDED: &str = "SELECT id, ended_at FROM sessions INDEXED BY sessions_by_end \
                          WHERE ended_at <= ?1 AND (ended_at, id) > (?2, ?3) ORDER BY ended_at, id LIMIT ?4";

/// How long a start waits for other processes, such as servers that start at the same time.
const OPENING: Duration = Duration::from_secs(10);
/// The pause before an opening is tried again: SQLite does not wait for every lock by itself.
const OPEN_AGAIN: Duration = Duration::from_millis(20);
/// How many threads read.
const READERS: usize = 2;

/// Sessions in an SQLite file, one row each. A clone is another handle of the same.
///
/// One thread writes, many changes in one transaction; others read, and never wait behind it. A commit is flushed to the
/// disk before it is answered (`synchronous=FULL`). The file is created readable by its owner only.
#[derive(Clone)]
pub struct Sqlite(Arc<Inner>);

struct Inner {
    readers: ThreadPool,
    /// It also reads for a database in memory, which has one connection.
    writer: ThreadPool,
    file: Option<File>,
}

impl Sqlite {
    /// Opens the database at `url`, and brings its schema up to date. `busy` is how long a write waits for another
    /// process that writes: less than a request's time-out.
    ///
    /// The URL is `sqlite://FILE`, its path percent-encoded, or `sqlite::memory:`.
    ///
    /// # Errors
    /// - The URL is not one of these.
    /// - The file cannot be opened, is read-only, or is not a database.
    /// - Its schema is newer than this server's.
    /// - Another process holds its lock for 10 seconds.
    pub async fn open(url: &str, busy: Duration) -> Result<Self, SqliteOpenError> {
        let path = path(url)?;
        let opening = move || Self::open_blocking(path.as_deref(), busy);
        tokio::task::spawn_blocking(opening).await.unwrap_or(Err(SqliteOpenError::Stopped))
    }

    fn open_blocking(path: Option<&Path>, busy: Duration) -> Result<Self, SqliteOpenError> {
        let Some(path) = path else {
            tracing::warn!("sqlite::memory: keeps the sessions only as long as the server runs");
            let mut connection = Connection::open_in_memory()?;
            migrate(&mut connection, LATEST)?;
            let writer = ThreadPool::start("sqlite", vec![connection])?;
            return Ok(Self(Arc::new(Inner { readers: writer.clone(), writer, file: None })));
        };
        create(path)?;
        let started = Instant::now();
        let writer = loop {
            let opened = writer(path, busy).and_then(|mut writer| migrate(&mut writer, LATEST).map(|()| writer));
            match opened {
                Err(SqliteOpenError::Sqlite(error)) if is_busy(&error) && started.elapsed() < OPENING => {
                    thread::sleep(OPEN_AGAIN);
                }
                opened => break opened?,
            }
        };
        let readers = (0..READERS).map(|_| connect(path, busy)).collect::<Result<_, _>>()?;
        let readers = ThreadPool::start("sqlite-read", readers)?;
        let writer = ThreadPool::start("sqlite-write", vec![writer])?;
        Ok(Self(Arc::new(Inner { readers, writer, file: Some(File::at(path)?) })))
    }

    /// Finishes what was asked for, moves everything from the write-ahead log to the file, and closes it. A copy of the
    /// file alone is then whole. Later calls fail.
    pub async fn close(&self) {
        let inner = self.0.clone();
        let closing = move || {
            inner.readers.stop();
            // The last connection: SQLite itself moves everything. If another process has the file open, this does it.
            let (done, _waiting) = oneshot::channel();
            let _ = inner.writer.ask(done, |connection| {
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(())).map_err(failed)
            });
            inner.writer.stop();
        };
        // It does not panic, and nothing is to be done if the runtime stops first.
        let _ = tokio::task::spawn_blocking(closing).await;
    }
}

impl Store for Sqlite {
    async fn read(&self, ids: &[&str]) -> Result<Vec<ReadOutcome>, StoreError> {
        let ids: Vec<String> = ids.iter().map(|&id| id.to_owned()).collect();
        let file = self.0.file.clone();
        let read = move |connection: &mut Connection| {
            still_there(file.as_ref())?;
            if let [id] = &*ids {
                return Ok(vec![find(connection, id).map_err(failed)?]);
            }
            // Of one state of the database, and with one pair of locks.
            let transaction = connection.transaction().map_err(failed)?;
            let found = ids.iter().map(|id| find(&transaction, id)).collect::<Result<_, _>>().map_err(failed)?;
            transaction.commit().map_err(failed)?;
            Ok(found)
        };
        self.0.readers.call(read).await
    }

    async fn write(&self, writes: &[ConditionalWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
        let rows = writes.iter().map(Row::new).collect::<Result<Vec<_>, _>>()?;
        let file = self.0.file.clone();
        let write = move |connection: &mut Connection| {
            still_there(file.as_ref())?;
            let behavior = TransactionBehavior::Immediate;
            let transaction = connection.transaction_with_behavior(behavior).map_err(nothing_written)?;
            let written: Result<_, _> = rows.iter().map(|row| row.write(&transaction)).collect();
            let written = written.map_err(nothing_written)?;
            transaction.commit().map_err(|error| match error.sqlite_error_code() {
                // The commit's last page did not make it to the log, so that it is none.
                Some(ErrorCode::DiskFull) => nothing_written(error),
                // The log may have the commit, to be found by whoever opens the database next.
                _ => failed(error),
            })?;
            // It may have been replaced meanwhile: then nobody will find what was written.
            still_there(file.as_ref()).map_err(|error| StoreError::new(error.to_string()))?;
            Ok(written)
        };
        self.0.writer.call(write).await
    }
}

impl Purgeable for Sqlite {
    async fn list_ended(
        &self,
        before: OffsetDateTime,
        after: Option<&EndedSession>,
        limit: usize,
    ) -> Result<Vec<EndedSession>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let (second, id) =
            after.map_or((i64::MIN, String::new()), |after| (after.ended_at.unix_timestamp(), after.id.clone()));
        let file = self.0.file.clone();
        let list = move |connection: &mut Connection| {
            still_there(file.as_ref())?;
            let mut select = connection.prepare_cached(LIST_ENDED).map_err(failed)?;
            let rows = select.query_map(params![before.unix_timestamp(), second, id, limit], ended).map_err(failed)?;
            rows.collect::<Result<_, _>>().map_err(failed)
        };
        self.0.readers.call(list).await
    }
}

fn ended(row: &rusqlite::Row<'_>) -> rusqlite::Result<EndedSession> {
    let ended_at = OffsetDateTime::from_unix_timestamp(row.get(1)?);
    // SQLite reads no year that is out of range.
    Ok(EndedSession { id: row.get(0)?, ended_at: ended_at.unwrap_or(OffsetDateTime::UNIX_EPOCH) })
}

fn find(connection: &Connection, id: &str) -> rusqlite::Result<ReadOutcome> {
    let mut select = connection.prepare_cached(SELECT)?;
    let record = select.query_row([id], |row| {
        let text = row.get_ref(0)?.as_str();
        Ok(text.map_err(|_| serde_json::Error::custom("the stored session is not text")).and_then(serde_json::from_str))
    });
    Ok(record.optional()?.transpose().map_err(UnreadableRecord::from))
}

/// A write, as the database takes it. The revision is compared for being equal and nothing else, so its bits are enough.
struct Row {
    id: Arc<str>,
    expected: Option<i64>,
    revision: i64,
    record: String,
}

impl Row {
    fn new(write: &ConditionalWrite) -> Result<Self, StoreError> {
        let record = serde_json::to_string(&write.next);
        Ok(Self {
            id: write.id.clone(),
            expected: write.expected.map(u64::cast_signed),
            revision: write.next.revision().cast_signed(),
            record: record.map_err(|_| StoreError::nothing_written("a session has no stored form"))?,
        })
    }

    fn write(&self, transaction: &Transaction<'_>) -> rusqlite::Result<WriteOutcome> {
        let Self { id, expected, revision, record } = self;
        let rows = match expected {
            None => transaction.prepare_cached(INSERT)?.execute(params![id, revision, record])?,
            Some(expected) => transaction.prepare_cached(UPDATE)?.execute(params![id, revision, record, expected])?,
        };
        Ok(if rows == 1 { WriteOutcome::Applied } else { WriteOutcome::Conflict })
    }
}
