//! Strategies for property tests of code that is built on this crate (feature `proptest`).
//!
//! Every public input type also implements [`Arbitrary`], so that `any::<LinkRequest>()` works. The named strategies here
//! say more precisely what a test is about. All of them produce both ends of every range, limits included, more often
//! than chance would.
//!
//! They are cheap in a debug build, too: a few thousand situations a second. A failure shrinks within proptest's defaults.
//!
//! ```
//! use midsession::LinkRequest;
//! use proptest::prelude::*;
//!
//! proptest! {
//!     #[test]
//!     fn a_printed_request_has_no_text(request in any::<LinkRequest>()) {
//!         let printed = format!("{request:?}");
//!         prop_assert!(!printed.contains('@'));
//!     }
//! }
//! ```

mod drawn;

// The core is `no_std`; what is for tests only need not be.
use core::time::Duration;
use std::prelude::rust_2024::*;

use proptest::prelude::*;
use proptest::sample::select;
use time::{OffsetDateTime, UtcOffset};

use crate::testing::samples::EARLIEST;
use crate::testing::{generate, history as histories};
use crate::{
    Active, AnySession, CommType, CrmSupport, DuplicatePolicy, DuplicateScope, EndUser, EndUserField, Ended,
    LinkRequest, OwnedLinkRequest, Param, Session,
};
use drawn::drawn;

pub use crate::testing::{Action, Attempt, History, Situation, Step};

/// Situations in which every row of the decision table comes up.
///
/// The request is often acceptable and often fits the session. It often comes from the linked person, and as often from
/// one whose identifier is nearly the same. The moment is often at an edge of the duplicate interval.
pub fn situation() -> impl Strategy<Value = Situation> {
    drawn(|c| generate::situation(c))
}

/// Whole histories of one to three sessions: they start, are linked, refused, ended and erased, at moments that are often
/// at an edge of the duplicate interval, and now and then another server writes in between.
///
/// Every row of the decision table that a well-formed path can reach comes up. The people are often taken for one by a
/// careless comparison, and so are the ids. A history that fails shrinks to the few steps that matter. All sessions can be
/// stored.
pub fn history() -> impl Strategy<Value = History> {
    drawn(|c| histories::history(c))
}

/// The identifiers of two people that a careless comparison takes for one: they differ in case, in Unicode normalisation,
/// in width, in a blank, in how a number is written, in a look-alike, or behind a length at which software cuts.
pub fn near_identifiers() -> impl Strategy<Value = (String, String)> {
    drawn(|c| generate::near_identifiers(c))
}

/// Text that this field accepts. It has from 1 character to the field's limit, of one to four bytes each.
pub fn acceptable_text(field: EndUserField) -> impl Strategy<Value = String> {
    drawn(move |c| generate::acceptable_text(c, field))
}

/// Text that this field only just refuses. It is one character too long, has one control character, or is of the wrong
/// kind.
pub fn unacceptable_text(field: EndUserField) -> impl Strategy<Value = String> {
    drawn(move |c| generate::unacceptable_text(c, field))
}

/// Any text, often blank, with control characters, or one that has broken other software.
pub fn hostile_text() -> impl Strategy<Value = String> {
    drawn(|c| generate::hostile_text(c))
}

/// Any param for this field: acceptable, unacceptable, blank, not text, or hostile.
pub fn param_for(field: EndUserField) -> impl Strategy<Value = Param<'static>> {
    drawn(move |c| generate::param_for(c, field))
}

/// Any param.
pub fn param() -> impl Strategy<Value = Param<'static>> {
    drawn(|c| generate::param(c))
}

/// Any request. Each of its fields is acceptable, unacceptable, blank or not text, whatever the others are.
pub fn link_request() -> impl Strategy<Value = LinkRequest<'static>> {
    drawn(|c| generate::link_request(c))
}

/// A request that passes rows 1 to 4: it has a known comm type, an identifier, and fields that are acceptable or blank.
pub fn acceptable_request() -> impl Strategy<Value = LinkRequest<'static>> {
    drawn(|c| generate::acceptable_request(c))
}

/// Requests, from 1 to so many, by two people who come again and who are easily taken for one. Their comm type is blank.
///
/// Only who comes again is refreshed, and is unchanged.
pub fn requests_of_two_people(at_most: usize) -> impl Strategy<Value = Vec<LinkRequest<'static>>> {
    drawn(move |c| generate::requests_of_two_people(c, at_most))
}

/// The body of a request as a client sends it, or one that is nearly a request's: cut off, in an array, or with a field
/// twice.
pub fn body() -> impl Strategy<Value = String> {
    drawn(|c| generate::body(c))
}

/// Any end user. Each optional field is present or absent, and has from 1 character to the field's limit.
pub fn end_user() -> impl Strategy<Value = EndUser> {
    drawn(|c| generate::end_user(c))
}

/// Any session that can be stored, in any state. Its times are in the years 0 to 9999.
pub fn session() -> impl Strategy<Value = AnySession> {
    drawn(|c| generate::session(c))
}

/// Any ended session that can be stored. A few are erased.
pub fn ended_session() -> impl Strategy<Value = Session<Ended>> {
    drawn(|c| generate::ended_session(c))
}

/// Any active session that can be stored: anonymous, known from its start, linked, or erased.
pub fn active_session() -> impl Strategy<Value = Session<Active>> {
    drawn(|c| generate::active_session(c))
}

/// Any policy.
pub fn duplicate_policy() -> impl Strategy<Value = DuplicatePolicy> {
    drawn(|c| generate::duplicate_policy(c))
}

/// Any interval: zero, a nanosecond, seconds, and the greatest.
pub fn interval() -> impl Strategy<Value = Duration> {
    drawn(|c| generate::interval(c))
}

/// Any moment that `time` can hold, the earliest and the latest included, in UTC.
pub fn moment() -> impl Strategy<Value = OffsetDateTime> {
    drawn(|c| generate::moment(c, EARLIEST))
}

/// Any moment, in any offset that can write it, for code that compares moments: two that differ in offset may be equal.
pub fn moment_in_any_offset() -> impl Strategy<Value = OffsetDateTime> {
    (moment(), -86_399..=86_399_i32).prop_map(|(moment, offset)| {
        let offset = UtcOffset::from_whole_seconds(offset).unwrap_or(UtcOffset::UTC);
        moment.checked_to_offset(offset).unwrap_or(moment)
    })
}

/// A session id that a path can hold, of 1 to 255 characters.
pub fn session_id() -> impl Strategy<Value = String> {
    drawn(|c| generate::session_id(c))
}

/// A path. It is an endpoint's, of a known comm type or another one, or it is almost an endpoint's.
pub fn path() -> impl Strategy<Value = String> {
    drawn(|c| generate::path(c))
}

macro_rules! arbitrary {
    ($($type:ty => $strategy:expr;)*) => {
        $(impl Arbitrary for $type {
            type Parameters = ();
            type Strategy = BoxedStrategy<Self>;

            fn arbitrary_with((): ()) -> Self::Strategy {
                $strategy.boxed()
            }
        })*
    };
}

arbitrary! {
    AnySession => session();
    CommType => select(CommType::ALL);
    CrmSupport => select(CrmSupport::ALL);
    DuplicatePolicy => duplicate_policy();
    DuplicateScope => select(DuplicateScope::ALL);
    EndUser => end_user();
    EndUserField => select(EndUserField::ALL);
    History => history();
    LinkRequest<'static> => link_request();
    OwnedLinkRequest => link_request().prop_map(OwnedLinkRequest::from);
    Param<'static> => param();
    Session<Active> => active_session();
    Session<Ended> => ended_session();
    Situation => situation();
}
