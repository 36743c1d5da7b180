//! What each route does: a request into a command, and what was decided into a reply.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{FromRequest, Request, State};
use axum::http::Uri;
use midsession::{Endpoint, LinkRequest, Session};
use serde::de::IgnoredAny;

use super::extract::{JsonBody, KindPath, SessionPath};
use super::health::Readiness;
use super::id::new_session_id;
use super::reply::Reply;
use super::requester::Requester;
use super::schema::{
    BodyResponses, CommTypeParam, CommonResponses, LinkBody, Message, NewSession, Record, SessionParams, Started,
};
use crate::batch::{Command, Outcome, Sessions, SubmitError};
use crate::stopping::Stopping;
use crate::store::Store;

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
        CommonResponses, BodyResponses,
    )
)]
pub(crate) async fn end_user<S: Store>(
    State(sessions): State<Sessions<S>>,
    requester: Requester,
    uri: Uri,
    request: Request,
) -> Result<Reply, Reply> {
    // Before the body, which nobody waits for on a path that is none.
    let endpoint = Endpoint::parse(uri.path()).ok_or(Reply::NOT_FOUND)?;
    let body = JsonBody::from_request(request, &sessions).await?;
    let link: LinkRequest<'_> = body.parse().map_err(|_| Reply::INVALID_JSON)?;
    let link = link.with_endpoint(&endpoint).into_owned();
    let id = requester.stored_id(endpoint.session_id());
    Ok(sessions.submit_as(requester.caller, &id, Command::Link(link)).await?.into())
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
            ("erase" = (operation_id = "erase", parameters(
                ("comm_type" = "$request.path.comm_type"), ("session_id" = "$response.body#/id")
            ))),
        )),
        (status = 400, description = "The body is no JSON, or no new session", body = Message),
        (status = 404, description = "Neither calls nor chats", body = Message),
        CommonResponses, BodyResponses,
    )
)]
pub(crate) async fn start<S: Store>(
    State(sessions): State<Sessions<S>>,
    requester: Requester,
    KindPath(comm_type): KindPath,
    body: JsonBody,
) -> Result<Reply, Reply> {
    let new: Option<NewSession> =
        body.parse().map_err(|error| if error.is_data() { Reply::INVALID_CRM } else { Reply::INVALID_JSON })?;
    let session = Session::start(comm_type).with_crm_support(new.and_then(|new| new.crm).unwrap_or_default());
    let id = new_session_id(sessions.now());
    let stored_id = requester.stored_id(&id);
    match sessions.submit_as(requester.caller, &stored_id, Command::Start(session)).await? {
        Outcome::Started => Ok(Reply::started(&id)),
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
        CommonResponses, BodyResponses,
    )
)]
pub(crate) async fn end<S: Store>(
    State(sessions): State<Sessions<S>>,
    requester: Requester,
    session: SessionPath,
    body: JsonBody,
) -> Result<Reply, Reply> {
    body.parse::<IgnoredAny>().map_err(|_| Reply::INVALID_JSON)?;
    let id = requester.stored_id(&session.id);
    Ok(sessions.submit_as(requester.caller, &id, Command::End(session.comm_type)).await?.into())
}

/// Erase a session's end user
#[utoipa::path(
    delete,
    path = "/apps/api/v1/{comm_type}/{session_id}/end_user",
    params(SessionParams),
    responses(
        (status = 204, description = "The session, active or ended, has none, now or before"),
        (status = 404, description = "No such session", body = Message),
        CommonResponses,
    )
)]
pub(crate) async fn erase<S: Store>(
    State(sessions): State<Sessions<S>>,
    requester: Requester,
    session: SessionPath,
) -> Result<Reply, Reply> {
    let id = requester.stored_id(&session.id);
    Ok(sessions.submit_as(requester.caller, &id, Command::Erase(session.comm_type)).await?.into())
}

/// Show a session
#[utoipa::path(
    get,
    path = "/apps/api/v1/{comm_type}/{session_id}",
    params(SessionParams),
    responses(
        (status = 200, description = "The session as it is stored", body = Record),
        (status = 404, description = "No such session", body = Message),
        CommonResponses,
    )
)]
pub(crate) async fn show<S: Store>(
    State(sessions): State<Sessions<S>>,
    requester: Requester,
    session: SessionPath,
) -> Result<Reply, Reply> {
    let id = requester.stored_id(&session.id);
    let found = sessions.read_as(requester.caller, &id).await?;
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
pub(crate) async fn ready<S: Store>(
    stopping: Option<Extension<Stopping>>,
    State(readiness): State<Arc<Readiness<S>>>,
) -> Result<Reply, Reply> {
    if stopping.is_some() {
        return Err(SubmitError::Stopping.into());
    }
    readiness.ask().await?;
    Ok(Reply::HEALTHY)
}
