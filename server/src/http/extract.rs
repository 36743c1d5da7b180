//! What handlers take from a request: its body, and the session that its path names.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use http_body_util::BodyExt;
use midsession::{CommType, Endpoint};
use tokio::time::timeout;

use super::reply::Reply;

/// The largest body that is read.
const BODY_MAX_BYTES: usize = 16 * 1024;
/// How much more is read, and thrown away: a client that is still sending would not see the reply.
const DRAIN_MAX_BYTES: usize = 1024 * 1024;
/// How long a client may take over a body.
const BODY: Duration = Duration::from_secs(10);

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
            // Some clients name a type even so.
            _ if bytes.is_empty() => Ok(Self(None)),
            None => Err(Reply::NOT_JSON),
            Some(content_type) if !is_json(&content_type) => Err(Reply::NOT_JSON),
            _ => String::from_utf8(bytes).map(|text| Self(Some(text))).map_err(|_| Reply::INVALID_JSON),
        }
    }
}

async fn read(mut body: Body) -> Result<Vec<u8>, Reply> {
    let (mut bytes, mut drained) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Reply::BROKEN_BODY)?.into_data() else { continue };
        if drained == 0 && bytes.len() + data.len() <= BODY_MAX_BYTES {
            bytes.extend_from_slice(&data);
        } else {
            drained += data.len();
            if drained > DRAIN_MAX_BYTES {
                break;
            }
        }
    }
    if drained == 0 { Ok(bytes) } else { Err(Reply::TOO_LARGE) }
}

/// `application/json` or `…/…+json`, whatever its parameters.
fn is_json(content_type: &HeaderValue) -> bool {
    let Ok(text) = content_type.to_str() else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.split_once('/').is_some_and(|(_, subtype)| subtype.ends_with("+json"))
}

/// The session a path names.
pub(crate) struct SessionPath {
    pub(crate) comm_type: CommType,
    pub(crate) id: String,
}

impl<S: Send + Sync> FromRequestParts<S> for SessionPath {
    type Rejection = Reply;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Reply> {
        let KindPath(comm_type) = KindPath::from_request_parts(parts, state).await?;
        // As the contract's route reads it: nothing is percent-decoded.
        let id = segment(parts, 4).to_owned();
        let known = Endpoint::new(comm_type, &id).is_some();
        known.then_some(Self { comm_type, id }).ok_or(Reply::NOT_FOUND)
    }
}

/// The comm type a path names: calls, or chats.
pub(crate) struct KindPath(pub(crate) CommType);

impl<S: Sync> FromRequestParts<S> for KindPath {
    type Rejection = Reply;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Reply> {
        match segment(parts, 3) {
            "calls" => Ok(Self(CommType::Call)),
            "chats" => Ok(Self(CommType::Chat)),
            _ => Err(Reply::NOT_FOUND),
        }
    }
}

/// A segment of the path: after apps, api and v1 comes the comm type, and then the id. [`Endpoint::parse`] reads the contract's
/// path alone.
fn segment(parts: &Parts, number: usize) -> &str {
    parts.uri.path().trim_start_matches('/').split('/').nth(number).unwrap_or_default()
}
