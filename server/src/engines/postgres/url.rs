//! The URL of a PostgreSQL database: libpq's form and words, as far as they mean something here.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::error::PostgresOpenError;
use crate::engines::login;

/// How long one host may take to answer a connection.
const CONNECT: Duration = Duration::from_secs(1);
/// After this long without a word on an idle connection, its host is asked whether it is there, so often, so many times.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(10), Duration::from_secs(3), 3);
/// How long what was sent may stay without its acknowledgement before the host is taken for gone.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// What a URL says.
pub(super) struct Url {
    /// All but the hosts.
    pub(super) config: Config,
    /// In the URL's order; at least one.
    pub(super) hosts: Vec<(Host, u16)>,
    pub(super) verify: Verify,
    /// The file of the authorities to trust; none: the machine's own.
    pub(super) root: Option<PathBuf>,
    pub(super) connect_timeout: Duration,
}

/// What is checked of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verify {
    Nothing,
    Authority,
    AuthorityAndName,
}

/// What tokio-postgres reads by itself.
const THEIRS: [&str; 6] = ["user", "password", "dbname", "options", "application_name", "channel_binding"];
const HOSTS: [&str; 2] = ["host", "port"];

impl Url {
    pub(super) fn parse(url: &str) -> Result<Self, PostgresOpenError> {
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        let rest = rest.ok_or(PostgresOpenError::Scheme)?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if login::is_cut(authority, path) {
            return Err(PostgresOpenError::Login);
        }
        let (database, query) = path.split_once('?').unwrap_or((path, ""));
        let database = database.trim_start_matches('/');
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), authority),
        };

        let mut read = Read::default();
        let mut seen = HashSet::new();
        let (mut theirs, mut their_hosts) = (Vec::new(), Vec::new());
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            // Without a value it is no word of ours, and may be a piece of a password.
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            if !seen.insert(name) {
                return Err(PostgresOpenError::parameter(name, "is given twice"));
            }
            if THEIRS.contains(&name) {
                theirs.push(parameter.to_owned());
            } else if HOSTS.contains(&name) {
                // In a URL the driver takes a list of hosts for one name.
                let each = value.split(',').map(|value| format!("{name}={value}"));
                their_hosts.extend(each);
            } else {
                read.parameter(name, value)?;
            }
        }
        let mut config = config(&format!("postgres://{user}/{database}?{}", theirs.join("&")))?;
        let hosts = self::hosts(&self::config(&format!("postgres://{hosts}?{}", their_hosts.join("&")))?)?;
        read.apply(&mut config);
        let verify = read.verify();
        Ok(Self { config, hosts, verify, root: read.root, connect_timeout: read.connect_timeout.unwrap_or(CONNECT) })
    }
}

/// The words that are read here.
#[derive(Default)]
struct Read {
    mode: Mode,
    root: Option<PathBuf>,
    /// `sslrootcert=system`, which in libpq checks the name too.
    system_roots: bool,
    connect_timeout: Option<Duration>,
    unacknowledged: Option<Duration>,
    no_keepalives: bool,
    idle: Option<Duration>,
    interval: Option<Duration>,
    count: Option<u32>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    Disable,
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl Read {
    fn parameter(&mut self, name: &str, value: &str) -> Result<(), PostgresOpenError> {
        let decoded = percent_decode_str(value).decode_utf8();
        let value = decoded.map_err(|_| PostgresOpenError::parameter(name, "is not valid"))?;
        let number = || value.parse::<u32>().map_err(|_| PostgresOpenError::parameter(name, "is not a whole number"));
        let seconds = || Ok(Duration::from_secs(number()?.into()));
        match name {
            "sslmode" => {
                self.mode = match &*value {
                    "disable" => Mode::Disable,
                    "prefer" => Mode::Prefer,
                    "require" => Mode::Require,
                    "verify-ca" => Mode::VerifyCa,
                    "verify-full" => Mode::VerifyFull,
                    _ => {
                        let words = "must be disable, prefer, require, verify-ca or verify-full";
                        return Err(PostgresOpenError::parameter(name, words));
                    }
                }
            }
            "sslrootcert" if value == "system" => self.system_roots = true,
            "sslrootcert" => self.root = Some(PathBuf::from(&*value)),
            // A server that refuses writes is of no use here, so all of these mean the same: it is left out.
            "target_session_attrs" if ["any", "read-write", "primary"].contains(&&*value) => (),
            "target_session_attrs" => return Err(PostgresOpenError::parameter(name, "must be read-write")),
            "connect_timeout" => self.connect_timeout = Some(seconds()?).filter(|seconds| !seconds.is_zero()),
            "tcp_user_timeout" => self.unacknowledged = Some(Duration::from_millis(number()?.into())),
            "keepalives" => self.no_keepalives = number()? == 0,
            "keepalives_idle" => self.idle = Some(seconds()?),
            "keepalives_interval" => self.interval = Some(seconds()?),
            "keepalives_count" => self.count = Some(number()?),
            _ => return Err(PostgresOpenError::parameter(name, "is unknown")),
        }
        Ok(())
    }

    fn apply(&self, config: &mut Config) {
        config.ssl_mode(match self.mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        });
        if config.get_application_name().is_none() {
            config.application_name("midsession-server");
        }
        let (idle, interval, count) = KEEPALIVE;
        config.keepalives(!self.no_keepalives);
        config.keepalives_idle(self.idle.unwrap_or(idle));
        config.keepalives_interval(self.interval.unwrap_or(interval));
        config.keepalives_retries(self.count.unwrap_or(count));
        config.tcp_user_timeout(self.unacknowledged.unwrap_or(UNACKNOWLEDGED));
        config.connect_timeout(self.connect_timeout.unwrap_or(CONNECT));
    }

    /// As libpq has it: a root certificate that is named is used, with `require` too.
    fn verify(&self) -> Verify {
        match self.mode {
            Mode::VerifyFull => Verify::AuthorityAndName,
            Mode::Require | Mode::VerifyCa if self.system_roots => Verify::AuthorityAndName,
            Mode::VerifyCa => Verify::Authority,
            Mode::Require if self.root.is_some() => Verify::Authority,
            Mode::Disable | Mode::Prefer | Mode::Require => Verify::Nothing,
        }
    }
}

fn config(url: &str) -> Result<Config, PostgresOpenError> {
    // Its own error may repeat a part of the URL.
    url.parse().map_err(|_| PostgresOpenError::Url)
}

fn hosts(config: &Config) -> Result<Vec<(Host, u16)>, PostgresOpenError> {
    let (hosts, ports) = (config.get_hosts(), config.get_ports());
    let port = |at: usize| match ports {
        [] => Some(5432),
        [only] => Some(*only),
        all => all.get(at).filter(|_| all.len() == hosts.len()).copied(),
    };
    let pairs = hosts.iter().enumerate().map(|(at, host)| Some((host.clone(), port(at)?)));
    let pairs: Option<Vec<_>> = pairs.collect();
    let blank = |(host, _): &(Host, u16)| matches!(host, Host::Tcp(name) if name.is_empty());
    pairs.filter(|pairs| !pairs.is_empty() && !pairs.iter().any(blank)).ok_or(PostgresOpenError::Hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_hosts_user_database_and_what_is_verified() {
        let url = "postgres://me:p%40ss@h1:5433,h2,[::1]:7/db?target_session_attrs=read-write&sslmode=verify-full&sslrootcert=%2Fca.pem";
        let url = Url::parse(url).unwrap();
        let host = |name: &str| Host::Tcp(name.to_owned());
        assert_eq!(url.hosts, [(host("h1"), 5433), (host("h2"), 5432), (host("::1"), 7)]);
        assert_eq!((url.config.get_user(), url.config.get_dbname()), (Some("me"), Some("db")));
        assert_eq!(url.config.get_password(), Some(&b"p@ss"[..]));
        assert_eq!((url.verify, url.root), (Verify::AuthorityAndName, Some("/ca.pem".into())));
        assert_eq!(url.config.get_ssl_mode(), SslMode::Require);
    }

    #[test]
    fn a_socket_s_folder_is_a_host() {
        for url in ["postgres:///db?host=/run/postgresql&user=me", "postgres://me@%2Frun%2Fpostgresql/db"] {
            let url = Url::parse(url).unwrap();
            assert_eq!(url.hosts, [(Host::Unix("/run/postgresql".into()), 5432)]);
            assert_eq!((url.config.get_user(), url.config.get_dbname()), (Some("me"), Some("db")));
        }
    }

    #[test]
    fn what_is_verified_is_what_libpq_verifies() {
        for (query, verify) in [
            ("", Verify::Nothing),
            ("sslmode=require", Verify::Nothing),
            ("sslmode=require&sslrootcert=ca.pem", Verify::Authority),
            ("sslmode=verify-ca&sslrootcert=ca.pem", Verify::Authority),
            ("sslmode=require&sslrootcert=system", Verify::AuthorityAndName),
            ("sslmode=verify-full", Verify::AuthorityAndName),
        ] {
            assert_eq!(Url::parse(&format!("postgres://h/db?{query}")).unwrap().verify, verify, "{query}");
        }
    }

    #[test]
    fn a_parameter_that_is_unknown_or_wrong_is_named_and_its_value_is_not_repeated() {
        for (query, says) in [
            ("sslmod=require", "`sslmod` of its URL is unknown"),
            ("sslmode=marker", "`sslmode` of its URL must be disable, prefer, require, verify-ca or verify-full"),
            ("sslmode=require&sslmode=disable", "`sslmode` of its URL is given twice"),
            ("connect_timeout=marker", "`connect_timeout` of its URL is not a whole number"),
            ("target_session_attrs=read-only", "`target_session_attrs` of its URL must be read-write"),
            ("statement_cache_capacity=1", "`statement_cache_capacity` of its URL is unknown"),
            ("channel_binding=marker", "its URL is not valid"),
            ("port=marker", "its URL is not valid"),
            ("marker marker", "a parameter of its URL is unknown"),
            ("marker", "a parameter of its URL is unknown"),
        ] {
            let error = Url::parse(&format!("postgres://me:secret@h/db?{query}")).err().unwrap().to_string();
            assert!(error.contains(says), "{query}: {error}");
            assert!(!error.contains("marker") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_password_that_is_not_encoded_is_refused_with_what_to_do_and_without_a_piece_of_it() {
        for url in [
            "postgres://me:marker@secret@h/db",
            "postgres://me:1234/marker@h/db",
            "postgres://me:1234?marker=secret@h/db",
            "postgres://h/db?user=me@secret",
        ] {
            let error = Url::parse(url).err().unwrap();
            assert!(matches!(error, PostgresOpenError::Login), "{url}: {error}");
            assert!(error.to_string().contains("write %40 for `@`"), "{error}");
            assert!(!error.to_string().contains("marker") && !error.to_string().contains("secret"), "{error}");
        }
        // libpq takes this one as it is.
        assert_eq!(Url::parse("postgres://me:a#b@h/db").unwrap().config.get_password(), Some(&b"a#b"[..]));
    }

    #[test]
    fn a_url_without_hosts_or_with_ports_that_do_not_match_them_is_refused() {
        for url in ["postgres:///db", "postgres://me@/db", "postgres://h1,,h2/db", "postgres:///db?host=a,b,c&port=1,2"]
        {
            assert!(matches!(Url::parse(url).err(), Some(PostgresOpenError::Hosts)), "{url}");
        }
        assert!(matches!(Url::parse("mysql://h/db").err(), Some(PostgresOpenError::Scheme)));
    }
}
