//! What `/openapi.json` says.

use std::sync::LazyLock;

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::handlers;
use super::reply::Reply;
use super::schema::CommonResponses;

/// The description, in JSON.
fn description() -> &'static str {
    static DESCRIPTION: LazyLock<String> = LazyLock::new(|| Description::openapi().to_json().unwrap_or_default());
    &DESCRIPTION
}

#[derive(OpenApi)]
#[openapi(
    info(title = "midsession-server", description = "Links live calls and chats to their verified end users"),
    paths(handlers::start, handlers::end_user, handlers::end, handlers::show, handlers::erase, handlers::live, handlers::ready, describe),
    modifiers(&Bearer),
    security(("token" = []))
)]
struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        openapi.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// This description
#[utoipa::path(
    get,
    path = "/openapi.json",
    responses((status = 200, description = "An `OpenAPI` document", body = serde_json::Value), CommonResponses)
)]
pub(crate) async fn describe() -> Reply {
    Reply::json(description())
}
