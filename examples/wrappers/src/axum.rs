//! axum, with its typed extractor.
//!
//! The lines of glue: `sed '/^use/d; /^ *\/\//d; /^$/d' examples/wrappers/src/axum.rs | wc -l`

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Response, StatusCode, Uri};
use axum::routing::post;
use axum::{Json, Router, body::Body};
use midsession::{Answer, Endpoint, LinkError, OwnedLinkRequest};

use crate::app::{App, Contended, labels};

/// The endpoint as a router, to be merged with yours or served alone.
pub fn router(app: Arc<App>) -> Router {
    // Not `fallback(link)`, which takes every method: a GET with a body would link.
    Router::new().fallback_service(post(link).layer(DefaultBodyLimit::max(16 * 1024)).with_state(app))
}

// The path comes from the `Uri`: axum's `Path` is percent-decoded, and `…/chat%73/42/…` would link.
async fn link(
    State(app): State<Arc<App>>,
    uri: Uri,
    body: Result<Json<OwnedLinkRequest>, JsonRejection>,
) -> Response<Body> {
    let Some(endpoint) = Endpoint::parse(uri.path()) else {
        return Answer::from(LinkError::NotFound).into();
    };
    let Json(OwnedLinkRequest(request)) = match body {
        Ok(body) => body,
        Err(rejection) => return rejected(&rejection).into(),
    };
    let request = request.with_endpoint(&endpoint);
    let Ok(decision) = app.link(endpoint.session_id(), &request) else {
        return unavailable(&Contended).into();
    };
    let (outcome, param) = labels(&decision);
    tracing::info!(outcome, param, "link");
    Answer::from(&decision).into()
}

/// The form of the contract for what `Json` itself refuses, which would be sent as plain text.
fn rejected(rejection: &JsonRejection) -> Answer {
    let (status, body) = match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => (413, r#"{"message":"body is over 16 KiB"}"#),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (415, r#"{"message":"content type must be application/json"}"#),
        _ => (400, r#"{"message":"body is not valid JSON"}"#),
    };
    Answer::new(status, body)
}

fn unavailable(_: &Contended) -> Answer {
    Answer::new(503, r#"{"message":"try again"}"#)
}
