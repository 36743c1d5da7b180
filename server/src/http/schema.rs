//! The shapes of requests and replies, which the handlers refer to and the description shows.
#![expect(dead_code, reason = "most of it only describes what `Reply`, the layers and the crate write and read")]

use midsession::{CrmSupport, limits};
use serde::Deserialize;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaFormat, SchemaType, Type};
use utoipa::{IntoParams, IntoResponses, ToSchema};

/// Every answer but a session's
#[derive(ToSchema)]
pub(crate) struct Message {
    message: String,
}

/// What any request may be answered.
#[derive(IntoResponses)]
pub(crate) enum CommonResponses {
    /// No token, or another
    #[response(status = 401, headers(("WWW-Authenticate" = String)))]
    Unauthorized(Message),
    /// No such method here
    #[response(status = 405, headers(("Allow" = String)))]
    MethodNotAllowed(Message),
    /// A bug, or a stored record that is none
    #[response(status = 500)]
    Failed(Message),
    /// The database does not answer: whether a change was made is not known
    #[response(status = 503)]
    Unavailable(Message),
}

/// What a request with a body may be answered besides.
#[derive(IntoResponses)]
pub(crate) enum BodyResponses {
    /// The body took too long
    #[response(status = 408)]
    TooSlow(Message),
    /// The body is over 16 KiB
    #[response(status = 413)]
    TooLarge(Message),
    /// The content type is not JSON
    #[response(status = 415)]
    NotJson(Message),
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct CommTypeParam {
    #[param(inline)]
    comm_type: Segment,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct SessionParams {
    #[param(inline)]
    comm_type: Segment,
    #[param(min_length = 1, max_length = 255, pattern = "^[A-Za-z0-9._~-]+$")]
    session_id: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum Segment {
    Calls,
    Chats,
}

/// A session to start
#[derive(Default, Deserialize, ToSchema)]
pub(crate) struct NewSession {
    /// Whether the session's CRM takes links, as it does if this is left out
    #[schema(value_type = Crm, required = false)]
    pub(crate) crm: Option<CrmSupport>,
    // Makes serde take it for a map: it reads other structs from arrays, too.
    #[serde(flatten)]
    #[schema(ignore)]
    _unknown: serde_json::Map<String, serde_json::Value>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum Crm {
    Supported,
    Unsupported,
}

/// A started session
#[derive(ToSchema)]
pub(crate) struct Started {
    id: String,
}

/// The verified end user. A blank value, such as null, white space alone or an empty object or array, is as good as none
#[derive(ToSchema)]
#[schema(example = json!({
    "identifier": "unique_external_id", "name": "John Doe", "email": "johndoe@example.com", "phone": "123-456-7890"
}))]
pub(crate) struct LinkBody {
    #[schema(schema_with = identifier)]
    identifier: String,
    #[schema(required = false, schema_with = name)]
    name: Option<String>,
    #[schema(required = false, schema_with = email)]
    email: Option<String>,
    #[schema(required = false, schema_with = phone)]
    phone: Option<String>,
}

const PRINTABLE: &str = r"[^\u0000-\u001f\u007f-\u009f]";
/// White space is listed: what `\s` means differs from language to language.
const SOLID: &str = r"[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]";

fn identifier() -> Schema {
    let text = text(limits::IDENTIFIER_MAX_CHARS).description(Some("The unique external id"));
    text.pattern(Some(format!("^{PRINTABLE}*{SOLID}{PRINTABLE}*$"))).into()
}

fn name() -> Schema {
    optional(text(limits::NAME_MAX_CHARS))
}

/// Without a pattern of its own, as the phone: a client that keeps to one refuses what the server takes, and no pattern that
/// all languages read is as wide.
fn email() -> Schema {
    let rule = "HTML's rule for e-mail addresses, with international domains and address literals";
    optional(with_format(limits::EMAIL_MAX_CHARS, "idn-email").description(Some(rule)))
}

fn phone() -> Schema {
    let rule = "With at least one numeric character of any script";
    optional(with_format(limits::PHONE_MAX_CHARS, "phone").description(Some(rule)))
}

fn with_format(max_chars: usize, format: &str) -> ObjectBuilder {
    text(max_chars).format(Some(SchemaFormat::Custom(format.to_owned())))
}

fn text(max_chars: usize) -> ObjectBuilder {
    let pattern = format!("^{PRINTABLE}*$");
    ObjectBuilder::new().schema_type(Type::String).max_length(Some(max_chars)).pattern(Some(pattern))
}

/// Or null. Rails' other blank values are left out: generators make of them what no one can use, or nothing that compiles.
fn optional(text: ObjectBuilder) -> Schema {
    text.schema_type(SchemaType::from_iter([Type::String, Type::Null])).into()
}

/// A session as it is stored
#[derive(ToSchema)]
pub(crate) struct Record {
    state: State,
    comm_type: CommType,
    crm_support: Crm,
    #[schema(nullable = false)]
    end_user: Option<EndUser>,
    #[schema(format = DateTime, nullable = false)]
    last_linked_at: Option<String>,
    #[schema(format = DateTime, nullable = false)]
    ended_at: Option<String>,
    revision: u64,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum State {
    Active,
    Ended,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum CommType {
    Call,
    Chat,
}

#[derive(ToSchema)]
struct EndUser {
    identifier: String,
    #[schema(nullable = false)]
    name: Option<String>,
    #[schema(nullable = false)]
    email: Option<String>,
    #[schema(nullable = false)]
    phone: Option<String>,
}
