//! The audit's rows, in the transaction of the change.

use rusqlite::{Connection, Transaction, params};

use super::error::{SqliteOpenError, failed};
use super::schema::{self, AUDIT};
use crate::engines::audit::{Audit, AuditRow, warn_of_gap};
use crate::store::StoreError;

const INSERT: &str = "INSERT INTO midsession_audit (session_id, revision, at_ms, change, client, request_id) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
/// Of the oldest rows, those that are old enough. They stand in the order of their writing: no index is needed, and where
/// none of them is old enough, none is.
const DELETE: &str = "DELETE FROM midsession_audit \
                      WHERE rowid IN (SELECT rowid FROM midsession_audit ORDER BY rowid LIMIT ?2) AND at_ms < ?1";

/// Makes the table if it is asked for, and answers whether an audit is written.
pub fn prepare(connection: &mut Connection, audit: Audit) -> Result<bool, SqliteOpenError> {
    let is_there = schema::is_there(connection, &AUDIT)?;
    let is_written = audit.is_written(is_there);
    if is_written {
        schema::migrate(connection, &AUDIT, AUDIT.latest())?;
    } else if is_there {
        warn_of_gap();
    }
    Ok(is_written)
}

pub fn keep(transaction: &Transaction<'_>, id: &str, row: &AuditRow) -> rusqlite::Result<()> {
    let AuditRow { revision, at_ms, change, client, request_id } = row;
    let (client, request_id) = (client.as_deref(), request_id.as_deref());
    let mut insert = transaction.prepare_cached(INSERT)?;
    insert.execute(params![id, revision, at_ms, change, client, request_id])?;
    Ok(())
}

/// How many are deleted.
pub fn delete(connection: &Connection, before_ms: i64, limit: usize) -> Result<u64, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut delete = connection.prepare_cached(DELETE).map_err(failed)?;
    Ok(delete.execute(params![before_ms, limit]).map_err(failed)? as u64)
}
