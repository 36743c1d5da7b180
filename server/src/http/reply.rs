use std::borrow::Cow;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use midsession::{Answer, AnySession};

use super::health::Unready;
use crate::batch::{Outcome, SubmitError};

/// What is sent, and its kind for the log.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    body: Cow<'static, str>,
    header: Option<(HeaderName, HeaderValue)>,
    outcome: LogOutcome,
}

/// What the log has of a response beside its status.
#[derive(Clone, Debug)]
pub(crate) struct LogOutcome {
    pub(crate) kind: &'static str,
    /// Of a failure: why. Nothing of the request is in it.
    pub(crate) cause: Option<String>,
}

macro_rules! replies {
    ($($name:ident = $status:ident $message:literal $outcome:literal;)*) => {
        $(pub(crate) const $name: Reply =
            Reply::new(StatusCode::$status, concat!(r#"{"message":""#, $message, r#""}"#), $outcome);)*
    };
}

impl Reply {
    replies! {
        HEALTHY = OK "ok" "ok";
        ENDED = OK "ended" "ended";
        INVALID_JSON = BAD_REQUEST "body is not valid JSON" "invalid_json";
        INVALID_CRM = BAD_REQUEST
            "body is invalid: it is an object with an optional crm, supported or unsupported" "invalid_crm";
        NO_HOST = BAD_REQUEST "header is missing: host" "no_host";
        LINE_FEED = BAD_REQUEST "lines of a head must end with CRLF" "line_feed";
        TWO_LENGTHS = BAD_REQUEST "length of the body is given twice" "two_lengths";
        FRAGMENT = BAD_REQUEST "path must not have a fragment" "fragment";
        TRANSFER_ENCODING = BAD_REQUEST "transfer encoding must be chunked alone" "transfer_encoding";
        CHARSET = UNSUPPORTED_MEDIA_TYPE "charset must be utf-8" "charset";
        ENCODED = UNSUPPORTED_MEDIA_TYPE "content encoding must be identity" "encoded";
        BROKEN_BODY = BAD_REQUEST "body is incomplete" "broken_body";
        NOT_FOUND = NOT_FOUND "Not Found" "not_found";
        METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED "Method Not Allowed" "method_not_allowed";
        TOO_SLOW = REQUEST_TIMEOUT "Request Timeout" "too_slow";
        TOO_LARGE = PAYLOAD_TOO_LARGE "body is over 16 KiB" "too_large";
        NOT_JSON = UNSUPPORTED_MEDIA_TYPE "content type must be application/json" "not_json";
        PANICKED = INTERNAL_SERVER_ERROR "Internal Server Error" "panicked";
        UNREADABLE = INTERNAL_SERVER_ERROR "Internal Server Error" "unreadable_record";
    }

    /// Nothing is left of it to be sent.
    pub(crate) const ERASED: Self = Self::new(StatusCode::NO_CONTENT, "", "erased");

    /// A client that waits as long finds the queue shorter, or the database back.
    fn unavailable() -> Self {
        let message = r#"{"message":"Service Unavailable: Please try again"}"#;
        let reply = Self::new(StatusCode::SERVICE_UNAVAILABLE, message, "unavailable");
        Self { header: Some((RETRY_AFTER, HeaderValue::from_static("1"))), ..reply }
    }

    pub(crate) fn unauthorized() -> Self {
        let reply = Self::new(StatusCode::UNAUTHORIZED, r#"{"message":"Unauthorized"}"#, "unauthorized");
        Self { header: Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))), ..reply }
    }

    pub(crate) fn header_twice(name: &HeaderName) -> Self {
        let body = serde_json::json!({ "message": format!("header is given twice: {name}") }).to_string();
        Self::new(StatusCode::BAD_REQUEST, "", "header_twice").with_body(body)
    }

    pub(crate) fn started(id: &str) -> Self {
        Self::new(StatusCode::CREATED, "", "started").with_body(serde_json::json!({ "id": id }).to_string())
    }

    /// The session in the form it is stored in.
    pub(crate) fn session(session: &AnySession) -> Self {
        match serde_json::to_string(session) {
            Ok(record) => Self::new(StatusCode::OK, "", "found").with_body(record),
            Err(error) => SubmitError::Unreadable(error.to_string()).into(),
        }
    }

    pub(crate) fn json(body: &'static str) -> Self {
        Self::new(StatusCode::OK, body, "ok")
    }

    /// The crate's answer as it stands.
    fn answer(answer: Answer, outcome: &'static str) -> Self {
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let header = answer.retry_after_secs().map(|seconds| (RETRY_AFTER, seconds.into()));
        Self { header, ..Self::new(status, answer.body, outcome) }
    }

    const fn new(status: StatusCode, body: &'static str, kind: &'static str) -> Self {
        Self { status, body: Cow::Borrowed(body), header: None, outcome: LogOutcome { kind, cause: None } }
    }

    fn with_body(self, body: String) -> Self {
        Self { body: Cow::Owned(body), ..self }
    }
}

impl From<Outcome> for Reply {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Link(answer, _) => Self::answer(answer, outcome.as_str()),
            Outcome::Ended => Self::ENDED,
            Outcome::Erased => Self::ERASED,
            Outcome::NotFound => Self::NOT_FOUND,
            // Answered with their id, which another session has as good as never.
            Outcome::Started | Outcome::IdTaken => Self::unavailable(),
        }
    }
}

impl From<SubmitError> for Reply {
    fn from(error: SubmitError) -> Self {
        let mut reply = match error {
            SubmitError::Unreadable(_) => Self::UNREADABLE,
            SubmitError::Panicked => Self::PANICKED,
            SubmitError::Full
            | SubmitError::Late
            | SubmitError::Stopping
            | SubmitError::Contended
            | SubmitError::Store(_)
            | SubmitError::Unknown(_) => Self::unavailable(),
        };
        reply.outcome.cause = Some(error.to_string());
        reply
    }
}

impl From<Unready> for Reply {
    fn from(Unready(cause): Unready) -> Self {
        let mut reply = Self::unavailable();
        reply.outcome.cause = Some(cause);
        reply
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Sessions are people's data.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.headers_mut().extend(self.header);
        response.extensions_mut().insert(self.outcome);
        response
    }
}
