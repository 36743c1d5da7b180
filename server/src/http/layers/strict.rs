//! Refuses what two readers would read in two ways.

use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST};
use axum::http::{HeaderValue, Version};
use axum::response::{IntoResponse, Response};
use tower::Layer;

use super::service::{Layered, Middleware};
use crate::http::reply::Reply;

/// Refuses requests that two readers could read in two ways, such as one with two tokens: a proxy before the server may have
/// gone by the other one. It goes before a login of yours.
#[derive(Clone, Copy, Debug)]
pub struct StrictLayer;

impl<S> Layer<S> for StrictLayer {
    type Service = Layered<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Layered { middleware: *self, inner }
    }
}

impl Middleware for StrictLayer {
    type Seen = ();

    fn request(&self, request: &mut Request) -> Result<(), Box<Response>> {
        ambiguity(request).map_or(Ok(()), |refusal| Err(Box::new(refusal.into_response())))
    }

    fn response((): (), _: &mut Response) {}
}

fn ambiguity(request: &Request) -> Option<Reply> {
    let headers = request.headers();
    let twice =
        [HOST, AUTHORIZATION, CONTENT_TYPE].into_iter().find(|name| headers.get_all(name).iter().nth(1).is_some());
    if let Some(name) = twice {
        return Some(Reply::header_twice(&name));
    }
    if request.version() == Version::HTTP_11 && !headers.contains_key(HOST) {
        return Some(Reply::NO_HOST);
    }
    let encoded = |encoding: &HeaderValue| !encoding.as_bytes().eq_ignore_ascii_case(b"identity");
    headers.get_all(CONTENT_ENCODING).iter().any(encoded).then_some(Reply::ENCODED)
}
