//! Refuses what two readers would read in two ways.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use tower::Layer;

use super::service::{Layered, Middleware};
use crate::http::ambiguity::ambiguity;

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
