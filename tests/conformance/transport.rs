//! A transport in small, with switches for what transports get wrong.

use core::time::Duration;

use midsession::conformance::{Case, Reply};
use midsession::{
    Accepted, Answer, AnySession, DuplicatePolicy, DuplicateScope, EndUser, EndUserField, Endpoint, LinkError,
    LinkRequest, Param, RequiredParam, apply_link,
};
use serde_json::{Value, json};
use strum::VariantArray;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};
use validator::Validate;

/// What a transport gets wrong, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum Slip {
    // Reading the request.
    TrimmedIdentifier,
    TrimmedOptionalFields,
    LowerCasedIdentifier,
    LowerCasedEmail,
    ComposedIdentifier,
    TruncatedText,
    ControlCharactersStripped,
    NumbersMadeText,
    PositionalArrays,
    BodyCommTypeStandsOverThePaths,
    BodyCommTypeFillsABlankPath,
    CommTypeInAnyCase,
    OnlyAsciiWhiteSpaceIsBlank,
    EmptyObjectIsPresent,
    FalseIsBlank,
    // The order of the checks.
    NotFoundBeforeMissing,
    UnknownSessionFirst,
    OtherCommTypeBeforeMissingIdentifier,
    InvalidBeforeMissing,
    InvalidFieldsByTheAlphabet,
    OtherCommTypesSessionLinked,
    EndedBeforeNotFound,
    EndedBeforeMissing,
    CrmBeforeEnded,
    DuplicateBeforeEnded,
    DuplicateBeforeCrm,
    DoubledSlashNotFound,
    BlankCommTypeNotFound,
    // The acceptable.
    LimitInBytes,
    LimitInUtf16,
    // The interval.
    AtMostForLessThan,
    ClockBackwardsAccepted,
    FutureRecordsLockOut,
    WholeSecondsCompared,
    OffsetOfTheClockIgnored,
    ScopeIgnored,
    ScopeAlwaysSameIdentifier,
    ZeroIntervalIsADefault,
    // The reply.
    TooManyRequests,
    UnprocessableForInvalid,
    GoneForEnded,
    OkForAccepted,
    EmptyNotFound,
    SpaceInTheBody,
    NewlineAfterTheBody,
    RetryAfterMissing,
    RetryAfterRoundedDown,
    RetryAfterOnEveryRefusal,
    // The store.
    NothingStored,
    RevisionKept,
    RefusalRestartsTheInterval,
    RefreshDropsOmittedFields,
    RefreshKeepsOldFields,
    RelinkKeepsFormerFields,
}

impl Slip {
    /// Whether no reply shows it, only what is stored.
    pub fn is_of_the_store(self) -> bool {
        matches!(
            self,
            Self::LowerCasedEmail
                | Self::NothingStored
                | Self::RevisionKept
                | Self::RefusalRestartsTheInterval
                | Self::RefreshDropsOmittedFields
                | Self::RefreshKeepsOldFields
                | Self::RelinkKeepsFormerFields
        )
    }
}

/// A whole transport in small: what it replies, and what its store holds afterwards.
pub fn exchange(case: &Case, slip: Option<Slip>) -> (Reply, Option<AnySession>) {
    let request = read(case, slip);
    let decision = decide(case, &request, slip);
    (reply(&decision, slip), store(case, decision, slip))
}

pub fn read(case: &Case, slip: Option<Slip>) -> LinkRequest<'_> {
    let endpoint = Endpoint::parse(&case.path).unwrap();
    let body: LinkRequest = serde_json::from_str(&case.body).unwrap();
    let body_comm_type = body.comm_type.clone();
    let request = body.with_comm_type(endpoint.comm_type());
    match slip {
        Some(Slip::TrimmedIdentifier) => {
            LinkRequest { identifier: edit(request.identifier, |text| text.trim().to_owned()), ..request }
        }
        Some(Slip::TrimmedOptionalFields) => LinkRequest {
            name: edit(request.name, |text| text.trim().to_owned()),
            email: edit(request.email, |text| text.trim().to_owned()),
            phone: edit(request.phone, |text| text.trim().to_owned()),
            ..request
        },
        Some(Slip::LowerCasedIdentifier) => {
            LinkRequest { identifier: edit(request.identifier, str::to_lowercase), ..request }
        }
        Some(Slip::LowerCasedEmail) => LinkRequest { email: edit(request.email, str::to_lowercase), ..request },
        Some(Slip::ComposedIdentifier) => {
            LinkRequest { identifier: edit(request.identifier, |text| text.replace("e\u{301}", "é")), ..request }
        }
        Some(Slip::TruncatedText) => LinkRequest {
            identifier: edit(request.identifier, |text| text.chars().take(255).collect()),
            name: edit(request.name, |text| text.chars().take(255).collect()),
            ..request
        },
        Some(Slip::ControlCharactersStripped) => LinkRequest {
            identifier: edit(request.identifier, |text| text.chars().filter(|char| !char.is_control()).collect()),
            ..request
        },
        Some(Slip::PositionalArrays) if case.body.starts_with('[') => {
            let Derived { comm_type, identifier } = serde_json::from_str(&case.body).unwrap_or_default();
            LinkRequest { comm_type: comm_type.into(), identifier: identifier.into(), ..request }
                .with_comm_type(endpoint.comm_type())
        }
        Some(Slip::BodyCommTypeStandsOverThePaths) if !body_comm_type.is_blank() => {
            request.with_comm_type(body_comm_type)
        }
        Some(Slip::BodyCommTypeFillsABlankPath) if endpoint.comm_type().is_blank() => {
            request.with_comm_type(body_comm_type)
        }
        Some(Slip::CommTypeInAnyCase) => {
            let lower = endpoint.comm_type().as_text().map(|text| text.to_lowercase().trim_end_matches('s').to_owned());
            request.with_comm_type(lower)
        }
        Some(slip) => LinkRequest { identifier: misread(case, request.identifier, slip), ..request },
        None => request,
    }
}

/// What serde's derive makes of a request: an array is read by position.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Derived {
    comm_type: String,
    identifier: String,
}

fn edit(param: Param<'_>, by: impl FnOnce(&str) -> String) -> Param<'_> {
    match param {
        Param::Text(text) => by(&text).into(),
        other => other,
    }
}

/// The identifier by a wrong idea of what is blank and what is text.
fn misread<'a>(case: &Case, honest: Param<'a>, slip: Slip) -> Param<'a> {
    let body: Value = serde_json::from_str(&case.body).unwrap();
    match (slip, &body["identifier"]) {
        (Slip::NumbersMadeText, Value::Number(number)) => number.to_string().into(),
        (Slip::OnlyAsciiWhiteSpaceIsBlank, Value::String(text)) if !text.trim_ascii().is_empty() => {
            // The crate calls blank what is blank, whoever built it.
            if text.trim().is_empty() { "white space".into() } else { honest }
        }
        (Slip::EmptyObjectIsPresent, Value::Object(_)) => Param::NotText,
        (Slip::FalseIsBlank, Value::Bool(false)) => Param::Blank,
        _ => honest,
    }
}

pub fn decide(case: &Case, request: &LinkRequest<'_>, slip: Option<Slip>) -> Result<Accepted, LinkError> {
    let Some(slip) = slip else { return apply_link(case.session.as_ref(), request, &case.policy, case.now) };
    if let Some(error) = refuses_early(case, request, slip) {
        return Err(error);
    }
    let mut session = case.session.clone();
    if let (Slip::OtherCommTypesSessionLinked, Some(comm_type @ ("call" | "chat"))) =
        (slip, request.comm_type.as_text())
    {
        session = session.map(|session| with(&session, [("comm_type", json!(comm_type))]));
    }
    let (policy, now) = terms(case, slip);
    apply_link(session.as_ref(), request, &policy, now)
}

/// The answer of a check that comes too early, or that the contract does not have.
fn refuses_early(case: &Case, request: &LinkRequest<'_>, slip: Slip) -> Option<LinkError> {
    let session = case.session.as_ref();
    let honest = apply_link(session, request, &case.policy, case.now).err();
    let if_it_were = |session: Option<AnySession>| apply_link(session.as_ref(), request, &case.policy, case.now).err();
    let active = || session.map(|session| with(session, [("state", json!("active")), ("ended_at", Value::Null)]));
    let supported = || session.map(|session| with(session, [("crm_support", json!("supported"))]));
    let comm_type = request.comm_type.as_text();
    match slip {
        Slip::NotFoundBeforeMissing => session
            .is_none_or(|session| Some(session.comm_type().into()) != comm_type)
            .then_some(LinkError::NotFound)
            .filter(|_| comm_type.is_some()),
        Slip::UnknownSessionFirst => session.is_none().then_some(LinkError::NotFound),
        Slip::OtherCommTypeBeforeMissingIdentifier => {
            (request.comm_type == Param::NotText).then_some(LinkError::NotFound)
        }
        Slip::InvalidBeforeMissing => {
            EndUserField::ALL.iter().copied().find(|field| is_invalid(request, *field)).map(LinkError::InvalidParam)
        }
        Slip::InvalidFieldsByTheAlphabet if matches!(honest, Some(LinkError::InvalidParam(_))) => {
            use EndUserField::{Email, Identifier, Name, Phone};
            [Email, Identifier, Name, Phone]
                .into_iter()
                .find(|field| is_invalid(request, *field))
                .map(LinkError::InvalidParam)
        }
        Slip::EndedBeforeNotFound if honest == Some(LinkError::NotFound) => ended(session),
        Slip::EndedBeforeMissing if honest == Some(LinkError::MissingParam(RequiredParam::Identifier)) => {
            ended(session)
        }
        Slip::CrmBeforeEnded => if_it_were(active()).filter(|error| *error == LinkError::UnsupportedCrm),
        Slip::DuplicateBeforeEnded => if_it_were(active()).filter(is_duplicate),
        Slip::DuplicateBeforeCrm => if_it_were(supported()).filter(is_duplicate),
        Slip::DoubledSlashNotFound => case.path.starts_with("//").then_some(LinkError::NotFound),
        Slip::BlankCommTypeNotFound => request.comm_type.is_blank().then_some(LinkError::NotFound),
        Slip::LimitInBytes => too_long(request, str::len),
        Slip::LimitInUtf16 => too_long(request, |text| text.encode_utf16().count()),
        Slip::AtMostForLessThan | Slip::FutureRecordsLockOut if honest.is_none() => blocks_too_long(case, slip),
        _ => None,
    }
}

fn too_long(request: &LinkRequest<'_>, length: fn(&str) -> usize) -> Option<LinkError> {
    let params = [&request.identifier, &request.name, &request.email, &request.phone];
    let mut fields = params.into_iter().zip(EndUserField::ALL);
    let (_, field) =
        fields.find(|(param, field)| param.as_text().is_some_and(|text| length(text) > field.max_chars()))?;
    Some(LinkError::InvalidParam(*field))
}

fn is_invalid(request: &LinkRequest<'_>, field: EndUserField) -> bool {
    let errors = request.validate().err();
    errors.is_some_and(|errors| {
        errors.field_errors().get(field.into()).is_some_and(|errors| errors.iter().any(|error| error.code == "invalid"))
    })
}

/// A duplicate where the honest interval is over.
fn blocks_too_long(case: &Case, slip: Slip) -> Option<LinkError> {
    let interval = case.policy.interval();
    let elapsed = case.now - case.session.as_ref()?.last_linked_at()?;
    let blocks = match slip {
        Slip::AtMostForLessThan => elapsed.unsigned_abs() == interval && !interval.is_zero(),
        _ => elapsed.is_negative(),
    };
    blocks.then_some(LinkError::Duplicate { retry_after: interval })
}

fn ended(session: Option<&AnySession>) -> Option<LinkError> {
    session.filter(|session| !session.is_active()).map(|session| LinkError::AlreadyEnded(session.comm_type()))
}

fn is_duplicate(error: &LinkError) -> bool {
    matches!(error, LinkError::Duplicate { .. })
}

/// The policy and the clock, as a transport mistakes them.
fn terms(case: &Case, slip: Slip) -> (DuplicatePolicy, OffsetDateTime) {
    let Case { policy, now, .. } = case;
    let ahead = case.session.as_ref().and_then(AnySession::last_linked_at).is_some_and(|at| at > *now);
    let off = DuplicatePolicy::new(Duration::ZERO);
    match slip {
        Slip::ClockBackwardsAccepted if ahead => (off, *now),
        Slip::WholeSecondsCompared => (*policy, now.replace_nanosecond(0).unwrap()),
        Slip::OffsetOfTheClockIgnored => (*policy, now.replace_offset(UtcOffset::UTC)),
        Slip::ScopeIgnored => (policy.with_scope(DuplicateScope::Session), *now),
        Slip::ScopeAlwaysSameIdentifier => (policy.with_scope(DuplicateScope::SameIdentifier), *now),
        Slip::ZeroIntervalIsADefault if policy.interval().is_zero() => {
            (DuplicatePolicy::new(Duration::from_secs(30)), *now)
        }
        _ => (*policy, *now),
    }
}

fn reply(decision: &Result<Accepted, LinkError>, slip: Option<Slip>) -> Reply {
    let answer = Answer::from(decision);
    let mut reply =
        Reply { status: answer.status, body: answer.body.into(), retry_after_secs: answer.retry_after_secs() };
    match (slip, decision) {
        (Some(Slip::TooManyRequests), Err(LinkError::Duplicate { .. })) => reply.status = 429,
        (Some(Slip::UnprocessableForInvalid), Err(LinkError::InvalidParam(_))) => reply.status = 422,
        (Some(Slip::GoneForEnded), Err(LinkError::AlreadyEnded(_))) => reply.status = 410,
        (Some(Slip::OkForAccepted), Ok(_)) => reply.status = 200,
        (Some(Slip::EmptyNotFound), Err(LinkError::NotFound)) => reply.body.clear(),
        (Some(Slip::SpaceInTheBody), Ok(_)) => reply.body = br#"{"message": "accepted"}"#.into(),
        (Some(Slip::NewlineAfterTheBody), Err(LinkError::UnsupportedCrm)) => reply.body.push(b'\n'),
        (Some(Slip::RetryAfterMissing), _) => reply.retry_after_secs = None,
        (Some(Slip::RetryAfterRoundedDown), _) => {
            reply.retry_after_secs = answer.retry_after.map(|wait| wait.as_secs());
        }
        (Some(Slip::RetryAfterOnEveryRefusal), Err(_)) => reply.retry_after_secs = reply.retry_after_secs.or(Some(0)),
        _ => {}
    }
    reply
}

fn store(case: &Case, decision: Result<Accepted, LinkError>, slip: Option<Slip>) -> Option<AnySession> {
    let before = case.session.clone()?;
    let mut record = match decision {
        Ok(accepted) => json!(AnySession::from(accepted.into_session())),
        Err(error) if slip == Some(Slip::RefusalRestartsTheInterval) && is_duplicate(&error) => {
            let now = case.now.to_offset(UtcOffset::UTC).format(&Rfc3339).unwrap();
            return Some(with(&before, [("last_linked_at", json!(now))]));
        }
        Err(_) => return Some(before),
    };
    let former = json!(before.end_user());
    let person = &mut record["end_user"];
    let same_person = former["identifier"] == person["identifier"];
    match slip {
        Some(Slip::NothingStored) => return Some(before),
        Some(Slip::RevisionKept) => record["revision"] = json!(before.revision()),
        Some(Slip::RefreshDropsOmittedFields) if same_person => {
            *person = json!(serde_json::from_str::<EndUser>(&case.body).unwrap());
        }
        Some(Slip::RefreshKeepsOldFields) if same_person => *person = former,
        Some(Slip::RelinkKeepsFormerFields) => {
            for field in ["name", "email", "phone"].into_iter().filter(|field| !former[field].is_null()) {
                if person[field].is_null() {
                    person[field] = former[field].clone();
                }
            }
        }
        _ => {}
    }
    serde_json::from_value(record).unwrap()
}

/// The session with these fields of its stored form replaced.
fn with<const N: usize>(session: &AnySession, fields: [(&str, Value); N]) -> AnySession {
    let mut record = json!(session);
    for (field, value) in fields {
        record[field] = value;
    }
    serde_json::from_value(record).unwrap()
}
