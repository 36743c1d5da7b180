//! SQLite: one file, one server or a few on the same machine.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use percent_encoding::percent_decode_str;
use rusqlite::{
    Connection, ErrorCode, MAIN_DB, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};
use serde::de::Error as _;
use tokio::sync::oneshot;

use crate::{Change, Found, Scan, Store, StoreError, UnreadableRecord, Written};

/// What each version of the schema adds to the one before. Append to it, change nothing.
const SCHEMA: [&str; 1] =
    ["CREATE TABLE sessions (id TEXT PRIMARY KEY, revision BIGINT NOT NULL, record TEXT NOT NULL)"];

const SELECT: &str = "SELECT record FROM sessions WHERE id = ?1";
const INSERT: &str = "INSERT INTO sessions (id, revision, record) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING";
const UPDATE: &str = "UPDATE sessions SET revision = ?2, record = ?3 WHERE id = ?1 AND revision = ?4";

/// No id is empty.
const SCAN: &str = "SELECT id FROM sessions WHERE id > ?1 ORDER BY id LIMIT ?2";

/// How long a start waits for other processes, such as servers that start at the same time.
const OPENING: Duration = Duration::from_secs(10);
/// The pause before an opening is tried again: SQLite does not wait for every lock by itself.
const OPEN_AGAIN: Duration = Duration::from_millis(20);
/// How long the write-ahead log grows before it is moved into the file: 64 MiB. All links wait for that, and a session
/// that was written often is moved once.
const CHECKPOINT_PAGES: i32 = 16_384;
/// How much of the database the writer keeps in memory. Readers forget what they have at each write anyway.
const WRITER_CACHE_KIB: i32 = 8 * 1024;
/// How many threads read.
const READERS: usize = 2;
/// How many calls may wait for a thread. A lane has one under way, so this is plenty.
const WAITING_MAX: usize = 256;

/// Sessions in an SQLite file, one row each. A clone is another handle of the same.
///
/// One thread writes, many changes in one transaction; others read, and never wait behind it. A commit is flushed to the
/// disk before it is answered (`synchronous=FULL`). The file is created readable by its owner only.
#[derive(Clone)]
pub struct Sqlite(Arc<Inner>);

struct Inner {
    readers: Workers,
    /// It also reads for a database in memory, which has one connection.
    writer: Workers,
    file: Option<File>,
}

impl Sqlite {
    /// Opens the database at `url`, and brings its schema up to date. `busy` is how long a write waits for another
    /// process that writes: less than a request's patience.
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
            migrate(&mut connection)?;
            let writer = Workers::start("sqlite", vec![connection])?;
            return Ok(Self(Arc::new(Inner { readers: writer.clone(), writer, file: None })));
        };
        create(path)?;
        let started = Instant::now();
        let writer = loop {
            match writer(path, busy) {
                Err(SqliteOpenError::Sqlite(error)) if is_busy(&error) && started.elapsed() < OPENING => {
                    thread::sleep(OPEN_AGAIN);
                }
                opened => break opened?,
            }
        };
        let readers = (0..READERS).map(|_| connect(path, busy)).collect::<Result<_, _>>()?;
        let readers = Workers::start("sqlite-read", readers)?;
        let writer = Workers::start("sqlite-write", vec![writer])?;
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
    async fn read(&self, ids: &[&str]) -> Result<Vec<Found>, StoreError> {
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

    async fn write(&self, changes: &[Change]) -> Result<Vec<Written>, StoreError> {
        let rows = changes.iter().map(Row::new).collect::<Result<Vec<_>, _>>()?;
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

impl Scan for Sqlite {
    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError> {
        let after = after.unwrap_or_default().to_owned();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let file = self.0.file.clone();
        let scan = move |connection: &mut Connection| {
            still_there(file.as_ref())?;
            let mut select = connection.prepare_cached(SCAN).map_err(failed)?;
            let ids = select.query_map(params![after, limit], |row| row.get(0)).map_err(failed)?;
            ids.collect::<Result<_, _>>().map_err(failed)
        };
        self.0.readers.call(scan).await
    }
}

fn find(connection: &Connection, id: &str) -> rusqlite::Result<Found> {
    let mut select = connection.prepare_cached(SELECT)?;
    let record = select.query_row([id], |row| {
        let text = row.get_ref(0)?.as_str();
        Ok(text.map_err(|_| serde_json::Error::custom("the stored session is not text")).and_then(serde_json::from_str))
    });
    Ok(record.optional()?.transpose().map_err(UnreadableRecord::from))
}

/// A change, as the database takes it. The revision is compared for being equal and nothing else, so its bits are enough.
struct Row {
    id: String,
    expected: Option<i64>,
    revision: i64,
    record: String,
}

impl Row {
    fn new(change: &Change) -> Result<Self, StoreError> {
        let record = serde_json::to_string(&change.next);
        Ok(Self {
            id: change.id.clone(),
            expected: change.expected.map(u64::cast_signed),
            revision: change.next.revision().cast_signed(),
            record: record.map_err(|_| StoreError::nothing_written("a session has no stored form"))?,
        })
    }

    fn write(&self, transaction: &Transaction<'_>) -> rusqlite::Result<Written> {
        let Self { id, expected, revision, record } = self;
        let rows = match expected {
            None => transaction.prepare_cached(INSERT)?.execute(params![id, revision, record])?,
            Some(expected) => transaction.prepare_cached(UPDATE)?.execute(params![id, revision, record, expected])?,
        };
        Ok(if rows == 1 { Written::Yes } else { Written::No })
    }
}

/// Threads that work on a connection each. A clone is another handle of the same.
#[derive(Clone)]
struct Workers(Arc<Crew>);

#[derive(Default)]
struct Crew {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// A channel would have idle threads wait for each other, too: a few more switches for each job.
#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something is in the queue, or nothing more will be.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

impl Workers {
    fn start(name: &str, connections: Vec<Connection>) -> io::Result<Self> {
        let crew = Crew::default();
        for connection in connections {
            let shared = crew.shared.clone();
            let thread = thread::Builder::new().name(name.to_owned()).spawn(move || shared.work(connection))?;
            crew.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(Self(Arc::new(crew)))
    }

    /// Has a thread do it, unless no one waits for it any more when its turn comes.
    async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask(reply, job)?;
        answer.await.unwrap_or_else(|_| Err(StoreError::new("its thread is gone")))
    }

    fn ask<T: Send + 'static>(
        &self,
        reply: oneshot::Sender<Result<T, StoreError>>,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let job: Job = Box::new(move |connection| {
            if !reply.is_closed() {
                let _ = reply.send(job(connection));
            }
        });
        let mut queue = self.0.shared.queue();
        if queue.closed {
            return Err(StoreError::nothing_written("it is closed"));
        }
        if queue.jobs.len() >= WAITING_MAX {
            return Err(StoreError::nothing_written("too many calls wait"));
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.0.shared.changed.notify_one();
        Ok(())
    }

    /// Waits until the threads have done what they were asked, and have closed their connections.
    fn stop(&self) {
        self.0.shared.close();
        let threads = std::mem::take(&mut *self.0.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.queue().closed = true;
        self.changed.notify_all();
    }

    fn work(&self, mut connection: Connection) {
        while let Some(job) = self.next() {
            job(&mut connection);
        }
    }

    /// None: nothing more will come.
    fn next(&self) -> Option<Job> {
        let idle = |queue: &mut Queue| queue.jobs.is_empty() && !queue.closed;
        let queue = self.changed.wait_while(self.queue(), idle);
        queue.unwrap_or_else(PoisonError::into_inner).jobs.pop_front()
    }
}

/// The database's files, and what was found there at the start.
#[derive(Clone)]
struct File(Arc<[(PathBuf, Identity)]>);

/// Device and inode.
type Identity = (u64, u64);

impl File {
    /// The log is there as long as anyone has the database open.
    fn at(path: &Path) -> io::Result<Self> {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let files = [path.to_owned(), PathBuf::from(log)];
        files
            .into_iter()
            .map(|path| identity(&path).map(|identity| (path, identity)))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn identity(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

/// What is written to a file that was deleted or replaced is lost, and SQLite does not notice.
fn still_there(file: Option<&File>) -> Result<(), StoreError> {
    let Some(File(files)) = file else { return Ok(()) };
    let there = files.iter().all(|(path, expected)| identity(path).is_ok_and(|found| found == *expected));
    there
        .then_some(())
        .ok_or_else(|| StoreError::nothing_written("its file was deleted or replaced: restart the server"))
}

/// None: in memory.
fn path(url: &str) -> Result<Option<PathBuf>, SqliteOpenError> {
    let rest = url.strip_prefix("sqlite:").ok_or(SqliteOpenError::Url)?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    if rest.contains(['?', '#']) || rest.is_empty() {
        return Err(SqliteOpenError::Url);
    }
    let path = percent_decode_str(rest).decode_utf8().map_err(|_| SqliteOpenError::Url)?;
    Ok((path != ":memory:").then(|| PathBuf::from(&*path)))
}

/// SQLite would make it readable by all. What it creates beside it has the file's own mode.
fn create(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        // To open it once more later would be a mistake: closing it then takes SQLite's locks away.
        _ => Ok(()),
    }
}

fn connect(path: &Path, busy: Duration) -> rusqlite::Result<Connection> {
    // Not to be created again, should it be gone by now; and its name is no URI.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy)?;
    Ok(connection)
}

fn writer(path: &Path, busy: Duration) -> Result<Connection, SqliteOpenError> {
    let mut connection = connect(path, busy)?;
    if connection.is_readonly(MAIN_DB)? {
        return Err(SqliteOpenError::ReadOnly);
    }
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0))?;
    if mode != "wal" {
        return Err(SqliteOpenError::NoLog);
    }
    // The default of this mode leaves the last commits to the next checkpoint.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    migrate(&mut connection)?;
    Ok(connection)
}

/// In one transaction that any other server at its start waits for.
fn migrate(connection: &mut Connection) -> Result<(), SqliteOpenError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("CREATE TABLE IF NOT EXISTS midsession_schema (version BIGINT PRIMARY KEY)", ())?;
    let latest = "SELECT COALESCE(MAX(version), 0) FROM midsession_schema";
    let found: u32 = transaction.query_row(latest, (), |row| row.get(0))?;
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    if found > SCHEMA.len() {
        return Err(SqliteOpenError::Newer);
    }
    for (version, statement) in (1_u32..).zip(SCHEMA).skip(found) {
        transaction.execute(statement, ())?;
        transaction.execute("INSERT INTO midsession_schema (version) VALUES (?1)", [version])?;
    }
    Ok(transaction.commit()?)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Its own messages may repeat values; its codes, and what it calls them, do not.
fn cause(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(error, _) => {
            let word = rusqlite::ffi::code_to_str(error.extended_code);
            format!("code {}, {}", error.extended_code, word.to_lowercase())
        }
        _ => "an answer of another form".to_owned(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is called by `map_err`")]
fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::new(cause(&error))
}

#[expect(clippy::needless_pass_by_value, reason = "it is called by `map_err`")]
fn nothing_written(error: rusqlite::Error) -> StoreError {
    StoreError::nothing_written(cause(&error))
}

/// Why an SQLite database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SqliteOpenError {
    /// The URL is of another form.
    #[error("its URL must be sqlite://FILE without parameters, or sqlite::memory:")]
    Url,
    /// The file may not be written, or its file system is mounted so.
    #[error("the file is read-only")]
    ReadOnly,
    /// SQLite cannot keep its write-ahead log here, as on some network file systems.
    #[error("SQLite cannot keep a write-ahead log in this folder")]
    NoLog,
    /// A later release of this server was here.
    #[error("its schema is newer than this server: start a later release")]
    Newer,
    /// The server stops.
    #[error("the server stops")]
    Stopped,
    /// The file cannot be opened or created.
    #[error(transparent)]
    File(#[from] io::Error),
    /// SQLite refused.
    #[error("{}", cause(.0))]
    Sqlite(#[from] rusqlite::Error),
}
