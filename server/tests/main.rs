//! The server as its users meet it: the built binary, real sockets, real databases.

mod batching;
mod conformance;
mod faults;
mod harness;
mod hostile;
mod memory;
mod races;
mod service;
