//! Counts requests, and measures how long they take.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use axum::response::Response;
use metrics::Label;
use tower::Layer;

use super::route::{client, method, route};
use super::service::{Layered, Middleware};
use crate::http::reply::LogOutcome;
use crate::metrics::{REQUEST_SECONDS, REQUESTS};

/// Counts requests and measures how long they take, by the facade `metrics`: see [`REQUESTS`] and [`REQUEST_SECONDS`].
#[derive(Clone, Copy, Debug)]
pub struct MetricsLayer;

impl<S> Layer<S> for MetricsLayer {
    type Service = Layered<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Layered { middleware: *self, inner }
    }
}

/// What is counted of a request.
pub struct Measured {
    started: Instant,
    client: Option<Arc<str>>,
    method: &'static str,
    route: Cow<'static, str>,
}

impl Middleware for MetricsLayer {
    type Seen = Measured;

    fn request(&self, request: &mut Request) -> Result<Measured, Box<Response>> {
        let client = client(request.extensions());
        Ok(Measured { started: Instant::now(), client, method: method(request), route: route(request) })
    }

    fn response(Measured { started, client: earlier, method, route }: Measured, response: &mut Response) {
        let outcome = response.extensions().get().map_or("none", |LogOutcome { kind, .. }| *kind);
        metrics::histogram!(REQUEST_SECONDS, "route" => route.clone()).record(started.elapsed());
        let client = client(response.extensions()).or(earlier);
        let mut labels = Vec::with_capacity(5);
        labels.push(Label::new("route", route));
        labels.push(Label::new("method", method));
        labels.push(Label::new("status", response.status().as_str().to_owned()));
        labels.push(Label::new("outcome", outcome));
        labels.extend(client.map(|client| Label::new("client", client)));
        metrics::counter!(REQUESTS, labels).increment(1);
    }
}
