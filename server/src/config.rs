use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{BoolishValueParser, PossibleValuesParser, RangedU64ValueParser, Resettable, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};
use midsession::{DuplicatePolicy, DuplicateScope};
use rustix::process::{Resource, getrlimit};

use crate::http::{Token, TokenError};
use crate::net::ConnectionLimits;

/// Descriptors kept for what is no client: the database's connections and files, the log, the metrics.
const DESCRIPTORS_KEPT: usize = 128;
/// The most connections that are taken without being asked for.
const CONNECTIONS_MAX: usize = 10_000;
/// The most requests that may wait in a shard.
const QUEUE_MAX: u64 = 1 << 20;
/// The most connections to one PostgreSQL server, which has 262,143 of them at most.
const DATABASE_CONNECTIONS_MAX: u64 = 10_000;
/// The longest time-out. No request waits longer for anything, and no clock overflows.
const TIMEOUT_MAX: Duration = Duration::from_hours(24);
/// The shortest time-out: timers count in milliseconds.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);

/// Two builds of one version differ in their commit.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("MIDSESSION_BUILD_COMMIT"), ")");

/// What the server is told at its start: flags, each with an environment variable.
pub struct Config {
    /// What it is to do.
    pub task: Task,
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Where the sessions live; may hold a password, so it is never printed.
    pub database_url: String,
    /// How long a link holds back the next, and which.
    pub policy: DuplicatePolicy,
    /// How long a request may wait for its answer.
    pub request_timeout: Duration,
    /// How many requests may wait to be decided, in each shard.
    pub queue: usize,
    /// The most connections to one PostgreSQL server.
    pub database_connections: usize,
    /// How long one read or write of the database may take.
    pub database_timeout: Duration,
    /// How long a start waits for a PostgreSQL or Redis database that is not ready.
    pub database_wait: Duration,
    /// The token that was given by itself. A server has this one, a file of them, or both.
    pub token: Option<Token>,
    /// Where the others are read from, at the start and on SIGHUP.
    pub token_file: Option<PathBuf>,
    /// What clients may take of the server.
    pub connections: ConnectionLimits,
    /// Whether the API's description and its page are open to everyone.
    pub public_docs: bool,
    /// The address that metrics are served on.
    pub metrics_listen: Option<SocketAddr>,
    /// Whether a row is written for each accepted link, end and erasure.
    pub audit: bool,
}

/// What the process is to do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Task {
    /// What needs the database.
    #[command(flatten)]
    Database(DatabaseTask),
    /// Ask the server that runs with the same --listen on this machine for a path, and exit: 0 if it answers 200
    Health {
        /// /livez: it runs; /readyz: it takes traffic
        #[arg(default_value = "/livez", value_parser = ["/livez", "/readyz"])]
        path: String,
    },
}

/// What it is to do with the database.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum DatabaseTask {
    /// Serve; this is the default
    Serve,
    /// Make the database's schema, and exit
    Migrate {
        /// SQLite: the version of the schema to go back to, for an earlier release; the latest if it is not given
        #[arg(long)]
        to: Option<u32>,
    },
    /// SQLite: copy the database to a new file while a server works on it, and exit
    Backup {
        /// The new file
        file: PathBuf,
    },
    /// Erase the personal data of sessions that ended long ago, delete old rows of the audit, and exit
    Purge {
        /// How long ago sessions must have ended, such as 30d
        #[arg(long, value_parser = humantime::parse_duration, required_unless_present = "audit_before")]
        ended_before: Option<Duration>,
        /// How old rows of the audit must be, such as 400d
        #[arg(long, value_parser = humantime::parse_duration)]
        audit_before: Option<Duration>,
    },
}

/// Links live calls and chats to their verified end users
#[derive(Parser)]
#[command(name = "midsession-server", version = VERSION)]
struct Flags {
    #[command(subcommand)]
    task: Option<Task>,
    /// Address to listen on; port 0 picks a free one
    #[arg(long, env = "MIDSESSION_LISTEN", default_value = "127.0.0.1:3000", global = true)]
    listen: SocketAddr,
    /// `sqlite://FILE`, `postgres://USER:PASSWORD@HOST/DATABASE` or `redis://HOST:PORT`
    #[arg(
        long,
        env = "MIDSESSION_DATABASE_URL",
        default_value = "sqlite://midsession.db",
        hide_env_values = true,
        global = true
    )]
    database_url: String,
    /// The duplicate interval in seconds, such as 30s or 0.5s; 0s switches it off
    #[arg(long, env = "MIDSESSION_INTERVAL", default_value = "30s", value_parser = policy)]
    interval: DuplicatePolicy,
    /// Which links the interval holds back: all of the session's, or those to the identifier linked now
    #[arg(long, env = "MIDSESSION_SCOPE", default_value = "session", value_parser = scope())]
    scope: DuplicateScope,
    /// How long a request may wait for the database before it is answered 503
    #[arg(long, env = "MIDSESSION_REQUEST_TIMEOUT", default_value = "5s", value_parser = timeout)]
    request_timeout: Duration,
    /// How many requests may wait to be decided, in each shard; those beyond are answered 503
    #[arg(
        long,
        env = "MIDSESSION_QUEUE",
        default_value = "2048",
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=QUEUE_MAX)
    )]
    queue: usize,
    /// The most connections to one PostgreSQL server: at least 2
    #[arg(
        long,
        env = "MIDSESSION_DATABASE_CONNECTIONS",
        default_value = "16",
        value_parser = RangedU64ValueParser::<usize>::new().range(2..=DATABASE_CONNECTIONS_MAX),
        global = true
    )]
    database_connections: usize,
    /// How long one read or write of the database may take, at most half of the request's time-out; two fifths of it
    /// if it is not given
    #[arg(long, env = "MIDSESSION_DATABASE_TIMEOUT", value_parser = timeout)]
    database_timeout: Option<Duration>,
    /// How long a start waits for a PostgreSQL or Redis database that is not ready
    #[arg(long, env = "MIDSESSION_DATABASE_WAIT", default_value = "30s", value_parser = timeout, global = true)]
    database_wait: Duration,
    /// A bearer token that requests may show, of at least 16 characters, or `NAME:TOKEN`: logs and metrics then have the name
    #[arg(long, env = "MIDSESSION_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A file of bearer tokens that requests may show, one a line, each with or without a name; read again on SIGHUP
    #[arg(long, env = "MIDSESSION_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Address to serve Prometheus' metrics on, at /metrics and without a token; none if it is not given
    #[arg(long, env = "MIDSESSION_METRICS_LISTEN")]
    metrics_listen: Option<SocketAddr>,
    /// Open /openapi.json and its page /docs to everyone: without a token
    #[arg(long, env = "MIDSESSION_PUBLIC_DOCS", value_parser = BoolishValueParser::new())]
    public_docs: bool,
    /// Write a row for each accepted link, end and erasure, with the change itself: for SQLite and PostgreSQL
    #[arg(long, env = "MIDSESSION_AUDIT", value_parser = BoolishValueParser::new(), global = true)]
    audit: bool,
    /// How many connections are open at once; as many as the limit of open files allows if it is not given
    #[arg(long, env = "MIDSESSION_MAX_CONNECTIONS")]
    max_connections: Option<usize>,
    /// How long a connection may be idle between two requests
    #[arg(long, env = "MIDSESSION_IDLE_TIMEOUT", default_value = "75s", value_parser = timeout)]
    idle_timeout: Duration,
    /// How long a client may take over a request's head
    #[arg(long, env = "MIDSESSION_HEAD_TIMEOUT", default_value = "10s", value_parser = timeout)]
    head_timeout: Duration,
    /// How long a client may leave an answer unread
    #[arg(long, env = "MIDSESSION_WRITE_TIMEOUT", default_value = "10s", value_parser = timeout)]
    write_timeout: Duration,
    /// How long a server that is told to stop still takes connections, while it tells clients to go elsewhere
    #[arg(long, env = "MIDSESSION_DRAIN", default_value = "5s", value_parser = drain)]
    drain: Duration,
}

impl Config {
    /// From the process's arguments and environment; answers `--help` and `--version` by itself.
    ///
    /// # Errors
    /// One line on what is wrong with them, without the token.
    pub fn from_process() -> Result<Self, String> {
        let command = Flags::command().mut_args(without_empty_variable);
        let flags = command.try_get_matches().and_then(|matches| Flags::from_arg_matches(&matches));
        let flags = flags.map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
            _ => one_line(&error),
        })?;
        let task = flags.task.unwrap_or(Task::Database(DatabaseTask::Serve));
        // Not clap's to check: its errors repeat the value.
        let token = flags.token.filter(|token| !token.is_empty()).map(|token| Token::parse(&token));
        let token = token.transpose().map_err(|error: TokenError| error.to_string())?;
        if token.is_none() && flags.token_file.is_none() && task == Task::Database(DatabaseTask::Serve) {
            return Err("no token: set MIDSESSION_TOKEN or --token-file".to_owned());
        }
        let database_timeout = flags.database_timeout.unwrap_or(flags.request_timeout * 2 / 5);
        if database_timeout > flags.request_timeout / 2 {
            return Err(
                "--database-timeout may be at most half of --request-timeout, so that a write can be looked up"
                    .to_owned(),
            );
        }
        let connections = ConnectionLimits {
            connections: connections(flags.max_connections)?,
            idle: flags.idle_timeout,
            head: flags.head_timeout,
            write: flags.write_timeout,
            drain: flags.drain,
        };
        Ok(Self {
            task,
            listen: flags.listen,
            database_url: flags.database_url,
            policy: flags.interval.with_scope(flags.scope),
            request_timeout: flags.request_timeout,
            queue: flags.queue,
            database_connections: flags.database_connections,
            database_timeout,
            database_wait: flags.database_wait,
            token,
            token_file: flags.token_file,
            connections,
            public_docs: flags.public_docs,
            metrics_listen: flags.metrics_listen,
            audit: flags.audit,
        })
    }
}

/// Until clap goes on to usage and advice.
fn one_line(error: &clap::Error) -> String {
    let is_flag = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.starts_with('-'),
        _ => error.kind() != ErrorKind::InvalidSubcommand,
    };
    if !is_flag {
        // Not repeated: it may be a password that lost its flag.
        return "an argument is neither a flag nor a task; see --help".to_owned();
    }
    let text = error.to_string();
    let lines: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let line = lines.join(" ");
    format!("{}; see --help", line.strip_prefix("error: ").unwrap_or(&line))
}

/// As many as asked for, and never more than there are descriptors for.
fn connections(asked: Option<usize>) -> Result<usize, String> {
    let limit =
        getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let room = limit.saturating_sub(DESCRIPTORS_KEPT);
    match asked {
        _ if room == 0 => {
            Err(format!("at most {limit} files may be open, which is too few: raise the limit (ulimit -n)"))
        }
        Some(0) => Err("--max-connections must be at least 1".to_owned()),
        Some(asked) if asked > room => Err(format!(
            "--max-connections may be at most {room}, since at most {limit} files may be open: raise that limit (ulimit -n)"
        )),
        Some(asked) => Ok(asked),
        None => Ok(room.min(CONNECTIONS_MAX)),
    }
}

/// An empty variable counts as one that is not set: a unit or a compose file cannot leave one out.
fn without_empty_variable(flag: Arg) -> Arg {
    let is_empty = flag.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    if is_empty { flag.env(Resettable::Reset) } else { flag }
}

/// None at all is a server that closes its listener at once.
fn drain(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Ok(Duration::ZERO),
        _ => timeout(text),
    }
}

/// How long something may take. None at all would be a server that answers nothing.
fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout) {
        Ok(timeout)
    } else {
        Err(format!(
            "it must be from {} to {}",
            humantime::format_duration(TIMEOUT_MIN),
            humantime::format_duration(TIMEOUT_MAX)
        ))
    }
}

/// The interval as the crate's own configuration reads it.
fn policy(interval: &str) -> Result<DuplicatePolicy, serde_json::Error> {
    serde_json::from_value(serde_json::json!({ "interval": interval }))
}

fn scope() -> impl TypedValueParser<Value = DuplicateScope> {
    PossibleValuesParser::new(["session", "same-identifier"]).try_map(|text| text.replace('-', "_").parse())
}
