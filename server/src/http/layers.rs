//! What every request passes on its way in, and every reply on its way out.

use std::any::Any;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, Version};
use axum::middleware::Next;
use axum::response::IntoResponse;
use metrics::Label;
use time::OffsetDateTime;
use uuid::Uuid;

use super::app::App;
use super::id::new_id;
use super::paths::{END_USER, OPEN, PUBLIC_DOCS};
use super::reply::{LogOutcome, Reply};
use crate::batch::Caller;
use crate::metrics::{REQUEST_SECONDS, REQUESTS};
use crate::store::Store;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What every request passes, in one layer: each layer of axum costs a request several allocations. What refuses a request
/// here has its line in the log, too.
pub(crate) async fn request_layer<S: Store>(
    State(app): State<Arc<App<S>>>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let mut line = Line::begin(&request);
    let refusal = ambiguity(&request).or_else(|| app.unauthorized(&mut request));
    line.mark(&mut request);
    let response = match refusal {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    };
    line.end(response)
}

/// Refuses what two readers would read in two ways: a proxy may have gone by the other header.
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

impl<S> App<S> {
    /// Lets in who shows a token, and anyone who asks after the server's health or reads what is public of its docs.
    /// Who showed a token shares the queue as that token's [`Caller`].
    fn unauthorized(&self, request: &mut Request) -> Option<Reply> {
        let path = request.uri().path();
        let in_docs = |docs: &str| path.strip_prefix(docs).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let is_open = OPEN.contains(&path) || self.public_docs && PUBLIC_DOCS.into_iter().any(in_docs);
        if !is_open {
            let Some(caller) = self.tokens.admit(request.headers()) else { return Some(Reply::unauthorized()) };
            request.extensions_mut().insert(caller);
        }
        None
    }
}

/// One line a request, and its count. Paths are logged as templates. Of what a client sent nothing else is logged than a
/// request id and a trace id, which are taken over if they have the form of such an id.
struct Line {
    started: Instant,
    id: Arc<str>,
    trace_id: Option<String>,
    /// A name of the configuration, so that there are few.
    client: Option<Arc<str>>,
    method: &'static str,
    route: String,
}

impl Line {
    fn begin(request: &Request) -> Self {
        const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];
        let method = METHODS.into_iter().find(|known| request.method().as_str() == *known);
        let route = match request.extensions().get::<MatchedPath>() {
            // Whatever the comm type, and whether there is one: it is one route.
            Some(matched) if matched.as_str().ends_with("/end_user") => END_USER.to_owned(),
            // The doubled slash is another way to write the same route.
            Some(matched) => matched.as_str().replacen("//", "/", 1),
            None => "none".to_owned(),
        };
        Self {
            started: Instant::now(),
            id: request_id(request.headers()).unwrap_or_else(|| new_id(OffsetDateTime::now_utc())).into(),
            trace_id: trace_id(request.headers()),
            client: None,
            method: method.unwrap_or("other"),
            route,
        }
    }

    /// A change that the request leads to has the same id and name.
    fn mark(&mut self, request: &mut Request) {
        if let Some(caller) = request.extensions_mut().get_mut::<Caller>() {
            *caller = mem::take(caller).with_request_id(self.id.clone());
            self.client.clone_from(&caller.origin().client);
        }
    }

    fn end(self, mut response: Response<Body>) -> Response<Body> {
        let Self { started, id, trace_id, client, method, route } = self;
        let status = response.status();
        let elapsed = started.elapsed();
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let (outcome, cause) = match response.extensions().get() {
            Some(LogOutcome { kind, cause }) => (*kind, cause.as_deref()),
            None => ("none", None),
        };
        tracing::info!(
            request_id = &*id,
            trace_id,
            client = client.as_deref(),
            method,
            route,
            status = status.as_u16(),
            outcome,
            cause,
            micros,
            "request"
        );
        metrics::histogram!(REQUEST_SECONDS, "route" => route.clone()).record(elapsed);
        let mut labels = vec![
            Label::new("route", route),
            Label::new("method", method),
            Label::new("status", status.as_str().to_owned()),
            Label::new("outcome", outcome),
        ];
        labels.extend(client.map(|client| Label::new("client", client)));
        metrics::counter!(REQUESTS, labels).increment(1);
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }
}

/// The client's id of the request, if it is a UUID, with or without its hyphens. Other forms may hold anything, such as a
/// phone number, and are not taken over.
fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = single(headers, &REQUEST_ID)?;
    let uuid = Uuid::try_parse(id).ok()?;
    let forms = [uuid.hyphenated().to_string(), uuid.simple().to_string()];
    forms.into_iter().find(|form| form.eq_ignore_ascii_case(id))
}

/// The trace's id in a `traceparent` of the W3C's form.
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let parent = single(headers, &TRACEPARENT)?;
    let mut fields = parent.split('-');
    let (version, trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let is_hex = |field: &str, chars: usize| {
        field.len() == chars && field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |field: &str, chars: usize| is_hex(field, chars) && field.bytes().any(|byte| byte != b'0');
    // Later versions may have more fields.
    let known = is_hex(version, 2) && version != "ff" && (version != "00" || fields.next().is_none());
    (known && is_id(trace, 32) && is_id(span, 16) && is_hex(flags, 2)).then(|| trace.to_owned())
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

/// The answer to a bug of ours.
pub(crate) fn panicked(_: Box<dyn Any + Send>) -> Response<Body> {
    Reply::PANICKED.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_taken_over_if_they_have_the_form_of_one() {
        let header = |name: &HeaderName, values: &[&'static str]| {
            values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect::<HeaderMap>()
        };
        let id = |values: &[&'static str]| request_id(&header(&REQUEST_ID, values));
        for taken in ["0195a1b2-0000-7000-8000-0123456789ab", "0195a1b200007000800001234567890c"] {
            assert_eq!(id(&[taken]).as_deref(), Some(taken));
        }
        let other_forms = [
            "",
            "marker",
            "123-456-7890",
            "{0195a1b2-0000-7000-8000-0123456789ab}",
            "urn:uuid:0195a1b2-0000-7000-8000-0123456789ab",
        ];
        for other in other_forms {
            assert_eq!(id(&[other]), None, "{other}");
        }
        assert_eq!(id(&["0195a1b200007000800001234567890c"; 2]), None);

        let trace = |value| trace_id(&header(&TRACEPARENT, &[value]));
        let known = Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned());
        assert_eq!(trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), known);
        assert_eq!(trace("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later"), known);
        for other in [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-marker-00f067aa0ba902b7-01",
            "",
        ] {
            assert_eq!(trace(other), None, "{other}");
        }
    }
}
