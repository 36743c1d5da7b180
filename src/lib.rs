//! Mid-session authentication for contact centres, as one pure crate.
//!
//! A support session (a call or a chat) starts anonymous. Later its end user proves who they are, and a server asks the
//! contact-centre platform to link the session to that person:
//!
//! ```text
//! POST /apps/api/v1/calls/:call_id/end_user
//! POST /apps/api/v1/chats/:chat_id/end_user
//!
//! {"identifier": "unique_external_id", "name": "John Doe", "email": "johndoe@example.com", "phone": "123-456-7890"}
//! ```
//!
//! `midsession` is the domain logic of that endpoint. Your server reads the path as an [`Endpoint`] and the body as a
//! [`LinkRequest`], loads the session, asks [`apply_link`], sends the [`Answer`] and stores the accepted session.
//!
//! # What it leaves to you
//! - **Time.** It reads no clock: `now` comes in.
//! - **Transport.** Authentication, a limit on the body's size, and the answer to bytes that are no JSON.
//! - **Store.** Where sessions live, and writing them back only `WHERE revision = <the one you read>`, so that of two
//!   servers that race one has to decide again.
//!
//! No I/O, no threads, no async, no logging, no globals, no `unsafe`, no panics. The crate is `no_std` with `alloc`, so
//! the compiler refuses a clock, a file, a socket or a thread in it. A build of it still needs `std`, because its
//! dependency `validator` does.
//!
//! # The session
//!
//! ```text
//! Session<Active> ── end(at) ──▶ Session<Ended>
//!     │  ▲
//!     └──┘ link(end_user, policy, now)
//! ```
//!
//! A [`Session`] knows its state at compile time: on an ended one, `link` and `end` do not exist. [`AnySession`] is the
//! session as a store hands it back. Linking borrows and returns the next session; a refusal changes nothing.
//!
//! # The decision
//! The checks run in this order, and the first that fails is the answer, with the body `{"message":"<message>"}`:
//!
//! | # | situation | answer | [`LinkError`] |
//! |---|---|---|---|
//! | 1 | the comm type is blank | 400 `param is missing or the value is empty: comm_type` | [`MissingParam`](LinkError::MissingParam) |
//! | 2 | the identifier is blank | 400 `param is missing or the value is empty: identifier` | [`MissingParam`](LinkError::MissingParam) |
//! | 3 | a field is present but unacceptable | 400 `param is invalid: identifier` (or `name`, `email`, `phone`) | [`InvalidParam`](LinkError::InvalidParam) |
//! | 4 | the comm type is neither call nor chat | 404 `Not Found` | [`NotFound`](LinkError::NotFound) |
//! | 5 | the session is unknown, or of the other comm type | 404 `Not Found` | [`NotFound`](LinkError::NotFound) |
//! | 6 | the session has ended | 400 `Call is already ended` or `Chat is already ended` | [`AlreadyEnded`](LinkError::AlreadyEnded) |
//! | 7 | its CRM takes no such update | 400 `Unsupported CRM request` | [`UnsupportedCrm`](LinkError::UnsupportedCrm) |
//! | 8 | it is inside the duplicate interval | 400 `Duplicate request: Please wait for the interval to expire` | [`Duplicate`](LinkError::Duplicate) |
//! | 9 | otherwise | 202 `accepted` | none: [`Accepted`] |
//!
//! Rows 1, 2, 4 and 6 to 9 are the platform's published contract, letter for letter. Row 3 and the unknown session of
//! row 5 are *ours*. What is blank is Rails' `params.require`'s to say, see [`Param`]; what is acceptable is *ours*:
//! [`limits`], no control characters, an e-mail address by `validator`'s rule, a phone number with at least one digit.
//!
//! # An acceptance
//!
//! ```
//! use core::time::Duration;
//! use midsession::{AnySession, Answer, CommType, DuplicatePolicy, Endpoint, LinkRequest, Session, apply_link};
//! use time::macros::datetime;
//!
//! let policy = DuplicatePolicy::new(Duration::from_secs(30));
//! let session = AnySession::from(Session::start(CommType::Chat));
//!
//! let endpoint = Endpoint::parse("/apps/api/v1/chats/42/end_user").ok_or("no such route")?;
//! let request: LinkRequest = serde_json::from_slice(br#"{"identifier": "unique_external_id", "name": "John Doe"}"#)?;
//! let request = request.with_comm_type(endpoint.comm_type());
//!
//! let decision = apply_link(Some(&session), &request, &policy, datetime!(2026-11-22 12:00 UTC));
//! let answer = Answer::from(&decision);
//! assert_eq!((answer.status, answer.body), (202, r#"{"message":"accepted"}"#));
//! assert_eq!(decision?.session().end_user().and_then(|end_user| end_user.name()), Some("John Doe"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A refusal
//!
//! ```
//! # use core::time::Duration;
//! # use midsession::{AnySession, Answer, CommType, DuplicatePolicy, LinkError, LinkRequest, Session, apply_link};
//! # use time::macros::datetime;
//! # let policy = DuplicatePolicy::new(Duration::from_secs(30));
//! let session = AnySession::from(Session::start(CommType::Call)).end(datetime!(2026-11-22 11:58 UTC));
//! let request = LinkRequest { identifier: "unique_external_id".into(), ..LinkRequest::default() };
//! let request = request.with_comm_type(CommType::Call);
//!
//! let decision = apply_link(Some(&session), &request, &policy, datetime!(2026-11-22 12:00 UTC));
//! assert_eq!(decision, Err(LinkError::AlreadyEnded(CommType::Call)));
//! assert_eq!(Answer::from(&decision).body, r#"{"message":"Call is already ended"}"#);
//! ```
//!
//! # Features
//! None is on by default.
//! - `arbitrary`: every public input type from a fuzzer's bytes, as `arbitrary_moment` shows.
//! - `conformance`: the kit by which a crate that wraps this one in a transport knows that it answers exactly.
//! - `http`: an [`Answer`] becomes an `http::Response`, for axum, tower, hyper, lambda and the like.
//! - `proptest`: strategies for every public input type, the ends of every range included; see `strategies`.
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

extern crate alloc;
// For tests, and for the instruments in `testing`.
#[cfg(any(test, feature = "arbitrary", feature = "conformance", feature = "proptest"))]
extern crate std;

mod answer;
#[cfg(feature = "arbitrary")]
#[path = "testing/arbitrary.rs"]
mod arbitrary;
mod comm_type;
#[cfg(feature = "conformance")]
#[path = "testing/conformance.rs"]
pub mod conformance;
mod email;
mod end_user;
mod endpoint;
mod error;
pub mod limits;
mod link;
mod owned_link_request;
mod param;
mod policy;
mod record;
mod request;
#[cfg(any(feature = "arbitrary", feature = "proptest"))]
#[path = "testing/samples.rs"]
mod samples;
mod session;
#[cfg(feature = "proptest")]
#[path = "testing/strategies.rs"]
pub mod strategies;
mod wire;
mod words;

pub use answer::Answer;
#[cfg(feature = "arbitrary")]
pub use arbitrary::arbitrary_moment;
pub use comm_type::CommType;
pub use end_user::{EndUser, EndUserError, EndUserField};
pub use endpoint::Endpoint;
pub use error::{LinkError, LinkErrorKind, RequiredParam};
pub use link::{Accepted, LinkChange, apply_link};
pub use owned_link_request::OwnedLinkRequest;
pub use param::Param;
pub use policy::{DuplicatePolicy, DuplicateScope};
pub use request::LinkRequest;
pub use session::{Active, AnySession, CrmSupport, Ended, Session, State};
pub use words::ParseWordError;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
