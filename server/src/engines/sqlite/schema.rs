//! The schemas, version by version, up and down.

use rusqlite::{Connection, TransactionBehavior};

use super::error::SqliteOpenError;

/// Some tables, and the versions that they went through.
pub struct Schema {
    /// The table that has the versions it has reached.
    table: &'static str,
    /// What each version adds to the one before. Append to it, change nothing. A server of the version before must be able
    /// to work with the tables of the next, as long as it was started before they were changed.
    versions: &'static [Version],
}

struct Version {
    /// What cannot be part of a transaction, and may be done twice.
    before: Option<&'static str>,
    up: &'static str,
    /// None: there is nothing before it.
    down: Option<&'static str>,
}

/// The sessions.
pub static SESSIONS: Schema = Schema {
    table: "midsession_schema",
    versions: &[
        Version {
            before: None,
            up: "CREATE TABLE sessions (id TEXT PRIMARY KEY, revision BIGINT NOT NULL, record TEXT NOT NULL)",
            down: None,
        },
        // The end of those sessions that have something to erase, in whole seconds, worked out by SQLite from the record:
        // so it is right whoever writes. The two searches for words come first since they cost a fraction of reading JSON.
        Version {
            before: None,
            up: "ALTER TABLE sessions ADD COLUMN ended_at BIGINT GENERATED ALWAYS AS (
                     CASE WHEN instr(record, '\"ended_at\"') AND instr(record, '\"end_user\"') AND json_valid(record)
                     AND json_type(record, '$.end_user') = 'object'
                     THEN unixepoch(json_extract(record, '$.ended_at')) END) VIRTUAL;
                 CREATE INDEX sessions_by_end ON sessions (ended_at, id) WHERE ended_at IS NOT NULL",
            down: Some("DROP INDEX sessions_by_end; ALTER TABLE sessions DROP COLUMN ended_at"),
        },
        // Earlier versions did not overwrite what they deleted: this does, once, by making the whole file anew.
        Version { before: Some("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)"), up: "", down: Some("") },
    ],
};

/// The audit, for those who ask for one. Rows are appended, so that they stand in the order of time.
pub static AUDIT: Schema = Schema {
    table: "midsession_audit_schema",
    versions: &[Version {
        before: None,
        up: "CREATE TABLE midsession_audit (session_id TEXT NOT NULL, revision BIGINT NOT NULL, at_ms BIGINT NOT NULL,
                 change TEXT NOT NULL, client TEXT, request_id TEXT);
             CREATE INDEX midsession_audit_by_session ON midsession_audit (session_id)",
        down: None,
    }],
};

impl Schema {
    /// The version that this server works with.
    pub fn latest(&self) -> u32 {
        self.versions.len().try_into().unwrap_or(u32::MAX)
    }

    fn version(&self, version: u32) -> Result<&'static Version, SqliteOpenError> {
        let mut versions = (1..).zip(self.versions);
        versions.find(|(of, _)| *of == version).map(|(_, found)| found).ok_or(SqliteOpenError::NoSuchVersion)
    }
}

/// Whether it was made.
pub fn is_there(connection: &Connection, schema: &Schema) -> rusqlite::Result<bool> {
    let exists = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    connection.query_row(exists, [schema.table], |row| row.get(0)).map(|tables: i64| tables > 0)
}

/// Brings the schema to `wanted`, each version in a transaction that any other process at its start waits for.
///
/// # Errors
/// - The schema is newer than this server's.
/// - There is no version `wanted`.
/// - SQLite refused.
pub fn migrate(connection: &mut Connection, schema: &Schema, wanted: u32) -> Result<(), SqliteOpenError> {
    if !(1..=schema.latest()).contains(&wanted) {
        return Err(SqliteOpenError::NoSuchVersion);
    }
    loop {
        match found(connection, schema)? {
            found if found > schema.latest() => return Err(SqliteOpenError::Newer),
            found if found < wanted => up(connection, schema, found + 1)?,
            found if found > wanted => down(connection, schema, found)?,
            _ => return Ok(()),
        }
    }
}

fn found(connection: &mut Connection, Schema { table, .. }: &Schema) -> rusqlite::Result<u32> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute(&format!("CREATE TABLE IF NOT EXISTS {table} (version BIGINT PRIMARY KEY)"), ())?;
    let latest = format!("SELECT COALESCE(MAX(version), 0) FROM {table}");
    let found = transaction.query_row(&latest, (), |row| row.get(0))?;
    transaction.commit()?;
    Ok(found)
}

/// From the version before to this one.
fn up(connection: &mut Connection, schema: &Schema, version: u32) -> Result<(), SqliteOpenError> {
    let Version { before, up, .. } = schema.version(version)?;
    if let Some(before) = before {
        connection.execute_batch(before)?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let insert = format!("INSERT OR IGNORE INTO {} (version) VALUES (?1)", schema.table);
    // Unless another process was first.
    if transaction.execute(&insert, [version])? == 1 {
        transaction.execute_batch(up)?;
    }
    Ok(transaction.commit()?)
}

/// From this version to the one before.
fn down(connection: &mut Connection, schema: &Schema, version: u32) -> Result<(), SqliteOpenError> {
    let down = schema.version(version)?.down.ok_or(SqliteOpenError::NoSuchVersion)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if transaction.execute(&format!("DELETE FROM {} WHERE version = ?1", schema.table), [version])? == 1 {
        transaction.execute_batch(down)?;
    }
    Ok(transaction.commit()?)
}
