//! `midsession` in the frameworks that teams use. Each file is complete, reads from top to bottom, and passes the whole
//! conformance kit in `tests`; take the one that is closest to your server and replace the store.

pub mod actix;
pub mod app;
pub mod axum;
pub mod grpc;
pub mod queue;
pub mod tower;
