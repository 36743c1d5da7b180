//! The conformance kit: what a crate that wraps `midsession` in a transport (an HTTP framework, a lambda, a gateway) runs
//! in its tests to know that it answers exactly. Feature `conformance`.
//!
//! Give each of the [`cases`] to your transport, with a store, a policy and a clock that the test sets, and have its reply
//! judged. A [`Mismatch`] says in words what differed.
//!
//! ```
//! use midsession::conformance::{self, Reply};
//! # use midsession::{AnySession, Answer, DuplicatePolicy, Endpoint, LinkRequest, apply_link};
//! # struct Server { id: String, stored: Option<AnySession>, policy: DuplicatePolicy, now: time::OffsetDateTime }
//! # struct Response { status: u16, body: &'static str, retry_after: Option<u64> }
//! # impl Server {
//! #     fn post(&mut self, path: &str, body: &str) -> Result<Response, Box<dyn std::error::Error>> {
//! #         let endpoint = Endpoint::parse(path).filter(|e| e.session_id() == self.id).ok_or("no such route")?;
//! #         let request = serde_json::from_str::<LinkRequest>(body)?.with_comm_type(endpoint.comm_type());
//! #         let decision = apply_link(self.stored.as_ref(), &request, &self.policy, self.now);
//! #         let answer = Answer::from(&decision);
//! #         if let Ok(accepted) = decision { self.stored = Some(accepted.into_session().into()); }
//! #         Ok(Response { status: answer.status, body: answer.body, retry_after: answer.retry_after_secs() })
//! #     }
//! # }
//!
//! for case in conformance::cases()? {
//!     // Your server: its store holds the case's session and nothing else, its clock stands still.
//!     let (id, stored) = (case.session_id().to_owned(), case.session.clone());
//!     let mut server = Server { id, stored, policy: case.policy, now: case.now };
//!     let response = server.post(&case.path, &case.body)?;
//!
//!     let body = response.body.into();
//!     case.judge(&Reply { status: response.status, body, retry_after_secs: response.retry_after })?;
//!     case.judge_stored(server.stored.as_ref())?; // if your test can look into the store
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The cases hold what the contract answers and nothing else: bytes that are no JSON, a field given twice, a path that is
//! no [`Endpoint`], authentication and limits on size are your transport's own, and yours to test.
//!
//! # For other languages
//! The cases are data: [`JSON`], in this crate's sources `src/testing/conformance/cases.json`. The file says itself how it is
//! read, under `format`.

#[path = "conformance/store.rs"]
pub mod store;

// The core is `no_std`; what is for tests only need not be.
use core::time::Duration;
use std::format;
use std::prelude::rust_2024::*;

use serde::de::{Deserialize, Deserializer, Error as _};
use time::OffsetDateTime;

use crate::policy::from_seconds;
use crate::record::from_rfc3339;
use crate::{AnySession, DuplicatePolicy, Endpoint};

/// The file of the cases: an object of `format`, which explains it, and `cases`.
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
    /// The row of the [decision table](crate#the-decision) that answers, then further rows that hold as well, which must
    /// not answer.
    pub rows: Vec<u8>,
    /// The rule it proves, in words.
    pub rule: String,
    /// What the store holds under [`session_id`](Self::session_id) before the request; none: nothing.
    pub session: Option<AnySession>,
    /// The policy to decide by.
    pub policy: DuplicatePolicy,
    /// What the clock shows.
    #[serde(deserialize_with = "moment")]
    pub now: OffsetDateTime,
    /// The path that is posted to.
    pub path: String,
    /// The request's body, whole.
    pub body: String,
    /// What is to come of it.
    pub expected: Expected,
}

/// What is to come of a [`Case`].
#[derive(Clone, Debug, serde::Deserialize)]
#[non_exhaustive]
pub struct Expected {
    /// The HTTP status.
    pub status: u16,
    /// The body, byte for byte.
    pub body: String,
    /// On a duplicate: the exact wait.
    #[serde(deserialize_with = "wait")]
    pub retry_after: Option<Duration>,
    /// The same as the header `Retry-After` has it, in whole seconds, rounded up.
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

impl Case {
    /// The id in the path, under which the store is to hold the session.
    pub fn session_id(&self) -> &str {
        Endpoint::parse(&self.path).map_or("", |endpoint| endpoint.session_id())
    }

    /// Judges a transport's reply.
    ///
    /// # Errors
    /// It differs from the expected one in status, body or wait.
    pub fn judge(&self, reply: &Reply) -> Result<(), Mismatch> {
        let seconds = |wait: Option<u64>| wait.map_or_else(|| "none".to_owned(), |wait| wait.to_string());
        let Expected { status, body, retry_after_secs, .. } = &self.expected;
        self.verdict(&[
            ("the status", status.to_string(), reply.status.to_string()),
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

fn wait<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    from_seconds(&text).map(Some).ok_or_else(|| D::Error::custom("`retry_after` is no number of seconds with an `s`"))
}
