//! What is measured, both in time and in instructions. Nothing that goes in is known to the compiler.

use std::hint::black_box;

use midsession::{Accepted, Active, Answer, AnySession, EndUser, LinkError, LinkRequest, Session, apply_link};
use time::OffsetDateTime;

use crate::{BODY, POLICY, ParseBorrowed, ParseOnly};

/// A whole request, from the body's bytes to the answer: a chat's, at `now`.
///
/// # Panics
/// Never: the sample is JSON.
#[inline]
pub fn request(session: &AnySession, now: OffsetDateTime) -> (Answer, Result<Accepted, LinkError>) {
    let request: LinkRequest = serde_json::from_slice(black_box(BODY)).expect("the sample is JSON");
    let request = request.with_comm_type(black_box("chat"));
    let decision = apply(session, &request, now);
    (Answer::from(&decision), decision)
}

/// The decision alone, on a request that has been parsed.
///
/// # Errors
/// The decision's.
#[inline]
pub fn apply(session: &AnySession, request: &LinkRequest, now: OffsetDateTime) -> Result<Accepted, LinkError> {
    apply_link(black_box(Some(session)), black_box(request), black_box(&POLICY), black_box(now))
}

/// The last rows of the decision, on an end user that is known to be valid.
///
/// # Errors
/// The decision's.
#[inline]
pub fn decide(session: &Session<Active>, end_user: &EndUser, now: OffsetDateTime) -> Result<Accepted, LinkError> {
    black_box(session).link(black_box(end_user), black_box(&POLICY), black_box(now))
}

/// A session as a store keeps it.
///
/// # Panics
/// Never: a session is JSON.
#[inline]
pub fn json_out(session: &AnySession) -> String {
    serde_json::to_string(black_box(session)).expect("a session is JSON")
}

/// A session as a store gives it back.
///
/// # Panics
/// If the text is not a session.
#[inline]
pub fn json_in(stored: &str) -> AnySession {
    serde_json::from_str(black_box(stored)).expect("a stored session")
}

/// See [`ParseOnly`].
///
/// # Panics
/// Never: the sample is JSON.
#[inline]
pub fn parse_only() -> ParseOnly<'static> {
    serde_json::from_slice(black_box(BODY)).expect("the sample is JSON")
}

/// See [`ParseBorrowed`].
///
/// # Panics
/// Never: the sample is JSON.
#[inline]
pub fn parse_borrowed() -> ParseBorrowed<'static> {
    serde_json::from_slice(black_box(BODY)).expect("the sample is JSON")
}
