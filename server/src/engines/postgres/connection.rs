//! One connection, to a server that takes writes.

use std::future::poll_fn;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OnceCell, OwnedSemaphorePermit};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Row, Statement};

use super::failure::Failure;
use super::hosts::{Database, Target};

/// What a connection tells the server of itself when it opens, so that no statement has to.
///
/// The time-out is the server's own to keep, whatever becomes of this process. The plans are the only sensible ones:
/// from the ids that are asked for to their rows, in the order of the ids, so that two servers lock rows in the same
/// order; and they are made once. Of a client that vanished the server is told by its keepalives.
const SESSION: &str = "-c default_transaction_isolation=read\\ committed -c enable_hashjoin=off -c enable_mergejoin=off \
                       -c enable_seqscan=off -c plan_cache_mode=force_generic_plan -c tcp_keepalives_idle=10 \
                       -c tcp_keepalives_interval=3 -c tcp_keepalives_count=3 -c midsession.settings=on";
/// The same for one transaction, where the connection is a pooler's: the next transaction may be on another one.
const TRANSACTION: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL enable_hashjoin = off; SET LOCAL \
                           enable_mergejoin = off; SET LOCAL enable_seqscan = off";
/// Whether the server refuses writes, and whether it took the settings.
const GREETING: &str = "SELECT current_setting('transaction_read_only') = 'on', \
                        current_setting('midsession.settings', true) IS NOT DISTINCT FROM 'on'";

/// One of the statements there are.
#[derive(Clone, Copy)]
pub(super) struct Sql {
    /// Its place among those that a connection keeps prepared.
    pub(super) at: usize,
    pub(super) text: &'static str,
}

/// How many statements a connection keeps prepared.
const PREPARED: usize = 11;

pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// One connection. It runs one piece of work at a time.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) target: String,
    /// Whether [`SESSION`] is in force, and nobody else is on the connection: then statements can be prepared.
    has_settings: bool,
    begin: String,
    prepared: [OnceCell<Statement>; PREPARED],
}

impl Connection {
    /// To a server that takes writes. It holds `place` as long as its socket is open.
    pub(super) async fn open(
        database: &Database,
        target: &Target,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, Failure> {
        let mut config = target.config.clone();
        if matches!(config.get_hosts(), [Host::Unix(_)]) && config.get_ssl_mode() == SslMode::Prefer {
            config.ssl_mode(SslMode::Disable);
        }
        let mut plain = config.clone();
        let own = config.get_options().map(|own| format!("{own} ")).unwrap_or_default();
        config.options(format!("{own}{SESSION} -c statement_timeout={}", database.statement_timeout()));
        if database.state().poolers.contains(&target.key) {
            std::mem::swap(&mut config, &mut plain);
        }
        let (client, connection) = match config.connect(database.tls.clone()).await {
            Err(error) if config != plain && refuses_settings(&error) => {
                let connected = plain.connect(database.tls.clone()).await?;
                database.state().poolers.insert(target.key.clone());
                connected
            }
            connected => connected?,
        };
        tokio::spawn(drive(connection, place));
        let greeting = client.query_typed_one(GREETING, &[]).await?;
        if greeting.try_get(0)? {
            return Err(Failure::ReadOnly);
        }
        let has_settings = greeting.try_get(1)?;
        let begin = format!("{TRANSACTION}; SET LOCAL statement_timeout = {}", database.statement_timeout());
        Ok(Self { client, target: target.key.clone(), has_settings, begin, prepared: Default::default() })
    }

    /// Begins a transaction, bounded by the server's time-out.
    pub(super) async fn begin(&self) -> Result<(), Failure> {
        Ok(self.client.batch_execute(&self.begin).await?)
    }

    /// Runs one statement, in a transaction of its own, which is bounded by the server's time-out.
    pub(super) async fn query(&self, sql: Sql, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Failure> {
        if self.has_settings {
            let prepare = || async {
                let types: Vec<Type> = parameters.iter().map(|(_, of)| of.clone()).collect();
                self.client.prepare_typed(sql.text, &types).await
            };
            let statement = self.prepared[sql.at].get_or_try_init(prepare).await?;
            let values: Vec<_> = parameters.iter().map(|(value, _)| *value).collect();
            Ok(self.client.query(statement, &values).await?)
        } else {
            // Sent at once, one behind the other: of a statement that fails, `COMMIT` is a rollback.
            let (begun, rows, committed) = tokio::join!(
                biased;
                self.client.batch_execute(&self.begin),
                self.client.query_typed(sql.text, parameters),
                self.client.batch_execute("COMMIT"),
            );
            let rows = rows?;
            begun?;
            committed?;
            Ok(rows)
        }
    }
}

/// A pooler's word, or that of a server which has never heard of one of them.
fn refuses_settings(error: &tokio_postgres::Error) -> bool {
    let code = error.code().map(SqlState::code);
    code.is_some_and(|code| ["08", "0A", "22", "42", "XX"].iter().any(|class| code.starts_with(class)))
}

/// Reads and writes the socket until the connection has ended; only then is its place free.
async fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>, place: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notice(notice) = message
            && notice.routine() == Some("SyncRepWaitForLSN")
        {
            tracing::warn!("a commit was released from its wait for the standby, which may not have it yet");
        }
    }
    drop((connection, place));
}
