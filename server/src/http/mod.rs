//! HTTP: what a request must pass, the routes, and their replies.

mod app;
mod auth;
mod docs;
mod extract;
mod handlers;
mod health;
mod id;
mod layers;
mod openapi;
mod paths;
mod reply;
mod schema;
mod token_file;

use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use axum::{Extension, Router};
use midsession::CommType;
use tower_http::catch_panic::CatchPanicLayer;

pub use self::app::App;
pub use self::auth::{CLIENT_MAX_CHARS, TOKEN_MIN_CHARS, Token, TokenError, Tokens};
use self::health::Readiness;
use self::paths::{DESCRIPTION, HEALTH, LIVE, READY};
use self::reply::Reply;
pub use self::token_file::{TokenFile, TokenFileError};
use crate::store::Store;

/// The server's routes, and the layers before them.
pub fn router<S: Store>(app: App<S>) -> Router {
    let app = Arc::new(app);
    let health = Router::new().route(READY, get(handlers::ready::<S>)).route(HEALTH, get(handlers::health::<S>));
    let health = health.with_state(Arc::new(Readiness::new(app.sessions.clone())));
    let mut router =
        Router::new().route(LIVE, get(handlers::live)).route(DESCRIPTION, get(openapi::describe)).merge(health);
    if app.public_docs {
        router = router.merge(docs::router(DESCRIPTION));
    }
    // With the published base URI's doubled slash, too, as the contract's route.
    let bases = ["", "/"].map(|slash| {
        [("calls", CommType::Call), ("chats", CommType::Chat)]
            .map(|kind| (format!("{slash}/apps/api/v1/{}", kind.0), kind.1))
    });
    for (base, comm_type) in bases.into_iter().flatten() {
        let sessions = Router::new()
            .route(&base, post(handlers::start::<S>))
            .route(&format!("{base}/{{session_id}}"), get(handlers::show::<S>).delete(handlers::erase::<S>))
            .route(&format!("{base}/{{session_id}}/end"), post(handlers::end::<S>));
        router = router.merge(sessions.layer(Extension(comm_type)));
    }
    router
        // The contract's route is the crate's to recognise: it takes any comm type, even none, and a doubled slash.
        .fallback(handlers::end_user::<S>)
        .method_not_allowed_fallback(async || Reply::method_not_allowed(None))
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(from_fn_with_state(app.clone(), layers::request_layer::<S>))
        .with_state(app)
}
