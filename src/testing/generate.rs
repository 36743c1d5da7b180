//! The generators of both features: every public input type, built from [`Choices`].
#![allow(clippy::arithmetic_side_effects, reason = "weights and lengths of a few hundred")]

// The core is `no_std`; what is for tests only need not be.
use core::time::Duration;
use std::format;
use std::prelude::rust_2024::*;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::choices::{Choices, Choose};
use super::samples::{self, EARLIEST, EARLIEST_STORED, Flaw, LATEST};
use crate::end_user::EndUserFields;
use crate::limits::SESSION_ID_MAX_CHARS;
use crate::testing::{Situation, edges};
use crate::{
    Active, AnySession, CommType, CrmSupport, DuplicatePolicy, DuplicateScope, EndUser, EndUserField, LinkRequest,
    Param, Session,
};

type Source<'a> = &'a mut dyn Choices;

pub(crate) fn situation(c: Source<'_>) -> Situation {
    if c.once_in(2) { situation_of_two_people(c) } else { any_situation(c) }
}

fn any_situation(c: Source<'_>) -> Situation {
    let session = if c.once_in(10) { None } else { Some(session(c)) };
    let mut request = if c.once_in(4) { link_request(c) } else { acceptable_request(c) };
    if let Some(session) = &session {
        match c.below(8) {
            0 => {}
            1 => request.comm_type = text(near_comm_type(c, session.comm_type())),
            _ => request.comm_type = session.comm_type().into(),
        }
        if let Some(end_user) = session.end_user().filter(|_| c.once_in(2)) {
            request.identifier = text(end_user.identifier());
        }
    }
    let policy = duplicate_policy(c);
    let last_linked_at = session.as_ref().and_then(AnySession::last_linked_at).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let now = if c.once_in(4) { moment(c, EARLIEST) } else { c.one_of(&edges(last_linked_at, policy.interval())) };
    Situation { session, request, policy, now }
}

fn near_comm_type(c: Source<'_>, own: CommType) -> &'static str {
    match own {
        CommType::Call => c.one_of(&["Call", "CALL", "call ", " call", "ｃall"]),
        CommType::Chat => c.one_of(&["Chat", "CHAT", "chat ", " chat", "ｃhat"]),
    }
}

/// A linked session, and a request that gets past the first seven rows: by its person with a field that is nearly the
/// same, or by another one whose identifier is.
fn situation_of_two_people(c: Source<'_>) -> Situation {
    let mut end_user = end_user(c);
    let comm_type = comm_type(c);
    let mut request = acceptable_request(c).with_comm_type(comm_type);
    if c.once_in(4) {
        nearly_the_same_fields(c, &mut end_user, &mut request);
    } else {
        let (linked, asked) = near_identifiers(c);
        end_user = EndUserFields { identifier: &linked, ..end_user.fields() }.to_end_user();
        request.identifier = text(&asked);
    }
    let last_linked_at = stored_moment(c);
    let (end_user, revision) = (Some(end_user), 1 + c.below(8));
    let session = Session { end_user, last_linked_at: Some(last_linked_at), revision, ..Session::start(comm_type) };
    // Within the interval the scope tells the two apart.
    let scope = if c.once_in(4) { DuplicateScope::Session } else { DuplicateScope::SameIdentifier };
    let policy = DuplicatePolicy::new(interval(c)).with_scope(scope);
    let now = if c.once_in(2) { last_linked_at } else { c.one_of(&edges(last_linked_at, policy.interval())) };
    Situation { session: Some(session.into()), request, policy, now }
}

/// One optional field differs by a little, and the request leaves out the others.
fn nearly_the_same_fields(c: Source<'_>, end_user: &mut EndUser, request: &mut LinkRequest<'static>) {
    let (field, near) = c.one_of(&OPTIONAL);
    let (kept, asked) = near_texts(c, field);
    let mut fields = end_user.fields();
    *near(&mut fields) = kept;
    *end_user = fields.to_end_user();
    let comm_type = core::mem::take(&mut request.comm_type);
    *request = LinkRequest { comm_type, identifier: text(end_user.identifier()), ..LinkRequest::default() };
    *param_mut(request, field) = text(asked);
}

type Near = for<'f, 'a> fn(&'f mut EndUserFields<'a>) -> &'f mut &'a str;

const OPTIONAL: [(EndUserField, Near); 3] = [
    (EndUserField::Name, |fields| &mut fields.name),
    (EndUserField::Email, |fields| &mut fields.email),
    (EndUserField::Phone, |fields| &mut fields.phone),
];

fn param_mut<'r, 'a>(request: &'r mut LinkRequest<'a>, field: EndUserField) -> &'r mut Param<'a> {
    match field {
        EndUserField::Identifier => &mut request.identifier,
        EndUserField::Name => &mut request.name,
        EndUserField::Email => &mut request.email,
        EndUserField::Phone => &mut request.phone,
    }
}

/// The identifiers of two people, in either order.
pub(crate) fn near_identifiers(c: Source<'_>) -> (String, String) {
    let (one, other) = samples::near_identifiers(c.index(samples::NEAR_IDENTIFIER_COUNT));
    if c.once_in(2) { (other, one) } else { (one, other) }
}

pub(crate) fn near_texts(c: Source<'_>, field: EndUserField) -> samples::Pair {
    let pairs = samples::near_texts(field);
    let (one, other) = c.one_of(pairs);
    if c.once_in(2) { (other, one) } else { (one, other) }
}

pub(crate) fn acceptable_text(c: Source<'_>, field: EndUserField) -> String {
    let max = field.max_chars();
    let length = match c.below(6) {
        0..=2 => 1 + c.index(24),
        3 => 1 + c.index(max),
        4 => max - 1,
        _ => max,
    };
    samples::acceptable(field, length, &c.characters())
}

pub(crate) fn unacceptable_text(c: Source<'_>, field: EndUserField) -> String {
    let flaw = match c.below(3) {
        0 => Flaw::TooLong,
        1 => Flaw::WrongKind,
        _ => Flaw::Control(control_character(c)),
    };
    samples::unacceptable(field, flaw, &c.characters())
}

fn control_character(c: Source<'_>) -> char {
    // 0 to 31, and 127 to 159.
    let code = u32::try_from(c.below(65)).unwrap_or(0);
    char::from_u32(if code < 32 { code } else { code + 95 }).unwrap_or('\0')
}

pub(crate) fn hostile_text(c: Source<'_>) -> String {
    if c.once_in(3) { c.one_of(&samples::HOSTILE).to_owned() } else { c.characters().into_iter().collect() }
}

pub(crate) fn param_for(c: Source<'_>, field: EndUserField) -> Param<'static> {
    match c.below(8) {
        0 if field != EndUserField::Identifier => Param::Blank,
        0..=4 => text(&acceptable_text(c, field)),
        5 => text(&unacceptable_text(c, field)),
        _ => param(c),
    }
}

pub(crate) fn param(c: Source<'_>) -> Param<'static> {
    match c.below(3) {
        0 => Param::Blank,
        1 => Param::NotText,
        _ => text(&hostile_text(c)),
    }
}

/// Unlike `Param::from`, it keeps blank text as text.
fn text(text: &str) -> Param<'static> {
    Param::Text(text.to_owned().into())
}

pub(crate) fn link_request(c: Source<'_>) -> LinkRequest<'static> {
    LinkRequest {
        comm_type: if c.once_in(4) { param(c) } else { text(c.one_of(&samples::COMM_TYPES)) },
        identifier: param_for(c, EndUserField::Identifier),
        name: param_for(c, EndUserField::Name),
        email: param_for(c, EndUserField::Email),
        phone: param_for(c, EndUserField::Phone),
    }
}

pub(crate) fn acceptable_request(c: Source<'_>) -> LinkRequest<'static> {
    request_of(comm_type(c), &end_user(c))
}

fn request_of(comm_type: CommType, end_user: &EndUser) -> LinkRequest<'static> {
    LinkRequest {
        comm_type: comm_type.into(),
        identifier: text(end_user.identifier()),
        name: end_user.name().map(str::to_owned).into(),
        email: end_user.email().map(str::to_owned).into(),
        phone: end_user.phone().map(str::to_owned).into(),
    }
}

/// Two people who are easily taken for one, and what each may say of themselves.
pub(crate) struct TwoPeople {
    identifiers: (String, String),
    texts: [(EndUserField, samples::Pair); 3],
}

pub(crate) fn two_people(c: Source<'_>) -> TwoPeople {
    TwoPeople { identifiers: near_identifiers(c), texts: OPTIONAL.map(|(field, _)| (field, near_texts(c, field))) }
}

/// A request by one of two people: only who comes again is refreshed, and is unchanged.
pub(crate) fn request_of_one_of(c: Source<'_>, people: &TwoPeople) -> LinkRequest<'static> {
    let (one, other) = &people.identifiers;
    let mut request =
        LinkRequest { identifier: text(if c.once_in(3) { other } else { one }), ..LinkRequest::default() };
    for (field, (one, other)) in people.texts {
        match c.below(4) {
            0 | 1 => {}
            2 => *param_mut(&mut request, field) = text(one),
            _ => *param_mut(&mut request, field) = text(other),
        }
    }
    request
}

pub(crate) fn requests_of_two_people(c: Source<'_>, at_most: usize) -> Vec<LinkRequest<'static>> {
    let people = two_people(c);
    (0..=c.index(at_most)).map(|_| request_of_one_of(c, &people)).collect()
}

pub(crate) fn end_user(c: Source<'_>) -> EndUser {
    let identifier = match c.below(4) {
        0 => samples::near_identifiers(c.index(samples::NEAR_IDENTIFIER_COUNT)).0,
        _ => acceptable_text(c, EndUserField::Identifier),
    };
    let [name, email, phone] = OPTIONAL.map(|(field, _)| match c.below(4) {
        0 | 1 => String::new(),
        _ => acceptable_text(c, field),
    });
    EndUserFields { identifier: &identifier, name: &name, email: &email, phone: &phone }.to_end_user()
}

pub(crate) fn session(c: Source<'_>) -> AnySession {
    if c.once_in(4) { ended_session(c).into() } else { active_session(c).into() }
}

pub(crate) fn ended_session(c: Source<'_>) -> Session<crate::Ended> {
    let ended = active_session(c).end(stored_moment(c));
    if c.once_in(8) { ended.erase() } else { ended }
}

pub(crate) fn active_session(c: Source<'_>) -> Session<Active> {
    let session = Session { crm_support: crm_support(c), ..Session::start(comm_type(c)) };
    let linked = |c: Source<'_>| {
        let revision = match c.below(6) {
            0..=3 => 1 + c.below(8),
            4 => c.below(u64::MAX),
            _ => u64::MAX,
        };
        (Some(end_user(c)), Some(stored_moment(c)), revision)
    };
    let (end_user, last_linked_at, revision) = match c.below(8) {
        0 => (None, None, 0),
        1 => (Some(end_user(c)), None, 0),
        // Erased.
        2 => (None, None, 2 + c.below(8)),
        _ => linked(c),
    };
    Session { end_user, last_linked_at, revision, ..session }
}

/// A session as it starts.
pub(crate) fn new_session(c: Source<'_>) -> Session<Active> {
    let session = Session { crm_support: crm_support(c), ..Session::start(comm_type(c)) };
    if c.once_in(4) { session.with_end_user(end_user(c)) } else { session }
}

pub(crate) fn comm_type(c: Source<'_>) -> CommType {
    c.one_of(CommType::ALL)
}

fn crm_support(c: Source<'_>) -> CrmSupport {
    if c.once_in(8) { CrmSupport::Unsupported } else { CrmSupport::Supported }
}

pub(crate) fn duplicate_policy(c: Source<'_>) -> DuplicatePolicy {
    let scope = c.one_of(DuplicateScope::ALL);
    DuplicatePolicy::new(interval(c)).with_scope(scope)
}

pub(crate) fn interval(c: Source<'_>) -> Duration {
    let nanos = |c: Source<'_>| u32::try_from(c.below(1_000_000_000)).unwrap_or(0);
    match c.below(8) {
        0 => Duration::ZERO,
        1 => Duration::from_nanos(1),
        2 => Duration::MAX,
        3 => Duration::new(c.below(u64::MAX), nanos(c)),
        4 => Duration::from_secs(1 + c.below(100)),
        _ => Duration::new(c.below(101), nanos(c)),
    }
}

pub(crate) fn stored_moment(c: Source<'_>) -> OffsetDateTime {
    moment(c, EARLIEST_STORED)
}

pub(crate) fn moment(c: Source<'_>, earliest: OffsetDateTime) -> OffsetDateTime {
    let second = match c.below(8) {
        0..=4 => c.range(1_700_000_000, 1_800_000_000),
        5 => c.range(earliest.unix_timestamp(), LATEST.unix_timestamp()),
        6 => return earliest,
        _ => return LATEST,
    };
    let at = OffsetDateTime::from_unix_timestamp(second).unwrap_or(LATEST);
    samples::shifted(at, c.range(0, 999_999_999))
}

pub(crate) fn session_id(c: Source<'_>) -> String {
    const UNRESERVED: &[u8] = b"abcxyz0189ABCXYZ-._~";
    let length = match c.below(6) {
        0..=2 => 1 + c.index(12),
        3 => 1 + c.index(SESSION_ID_MAX_CHARS),
        4 => SESSION_ID_MAX_CHARS - 1,
        _ => SESSION_ID_MAX_CHARS,
    };
    let few: Vec<char> = (0..length.min(12)).map(|_| char::from(c.one_of(UNRESERVED))).collect();
    few.iter().copied().cycle().take(length).collect()
}

/// The id of another session that a careless store takes for this one. Now and then it is the same.
pub(crate) fn near_session_id(c: Source<'_>, id: &str) -> String {
    let near = match c.below(5) {
        0 => return session_id(c),
        1 => id
            .chars()
            .map(|letter| if letter.is_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() })
            .collect(),
        2 => id.to_owned() + "0",
        3 => format!("0{id}"),
        _ => id.chars().take(id.len() - 1).collect(),
    };
    if (1..=SESSION_ID_MAX_CHARS).contains(&near.len()) { near } else { "a".to_owned() }
}

pub(crate) fn path(c: Source<'_>) -> String {
    let base = c.one_of(&[
        "/apps/api/v1/",
        "/apps/api/v1/",
        "//apps/api/v1/",
        "///apps/api/v1/",
        "/apps/api/v2/",
        "/Apps/api/v1/",
        "",
    ]);
    let segment = match c.below(5) {
        4 => hostile_text(c),
        _ => c.one_of(&["calls", "chats", "chats", "Chats", "chat", "emails", "", "%20", "ｃhats"]).to_owned(),
    };
    let session_id = match c.below(6) {
        4 => hostile_text(c),
        5 => session_id(c) + "~",
        _ => session_id(c),
    };
    let end = c.one_of(&["/end_user", "/end_user", "/end_user", "/end_user/", "/end_users", "/end", ""]);
    format!("{base}{segment}/{session_id}{end}")
}

/// The body of a request as a client sends it, or one that is nearly a request's.
pub(crate) fn body(c: Source<'_>) -> String {
    let request = if c.once_in(2) { link_request(c) } else { acceptable_request(c) };
    let body = body_of(c, &request);
    match c.below(8) {
        // Cut off, a field given twice, no object, and a value that is skipped.
        4 => body.chars().take(c.index(body.len() + 1)).collect(),
        5 => body.replacen('{', "{\"identifier\":\"id-1\",", 1),
        6 => format!("[{body}]"),
        7 => body.replacen('{', "{\"unknown\":[{}],", 1).replace(",}", "}"),
        _ => body,
    }
}

pub(crate) fn body_of(c: Source<'_>, request: &LinkRequest<'_>) -> String {
    let fields = EndUserField::ALL.iter().map(|field| (field.as_str(), request.param(*field)));
    let mut body = Map::new();
    for (name, param) in fields.chain([("comm_type", &request.comm_type)]) {
        let value = match param {
            Param::Blank => continue,
            Param::Text(text) => json!(text),
            Param::NotText => not_text(c),
        };
        body.insert(name.to_owned(), value);
    }
    Value::Object(body).to_string()
}

fn not_text(c: Source<'_>) -> Value {
    match c.below(4) {
        0 => json!(7),
        1 => json!(true),
        2 => json!(["a"]),
        _ => json!({"a": 1}),
    }
}
