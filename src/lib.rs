//! Mid-session authentication for contact centres, as one pure crate.
//!
//! [Wrapping it]: crate::wrapping
//! [Calling it]: crate::calling
//! [Testing it]: crate::testing
//! [The server]: https://docs.rs/crate/midsession/latest/source/docs/server.md
//! [Performance]: https://docs.rs/crate/midsession/latest/source/docs/performance.md
//! [Contributing]: https://docs.rs/crate/midsession/latest/source/CONTRIBUTING.md
//! [Security]: https://docs.rs/crate/midsession/latest/source/SECURITY.md
//! [Changelog]: https://docs.rs/crate/midsession/latest/source/CHANGELOG.md
// The crate's page is the README. Of two definitions of a link the first one counts: the ones above, and the picture
// that has its data in the link, take the place of the README's paths, since docs.rs has no files beside a page.
#![doc = include_str!("../docs/session.link.md")]
#![doc = include_str!("../README.md")]
// On docs.rs, items behind a feature say so.
#![cfg_attr(docsrs, feature(doc_cfg))]
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
mod comm_type;
mod de;
mod email;
mod end_user;
mod endpoint;
mod error;
pub mod limits;
mod link;
mod owned_link_request;
mod param;
mod policy;
mod request;
mod session;
mod stored;
mod string_enum;
#[cfg(any(feature = "arbitrary", feature = "conformance", feature = "proptest"))]
pub mod testing;
// Examples for the compiler alone; the documentation shows them in `Session`'s own words.
#[cfg(doctest)]
#[doc = include_str!("typestate.md")]
mod typestate {}
// Pages of the documentation, without items.
#[cfg(any(doc, doctest))]
#[doc = include_str!("calling.md")]
pub mod calling {
    use crate::{Answer, EndUser, Endpoint, LinkRequest};
}
#[cfg(any(doc, doctest))]
#[doc = include_str!("wrapping.md")]
pub mod wrapping {
    use crate::{Answer, AnySession, Endpoint, LinkErrorKind, OwnedLinkRequest, Session, apply_link};
}

pub use answer::Answer;
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
pub use string_enum::ParseWordError;
