//! The tables: made if they are not there, and looked at before they are used.

use midsession::{AnySession, CommType, Session};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSqlOwned, Type};

use super::connection::{Connection, Parameter, Sql};
use super::error::PostgresOpenError;
use super::failure::Failure;
use super::write::patience;
use crate::engines::audit::Audit;
use crate::store::PROBE_ID;

/// Some tables, and the versions that they went through.
pub(super) struct Schema {
    /// The table that has the versions it has reached.
    table: &'static str,
    /// What each version adds to the one before. Append to it. A server of the version before must be able to work with the
    /// tables of the next, as long as it was started before they were changed.
    versions: &'static [&'static str],
}

/// The sessions. In databases of the server's first release `id` has the database's own collation, which does for equality.
pub(super) const SESSIONS: Schema = Schema { table: "midsession_schema", versions: &[
    "CREATE TABLE sessions (id TEXT COLLATE \"C\" PRIMARY KEY, revision BIGINT NOT NULL, record TEXT NOT NULL)",
    // The end of those sessions that have something to erase, in UTC and to the second, worked out by PostgreSQL from the
    // record: so it is right whoever writes. The searches for words come first, since most records have not both. A column
    // and no index on an expression: a link does not change it, and then touches no index.
    // Of a record PostgreSQL keeps no statistics: they are copies of people's data, which outlive an erasure. A change of the
    // type, even to the same, forgets those that it has.
    "ALTER TABLE sessions ALTER COLUMN record TYPE TEXT, ALTER COLUMN record SET STATISTICS 0;
     ALTER TABLE sessions ADD COLUMN ended_at TEXT COLLATE \"C\" GENERATED ALWAYS AS (
         CASE WHEN strpos(record, '\"ended_at\"') > 0 AND strpos(record, '\"end_user\"') > 0
         THEN substring(record COLLATE \"C\" from '\"ended_at\" *: *\"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})') END) STORED;
     CREATE INDEX sessions_by_end ON sessions (ended_at, id) WHERE ended_at IS NOT NULL",
]};

/// The audit, for those who ask for one.
pub(super) const AUDIT: Schema = Schema { table: "midsession_audit_schema", versions: &[
    "CREATE TABLE midsession_audit (session_id TEXT COLLATE \"C\" NOT NULL, revision BIGINT NOT NULL, at_ms BIGINT NOT NULL, \
     change TEXT NOT NULL, client TEXT, request_id TEXT);
     CREATE INDEX midsession_audit_by_session ON midsession_audit (session_id);
     CREATE INDEX midsession_audit_by_time ON midsession_audit (at_ms)",
]};

/// Any number will do that no one else takes for an advisory lock.
const SCHEMA_LOCK: &str = "SELECT pg_advisory_xact_lock(7310582946120335)";

/// A large table takes its time. Who waits for a table has all others wait behind it, so that is given up and tried again.
const PATIENCE: &str = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '1s'";
/// The record that readiness is probed with, as it is at first: whatever became of it is mended.
const PROVE: Sql = Sql {
    at: 5,
    text: concat!(
        patience!(),
        "INSERT INTO sessions (id, revision, record) SELECT $1::text, 0, $2::text FROM patience \
         ON CONFLICT (id) DO UPDATE SET revision = EXCLUDED.revision, record = EXCLUDED.record"
    ),
};
/// A write to the log alone, whose commit waits as any other does.
const PROVE_IN_LOG: &str = "SELECT pg_logical_emit_message(true, 'midsession', '')::text";

const AUDIT_RIGHT: &str = "SELECT has_table_privilege('midsession_audit', 'INSERT')";
const TABLE: &str = "SELECT has_table_privilege(t.oid, 'SELECT'), has_table_privilege(t.oid, 'INSERT'), \
                     has_column_privilege(t.oid, 'revision', 'UPDATE') AND has_column_privilege(t.oid, 'record', 'UPDATE'), \
                     COALESCE(c.collisdeterministic, true), t.relpersistence = 'u', \
                     current_setting('server_encoding'), current_setting('synchronous_commit'), current_setting('fsync'), \
                     current_setting('synchronous_standby_names') <> '' \
                     FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname = 'id' \
                     LEFT JOIN pg_collation c ON c.oid = a.attcollation WHERE t.oid = to_regclass('sessions')";

/// Makes the schema this server's, if it is not.
pub(super) async fn prepare(connection: &Connection, schema: &Schema) -> Result<(), Failure> {
    if is_current(connection, schema).await? {
        return Ok(());
    }
    let done = migrate(connection, schema).await;
    let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = connection.client.batch_execute(end).await;
    match done {
        Err(failure) if failure.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            Err(PostgresOpenError::NoTables.into())
        }
        Err(failure) => Err(failure),
        Ok(()) => Ok(ended?),
    }
}

/// Whether it was made.
async fn is_there(connection: &Connection, Schema { table, .. }: &Schema) -> Result<bool, Failure> {
    one(connection, &format!("SELECT to_regclass('{table}') IS NOT NULL")).await
}

async fn is_current(connection: &Connection, schema: &Schema) -> Result<bool, Failure> {
    if !is_there(connection, schema).await? {
        return Ok(false);
    }
    let found = latest(connection, schema).await?;
    let known = schema.versions.len().try_into().unwrap_or(i64::MAX);
    if found > known { Err(PostgresOpenError::Newer.into()) } else { Ok(found == known) }
}

async fn latest(connection: &Connection, Schema { table, .. }: &Schema) -> Result<i64, Failure> {
    one(connection, &format!("SELECT COALESCE(MAX(version), 0) FROM {table}")).await
}

/// In one transaction that any other server at its start waits for, and that is left open.
async fn migrate(connection: &Connection, schema: &Schema) -> Result<(), Failure> {
    let table = schema.table;
    connection.begin().await?;
    let versions = format!("CREATE TABLE IF NOT EXISTS {table} (version BIGINT PRIMARY KEY)");
    connection.client.batch_execute(&format!("{PATIENCE}; {SCHEMA_LOCK}; {versions}")).await?;
    let found = latest(connection, schema).await?;
    let done = format!("INSERT INTO {table} (version) VALUES ($1)");
    for (version, statement) in (1_i64..).zip(schema.versions).filter(|(version, _)| *version > found) {
        connection.client.batch_execute(statement).await?;
        let parameters: [Parameter<'_>; 1] = [(&version, Type::INT8)];
        connection.client.execute_typed(&done, &parameters).await?;
    }
    Ok(())
}

/// Makes the audit's table if it is asked for, and answers whether there is one.
pub(super) async fn prepare_audit(connection: &Connection, audit: Audit) -> Result<bool, Failure> {
    let is_there = is_there(connection, &AUDIT).await?;
    if audit.is_written(is_there) {
        prepare(connection, &AUDIT).await?;
        if !one(connection, AUDIT_RIGHT).await? {
            return Err(PostgresOpenError::Right("INSERT", "midsession_audit").into());
        }
        return Ok(true);
    }
    Ok(is_there)
}

/// Refuses tables that this user cannot use, or that would mix sessions up; warns of those that may lose them.
pub(super) async fn inspect(connection: &Connection) -> Result<(), Failure> {
    let row = connection.client.query_typed_opt(TABLE, &[]).await?.ok_or(PostgresOpenError::NoTables)?;
    for (at, right) in ["SELECT", "INSERT", "UPDATE"].into_iter().enumerate() {
        if !row.try_get(at)? {
            return Err(PostgresOpenError::Right(right, "sessions").into());
        }
    }
    let (deterministic, unlogged): (bool, bool) = (row.try_get(3)?, row.try_get(4)?);
    let (encoding, commit, fsync): (&str, &str, &str) = (row.try_get(5)?, row.try_get(6)?, row.try_get(7)?);
    if !deterministic {
        return Err(PostgresOpenError::Collation.into());
    }
    if !["UTF8", "SQL_ASCII"].contains(&encoding) {
        return Err(PostgresOpenError::Encoding.into());
    }
    if unlogged {
        tracing::warn!("the table sessions is UNLOGGED: a crash of the database empties it");
    }
    if commit == "off" {
        tracing::warn!("synchronous_commit is off: a crash of the database loses links that were answered 202");
    }
    if commit == "local" && row.try_get(8)? {
        tracing::warn!(
            "synchronous_commit is local: links are answered 202 without the standby that synchronous_standby_names demands"
        );
    }
    if fsync == "off" {
        tracing::warn!("fsync is off: a crash of the database's machine loses links that were answered 202");
    }
    Ok(())
}

/// Makes a write, and waits until it is committed. A server may take reads and statements, and never end a commit: what it
/// has may be old, and who started on it would not know sessions that were started since.
pub(super) async fn prove(connection: &Connection) -> Result<(), Failure> {
    let record = serde_json::to_string(&AnySession::from(Session::start(CommType::Call)));
    let record = record.map_err(|_| PostgresOpenError::NoTables)?;
    let parameters: [Parameter<'_>; 2] = [(&PROBE_ID, Type::TEXT), (&record, Type::TEXT)];
    match connection.query(PROVE, &parameters).await {
        // Something else holds the record: a commit that never ends, or no more than someone's look at it.
        Err(failure) if failure.is_held() => one::<String>(connection, PROVE_IN_LOG).await.map(drop),
        proved => proved.map(drop),
    }
}

async fn one<T: FromSqlOwned>(connection: &Connection, query: &str) -> Result<T, Failure> {
    Ok(connection.client.query_typed_one(query, &[]).await?.try_get(0)?)
}
