//! What requests pass on their way in, and replies on their way out. A team takes them one by one.

mod log;
mod metrics;
mod route;
mod service;
mod strict;
mod token;

use std::any::Any;

use axum::response::{IntoResponse, Response};

pub use self::log::LogLayer;
pub use self::metrics::MetricsLayer;
pub use self::strict::StrictLayer;
pub use self::token::TokenLayer;
use super::reply::Reply;

/// The answer to a bug of ours.
pub(crate) fn panicked(_: Box<dyn Any + Send>) -> Response {
    Reply::PANICKED.into_response()
}
