//! The endpoint of [`midsession`], ready to run: its decision in HTTP, over any [`Store`].
//!
//! ```text
//! HTTP ─▶ middleware ─▶ route ─▶ queue ─▶ batch: read · decide · write ─▶ answer
//!                                  └─ Store: SQLite │ PostgreSQL │ Redis Cluster │ yours
//! ```
//!
//! Read it in this order: [`router`] routes a request to a handler. The handler gives [`Sessions`] a command and waits for
//! what is decided. `Sessions` reads from a [`Store`] and writes to it, and [`midsession::apply_link`] decides in between.
//! The reply is the crate's answer, byte for byte. What a request must pass before that is in `middleware`, and what
//! listens on the socket in `server`.
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
//!     App, Change, ConnectionLimits, Found, Limits, Sessions, Store, StoreError, Token,
//!     Tokens, Written, router, serve,
//! };
//! use time::OffsetDateTime;
//! use tokio::net::TcpListener;
//!
//! /// Keeps sessions as long as the process runs.
//! #[derive(Default)]
//! struct Memory(Mutex<HashMap<String, AnySession>>);
//!
//! impl Store for Memory {
//!     async fn read(&self, ids: &[&str]) -> Result<Vec<Found>, StoreError> {
//!         let sessions = self.0.lock().map_err(|_| StoreError::new("poisoned"))?;
//!         Ok(ids.iter().map(|id| Ok(sessions.get(*id).cloned())).collect())
//!     }
//!
//!     async fn write(&self, changes: &[Change]) -> Result<Vec<Written>, StoreError> {
//!         let mut sessions = self.0.lock().map_err(|_| StoreError::new("poisoned"))?;
//!         let mut write = |change: &Change| {
//!             let stored = sessions.get(&change.id).map(AnySession::revision);
//!             if stored != change.expected {
//!                 return Written::No;
//!             }
//!             sessions.insert(change.id.clone(), change.next.clone());
//!             Written::Yes
//!         };
//!         Ok(changes.iter().map(&mut write).collect())
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

mod config;
mod connection;
mod docs;
mod health;
mod http;
mod log;
pub mod metrics;
mod middleware;
mod openapi;
#[cfg(feature = "postgres")]
mod postgres;
mod purge;
#[cfg(feature = "redis")]
mod redis;
mod reply;
mod server;
mod sessions;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod tokens;
mod unbroken;

pub use config::{Config, Task};
pub use http::{App, router};
pub use log::Log;
#[cfg(feature = "postgres")]
pub use postgres::{Postgres, PostgresOpenError, PostgresOptions};
pub use purge::{Purged, Scan, purge};
#[cfg(feature = "redis")]
pub use redis::{Redis, RedisOpenError, RedisOptions};
pub use server::{ConnectionLimits, serve};
pub use sessions::{Clock, Command, Decided, Failure, Limits, Sessions};
#[cfg(feature = "sqlite")]
pub use sqlite::{Sqlite, SqliteOpenError};
pub use store::{Change, Found, Store, StoreError, UnreadableRecord, Written};
pub use tokens::{TOKEN_MIN_CHARS, Token, TokenError, TokenFileError, Tokens, read_token_file};
