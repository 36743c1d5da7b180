use crate::engines::login;

/// Why [`Redis`](super::Redis) does not open. `Display` is one line, and repeats no password.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RedisOpenError {
    /// It is no URL that this engine reads.
    #[error("the URL is not of the form redis://USER:PASSWORD@HOST:PORT,HOST:PORT?PARAMETERS, or rediss:// for TLS")]
    Url,
    /// The URL's user or password is not percent-encoded, and is cut in two.
    #[error("{}", login::CUT)]
    Login,
    /// The URL has a parameter that does not exist. Its name, if it can be no piece of a password.
    #[error("the URL's parameter {0} is unknown")]
    UnknownParameter(String),
    /// The URL has a parameter whose value is not of its form.
    #[error("the URL's parameter {0} has a value that cannot be read")]
    Parameter(String),
    /// The URL has a parameter for TLS, and does not ask for TLS.
    #[error("the URL's parameter {0} needs TLS: begin the URL with rediss://")]
    TlsParameter(String),
    /// A cluster has one database only.
    #[error("the URL names a database other than 0, and a cluster has no other")]
    Database,
    /// Too few or too many connections, or a time that is none or too long.
    #[error(
        "the connections must be from 1 to 1000, the time-out from 1 ms to 24 h, and the start's wait at most 24 h"
    )]
    Options,
    /// A file that the URL names cannot be read, or holds no certificate or key in PEM.
    #[error("the file in the URL's parameter {0} cannot be read, or is not in PEM")]
    File(&'static str),
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(String),
    /// The database refuses, and waiting does not help.
    #[error("the database cannot be used: {0}")]
    Refused(String),
    /// The database was not ready in time.
    #[error("the database was not ready in time: {0}")]
    NotReady(String),
}
