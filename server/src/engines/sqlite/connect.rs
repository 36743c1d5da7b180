//! Connections, and the schema.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, MAIN_DB, OpenFlags, TransactionBehavior};

use super::error::SqliteOpenError;

/// What each version of the schema adds to the one before. Append to it, change nothing.
const SCHEMA: [&str; 1] =
    ["CREATE TABLE sessions (id TEXT PRIMARY KEY, revision BIGINT NOT NULL, record TEXT NOT NULL)"];

/// How long the write-ahead log grows before it is moved into the file: 64 MiB. All links wait for that, and a session
/// that was written often is moved once.
const CHECKPOINT_PAGES: i32 = 16_384;
/// How much of the database the writer keeps in memory. Readers forget what they have at each write anyway.
const WRITER_CACHE_KIB: i32 = 8 * 1024;

/// One connection, to an existing file.
pub fn connect(path: &Path, busy: Duration) -> rusqlite::Result<Connection> {
    // Not to be created again, should it be gone by now; and its name is no URI.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy)?;
    Ok(connection)
}

/// The connection that writes, its schema up to date.
pub fn writer(path: &Path, busy: Duration) -> Result<Connection, SqliteOpenError> {
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
pub fn migrate(connection: &mut Connection) -> Result<(), SqliteOpenError> {
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
