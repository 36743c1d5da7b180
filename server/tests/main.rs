//! The server as its users meet it: the built binary, real sockets, real databases.

mod audit;
mod audit_upkeep;
mod batching;
mod clients;
mod conformance;
mod docs;
mod docs_page;
mod drain;
mod faults;
mod harness;
mod hostile;
mod hostile_attack;
mod hostile_clients;
mod hostile_framing;
mod memory;
mod operator;
mod overload;
mod parts;
mod postgres;
mod postgres_backup;
mod postgres_erasure;
mod postgres_harness;
mod postgres_open;
mod postgres_rows;
mod postgres_service;
mod postgres_standby;
mod proxies;
mod purge;
mod races;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod redis_harness;
#[cfg(feature = "redis")]
mod redis_service;
mod service;
mod sqlite;
mod sqlite_backup;
mod sqlite_erasure;
mod starts;
mod store_kit;
mod upgrade;
mod watched;
