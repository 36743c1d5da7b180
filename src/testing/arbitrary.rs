//! Builds the public input types from a fuzzer's bytes (feature `arbitrary`). Both ends of every range are easy to reach.

// The core is `no_std`; what is for tests only need not be.
use core::time::Duration;
use std::prelude::rust_2024::*;

use arbitrary::{Arbitrary, Result, Unstructured};
use time::OffsetDateTime;

use crate::end_user::EndUserFields;
use crate::testing::samples::{self, EARLIEST, EARLIEST_STORED, Flaw, LATEST};
use crate::{
    Active, AnySession, CommType, CrmSupport, DuplicatePolicy, DuplicateScope, EndUser, EndUserField, Ended,
    LinkRequest, OwnedLinkRequest, Param, Session,
};

impl<'a> Arbitrary<'a> for EndUser {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let identifier = acceptable(u, EndUserField::Identifier)?;
        let mut optional = |field| if u.arbitrary()? { acceptable(u, field) } else { Ok(String::new()) };
        let name = optional(EndUserField::Name)?;
        let email = optional(EndUserField::Email)?;
        let phone = optional(EndUserField::Phone)?;
        Ok(EndUserFields { identifier: &identifier, name: &name, email: &email, phone: &phone }.to_end_user())
    }
}

impl<'a> Arbitrary<'a> for LinkRequest<'a> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let comm_type =
            if u.arbitrary()? { Param::Text((*u.choose(&samples::COMM_TYPES)?).into()) } else { u.arbitrary()? };
        Ok(Self {
            comm_type,
            identifier: param(u, EndUserField::Identifier)?,
            name: param(u, EndUserField::Name)?,
            email: param(u, EndUserField::Email)?,
            phone: param(u, EndUserField::Phone)?,
        })
    }
}

impl<'a> Arbitrary<'a> for OwnedLinkRequest {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        LinkRequest::arbitrary(u).map(Self::from)
    }
}

impl<'a> Arbitrary<'a> for Param<'a> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=3)? {
            0 => Self::Blank,
            1 => Self::NotText,
            2 => Self::Text((*u.choose(&samples::HOSTILE)?).into()),
            _ => Self::Text(u.arbitrary::<&'a str>()?.into()),
        })
    }
}

fn param<'a>(u: &mut Unstructured<'a>, field: EndUserField) -> Result<Param<'a>> {
    Ok(match u.int_in_range(0..=3)? {
        0 | 1 => Param::Text(acceptable(u, field)?.into()),
        2 => Param::Text(unacceptable(u, field)?.into()),
        _ => u.arbitrary()?,
    })
}

fn acceptable(u: &mut Unstructured<'_>, field: EndUserField) -> Result<String> {
    let length =
        if u.arbitrary()? { u.int_in_range(1..=24)? } else { field.max_chars().saturating_sub(u.int_in_range(0..=1)?) };
    Ok(samples::acceptable(field, length, &characters(u)?))
}

fn unacceptable(u: &mut Unstructured<'_>, field: EndUserField) -> Result<String> {
    let flaw = *u.choose(&[Flaw::TooLong, Flaw::Control('\0'), Flaw::Control('\u{9f}'), Flaw::WrongKind])?;
    Ok(samples::unacceptable(field, flaw, &characters(u)?))
}

/// A few characters only, to save the fuzzer's bytes. `samples` fills up the rest.
fn characters(u: &mut Unstructured<'_>) -> Result<Vec<char>> {
    Ok(u.arbitrary::<&str>()?.chars().take(8).collect())
}

impl<'a> Arbitrary<'a> for AnySession {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(if u.arbitrary()? { Self::Active(u.arbitrary()?) } else { Self::Ended(u.arbitrary()?) })
    }
}

impl<'a> Arbitrary<'a> for Session<Ended> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let ended = Session::<Active>::arbitrary(u)?.end(moment(u, EARLIEST_STORED)?);
        Ok(if u.ratio(1, 8)? { ended.erase() } else { ended })
    }
}

impl<'a> Arbitrary<'a> for Session<Active> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let end_user: Option<EndUser> = u.arbitrary()?;
        let linked = end_user.is_some() && u.arbitrary()?;
        Ok(Self {
            comm_type: u.arbitrary()?,
            crm_support: u.arbitrary()?,
            end_user,
            last_linked_at: if linked { Some(moment(u, EARLIEST_STORED)?) } else { None },
            revision: if linked { u.arbitrary()? } else { 0 },
            state: Active(()),
        })
    }
}

/// Builds any moment that `time` can hold, the earliest and the latest included, in UTC.
///
/// A fuzz target builds everything that a decision depends on from the fuzzer's bytes:
///
/// ```
/// use arbitrary::Unstructured;
/// use midsession::{AnySession, Answer, DuplicatePolicy, LinkRequest, apply_link};
/// use midsession::testing::arbitrary_moment;
///
/// fn target(bytes: &[u8]) -> arbitrary::Result<()> {
///     let mut u = Unstructured::new(bytes);
///     let session: Option<AnySession> = u.arbitrary()?;
///     let policy: DuplicatePolicy = u.arbitrary()?;
///     let now = arbitrary_moment(&mut u)?;
///     let request: LinkRequest = u.arbitrary()?;
///     let answer = Answer::from(&apply_link(session.as_ref(), &request, &policy, now));
///     assert!([202, 400, 404].contains(&answer.status));
///     Ok(())
/// }
/// # assert!((0..=255).any(|byte| target(&[byte; 512]).is_ok()));
/// ```
///
/// # Errors
/// - The bytes are used up, as for any [`Arbitrary`].
pub fn arbitrary_moment(u: &mut Unstructured<'_>) -> Result<OffsetDateTime> {
    moment(u, EARLIEST)
}

fn moment(u: &mut Unstructured<'_>, earliest: OffsetDateTime) -> Result<OffsetDateTime> {
    Ok(match u.int_in_range(0..=5)? {
        0 => earliest,
        1 => LATEST,
        2 => {
            let second = u.int_in_range(earliest.unix_timestamp()..=LATEST.unix_timestamp())?;
            samples::shifted(
                OffsetDateTime::from_unix_timestamp(second).unwrap_or(LATEST),
                u.int_in_range(0..=999_999_999)?,
            )
        }
        _ => samples::shifted(OffsetDateTime::UNIX_EPOCH, u.int_in_range(0..=100_000_000_000)?),
    })
}

impl<'a> Arbitrary<'a> for DuplicatePolicy {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let interval = match u.int_in_range(0..=4)? {
            0 => Duration::ZERO,
            1 => Duration::from_nanos(1),
            2 => Duration::MAX,
            _ => Duration::from_nanos(u.int_in_range(0..=100_000_000_000)?),
        };
        Ok(Self::new(interval).with_scope(u.arbitrary()?))
    }
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
