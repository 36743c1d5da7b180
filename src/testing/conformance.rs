//! The conformance kit: what a crate that wraps `midsession` in a transport (an HTTP framework, a lambda, a gateway) runs
//! in its tests to know that it answers exactly. Feature `conformance`.
//!
//! Give each of the [`cases`] to your transport, with a store, a policy and a clock that the test sets, and have its reply
//! judged. A [`Mismatch`] says in words what differed.
//!
//! ```
//! use midsession::testing::conformance::{self, Need, Reply};
//! # use midsession::{AnySession, Answer, DuplicatePolicy, Endpoint, LinkRequest, apply_link};
//! # struct Server { id: String, stored: Option<AnySession>, policy: DuplicatePolicy, now: time::OffsetDateTime }
//! # #[derive(Default)] struct Response { status: u16, body: &'static str, retry_after: Option<u64> }
//! # impl Server {
//! #     fn serve(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
//! #         let refused = |status| Response { status, ..Response::default() };
//! #         if method != "POST" { return refused(405) }
//! #         let Some(endpoint) = Endpoint::parse(target.split('?').next().unwrap()) else { return refused(404) };
//! #         let is_json = |(name, value): &(&str, &str)| *name == "content-type" && value.to_lowercase().starts_with("application/json");
//! #         if !headers.iter().any(is_json) { return refused(415) }
//! #         let Ok(text) = std::str::from_utf8(body) else { return refused(400) };
//! #         let Ok(request) = serde_json::from_str::<LinkRequest>(text) else { return refused(400) };
//! #         let request = request.with_endpoint(&endpoint);
//! #         let stored = self.stored.as_ref().filter(|_| endpoint.session_id() == self.id);
//! #         let decision = apply_link(stored, &request, &self.policy, self.now);
//! #         let answer = Answer::from(&decision);
//! #         if let Ok(accepted) = decision { self.stored = Some(accepted.into_session().into()); }
//! #         Response { status: answer.status, body: answer.body, retry_after: answer.retry_after_secs() }
//! #     }
//! # }
//!
//! for case in conformance::cases()? {
//!     // This store has no writer beside the server, so no race can be lost.
//!     if case.needs.contains(&Need::Meanwhile) { continue }
//!     // Your server: its store holds the case's session (and `case.others`), its clock stands still.
//!     let (id, stored) = (case.session_id().to_owned(), case.session.clone());
//!     let mut server = Server { id, stored, policy: case.policy, now: case.now };
//!     for request in case.in_a_row() {
//!         server.now = request.now;
//!         if request.replaced { server.stored = request.session.clone(); }
//!         let response = server.serve(&request.method, &request.target(), &request.headers(), &request.body);
//!
//!         let body = response.body.into();
//!         request.judge(&Reply { status: response.status, body, retry_after_secs: response.retry_after })?;
//!         request.judge_stored(server.stored.as_ref())?; // if your test can look into the store
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Three kinds of cases
//! - [`Kind::Contract`]: the contract says what the answer is, and every byte of it counts.
//! - [`Kind::Transport`]: bytes that are not JSON, a field given twice, a path that is not an [`Endpoint`], a
//!   method other than POST. The answer is the transport's own, of a status that the case allows, and nothing is stored.
//! - [`Kind::Either`]: the transport may answer by the contract, or refuse by itself and store nothing.
//!
//! # More than one request
//! Most cases are one request. [`Case::in_a_row`] has the further ones: they go to the same server, which is not set up
//! anew, so that a limiter or a cache beside the store is seen. Before some of them another server has
//! [replaced](Case::replaced) the session.
//!
//! # A lost race
//! In a case with [`meanwhile`](Case::meanwhile), another server stores that session between your read and your write, so
//! your write must not be made, and your code decides again on what is stored now. With
//! [`deleted_meanwhile`](Case::deleted_meanwhile), it deletes the session. In a case with
//! [`refused_writes`](Case::refused_writes), that many writes are lost in a row. Your test's store does this: it puts
//! `meanwhile` in place, or deletes the session, right after its first read of it, and answers the first `refused_writes`
//! writes as it answers a write of a stale revision. Such a case needs [`Need::Meanwhile`]. If requests follow, no write of
//! theirs is lost; [`Case::goes_on_after`] says whether they are sent.
//!
//! Outside the kit, and yours to decide and to test: authorisation, chunked bodies, limits on size and time.
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
//! use midsession::testing::conformance::{self, Need, Reply};
//! use midsession::{Answer, apply_link};
//!
//! for case in conformance::cases()? {
//!     // Nobody else writes to this store.
//!     if case.needs.contains(&Need::Meanwhile) { continue }
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
//! to build the endpoint. `cases.schema.json` is the JSON Schema of the file. Beside it stands `kit.py`, one file that needs
//! only Python's standard library: it drives a running transport through the cases over HTTP, by the hooks that it
//! describes, and prints what differs. `README.md` there shows how a service's CI runs it.

pub mod store;

// The core is `no_std`; what is for tests only need not be.
use core::fmt;
use core::time::Duration;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::prelude::rust_2024::*;
use std::{format, vec};

use serde::de::{Deserialize, Deserializer, Error as _};
use time::OffsetDateTime;

use crate::policy::from_seconds;
use crate::stored::from_rfc3339;
use crate::{Answer, AnySession, DuplicatePolicy, Endpoint, LinkRequest};

/// The file of the cases: an object of `version`, `contract`, which says what to build, `format`, which says how the cases
/// are read, and `cases`.
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

/// One request, or several in a row, and what must come of it.
#[derive(Clone, Debug, serde::Deserialize)]
#[non_exhaustive]
pub struct Case {
    /// The name, unique among the cases, for a test's output.
    pub name: String,
    /// Who decides what the answer is: the contract, the transport, or either.
    pub kind: Kind,
    /// The row of the [decision table](crate#the-decision) that answers, then further rows that apply as well, which must
    /// not answer. Empty in a case of [`Kind::Transport`].
    pub rows: Vec<u8>,
    /// The rule it proves, in words.
    pub rule: String,
    /// What a transport must be able to do to pass it. Mostly empty.
    pub needs: Vec<Need>,
    session_id: String,
    /// What the store holds under [`session_id`](Self::session_id) before the request; none: nothing.
    pub session: Option<AnySession>,
    /// What the store holds under other ids, before the request and after it.
    #[serde(default)]
    pub others: BTreeMap<String, AnySession>,
    /// What another server stores under [`session_id`](Self::session_id) between the transport's first read and its write.
    /// `expected` holds for a transport that then decides again.
    #[serde(default)]
    pub meanwhile: Option<AnySession>,
    /// Whether another server deletes the session at that moment, in place of storing one.
    #[serde(default)]
    pub deleted_meanwhile: bool,
    /// How many writes in a row the store answers as it answers a stale revision. It stores nothing of them.
    #[serde(default)]
    pub refused_writes: u32,
    /// In a further request of [`in_a_row`](Self::in_a_row): whether another server has stored [`session`](Self::session)
    /// since the request before, or has deleted it. Then your test does so, and sets up nothing else anew.
    #[serde(skip)]
    pub replaced: bool,
    /// The policy to decide by.
    pub policy: DuplicatePolicy,
    /// What the clock shows.
    #[serde(deserialize_with = "moment")]
    pub now: OffsetDateTime,
    /// The HTTP method, `POST` in most cases.
    pub method: String,
    /// The path, exactly as it is sent: no client may resolve, fold or encode anything in it.
    pub path: String,
    /// What follows the path and a `?`; none: there is no `?` either.
    #[serde(default)]
    pub query: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    /// The request's body, whole. Empty: the request has none. Not always UTF-8.
    #[serde(deserialize_with = "body")]
    pub body: Vec<u8>,
    /// What must come of it.
    pub expected: Expected,
    #[serde(default)]
    steps: Vec<Step>,
}

/// Who decides what the answer to a [`Case`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// `contract`: the contract decides, and every byte of the answer counts.
    #[default]
    Contract,
    /// `transport`: the transport decides. The status is one that [`Expected::own`] allows, and nothing is stored.
    Transport,
    /// `either`: the transport answers by the contract, or as in [`Kind::Transport`].
    Either,
}

/// What not every transport can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
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
    /// `trailing_slash`: a path with a slash at its end arrives with it. Many routers cut it off.
    TrailingSlash,
    /// `decoded_path`: the transport can tell `%63` from `c` in a path. Many routers decode the path first.
    DecodedPath,
    /// `duplicate_keys`: the transport can see that a JSON object has a key twice. Most parsers keep the last one.
    DuplicateKeys,
    /// `big_revisions`: revisions of 2^53 and more are exact. A JSON parser that makes every number a 64-bit float rounds
    /// them.
    BigRevisions,
    /// `meanwhile`: the test can change the store between the transport's read and its write. A transport that locks the
    /// session from its read to its write cannot lose a race.
    Meanwhile,
}

/// One more request to the same server.
#[derive(Clone, Debug, serde::Deserialize)]
struct Step {
    #[serde(default)]
    kind: Kind,
    rows: Vec<u8>,
    #[serde(deserialize_with = "moment")]
    now: OffsetDateTime,
    #[serde(default, deserialize_with = "given")]
    session: Option<Replacement>,
    path: Option<String>,
    body: Option<String>,
    expected: Expected,
}

/// What another server has stored before a further request; none: it has deleted the session.
#[derive(Clone, Debug, serde::Deserialize)]
struct Replacement(Option<AnySession>);

/// What must come of a [`Case`].
#[derive(Clone, Debug, serde::Deserialize)]
#[non_exhaustive]
pub struct Expected {
    /// The HTTP status that the contract says; none in a case of [`Kind::Transport`].
    #[serde(default)]
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
    /// The statuses that an answer of the transport's own may have: classes such as `4xx`, and single ones such as `503`.
    /// Empty in a case of [`Kind::Contract`].
    #[serde(default)]
    pub own: Vec<String>,
    /// What the store holds afterwards under the id, if the contract answers; on a refusal what it held before.
    pub session: Option<AnySession>,
}

/// What your transport replied. `Debug` shows the body as text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body, whole and as it stands.
    pub body: Vec<u8>,
    /// The header `Retry-After`; none if there was none.
    pub retry_after_secs: Option<u64>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Reply")
            .field("status", &self.status)
            .field("body", &format_args!("\"{}\"", visible(&self.body)))
            .field("retry_after_secs", &self.retry_after_secs)
            .finish()
    }
}

/// For transports without HTTP.
impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { status: answer.status, body: answer.body.into(), retry_after_secs: answer.retry_after_secs() }
    }
}

impl Case {
    /// The id under which the store holds the session. It is the path's id, except in the cases that prove that another id
    /// is another session or none.
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// This case, then the further requests that follow it, each as a case of its own whose `session` is what the store
    /// holds before it. Set up the store for the first alone. For the others set the clock, put `session` in place if it is
    /// [`replaced`](Self::replaced), and lose no more writes. Stop where the case does not [go on](Self::goes_on_after).
    pub fn in_a_row(&self) -> Vec<Self> {
        let mut all = vec![self.clone()];
        let mut stored = self.after_itself();
        for (at, step) in self.steps.iter().enumerate() {
            let Step { kind, rows, now, session, path, body, expected } = step.clone();
            let replaced = session.is_some();
            let next = Self {
                name: format!("{}, step {}", self.name, at.saturating_add(2)),
                path: path.unwrap_or_else(|| self.path.clone()),
                body: body.map_or(self.body.clone(), Into::into),
                session: session.map_or(stored, |Replacement(session)| session),
                steps: vec![],
                meanwhile: None,
                deleted_meanwhile: false,
                refused_writes: 0,
                ..self.clone()
            };
            let next = Self { kind, rows, replaced, now, expected, ..next };
            stored = next.after_itself();
            all.push(next);
        }
        all
    }

    /// Whether the further requests of [`in_a_row`](Self::in_a_row) are sent after this reply. Those that follow a request of
    /// [`Kind::Either`] are for a transport that has refused it by itself.
    pub fn goes_on_after(&self, reply: &Reply) -> bool {
        self.kind != Kind::Either || self.is_own(reply)
    }

    /// What is stored when the next request is sent.
    fn after_itself(&self) -> Option<AnySession> {
        if self.kind == Kind::Either { self.before().cloned() } else { self.expected.session.clone() }
    }

    /// The path with its query, as the request line has it.
    pub fn target(&self) -> Cow<'_, str> {
        self.query.as_ref().map_or(Cow::Borrowed(&*self.path), |query| format!("{}?{query}", self.path).into())
    }

    /// The headers that the case is about, names in lower case. In most cases the content type alone.
    pub fn headers(&self) -> Vec<(&str, &str)> {
        let json = ("content-type", "application/json");
        let content_type = (!self.headers.contains_key(json.0)).then_some(json);
        let others = self.headers.iter().filter_map(|(name, value)| Some((&**name, value.as_deref()?)));
        content_type.into_iter().chain(others).collect()
    }

    /// For transports without HTTP: the session id that is asked for, which need not be
    /// [the stored one](Self::session_id), and the request. None if the case is not of [`Kind::Contract`].
    pub fn request(&self) -> Option<(&str, LinkRequest<'_>)> {
        if self.kind != Kind::Contract {
            return None;
        }
        let endpoint = Endpoint::parse(&self.path)?;
        let request: LinkRequest<'_> = serde_json::from_slice(&self.body).ok()?;
        Some((endpoint.session_id(), request.with_endpoint(&endpoint)))
    }

    /// Judges a transport's reply.
    ///
    /// # Errors
    /// - It differs from the expected one in status, body or wait.
    /// - It is the transport's own, and its status is none that the case allows.
    pub fn judge(&self, reply: &Reply) -> Result<(), Mismatch> {
        let Expected { status, body, retry_after_secs, own, .. } = &self.expected;
        // Nearly every reply ends here: the text of a difference is made only where there is one.
        if self.is_own(reply) || (self.is_contracts(reply) && *retry_after_secs == reply.retry_after_secs) {
            return Ok(());
        }
        let mut parts = Vec::new();
        if *status != Some(reply.status) {
            let statuses = status.map(|status| status.to_string()).into_iter().chain(own.iter().cloned());
            parts.push(("the status", statuses.collect::<Vec<_>>().join(" or "), reply.status.to_string()));
        }
        if let Some(body) = body {
            let seconds = |wait: Option<u64>| wait.map_or_else(|| "none".to_owned(), |wait| wait.to_string());
            parts.push(("the body", visible(body.as_bytes()), visible(&reply.body)));
            parts.push(("Retry-After", seconds(*retry_after_secs), seconds(reply.retry_after_secs)));
        }
        Err(self.mismatch(&parts))
    }

    /// Judges what the store holds under the id after the request, `None` if it holds nothing. If the transport may refuse by
    /// itself, what was stored before passes too; [`judge_store`](Self::judge_store) is stricter.
    ///
    /// # Errors
    /// - It differs from what is expected: a refusal changed the session, for example, or a link was not stored.
    pub fn judge_stored(&self, stored: Option<&AnySession>) -> Result<(), Mismatch> {
        if self.kind == Kind::Either && stored == self.before() {
            return Ok(());
        }
        self.same_session("the stored session", self.expected.session.as_ref(), stored)
    }

    /// Judges everything that the store holds after the request, by its id. It must fit the reply: an accepted link is
    /// stored, a refusal stores nothing, and no other session changes or appears.
    ///
    /// # Errors
    /// - The session differs from what is expected.
    /// - Another session was changed, stored or lost.
    pub fn judge_store(&self, reply: &Reply, stored: &BTreeMap<String, AnySession>) -> Result<(), Mismatch> {
        let expected = if self.is_own(reply) { self.before() } else { self.expected.session.as_ref() };
        self.same_session("the stored session", expected, stored.get(&self.session_id))?;
        let mut others = stored.keys().chain(self.others.keys()).filter(|id| **id != self.session_id);
        others.find(|id| self.others.get(*id) != stored.get(*id)).map_or(Ok(()), |id| {
            let part = format!("the other session `{}`", visible(id.as_bytes()));
            self.same_session(&part, self.others.get(id), stored.get(id))
        })
    }

    /// Whether the reply is one of the transport's own, and allowed. What the contract says as well is the contract's.
    fn is_own(&self, reply: &Reply) -> bool {
        let is = |own: &String| {
            let status = reply.status.to_string();
            own.strip_suffix("xx").map_or(*own == status, |class| status.starts_with(class))
        };
        !self.is_contracts(reply) && self.expected.own.iter().any(is)
    }

    /// Whether the reply has the contract's status and body.
    fn is_contracts(&self, reply: &Reply) -> bool {
        self.expected.status == Some(reply.status)
            && self.expected.body.as_ref().is_some_and(|body| body.as_bytes() == reply.body)
    }

    /// What is stored when the last decision is made.
    fn before(&self) -> Option<&AnySession> {
        self.meanwhile.as_ref().or(self.session.as_ref()).filter(|_| !self.deleted_meanwhile)
    }

    fn same_session(
        &self,
        part: &str,
        expected: Option<&AnySession>,
        got: Option<&AnySession>,
    ) -> Result<(), Mismatch> {
        if expected == got {
            return Ok(());
        }
        Err(self.mismatch(&[(part, in_json(expected), in_json(got))]))
    }

    /// What was expected and what there is, where they differ.
    fn mismatch(&self, parts: &[(&str, String, String)]) -> Mismatch {
        let mut differences = String::new();
        for (part, expected, got) in parts.iter().filter(|(_, expected, got)| expected != got) {
            for (word, text) in [("expected", expected), ("     got", got)] {
                differences.extend(["\n  ", part, ": ", word, " ", text]);
            }
        }
        Mismatch { case: self.name.clone(), rule: self.rule.clone(), given: self.given(), differences }
    }

    /// The request, and what the decision depends on.
    fn given(&self) -> String {
        let policy = format!("{:?}, scope {}", self.policy.interval(), self.policy.scope());
        let mut lines = vec![
            ("the request", format!("{} {} {}", self.method, self.target(), visible(&self.body))),
            (
                "the session",
                format!("{} under `{}`", in_json(self.session.as_ref()), visible(self.session_id.as_bytes())),
            ),
            ("the policy", policy),
            ("the clock", self.now.to_string()),
        ];
        if !self.headers.is_empty() {
            lines.push(("the headers", format!("{:?}", self.headers())));
        }
        if let Some(meanwhile) = &self.meanwhile {
            lines.push(("stored meanwhile", in_json(Some(meanwhile))));
        }
        if self.deleted_meanwhile {
            lines.push(("deleted meanwhile", "yes".to_owned()));
        }
        if self.refused_writes > 0 {
            lines.push(("refused writes", self.refused_writes.to_string()));
        }
        lines.into_iter().flat_map(|(part, text)| ["\n  ".to_owned(), part.to_owned(), ": ".to_owned(), text]).collect()
    }
}

fn in_json(session: Option<&AnySession>) -> String {
    let text = serde_json::to_string(&session).unwrap_or_else(|error| error.to_string());
    visible(text.as_bytes())
}

/// What differed from the contract. `Display` says it in words, over several lines, with the request and what the decision
/// depends on.
///
/// White space is shown (a space as `␣`), and bytes that are no UTF-8 as `\x` and their number. It repeats what the
/// transport replied, which for a case of the kit is nobody's data.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("case {case} fails\n  the rule: {rule}{given}{differences}")]
pub struct Mismatch {
    case: String,
    rule: String,
    given: String,
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

/// A key that is there, be it with `null`.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Replacement>, D::Error> {
    Replacement::deserialize(deserializer).map(Some)
}

/// Text in UTF-8, an object with the key `latin1`, whose characters are the bytes, or text with a part that is repeated.
fn body<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Body {
        Text(String),
        Bytes { latin1: String },
        Repeated { before: String, repeat: String, times: usize, after: String },
    }
    match Body::deserialize(deserializer)? {
        Body::Text(text) => Ok(text.into_bytes()),
        Body::Repeated { before, repeat, times, after } => {
            Ok([before, repeat.repeat(times), after].concat().into_bytes())
        }
        Body::Bytes { latin1 } => {
            let bytes = latin1.chars().map(u8::try_from).collect::<Result<_, _>>();
            bytes.map_err(|_| D::Error::custom("`latin1` has a character above U+00FF"))
        }
    }
}

fn wait<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    from_seconds(&text).map(Some).ok_or_else(|| D::Error::custom("`retry_after` is no number of seconds with an `s`"))
}
