//! What a `redis://` URL says.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ::redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use percent_encoding::percent_decode_str;

use super::error::RedisOpenError;
use crate::engines::login;

/// Host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

/// A URL, read.
pub struct Url {
    pub hosts: Vec<Address>,
    /// User, password and the number of the database.
    pub login: RedisConnectionInfo,
    pub tls: Option<Tls>,
    pub replicas: Option<usize>,
    pub ended_ttl: Option<Duration>,
}

/// The files that TLS works with.
#[derive(Default)]
pub struct Tls {
    pub roots: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

impl Url {
    pub fn parse(url: &str) -> Result<Self, RedisOpenError> {
        let (scheme, rest) = url.split_once("://").ok_or(RedisOpenError::Url)?;
        let tls = match scheme {
            "redis" | "valkey" => None,
            "rediss" | "valkeys" => Some(Tls::default()),
            _ => return Err(RedisOpenError::Url),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if login::is_cut(authority, path) {
            return Err(RedisOpenError::Login);
        }
        let (database, query) = path.split_once('?').unwrap_or((path, ""));
        let database = database.trim_start_matches('/');
        let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
        let mut addresses = Vec::new();
        let mut login = RedisConnectionInfo::default();
        for host in hosts.split(',') {
            // One host of the list is what the client's own parser reads.
            let one = format!("redis://{user}{}{host}/{database}", if user.is_empty() { "" } else { "@" });
            let info = one.into_connection_info().map_err(|_| RedisOpenError::Url)?;
            let ConnectionAddr::Tcp(name, port) = info.addr() else { return Err(RedisOpenError::Url) };
            addresses.push(Address { host: name.trim_matches(['[', ']']).to_owned(), port: *port });
            login = info.redis_settings().clone();
        }
        let mut url = Self { hosts: addresses, login, tls, replicas: None, ended_ttl: None };
        for (name, value) in query.split('&').filter(|pair| !pair.is_empty()).map(parameter) {
            url.set(&name, &value?)?;
        }
        Ok(url)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), RedisOpenError> {
        let wrong = || RedisOpenError::Parameter(name.to_owned());
        match (name, &mut self.tls) {
            ("replicas", _) => self.replicas = Some(value.parse().map_err(|_| wrong())?),
            ("ended_ttl", _) => self.ended_ttl = Some(duration(value).ok_or_else(wrong)?),
            ("cacert", Some(tls)) => tls.roots = Some(value.into()),
            ("cert", Some(tls)) => tls.certificate = Some(value.into()),
            ("key", Some(tls)) => tls.key = Some(value.into()),
            ("cacert" | "cert" | "key", None) => return Err(RedisOpenError::TlsParameter(name.to_owned())),
            _ => return Err(RedisOpenError::UnknownParameter(name.to_owned())),
        }
        Ok(())
    }
}

/// A name, and its value with what is percent-encoded decoded. What may be a piece of a password has no name.
fn parameter(pair: &str) -> (String, Result<String, RedisOpenError>) {
    // Without a value it is no word of ours either.
    let (name, value) = pair.split_once('=').unwrap_or_default();
    let name = if login::is_name(name) { name } else { "(not shown)" };
    let value = percent_decode_str(value).decode_utf8().map_err(|_| RedisOpenError::Parameter(name.to_owned()));
    (name.to_owned(), value.map(Into::into))
}

/// A whole number above zero with one of the units d, h, m, s.
fn duration(text: &str) -> Option<Duration> {
    let (number, seconds) = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)]
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))?;
    let number: u64 = number.parse().ok()?;
    // Redis counts the milliseconds from 1970 in 63 bits, so a thousand years are far from its limit.
    let seconds = number.checked_mul(seconds).filter(|seconds| (1..=31_536_000_000).contains(seconds))?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Url {
        Url::parse(url).unwrap_or_else(|error| panic!("{error}"))
    }

    fn refusal(url: &str) -> String {
        Url::parse(url).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn several_hosts_share_one_login() {
        let url = parsed("redis://ann:s%40crt@one:7000,[::1]:7001,three/0?replicas=2&ended_ttl=30d");
        let hosts: Vec<String> = url.hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["one:7000", "[::1]:7001", "three:6379"]);
        assert_eq!((url.login.username(), url.login.password()), (Some("ann"), Some("s@crt")));
        assert_eq!((url.replicas, url.ended_ttl), (Some(2), Some(Duration::from_hours(720))));
        assert!(url.tls.is_none());
    }

    #[test]
    fn tls_takes_its_files_from_the_url() {
        let tls = parsed("rediss://one?cacert=/etc/my%20ca.pem&cert=c.pem&key=k.pem").tls.unwrap();
        assert_eq!(tls.roots, Some("/etc/my ca.pem".into()));
        assert_eq!((tls.certificate, tls.key), (Some("c.pem".into()), Some("k.pem".into())));
    }

    #[test]
    fn a_parameter_that_is_unknown_or_wrong_is_named_and_its_value_is_not_repeated() {
        assert_eq!(refusal("redis://one?replica=1"), "the URL's parameter replica is unknown");
        assert_eq!(
            refusal("redis://one?replicas=none"),
            "the URL's parameter replicas has a value that cannot be read"
        );
        for ttl in ["", "30", "0s", "-1d", "1w", "d", "99999999999999999999d", "1.5h"] {
            let refused = refusal(&format!("redis://one?ended_ttl={ttl}"));
            assert_eq!(refused, "the URL's parameter ended_ttl has a value that cannot be read", "{ttl}");
        }
        assert_eq!(
            refusal("redis://one?cacert=x"),
            "the URL's parameter cacert needs TLS: begin the URL with rediss://"
        );
    }

    #[test]
    fn a_password_that_is_not_encoded_is_refused_with_what_to_do_and_without_a_piece_of_it() {
        for url in
            ["redis://cache:1234?marker@h", "redis://me:mar/ker@h", "redis://me:1234#marker@h", "redis://me:a@marker@h"]
        {
            assert_eq!(refusal(url), login::CUT, "{url}");
        }
        assert_eq!(refusal("redis://cache:1234?marker"), "the URL's parameter (not shown) is unknown");
        assert_eq!(refusal("redis://cache:1234?Mark3r=1"), "the URL's parameter (not shown) is unknown");
    }

    #[test]
    fn what_is_no_url_is_refused_without_repeating_it() {
        for url in ["", "one:6379", "http://one", "redis://", "redis://u:secret@", "redis://one:port", "redis://a,,b"] {
            let refused = refusal(url);
            assert!(refused.starts_with("the URL is not of the form"), "{url}: {refused}");
            assert!(!refused.contains("secret"));
        }
    }
}
