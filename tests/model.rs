//! The reference model: the decision table once more, naively, in another style than the crate.
//!
//! It knows nothing of the crate but its input types, from which it copies what it needs into plain data. Every condition
//! of the table is evaluated, then the first that holds is looked up; times are counts of nanoseconds; people are maps.
//! The tests and the fuzz targets hold the crate to it.

use std::collections::BTreeMap;

use midsession::{
    Accepted, Answer, AnySession, CrmSupport, DuplicatePolicy, DuplicateScope, LinkChange, LinkError, LinkRequest,
    Param, apply_link,
};
use serde_json::Value as Json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use validator::ValidateEmail;

/// A session as a row of a naive database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub comm_type: String,
    pub crm: bool,
    /// `identifier`, `name`, `email`, `phone`, as far as they are known.
    pub person: BTreeMap<&'static str, String>,
    pub last_linked_at: Option<i128>,
    pub ended_at: Option<i128>,
    pub revision: u64,
}

impl Row {
    pub fn of(session: &AnySession) -> Self {
        let mut person = BTreeMap::new();
        if let Some(end_user) = session.end_user() {
            let fields = [
                ("identifier", Some(end_user.identifier())),
                ("name", end_user.name()),
                ("email", end_user.email()),
                ("phone", end_user.phone()),
            ];
            person.extend(fields.iter().filter_map(|(field, text)| Some((*field, (*text)?.to_owned()))));
        }
        Self {
            comm_type: session.comm_type().to_string(),
            crm: session.crm_support() == CrmSupport::Supported,
            person,
            last_linked_at: session.last_linked_at().map(OffsetDateTime::unix_timestamp_nanos),
            ended_at: session.ended_at().map(OffsetDateTime::unix_timestamp_nanos),
            revision: session.revision(),
        }
    }

    pub fn end(&mut self, at: OffsetDateTime) {
        if self.ended_at.is_none() {
            self.ended_at = Some(at.unix_timestamp_nanos());
            self.revision = self.revision.wrapping_add(1);
        }
    }

    pub fn erase(&mut self) {
        if !self.person.is_empty() || self.last_linked_at.is_some() {
            self.person.clear();
            self.last_linked_at = None;
            self.revision = self.revision.wrapping_add(1);
        }
    }
}

/// What the table answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub row: usize,
    pub status: u16,
    pub message: String,
    /// In nanoseconds.
    pub wait: Option<u128>,
    /// What an accepted link makes of the session, and the word for it.
    pub linked: Option<(Row, LinkChange)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Missing,
    Wrong,
    Text(String),
}

fn read(param: &Param<'_>) -> Value {
    match param {
        Param::Blank => Value::Missing,
        Param::NotText => Value::Wrong,
        Param::Text(text) if text.trim().is_empty() => Value::Missing,
        Param::Text(text) => Value::Text(text.to_string()),
    }
}

/// The fields of the end user that a request names.
fn asked(request: &LinkRequest<'_>) -> [(&'static str, Value); 4] {
    [
        ("identifier", read(&request.identifier)),
        ("name", read(&request.name)),
        ("email", read(&request.email)),
        ("phone", read(&request.phone)),
    ]
}

/// Whether a request must not set the field to the value.
fn bad(field: &str, value: &Value) -> bool {
    let right_kind = match (field, value) {
        ("email", Value::Text(text)) => is_email(text),
        ("phone", Value::Text(text)) => text.chars().filter(|character| character.is_numeric()).count() > 0,
        _ => true,
    };
    unreadable(field, value) || !right_kind
}

/// validator's rule; but a bracket, also one that an international domain's encoding makes, may stand only around an IP
/// address that is the whole domain.
pub fn is_email(text: &str) -> bool {
    if !text.contains(['[', ']', '［', '］', '﹇', '﹈']) {
        return text.validate_email();
    }
    let Some((user, domain)) = text.split_once('@') else { return false };
    let address = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    format!("{user}@b").validate_email() && address.is_some_and(|address| address.parse::<std::net::IpAddr>().is_ok())
}

/// Whether a stored field must not have the value.
fn unreadable(field: &str, value: &Value) -> bool {
    let Value::Text(text) = value else { return *value == Value::Wrong };
    let longest = match field {
        "phone" => 64,
        "email" => 254,
        _ => 255,
    };
    text.chars().count() > longest || text.chars().filter(|character| character.is_control()).count() > 0
}

/// The table.
pub fn decide(
    stored: Option<&Row>,
    request: &LinkRequest<'_>,
    policy: &DuplicatePolicy,
    now: OffsetDateTime,
) -> Verdict {
    let now = now.unix_timestamp_nanos();
    let comm_type = read(&request.comm_type);
    let asked = asked(request);
    let invalid = asked.iter().find(|(field, value)| bad(field, value)).map(|(field, _)| *field);
    let known = comm_type == Value::Text("call".into()) || comm_type == Value::Text("chat".into());
    let found = stored.filter(|row| comm_type == Value::Text(row.comm_type.clone()));
    let ended = found.is_some_and(|row| row.ended_at.is_some());
    let wait = found.and_then(|row| wait(row, &asked[0].1, policy, now));

    let has_ended =
        if comm_type == Value::Text("call".into()) { "Call is already ended" } else { "Chat is already ended" };
    let table = [
        (comm_type == Value::Missing, 400, "param is missing or the value is empty: comm_type"),
        (asked[0].1 == Value::Missing, 400, "param is missing or the value is empty: identifier"),
        (invalid.is_some(), 400, "param is invalid: "),
        (!known, 404, "Not Found"),
        (found.is_none(), 404, "Not Found"),
        (ended, 400, has_ended),
        (found.is_some_and(|row| !row.crm), 400, "Unsupported CRM request"),
        (wait.is_some(), 400, "Duplicate request: Please wait for the interval to expire"),
        (true, 202, "accepted"),
    ];
    let row = table.iter().position(|(holds, _, _)| *holds).unwrap();
    let (_, status, text) = table[row];
    let message = text.to_owned() + invalid.filter(|_| row + 1 == 3).unwrap_or_default();
    let linked = found.filter(|_| status == 202).map(|row| link(row, &asked, now));
    Verdict { row: row + 1, status, message, wait: wait.filter(|_| row + 1 == 8), linked }
}

fn wait(row: &Row, identifier: &Value, policy: &DuplicatePolicy, now: i128) -> Option<u128> {
    let interval = i128::try_from(policy.interval().as_nanos()).unwrap();
    let elapsed = now - row.last_linked_at?;
    let same = row.person.get("identifier").map(|linked| Value::Text(linked.clone())) == Some(identifier.clone());
    let concerned = policy.scope() == DuplicateScope::Session || same;
    let longest = core::time::Duration::MAX.as_nanos();
    (concerned && -interval < elapsed && elapsed < interval)
        .then(|| longest.min(u128::try_from(interval - elapsed).unwrap()))
}

fn link(row: &Row, asked: &[(&'static str, Value)], now: i128) -> (Row, LinkChange) {
    let named = asked.iter().filter_map(|(field, value)| match value {
        Value::Text(text) => Some((*field, text.clone())),
        _ => None,
    });
    let named: BTreeMap<_, _> = named.collect();
    let same = row.person.get("identifier") == named.get("identifier");
    let mut person = if same { row.person.clone() } else { BTreeMap::new() };
    person.extend(named);
    let change = match (row.person.is_empty(), same, person == row.person) {
        (true, _, _) => LinkChange::First,
        (_, false, _) => LinkChange::Relinked,
        (_, true, true) => LinkChange::Unchanged,
        (_, true, false) => LinkChange::Refreshed,
    };
    (Row { person, last_linked_at: Some(now), revision: row.revision.wrapping_add(1), ..row.clone() }, change)
}

/// The naive reading of a body, from the value and not from the bytes.
pub fn read_body(body: &Json) -> LinkRequest<'static> {
    let param = |field: &str| match body.get(field) {
        None | Some(Json::Null) => Param::Blank,
        Some(Json::String(text)) if text.trim().is_empty() => Param::Blank,
        Some(Json::String(text)) => Param::Text(text.clone().into()),
        Some(Json::Array(elements)) if elements.iter().all(Json::is_null) => Param::Blank,
        Some(Json::Object(fields)) if fields.is_empty() => Param::Blank,
        Some(_) => Param::NotText,
    };
    LinkRequest {
        comm_type: param("comm_type"),
        identifier: param("identifier"),
        name: param("name"),
        email: param("email"),
        phone: param("phone"),
    }
}

/// Whether a stored record follows every rule, checked naively on the value.
pub fn is_session(record: &Json) -> bool {
    let text = |field: &str| record.get(field).and_then(Json::as_str).unwrap_or_default();
    let time = |field: &str| OffsetDateTime::parse(text(field), &Rfc3339).is_ok();
    let blank = |field: &str| {
        let wrapped = serde_json::json!({"name": record.get(field).unwrap_or(&Json::Null)});
        read_body(&wrapped).name == Param::Blank
    };
    let end_user = record.get("end_user").filter(|end_user| !end_user.is_null()).map(read_body);
    let asked = end_user.as_ref().map(asked);
    let person = asked.as_ref().is_none_or(|asked| {
        asked[0].1 != Value::Missing && !asked.iter().any(|(field, value)| unreadable(field, value))
    });
    let active = text("state") == "active";
    ["active", "ended"].contains(&text("state"))
        && ["call", "chat"].contains(&text("comm_type"))
        && ["supported", "unsupported"].contains(&text("crm_support"))
        && record.get("revision").is_some_and(Json::is_u64)
        && person
        && (blank("last_linked_at") || (time("last_linked_at") && end_user.is_some()))
        && if active { blank("ended_at") } else { time("ended_at") }
}

/// The interval that a policy's text names: whole seconds and at most nine decimals, and an `s`.
pub fn read_seconds(text: &str) -> Option<core::time::Duration> {
    let number = text.strip_suffix('s')?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 9 {
        return None;
    }
    let nanos = decimals.chars().chain(core::iter::repeat('0')).take(9).collect::<String>();
    Some(core::time::Duration::new(whole.parse().ok()?, nanos.parse().ok()?))
}

/// Whether a path is an endpoint's, and of which segment and session, by splitting it.
pub fn read_path(path: &str) -> Option<(&str, &str)> {
    let parts: Vec<&str> = path.split('/').collect();
    let ["", "apps", "api", "v1", segment, id, "end_user"] =
        *parts.strip_prefix(&[""]).filter(|_| parts.len() == 8).unwrap_or(&parts)
    else {
        return None;
    };
    let unreserved = |character: char| character.is_ascii_alphanumeric() || "-._~".contains(character);
    ((1..=255).contains(&id.len()) && id.chars().all(unreserved)).then_some((segment, id))
}

/// Asks the crate and the model the same, and fails unless they agree on everything that can be seen.
#[track_caller]
pub fn assert_agreed(
    session: Option<&AnySession>,
    request: &LinkRequest<'_>,
    policy: &DuplicatePolicy,
    now: OffsetDateTime,
) -> (Result<Accepted, LinkError>, Verdict) {
    let before = session.cloned();
    let decision = apply_link(session, request, policy, now);
    assert_eq!(session, before.as_ref(), "deciding changes nothing");
    let verdict = decide(session.map(Row::of).as_ref(), request, policy, now);
    let answer = Answer::from(&decision);
    assert_eq!(answer.status, verdict.status);
    assert_eq!(answer.body, format!("{{\"message\":\"{}\"}}", verdict.message));
    assert_eq!(answer.retry_after.map(|wait| wait.as_nanos()), verdict.wait);
    assert_eq!(answer.retry_after_secs().map(u128::from), verdict.wait.map(whole_seconds));
    match &decision {
        Err(error) => assert_eq!(error.to_string(), verdict.message),
        Ok(accepted) => {
            let linked = AnySession::from(accepted.session().clone());
            assert_eq!(Some((Row::of(&linked), accepted.change())), verdict.linked);
        }
    }
    (decision, verdict)
}

fn whole_seconds(nanoseconds: u128) -> u128 {
    nanoseconds.div_ceil(1_000_000_000).min(u128::from(u64::MAX))
}
