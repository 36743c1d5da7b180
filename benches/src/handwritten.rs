//! The same endpoint as a good engineer writes it in an afternoon, from the usual parts: `serde_json` into owned strings,
//! `validator`'s derive, an `if` chain, a serialised message. It gives the answers that `midsession` gives: see the test.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use validator::{Validate, ValidationError, ValidationErrors};

/// A session as it would stand in the store.
#[derive(Clone, Debug)]
pub struct Session {
    /// `call` or `chat`.
    pub comm_type: String,
    /// Whether its CRM takes links.
    pub crm_supported: bool,
    /// The person it is linked to.
    pub end_user: Option<EndUser>,
    /// When a link was last accepted.
    pub last_linked_at: Option<OffsetDateTime>,
    /// When it ended.
    pub ended_at: Option<OffsetDateTime>,
    /// The number of changes so far.
    pub revision: u64,
}

/// The person a session is linked to.
#[derive(Clone, Debug, Validate)]
pub struct EndUser {
    /// The unique external id.
    #[validate(length(max = 255), custom(function = "no_control_characters"))]
    pub identifier: String,
    /// The person's name.
    #[validate(length(max = 255), custom(function = "no_control_characters"))]
    pub name: Option<String>,
    /// The person's e-mail address.
    #[validate(length(max = 254), email, custom(function = "no_control_characters"))]
    pub email: Option<String>,
    /// The person's phone number.
    #[validate(length(max = 64), custom(function = "no_control_characters"), custom(function = "has_digit"))]
    pub phone: Option<String>,
}

fn no_control_characters(text: &str) -> Result<(), ValidationError> {
    if text.chars().any(char::is_control) { Err(ValidationError::new("control")) } else { Ok(()) }
}

fn has_digit(text: &str) -> Result<(), ValidationError> {
    if text.chars().any(char::is_numeric) { Ok(()) } else { Err(ValidationError::new("digit")) }
}

#[derive(Deserialize)]
struct Body {
    identifier: Option<Value>,
    name: Option<Value>,
    email: Option<Value>,
    phone: Option<Value>,
}

#[derive(Serialize)]
struct Message<'a> {
    message: &'a str,
}

/// The answer, and the session to be stored where it is an acceptance.
#[derive(Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
    /// How long a duplicate has to wait.
    pub retry_after: Option<Duration>,
    /// The session, linked.
    pub session: Option<Session>,
}

impl Response {
    fn new(status: u16, message: &str) -> Self {
        let body = serde_json::to_string(&Message { message }).expect("a message is JSON");
        Self { status, body, retry_after: None, session: None }
    }
}

/// Decides and answers one request.
///
/// # Errors
/// The body is not JSON, or no object, or gives a field twice.
pub fn link(
    session: Option<&Session>,
    comm_type: &str,
    body: &[u8],
    interval: Duration,
    now: OffsetDateTime,
) -> serde_json::Result<Response> {
    let body: Body = serde_json::from_slice(body)?;
    if comm_type.trim().is_empty() {
        return Ok(Response::new(400, "param is missing or the value is empty: comm_type"));
    }
    if is_blank(body.identifier.as_ref()) {
        return Ok(Response::new(400, "param is missing or the value is empty: identifier"));
    }
    let end_user = match end_user(body) {
        Ok(end_user) => end_user,
        Err(field) => return Ok(Response::new(400, &format!("param is invalid: {field}"))),
    };
    let Some(session) = session else {
        return Ok(Response::new(404, "Not Found"));
    };
    if !matches!(comm_type, "call" | "chat") || session.comm_type != comm_type {
        return Ok(Response::new(404, "Not Found"));
    }
    if session.ended_at.is_some() {
        let kind = if comm_type == "call" { "Call" } else { "Chat" };
        return Ok(Response::new(400, &format!("{kind} is already ended")));
    }
    if !session.crm_supported {
        return Ok(Response::new(400, "Unsupported CRM request"));
    }
    if let Some(last_linked_at) = session.last_linked_at {
        let elapsed = now - last_linked_at;
        if elapsed.unsigned_abs() < interval {
            let response = Response::new(400, "Duplicate request: Please wait for the interval to expire");
            let retry_after =
                time::Duration::try_from(interval).ok().map(|interval| (interval - elapsed).unsigned_abs());
            return Ok(Response { retry_after, ..response });
        }
    }
    let end_user = match &session.end_user {
        Some(former) if former.identifier == end_user.identifier => EndUser {
            name: end_user.name.or_else(|| former.name.clone()),
            email: end_user.email.or_else(|| former.email.clone()),
            phone: end_user.phone.or_else(|| former.phone.clone()),
            ..end_user
        },
        _ => end_user,
    };
    let session = Session {
        comm_type: session.comm_type.clone(),
        crm_supported: session.crm_supported,
        end_user: Some(end_user),
        last_linked_at: Some(now),
        ended_at: None,
        revision: session.revision + 1,
    };
    Ok(Response { session: Some(session), ..Response::new(202, "accepted") })
}

/// The body's end user, or the first field that is unacceptable.
fn end_user(body: Body) -> Result<EndUser, &'static str> {
    let identifier = text(body.identifier).map_err(|()| "identifier")?.unwrap_or_default();
    let mut not_text = None;
    let mut optional = |field, value| {
        text(value).unwrap_or_else(|()| {
            not_text = not_text.or(Some(field));
            None
        })
    };
    let name = optional("name", body.name);
    let email = optional("email", body.email);
    let phone = optional("phone", body.phone);
    let end_user = EndUser { identifier, name, email, phone };
    let errors = match end_user.validate() {
        Ok(()) if not_text.is_none() => return Ok(end_user),
        Ok(()) => ValidationErrors::new(),
        Err(errors) => errors,
    };
    let invalid = |field: &&str| not_text == Some(*field) || errors.errors().contains_key(*field);
    Err(["identifier", "name", "email", "phone"].into_iter().find(invalid).unwrap_or("identifier"))
}

fn is_blank(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.trim().is_empty(),
        Some(Value::Array(values)) => values.iter().all(Value::is_null),
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(Value::Bool(_) | Value::Number(_)) => false,
    }
}

fn text(value: Option<Value>) -> Result<Option<String>, ()> {
    match value {
        value if is_blank(value.as_ref()) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        _ => Err(()),
    }
}
