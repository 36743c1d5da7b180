//! Why a statement or a connection failed, in words that repeat nothing of what is stored or sent.

use std::io;

use tokio_postgres::Error;
use tokio_postgres::error::{Severity, SqlState};

use super::error::PostgresOpenError;
use super::tls;
use crate::store::StoreError;

#[derive(Debug)]
pub(super) enum Failure {
    /// The driver's word, or the database's.
    Database(Error),
    /// It took too long.
    Silent,
    /// All its connections were busy all the time.
    Busy,
    /// No connection could be had, so nothing was sent.
    Unreached(Box<Failure>),
    /// All the connections that it may have are taken by statements that do not end.
    Full,
    /// The name of its host is not known.
    Lookup,
    /// The only servers that answered refuse writes.
    ReadOnly,
    /// The task that worked on it ended early.
    Broken,
    /// One of several statements failed, after others of them had written.
    Partly(Box<Failure>),
    /// It cannot hold sessions as it is.
    Unfit(PostgresOpenError),
}

impl From<PostgresOpenError> for Failure {
    fn from(error: PostgresOpenError) -> Self {
        Self::Unfit(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        if failure.nothing_was_written() { Self::nothing_written(failure.cause()) } else { Self::new(failure.cause()) }
    }
}

impl Failure {
    pub(super) fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Database(error) => error.code(),
            Self::Unreached(failure) | Self::Partly(failure) => failure.code(),
            _ => None,
        }
    }

    pub(super) fn cause(&self) -> String {
        match self {
            Self::Database(error) => of(error),
            Self::Unreached(failure) | Self::Partly(failure) => failure.cause(),
            Self::Busy => "its connections are all busy".to_owned(),
            Self::Silent => "it does not answer".to_owned(),
            Self::Full => "its connections are all held by statements that do not end".to_owned(),
            Self::Lookup => "the name of its host is not known".to_owned(),
            Self::ReadOnly => "it refuses writes".to_owned(),
            Self::Broken => "the work on it was given up".to_owned(),
            Self::Unfit(error) => error.to_string(),
        }
    }

    /// Nothing was sent, or the statement failed before its commit. Not so if the connection ended meanwhile, be it by an
    /// administrator's command: a commit that waits for its standby is not undone by it.
    pub(super) fn nothing_was_written(&self) -> bool {
        match self {
            Self::Busy | Self::Unreached(_) => true,
            Self::Database(error) => error.as_db_error().is_some_and(|error| {
                error.parsed_severity() == Some(Severity::Error)
                    && *error.code() != SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN
                    && !error.code().code().starts_with("08")
            }),
            _ => false,
        }
    }

    /// Another transaction was in the way, and this one was rolled back: what it was for is decided again.
    pub(super) fn lost_the_race(&self) -> bool {
        if matches!(self, Self::Partly(_)) {
            return false;
        }
        let codes = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED];
        self.code().is_some_and(|code| codes.contains(code))
    }

    /// Something else holds a row for longer than it was waited for. This statement was undone.
    pub(super) fn is_held(&self) -> bool {
        self.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
    }

    /// The server's own time-out ended it.
    pub(super) fn took_too_long(&self) -> bool {
        self.code() == Some(&SqlState::QUERY_CANCELED)
    }

    /// The server behind the connection has become a standby, or is one again.
    pub(super) fn refuses_writes(&self) -> bool {
        matches!(self, Self::ReadOnly) || self.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
    }

    /// The connection is not to be used again.
    pub(super) fn spoils_the_connection(&self) -> bool {
        let missing_statement = [
            SqlState::INVALID_SQL_STATEMENT_NAME,
            SqlState::DUPLICATE_PSTATEMENT,
            SqlState::FEATURE_NOT_SUPPORTED,
            SqlState::IN_FAILED_SQL_TRANSACTION,
            SqlState::ACTIVE_SQL_TRANSACTION,
        ];
        match self.code() {
            Some(code) => self.refuses_writes() || missing_statement.contains(code),
            None => true,
        }
    }

    /// It may pass by itself: a start waits for it.
    pub(super) fn may_pass(&self) -> bool {
        let error = match self {
            Self::Unreached(failure) => return failure.may_pass(),
            Self::Unfit(_) => return false,
            Self::Database(error) => error,
            _ => return true,
        };
        match error.code() {
            // Who may come in, what is allowed, and what exists: not a matter of time, but for the database itself.
            Some(code) => {
                *code == SqlState::UNDEFINED_DATABASE
                    || !["28", "42", "3F", "0A", "22"].iter().any(|class| code.code().starts_with(class))
            }
            None => handshake(error).is_none() && driver_word(error).is_none(),
        }
    }
}

fn of(error: &Error) -> String {
    if let Some(code) = error.code() {
        let word = word(code).map(|word| format!("{word}, ")).unwrap_or_default();
        return format!("{word}code {}", code.code());
    }
    if let Some(reason) = handshake(error).map(tls::reason).or_else(|| driver_word(error)) {
        return reason.to_owned();
    }
    match io(error) {
        Some(error) if error.kind() == io::ErrorKind::TimedOut => "it does not answer".to_owned(),
        Some(error) => error.kind().to_string(),
        None => "the connection broke".to_owned(),
    }
}

/// Of the codes that an operator meets most.
fn word(code: &SqlState) -> Option<&'static str> {
    Some(match code.code() {
        "28P01" | "28000" => "it does not let this user in",
        "3D000" => "there is no such database",
        "42501" => "this user lacks a right",
        "42P01" => "there is no such table",
        "53100" => "its disk is full",
        "53300" => "it has too many connections",
        "25006" => "it refuses writes",
        "55P03" | "57014" => "it took too long",
        "57P01" | "57P02" => "it is shutting down",
        "57P03" => "it is starting up",
        _ => return None,
    })
}

fn io(error: &Error) -> Option<&io::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

fn handshake(error: &Error) -> Option<&rustls::Error> {
    io(error)?.get_ref()?.downcast_ref()
}

/// What the driver says by itself. Only these: another text may hold anything.
fn driver_word(error: &Error) -> Option<&'static str> {
    let said = std::error::Error::source(error)?.to_string();
    Some(match said.as_str() {
        "server does not support TLS" => "it does not offer TLS, which the URL requires",
        "password missing" => "it asks for a password, and the URL has none",
        "server did not use channel binding" => "it does not do channel binding, which the URL requires",
        "unsupported authentication method" | "unsupported SASL mechanism" => {
            "it asks for a way to sign in that is not supported"
        }
        "no hostname provided for TLS handshake" => "a socket file has no TLS, which the URL requires",
        _ => return None,
    })
}
