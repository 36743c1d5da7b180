//! The audit's rows, in the statement of the change.

use serde_json::json;
use time::OffsetDateTime;
use tokio_postgres::types::Type;

use super::connection::{Connection, Parameter, Sql};
use super::failure::Failure;
use crate::engines::audit::{AuditRow, rows, to_ms};
use crate::store::ConditionalWrite;

/// The part of a statement that adds the rows of what was `made`, whose column `audit` has them.
macro_rules! kept {
    () => {
        "kept AS ( \
             INSERT INTO midsession_audit (session_id, revision, at_ms, change, client, request_id) \
             SELECT made.id, entry.* FROM made, json_to_recordset(made.audit::json) \
             AS entry (revision bigint, at_ms bigint, change text, client text, request_id text)) "
    };
}
pub(super) use kept;

/// In batches, since a statement has its time. By the index of time, which is a B-tree: the space of deleted rows is used for new
/// ones, and a BRIN index then takes each of these places for as old as the oldest row that it ever had. Each batch would read
/// them all.
const DELETE: Sql = Sql {
    at: 10,
    text: "DELETE FROM midsession_audit WHERE ctid = ANY (ARRAY( \
           SELECT ctid FROM midsession_audit WHERE at_ms < $1 ORDER BY at_ms LIMIT $2)) RETURNING 1",
};

/// The rows of a write, as JSON: a write may have several, and a statement takes one text for each write.
pub(super) fn to_json(write: &ConditionalWrite) -> String {
    let rows = rows(write).map(|row| {
        let AuditRow { revision, at_ms, change, client, request_id } = row;
        let (client, request_id) = (client.as_deref(), request_id.as_deref());
        json!({ "revision": revision, "at_ms": at_ms, "change": change, "client": client, "request_id": request_id })
    });
    rows.collect::<serde_json::Value>().to_string()
}

/// How many are deleted.
pub(super) async fn delete(connection: &Connection, before: OffsetDateTime, limit: usize) -> Result<u64, Failure> {
    let (before, limit) = (to_ms(before), i64::try_from(limit).unwrap_or(i64::MAX));
    let parameters: [Parameter<'_>; 2] = [(&before, Type::INT8), (&limit, Type::INT8)];
    Ok(connection.query(DELETE, &parameters).await?.len() as u64)
}
