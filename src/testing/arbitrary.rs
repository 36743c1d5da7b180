//! Builds the public input types from a fuzzer's bytes (feature `arbitrary`). Both ends of every range are easy to reach.

// The core is `no_std`; what is for tests only need not be.
use std::prelude::rust_2024::*;

use arbitrary::{Arbitrary, Result, Unstructured};
use time::OffsetDateTime;

use crate::testing::choices::Bytes;
use crate::testing::samples::EARLIEST;
use crate::testing::{History, Situation, generate, history};
use crate::{
    Active, AnySession, CommType, CrmSupport, DuplicatePolicy, DuplicateScope, EndUser, EndUserField, Ended,
    LinkRequest, OwnedLinkRequest, Param, Session,
};

/// What a value is built of that the bytes do not say is the simplest there is, so none of these fails.
macro_rules! arbitrary {
    ($($type:ty => $build:expr;)*) => {
        $(impl<'a> Arbitrary<'a> for $type {
            fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
                Ok($build(&mut Bytes(u)))
            }
        })*
    };
}

arbitrary! {
    AnySession => generate::session;
    DuplicatePolicy => generate::duplicate_policy;
    EndUser => generate::end_user;
    History => history::history;
    LinkRequest<'_> => generate::link_request;
    OwnedLinkRequest => |c: &mut Bytes<'_, '_>| OwnedLinkRequest::from(generate::link_request(c));
    Param<'_> => generate::param;
    Session<Active> => generate::active_session;
    Session<Ended> => generate::ended_session;
    Situation => generate::situation;
}

macro_rules! choose {
    ($($type:ty)*) => {
        $(impl<'a> Arbitrary<'a> for $type {
            fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
                u.choose(Self::ALL).copied()
            }
        })*
    };
}

choose! { CommType CrmSupport DuplicateScope EndUserField }

/// Builds any moment that `time` can hold, the earliest and the latest included, in UTC.
///
/// ```
/// use arbitrary::Unstructured;
/// use midsession::testing::arbitrary_moment;
///
/// let now = arbitrary_moment(&mut Unstructured::new(b"a fuzzer's bytes"))?;
/// assert_eq!(now.offset(), time::UtcOffset::UTC);
/// # Ok::<(), arbitrary::Error>(())
/// ```
///
/// # Errors
/// - None today. It returns a result as every function of [`arbitrary`] does.
pub fn arbitrary_moment(u: &mut Unstructured<'_>) -> Result<OffsetDateTime> {
    Ok(generate::moment(&mut Bytes(u), EARLIEST))
}

/// Builds a path. It is an endpoint's, of a known comm type or another one, or it is almost an endpoint's.
///
/// # Errors
/// - None today, as for [`arbitrary_moment`].
pub fn arbitrary_path(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(generate::path(&mut Bytes(u)))
}

/// Builds the body of a request as a client sends it, or one that is nearly a request's: cut off, in an array, or with a
/// field twice.
///
/// # Errors
/// - None today, as for [`arbitrary_moment`].
pub fn arbitrary_body(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(generate::body(&mut Bytes(u)))
}

/// Builds the identifiers of two people that a careless comparison takes for one.
///
/// # Errors
/// - None today, as for [`arbitrary_moment`].
pub fn arbitrary_near_identifiers(u: &mut Unstructured<'_>) -> Result<(String, String)> {
    Ok(generate::near_identifiers(&mut Bytes(u)))
}

/// Builds requests, from 1 to so many, by two people who come again and who are easily taken for one. Their comm type is
/// blank.
///
/// # Errors
/// - None today, as for [`arbitrary_moment`].
pub fn arbitrary_requests_of_two_people(u: &mut Unstructured<'_>, at_most: usize) -> Result<Vec<LinkRequest<'static>>> {
    Ok(generate::requests_of_two_people(&mut Bytes(u), at_most))
}
