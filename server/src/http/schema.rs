//! The shapes of requests and replies, which the handlers refer to and the description shows.
#![expect(dead_code, reason = "most of it only describes what `Reply`, the layers and the crate write and read")]

use midsession::{CrmSupport, limits};
use serde::Deserialize;
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};
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
    Unauthorized(#[to_schema] Message),
    /// No such method here
    #[response(status = 405, headers(("Allow" = String)))]
    MethodNotAllowed(#[to_schema] Message),
    /// A bug, or a stored record that is none
    #[response(status = 500)]
    Failed(#[to_schema] Message),
    /// The database does not answer: whether a change was made is not known
    #[response(status = 503)]
    Unavailable(#[to_schema] Message),
}

/// What a request with a body may be answered besides.
#[derive(IntoResponses)]
pub(crate) enum BodyResponses {
    /// The body took too long
    #[response(status = 408)]
    TooSlow(#[to_schema] Message),
    /// The body is over 16 KiB
    #[response(status = 413)]
    TooLarge(#[to_schema] Message),
    /// The content type is not JSON
    #[response(status = 415)]
    NotJson(#[to_schema] Message),
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
    /// Whether the session's CRM takes links
    #[schema(value_type = Option<Crm>)]
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

/// The verified end user. White space alone, null and empty values are as good as none
#[derive(ToSchema)]
#[schema(example = json!({
    "identifier": "unique_external_id", "name": "John Doe", "email": "johndoe@example.com", "phone": "123-456-7890"
}))]
pub(crate) struct LinkBody {
    /// The unique external id
    #[schema(schema_with = identifier)]
    identifier: String,
    #[schema(required = false, schema_with = name)]
    name: Option<String>,
    #[schema(required = false, schema_with = email)]
    email: Option<String>,
    /// With at least one digit
    #[schema(required = false, schema_with = phone)]
    phone: Option<String>,
}

const PRINTABLE: &str = r"[^\u0000-\u001f\u007f-\u009f]";

fn identifier() -> Schema {
    text(limits::IDENTIFIER_MAX_CHARS, &format!(r"^{PRINTABLE}*[^\s\u0000-\u001f\u007f-\u009f]{PRINTABLE}*$")).into()
}

fn name() -> Schema {
    optional(text(limits::NAME_MAX_CHARS, &format!("^{PRINTABLE}*$")))
}

fn email() -> Schema {
    let user = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}";
    let label = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
    optional(text(limits::EMAIL_MAX_CHARS, &format!(r"^{user}@{label}(\.{label})*$")))
}

fn phone() -> Schema {
    optional(text(limits::PHONE_MAX_CHARS, &format!("^{PRINTABLE}*[0-9]{PRINTABLE}*$")))
}

fn text(max_chars: usize, pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).max_length(Some(max_chars)).pattern(Some(pattern))
}

/// Or blank, as Rails has it.
fn optional(text: ObjectBuilder) -> Schema {
    let null = || ObjectBuilder::new().schema_type(SchemaType::Type(Type::Null));
    let white_space = ObjectBuilder::new().schema_type(Type::String).pattern(Some(r"^\s*$"));
    let empty = ObjectBuilder::new().schema_type(Type::Object).max_properties(Some(0));
    let nulls = ArrayBuilder::new().items(null());
    AnyOfBuilder::new().item(text).item(white_space).item(null()).item(empty).item(nulls).into()
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
