//! `midsession-server`: see the README beside it.

use std::error::Error;
use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(any(feature = "postgres", feature = "sqlite"))]
use midsession_server::Audit;
#[cfg(feature = "sqlite")]
use midsession_server::Sqlite;
use midsession_server::metrics::{BUILD_INFO, CONNECTIONS_MAX, READY};
use midsession_server::{
    App, Config, DatabaseTask, EraseReport, Exporter, Limits, Log, Purgeable, Sessions, Store, Task, Token, TokenFile,
    TokenFileError, Tokens, health_check, purge, purge_audit, router, schemes, serve,
};
#[cfg(feature = "postgres")]
use midsession_server::{Postgres, PostgresOptions};
#[cfg(feature = "redis")]
use midsession_server::{Redis, RedisOptions};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// glibc's keeps what connections took once they are closed: a few live bytes hold a heap that is otherwise free. This one
/// returns what has been free for ten seconds, in a thread of its own.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long the database may take over each of the last two parts of a stop.
const STOP_TIME: Duration = Duration::from_millis(2500);

/// Why a purge is refused.
const NO_AUDIT: &str = "--audit-before: the database has no audit";

/// How long the database may take over a probe, and the pause between two of them.
const PROBE_TIME: Duration = Duration::from_secs(2);
const PROBE_PAUSE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let log = Log::start();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("midsession-server: cannot start its threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ran = runtime.block_on(run(&log));
    // A thread that blocks, such as one that looks up a host's name, must not hold up the stop.
    runtime.shutdown_background();
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("midsession-server: {}", error.to_string().replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

async fn run(log: &Log) -> Result<(), Box<dyn Error>> {
    let config = Config::from_process()?;
    let task = match config.task.clone() {
        Task::Health { path } => return Ok(health_check(config.listen, &path)?),
        Task::Database(task) => task,
    };
    if OffsetDateTime::now_utc().unix_timestamp() < 0 {
        return Err("the machine's clock is before 1970: set it first".into());
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let hangup = signal(SignalKind::hangup())?;
    // With it a file that reaches the limit of its size ends the process. Taken, it is a write that fails.
    let _file_size = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
    let mut shutdown = pin!(async move {
        tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
    });
    let token_file = config.token_file.clone().map(|path| TokenFile::new(path).beside(config.token.clone()));
    let tokens = tokio::select! {
        tokens = read_tokens(config.token.clone(), token_file.as_ref()) => Tokens::new(tokens?),
        () = &mut shutdown => return Ok(()),
    };
    // Before the database is opened: a server that cannot listen need not try.
    let listener = match task {
        DatabaseTask::Serve => Some(listen(config.listen).await?),
        _ => None,
    };
    if let (Some(_), Some(address)) = (&listener, config.metrics_listen) {
        export_metrics(address).await?;
    }
    tokio::spawn(log.watch());
    tokio::spawn(read_tokens_again(hangup, tokens.clone(), token_file));

    let url = &config.database_url;
    let timeout = config.database_timeout;
    match url.split_once(':') {
        #[cfg(feature = "sqlite")]
        Some(("sqlite", _)) => {
            run_on_sqlite(task, config, tokens, listener, shutdown).await?;
        }
        _ if matches!(task, DatabaseTask::Backup { .. } | DatabaseTask::Migrate { to: Some(_) }) => {
            return Err("a backup and an earlier schema are for SQLite: use the database's own tools".into());
        }
        #[cfg(feature = "postgres")]
        Some(("postgres" | "postgresql", _)) => {
            let (connections, start) = (config.database_connections, config.database_wait);
            let options = PostgresOptions { connections, timeout, start, audit: audit(&task, &config) };
            let Some(store) = opened(Postgres::open(url, &options), &mut shutdown).await? else { return Ok(()) };
            match task {
                DatabaseTask::Purge { ended_before, audit_before } => {
                    run_purge(&store, ended_before, audit_before, shutdown).await?;
                }
                _ => serve_from(store, "postgres", 4, config, tokens, listener, shutdown).await?,
            }
        }
        #[cfg(feature = "redis")]
        Some(("redis" | "rediss" | "valkey" | "valkeys", _)) => {
            if config.audit {
                return Err(
                    "--audit is for SQLite and PostgreSQL: Redis cannot write a change and its row as one".into()
                );
            }
            if let DatabaseTask::Purge { .. } = task {
                return Err("a purge is for SQLite and PostgreSQL: with Redis, set ended_ttl in the URL".into());
            }
            let options = RedisOptions { timeout, start: config.database_wait, ..RedisOptions::default() };
            let Some(store) = opened(Redis::open(url, &options), &mut shutdown).await? else { return Ok(()) };
            // More shards would mean smaller batches, and each costs a flush on a master and on its replicas.
            serve_from(store, "redis", 1, config, tokens, listener, shutdown).await?;
        }
        _ => return Err(format!("cannot open the database: its URL must begin with {}", schemes()).into()),
    }
    Ok(())
}

#[cfg(feature = "sqlite")]
async fn run_on_sqlite(
    task: DatabaseTask,
    config: Config,
    tokens: Tokens,
    listener: Option<TcpListener>,
    mut shutdown: impl Future<Output = ()> + Unpin,
) -> Result<(), Box<dyn Error>> {
    let (url, timeout) = (&*config.database_url, config.database_timeout);
    let opening = async {
        match task {
            DatabaseTask::Serve => Sqlite::open(url, timeout).await.map(Some),
            DatabaseTask::Migrate { to: None } | DatabaseTask::Purge { .. } => {
                Sqlite::open_beside(url, timeout).await.map(Some)
            }
            DatabaseTask::Migrate { to: Some(version) } => Sqlite::migrate(url, timeout, version).await.map(|()| None),
            DatabaseTask::Backup { ref file } => {
                let sessions = Sqlite::backup(url, timeout, file).await?;
                let _ = writeln!(std::io::stdout(), "copied {sessions} sessions");
                Ok(None)
            }
        }
    };
    let Some(Some(store)) = opened(opening, &mut shutdown).await? else { return Ok(()) };
    opened(store.audit(audit(&task, &config)), &mut shutdown).await?;
    match task {
        DatabaseTask::Purge { ended_before, audit_before } => {
            run_purge(&store, ended_before, audit_before, shutdown).await?;
        }
        // It writes one batch at a time.
        _ => serve_from(store.clone(), "sqlite", 1, config, tokens, listener, shutdown).await?,
    }
    in_time(store.close()).await;
    Ok(())
}

/// Until it is done, or the process is told to stop. What is erased by then stays erased.
async fn run_purge<S: Purgeable>(
    store: &S,
    ended_before: Option<Duration>,
    audit_before: Option<Duration>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error>> {
    let ended_before = ended_before.map(|ago| long_ago(ago, "--ended-before")).transpose()?;
    let audit_before = audit_before.map(|ago| long_ago(ago, "--audit-before")).transpose()?;
    let purged = async {
        // Before anything is erased. It deletes nothing.
        if let Some(before) = audit_before {
            store.purge_audit(before, 0).await?.ok_or(NO_AUDIT)?;
        }
        if let Some(before) = ended_before {
            let EraseReport { erased, skipped } = purge(store, before).await?;
            writeln!(std::io::stdout(), "erased {erased} sessions, skipped {skipped}")?;
        }
        if let Some(before) = audit_before {
            let deleted = purge_audit(store, before).await?.ok_or(NO_AUDIT)?;
            writeln!(std::io::stdout(), "deleted {deleted} rows of the audit")?;
        }
        Ok(())
    };
    tokio::select! {
        purged = purged => purged,
        () = shutdown => Err("stopped before it was done".into()),
    }
}

fn long_ago(ago: Duration, flag: &str) -> Result<OffsetDateTime, String> {
    let then = time::Duration::try_from(ago).ok().and_then(|ago| OffsetDateTime::now_utc().checked_sub(ago));
    then.ok_or_else(|| format!("{flag} reaches back too far"))
}

/// What a task erases is written to an audit that is there, whoever forgot the flag.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
fn audit(task: &DatabaseTask, config: &Config) -> Audit {
    match task {
        _ if config.audit => Audit::On,
        DatabaseTask::Purge { .. } => Audit::IfThere,
        _ => Audit::Off,
    }
}

/// None if the server is told to stop meanwhile.
async fn opened<S, E: Display>(
    opening: impl Future<Output = Result<S, E>>,
    shutdown: impl Future<Output = ()>,
) -> Result<Option<S>, String> {
    tokio::select! {
        opened = opening => opened.map(Some).map_err(|error| format!("cannot open the database: {error}")),
        () = shutdown => Ok(None),
    }
}

/// Without a listener there is nothing more to do: what is open has its schema.
async fn serve_from<S: Store>(
    store: S,
    engine: &'static str,
    shards: usize,
    config: Config,
    tokens: Tokens,
    listener: Option<TcpListener>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error>> {
    let Some(listener) = listener else { return Ok(()) };
    let started = Instant::now();
    let address = listener.local_addr()?;
    let (queue, request_timeout) = (config.queue, config.request_timeout);
    let limits = Limits { shards, queue, request_timeout, ..Limits::default() };
    let sessions = Sessions::start(store, config.policy, Arc::new(OffsetDateTime::now_utc), limits);
    let app = App { sessions: sessions.clone(), tokens, public_docs: config.public_docs };

    let (version, commit) = (env!("CARGO_PKG_VERSION"), env!("MIDSESSION_BUILD_COMMIT"));
    let (interval, scope) = (config.policy.interval(), config.policy.scope().as_str());
    let connections = config.connections.connections;
    metrics::gauge!(BUILD_INFO, "version" => version, "commit" => commit, "engine" => engine).set(1);
    metrics::gauge!(CONNECTIONS_MAX).set(u32::try_from(connections).unwrap_or(u32::MAX));
    let audit = config.audit;
    tracing::info!(version, commit, engine, ?interval, scope, connections, audit, "started");
    let probing = config.metrics_listen.map(|_| tokio::spawn(probe_again_and_again(sessions.clone())));
    // Whoever started it may not care to read on.
    let _ = writeln!(std::io::stdout(), "listening on http://{address}");
    serve(listener, router(app), config.connections, shutdown).await;
    if let Some(probing) = probing {
        probing.abort();
    }
    in_time(sessions.stop()).await;
    tracing::info!(seconds = started.elapsed().as_secs(), "stopped");
    Ok(())
}

/// So that the metric of readiness is true whether or not anyone asks for `/readyz`.
async fn probe_again_and_again<S: Store>(sessions: Sessions<S>) {
    loop {
        let is_ready = sessions.probe(PROBE_TIME).await.is_ok();
        metrics::gauge!(READY).set(u8::from(is_ready));
        tokio::time::sleep(PROBE_PAUSE).await;
    }
}

/// The last part of a stop, which a database that does not answer must not draw out.
async fn in_time(part: impl Future<Output = ()>) {
    if tokio::time::timeout(STOP_TIME, part).await.is_err() {
        tracing::warn!("gave up on the database: what it was asked last is not known to be done");
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))
}

/// On an address of their own, which need not be open to those who may ask the server.
async fn export_metrics(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let exporter = Exporter::install()?;
    let listener = listen(address).await?;
    tracing::info!(address = %listener.local_addr()?, "metrics are served");
    tokio::spawn(exporter.clone().upkeep());
    tokio::spawn(exporter.serve(listener));
    Ok(())
}

/// All that are valid: the one that was given by itself, and those of the file.
async fn read_tokens(token: Option<Token>, file: Option<&TokenFile>) -> Result<Vec<Token>, TokenFileError> {
    match file {
        Some(file) => file.read().await,
        None => Ok(Vec::from_iter(token)),
    }
}

/// On each SIGHUP. A file that cannot be used changes nothing.
async fn read_tokens_again(mut hangup: Signal, tokens: Tokens, file: Option<TokenFile>) {
    while hangup.recv().await.is_some() {
        let Some(file) = &file else {
            tracing::info!("SIGHUP: there is no token file to read again");
            continue;
        };
        match file.read().await {
            Ok(read) => {
                tracing::info!(tokens = read.len(), "SIGHUP: the token file was read again");
                tokens.replace(read);
            }
            Err(error) => tracing::error!(%error, "SIGHUP: the tokens stay as they were"),
        }
    }
}
