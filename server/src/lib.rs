//! The reference server of [`midsession`]: its decision in HTTP, over any [`Store`].
//!
//! Read it in this order: [`http`](router) routes a request to a handler; the handler asks the [`Store`] to change one
//! session by [`midsession::apply_link`]; the reply is the crate's answer, byte for byte. What a request must pass
//! before that is in `middleware`, and what listens on the socket in `server`.

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
