//! What holds for all bytes: the bodies of the fuzz targets, which the ordinary tests run on the committed corpora.

use core::fmt::Display;
use core::str::FromStr;
use core::time::Duration;
use std::collections::BTreeMap;

use arbitrary::Unstructured;
use midsession::testing::{Action, History, Situation, Step};
use midsession::{
    Accepted, Answer, AnySession, CommType, CrmSupport, DuplicatePolicy, DuplicateScope, EndUser, EndUserField,
    Endpoint, LinkChange, LinkErrorKind, LinkRequest, OwnedLinkRequest, Param, RequiredParam, Session,
};
use serde_json::Value as Json;
use time::OffsetDateTime;
use validator::Validate;

use crate::model::{self, Row, assert_agreed};

/// A body reads as its `serde_json::Value` does, and is decided as the model does.
pub fn request(bytes: &[u8]) {
    let request = serde_json::from_slice::<LinkRequest>(bytes);
    match (&request, serde_json::from_slice::<Json>(bytes)) {
        (Ok(request), Ok(value)) => assert_eq!(*request, model::read_body(&value)),
        (Err(error), Ok(_)) => assert!(error.to_string().starts_with("duplicate field `"), "{error}"),
        (Ok(_), Err(error)) => assert_skipped(bytes, &error),
        (Err(_), Err(_)) => {}
    }
    let Ok(request) = request else { return };
    let policy = DuplicatePolicy::new(INTERVAL);
    for comm_type in ["Chat", "CHAT", " chat", "chat ", "ｃhat", "chats"] {
        let request = request.clone().with_comm_type(comm_type);
        let session = Session::start(CommType::Chat).into();
        let _agreed = assert_agreed(Some(&session), &request, &policy, OffsetDateTime::UNIX_EPOCH);
    }
    for request in [request.clone(), request.clone().with_comm_type(CommType::Chat)] {
        for session in sessions(&request) {
            for scope in DuplicateScope::ALL {
                let policy = DuplicatePolicy::new(INTERVAL).with_scope(*scope);
                for now in [OffsetDateTime::UNIX_EPOCH, OffsetDateTime::UNIX_EPOCH + INTERVAL] {
                    let _agreed = assert_agreed(session.as_ref(), &request, &policy, now);
                }
            }
        }
    }
}

const INTERVAL: Duration = Duration::from_secs(30);

/// What `serde_json` skips without a look, in the value of an unknown field or inside an array: text that is no UTF-8 or
/// no Unicode, numbers too great, any depth.
fn assert_skipped(bytes: &[u8], error: &serde_json::Error) {
    let text = error.to_string();
    let skipped = ["recursion limit", "number out of range", "surrogate", "unicode code point", "hex escape"];
    assert!(std::str::from_utf8(bytes).is_err() || skipped.iter().any(|skipped| text.contains(skipped)), "{text}");
}

/// Sessions of which each brings the request to another row, and of each person who is nearly the request's.
fn sessions(request: &LinkRequest<'_>) -> Vec<Option<AnySession>> {
    let new = Session::start(CommType::Chat);
    let mut sessions = vec![None, Some(new.clone().into()), Some(new.clone().end(OffsetDateTime::UNIX_EPOCH).into())];
    let policy = DuplicatePolicy::new(Duration::ZERO);
    let linked = |person: EndUser| {
        let linked = new.link(&person, &policy, OffsetDateTime::UNIX_EPOCH).unwrap();
        Some(AnySession::from(linked.into_session()))
    };
    let text = |field| request.param(field).as_text().unwrap_or_default();
    let set = |person: EndUser, field, text: &str| match field {
        EndUserField::Identifier => EndUser::new(text),
        EndUserField::Name => person.with_name(text),
        EndUserField::Email => person.with_email(text),
        EndUserField::Phone => person.with_phone(text),
    };
    let mut own = EndUser::new(text(EndUserField::Identifier));
    for field in [EndUserField::Name, EndUserField::Email, EndUserField::Phone] {
        own = own.and_then(|own| set(own, field, text(field)));
    }
    let Ok(own) = own else { return sessions };
    for &field in EndUserField::ALL {
        let near = nearly(text(field)).into_iter().filter_map(|near| set(own.clone(), field, &near).ok());
        sessions.extend(near.map(linked));
    }
    sessions.push(linked(own));
    sessions
}

/// The text, changed as little as a careless comparison does not see.
fn nearly(text: &str) -> Vec<String> {
    let each = |change: fn(char) -> String| text.chars().map(change).collect::<String>();
    let mut near = vec![
        text.to_lowercase(),
        text.to_uppercase(),
        each(|letter| {
            if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }.into()
        }),
        format!(" {text}"),
        format!("{text} "),
        format!("{text}\u{3000}"),
        format!("0{text}"),
        format!("+{text}"),
        format!("{text}.0"),
        format!("{text}x"),
        format!("{text}\u{200b}"),
        text.replace('a', "\u{430}"),
        text.replace("\u{eb}", "e\u{308}"),
        text.replace("e\u{308}", "\u{eb}"),
        text.replace('0', "O"),
        text.replace('l', "I"),
        text.replace('_', "."),
        text.replace('-', ""),
        format!("0x{text}"),
        text.chars().rev().collect(),
        text.replace('-', "\u{2011}"),
        text.replace(' ', "  "),
        each(|letter| letter.to_digit(10).and_then(|digit| char::from_u32(0x660 + digit)).unwrap_or(letter).into()),
        each(|letter| {
            if letter.is_ascii_graphic() { char::from_u32(letter as u32 + 0xfee0) } else { None }
                .unwrap_or(letter)
                .into()
        }),
    ];
    let shorter = text.chars().count().saturating_sub(1);
    let all_but_the_last: String = text.chars().take(shorter).collect();
    near.push(format!("{all_but_the_last}\u{fffd}"));
    near.push(all_but_the_last);
    near.retain(|near| near != text);
    near
}

/// Any sequence of operations leaves the session as the model has it.
pub fn sequence(bytes: &[u8]) {
    let _bytes_used_up = run(&mut Unstructured::new(bytes));
}

/// The most operations of one sequence, so that a run is short and the fuzzer gets many.
const MAX_OPERATIONS: usize = 24;

fn run(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let mut session: AnySession = u.arbitrary()?;
    let mut row = Row::of(&session);
    let policy: DuplicatePolicy = u.arbitrary()?;
    let mut now = midsession::testing::arbitrary_moment(u)?;
    let requests = midsession::testing::arbitrary_requests_of_two_people(u, 6)?;
    for _ in 0..MAX_OPERATIONS {
        if u.is_empty() {
            break;
        }
        match u.int_in_range(0..=9)? {
            0 => {
                session = session.end(now);
                row.end(now);
            }
            1 => now = midsession::testing::arbitrary_moment(u)?,
            2 => {
                session = reread(&session).unwrap_or(session).erase();
                row.erase();
            }
            3 | 4 => {
                let last = session.last_linked_at().unwrap_or(now);
                now = *u.choose(&midsession::testing::edges(last, policy.interval()))?;
            }
            operation => {
                let mut request: LinkRequest<'_> = match operation {
                    5 => u.arbitrary()?,
                    _ => u.choose(&requests)?.clone().with_comm_type(session.comm_type()),
                };
                if operation == 5 && u.arbitrary()? {
                    request.identifier =
                        session.end_user().map_or(Param::Blank, |own| own.identifier().to_owned().into());
                }
                let (decision, verdict) = assert_agreed(Some(&session), &request, &policy, now);
                if let (Ok(accepted), Some((linked, _))) = (decision, verdict.linked) {
                    session = accepted.into_session().into();
                    row = linked;
                }
            }
        }
        assert_eq!(Row::of(&session), row);
    }
    Ok(())
}

/// A situation is decided as the model does.
pub fn situation(bytes: &[u8]) {
    let situation = Unstructured::new(bytes).arbitrary().unwrap();
    agrees_on_situation(&situation);
}

pub fn agrees_on_situation(Situation { session, request, policy, now }: &Situation) {
    let _agreed = assert_agreed(session.as_ref(), request, policy, *now);
}

/// What a history says of each step is what the model makes of it.
pub fn history(bytes: &[u8]) {
    let history = Unstructured::new(bytes).arbitrary().unwrap();
    agrees_on_history(&history);
}

pub fn agrees_on_history(History { policy, steps }: &History) {
    let mut rows = BTreeMap::<&str, Row>::new();
    for Step { now, session_id, action, meanwhile, stored } in steps {
        let before = rows.get(session_id.as_str()).cloned();
        let row = meanwhile.as_ref().map(Row::of).or(before);
        let after = match action {
            Action::Start(session) => Some(Row::of(&session.clone().into())),
            Action::End => row.map(|mut row| {
                row.end(*now);
                row
            }),
            Action::Erase => row.map(|mut row| {
                row.erase();
                row
            }),
            Action::Link(attempt) => {
                let verdict = model::decide(row.as_ref(), &attempt.request, policy, *now);
                let answer = Answer::from(&attempt.decision);
                assert_eq!(answer.body, format!("{{\"message\":\"{}\"}}", verdict.message));
                assert_eq!(answer.retry_after.map(|wait| wait.as_nanos()), verdict.wait);
                let change = attempt.decision.as_ref().ok().map(Accepted::change);
                assert_eq!(change, verdict.linked.as_ref().map(|(_, change)| *change));
                verdict.linked.map(|(linked, _)| linked).or(row)
            }
        };
        assert_eq!(stored.as_ref().map(Row::of), after);
        rows.extend(after.map(|after| (session_id.as_str(), after)));
    }
}

/// A policy's text is read exactly if it follows the documented rule, and what was read is written and read back.
pub fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let policy = serde_json::from_value::<DuplicatePolicy>(serde_json::json!({"interval": text}));
    assert_eq!(policy.as_ref().ok().map(DuplicatePolicy::interval), model::read_seconds(text));
    for policy in [policy.ok(), serde_json::from_slice::<DuplicatePolicy>(bytes).ok()].into_iter().flatten() {
        let written = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<DuplicatePolicy>(&written).unwrap(), policy);
    }
}

/// A word is read as exactly the variant that prints it.
pub fn words(bytes: &[u8]) {
    fn word<T: FromStr + Copy + Display + PartialEq + core::fmt::Debug>(text: &str, all: &[T]) {
        let printed = all.iter().copied().find(|word| word.to_string() == text);
        assert_eq!(text.parse::<T>().ok(), printed);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    word(text, CommType::ALL);
    word(text, CrmSupport::ALL);
    word(text, DuplicateScope::ALL);
    word(text, EndUserField::ALL);
    word(text, LinkChange::ALL);
    word(text, LinkErrorKind::ALL);
    word(text, RequiredParam::ALL);
}

/// `Validate` passes exactly the requests that rows 1 to 3 pass, names the field of the answer, and repeats no value.
pub fn validate(bytes: &[u8]) {
    let request: LinkRequest<'_> = Unstructured::new(bytes).arbitrary().unwrap();
    let verdict = model::decide(None, &request, &DuplicatePolicy::new(INTERVAL), OffsetDateTime::UNIX_EPOCH);
    match request.validate() {
        Ok(()) => assert!(verdict.row > 3, "row {}", verdict.row),
        Err(errors) => {
            assert!(verdict.row <= 3, "row {}", verdict.row);
            let field = verdict.message.rsplit_once(": ").unwrap().1;
            let errors = errors.field_errors();
            let errors = errors.get(field).unwrap();
            assert_eq!(errors[0].code, if verdict.row == 3 { "invalid" } else { "missing" });
            assert!(errors[0].params.is_empty());
        }
    }
}

/// CBOR, in which a key or a value may be of any kind, never panics, and reads as JSON does wherever both can say it.
pub fn cbor(bytes: &[u8]) {
    if let Ok(session) = ciborium::from_reader::<AnySession, _>(bytes) {
        let mut written = Vec::new();
        ciborium::into_writer(&session, &mut written).unwrap();
        assert_eq!(ciborium::from_reader::<AnySession, _>(&*written).unwrap(), session);
        assert_eq!(reread(&session), Some(session));
    }
    if let Ok(request) = ciborium::from_reader::<OwnedLinkRequest, _>(bytes) {
        let (request, session) = (LinkRequest::from(request), AnySession::from(Session::start(CommType::Chat)));
        let policy = DuplicatePolicy::new(INTERVAL);
        let _agreed = assert_agreed(Some(&session), &request, &policy, OffsetDateTime::UNIX_EPOCH);
    }
    let Ok(value) = serde_json::from_slice::<Json>(bytes) else {
        return;
    };
    // The same value in both formats, made of the bytes as JSON.
    let mut written = Vec::new();
    ciborium::into_writer(&value, &mut written).unwrap();
    let request = LinkRequest::from(ciborium::from_reader::<OwnedLinkRequest, _>(&*written).unwrap());
    assert_eq!(request, model::read_body(&value));
}

/// The session after a trip through the store; `None` if it has a time that RFC 3339 cannot write.
fn reread(session: &AnySession) -> Option<AnySession> {
    let stored = serde_json::to_string(session).ok()?;
    let reread = serde_json::from_str(&stored).unwrap();
    assert_eq!(*session, reread);
    Some(reread)
}

/// A record is read exactly if it breaks no rule and names no field twice, and what was read is written and read back.
pub fn snapshot(bytes: &[u8]) {
    let session = serde_json::from_slice::<AnySession>(bytes);
    match (&session, serde_json::from_slice::<Json>(bytes)) {
        (session, Ok(value)) => {
            // The value has each field once, the last of each name.
            let once = serde_json::from_str::<AnySession>(&value.to_string());
            assert_eq!(once.is_ok(), model::is_session(&value), "{once:?}");
            if let Ok(session) = session {
                assert_eq!(*session, once.unwrap());
            }
        }
        (Ok(_), Err(error)) => assert_skipped(bytes, &error),
        (Err(_), Err(_)) => {}
    }
    if let Ok(session) = session {
        let stored = serde_json::to_string(&session).unwrap();
        let reread: AnySession = serde_json::from_str(&stored).unwrap();
        assert_eq!(reread, session);
        assert_eq!(serde_json::to_string(&reread).unwrap(), stored);
    }
}

/// A path is parsed as one that is split, and what was parsed is printed and parsed back the same.
pub fn endpoint(bytes: &[u8]) {
    let Ok(path) = std::str::from_utf8(bytes) else { return };
    let endpoint = Endpoint::parse(path);
    let split = model::read_path(path);
    assert_eq!(endpoint.map(|endpoint| endpoint.session_id()), split.map(|(_, session_id)| session_id));
    if let (Some(endpoint), Some((segment, session_id))) = (endpoint, split) {
        let expected = match segment {
            "calls" => Param::Text("call".into()),
            "chats" => Param::Text("chat".into()),
            "" => Param::Blank,
            _ => Param::NotText,
        };
        assert_eq!(LinkRequest::default().with_endpoint(&endpoint).comm_type, expected);
        let printed = endpoint.to_string();
        assert_eq!(printed, format!("/apps/api/v1/{segment}/{session_id}/end_user"));
        assert_eq!(Endpoint::parse(&printed), Some(endpoint));
        for comm_type in [CommType::Call, CommType::Chat] {
            let built = Endpoint::new(comm_type, session_id).unwrap();
            assert_eq!(Endpoint::parse(&built.to_string()), Some(built));
        }
    }
}
