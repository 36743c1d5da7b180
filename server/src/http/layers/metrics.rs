//! Counts requests, and measures how long they take.

use axum::extract::Request;
use axum::response::Response;
use metrics::Label;
use tower::Layer;

use super::route::RequestInfo;
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

impl Middleware for MetricsLayer {
    type Seen = RequestInfo;

    fn request(&self, request: &mut Request) -> Result<RequestInfo, Box<Response>> {
        Ok(RequestInfo::of(request))
    }

    fn response(info: RequestInfo, response: &mut Response) {
        let outcome = response.extensions().get().map_or("none", |LogOutcome { kind, .. }| *kind);
        let client = info.client(response);
        let RequestInfo { started, method, route, .. } = info;
        metrics::histogram!(REQUEST_SECONDS, "route" => route.clone()).record(started.elapsed());
        let mut labels = Vec::with_capacity(5);
        labels.push(Label::new("route", route));
        labels.push(Label::new("method", method));
        labels.push(Label::new("status", response.status().as_str().to_owned()));
        labels.push(Label::new("outcome", outcome));
        labels.extend(client.map(|client| Label::new("client", client)));
        metrics::counter!(REQUESTS, labels).increment(1);
    }
}
