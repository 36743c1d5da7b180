//! The customer's side: a client of the endpoint, on reqwest. Beside it stands a fake for the tests of the code that uses
//! it. The page "Calling it" of the crate's documentation says what to do with each answer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use midsession::{Answer, AnySession, DuplicatePolicy, Endpoint, LinkError, LinkRequest, apply_link};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Response, Url};
use time::OffsetDateTime;

/// Longer than any answer of the contract. The rest of a longer body is not read.
const LONGEST_ANSWER: usize = 1024;

/// Links sessions to their end users. Your code takes this trait, so that its tests can use the [`Fake`].
pub trait LinkEndUser {
    /// Sends the request once.
    ///
    /// # Errors
    /// - [`CallError`]: there is no answer of the contract. Otherwise the inner result is the answer.
    fn link_end_user(
        &self,
        endpoint: &Endpoint<'_>,
        request: &LinkRequest<'_>,
    ) -> impl Future<Output = Result<Result<(), LinkError>, CallError>> + Send;
}

/// Why there is no answer of the contract. It shows nothing of the request.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// A URL cannot hold this path, because its session id is `.` or `..`. Nothing was sent.
    #[error("a URL cannot hold this session id")]
    Path,
    /// The server cannot be reached. Nothing was sent, so the request can be sent again.
    #[error("the server cannot be reached")]
    NotSent(#[source] reqwest::Error),
    /// The answer was lost. The link may have been made.
    #[error("the server's answer was lost")]
    Lost(#[source] reqwest::Error),
    /// Something else answered: a proxy, the check of the token, or a server that is too busy. After a 5xx, the link may
    /// have been made.
    #[error("status {status} with an answer that is not the contract's")]
    Other {
        /// The HTTP status.
        status: u16,
        /// The header `Retry-After`, if it is a number of seconds.
        retry_after: Option<Duration>,
    },
}

/// The endpoint over HTTP.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: String,
}

impl Client {
    /// A client of the server at `base`, such as `https://api.example.com`. For `https`, switch on a TLS feature of reqwest,
    /// such as `rustls`.
    ///
    /// `timeout` is for a whole call. Make it longer than the server's own time limit, or you lose answers that are on
    /// their way.
    ///
    /// # Errors
    /// - reqwest cannot be set up.
    pub fn new(base: Url, token: String, timeout: Duration) -> reqwest::Result<Self> {
        // A redirect would send personal data to a server that you have not chosen.
        let http = reqwest::Client::builder().redirect(Policy::none()).timeout(timeout).build()?;
        Ok(Self { http, base, token })
    }

    fn url(&self, endpoint: &Endpoint<'_>) -> Result<Url, CallError> {
        let path = endpoint.to_string();
        let url =
            Url::parse(&format!("{}{path}", self.base.as_str().trim_end_matches('/'))).map_err(|_| CallError::Path)?;
        // `Url` resolves the segments `.` and `..`, and the request would go to another path.
        if url.path().ends_with(&path) { Ok(url) } else { Err(CallError::Path) }
    }
}

impl LinkEndUser for Client {
    async fn link_end_user(
        &self,
        endpoint: &Endpoint<'_>,
        request: &LinkRequest<'_>,
    ) -> Result<Result<(), LinkError>, CallError> {
        let url = self.url(endpoint)?;
        // The path says what the session is.
        let body = json(&request.clone().with_comm_type(""));
        let request = self.http.post(url).bearer_auth(&self.token).header(CONTENT_TYPE, "application/json").body(body);
        let mut response = request.send().await.map_err(unanswered)?;
        let status = response.status().as_u16();
        let seconds = response.headers().get(RETRY_AFTER).and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        let body = read(&mut response).await.map_err(unanswered)?;
        let other = CallError::Other { status, retry_after: seconds.map(Duration::from_secs) };
        Answer::parse(status, &body, seconds).ok_or(other)
    }
}

fn json(request: &LinkRequest<'_>) -> String {
    serde_json::to_string(request).expect("text and booleans are always JSON")
}

async fn read(response: &mut Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while body.len() <= LONGEST_ANSWER
        && let Some(chunk) = response.chunk().await?
    {
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn unanswered(error: reqwest::Error) -> CallError {
    let error = error.without_url();
    if error.is_connect() { CallError::NotSent(error) } else { CallError::Lost(error) }
}

/// The endpoint in memory, for your tests. It decides as the platform does, because the decision is the crate's.
pub struct Fake {
    /// The sessions by their ids.
    pub sessions: Mutex<HashMap<String, AnySession>>,
    /// What counts as a duplicate.
    pub policy: DuplicatePolicy,
    /// What the clock shows.
    pub now: OffsetDateTime,
}

impl LinkEndUser for Fake {
    async fn link_end_user(
        &self,
        endpoint: &Endpoint<'_>,
        request: &LinkRequest<'_>,
    ) -> Result<Result<(), LinkError>, CallError> {
        let request = request.clone().with_endpoint(endpoint);
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get(endpoint.session_id());
        let decision = apply_link(session, &request, &self.policy, self.now);
        let answer = Answer::from(&decision);
        if let Ok(accepted) = decision {
            sessions.insert(endpoint.session_id().to_owned(), accepted.into_session().into());
        }
        // As it is read over HTTP, where a wait has whole seconds.
        let read = Answer::parse(answer.status, answer.body.as_bytes(), answer.retry_after_secs());
        Ok(read.expect("an answer of the contract"))
    }
}
