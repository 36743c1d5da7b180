use core::time::Duration;

use crate::error::text;
use crate::{Accepted, LinkError};

/// What an HTTP layer sends: the status, the body, and how long the caller should wait.
///
/// The body is the JSON object `{"message":"<text>"}`, without spaces. Send these bytes unchanged, with the content type
/// `application/json`. With the feature `http`, an answer becomes a whole `http::Response`.
///
/// ```
/// use core::time::Duration;
/// use midsession::{Answer, LinkError};
///
/// let retry_after = Duration::from_millis(19_001);
/// let answer = Answer::from(LinkError::Duplicate { retry_after });
/// assert_eq!(answer.status, 400);
/// assert!(answer.body.starts_with(r#"{"message":"Duplicate request: "#));
/// assert_eq!(answer.retry_after_secs(), Some(20));
/// ```
///
/// A server may send answers of its own in the same way: see [`new`](Self::new). A client reads answers with
/// [`parse`](Self::parse).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Answer {
    /// The HTTP status. The contract's answers have 202, 400 or 404.
    pub status: u16,
    /// The whole body.
    pub body: &'static str,
    /// For a duplicate, the exact time to wait. [`retry_after_secs`](Self::retry_after_secs) has it for the header
    /// `Retry-After` (*ours*).
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// Row 9 of the [decision table](crate#the-decision): 202 `accepted`.
    ///
    /// It is the same as `Answer::from(&accepted)`. Send it once the linked session is stored.
    pub const ACCEPTED: Self = Self::new(202, text!("accepted").body);

    /// An answer of your own, such as a 503 while your database cannot be reached.
    ///
    /// ```
    /// use core::time::Duration;
    /// use midsession::Answer;
    ///
    /// let mut busy = Answer::new(503, r#"{"message":"try again"}"#);
    /// busy.retry_after = Some(Duration::from_secs(1));
    /// ```
    #[must_use]
    pub const fn new(status: u16, body: &'static str) -> Self {
        Self { status, body, retry_after: None }
    }

    /// Reads an answer of the contract: the inverse of `Answer::from`, for clients. Returns `None` if the status and the body
    /// are not those of an answer of the contract, such as a server's own 503.
    ///
    /// `retry_after_secs` is the response's header `Retry-After`. It counts only for a duplicate. Without the header, the wait
    /// is given as one second, the shortest that the header can say.
    ///
    /// ```
    /// use core::time::Duration;
    /// use midsession::{Answer, LinkError};
    ///
    /// let body = br#"{"message":"accepted"}"#;
    /// assert_eq!(Answer::parse(202, body, None), Some(Ok(())));
    ///
    /// let body = br#"{"message":"Duplicate request: Please wait for the interval to expire"}"#;
    /// let retry_after = Duration::from_secs(20);
    /// let refused = Err(LinkError::Duplicate { retry_after });
    /// assert_eq!(Answer::parse(400, body, Some(20)), Some(refused));
    ///
    /// assert_eq!(Answer::parse(502, b"Bad Gateway", None), None);
    /// ```
    pub fn parse(status: u16, body: &[u8], retry_after_secs: Option<u64>) -> Option<Result<(), LinkError>> {
        let is = |answer: Self| answer.status == status && answer.body.as_bytes() == body;
        let retry_after = Duration::from_secs(retry_after_secs.unwrap_or(1).max(1));
        if is(Self::ACCEPTED) {
            return Some(Ok(()));
        }
        LinkError::all(retry_after).find(|error| is(error.into())).map(Err)
    }

    /// The time to wait in whole seconds, rounded up, for the header `Retry-After`.
    ///
    /// ```
    /// use core::time::Duration;
    /// use midsession::{Answer, LinkError};
    ///
    /// let retry_after = Duration::from_nanos(1);
    /// let answer = Answer::from(LinkError::Duplicate { retry_after });
    /// assert_eq!(answer.retry_after_secs(), Some(1));
    /// assert_eq!(Answer::from(LinkError::NotFound).retry_after_secs(), None);
    /// ```
    pub const fn retry_after_secs(&self) -> Option<u64> {
        match self.retry_after {
            Some(wait) if wait.subsec_nanos() == 0 => Some(wait.as_secs()),
            Some(wait) => Some(wait.as_secs().saturating_add(1)),
            None => None,
        }
    }
}

impl From<&Accepted> for Answer {
    fn from(_: &Accepted) -> Self {
        Self::ACCEPTED
    }
}

impl From<&LinkError> for Answer {
    fn from(error: &LinkError) -> Self {
        let status = if *error == LinkError::NotFound { 404 } else { 400 };
        let retry_after = if let LinkError::Duplicate { retry_after } = error { Some(*retry_after) } else { None };
        Self { status, body: error.text().body, retry_after }
    }
}

impl From<LinkError> for Answer {
    fn from(error: LinkError) -> Self {
        Self::from(&error)
    }
}

impl From<&Result<Accepted, LinkError>> for Answer {
    fn from(decision: &Result<Accepted, LinkError>) -> Self {
        decision.as_ref().map_or_else(Self::from, Self::from)
    }
}

/// The response has the status, the body, `content-type: application/json`, and `retry-after` if there is a time to wait.
///
/// Answers of your own can be converted too. A status that is not valid in HTTP becomes 500.
///
/// ```
/// use midsession::{Answer, LinkError};
///
/// let response: http::Response<&str> = Answer::from(LinkError::NotFound).into();
/// assert_eq!(response.status(), 404);
/// assert_eq!(response.headers()["content-type"], "application/json");
/// assert_eq!(*response.body(), r#"{"message":"Not Found"}"#);
///
/// let mut busy = Answer::new(503, r#"{"message":"try again"}"#);
/// busy.retry_after = Some(core::time::Duration::from_millis(1500));
/// let busy: http::Response<String> = busy.into();
/// assert_eq!(busy.headers()["retry-after"], "2");
/// ```
#[cfg(feature = "http")]
impl<B: From<&'static str>> From<Answer> for http::Response<B> {
    fn from(answer: Answer) -> Self {
        use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};

        let mut response = Self::new(answer.body.into());
        *response.status_mut() =
            http::StatusCode::from_u16(answer.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = answer.retry_after_secs() {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
