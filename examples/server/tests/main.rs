//! The server as its users meet it: the built binary, real sockets, real databases.

mod faults;
mod harness;
mod hostile;
mod races;
mod service;
