//! What two readers would read in two ways, such as a proxy and this server: it is refused before anything else is asked.

use axum::body::HttpBody;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Version};

use super::reply::Reply;

/// What only the socket sees of a request: hyper takes it, and passes on one of the two readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ambiguity {
    /// A line ends without its carriage return.
    LineFeed,
    /// More than one header says how long the body is, or one says nothing that is a number.
    TwoLengths,
    /// The body is in another coding than chunks.
    Coding,
    /// Its chunks are none.
    Chunks,
    /// The path goes on behind a `#`.
    Fragment,
}

impl From<Ambiguity> for Reply {
    fn from(ambiguity: Ambiguity) -> Self {
        match ambiguity {
            Ambiguity::LineFeed => Self::LINE_FEED,
            Ambiguity::TwoLengths => Self::TWO_LENGTHS,
            Ambiguity::Coding => Self::TRANSFER_ENCODING,
            Ambiguity::Chunks => Self::BROKEN_BODY,
            Ambiguity::Fragment => Self::FRAGMENT,
        }
    }
}

/// What to refuse the request with.
pub(crate) fn ambiguity(request: &Request) -> Option<Reply> {
    let headers = request.headers();
    let of_the_socket = || request.extensions().get().map(|ambiguity: &Ambiguity| Reply::from(*ambiguity));
    let no_host = || request.version() == Version::HTTP_11 && !headers.contains_key(HOST);
    // What is said of a body that is not there does not matter.
    let charset = || !request.body().is_end_stream() && !is_utf8(headers);
    of_the_socket()
        .or_else(|| given_twice(headers).map(|name| Reply::header_twice(&name)))
        .or_else(|| no_host().then_some(Reply::NO_HOST))
        .or_else(|| is_other(headers, &TRANSFER_ENCODING, "chunked").then_some(Reply::TRANSFER_ENCODING))
        .or_else(|| is_other(headers, &CONTENT_ENCODING, "identity").then_some(Reply::ENCODED))
        .or_else(|| charset().then_some(Reply::CHARSET))
}

fn given_twice(headers: &HeaderMap) -> Option<HeaderName> {
    let twice = |name: &HeaderName| headers.get_all(name).iter().nth(1).is_some();
    [HOST, AUTHORIZATION, CONTENT_TYPE, TRANSFER_ENCODING].into_iter().find(twice)
}

/// Whether a header is there that says anything but `word`.
fn is_other(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let other = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(word.as_bytes());
    headers.get_all(name).iter().any(other)
}

/// Whether the content type names no other charset, which another reader would go by.
fn is_utf8(headers: &HeaderMap) -> bool {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let charset = |parameter: &str| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_ascii_lowercase())
    };
    text.split(';').skip(1).filter_map(charset).all(|charset| ["utf-8", "utf8"].contains(&charset.as_str()))
}
