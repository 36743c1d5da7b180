//! The endpoint of [`midsession`], ready to run: an HTTP server that links a session, a call or a chat, to the end user who has
//! signed in. The crate [`midsession`] decides what a request does to a session. This one carries the request to it, over
//! any [`Store`], and the answer back.
//!
//! ```text
//! socket ─▶ HTTP: layers ─▶ route ─▶ shard ─▶ batch: read · decide · write ─▶ answer
//!                                      └─ Store: SQLite │ PostgreSQL │ Redis Cluster │ yours
//! ```
//!
//! # The modules
//!
//! From the outside in. A module imports only modules of its own row and of those below.
//!
//! | module | what is in it |
//! |---|---|
//! | `main`, `config`, `log`, `exporter`, `health_check` | the binary: its flags, how the log is written out (what a request's line says is in `http/layers/log`), the metrics in Prometheus' form, a client that asks a running server whether it is healthy |
//! | `net` | the socket: the bounds of connections and of a client's time (`limits`), a `connection` that keeps to them, how requests are told apart (`framing`), the shutdown (`backlog`, and `mod`). There is no TLS here: a proxy has it |
//! | `http` | a request until it is a command, and its reply: see below |
//! | `batch` | a command until it is answered, without HTTP and without a database: see below |
//! | `engines` | the stores: `sqlite`, `postgres`, `redis`. A new engine is a new folder, and its URL's scheme goes into `schemes` of `mod`. What they share stands beside them: `tls` loads the certificates for a database, `audit` has the rows that say who changed which session, `login` looks at passwords in URLs |
//! | `retention` | what `purge` does: it erases the end users of ended sessions, on any store that can list its ids |
//! | `detach` | work that is finished though its caller is gone |
//! | `tenant` | which tenant a session belongs to, and how the stored id says so |
//! | `stopping` | what a request is told during the shutdown |
//! | `metrics` | the names of what is counted. Each is counted where it happens |
//! | `store` | what a database must offer |
//!
//! `http`, in a request's order:
//!
//! | file | what is in it |
//! |---|---|
//! | `layers/` | what each request passes before a route: its line in the log (`log`), its metrics (`metrics`), its token (`token`), and the refusal of what a proxy may read in another way (`strict`, by the rules of `../ambiguity`). A header on every reply goes into `reply` |
//! | `paths`, `routes`, `app` | the paths as text; which handler serves which of them; what the handlers work with |
//! | `handlers`, `extract`, `requester` | a route's work; the parts of a request that it takes; the name and the tenant of who asks |
//! | `auth`, `token_file` | the tokens, and the file that they are read from |
//! | `reply` | every reply: its status, its body and its headers |
//! | `schema`, `openapi`, `docs` | the bodies, with a text for each field; the description of the API, which follows from them; the page that shows it |
//! | `health`, `id` | the probe of the store; the ids that the server makes |
//!
//! `batch`, in a command's order:
//!
//! | file | what is in it |
//! |---|---|
//! | `command`, `caller`, `limits` | what is asked of a session, and what is answered; whose share of the queue it takes; the bounds |
//! | `queue`, `task`, `shard` | what waits; one command that waits, with its reply; a shard, which takes its queue batch by batch |
//! | `round` | one batch: read (`reads`, `call`), decided (`decide`), written and answered |
//! | `carryover`, `attempt`, `aside` | what a round leaves for the next; what became of a write of unknown fate; the sessions that must wait, each by itself |
//! | `show` | the reads of `GET`, apart from the links |
//!
//! [`router`] routes a request to a handler. The handler gives [`Sessions`] a command and waits for what is decided.
//! `Sessions` reads from a [`Store`] and writes to it, and [`midsession::apply_link`] decides in between. The reply is the
//! answer of `midsession`, byte for byte.
//!
//! # In parts
//!
//! [`router`] is made of parts, which a team takes into a router of its own: [`routes`], [`start_routes`] and
//! [`health_routes`], and before them [`LogLayer`], [`MetricsLayer`], [`StrictLayer`] and [`TokenLayer`]. [`routes`] has an
//! example, with a login, a [`Tenant`] and ids of the team's own. With default features off, that is all there is: no engine, no
//! command line, no page, no exporter.
//!
//! # Your own store
//!
//! The binary has an engine for SQLite, for PostgreSQL and for Redis, each behind a cargo feature of its name. For
//! another database, implement [`Store`]. All that it must offer is a conditional write. The store below is complete,
//! and so is the server on it:
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::{Arc, Mutex};
//! use std::time::Duration;
//!
//! use midsession::{AnySession, DuplicatePolicy};
//! use midsession_server::{
//!     App, ConditionalWrite, ConnectionLimits, Limits, ReadOutcome, Sessions, Store, StoreError,
//!     Token, Tokens, WriteOutcome, router, serve,
//! };
//! use time::OffsetDateTime;
//! use tokio::net::TcpListener;
//!
//! /// Keeps sessions as long as the process runs.
//! #[derive(Default)]
//! struct Memory(Mutex<HashMap<String, AnySession>>);
//!
//! impl Store for Memory {
//!     async fn read(&self, ids: &[&str]) -> Result<Vec<ReadOutcome>, StoreError> {
//!         let sessions = self.0.lock().map_err(|_| StoreError::new("poisoned"))?;
//!         Ok(ids.iter().map(|id| Ok(sessions.get(*id).cloned())).collect())
//!     }
//!
//!     async fn write(&self, writes: &[ConditionalWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
//!         let mut sessions = self.0.lock().map_err(|_| StoreError::new("poisoned"))?;
//!         let mut write_one = |write: &ConditionalWrite| {
//!             let stored = sessions.get(&*write.id).map(AnySession::revision);
//!             if stored != write.expected {
//!                 return WriteOutcome::Conflict;
//!             }
//!             sessions.insert(write.id.to_string(), write.next.clone());
//!             WriteOutcome::Applied
//!         };
//!         Ok(writes.iter().map(&mut write_one).collect())
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let sessions = Sessions::start(
//!         Memory::default(),
//!         DuplicatePolicy::new(Duration::from_secs(30)),
//!         Arc::new(OffsetDateTime::now_utc),
//!         Limits::default(),
//!     );
//!     let app = App {
//!         sessions: sessions.clone(),
//!         tokens: Tokens::new([Token::new("a-secret-of-16-or-more")?]),
//!         public_docs: false,
//!     };
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     // Yours is over when the server is to stop. This one is over at once.
//!     let shutdown = async {};
//!     serve(listener, router(app), ConnectionLimits::default(), shutdown).await;
//!     // What was taken up is finished.
//!     sessions.stop().await;
//!     Ok(())
//! }
//! ```
//!
//! Run `midsession::testing::conformance::store`, of the core's feature `conformance`, on yours.

mod batch;
#[cfg(feature = "cli")]
mod config;
mod detach;
mod engines;
#[cfg(feature = "exporter")]
mod exporter;
#[cfg(feature = "cli")]
mod health_check;
mod http;
#[cfg(feature = "cli")]
mod log;
pub mod metrics;
mod net;
mod retention;
mod stopping;
mod store;
mod tenant;

pub use batch::{Caller, Clock, Command, Limits, Outcome, Sessions, SubmitError};
#[cfg(feature = "cli")]
pub use config::{Config, DatabaseTask, Task};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use engines::audit::Audit;
#[cfg(feature = "postgres")]
pub use engines::postgres::{Postgres, PostgresOpenError, PostgresOptions};
#[cfg(feature = "redis")]
pub use engines::redis::{Redis, RedisOpenError, RedisOptions};
#[cfg(feature = "cli")]
pub use engines::schemes;
#[cfg(feature = "sqlite")]
pub use engines::sqlite::{Sqlite, SqliteOpenError};
#[cfg(feature = "exporter")]
pub use exporter::Exporter;
#[cfg(feature = "cli")]
pub use health_check::health_check;
pub use http::{
    App, CLIENT_MAX_CHARS, LogLayer, MetricsLayer, StrictLayer, TOKEN_MIN_CHARS, Token, TokenError, TokenFile,
    TokenFileError, TokenLayer, Tokens, health_routes, router, routes, start_routes,
};
#[cfg(feature = "cli")]
pub use log::Log;
pub use net::{ConnectionLimits, serve};
pub use retention::{EndedSession, EraseReport, Purgeable, purge, purge_audit};
pub use stopping::Stopping;
pub use store::{
    Change, ConditionalWrite, Origin, PROBE_ID, ReadOutcome, SessionChange, Store, StoreError, UnreadableRecord,
    WriteOutcome,
};
pub use tenant::Tenant;
