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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    /// The HTTP status: 202, 400 or 404.
    pub status: u16,
    /// The whole body.
    pub body: &'static str,
    /// For a duplicate, the exact time to wait. [`retry_after_secs`](Self::retry_after_secs) has it for the header
    /// `Retry-After` (*ours*).
    pub retry_after: Option<Duration>,
}

impl Answer {
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
        Self { status: 202, body: text!("accepted").body, retry_after: None }
    }
}

impl From<&LinkError> for Answer {
    fn from(error: &LinkError) -> Self {
        let (status, retry_after) = match error {
            LinkError::NotFound => (404, None),
            LinkError::MissingParam(_)
            | LinkError::InvalidParam(_)
            | LinkError::AlreadyEnded(_)
            | LinkError::UnsupportedCrm => (400, None),
            LinkError::Duplicate { retry_after } => (400, Some(*retry_after)),
        };
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
        match decision {
            Ok(accepted) => accepted.into(),
            Err(error) => error.into(),
        }
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
/// let body = r#"{"message":"try again"}"#;
/// let retry_after = Some(core::time::Duration::from_millis(1500));
/// let busy = Answer { status: 503, body, retry_after };
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
