//! The server as its users meet it: the built binary, real sockets, real databases.

mod conformance;
mod faults;
mod harness;
mod hostile;
mod races;
mod service;
