//! The server as its users meet it: the built binary, real sockets, real databases.

mod batching;
mod conformance;
mod faults;
mod harness;
mod hostile;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_harness;
#[cfg(feature = "postgres")]
mod postgres_open;
mod purge;
mod races;
mod service;
mod sqlite;
mod store_kit;
