//! What every request passes on its way in, and every reply on its way out.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{FromRequest, MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Response};
use axum::middleware::Next;
use axum::response::IntoResponse;
use http_body_util::BodyExt;
use midsession::Endpoint;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::timeout;
use uuid::Uuid;

use crate::http::{END_USER, HEALTH};
use crate::reply::{Outcome, Reply};
use crate::{App, Store};

/// The largest body that is read.
const BODY_MAX_BYTES: usize = 16 * 1024;
/// How much more is read, and thrown away: a client that is still sending would not see the reply.
const SPILL_MAX_BYTES: usize = 1024 * 1024;
/// How long a client may take over a body.
const BODY: Duration = Duration::from_secs(10);

/// The bearer token, of which only a digest is kept: digests are all of one length, and are compared in constant time.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// None if no client could send it: a token is visible ASCII characters without spaces, at least one.
    #[must_use]
    pub fn new(token: &str) -> Option<Self> {
        let sendable = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        sendable.then(|| Self(Sha256::digest(token).into()))
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some((scheme, token)) = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' '))
        else {
            return false;
        };
        let shown: [u8; 32] = Sha256::digest(token.trim_start_matches(' ')).into();
        scheme.eq_ignore_ascii_case("Bearer") && self.0.ct_eq(&shown).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(<redacted>)")
    }
}

/// Lets in who shows the token, and anyone who asks after the server's health.
pub(crate) async fn authorize<S: Store>(
    State(app): State<Arc<App<S>>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    if request.uri().path() == HEALTH || app.token.admits(request.headers()) {
        next.run(request).await
    } else {
        Reply::unauthorized().into_response()
    }
}

/// Writes one line a request. Paths are logged as templates, and nothing else that a client sent is.
pub(crate) async fn log(request: Request, next: Next) -> Response<Body> {
    let started = Instant::now();
    let id = Uuid::now_v7().to_string();
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "TRACE") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let route = match request.extensions().get::<MatchedPath>() {
        Some(matched) => matched.as_str().to_owned(),
        None if Endpoint::parse(request.uri().path()).is_some() => END_USER.to_owned(),
        None => "none".to_owned(),
    };
    let mut response = next.run(request).await;
    let status = response.status().as_u16();
    let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let (outcome, cause) = match response.extensions().get() {
        Some(Outcome { kind, cause }) => (*kind, cause.as_deref()),
        None => ("none", None),
    };
    tracing::info!(request_id = id, method, route, status, outcome, cause, micros, "request");
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

/// The answer to a bug of ours.
pub(crate) fn panicked(_: Box<dyn Any + Send>) -> Response<Body> {
    Reply::PANICKED.into_response()
}

/// A body that may be judged: in time, not too large, and of the right content type. No body at all is fine too.
pub(crate) struct JsonBody(Option<String>);

impl JsonBody {
    /// What it says; the default where there is no body.
    pub(crate) fn parse<'a, T: serde::Deserialize<'a> + Default>(&'a self) -> serde_json::Result<T> {
        self.0.as_ref().map_or_else(|| Ok(T::default()), |text| serde_json::from_str(text))
    }
}

impl<S: Sync> FromRequest<S> for JsonBody {
    type Rejection = Reply;

    async fn from_request(request: Request, _: &S) -> Result<Self, Reply> {
        let content_type = request.headers().get(CONTENT_TYPE).cloned();
        let bytes = timeout(BODY, read(request.into_body())).await.map_err(|_| Reply::TOO_SLOW)??;
        match content_type {
            Some(content_type) if !is_json(&content_type) => Err(Reply::NOT_JSON),
            None if !bytes.is_empty() => Err(Reply::NOT_JSON),
            _ if bytes.is_empty() => Ok(Self(None)),
            _ => String::from_utf8(bytes).map(|text| Self(Some(text))).map_err(|_| Reply::INVALID_JSON),
        }
    }
}

async fn read(mut body: Body) -> Result<Vec<u8>, Reply> {
    let (mut bytes, mut spilt) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Reply::BROKEN_BODY)?.into_data() else { continue };
        if spilt == 0 && bytes.len() + data.len() <= BODY_MAX_BYTES {
            bytes.extend_from_slice(&data);
        } else {
            spilt += data.len();
            if spilt > SPILL_MAX_BYTES {
                break;
            }
        }
    }
    if spilt == 0 { Ok(bytes) } else { Err(Reply::TOO_LARGE) }
}

/// `application/json` or `…/…+json`, whatever its parameters.
fn is_json(content_type: &HeaderValue) -> bool {
    let Ok(text) = content_type.to_str() else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.split_once('/').is_some_and(|(_, subtype)| subtype.ends_with("+json"))
}
