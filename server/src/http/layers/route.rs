//! What logs and metrics call a request: its route's template, never its path, which names a session.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::Extensions;
use axum::response::Response;

use crate::batch::Caller;
use crate::http::paths::{END_USER, END_USER_SPELLINGS, NAMES};

/// What is kept of a request until its response is there.
pub struct RequestInfo {
    pub(super) started: Instant,
    pub(super) method: &'static str,
    pub(super) route: Cow<'static, str>,
    client: Option<Arc<str>>,
}

impl RequestInfo {
    pub(super) fn of(request: &Request) -> Self {
        let (method, route, client) = (method(request), route(request), client(request.extensions()));
        Self { started: Instant::now(), method, route, client }
    }

    /// Who asked: the response says so, too, where the login is a layer inside of this one.
    pub(super) fn client(&self, response: &Response) -> Option<Arc<str>> {
        client(response.extensions()).or_else(|| self.client.clone())
    }
}

/// The template of the route that a request takes, and `none` where there is no route.
fn route(request: &Request) -> Cow<'static, str> {
    let Some(matched) = request.extensions().get::<MatchedPath>() else { return Cow::Borrowed("none") };
    // The doubled slash is another way to write the same route.
    let path = matched.as_str().strip_prefix('/').filter(|path| path.starts_with('/')).unwrap_or(matched.as_str());
    if END_USER_SPELLINGS.contains(&path) {
        return Cow::Borrowed(END_USER);
    }
    // Those of a router around ours are not known here.
    NAMES.iter().find(|name| **name == path).map_or_else(|| path.to_owned().into(), |name| Cow::Borrowed(*name))
}

/// The method, or `other`: a client may make one up.
fn method(request: &Request) -> &'static str {
    const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];
    METHODS.into_iter().find(|known| request.method().as_str() == *known).unwrap_or("other")
}

/// The name of who asks: one of the configuration's, so that there are few.
fn client(extensions: &Extensions) -> Option<Arc<str>> {
    extensions.get::<Caller>().and_then(|caller| caller.origin().client.clone())
}
