//! actix-web, with its typed extractor.
//!
//! The lines of glue: `sed '/^use/d; /^ *\/\//d; /^$/d' examples/wrappers/src/actix.rs | wc -l`

use std::sync::Arc;

use actix_web::error::JsonPayloadError;
use actix_web::http::StatusCode;
use actix_web::web::{Json, JsonConfig, ServiceConfig, post, resource};
use actix_web::{HttpRequest, HttpResponse, Responder};
use midsession::{Answer, Endpoint, LinkError, OwnedLinkRequest};

use crate::app::{App, labels};

/// The endpoint, for `actix_web::App::configure`.
pub fn configure(app: Arc<App>) -> impl FnOnce(&mut ServiceConfig) {
    move |service| {
        service.app_data(app).app_data(JsonConfig::default().limit(16 * 1024));
        // Not `default_service(post().to(link))`, which takes every method: a GET with a body would link.
        service.service(resource("/{path:.*}").route(post().to(link)));
    }
}

// The path comes from the request line: `match_info` may be percent-decoded, and `…/chat%73/42/…` would link.
async fn link(request: HttpRequest, body: Result<Json<OwnedLinkRequest>, actix_web::Error>) -> impl Responder {
    let Some(endpoint) = Endpoint::parse(request.uri().path()) else {
        return respond(&Answer::from(LinkError::NotFound));
    };
    let body = match body {
        Ok(Json(OwnedLinkRequest(body))) => body.with_endpoint(&endpoint),
        Err(error) => return respond(&rejected(&error)),
    };
    let Some(Ok(decision)) = request.app_data::<Arc<App>>().map(|app| app.link(endpoint.session_id(), &body)) else {
        return respond(&Answer::new(503, r#"{"message":"try again"}"#));
    };
    let (outcome, param) = labels(&decision);
    tracing::info!(outcome, param, "link");
    respond(&Answer::from(&decision))
}

/// actix-web has its own types of HTTP, so the feature `http` is of no use here.
fn respond(answer: &Answer) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    if let Some(seconds) = answer.retry_after_secs() {
        response.insert_header(("retry-after", seconds));
    }
    response.content_type("application/json").body(answer.body)
}

/// The form of the contract for what `Json` itself refuses, which would be sent without a message.
fn rejected(error: &actix_web::Error) -> Answer {
    let (status, body) = match error.as_error() {
        Some(JsonPayloadError::OverflowKnownLength { .. } | JsonPayloadError::Overflow { .. }) => {
            (413, r#"{"message":"body is over 16 KiB"}"#)
        }
        Some(JsonPayloadError::ContentType) => (415, r#"{"message":"content type must be application/json"}"#),
        _ => (400, r#"{"message":"body is not valid JSON"}"#),
    };
    Answer::new(status, body)
}
