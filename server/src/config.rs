use std::net::SocketAddr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser};
use midsession::{DuplicatePolicy, DuplicateScope};

use crate::Token;

/// What the server is told at its start: flags, each with an environment variable.
pub struct Config {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Where the sessions live; may hold a password, so it is never printed.
    pub database_url: String,
    /// How long a link holds back the next, and which.
    pub policy: DuplicatePolicy,
    /// What every request but `/healthz` must show.
    pub token: Token,
}

/// Links live calls and chats to their verified end users
#[derive(Parser)]
#[command(name = "midsession-server", version)]
struct Flags {
    /// Address to listen on; port 0 picks a free one
    #[arg(long, env = "MIDSESSION_LISTEN", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// `sqlite://FILE` or `postgres://USER:PASSWORD@HOST/DATABASE`
    #[arg(long, env = "MIDSESSION_DATABASE_URL", default_value = "sqlite://midsession.db", hide_env_values = true)]
    database_url: String,
    /// The duplicate interval in seconds, such as 30s or 0.5s; 0s switches it off
    #[arg(long, env = "MIDSESSION_INTERVAL", default_value = "30s", value_parser = policy)]
    interval: DuplicatePolicy,
    /// Which links the interval holds back: all of the session's, or those to the identifier linked now
    #[arg(long, env = "MIDSESSION_SCOPE", default_value = "session", value_parser = scope())]
    scope: DuplicateScope,
    /// The bearer token that requests must show
    #[arg(long, env = "MIDSESSION_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl Config {
    /// From the process's arguments and environment; answers `--help` and `--version` by itself.
    ///
    /// # Errors
    /// One line on what is wrong with them, without the token.
    pub fn from_process() -> Result<Self, String> {
        let flags = Flags::command().try_get_matches().and_then(|matches| Flags::from_arg_matches(&matches));
        let flags = flags.map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
            _ => one_line(&error),
        })?;
        // Not clap's to check: its errors repeat the value.
        let token = flags.token.filter(|token| !token.is_empty()).ok_or("no token: set MIDSESSION_TOKEN or --token")?;
        let token = Token::new(&token).ok_or("the token must be visible ASCII characters, without spaces")?;
        let policy = flags.interval.with_scope(flags.scope);
        Ok(Self { listen: flags.listen, database_url: flags.database_url, policy, token })
    }
}

fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    format!("{}; see --help", line.strip_prefix("error: ").unwrap_or(line))
}

/// The interval as the crate's own configuration reads it.
fn policy(interval: &str) -> Result<DuplicatePolicy, serde_json::Error> {
    serde_json::from_value(serde_json::json!({ "interval": interval }))
}

fn scope() -> impl TypedValueParser<Value = DuplicateScope> {
    PossibleValuesParser::new(["session", "same-identifier"]).try_map(|text| text.replace('-', "_").parse())
}
