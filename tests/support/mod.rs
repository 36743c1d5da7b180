//! What the tests share: a moment, sessions, requests, and assertions on whole answers.

use core::time::Duration;

use midsession::{
    Accepted, Active, Answer, AnySession, CommType, DuplicatePolicy, EndUser, LinkError, LinkRequest, Session,
    apply_link,
};
use time::OffsetDateTime;
use time::macros::datetime;

pub const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);
pub const INTERVAL: Duration = Duration::from_secs(30);
pub const POLICY: DuplicatePolicy = DuplicatePolicy::new(INTERVAL);

/// The earliest and the latest moment that `time` can hold.
pub const EARLIEST: OffsetDateTime = datetime!(-9999-01-01 00:00:00 UTC);
pub const LATEST: OffsetDateTime = datetime!(9999-12-31 23:59:59.999_999_999 UTC);

pub const BOTH: [CommType; 2] = [CommType::Call, CommType::Chat];

pub fn end_user(identifier: &str) -> EndUser {
    EndUser::new(identifier).unwrap()
}

/// A chat linked to `identifier` at [`NOW`].
pub fn linked(identifier: &str) -> Session<Active> {
    Session::start(CommType::Chat).link(&end_user(identifier), &POLICY, NOW).unwrap().into_session()
}

/// The body's request, of a chat.
pub fn request(body: &str) -> LinkRequest<'_> {
    serde_json::from_str::<LinkRequest>(body).unwrap().with_comm_type(CommType::Chat)
}

/// Puts `body` to a chat at [`NOW`].
pub fn link_chat(session: &Session<Active>, body: &str) -> Result<Accepted, LinkError> {
    apply_link(Some(&session.clone().into()), &request(body), &POLICY, NOW)
}

/// Puts `body` to a new chat.
pub fn link_new_chat(body: &str) -> Result<Accepted, LinkError> {
    link_chat(&Session::start(CommType::Chat), body)
}

#[track_caller]
pub fn assert_answer(decision: &Result<Accepted, LinkError>, status: u16, message: &str) {
    let answer = Answer::from(decision);
    assert_eq!((answer.status, answer.body), (status, format!("{{\"message\":\"{message}\"}}").as_str()));
}

/// That the record is refused in these words, apart from the line and column that `serde_json` adds.
#[track_caller]
pub fn assert_refused(stored: &str, error: &str) {
    let refusal = serde_json::from_str::<AnySession>(stored).unwrap_err().to_string();
    assert_eq!(refusal.split(" at line ").next(), Some(error), "{stored}");
}
