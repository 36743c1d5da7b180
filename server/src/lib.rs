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
//! From the outside in. A module imports only modules of its own row and of those below. `main` is the binary's file.
//!
//! | module | what is in it |
//! |---|---|
//! | `main`, `config`, `log`, `exporter`, `health_check` | the binary: how it starts and stops; its flags and their defaults; how the log is written out; the metrics in Prometheus' form, where a new metric shows by itself; a client that asks a running server whether it is healthy |
//! | `net` | the socket: [below](#net) |
//! | `http` | a request until it is a command, and its reply: [below](#http) |
//! | `batch` | a command until it is answered, without HTTP and without a database: [below](#batch) |
//! | `engines` | the stores: [below](#engines) |
//! | `retention` | what `purge` does: it erases the end users of sessions that ended long ago, on any store that can list them, and deletes old rows of the audit |
//! | `detach` | work that is finished though its caller is gone |
//! | `tenant` | which tenant a session belongs to, and how the stored id says so |
//! | `stopping` | what a request is told during the shutdown |
//! | `metrics` | the names of what is counted. Each is counted in the file where it happens |
//! | `store` | what a database must offer: [`Store`], and what it is asked and answers |
//!
//! ## `net`
//!
//! There is no TLS with clients here: a proxy has it.
//!
//! | file | what is in it |
//! |---|---|
//! | `net/mod` | the listener: who is let in, and the shutdown |
//! | `net/backlog` | the connections that the kernel took before a shutdown, and that were not accepted yet |
//! | `net/limits` | the bounds: how many connections there are, how long a client may take for a head or to read an answer |
//! | `net/connection`, `net/timer` | a connection that keeps to these bounds; the timer that tells it when one has passed |
//! | `net/framing`, `net/phase` | where each request of a connection ends; what the connection and the request on it tell each other |
//!
//! ## `http`
//!
//! In a request's order. A new route goes into `http/paths`, `http/routes` and `http/handlers`, and its bodies into `http/schema`.
//!
//! | file | what is in it |
//! |---|---|
//! | `http/layers/log`, `http/layers/metrics` | what a request's line in the log says; which requests are counted, and under which labels |
//! | `http/layers/route`, `http/layers/service` | the name of a request's route, for both; what all layers have in common |
//! | `http/layers/strict` | the refusal of what a proxy may read in another way, by the rules of `http/ambiguity` |
//! | `http/layers/token` | a request without a valid token goes no further. `http/auth` has the tokens, `http/token_file` the file that they are read from |
//! | `http/routes`, `http/paths` | which handler serves which path, and which layers are before it; the paths as text |
//! | `http/extract` | the parts of a request that a handler takes: the session of the path, and the body, with its largest size |
//! | `http/requester` | the name and the tenant of who asks |
//! | `http/handlers` | a route's work: it makes a command of the request, and a reply of what was decided |
//! | `http/app` | [`App`], what the handlers work with: the sessions, the tokens, and who may see the page |
//! | `http/reply` | every reply, those of the layers among them: its status, its text, its headers. A header on all replies goes here |
//! | `http/schema` | the bodies of requests and replies, with a text for each field |
//! | `http/openapi`, `http/docs` | the description of the API, made from `schema` and the handlers' attributes; the page that shows it |
//! | `http/health`, `http/id` | the probe of the store; the ids that the server makes |
//!
//! ## `batch`
//!
//! In a command's order.
//!
//! | file | what is in it |
//! |---|---|
//! | `batch/mod` | [`Sessions`], which takes the commands |
//! | `batch/command`, `batch/limits` | what is asked of a session, and what is answered; the bounds of the queue, of a batch and of a command's time |
//! | `batch/queue`, `batch/caller` | what waits for a batch, and who is refused if it is full; how large a share of it each caller has |
//! | `batch/task` | one command that waits, with its time-out and its reply |
//! | `batch/shard` | a shard, which takes its queue batch by batch |
//! | `batch/round` | one batch: it reads, decides, writes and answers. The commands of one session are decided in the order in which they came |
//! | `batch/reads`, `batch/call` | what is stored under the ids of a batch; one call of the store, with its time-out |
//! | `batch/decide` | the decisions on one session |
//! | `batch/carryover` | what a round leaves for the next, such as a command whose write lost a race |
//! | `batch/attempt` | what became of a write of unknown fate |
//! | `batch/aside` | the sessions that must wait, since their row is locked or the fate of a write is open; how long until each is tried again |
//! | `batch/show` | the reads of `GET`, which have a queue and batches of their own, so that they delay no link |
//!
//! ## `engines`
//!
//! | file | what is in it |
//! |---|---|
//! | `engines/mod` | the engines that were built in, and the URL schemes that they serve. A new engine is a new folder |
//! | `engines/sqlite/`, `engines/postgres/`, `engines/redis/` | an engine: its options, its tables, its reads and its writes. `main` opens it |
//! | `engines/audit` | a row of the audit, which says who changed which session. Its table and its insert are in the folder of each engine |
//! | `engines/tls` | which certificates of a database are trusted, for all engines |
//! | `engines/postgres/tls`, `engines/redis/link` | the other settings of TLS with a database, such as its versions |
//! | `engines/login` | passwords in URLs |
//!
//! # A link's way
//!
//! [`router`] routes a request to a handler. The handler gives [`Sessions`] a command and waits for what is decided.
//! `Sessions` reads from a [`Store`] and writes to it, and [`midsession::apply_link`] decides in between. The reply is the
//! answer of `midsession`, byte for byte.
//!
//! # In parts
//!
//! [`router`] is made of parts, which a team takes into a router of its own: [`routes`], [`start_routes`] and
//! [`health_routes`], and before them [`LogLayer`], [`MetricsLayer`], [`StrictLayer`] and [`TokenLayer`]. [`routes`] has an
//! example, with a login, a [`Tenant`] and ids of the team's own. With default features off, what remains is the part to embed:
//! these, [`Sessions`], [`Store`] and [`serve`], but no engine, no command line, no page and no exporter.
//!
//! # Your own store
//!
//! The binary has an engine for SQLite, for PostgreSQL and for Redis, each behind a cargo feature of its name. For
//! another database, implement [`Store`]. All that it must offer is a read and a conditional write. The store below is
//! complete, and so is the server on it:
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
