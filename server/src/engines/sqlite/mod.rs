//! SQLite: one file, and one server that has it.

mod audit;
mod backup;
mod connect;
mod error;
mod file;
mod lock;
mod row;
mod schema;
mod scrub;
mod threads;
mod upkeep;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, MAIN_DB, TransactionBehavior, params};
use time::OffsetDateTime;
use tokio::sync::oneshot;

use self::backup::back_up;
use self::connect::{connect, writer};
pub use self::error::SqliteOpenError;
use self::error::{failed, is_busy, nothing_written};
use self::file::{File, create, path, still_there};
use self::lock::{Lock, is_safe_beside};
use self::row::{Row, find};
use self::schema::{SESSIONS, migrate};
use self::scrub::empty_log;
use self::threads::ThreadPool;
use self::upkeep::{Running, Upkeep};
use crate::engines::audit::{Audit, to_ms};
use crate::retention::{EndedSession, Purgeable};
use crate::store::{ConditionalWrite, ReadOutcome, SessionChange, Store, StoreError, WriteOutcome};

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
///
/// What is erased is overwritten: in the table at once, in the log and in the unused parts of the file within some seconds.
#[derive(Clone)]
pub struct Sqlite(Arc<Inner>);

struct Inner {
    readers: ThreadPool,
    /// It also reads for a database in memory, which has one connection.
    writer: ThreadPool,
    file: Option<File>,
    upkeep: Option<Upkeep>,
    /// None beside a server, which does it.
    running: Option<Running>,
    lock: Mutex<Option<Lock>>,
    /// Whether changes are written to the audit, too.
    audit: AtomicBool,
}

/// What a process has the file for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Server,
    /// A task beside a server, if there is one.
    Beside,
}

impl Sqlite {
    /// Opens the database at `url` for a server, and brings its schema up to date. `busy` is how long a write waits for
    /// another process that writes: less than a request's time-out.
    ///
    /// The URL is `sqlite://FILE`, its path percent-encoded, or `sqlite::memory:`.
    ///
    /// # Errors
    /// - The URL is not one of these.
    /// - Another server has the file.
    /// - The file cannot be opened, is read-only, or is not a database.
    /// - Its schema is newer than this server's.
    /// - Another process holds its lock for 10 seconds.
    pub async fn open(url: &str, busy: Duration) -> Result<Self, SqliteOpenError> {
        Self::open_as(Role::Server, url, busy).await
    }

    /// The same for a short task, such as [`purge`](crate::purge), which works beside a server that has the file.
    ///
    /// # Errors
    /// - Those of [`open`](Self::open), but that of another server.
    /// - A server has the file, and one of those beside it was deleted.
    pub async fn open_beside(url: &str, busy: Duration) -> Result<Self, SqliteOpenError> {
        Self::open_as(Role::Beside, url, busy).await
    }

    /// Brings the schema of the database at `url` to `version`, for a server of an earlier release. None may have the file.
    ///
    /// # Errors
    /// - Those of [`open`](Self::open).
    /// - There is no such version.
    pub async fn migrate(url: &str, busy: Duration, version: u32) -> Result<(), SqliteOpenError> {
        let path = path(url)?.ok_or(SqliteOpenError::NoFile)?;
        blocking(move || {
            create(&path)?;
            let _lock = enter(Role::Server, &path)?;
            when_free(|| migrate(&mut writer(&path, busy)?, &SESSIONS, version))
        })
        .await
    }

    /// Copies the database at `url` to a new file `to`, while a server works on it, and reads the copy to the end. The copy
    /// is one state of the database, and readable by its owner only. Answers how many sessions it has.
    ///
    /// # Errors
    /// - The URL is another, or the database cannot be opened.
    /// - `to` is there already, or cannot be written.
    /// - The copy is not whole, since the database is damaged.
    pub async fn backup(url: &str, busy: Duration, to: &Path) -> Result<u64, SqliteOpenError> {
        let (path, to) = (path(url)?.ok_or(SqliteOpenError::NoFile)?, to.to_owned());
        blocking(move || {
            is_safe_beside(&path)?;
            back_up(&connect(&path, busy)?, &to)
        })
        .await
    }

    async fn open_as(role: Role, url: &str, busy: Duration) -> Result<Self, SqliteOpenError> {
        let path = path(url)?;
        let opening = move || match path {
            Some(path) => Self::open_file(role, &path, busy),
            None => Self::open_in_memory(),
        };
        blocking(opening).await
    }

    fn open_in_memory() -> Result<Self, SqliteOpenError> {
        tracing::warn!("sqlite::memory: keeps the sessions only as long as the server runs");
        let mut connection = Connection::open_in_memory()?;
        migrate(&mut connection, &SESSIONS, SESSIONS.latest())?;
        let writer = ThreadPool::start("sqlite", vec![connection])?;
        let (file, upkeep, running, lock) = (None, None, None, Mutex::default());
        let audit = AtomicBool::new(false);
        Ok(Self(Arc::new(Inner { readers: writer.clone(), writer, file, upkeep, running, lock, audit })))
    }

    fn open_file(role: Role, path: &Path, busy: Duration) -> Result<Self, SqliteOpenError> {
        create(path)?;
        let lock = enter(role, path)?;
        let writer = when_free(|| {
            let mut writer = writer(path, busy)?;
            migrate(&mut writer, &SESSIONS, SESSIONS.latest())?;
            Ok(writer)
        })?;
        let readers = (0..READERS).map(|_| connect(path, busy)).collect::<Result<_, _>>()?;
        let readers = ThreadPool::start("sqlite-read", readers)?;
        let writer = ThreadPool::start("sqlite-write", vec![writer])?;
        let upkeep = Upkeep::of(path, busy, writer.clone())?;
        let running = lock.as_ref().map(|_| upkeep.clone().run()).transpose()?;
        let file = Some(File::at(path, lock.is_some())?);
        let (upkeep, lock, audit) = (Some(upkeep), Mutex::new(lock), AtomicBool::new(false));
        Ok(Self(Arc::new(Inner { readers, writer, file, upkeep, running, lock, audit })))
    }

    /// Says whether an audit is written from now on: a row in the table `midsession_audit` for each accepted link, end and
    /// erasure, in the transaction of the change itself. Without this call, none is.
    ///
    /// # Errors
    /// - The table cannot be made, or is a later release's.
    pub async fn audit(&self, audit: Audit) -> Result<(), SqliteOpenError> {
        let prepare = move |connection: &mut Connection| Ok(when_free(|| audit::prepare(connection, audit)));
        let is_on = self.0.writer.call(prepare).await.map_err(|_| SqliteOpenError::Stopped)??;
        self.0.audit.store(is_on, Ordering::Relaxed);
        Ok(())
    }

    /// Finishes what was asked for, and closes the file. A copy of it without its log is then whole. Later calls fail.
    pub async fn close(&self) {
        let inner = self.0.clone();
        let closing = move || {
            if let Some(running) = &inner.running {
                running.stop();
            }
            inner.readers.stop();
            // The last connection: SQLite itself moves everything. If another process has the file open, this does it.
            let (done, _waiting) = oneshot::channel();
            let _ = inner.writer.ask(done, |connection| empty_log(connection).map_err(failed));
            inner.writer.stop();
            inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        };
        // It does not panic, and nothing is to be done if the runtime stops first.
        let _ = tokio::task::spawn_blocking(closing).await;
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SqliteOpenError> + Send + 'static,
) -> Result<T, SqliteOpenError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(SqliteOpenError::Stopped))
}

/// The lock, for a server. Looks first whether the file may be written at all.
fn enter(role: Role, path: &Path) -> Result<Option<Lock>, SqliteOpenError> {
    if connect(path, Duration::ZERO)?.is_readonly(MAIN_DB)? {
        return Err(SqliteOpenError::ReadOnly);
    }
    match role {
        Role::Server => Lock::take(path).map(Some),
        Role::Beside => is_safe_beside(path).map(|()| None),
    }
}

/// Tries again while other processes hold a lock: SQLite does not wait for every lock by itself.
fn when_free<T>(mut open: impl FnMut() -> Result<T, SqliteOpenError>) -> Result<T, SqliteOpenError> {
    let started = Instant::now();
    loop {
        match open() {
            Err(SqliteOpenError::Sqlite(error)) if is_busy(&error) && started.elapsed() < OPENING => {
                thread::sleep(OPEN_AGAIN);
            }
            opened => return opened,
        }
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
        let audit = self.0.audit.load(Ordering::Relaxed);
        let rows = writes.iter().map(|write| Row::new(write, audit)).collect::<Result<Vec<_>, _>>()?;
        let file = self.0.file.clone();
        let erases = writes.iter().flat_map(|write| &write.changes).any(|change| change.kind == SessionChange::Erased);
        let upkeep = self.0.upkeep.clone().filter(|_| erases);
        let write = move |connection: &mut Connection| {
            still_there(file.as_ref())?;
            let behavior = TransactionBehavior::Immediate;
            let transaction = connection.transaction_with_behavior(behavior).map_err(nothing_written)?;
            let written: Result<_, _> = rows.iter().map(|row| row.write(&transaction)).collect();
            let written = written.map_err(nothing_written)?;
            let committed = transaction.commit();
            // Also if it is not known whether it was.
            if let Some(upkeep) = upkeep {
                upkeep.erased();
            }
            committed.map_err(|error| match error.sqlite_error_code() {
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

    async fn purge_audit(&self, before: OffsetDateTime, limit: usize) -> Result<Option<u64>, StoreError> {
        if !self.0.audit.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let file = self.0.file.clone();
        let delete = move |connection: &mut Connection| {
            still_there(file.as_ref())?;
            audit::delete(connection, to_ms(before), limit).map(Some)
        };
        self.0.writer.call(delete).await
    }

    async fn scrub(&self) -> Result<(), StoreError> {
        let Some(upkeep) = self.0.upkeep.clone() else { return Ok(()) };
        let scrubbed = tokio::task::spawn_blocking(move || upkeep.scrub()).await;
        scrubbed.unwrap_or_else(|_| Err(StoreError::new("the process stops")))
    }
}

fn ended(row: &rusqlite::Row<'_>) -> rusqlite::Result<EndedSession> {
    let ended_at = OffsetDateTime::from_unix_timestamp(row.get(1)?);
    // SQLite reads no year that is out of range.
    Ok(EndedSession { id: row.get(0)?, ended_at: ended_at.unwrap_or(OffsetDateTime::UNIX_EPOCH) })
}
