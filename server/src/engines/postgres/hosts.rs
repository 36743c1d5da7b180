//! The servers of the URL: which of them is in use, and which are passed over.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::PostgresOpenError;
use super::tls;
use super::url::Url;

/// The database, as all its connections know it.
pub(super) struct Database {
    pub(super) url: Url,
    pub(super) tls: MakeRustlsConnect,
    pub(super) timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// The server that the connections in use are to. The others' are let go.
    pub(super) current: Option<String>,
    /// Servers that refuse settings at the start of a connection, as PgBouncer does.
    pub(super) poolers: HashSet<String>,
    /// Servers that did not answer when they were last asked. They are asked last, since one call has not the time for
    /// many of them.
    pub(super) silent: HashSet<String>,
    /// Whether a server that takes writes is being looked for, since the current one did not answer in time.
    pub(super) is_searching: bool,
}

/// One server, at one address.
pub(super) struct Target {
    pub(super) key: String,
    pub(super) config: Config,
}

impl Database {
    pub(super) fn new(url: Url, timeout: Duration) -> Result<Self, PostgresOpenError> {
        let tls = tls::connector(&url)?;
        Ok(Self { url, tls, timeout, state: Mutex::default() })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Less than the timeout there is, to be told of it.
    pub(super) fn statement_timeout(&self) -> u128 {
        (self.timeout * 4 / 5).as_millis().max(1)
    }

    /// The servers of the URL, the one in use first, those that do not answer last.
    pub(super) async fn targets(&self) -> Vec<Target> {
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
}
