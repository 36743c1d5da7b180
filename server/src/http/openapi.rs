//! What `/openapi.json` says.

use std::sync::LazyLock;

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, RefOr, Schema};
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
    modifiers(&Bearer, &ForGenerators),
    servers((url = "/", description = "Where this description is from")),
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

/// What generators of clients make something of: groups that are named for what they do, and a body that may be left out,
/// in place of one that is an object or null.
struct ForGenerators;

impl Modify for ForGenerators {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut openapi.paths.paths {
            let group = if path.starts_with("/apps/") { "sessions" } else { "server" };
            for operation in [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten() {
                operation.tags = Some(vec![group.to_owned()]);
                if let Some(RefOr::T(body)) = &mut operation.request_body {
                    body.content.values_mut().for_each(without_null);
                }
            }
        }
    }
}

fn without_null(content: &mut RefOr<Content>) {
    if let RefOr::T(content) = content
        && let Some(RefOr::T(Schema::OneOf(either))) = &content.schema
    {
        content.schema = either.items.iter().find(|item| matches!(item, RefOr::Ref(_))).cloned();
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
