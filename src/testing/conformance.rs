//! The conformance kit: what a crate that wraps `midsession` in a transport (an HTTP framework, a lambda, a gateway) runs
//! in its tests to know that it answers exactly. Feature `conformance`.
//!
//! Give each of the [`cases`] to your transport, with a store, a policy and a clock that the test sets, and have its reply
//! judged. A [`Mismatch`] says in words what differed.
//!
//! ```
//! use midsession::testing::conformance::{self, Reply};
//! # use midsession::{AnySession, Answer, DuplicatePolicy, Endpoint, LinkRequest, apply_link};
//! # struct Server { id: String, stored: Option<AnySession>, policy: DuplicatePolicy, now: time::OffsetDateTime }
//! # #[derive(Default)] struct Response { status: u16, body: &'static str, retry_after: Option<u64> }
//! # impl Server {
//! #     fn serve(&mut self, method: &str, path: &str, body: &str) -> Response {
//! #         let refused = |status| Response { status, ..Response::default() };
//! #         if method != "POST" { return refused(405) }
//! #         let Some(endpoint) = Endpoint::parse(path) else { return refused(404) };
//! #         let Ok(request) = serde_json::from_str::<LinkRequest>(body) else { return refused(400) };
//! #         let request = request.with_comm_type(endpoint.comm_type());
//! #         let stored = self.stored.as_ref().filter(|_| endpoint.session_id() == self.id);
//! #         let decision = apply_link(stored, &request, &self.policy, self.now);
//! #         let answer = Answer::from(&decision);
//! #         if let Ok(accepted) = decision { self.stored = Some(accepted.into_session().into()); }
//! #         Response { status: answer.status, body: answer.body, retry_after: answer.retry_after_secs() }
//! #     }
//! # }
//!
//! for case in conformance::cases()? {
//!     // Your server: its store holds the case's session and nothing else, its clock stands still.
//!     let (id, stored) = (case.session_id().to_owned(), case.session.clone());
//!     let mut server = Server { id, stored, policy: case.policy, now: case.now };
//!     let response = server.serve(&case.method, &case.path, &case.body);
//!
//!     let body = response.body.into();
//!     case.judge(&Reply { status: response.status, body, retry_after_secs: response.retry_after })?;
//!     case.judge_stored(server.stored.as_ref())?; // if your test can look into the store
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Two kinds of cases
//! - [`Kind::Contract`]: the contract answers, and every byte of the answer counts.
//! - [`Kind::Transport`]: bytes that are no JSON, a field given twice, a path that is no [`Endpoint`], a
//!   method other than POST. The answer is the transport's own, but it is a 4xx, and nothing is stored.
//!
//! Outside the kit, and yours to decide and to test: the content type (every request is meant to have `application/json`),
//! authorisation, chunked bodies, the query, limits on size and time, and races between two requests.
//!
//! Some cases [need](Case::needs) what not every transport can do. Leave those out by name, so that you know what you left:
//!
//! ```
//! use midsession::testing::conformance::{self, Need};
//!
//! // A router that folds `//` before your code sees the path, and a store that cuts times to milliseconds.
//! let cannot = [Need::EmptySegments, Need::Nanoseconds];
//! let cases = conformance::cases()?.into_iter();
//! let cases = cases.filter(|case| !case.needs.iter().any(|need| cannot.contains(need)));
//! assert!(cases.count() > 300);
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! # Without HTTP
//! A consumer of a queue, or a service by another protocol, takes the request from [`Case::request`] in place of method,
//! path and body, and gives its answer as it is.
//!
//! ```
//! use midsession::testing::conformance::{self, Reply};
//! use midsession::{Answer, apply_link};
//!
//! for case in conformance::cases()? {
//!     // None: the case is one of HTTP alone.
//!     let Some((session_id, request)) = case.request() else { continue };
//!     let stored = case.session.as_ref().filter(|_| session_id == case.session_id());
//!     let decision = apply_link(stored, &request, &case.policy, case.now);
//!     case.judge(&Reply::from(Answer::from(&decision)))?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # For other languages
//! The cases are data: [`JSON`], in this crate's sources `src/testing/conformance/cases.json`. The file says itself what the
//! contract is (`contract`) and how the cases are read (`format`, with the stored form of a session); nothing else is needed
//! to build the endpoint. Beside it stands `kit.py`, one file that needs only Python's standard library: it drives a running
//! transport through the cases over HTTP, by two hooks that it describes, and prints what differs.

pub mod store;

// The core is `no_std`; what is for tests only need not be.
use core::time::Duration;
use std::format;
use std::prelude::rust_2024::*;

use serde::de::{Deserialize, Deserializer, Error as _};
use time::OffsetDateTime;

use crate::policy::from_seconds;
use crate::stored::from_rfc3339;
use crate::{Answer, AnySession, DuplicatePolicy, Endpoint, LinkRequest};

/// The file of the cases: an object of `contract`, which says what to build, `format`, which says how the cases are read,
/// and `cases`.
pub const JSON: &str = include_str!("conformance/cases.json");

/// All cases, in the order of the file.
///
/// # Errors
/// The file cannot be read. It is this crate's own, and its tests read it; but a kit that lost its cases in silence would
/// pass every transport.
pub fn cases() -> serde_json::Result<Vec<Case>> {
    serde_json::from_str(JSON).map(|File { cases }| cases)
}

#[derive(serde::Deserialize)]
struct File {
    cases: Vec<Case>,
}

/// One request and what is to come of it.
#[derive(Clone, Debug, serde::Deserialize)]
#[non_exhaustive]
pub struct Case {
    /// Its name, unique, a word for a test's output.
    pub name: String,
    /// Whose the answer is.
    pub kind: Kind,
    /// The row of the [decision table](crate#the-decision) that answers, then further rows that hold as well, which must
    /// not answer. Empty in a case of [`Kind::Transport`].
    pub rows: Vec<u8>,
    /// The rule it proves, in words.
    pub rule: String,
    /// What a transport must be able to do to pass it. Mostly empty.
    pub needs: Vec<Need>,
    session_id: String,
    /// What the store holds under [`session_id`](Self::session_id) before the request; none: nothing.
    pub session: Option<AnySession>,
    /// The policy to decide by.
    pub policy: DuplicatePolicy,
    /// What the clock shows.
    #[serde(deserialize_with = "moment")]
    pub now: OffsetDateTime,
    /// The HTTP method, `POST` in most cases.
    pub method: String,
    /// The path, as it is sent: no client may resolve, fold or encode anything in it.
    pub path: String,
    /// The request's body, whole. Empty: the request has none.
    pub body: String,
    /// What is to come of it.
    pub expected: Expected,
}

/// Whose the answer to a [`Case`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// `contract`: the contract's, and every byte of it counts.
    Contract,
    /// `transport`: the transport's own. It is a 4xx, and nothing is stored.
    Transport,
}

/// What not every transport can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Need {
    /// `nanoseconds`: times and intervals are kept to the nanosecond. A transport that cuts them to milliseconds or
    /// microseconds passes all other cases.
    Nanoseconds,
    /// `empty_segments`: the path arrives with its doubled slashes. Some servers and routers fold `//` into `/` (Rails
    /// does, and nginx by default); there row 1 cannot be reached.
    EmptySegments,
    /// `dot_segments`: the path arrives with its segments `.` and `..`. Some proxies and servers resolve them, as most
    /// clients do.
    DotSegments,
    /// `any_session_id`: the store can hold a session under an id that no path may name (empty, of 256 characters, with a
    /// slash or a space), so that the case can prove that the transport does not look for it.
    AnySessionId,
}

/// What is to come of a [`Case`].
#[derive(Clone, Debug, serde::Deserialize)]
#[non_exhaustive]
pub struct Expected {
    /// The HTTP status; none in a case of [`Kind::Transport`]: any from 400 to 499.
    #[serde(deserialize_with = "status")]
    pub status: Option<u16>,
    /// The body, byte for byte; none in a case of [`Kind::Transport`]: any.
    #[serde(default)]
    pub body: Option<String>,
    /// On a duplicate: the exact wait. It is not seen over HTTP, only in an [`Answer`].
    #[serde(default, deserialize_with = "wait")]
    pub retry_after: Option<Duration>,
    /// The same as the header `Retry-After` has it, in whole seconds, rounded up.
    #[serde(default)]
    pub retry_after_secs: Option<u64>,
    /// What the store holds afterwards under the id; on a refusal what it held before.
    pub session: Option<AnySession>,
}

/// What your transport replied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body, whole and as it stands.
    pub body: Vec<u8>,
    /// The header `Retry-After`; none if there was none.
    pub retry_after_secs: Option<u64>,
}

/// For transports without HTTP.
impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { status: answer.status, body: answer.body.into(), retry_after_secs: answer.retry_after_secs() }
    }
}

impl Case {
    /// The id under which the store is to hold the session: the path's, but for the cases that prove that another id is
    /// another session or none.
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// For transports without HTTP: the session id that is asked for, which need not be
    /// [the stored one](Self::session_id), and the request. None in a case of [`Kind::Transport`].
    pub fn request(&self) -> Option<(&str, LinkRequest<'_>)> {
        if self.kind == Kind::Transport {
            return None;
        }
        let endpoint = Endpoint::parse(&self.path)?;
        let request: LinkRequest<'_> = serde_json::from_str(&self.body).ok()?;
        Some((endpoint.session_id(), request.with_comm_type(endpoint.comm_type())))
    }

    /// Judges a transport's reply.
    ///
    /// # Errors
    /// It differs from the expected one in status, body or wait; of [`Kind::Transport`]: its status is no 4xx.
    pub fn judge(&self, reply: &Reply) -> Result<(), Mismatch> {
        let Expected { status, body, retry_after_secs, .. } = &self.expected;
        let got = reply.status.to_string();
        let (Some(status), Some(body)) = (status, body) else {
            let refused = (400..=499).contains(&reply.status);
            return self.verdict(&[("the status", if refused { got.clone() } else { "4xx".to_owned() }, got)]);
        };
        let seconds = |wait: Option<u64>| wait.map_or_else(|| "none".to_owned(), |wait| wait.to_string());
        self.verdict(&[
            ("the status", status.to_string(), got),
            ("the body", visible(body.as_bytes()), visible(&reply.body)),
            ("Retry-After", seconds(*retry_after_secs), seconds(reply.retry_after_secs)),
        ])
    }

    /// Judges what the store holds under the id after the request, `None` if it holds nothing.
    ///
    /// # Errors
    /// It differs from what is expected: a refusal changed the session, say, or a link was not stored.
    pub fn judge_stored(&self, stored: Option<&AnySession>) -> Result<(), Mismatch> {
        let text = |session| serde_json::to_string(&session).unwrap_or_else(|error| error.to_string());
        self.verdict(&[(
            "the stored session",
            visible(text(self.expected.session.as_ref()).as_bytes()),
            visible(text(stored).as_bytes()),
        )])
    }

    /// Compares what was expected with what there is.
    fn verdict(&self, parts: &[(&str, String, String)]) -> Result<(), Mismatch> {
        let mut differences = String::new();
        for (part, expected, got) in parts.iter().filter(|(_, expected, got)| expected != got) {
            for (word, text) in [("expected", expected), ("     got", got)] {
                differences.extend(["\n  ", part, ": ", word, " ", text]);
            }
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(Mismatch { case: self.name.clone(), rule: self.rule.clone(), differences })
    }
}

/// What differed from the contract; `Display` says it in words, over several lines.
///
/// White space is shown (a space as `␣`), and bytes that are no UTF-8 as `\x` and their number. It repeats what the
/// transport replied, which for a case of the kit is nobody's data.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("case {case} fails\n  the rule: {rule}{differences}")]
pub struct Mismatch {
    case: String,
    rule: String,
    differences: String,
}

/// Distinct for distinct bytes, so that what differs can be seen.
fn visible(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                ' ' => shown.push('␣'),
                '␣' => shown.extend(char.escape_unicode()),
                '"' | '\'' => shown.push(char),
                _ => shown.extend(char.escape_debug()),
            }
        }
        shown.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    shown
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OffsetDateTime, D::Error> {
    from_rfc3339(&String::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("`now` is no RFC 3339"))
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Status {
        Exact(u16),
        Class(String),
    }
    match Status::deserialize(deserializer)? {
        Status::Exact(status) => Ok(Some(status)),
        Status::Class(class) if class == "4xx" => Ok(None),
        Status::Class(_) => Err(D::Error::custom("`status` is neither a number nor `4xx`")),
    }
}

fn wait<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    from_seconds(&text).map(Some).ok_or_else(|| D::Error::custom("`retry_after` is no number of seconds with an `s`"))
}
