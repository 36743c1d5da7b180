//! A session's row: how it is found, and how it is written on its condition.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::de::Error as _;

use super::audit::keep;
use crate::engines::audit::{self, AuditRow};
use crate::store::{ConditionalWrite, ReadOutcome, StoreError, UnreadableRecord, WriteOutcome};

const SELECT: &str = "SELECT record FROM sessions WHERE id = ?1";
const INSERT: &str = "INSERT INTO sessions (id, revision, record) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING";
const UPDATE: &str = "UPDATE sessions SET revision = ?2, record = ?3 WHERE id = ?1 AND revision = ?4";

/// Whatever revision the row has.
const OVERWRITE: &str = "UPDATE sessions SET revision = ?2, record = ?3 WHERE id = ?1";

pub fn find(connection: &Connection, id: &str) -> rusqlite::Result<ReadOutcome> {
    let mut select = connection.prepare_cached(SELECT)?;
    let record = select.query_row([id], |row| {
        let text = row.get_ref(0)?.as_str();
        Ok(text.map_err(|_| serde_json::Error::custom("the stored session is not text")).and_then(serde_json::from_str))
    });
    Ok(record.optional()?.transpose().map_err(UnreadableRecord::from))
}

/// A write, as the database takes it. The revision is compared for being equal and nothing else, so its bits are enough.
pub struct Row {
    id: Arc<str>,
    expected: Option<i64>,
    revision: i64,
    record: String,
    audit: Vec<AuditRow>,
}

impl Row {
    /// With `audit`, its changes are written to the audit, too.
    pub fn new(write: &ConditionalWrite, audit: bool) -> Result<Self, StoreError> {
        let record = serde_json::to_string(&write.next);
        Ok(Self {
            id: write.id.clone(),
            expected: write.expected.map(u64::cast_signed),
            revision: write.next.revision().cast_signed(),
            record: record.map_err(|_| StoreError::nothing_written("a session has no stored form"))?,
            audit: if audit { audit::rows(write).collect() } else { Vec::new() },
        })
    }

    pub fn write(&self, transaction: &Transaction<'_>) -> rusqlite::Result<WriteOutcome> {
        let Self { id, expected, revision, record, audit } = self;
        let rows = match expected {
            None => transaction.prepare_cached(INSERT)?.execute(params![id, revision, record])?,
            Some(expected) => transaction.prepare_cached(UPDATE)?.execute(params![id, revision, record, expected])?,
        };
        if rows != 1 && !self.write_over_wrong_revision(transaction)? {
            return Ok(WriteOutcome::Conflict);
        }
        for row in audit {
            keep(transaction, id, row)?;
        }
        Ok(WriteOutcome::Applied)
    }

    /// The record says which revision it has. A column that differs would be in the way of each write for ever.
    fn write_over_wrong_revision(&self, transaction: &Transaction<'_>) -> rusqlite::Result<bool> {
        let Self { id, expected: Some(expected), revision, record, .. } = self else { return Ok(false) };
        let Ok(Some(stored)) = find(transaction, id)? else { return Ok(false) };
        if stored.revision().cast_signed() != *expected {
            return Ok(false);
        }
        tracing::warn!("a row's revision was not that of its record: it is now");
        transaction.prepare_cached(OVERWRITE)?.execute(params![id, revision, record]).map(|rows| rows == 1)
    }
}
