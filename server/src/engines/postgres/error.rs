use crate::engines::login;

/// Why the database cannot be opened. `Display` is one line, and repeats no value of the URL.
#[derive(Debug, thiserror::Error)]
pub enum PostgresOpenError {
    /// The URL is another database's.
    #[error("its URL must begin with postgres://")]
    Scheme,
    /// The URL has another form.
    #[error("its URL is not valid: special characters in it must be percent-encoded")]
    Url,
    /// The URL's user or password is not percent-encoded, and is cut in two.
    #[error("{}", login::CUT)]
    Login,
    /// The URL has no host, or more hosts than ports.
    #[error("its URL must name its hosts, and one port for all or one for each")]
    Hosts,
    /// A parameter of the URL.
    #[error("{0}")]
    Parameter(String),
    /// The options ask for fewer than 2 connections or more than 10,000, or for a time below 1 ms or over a day.
    #[error("it takes from 2 to 10000 connections, and times from 1ms to 1day")]
    Options,
    /// Without authorities there is nobody whose word on a certificate would count.
    #[error("this machine trusts no certificate authority: name a file by `sslrootcert`")]
    Roots,
    /// The database, or the way to it, does not let this server in.
    #[error("{0}")]
    Refused(String),
    /// It was waited for in vain.
    #[error("it was not ready in time: {0}")]
    NotReady(String),
    /// A later release of this server was here.
    #[error("its schema is newer than this server: start a later release")]
    Newer,
    /// The tables are missing.
    #[error("its tables are missing or old, and this user may not make them: migrate it as a user who may")]
    NoTables,
    /// The user lacks a right.
    #[error("this user lacks the right to {0} in the table {1}")]
    Right(&'static str, &'static str),
    /// Ids that differ would be one.
    #[error("the column id of its table sessions has a collation that takes different ids for the same")]
    Collation,
    /// Names could not be stored.
    #[error("its encoding is not UTF8")]
    Encoding,
}

impl PostgresOpenError {
    pub(super) fn parameter(name: &str, fault: &str) -> Self {
        let name = if login::is_name(name) { format!("the parameter `{name}`") } else { "a parameter".to_owned() };
        Self::Parameter(format!("{name} of its URL {fault}"))
    }
}
