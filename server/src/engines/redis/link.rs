//! One connection to one node.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Pipeline, RedisConnectionInfo, Value};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::RedisOpenError;
use super::url::{Address, Tls};
use crate::engines::tls::{NoRoots, certificates, roots};

/// Why a node could not be asked, in words without any data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub text: Arc<str>,
    /// The node may answer later, without anyone's help.
    pub may_pass: bool,
    /// It did not answer in time: the next one to ask had better not wait for it.
    pub silent: bool,
}

impl Cause {
    pub fn passing(text: impl Into<Arc<str>>) -> Self {
        Self { text: text.into(), may_pass: true, silent: false }
    }

    fn lasting(text: impl Into<Arc<str>>) -> Self {
        Self { text: text.into(), may_pass: false, silent: false }
    }

    fn silence() -> Self {
        Self { text: "no answer in time".into(), may_pass: true, silent: true }
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => Self::lasting(format!("TLS: {tls}")),
            None if error.kind() == ErrorKind::InvalidData => Self::lasting("TLS: the node does not speak it"),
            None => Self::passing(error.kind().to_string()),
        }
    }
}

impl From<::redis::RedisError> for Cause {
    fn from(error: ::redis::RedisError) -> Self {
        if let Some(io) = error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
            return match io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(tls) => Self::lasting(format!("TLS: {tls}")),
                None => Self::passing(io.kind().to_string()),
            };
        }
        match error.kind() {
            ::redis::ErrorKind::AuthenticationFailed => Self::lasting("the node refuses the user or the password"),
            _ => Self::passing(error.code().unwrap_or_else(|| error.category()).to_owned()),
        }
    }
}

/// Makes connections, all with the same login and the same trust.
pub struct Dialer {
    login: RedisConnectionInfo,
    tls: Option<TlsConnector>,
    limit: Duration,
}

impl Dialer {
    pub fn new(login: RedisConnectionInfo, tls: Option<&Tls>, limit: Duration) -> Result<Self, RedisOpenError> {
        let tls = tls.map(connector).transpose()?;
        // What it would tell the node is a right that the user need not have.
        Ok(Self { login: login.set_skip_set_lib_name(), tls, limit })
    }

    pub async fn dial(&self, address: &Address) -> Result<Link, Cause> {
        timeout(self.limit, self.connect(address)).await.unwrap_or_else(|_| Err(Cause::silence()))
    }

    async fn connect(&self, address: &Address) -> Result<Link, Cause> {
        let stream = TcpStream::connect((&*address.host, address.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return self.greet(stream).await };
        let name = ServerName::try_from(address.host.clone()).map_err(|_| Cause::lasting("TLS: no name to verify"))?;
        self.greet(tls.connect(name, stream).await?).await
    }

    async fn greet(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Link, Cause> {
        // Time-outs are set where a link is asked, since what it is asked takes different times.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let (connection, driver) = MultiplexedConnection::new_with_config(&self.login, stream, config).await?;
        let mut link = Link { connection, driver: tokio::spawn(driver) };
        // A node that hangs takes connections all the same, and answers nothing.
        let mut ping = Pipeline::new();
        ping.cmd("PING");
        match link.ask(&ping, self.limit).await?.pop() {
            Some(Value::ServerError(error)) => Err(Cause::passing(error.code())),
            _ => Ok(link),
        }
    }
}

fn connector(files: &Tls) -> Result<TlsConnector, RedisOpenError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| RedisOpenError::Tls(error.to_string()))?;
    let roots = roots(files.roots.as_deref()).map_err(|error| match error {
        NoRoots::Unreadable => RedisOpenError::File("cacert"),
        NoRoots::Empty => RedisOpenError::Tls("there is no root certificate to trust".into()),
    })?;
    let builder = builder.with_root_certificates(roots);
    let config = match (&files.certificate, &files.key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|_| RedisOpenError::File("key"))?;
            let chain = certificates(certificate).map_err(|_| RedisOpenError::File("cert"))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| RedisOpenError::Tls(error.to_string()))?
        }
        _ => return Err(RedisOpenError::Tls("the parameters cert and key go together".into())),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A connection, for one asker at a time: what `WAIT` says is of the writes of its own connection alone.
pub struct Link {
    connection: MultiplexedConnection,
    driver: JoinHandle<()>,
}

impl Link {
    /// The replies, one a command. A reply may be a [`Value::ServerError`]. After an error the link is of no more use,
    /// and it is not known which commands were carried out.
    pub async fn ask(&mut self, commands: &Pipeline, limit: Duration) -> Result<Vec<Value>, Cause> {
        let asked = self.connection.send_packed_commands(commands, 0, commands.len());
        let replies = timeout(limit, asked).await.map_err(|_| Cause::silence())??;
        if replies.len() == commands.len() { Ok(replies) } else { Err(Cause::passing("replies are missing")) }
    }

    /// Ends when the node has closed the connection.
    pub async fn closed(&mut self) {
        // Its end is all that is asked: it does not panic, and no one else aborts it.
        let _ = (&mut self.driver).await;
    }
}

impl Drop for Link {
    /// Otherwise it would wait for the answers of a node that hangs.
    fn drop(&mut self) {
        self.driver.abort();
    }
}
