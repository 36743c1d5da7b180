//! A transport in small, with switches for what transports get wrong.

mod beside;
mod body;
mod fields;
mod race;
mod route;
mod source;
mod stores;

use core::time::Duration;
use std::collections::BTreeMap;

use midsession::testing::conformance::{Case, Reply};
use midsession::{
    Accepted, Answer, AnySession, CommType, DuplicatePolicy, DuplicateScope, EndUser, EndUserField, LinkChange,
    LinkError, LinkRequest, Param, RequiredParam, Session, apply_link,
};
use serde_json::{Value, json};
use strum::VariantArray;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};
use validator::Validate;

use beside::Beside;

/// What a transport gets wrong, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum Slip {
    // Method and path.
    AnyMethodTaken,
    PutTaken,
    GetTaken,
    TrailingSlashTaken,
    SlashesFolded,
    DotSegmentsResolved,
    PathPercentDecoded,
    SegmentPercentDecoded,
    SessionIdPercentDecoded,
    AnySessionIdTaken,
    LongSessionIdTaken,
    EmptySessionIdTaken,
    SessionIdInAnyCase,
    SessionIdMadeANumber,
    SessionIdCutAtItsDot,
    SingularSegmentsTaken,
    PathInAnyCase,
    PathParametersCut,
    FormatTaken,
    MoreBeforeTheBaseTaken,
    MoreAfterTheEndTaken,
    // The body.
    BrokenJsonCrashes,
    EmptyBodyCrashes,
    BodyThatIsNoObjectCrashes,
    NestingOf64Refused,
    DeepNestingCrashes,
    UnknownKeysRefused,
    UnknownKeysTwiceRefused,
    LastOfTwoFieldsTaken,
    MoreAfterTheBodyTaken,
    NotANumberTaken,
    CommaAtTheEndTaken,
    CommentsTaken,
    BareKeysTaken,
    BareControlCharactersTaken,
    HalfSurrogatesReplaced,
    FormsTaken,
    // Reading the request.
    EscapedName,
    PhoneOfDigitsAlone,
    IdentifierCutAtANul,
    ByteOrderMarksAreWhiteSpace,
    ZeroWidthSpacesAreWhiteSpace,
    VowelSeparatorsAreWhiteSpace,
    InformationSeparatorsAreWhiteSpace,
    ArraysOfBlanksAreBlank,
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
    C1ControlsTaken,
    EmailNeedsADot,
    EmailWithAnAddressRefused,
    EmailOfAnotherScriptRefused,
    EmailTopLevelOfDigitsRefused,
    EmailOfFewSigns,
    EmailDotsWhereTheyBelong,
    EmailLoose,
    EmailWithTwoAtsTaken,
    EmailUnderscoreTaken,
    EmailLongLabelTaken,
    EmailLongLocalPartTaken,
    EmailLongTaken,
    EmailHyphensTaken,
    EmailEmptyLabelTaken,
    EmailDotAtTheEndTaken,
    EmailQuotesTaken,
    EmailLocalPartOfAnotherScriptTaken,
    EmailWithANameTaken,
    EmailAnyLiteralTaken,
    PhoneDigitsAreAscii,
    PhoneDigitsAreDecimal,
    PhoneOfLettersRefused,
    PhoneWithoutDigitsTaken,
    PhoneOfHanNumeralsTaken,
    PhoneLongTaken,
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
    RetryAfterInMilliseconds,
    CallsAreChatsInTheMessage,
    // The store.
    SessionStartedIfUnknown,
    RefusalRaisesTheRevision,
    UnchangedLinkNotStored,
    TimesCutToMilliseconds,
    TimesCutToMicroseconds,
    CollatedIdentifiers,
    NothingStored,
    RevisionKept,
    RefusalRestartsTheInterval,
    RefreshDropsOmittedFields,
    RefreshKeepsOldFields,
    RelinkKeepsFormerFields,
    // Where fields come from.
    QueryStandsOverTheBody,
    QueryFillsWhatTheBodyLacks,
    QueryRefused,
    CookieFillsWhatTheBodyLacks,
    WrappedFieldsTaken,
    FormsTakenByTheirType,
    OtherContentTypesCrash,
    CharacterSetRefused,
    CharacterSetInCapitalsRefused,
    BodyDecodedByItsCharacterSet,
    MethodOverrideTaken,
    MethodInTheQueryTaken,
    // Methods.
    HeadTaken,
    OptionsTaken,
    TraceTaken,
    UnknownMethodsTaken,
    MethodInAnyCase,
    LinkTaken,
    QueryTaken,
    MergeTaken,
    MethodInTheBodyTaken,
    // Identity is bytes.
    IdentifiersComparedAsNumbers,
    IdentifiersComparedByTheirStart,
    IdentifiersMatchedByLike,
    IdsMatchedByLike,
    IdsMatchedByPattern,
    PrototypesAreSessions,
    PrototypesOfTheBodyTaken,
    EverySessionOfTheRevisionChanged,
    StoredUnderASecondId,
    IntervalByIdentifier,
    // The order inside row 3.
    LengthBeforeBlank,
    ControlCharactersBeforeBlank,
    KindsOfFaultBeforeFields,
    // Other names and places of a field.
    QueryByIndexFillsWhatTheBodyLacks,
    FromIsTheEmail,
    ObjectsUnwrapped,
    OtherNamesOfTheIdentifierTaken,
    OtherNamesOfOptionalFieldsTaken,
    PercentDecodedIdentifier,
    // Characters of every field.
    NewlinesInOptionalFieldsTaken,
    DeleteTaken,
    C1ControlsInOptionalFieldsTaken,
    JoinersStripped,
    LineSeparatorsRefused,
    ComposedName,
    PhoneLimitInUtf16,
    EmailLimitInBytes,
    // E-mail addresses.
    EmailZoneTaken,
    EmailTagTaken,
    EmailLeadingZerosTaken,
    EmailMappedAddressRefused,
    EmailLiteralAtTheEndTaken,
    EmailInternationalEmptyLabelTaken,
    EmailInternationalLongLabelTaken,
    EmailInternationalUnderscoreTaken,
    EmailPunycodeRefused,
    EmailDomainOf200Refused,
    EmailInternationalLabelAloneRefused,
    EmailInternationalLabelsCountedInCharacters,
    EmailBareAddressTaken,
    // Bodies and numbers.
    CommentLinesTaken,
    NoBreakSpacesRoundTheBodyTaken,
    NulsAfterTheBodyTaken,
    HalfSurrogatesInPhonesReplaced,
    HalfSurrogatesInCommTypesTaken,
    HalfSurrogatesInsideCommTypesCrash,
    HalfSurrogatesInsideIdentifiersCrash,
    NumbersBeyondFloatsRefused,
    LongNumbersRefused,
    NumbersOf5000DigitsRefused,
    NumbersOf5000DigitsInFieldsCrash,
    BodyOf16KibRefused,
    InvalidUtf8Replaced,
    InvalidUtf8ReadAsLatin1,
    Utf16Taken,
    RevisionsOf32Bits,
    RevisionsOf31Bits,
    RevisionsAreFloats,
    IntervalsAreFloats,
    // Paths.
    CommTypeByItsPrefix,
    AnyVersionTaken,
    LongSegmentsCrash,
    LongSegmentsNotFound,
    SubDelimitersTaken,
    LongSessionIdCut,
    EndByItsPrefix,
    // State over time, beside the store.
    RefusalsStartALimiter,
    RefusalsOfTheEndedStartALimiter,
    RefusalsOfTheUnsupportedStartAnInterval,
    RefusalsOfTheUnknownStartAnInterval,
    LostWritesStartAnInterval,
    SessionsAreCached,
    UnknownSessionsAreCached,
    CrmSupportIsCached,
    LastLinksAreCached,
    CommTypesAreCached,
    EndsAreCached,
    DuplicatesExtendTheInterval,
    RepliesAreCached,
    TenRequestsAMinute,
    FormerEndUsersComeBack,
    // A lost race.
    LostRaceIgnored,
    LostRaceOverwritten,
    LostRaceAnsweredAsDecided,
    LostRaceDecidedOnTheOldSession,
    LostRaceCrashes,
    LostRaceIsADuplicate,
    LostRacesEndIn202,
    LostRacesEndIn500,
    LostToADeletionCrashes,
    LostToADeletionAccepted,
    LostToADeletionStoredAnew,
    LostToADeletionGivenUp,
    LostRaceKeepsTheCommType,
}

impl Slip {
    /// Whether it shows in the second request of a case at the earliest.
    pub fn is_beside_the_store(self) -> bool {
        matches!(
            self,
            Self::RefusalsStartALimiter
                | Self::RefusalsOfTheEndedStartALimiter
                | Self::RefusalsOfTheUnsupportedStartAnInterval
                | Self::RefusalsOfTheUnknownStartAnInterval
                | Self::LostWritesStartAnInterval
                | Self::SessionsAreCached
                | Self::UnknownSessionsAreCached
                | Self::CrmSupportIsCached
                | Self::LastLinksAreCached
                | Self::CommTypesAreCached
                | Self::EndsAreCached
                | Self::DuplicatesExtendTheInterval
                | Self::RepliesAreCached
                | Self::TenRequestsAMinute
        )
    }

    /// Whether no reply to a first request shows it, only what is stored.
    pub fn is_of_the_store(self) -> bool {
        matches!(
            self,
            Self::LowerCasedEmail
                | Self::FromIsTheEmail
                | Self::OtherNamesOfOptionalFieldsTaken
                | Self::EscapedName
                | Self::RefusalRaisesTheRevision
                | Self::UnchangedLinkNotStored
                | Self::NothingStored
                | Self::RevisionKept
                | Self::RefusalRestartsTheInterval
                | Self::RefreshDropsOmittedFields
                | Self::RefreshKeepsOldFields
                | Self::RelinkKeepsFormerFields
                | Self::OptionsTaken
                | Self::EverySessionOfTheRevisionChanged
                | Self::StoredUnderASecondId
                | Self::ComposedName
                | Self::RevisionsOf32Bits
                | Self::RevisionsOf31Bits
                | Self::RevisionsAreFloats
                | Self::FormerEndUsersComeBack
                | Self::LostRacesEndIn202
        )
    }
}

/// What a store holds, by its ids.
pub type Stored = BTreeMap<String, AnySession>;

/// A whole transport in small. Each request of the case in a row, what is replied, and what the store holds afterwards.
pub fn exchanges(case: &Case, slip: Option<Slip>) -> Vec<(Case, Reply, Stored)> {
    let mut beside = Beside::default();
    let mut stored = case.others.clone();
    stored.extend(case.session.clone().map(|session| (case.session_id().to_owned(), session)));
    let mut done = Vec::new();
    for request in case.in_a_row() {
        // What an earlier request stored by mistake is there for the next.
        let mut read = request.clone();
        if request.replaced {
            stored.remove(case.session_id());
            stored.extend(request.session.clone().map(|session| (case.session_id().to_owned(), session)));
        }
        read.session = stored.get(case.session_id()).cloned();
        beside.cached(&mut read, slip);
        let (reply, session) = beside.answered(&read, &stored, slip).unwrap_or_else(|| race::exchange(&read, slip));
        beside.remember(&read, &reply);
        stores::put(&read, session, &mut stored, slip);
        let goes_on = request.goes_on_after(&reply);
        done.push((request, reply, stored.clone()));
        if !goes_on {
            break;
        }
    }
    done
}

/// One attempt: what is replied, and what the store then holds under the case's id.
fn attempt(case: &Case, slip: Option<Slip>) -> (Reply, Option<AnySession>) {
    match asked(case, slip) {
        Ok((session, request)) => {
            let decision = decide(case, session.as_ref(), &request, slip);
            (reply(&decision, slip), store(case, decision, slip))
        }
        Err(status) => (own(status), case.session.clone()),
    }
}

/// A refusal of the transport's own.
fn own(status: u16) -> Reply {
    Reply { status, body: Vec::new(), retry_after_secs: None }
}

/// The session that is asked for and the request, or the status by which the transport itself refuses.
fn asked(case: &Case, slip: Option<Slip>) -> Result<(Option<AnySession>, LinkRequest<'static>), u16> {
    let route = route::route(case, slip)?;
    let request = body::read(case, &route, slip)?;
    let request = slip.map_or(request.clone(), |slip| fields::made_acceptable(request, slip));
    let request = slip.map_or(request.clone(), |slip| source::misread(case, request, slip));
    let is_there = route::is_stored_under(case, &route.session_id, slip);
    let session = case.session.clone().filter(|_| is_there);
    let comm_type = request.comm_type.as_text().and_then(|text| text.parse().ok());
    match (slip, &session, comm_type) {
        (Some(Slip::SessionStartedIfUnknown), None, Some(comm_type)) => {
            Ok((Some(Session::start(comm_type).into()), request))
        }
        (Some(slip), Some(linked), _) => {
            let identifier = linked.end_user().map_or("", |end_user| end_user.identifier()).to_owned();
            let is_same = request.identifier.as_text().is_some_and(|text| stores::merges(text, &identifier, slip));
            let request = if is_same { LinkRequest { identifier: identifier.into(), ..request } } else { request };
            Ok((session, request))
        }
        _ => Ok((session, request)),
    }
}

fn decide(
    case: &Case,
    session: Option<&AnySession>,
    request: &LinkRequest<'_>,
    slip: Option<Slip>,
) -> Result<Accepted, LinkError> {
    let Some(slip) = slip else { return apply_link(session, request, &case.policy, case.now) };
    if let Some(error) = refuses_early(case, session, request, slip) {
        return Err(error);
    }
    let mut session = session.cloned();
    if let (Slip::OtherCommTypesSessionLinked, Some(comm_type @ ("call" | "chat"))) =
        (slip, request.comm_type.as_text())
    {
        session = session.map(|session| with(&session, [("comm_type", json!(comm_type))]));
    }
    let (policy, now) = terms(case, slip);
    apply_link(session.as_ref(), request, &policy, now)
}

/// The answer of a check that comes too early, or that the contract does not have.
fn refuses_early(
    case: &Case,
    session: Option<&AnySession>,
    request: &LinkRequest<'_>,
    slip: Slip,
) -> Option<LinkError> {
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
        Slip::LongSegmentsNotFound => route::has_a_long_comm_type(case).then_some(LinkError::NotFound),
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
        Slip::LengthBeforeBlank | Slip::ControlCharactersBeforeBlank | Slip::KindsOfFaultBeforeFields => {
            fields::refused_by_kind(case, honest.as_ref(), slip)
        }
        Slip::AtMostForLessThan | Slip::FutureRecordsLockOut if honest.is_none() => blocks_too_long(case, slip),
        _ if honest.is_none() => fields::refused(request, slip),
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
        Slip::TimesCutToMilliseconds => cut(case, 1_000_000),
        Slip::TimesCutToMicroseconds => cut(case, 1000),
        Slip::WholeSecondsCompared => (*policy, now.replace_nanosecond(0).unwrap()),
        Slip::OffsetOfTheClockIgnored => (*policy, now.replace_offset(UtcOffset::UTC)),
        Slip::ScopeIgnored => (policy.with_scope(DuplicateScope::Session), *now),
        Slip::ScopeAlwaysSameIdentifier => (policy.with_scope(DuplicateScope::SameIdentifier), *now),
        Slip::IntervalsAreFloats => (
            DuplicatePolicy::new(Duration::from_secs_f64(policy.interval().as_secs_f64())).with_scope(policy.scope()),
            *now,
        ),
        Slip::ZeroIntervalIsADefault if policy.interval().is_zero() => {
            (DuplicatePolicy::new(Duration::from_secs(30)), *now)
        }
        _ => (*policy, *now),
    }
}

fn cut(case: &Case, nanos: u32) -> (DuplicatePolicy, OffsetDateTime) {
    let interval = case.policy.interval();
    let interval = Duration::new(interval.as_secs(), interval.subsec_nanos() / nanos * nanos);
    let now = case.now.replace_nanosecond(case.now.nanosecond() / nanos * nanos).unwrap();
    (DuplicatePolicy::new(interval).with_scope(case.policy.scope()), now)
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
        (Some(Slip::RetryAfterInMilliseconds), _) => {
            reply.retry_after_secs = answer.retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap());
        }
        (Some(Slip::CallsAreChatsInTheMessage), Err(LinkError::AlreadyEnded(_))) => {
            reply.body = Answer::from(LinkError::AlreadyEnded(CommType::Chat)).body.into();
        }
        (Some(Slip::RetryAfterOnEveryRefusal), Err(_)) => reply.retry_after_secs = reply.retry_after_secs.or(Some(0)),
        _ => {}
    }
    reply
}

fn store(case: &Case, decision: Result<Accepted, LinkError>, slip: Option<Slip>) -> Option<AnySession> {
    let before = case.session.clone()?;
    let mut record = match decision {
        Ok(accepted) if slip == Some(Slip::UnchangedLinkNotStored) && accepted.change() == LinkChange::Unchanged => {
            return Some(before);
        }
        Ok(accepted) if !slip.is_some_and(Slip::is_of_the_store) => return Some(accepted.into_session().into()),
        Ok(accepted) => json!(AnySession::from(accepted.into_session())),
        Err(error) if slip == Some(Slip::RefusalRestartsTheInterval) && is_duplicate(&error) => {
            let now = case.now.to_offset(UtcOffset::UTC).format(&Rfc3339).unwrap();
            return Some(with(&before, [("last_linked_at", json!(now))]));
        }
        Err(_) if slip == Some(Slip::RevisionsAreFloats) => {
            let rounded = before
                .revision()
                .checked_sub(1)
                .and_then(|less| stores::misread_revision(less, Slip::RevisionsAreFloats));
            return Some(with(&before, [("revision", json!(rounded.unwrap_or(0)))]));
        }
        Err(_) if slip == Some(Slip::RefusalRaisesTheRevision) => {
            return Some(with(&before, [("revision", json!(before.revision() + 1))]));
        }
        Err(_) => return Some(before),
    };
    let former = json!(before.end_user());
    let person = &mut record["end_user"];
    let same_person = former["identifier"] == person["identifier"];
    match slip {
        Some(Slip::NothingStored) => return Some(before),
        Some(Slip::RevisionKept) => record["revision"] = json!(before.revision()),
        Some(slip) if stores::misread_revision(before.revision(), slip).is_some() => {
            record["revision"] = json!(stores::misread_revision(before.revision(), slip));
        }
        Some(Slip::RefreshDropsOmittedFields) if same_person => {
            *person = json!(serde_json::from_slice::<EndUser>(&case.body).unwrap());
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
