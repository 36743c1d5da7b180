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

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

pub use self::app::App;
pub use self::auth::{CLIENT_MAX_CHARS, TOKEN_MIN_CHARS, Token, TokenError, Tokens};
use self::health::Readiness;
use self::paths::{DESCRIPTION, LIVE, READY};
use self::reply::Reply;
pub use self::token_file::{TokenFile, TokenFileError};
use crate::store::Store;

/// The server's routes, and the layers before them.
pub fn router<S: Store>(app: App<S>) -> Router {
    let app = Arc::new(app);
    let ready = Router::new().route(READY, get(handlers::ready::<S>));
    let ready = ready.with_state(Arc::new(Readiness::new(app.sessions.clone())));
    let mut router =
        Router::new().route(LIVE, get(handlers::live)).route(DESCRIPTION, get(openapi::describe)).merge(ready);
    if app.public_docs {
        router = router.merge(docs::router(DESCRIPTION));
    }
    // With the published base URI's doubled slash, too.
    for base in ["/apps/api/v1", "//apps/api/v1"] {
        for kind in ["calls", "chats"] {
            router = router
                .route(&format!("{base}/{kind}"), post(handlers::start::<S>))
                .route(&format!("{base}/{kind}/{{session_id}}"), get(handlers::show::<S>))
                .route(&format!("{base}/{kind}/{{session_id}}/end"), post(handlers::end::<S>));
        }
        // The contract has answers for a comm type that is none of the two, and for none at all.
        for kind in ["calls", "chats", "{comm_type}", ""] {
            let end_user = post(handlers::end_user::<S>).delete(handlers::erase::<S>);
            router = router.route(&format!("{base}/{kind}/{{session_id}}/end_user"), end_user);
        }
    }
    router
        .fallback(async || Reply::NOT_FOUND)
        .method_not_allowed_fallback(async || Reply::METHOD_NOT_ALLOWED)
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(from_fn_with_state(app.clone(), layers::request_layer::<S>))
        .with_state(app)
}
