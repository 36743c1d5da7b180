//! Keeps the log small and the file free of what was erased, beside the threads that answer.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, mem};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::connect::{BUSY_MAX, connect};
use super::error::{SqliteOpenError, failed, is_busy};
use super::file::companion;
use super::scrub::{PAGES_AT_ONCE, Pages, empty_log, overwrite};
use super::threads::ThreadPool;
use crate::metrics::DATABASE_LOG_BYTES;
use crate::store::StoreError;

/// How often the log is looked at, and what was erased since is overwritten.
const TICK: Duration = Duration::from_secs(5);
/// The log is made smaller once it is larger than this. The writer begins it anew at half of it, unless a reader still
/// needs its older part.
const LOG_MAX: u64 = 128 * 1024 * 1024;
/// How long links wait at most while one attempt waits for readers.
const READERS: Duration = Duration::from_millis(100);
/// How long a scrub tries, and a stop.
const PATIENCE: Duration = Duration::from_secs(30);
const PATIENCE_AT_STOP: Duration = Duration::from_secs(3);
/// After so many ticks that could not do their work there is a line: half a minute.
const FAILED_TICKS: u32 = 6;
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// One database's. A clone is another handle of the same.
#[derive(Clone)]
pub struct Upkeep(Arc<Inner>);

struct Inner {
    /// Moves most of the log while the writer goes on.
    connection: Mutex<Connection>,
    writer: ThreadPool,
    /// How long the writer itself waits for other processes.
    busy: Duration,
    pages: Pages,
    log: PathBuf,
    /// Something was erased, and may still be in the log or in unallocated space.
    erased: AtomicBool,
}

impl Upkeep {
    pub fn of(path: &Path, busy: Duration, writer: ThreadPool) -> Result<Self, SqliteOpenError> {
        Ok(Self(Arc::new(Inner {
            connection: Mutex::new(connect(path, READERS)?),
            writer,
            busy: busy.min(BUSY_MAX),
            pages: Pages::of(path)?,
            log: companion(path, "-wal"),
            // By a process that did not end well, perhaps.
            erased: AtomicBool::new(true),
        })))
    }

    /// What was erased until now is overwritten soon.
    pub fn erased(&self) {
        self.0.erased.store(true, Ordering::SeqCst);
    }

    /// Overwrites what was erased until now, and returns when that is done.
    ///
    /// # Errors
    /// - Another process reads, or writes, all the time.
    /// - SQLite or the file system refused.
    pub fn scrub(&self) -> Result<(), StoreError> {
        self.scrub_within(PATIENCE)
    }

    /// At each tick, in a thread of its own.
    pub fn run(self) -> io::Result<Running> {
        let (stop, stopped) = channel();
        let thread = thread::Builder::new().name("sqlite-upkeep".to_owned()).spawn(move || self.until(&stopped))?;
        Ok(Running { stop, thread: Mutex::new(Some(thread)) })
    }

    fn until(&self, stopped: &Receiver<()>) {
        let mut said = Said::default();
        loop {
            self.tick(&mut said);
            if stopped.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout) {
                break;
            }
        }
        if self.0.erased.load(Ordering::SeqCst)
            && let Err(error) = self.scrub_within(PATIENCE_AT_STOP)
        {
            tracing::warn!(%error, "what was erased is not overwritten yet: the next start does it");
        }
    }

    fn tick(&self, said: &mut Said) {
        let mut done = Ok(true);
        if self.0.erased.load(Ordering::SeqCst) {
            done = self.attempt();
        } else if self.log_size() > LOG_MAX {
            done = self.shrink_log();
        }
        let size = self.log_size();
        #[expect(clippy::cast_precision_loss, reason = "a size to look at")]
        metrics::gauge!(DATABASE_LOG_BYTES).set(size as f64);
        said.about_log(size);
        said.about_erasure(done);
    }

    fn log_size(&self) -> u64 {
        fs::metadata(&self.0.log).map_or(0, |log| log.len())
    }

    fn scrub_within(&self, patience: Duration) -> Result<(), StoreError> {
        self.erased();
        let started = Instant::now();
        loop {
            match self.attempt() {
                Ok(true) => return Ok(()),
                Ok(false) if started.elapsed() < patience => thread::sleep(TRY_AGAIN),
                Ok(false) => return Err(StoreError::new("another process reads or writes it all the time")),
                Err(error) => return Err(error),
            }
        }
    }

    /// False: it is to be tried again. What is erased from now on is for the next time.
    fn attempt(&self) -> Result<bool, StoreError> {
        self.0.erased.store(false, Ordering::SeqCst);
        let done = self.overwrite_all();
        if !matches!(done, Ok(true)) {
            self.erased();
        }
        done
    }

    fn overwrite_all(&self) -> Result<bool, StoreError> {
        // What was erased is then in the file alone.
        if !self.shrink_log()? {
            return Ok(false);
        }
        let unclean = self.0.pages.unclean().map_err(|error| StoreError::new(error.kind().to_string()))?;
        for pages in unclean.chunks(PAGES_AT_ONCE) {
            let (pages, file, log) = (pages.to_vec(), self.0.pages, self.0.log.clone());
            if !self.ask_writer(move |connection| overwrite(connection, file, &log, &pages))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Most of the log beside the writer, and the rest in its turn.
    fn shrink_log(&self) -> Result<bool, StoreError> {
        let connection = self.0.connection.lock().unwrap_or_else(PoisonError::into_inner);
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(())).map_err(failed)?;
        self.ask_writer(|connection| empty_log(connection))
    }

    fn ask_writer(
        &self,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<bool> + Send + 'static,
    ) -> Result<bool, StoreError> {
        let busy = self.0.busy;
        let (done, result) = oneshot::channel();
        self.0.writer.ask(done, move |connection| {
            connection.busy_timeout(READERS).map_err(failed)?;
            let result = job(connection);
            connection.busy_timeout(busy).map_err(failed)?;
            match result {
                Err(error) if is_busy(&error) => Ok(false),
                result => result.map_err(failed),
            }
        })?;
        result.blocking_recv().unwrap_or_else(|_| Err(StoreError::new("its thread panicked")))
    }
}

/// The thread that does it.
pub struct Running {
    stop: Sender<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Running {
    /// Waits until what was erased is overwritten, for some seconds at most.
    pub fn stop(&self) {
        let _ = self.stop.send(());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = thread.map(JoinHandle::join);
    }
}

/// What the log has been told already: each trouble is one line, and so is its end.
#[derive(Default)]
struct Said {
    log_is_large: bool,
    failed_ticks: u32,
}

impl Said {
    fn about_log(&mut self, size: u64) {
        let (is_large, mib) = (size > LOG_MAX, size / 1024 / 1024);
        match (mem::replace(&mut self.log_is_large, is_large), is_large) {
            (false, true) => {
                tracing::warn!(
                    mib,
                    "the write-ahead log grows: another process has been reading the database for long"
                );
            }
            (true, false) => tracing::info!(mib, "the write-ahead log is small again"),
            _ => {}
        }
    }

    fn about_erasure(&mut self, done: Result<bool, StoreError>) {
        let failed = match done {
            Ok(true) => {
                self.failed_ticks = 0;
                return;
            }
            Ok(false) => "another process has been reading the database for long".to_owned(),
            Err(error) => error.to_string(),
        };
        self.failed_ticks += 1;
        if self.failed_ticks == FAILED_TICKS {
            tracing::warn!(cause = failed, "the log cannot be emptied, and has what was erased");
        }
    }
}
