//! The reference server of [`midsession`]: its decision in HTTP, on SQLite and PostgreSQL.
//!
//! Read it in this order: [`http`](router) routes a request to a handler; the handler asks the [`Store`] to change one
//! session by [`midsession::apply_link`]; the reply is the crate's answer, byte for byte. What a request must pass
//! before that is in `middleware`, and what listens on the socket in `server`.

mod config;
mod http;
mod legacy;
mod middleware;
mod openapi;
#[cfg(feature = "postgres")]
mod postgres;
mod reply;
mod server;
mod sessions;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;

pub use config::Config;
pub use http::{App, router};
pub use legacy::{Store as LegacyStore, StoreError as LegacyError};
pub use middleware::Token;
#[cfg(feature = "postgres")]
pub use postgres::{Postgres, PostgresOpenError, PostgresOptions};
pub use server::serve;
pub use sessions::{Clock, Command, Decided, Failure, Limits, Sessions};
#[cfg(feature = "sqlite")]
pub use sqlite::{Sqlite, SqliteOpenError};
pub use store::{Change, Found, Store, StoreError, UnreadableRecord, Written};
