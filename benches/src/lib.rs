//! What the benchmarks measure `midsession` beside, and the sample they all run on.

use std::borrow::Cow;
use std::time::Duration;

use midsession::{AnySession, CommType, DuplicatePolicy, EndUser, LinkRequest, Session};
use serde::Deserialize;
use time::OffsetDateTime;
use time::macros::datetime;

pub mod handwritten;
pub mod readme;
pub mod scale;
pub mod work;

/// The published sample of a request's body.
pub const BODY: &[u8] = br#"{"identifier": "unique_external_id", "name": "John Doe", "email": "johndoe@example.com", "phone": "123-456-7890"}"#;

/// The duplicate interval of all benchmarks.
pub const INTERVAL: Duration = Duration::from_secs(30);

/// The duplicate policy of all benchmarks.
pub const POLICY: DuplicatePolicy = DuplicatePolicy::new(INTERVAL);

/// The moment at which every link before the measured one was accepted.
pub const LINKED_AT: OffsetDateTime = datetime!(2026-11-22 12:00:00 UTC);

/// A moment inside the duplicate interval of [`LINKED_AT`].
pub const INSIDE: OffsetDateTime = datetime!(2026-11-22 12:00:12 UTC);

/// A moment after the duplicate interval of [`LINKED_AT`].
pub const AFTER: OffsetDateTime = datetime!(2026-11-22 12:02:00 UTC);

/// The sample as a request for a chat, deserialised.
///
/// # Panics
/// Never: the sample is JSON.
#[must_use]
pub fn sample_request() -> LinkRequest<'static> {
    let request: LinkRequest = serde_json::from_slice(BODY).expect("the sample is JSON");
    request.with_comm_type(CommType::Chat)
}

/// The sample's end user.
///
/// # Panics
/// Never: the sample is an end user.
#[must_use]
pub fn sample_end_user() -> EndUser {
    serde_json::from_slice(BODY).expect("the sample is an end user")
}

/// An active chat that was linked to the sample's end user at [`LINKED_AT`].
///
/// # Panics
/// Never: a session that was never linked can be.
#[must_use]
pub fn linked_chat() -> AnySession {
    let linked = Session::start(CommType::Chat).link(&sample_end_user(), &POLICY, LINKED_AT);
    linked.expect("the first link").into_session().into()
}

/// A plain struct for the body, as it is usually written. It looks borrowed, but serde copies for an `Option<Cow>`.
#[derive(Deserialize)]
pub struct ParseOnly<'a> {
    /// The person's unique external id.
    pub identifier: Option<Cow<'a, str>>,
    /// The person's name.
    pub name: Option<Cow<'a, str>>,
    /// The person's e-mail address.
    pub email: Option<Cow<'a, str>>,
    /// The person's phone number.
    pub phone: Option<Cow<'a, str>>,
}

/// The least that anyone who uses `serde_json` can do with a body: text found, checked to be UTF-8, and borrowed.
#[derive(Deserialize)]
pub struct ParseBorrowed<'a> {
    /// The person's unique external id.
    #[serde(borrow)]
    pub identifier: Option<Text<'a>>,
    /// The person's name.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// The person's e-mail address.
    #[serde(borrow)]
    pub email: Option<Text<'a>>,
    /// The person's phone number.
    #[serde(borrow)]
    pub phone: Option<Text<'a>>,
}

/// Text that is borrowed where it can be: serde borrows only for a field that is a `Cow` itself.
#[derive(Deserialize)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_borrowed_copies_nothing() {
        let parsed: ParseBorrowed = serde_json::from_slice(BODY).unwrap();
        for field in [parsed.identifier, parsed.name, parsed.email, parsed.phone] {
            assert!(matches!(field, Some(Text(Cow::Borrowed(_)))));
        }
    }

    #[test]
    fn parse_only_copies_everything() {
        let parsed: ParseOnly = serde_json::from_slice(BODY).unwrap();
        for field in [parsed.identifier, parsed.name, parsed.email, parsed.phone] {
            assert!(matches!(field, Some(Cow::Owned(_))));
        }
    }
}
