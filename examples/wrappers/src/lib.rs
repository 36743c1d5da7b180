//! `midsession` in the frameworks that teams use. Each file is complete, reads from top to bottom, and passes the whole
//! conformance kit in `tests`; take the one that is closest to your server and replace the store. `client` is for the other
//! side: a customer's server that calls the endpoint.

pub mod actix;
pub mod app;
pub mod axum;
pub mod client;
pub mod grpc;
pub mod queue;
pub mod tower;
