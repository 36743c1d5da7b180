//! One line a request.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use time::OffsetDateTime;
use tower::Layer;
use uuid::Uuid;

use super::route::RequestInfo;
use super::service::{Layered, Middleware};
use crate::http::id::{RequestId, is_session_id, new_request_id};
use crate::http::reply::LogOutcome;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// One line a request, as an event of `tracing`, and its id in the response's `x-request-id`. Paths are logged as templates. Of
/// what a client sent nothing else is logged than a request id and a trace id, which are taken over if they have the form of
/// such an id. The client is the [`Caller`](crate::Caller)'s, which is an extension of the response, or was one of the request.
///
/// It goes before all other layers, so that what they refuse has its line, too.
#[derive(Clone, Copy, Debug)]
pub struct LogLayer;

impl<S> Layer<S> for LogLayer {
    type Service = Layered<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Layered { middleware: *self, inner }
    }
}

/// What a line has of the request.
pub struct Line {
    id: Arc<str>,
    trace_id: Option<String>,
    info: RequestInfo,
}

impl Middleware for LogLayer {
    type Seen = Line;

    fn request(&self, request: &mut Request) -> Result<Line, Box<Response>> {
        let id = request_id(request.headers()).unwrap_or_else(|| new_request_id(OffsetDateTime::now_utc()));
        let id: Arc<str> = id.into();
        request.extensions_mut().insert(RequestId(id.clone()));
        Ok(Line { id, trace_id: trace_id(request.headers()), info: RequestInfo::of(request) })
    }

    fn response(Line { id, trace_id, info }: Line, response: &mut Response) {
        let status = response.status().as_u16();
        let micros = u64::try_from(info.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (outcome, cause) = match response.extensions().get() {
            Some(LogOutcome { kind, cause }) => (*kind, cause.as_deref()),
            None => ("none", None),
        };
        let client = info.client(response);
        let (request_id, client, method, route) = (&*id, client.as_deref(), info.method, &*info.route);
        tracing::info!(request_id, trace_id, client, method, route, status, outcome, cause, micros, "request");
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
    }
}

/// The client's id of the request, if it is a UUID, with or without its hyphens. Other forms may hold anything, such as a
/// phone number, and are not taken over; nor is the id of a session.
fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = single(headers, &REQUEST_ID)?;
    let uuid = Uuid::try_parse(id).ok().filter(|uuid| !is_session_id(uuid))?;
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
    let is_session = Uuid::try_parse(trace).is_ok_and(|uuid| is_session_id(&uuid));
    (known && !is_session && is_id(trace, 32) && is_id(span, 16) && is_hex(flags, 2)).then(|| trace.to_owned())
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
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
            // A session's.
            "0195a1b2-0000-85e5-8000-0123456789ab",
            "0195a1b2000085e580000123456789ab",
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
            "00-0195a1b2000085e580000123456789ab-00f067aa0ba902b7-01",
            "",
        ] {
            assert_eq!(trace(other), None, "{other}");
        }
    }
}
