//! Connections, and their settings.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::SqliteOpenError;

/// How long the write-ahead log grows before it is moved into the file: 64 MiB. All links wait for that, and a session
/// that was written often is moved once.
const CHECKPOINT_PAGES: i32 = 16_384;
/// The longest wait for another process: SQLite counts milliseconds, and has no more than 24 days of them.
pub const BUSY_MAX: Duration = Duration::from_hours(24);
/// How much of the database the writer keeps in memory. Readers forget what they have at each write anyway.
const WRITER_CACHE_KIB: i32 = 8 * 1024;

/// One connection, to an existing file.
pub fn connect(path: &Path, busy: Duration) -> rusqlite::Result<Connection> {
    // Not to be created again, should it be gone by now; and its name is no URI.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy.min(BUSY_MAX))?;
    Ok(connection)
}

/// The connection that writes.
pub fn writer(path: &Path, busy: Duration) -> Result<Connection, SqliteOpenError> {
    let connection = connect(path, busy)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0))?;
    if mode != "wal" {
        return Err(SqliteOpenError::NoLog);
    }
    // What is deleted or replaced is overwritten. The rest is for `scrub.rs`.
    connection.pragma_update(None, "secure_delete", true)?;
    // The default of this mode leaves the last commits to the next checkpoint.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    Ok(connection)
}
