//! The schema, version by version, up and down.

use rusqlite::{Connection, TransactionBehavior};

use super::error::SqliteOpenError;

/// The version that this server works with.
pub const LATEST: u32 = 3;

/// What each version adds to the one before. Append to it, change nothing. A server of the version before must be able to
/// work with the tables of the next, as long as it was started before they were changed.
static VERSIONS: [Version; LATEST as usize] = [
    Version {
        up: "CREATE TABLE sessions (id TEXT PRIMARY KEY, revision BIGINT NOT NULL, record TEXT NOT NULL)",
        down: None,
    },
    // The end of those sessions that have something to erase, in whole seconds, worked out by SQLite from the record: so
    // it is right whoever writes. The two searches for words come first since they cost a fraction of reading JSON.
    Version {
        up: "ALTER TABLE sessions ADD COLUMN ended_at BIGINT GENERATED ALWAYS AS (
                 CASE WHEN instr(record, '\"ended_at\"') AND instr(record, '\"end_user\"') AND json_valid(record)
                 AND json_type(record, '$.end_user') = 'object'
                 THEN unixepoch(json_extract(record, '$.ended_at')) END) VIRTUAL;
             CREATE INDEX sessions_by_end ON sessions (ended_at, id) WHERE ended_at IS NOT NULL",
        down: Some("DROP INDEX sessions_by_end; ALTER TABLE sessions DROP COLUMN ended_at"),
    },
    // Earlier versions did not overwrite what they deleted: `REWRITE` does, once.
    Version { up: "", down: Some("") },
];

/// It makes the whole file anew, and cannot be part of a transaction.
const REWRITE: &str = "VACUUM; PRAGMA wal_checkpoint(TRUNCATE)";
const REWRITTEN: u32 = 3;

struct Version {
    up: &'static str,
    /// None: there is nothing before it.
    down: Option<&'static str>,
}

/// Brings the schema to `wanted`, each version in a transaction that any other process at its start waits for.
///
/// # Errors
/// - The schema is newer than this server's.
/// - There is no version `wanted`.
/// - SQLite refused.
pub fn migrate(connection: &mut Connection, wanted: u32) -> Result<(), SqliteOpenError> {
    if !(1..=LATEST).contains(&wanted) {
        return Err(SqliteOpenError::NoSuchVersion);
    }
    loop {
        match found(connection)? {
            found if found > LATEST => return Err(SqliteOpenError::Newer),
            found if found < wanted => up(connection, found + 1)?,
            found if found > wanted => down(connection, found)?,
            _ => return Ok(()),
        }
    }
}

fn found(connection: &mut Connection) -> rusqlite::Result<u32> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("CREATE TABLE IF NOT EXISTS midsession_schema (version BIGINT PRIMARY KEY)", ())?;
    let latest = "SELECT COALESCE(MAX(version), 0) FROM midsession_schema";
    let found = transaction.query_row(latest, (), |row| row.get(0))?;
    transaction.commit()?;
    Ok(found)
}

/// From the version before to this one.
fn up(connection: &mut Connection, version: u32) -> Result<(), SqliteOpenError> {
    let step = step(version)?;
    if version == REWRITTEN {
        connection.execute_batch(REWRITE)?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Unless another process was first.
    if transaction.execute("INSERT OR IGNORE INTO midsession_schema (version) VALUES (?1)", [version])? == 1 {
        transaction.execute_batch(step.up)?;
    }
    Ok(transaction.commit()?)
}

/// From this version to the one before.
fn down(connection: &mut Connection, version: u32) -> Result<(), SqliteOpenError> {
    let step = step(version)?.down.ok_or(SqliteOpenError::NoSuchVersion)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if transaction.execute("DELETE FROM midsession_schema WHERE version = ?1", [version])? == 1 {
        transaction.execute_batch(step)?;
    }
    Ok(transaction.commit()?)
}

fn step(version: u32) -> Result<&'static Version, SqliteOpenError> {
    let versions = (1..).zip(&VERSIONS);
    versions.into_iter().find(|(of, _)| *of == version).map(|(_, step)| step).ok_or(SqliteOpenError::NoSuchVersion)
}
