//! A `tower::Service` over the types of the crate `http`, for hyper, for a gateway of your own, and for `lambda_http`,
//! whose `run` takes such a service and whose body implements `http_body::Body`.
//!
//! The lines of glue: `sed '/^use/d; /^ *\/\//d; /^$/d' examples/wrappers/src/tower.rs | wc -l`

use std::convert::Infallible;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Collected, Limited};
use midsession::{Answer, Endpoint, LinkError, LinkRequest};
use tower::{Service, service_fn};

use crate::app::{App, labels};

/// The endpoint as a service.
pub fn service<B>(
    app: Arc<App>,
) -> impl Service<Request<B>, Response = Response<String>, Error = Infallible, Future: Send> + Clone
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    service_fn(move |request: Request<B>| {
        let (app, (head, body)) = (app.clone(), request.into_parts());
        async move {
            let body = Limited::new(body, 16 * 1024).collect().await.ok().map(Collected::to_bytes);
            Ok(answer(&app, &head, body.as_deref()).into())
        }
    })
}

fn answer(app: &App, head: &Parts, body: Option<&[u8]>) -> Answer {
    let Some(endpoint) = Endpoint::parse(head.uri.path()) else { return LinkError::NotFound.into() };
    if head.method != Method::POST {
        return Answer::new(405, r#"{"message":"Method Not Allowed"}"#);
    }
    if !is_json(&head.headers) {
        return Answer::new(415, r#"{"message":"content type must be application/json"}"#);
    }
    let Some(body) = body else { return Answer::new(413, r#"{"message":"body is over 16 KiB, or incomplete"}"#) };
    // The request borrows from the body: nothing is copied before it is accepted.
    let Ok(request) = serde_json::from_slice::<LinkRequest<'_>>(body) else {
        return Answer::new(400, r#"{"message":"body is not valid JSON"}"#);
    };
    let request = request.with_endpoint(&endpoint);
    let Ok(decision) = app.link(endpoint.session_id(), &request) else {
        return Answer::new(503, r#"{"message":"try again"}"#);
    };
    let (outcome, param) = labels(&decision);
    tracing::info!(outcome, param, "link");
    Answer::from(&decision)
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}
