//! One server has a file. Short tasks work beside it.

use std::fs::{self, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::error::SqliteOpenError;
use super::file::companion;

/// How long a start waits for a process that is about to end, or that looks whether there is a server.
const PATIENCE: Duration = Duration::from_secs(1);
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// It is free again when this is dropped, or the process ends in whatever way.
///
/// It is on a file of its own: SQLite's locks on the database would be lost if any other descriptor of it was closed.
pub struct Lock {
    _file: fs::File,
}

impl Lock {
    /// # Errors
    /// - A server has it.
    /// - The file of the lock cannot be created, or its file system has no locks.
    pub fn take(database: &Path) -> Result<Self, SqliteOpenError> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(lock_path(database))?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if started.elapsed() < PATIENCE => thread::sleep(TRY_AGAIN),
                Err(TryLockError::WouldBlock) => return Err(SqliteOpenError::Taken),
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
    }
}

pub fn lock_path(database: &Path) -> PathBuf {
    companion(database, "-lock")
}

/// For a task beside a server. If there is one, it must share the log's index with it: without that, each would write over
/// what the other has written.
///
/// # Errors
/// - A server has the database, but the file of the index is gone.
pub fn is_safe_beside(database: &Path) -> Result<(), SqliteOpenError> {
    let Ok(file) = fs::File::open(lock_path(database)) else { return Ok(()) };
    let server_runs = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    if server_runs && !companion(database, "-shm").exists() { Err(SqliteOpenError::NoIndex) } else { Ok(()) }
}
