//! Connections: few, bounded on the database's side too, and to a server that takes writes.

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::lookup_host;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::PostgresOpenError;
use super::failure::Failure;
use super::tls;
use super::url::Url;
use crate::detach::DetachOnDrop;

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
pub(super) const PREPARED: usize = 5;

pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// The database, as all its connections know it.
pub(super) struct Database {
    url: Url,
    tls: MakeRustlsConnect,
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The server that the connections in use are to. The others' are let go.
    current: Option<String>,
    /// Servers that refuse settings at the start of a connection, as PgBouncer does.
    poolers: HashSet<String>,
    /// Servers that did not answer when they were last asked. They are asked last, since one call has not the time for
    /// many of them.
    silent: HashSet<String>,
}

/// One server, at one address.
struct Target {
    key: String,
    config: Config,
}

impl Database {
    pub(super) fn new(url: Url, timeout: Duration) -> Result<Self, PostgresOpenError> {
        let tls = tls::connector(&url)?;
        Ok(Self { url, tls, timeout, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Less than the timeout there is, to be told of it.
    fn statement_timeout(&self) -> u128 {
        (self.timeout * 4 / 5).as_millis().max(1)
    }

    /// The servers of the URL, the one in use first, those that do not answer last.
    async fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        for (host, port) in &self.url.hosts {
            match host {
                Host::Tcp(name) => {
                    let found = timeout(self.url.connect_timeout, lookup_host((name.as_str(), *port))).await;
                    let found = found.ok().and_then(Result::ok);
                    targets.extend(found.into_iter().flatten().map(|address| self.target(host, *port, Some(address))));
                }
                Host::Unix(_) => targets.push(self.target(host, *port, None)),
            }
        }
        let state = self.state();
        targets.sort_by_key(|Target { key, .. }| (Some(key) != state.current.as_ref(), state.silent.contains(key)));
        drop(state);
        targets
    }

    fn target(&self, host: &Host, port: u16, address: Option<SocketAddr>) -> Target {
        let mut config = self.url.config.clone();
        match host {
            Host::Tcp(name) => config.host(name),
            Host::Unix(folder) => config.host_path(folder),
        };
        if let Some(address) = address {
            config.hostaddr(address.ip());
        }
        let key = match (host, address) {
            (_, Some(address)) => address.to_string(),
            (host, None) => format!("{host:?}:{port}"),
        };
        Target { key, config: config.port(port).clone() }
    }

    async fn connect(&self, target: &Target, place: OwnedSemaphorePermit) -> Result<Connection, Failure> {
        let mut config = target.config.clone();
        if matches!(config.get_hosts(), [Host::Unix(_)]) && config.get_ssl_mode() == SslMode::Prefer {
            config.ssl_mode(SslMode::Disable);
        }
        let mut plain = config.clone();
        let own = config.get_options().map(|own| format!("{own} ")).unwrap_or_default();
        config.options(format!("{own}{SESSION} -c statement_timeout={}", self.statement_timeout()));
        if self.state().poolers.contains(&target.key) {
            std::mem::swap(&mut config, &mut plain);
        }
        let (client, connection) = match config.connect(self.tls.clone()).await {
            Err(error) if config != plain && refuses_settings(&error) => {
                let connected = plain.connect(self.tls.clone()).await?;
                self.state().poolers.insert(target.key.clone());
                connected
            }
            connected => connected?,
        };
        let unreplicated = Arc::new(AtomicBool::new(false));
        tokio::spawn(drive(connection, unreplicated.clone(), place));
        let greeting = client.query_typed_one(GREETING, &[]).await?;
        if greeting.try_get(0)? {
            return Err(Failure::ReadOnly);
        }
        let has_settings = greeting.try_get(1)?;
        Ok(Connection {
            client,
            target: target.key.clone(),
            has_settings,
            begin: self.begin(),
            unreplicated,
            prepared: Default::default(),
        })
    }

    fn begin(&self) -> String {
        format!("{TRANSACTION}; SET LOCAL statement_timeout = {}", self.statement_timeout())
    }
}

/// A pooler's word, or that of a server which has never heard of one of them.
fn refuses_settings(error: &tokio_postgres::Error) -> bool {
    let code = error.code().map(SqlState::code);
    code.is_some_and(|code| ["08", "0A", "22", "42", "XX"].iter().any(|class| code.starts_with(class)))
}

/// Reads and writes the socket until the connection has ended; only then is its place free.
async fn drive<S, T>(
    mut connection: tokio_postgres::Connection<S, T>,
    unreplicated: Arc<AtomicBool>,
    place: OwnedSemaphorePermit,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notice(notice) = message
            && notice.routine() == Some("SyncRepWaitForLSN")
        {
            unreplicated.store(true, Ordering::SeqCst);
        }
    }
    drop((connection, place));
}

/// One connection. It runs one piece of work at a time.
pub(super) struct Connection {
    pub(super) client: Client,
    target: String,
    /// Whether [`SESSION`] is in force, and nobody else is on the connection: then statements can be prepared.
    has_settings: bool,
    begin: String,
    /// Whether the server said that it committed without the standby it should have waited for.
    unreplicated: Arc<AtomicBool>,
    prepared: [OnceCell<Statement>; PREPARED],
}

impl Connection {
    /// Begins a transaction, bounded by the server's time-out.
    pub(super) async fn begin(&self) -> Result<(), Failure> {
        Ok(self.client.batch_execute(&self.begin).await?)
    }

    /// Runs one statement, in a transaction of its own, which is bounded by the server's time-out.
    pub(super) async fn query(&self, sql: Sql, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Failure> {
        let rows = if self.has_settings {
            let prepare = || async {
                let types: Vec<Type> = parameters.iter().map(|(_, of)| of.clone()).collect();
                self.client.prepare_typed(sql.text, &types).await
            };
            let statement = self.prepared[sql.at].get_or_try_init(prepare).await?;
            let values: Vec<_> = parameters.iter().map(|(value, _)| *value).collect();
            self.client.query(statement, &values).await?
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
            rows
        };
        if self.unreplicated.swap(false, Ordering::SeqCst) { Err(Failure::NotReplicated) } else { Ok(rows) }
    }
}

/// Some connections, for one kind of work: reads do not wait for writes.
pub(super) struct Pool {
    database: Arc<Database>,
    size: usize,
    /// Callers that are served at once. One that gives up leaves its turn, and its connection stays taken.
    turns: Semaphore,
    idle: Arc<Mutex<Vec<Arc<Connection>>>>,
    /// By server: how many connections may still be opened to it.
    places: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Pool {
    pub(super) fn new(database: Arc<Database>, size: usize) -> Self {
        Self { database, size, turns: Semaphore::new(size), idle: Arc::default(), places: Mutex::default() }
    }

    /// Does `work` on a connection, and waits for it as long as the timeout lasts.
    ///
    /// Work is never broken off. Its connection stays taken until the statement has ended, whoever still waits for it:
    /// a connection that is closed does not end its statement, so that the next one would be one backend more. Nor is
    /// the statement cancelled: a commit that waits for its standby would then be told as done.
    pub(super) async fn run<T, W>(&self, work: impl FnOnce(Arc<Connection>) -> W) -> Result<T, Failure>
    where
        T: Send,
        W: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let deadline = Instant::now() + self.database.timeout;
        let turn = timeout_at(deadline, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| Failure::Busy)?;
        let connection = timeout_at(deadline, self.connection()).await.unwrap_or(Err(Failure::Silent));
        let connection = connection.map_err(|failure| Failure::Unreached(Box::new(failure)))?;
        let work = work(connection.clone());
        let (database, idle) = (self.database.clone(), self.idle.clone());
        let done = DetachOnDrop::new(async move {
            let result = work.await;
            match &result {
                Err(failure) if failure.refuses_writes() => database.state().current = None,
                Err(failure) if failure.spoils_the_connection() => (),
                _ => lock(&idle).push(connection),
            }
            result
        });
        timeout_at(deadline, done).await.unwrap_or(Err(Failure::Silent))
    }

    async fn connection(&self) -> Result<Arc<Connection>, Failure> {
        loop {
            let idle = lock(&self.idle).pop();
            let Some(connection) = idle else { break };
            let current = self.database.state().current.as_ref() == Some(&connection.target);
            if current && !connection.client.is_closed() {
                return Ok(connection);
            }
        }
        let mut failure = Failure::Lookup;
        for target in self.database.targets().await {
            let key = target.key.clone();
            let opened = self.open(target).await;
            let mut state = self.database.state();
            if matches!(opened, Err(Failure::Silent)) {
                state.silent.insert(key.clone());
            } else {
                state.silent.remove(&key);
            }
            match opened {
                Ok(connection) => {
                    state.current = Some(key);
                    return Ok(Arc::new(connection));
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// A server that does not get on with it keeps the place until its socket breaks: it may have begun.
    async fn open(&self, target: Target) -> Result<Connection, Failure> {
        let places =
            lock(&self.places).entry(target.key.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.size))).clone();
        let place = places.try_acquire_owned().map_err(|_| Failure::Full)?;
        let database = self.database.clone();
        let opened = tokio::spawn(async move { database.connect(&target, place).await });
        let opened = timeout(self.database.url.connect_timeout, opened).await;
        opened.map_or(Err(Failure::Silent), |joined| joined.unwrap_or(Err(Failure::Broken)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
