//! Strategies for property tests of code that is built on this crate (feature `proptest`).
//!
//! Every public input type also implements [`Arbitrary`], so that `any::<LinkRequest>()` works. The named strategies here
//! say more precisely what a test is about. All of them produce both ends of every range, limits included, more often
//! than chance would.
//!
//! ```
//! use midsession::testing::strategies::{Situation, situation};
//! use midsession::{Answer, LinkRequest};
//! use proptest::prelude::*;
//!
//! proptest! {
//!     # #![proptest_config(ProptestConfig::with_cases(16))]
//!     fn every_situation_has_an_answer(situation in situation()) {
//!         let Situation { session, request, policy, now } = situation;
//!         let decision = midsession::apply_link(session.as_ref(), &request, &policy, now);
//!         assert!([202, 400, 404].contains(&Answer::from(&decision).status));
//!     }
//!
//!     fn any_request_can_be_printed(request in any::<LinkRequest>()) {
//!         let _ = format!("{request:?}");
//!     }
//! }
//! # every_situation_has_an_answer();
//! # any_request_can_be_printed();
//! ```

mod history;

// The core is `no_std`; what is for tests only need not be.
use core::time::Duration;
use std::prelude::rust_2024::*;
use std::{format, vec};

use proptest::prelude::*;
use proptest::sample::select;
use time::{OffsetDateTime, UtcOffset};

use crate::end_user::EndUserFields;
use crate::limits::SESSION_ID_MAX_CHARS;
use crate::testing::samples::{self, EARLIEST, EARLIEST_STORED, Flaw, LATEST};
use crate::{
    Active, AnySession, CommType, CrmSupport, DuplicatePolicy, DuplicateScope, EndUser, EndUserField, Ended,
    LinkRequest, OwnedLinkRequest, Param, Session,
};

pub use history::{Action, Attempt, History, Step, history};

/// Everything that a decision depends on.
#[derive(Clone, Debug)]
pub struct Situation {
    /// The stored session; `None`: there is no such session.
    pub session: Option<AnySession>,
    /// The request.
    pub request: LinkRequest<'static>,
    /// The policy.
    pub policy: DuplicatePolicy,
    /// The moment of the request.
    pub now: OffsetDateTime,
}

/// Situations in which every row of the decision table comes up. The request is often acceptable and often fits the
/// session. The moment is often at an edge of the duplicate interval.
pub fn situation() -> impl Strategy<Value = Situation> {
    let session = prop_oneof![1 => Just(None), 9 => session().prop_map(Some)];
    (session, prop_oneof![3 => acceptable_request(), 1 => link_request()], duplicate_policy()).prop_flat_map(
        |(session, request, policy)| {
            let last_linked_at =
                session.as_ref().and_then(AnySession::last_linked_at).unwrap_or(OffsetDateTime::UNIX_EPOCH);
            let edges = samples::edges(last_linked_at, policy.interval()).to_vec();
            let own_identifier = session.as_ref().and_then(|session| Some(session.end_user()?.identifier().to_owned()));
            let own_comm_type = session.as_ref().map(AnySession::comm_type);
            (prop_oneof![3 => select(edges), 1 => moment()], any::<bool>(), 0..4_u8).prop_map(
                move |(now, same, other)| {
                    let mut request = request.clone();
                    if same && let Some(identifier) = &own_identifier {
                        request.identifier = identifier.clone().into();
                    }
                    if other != 0
                        && let Some(comm_type) = own_comm_type
                    {
                        request.comm_type = comm_type.into();
                    }
                    Situation { session: session.clone(), request, policy, now }
                },
            )
        },
    )
}

/// Text that this field accepts. It has from 1 character to the field's limit, of one to four bytes each.
pub fn acceptable_text(field: EndUserField) -> impl Strategy<Value = String> {
    let max = field.max_chars();
    let length = prop_oneof![Just(1), Just(max.saturating_sub(1)), Just(max), 1..=max, 1..=max.min(24)];
    // Boxed, here and below, because the trees of larger strategies would overflow the stack of a debug build.
    (length, characters()).prop_map(move |(length, characters)| samples::acceptable(field, length, &characters)).boxed()
}

/// Text that this field only just refuses. It is one character too long, has one control character, or is of the wrong
/// kind.
pub fn unacceptable_text(field: EndUserField) -> impl Strategy<Value = String> {
    let control = any::<char>().prop_filter("control", |character| character.is_control());
    let control = prop_oneof![control, select(vec!['\0', '\n', '\u{7f}', '\u{9f}'])];
    let flaw = prop_oneof![Just(Flaw::TooLong), control.prop_map(Flaw::Control), Just(Flaw::WrongKind)];
    (flaw, characters()).prop_map(move |(flaw, characters)| samples::unacceptable(field, flaw, &characters)).boxed()
}

/// Any text, often blank, with control characters, or one that has broken other software.
pub fn hostile_text() -> impl Strategy<Value = String> {
    prop_oneof![1 => select(&samples::HOSTILE[..]).prop_map(str::to_owned), 2 => characters().prop_map(String::from_iter)].boxed()
}

fn characters() -> impl Strategy<Value = Vec<char>> {
    let character = prop_oneof![proptest::char::range('!', '~'), any::<char>(), select(vec!['é', '漢', '🙂', ' '])];
    prop_oneof![proptest::collection::vec(character.clone(), 0..12), proptest::collection::vec(character, 255)]
}

/// Any param for this field: acceptable, unacceptable, blank, not text, or hostile.
pub fn param_for(field: EndUserField) -> impl Strategy<Value = Param<'static>> {
    prop_oneof![
        4 => acceptable_text(field).prop_map(text),
        1 => unacceptable_text(field).prop_map(text),
        2 => param(),
    ]
    .boxed()
}

/// Any param.
pub fn param() -> impl Strategy<Value = Param<'static>> {
    prop_oneof![Just(Param::Blank), Just(Param::NotText), hostile_text().prop_map(text)].boxed()
}

/// Unlike `Param::from`, it keeps blank text as text.
fn text(text: String) -> Param<'static> {
    Param::Text(text.into())
}

/// Any request. Each of its fields is acceptable, unacceptable, blank or not text, whatever the others are.
pub fn link_request() -> impl Strategy<Value = LinkRequest<'static>> {
    let comm_type =
        prop_oneof![3 => select(&samples::COMM_TYPES[..]).prop_map(|word| text(word.to_owned())), 1 => param()];
    let [identifier, name, email, phone] = FIELDS.map(param_for);
    (comm_type, identifier, name, email, phone)
        .prop_map(|(comm_type, identifier, name, email, phone)| LinkRequest {
            comm_type,
            identifier,
            name,
            email,
            phone,
        })
        .boxed()
}

/// A request that passes rows 1 to 4: it has a known comm type, an identifier, and fields that are acceptable or blank.
pub fn acceptable_request() -> impl Strategy<Value = LinkRequest<'static>> {
    (any::<CommType>(), end_user())
        .prop_map(|(comm_type, end_user)| LinkRequest {
            comm_type: comm_type.into(),
            identifier: text(end_user.identifier().to_owned()),
            name: end_user.name().map(str::to_owned).into(),
            email: end_user.email().map(str::to_owned).into(),
            phone: end_user.phone().map(str::to_owned).into(),
        })
        .boxed()
}

/// Any end user. Each optional field is present or absent, and has from 1 character to the field's limit.
pub fn end_user() -> impl Strategy<Value = EndUser> {
    let [identifier, name, email, phone] = FIELDS.map(acceptable_text);
    let optional = |field| prop_oneof![1 => Just(String::new()), 2 => field];
    (identifier, optional(name.boxed()), optional(email.boxed()), optional(phone.boxed()))
        .prop_map(|(identifier, name, email, phone)| {
            EndUserFields { identifier: &identifier, name: &name, email: &email, phone: &phone }.to_end_user()
        })
        .boxed()
}

/// Any session that can be stored, in any state. Its times are in the years 0 to 9999.
pub fn session() -> impl Strategy<Value = AnySession> {
    prop_oneof![active_session().prop_map(AnySession::from), ended_session().prop_map(AnySession::from)].boxed()
}

/// Any ended session that can be stored. A few are erased.
pub fn ended_session() -> impl Strategy<Value = Session<Ended>> {
    (active_session(), stored_moment(), proptest::bool::weighted(0.1))
        .prop_map(|(session, at, is_erased)| if is_erased { session.end(at).erase() } else { session.end(at) })
        .boxed()
}

/// Any active session that can be stored: anonymous, known from its start, or linked.
pub fn active_session() -> impl Strategy<Value = Session<Active>> {
    let crm_support = prop_oneof![4 => Just(CrmSupport::Supported), 1 => Just(CrmSupport::Unsupported)];
    let linked = (end_user(), proptest::option::weighted(0.8, stored_moment()));
    let revision = prop_oneof![4 => 1..9_u64, 1 => any::<u64>(), 1 => Just(u64::MAX)];
    (any::<CommType>(), crm_support, proptest::option::weighted(0.8, linked), revision)
        .prop_map(|(comm_type, crm_support, linked, revision)| {
            let (end_user, last_linked_at) = linked.unzip();
            let last_linked_at = last_linked_at.flatten();
            let revision = if last_linked_at.is_some() { revision } else { 0 };
            Session { comm_type, crm_support, end_user, last_linked_at, revision, state: Active(()) }
        })
        .boxed()
}

/// Any policy.
pub fn duplicate_policy() -> impl Strategy<Value = DuplicatePolicy> {
    (interval(), any::<DuplicateScope>())
        .prop_map(|(interval, scope)| DuplicatePolicy::new(interval).with_scope(scope))
        .boxed()
}

/// Any interval: zero, a nanosecond, seconds, and the greatest.
pub fn interval() -> impl Strategy<Value = Duration> {
    let nanos = 0..1_000_000_000_u32;
    prop_oneof![
        1 => Just(Duration::ZERO),
        1 => Just(Duration::from_nanos(1)),
        1 => Just(Duration::MAX),
        4 => (0..=100_u64, nanos.clone()).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos)),
        1 => (any::<u64>(), nanos).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos)),
    ]
}

/// Any moment that `time` can hold, the earliest and the latest included, in UTC.
pub fn moment() -> impl Strategy<Value = OffsetDateTime> {
    moment_since(EARLIEST)
}

/// Any moment, in any offset that can write it, for code that compares moments: two that differ in offset may be equal.
pub fn moment_in_any_offset() -> impl Strategy<Value = OffsetDateTime> {
    (moment(), -86_399..=86_399_i32).prop_map(|(moment, offset)| {
        let offset = UtcOffset::from_whole_seconds(offset).unwrap_or(UtcOffset::UTC);
        moment.checked_to_offset(offset).unwrap_or(moment)
    })
}

fn stored_moment() -> impl Strategy<Value = OffsetDateTime> {
    moment_since(EARLIEST_STORED)
}

fn moment_since(earliest: OffsetDateTime) -> impl Strategy<Value = OffsetDateTime> {
    let second = prop_oneof![
        4 => 1_700_000_000..1_800_000_000_i64,
        1 => earliest.unix_timestamp()..=LATEST.unix_timestamp(),
    ];
    let moment = (second, 0..1_000_000_000_i64).prop_map(|(second, nanos)| {
        samples::shifted(OffsetDateTime::from_unix_timestamp(second).unwrap_or(LATEST), nanos)
    });
    prop_oneof![8 => moment, 1 => Just(earliest), 1 => Just(LATEST)]
}

/// A session id that a path can hold, of 1 to 255 characters.
pub fn session_id() -> impl Strategy<Value = String> {
    let length =
        prop_oneof![Just(1), Just(SESSION_ID_MAX_CHARS - 1), Just(SESSION_ID_MAX_CHARS), 1..=SESSION_ID_MAX_CHARS];
    let unreserved = select(&b"ABCXYZabcxyz0189-._~"[..]).prop_map(char::from);
    length
        .prop_flat_map(move |length| proptest::collection::vec(unreserved.clone(), length))
        .prop_map(String::from_iter)
}

/// A path. It is an endpoint's, of a known comm type or another one, or it is almost an endpoint's.
pub fn path() -> impl Strategy<Value = String> {
    let base = select(vec!["/apps/api/v1/", "/apps/api/v1/", "//apps/api/v1/", "///apps/api/v1/", "/apps/api/v2/", ""]);
    let segment = prop_oneof![4 => select(vec!["calls", "chats", "emails", "", "%20"]).prop_map(str::to_owned), 1 => hostile_text()];
    let session_id =
        prop_oneof![4 => session_id(), 1 => hostile_text(), 1 => session_id().prop_map(|id| format!("{id}~"))];
    let end = select(vec!["/end_user", "/end_user", "/end_user", "/end_user/", "/end", ""]);
    (base, segment, session_id, end).prop_map(|(base, segment, id, end)| format!("{base}{segment}/{id}{end}"))
}

const FIELDS: [EndUserField; 4] =
    [EndUserField::Identifier, EndUserField::Name, EndUserField::Email, EndUserField::Phone];

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
    LinkRequest<'static> => link_request();
    OwnedLinkRequest => link_request().prop_map(OwnedLinkRequest::from);
    Param<'static> => param();
    Session<Active> => active_session();
    Session<Ended> => ended_session();
}
