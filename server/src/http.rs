use std::sync::Arc;

use axum::RequestPartsExt;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use axum::{Extension, Router};
use midsession::{CommType, Endpoint, LinkRequest, Session};
use serde::de::IgnoredAny;
use time::OffsetDateTime;
use tower_http::catch_panic::CatchPanicLayer;
use uuid::{NoContext, Timestamp, Uuid};

use crate::docs;
use crate::health::Readiness;
use crate::middleware::{self, JsonBody};
use crate::openapi::{
    self, BodyDoor, CommTypeParam, Door, LinkBody, Message, NewSession, Record, SessionParams, Started,
};
use crate::reply::Reply;
use crate::{Command, Decided, Sessions, Store, Tokens};

const LIVE: &str = "/livez";
const READY: &str = "/readyz";
const HEALTH: &str = "/healthz";
const DESCRIPTION: &str = "/openapi.json";
/// What needs no token, so that a supervisor needs none.
pub(crate) const OPEN: [&str; 3] = [LIVE, READY, HEALTH];
/// What needs none if the operator says so; the page's files are below its path.
pub(crate) const DOCS: [&str; 2] = [DESCRIPTION, docs::PATH];
/// The route of the contract, as the log names it.
pub(crate) const END_USER: &str = "/apps/api/v1/{comm_type}/{session_id}/end_user";

/// What the handlers work with.
pub struct App<S> {
    /// Decides, over a store.
    pub sessions: Sessions<S>,
    /// What requests must show one of.
    pub tokens: Tokens,
    /// Whether `/docs` and `/openapi.json` are open to who shows no token. Without it there is no `/docs`.
    pub public_docs: bool,
}

type Shared<S> = State<Arc<App<S>>>;

/// The server's routes, and the middleware before them.
pub fn router<S: Store>(app: App<S>) -> Router {
    let app = Arc::new(app);
    let health = Router::new().route(READY, get(ready::<S>)).route(HEALTH, get(health::<S>));
    let health = health.with_state(Arc::new(Readiness::new(app.sessions.clone())));
    let mut router = Router::new().route(LIVE, get(live)).route(DESCRIPTION, get(describe)).merge(health);
    if app.public_docs {
        router = router.merge(docs::router(DESCRIPTION));
    }
    // With the published base URI's doubled slash, too, as the contract's route.
    let bases = ["", "/"].map(|slash| {
        [("calls", CommType::Call), ("chats", CommType::Chat)]
            .map(|kind| (format!("{slash}/apps/api/v1/{}", kind.0), kind.1))
    });
    for (base, comm_type) in bases.into_iter().flatten() {
        let sessions = Router::new()
            .route(&base, post(start::<S>))
            .route(&format!("{base}/{{session_id}}"), get(show::<S>).delete(erase::<S>))
            .route(&format!("{base}/{{session_id}}/end"), post(end::<S>));
        router = router.merge(sessions.layer(Extension(comm_type)));
    }
    router
        // The contract's route is the crate's to recognise: it takes any comm type, even none, and a doubled slash.
        .fallback(end_user::<S>)
        .method_not_allowed_fallback(async || Reply::method_not_allowed(None))
        .layer(CatchPanicLayer::custom(middleware::panicked))
        .layer(from_fn_with_state(app.clone(), middleware::door::<S>))
        .with_state(app)
}

/// Link a session to its verified end user
#[utoipa::path(
    post,
    path = "/apps/api/v1/{comm_type}/{session_id}/end_user",
    params(SessionParams),
    request_body = LinkBody,
    responses(
        (status = 202, description = "Linked: `accepted`", body = Message),
        (status = 400, description = "Refused", body = Message,
            headers(("Retry-After" = u64, description = "On a duplicate: the seconds until it is none"))),
        (status = 404, description = "Neither calls nor chats, or no such session of that kind", body = Message),
        Door, BodyDoor,
    )
)]
pub(crate) async fn end_user<S: Store>(
    State(app): Shared<S>,
    method: Method,
    uri: Uri,
    request: Request,
) -> Result<Reply, Reply> {
    let endpoint = Endpoint::parse(uri.path()).ok_or(Reply::NOT_FOUND)?;
    if method != Method::POST {
        return Err(Reply::method_not_allowed(Some("POST")));
    }
    let body = JsonBody::from_request(request, &app).await?;
    let link: LinkRequest<'_> = body.parse().map_err(|_| Reply::INVALID_JSON)?;
    let link = link.with_comm_type(endpoint.comm_type()).into_owned();
    Ok(app.sessions.submit(endpoint.session_id(), Command::Link(link)).await?.into())
}

/// Start a session
#[utoipa::path(
    post,
    path = "/apps/api/v1/{comm_type}",
    params(CommTypeParam),
    request_body = Option<NewSession>,
    responses(
        (status = 201, description = "Started", body = Started, links(
            ("link" = (operation_id = "end_user", parameters(
                ("comm_type" = "$request.path.comm_type"), ("session_id" = "$response.body#/id")
            ))),
            ("end" = (operation_id = "end", parameters(
                ("comm_type" = "$request.path.comm_type"), ("session_id" = "$response.body#/id")
            ))),
            ("show" = (operation_id = "show", parameters(
                ("comm_type" = "$request.path.comm_type"), ("session_id" = "$response.body#/id")
            ))),
        )),
        (status = 400, description = "The body is no JSON, or no new session", body = Message),
        (status = 404, description = "Neither calls nor chats", body = Message),
        Door, BodyDoor,
    )
)]
pub(crate) async fn start<S: Store>(
    State(app): Shared<S>,
    Extension(comm_type): Extension<CommType>,
    body: JsonBody,
) -> Result<Reply, Reply> {
    let new: Option<NewSession> =
        body.parse().map_err(|error| if error.is_data() { Reply::INVALID_CRM } else { Reply::INVALID_JSON })?;
    let session = Session::start(comm_type).with_crm_support(new.and_then(|new| new.crm).unwrap_or_default());
    let id = new_id(app.sessions.now());
    match app.sessions.submit(&id, Command::Start(session)).await? {
        Decided::Started => Ok(Reply::started(&id)),
        other => Err(other.into()),
    }
}

/// End a session for good
#[utoipa::path(
    post,
    path = "/apps/api/v1/{comm_type}/{session_id}/end",
    params(SessionParams),
    responses(
        (status = 200, description = "Ended, now or before: `ended`", body = Message),
        (status = 400, description = "The body is no JSON", body = Message),
        (status = 404, description = "No such session", body = Message),
        Door, BodyDoor,
    )
)]
pub(crate) async fn end<S: Store>(State(app): Shared<S>, session: SessionPath, body: JsonBody) -> Result<Reply, Reply> {
    body.parse::<IgnoredAny>().map_err(|_| Reply::INVALID_JSON)?;
    Ok(app.sessions.submit(&session.id, Command::End(session.comm_type)).await?.into())
}

/// Erase an ended session's personal data
#[utoipa::path(
    delete,
    path = "/apps/api/v1/{comm_type}/{session_id}",
    params(SessionParams),
    responses(
        (status = 204, description = "Erased, now or before"),
        (status = 404, description = "No such session", body = Message),
        (status = 409, description = "It has not ended: end it first", body = Message),
        Door,
    )
)]
pub(crate) async fn erase<S: Store>(State(app): Shared<S>, session: SessionPath) -> Result<Reply, Reply> {
    Ok(app.sessions.submit(&session.id, Command::Erase(session.comm_type)).await?.into())
}

/// Show a session
#[utoipa::path(
    get,
    path = "/apps/api/v1/{comm_type}/{session_id}",
    params(SessionParams),
    responses(
        (status = 200, description = "The session as it is stored", body = Record),
        (status = 404, description = "No such session", body = Message),
        Door,
    )
)]
pub(crate) async fn show<S: Store>(State(app): Shared<S>, session: SessionPath) -> Result<Reply, Reply> {
    let found = app.sessions.read(&session.id).await?;
    // A session of the other comm type is as good as none.
    let found = found.filter(|found| found.comm_type() == session.comm_type).ok_or(Reply::NOT_FOUND)?;
    Ok(Reply::session(&found))
}

/// Whether the process runs
#[utoipa::path(
    get,
    path = "/livez",
    security(()),
    responses(
        (status = 200, description = "It does: `ok`", body = Message),
        (status = 405, description = "No such method here", body = Message),
    )
)]
pub(crate) async fn live() -> Reply {
    Reply::HEALTHY
}

/// Whether writing works
#[utoipa::path(
    get,
    path = "/readyz",
    security(()),
    responses(
        (status = 200, description = "It does: `ok`", body = Message),
        (status = 405, description = "No such method here", body = Message),
        (status = 503, description = "It does not, or not in time", body = Message),
    )
)]
pub(crate) async fn ready<S: Store>(State(readiness): State<Arc<Readiness<S>>>) -> Result<Reply, Reply> {
    readiness.ask().await?;
    Ok(Reply::HEALTHY)
}

/// The same as /readyz
#[utoipa::path(
    get,
    path = "/healthz",
    security(()),
    responses(
        (status = 200, description = "Writing works: `ok`", body = Message),
        (status = 405, description = "No such method here", body = Message),
        (status = 503, description = "It does not, or not in time", body = Message),
    )
)]
pub(crate) async fn health<S: Store>(readiness: State<Arc<Readiness<S>>>) -> Result<Reply, Reply> {
    ready(readiness).await
}

/// This description
#[utoipa::path(
    get,
    path = "/openapi.json",
    responses((status = 200, description = "An `OpenAPI` document", body = serde_json::Value), Door)
)]
pub(crate) async fn describe() -> Reply {
    Reply::json(openapi::description())
}

/// The session a path names.
pub(crate) struct SessionPath {
    comm_type: CommType,
    id: String,
}

impl<S: Send + Sync> FromRequestParts<S> for SessionPath {
    type Rejection = Reply;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Reply> {
        let comm_type: Result<Extension<CommType>, _> = parts.extract_with_state(state).await;
        let Extension(comm_type) = comm_type.map_err(|_| Reply::NOT_FOUND)?;
        // As the contract's route reads it: nothing is percent-decoded. It follows apps, api, v1 and the comm type.
        let id = parts.uri.path().trim_start_matches('/').split('/').nth(4).unwrap_or_default().to_owned();
        let known = Endpoint::new(comm_type, &id).is_some();
        known.then_some(Self { comm_type, id }).ok_or(Reply::NOT_FOUND)
    }
}

/// Random enough not to be guessed, and in the order of time, as an index likes it.
pub(crate) fn new_id(now: OffsetDateTime) -> String {
    let seconds = now.unix_timestamp().try_into().unwrap_or_default();
    // Without a counter, which would take from the randomness.
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, now.nanosecond())).to_string()
}
