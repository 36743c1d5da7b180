//! HTTP: what a request must pass, the routes, and their replies.

mod ambiguity;
mod app;
mod auth;
#[cfg(feature = "docs")]
mod docs;
mod extract;
mod handlers;
mod health;
mod id;
mod layers;
mod openapi;
mod paths;
mod reply;
mod requester;
mod routes;
mod schema;
mod token_file;

pub(crate) use self::ambiguity::Ambiguity;
pub use self::app::App;
pub use self::auth::{CLIENT_MAX_CHARS, TOKEN_MIN_CHARS, Token, TokenError, Tokens};
pub use self::layers::{LogLayer, MetricsLayer, StrictLayer, TokenLayer};
pub use self::routes::{health_routes, router, routes, start_routes};
pub use self::token_file::{TokenFile, TokenFileError};
