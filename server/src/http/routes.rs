//! The routes, in parts, and the server's router, which is all of them.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use tower::util::MapResponseLayer;
use tower_http::catch_panic::CatchPanicLayer;

use super::app::App;
use super::health::Readiness;
use super::layers::{LogLayer, MetricsLayer, StrictLayer, TokenLayer, panicked};
use super::paths::{DESCRIPTION, END, END_USER_SPELLINGS, LIVE, OPEN, OPEN_WITH_DOCS, READY, SHOW, START, both_forms};
use super::reply::Reply;
use super::{handlers, openapi};
use crate::batch::Sessions;
use crate::store::Store;

/// The server's router: all routes, and before them its layers, the token among them.
pub fn router<S: Store>(app: App<S>) -> Router {
    let App { sessions, tokens, public_docs } = app;
    let router = routes(sessions.clone()).merge(start_routes(sessions.clone())).merge(health_routes(sessions));
    let router = router.merge(finished(Router::new().route(DESCRIPTION, get(openapi::describe))));
    #[cfg(feature = "docs")]
    let router = if public_docs { router.merge(finished(super::docs::router(DESCRIPTION))) } else { router };
    let token = TokenLayer::new(tokens).except(if public_docs { OPEN_WITH_DOCS } else { OPEN });
    let panics =
        (MapResponseLayer::new(|response: Response<_>| response.map(Body::new)), CatchPanicLayer::custom(panicked));
    // In one layer, from the outermost to the innermost: each layer of axum costs a request several allocations.
    router.fallback(async || Reply::NOT_FOUND).layer((LogLayer, MetricsLayer, StrictLayer, token, panics))
}

/// The contract's route, and those that show, end and erase a session: without a login, a log, or a fallback, for a router of
/// your own. They can be merged into it or nested, beside a fallback of yours.
///
/// Lay your login on them as a layer. It may put into a request's extensions:
///
/// - the [`Tenant`](crate::Tenant), whose own sessions the request can reach;
/// - the [`Caller`](crate::Caller), by which the queue is shared.
///
/// The server's own layers can be laid on them one by one: [`LogLayer`], [`MetricsLayer`], [`StrictLayer`], [`TokenLayer`].
///
/// Who starts the sessions is open. [`start_routes`] makes an id for each. With ids of your own, leave those routes out, and
/// start each session by [`Sessions::submit`] where yours begins:
///
/// ```
/// # use std::collections::HashMap;
/// # use std::sync::{Arc, Mutex};
/// # use std::time::Duration;
/// use axum::body::Body;
/// use axum::http::{Request, StatusCode, header};
/// use axum::routing::get;
/// use axum::{Extension, Router};
/// use midsession::{CommType, DuplicatePolicy, Session};
/// use midsession_server::{Command, Limits, Outcome, Sessions, StrictLayer, Tenant, routes};
/// use tower::ServiceExt;
/// # use midsession::AnySession;
/// # use midsession_server::{ConditionalWrite, ReadOutcome, Store, StoreError, WriteOutcome};
/// # #[derive(Default)]
/// # struct Memory(Mutex<HashMap<String, AnySession>>);
/// # impl Store for Memory {
/// #     async fn read(&self, ids: &[&str]) -> Result<Vec<ReadOutcome>, StoreError> {
/// #         let sessions = self.0.lock().map_err(|_| StoreError::new("poisoned"))?;
/// #         Ok(ids.iter().map(|id| Ok(sessions.get(*id).cloned())).collect())
/// #     }
/// #     async fn write(&self, writes: &[ConditionalWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
/// #         let mut sessions = self.0.lock().map_err(|_| StoreError::new("poisoned"))?;
/// #         let mut write_one = |write: &ConditionalWrite| {
/// #             sessions.insert(write.id.to_string(), write.next.clone());
/// #             WriteOutcome::Applied
/// #         };
/// #         Ok(writes.iter().map(&mut write_one).collect())
/// #     }
/// # }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let policy = DuplicatePolicy::new(Duration::from_secs(30));
/// let clock = Arc::new(time::OffsetDateTime::now_utc);
/// let sessions = Sessions::start(Memory::default(), policy, clock, Limits::default());
///
/// // A call came in, which your platform calls `2026-11-26_17`.
/// let acme = Tenant::new("acme").ok_or("no tenant")?;
/// let call = Command::Start(Session::start(CommType::Call));
/// assert_eq!(sessions.submit(&acme.stored_id("2026-11-26_17"), call).await?, Outcome::Started);
///
/// // Your login would put the tenant there.
/// let endpoint = routes(sessions).layer((StrictLayer, Extension(acme)));
/// let router = Router::new().route("/", get(async || "ours")).merge(endpoint);
/// let request = Request::post("/apps/api/v1/calls/2026-11-26_17/end_user")
///     .header(header::HOST, "example.com")
///     .header(header::CONTENT_TYPE, "application/json")
///     .body(Body::from(r#"{"identifier":"unique_external_id"}"#))?;
/// assert_eq!(router.oneshot(request).await?.status(), StatusCode::ACCEPTED);
/// # Ok(())
/// # }
/// ```
pub fn routes<S: Store>(sessions: Sessions<S>) -> Router {
    let end_user = || post(handlers::end_user::<S>).delete(handlers::erase::<S>);
    let router = with(Router::new(), &SHOW, || get(handlers::show::<S>));
    let router = with(router, &END, || post(handlers::end::<S>));
    finished(with(router, &END_USER_SPELLINGS, end_user).with_state(sessions))
}

/// `POST …/{calls,chats}`, which starts a session under an id of the server's own.
pub fn start_routes<S: Store>(sessions: Sessions<S>) -> Router {
    finished(with(Router::new(), &START, || post(handlers::start::<S>)).with_state(sessions))
}

/// `/livez` and `/readyz`.
pub fn health_routes<S: Store>(sessions: Sessions<S>) -> Router {
    let router = Router::new().route(LIVE, get(handlers::live)).route(READY, get(handlers::ready::<S>));
    finished(router.with_state(Arc::new(Readiness::new(sessions))))
}

fn with<T>(mut router: Router<T>, paths: &[&str], handlers: impl Fn() -> MethodRouter<T>) -> Router<T>
where
    T: Clone + Send + Sync + 'static,
{
    for path in paths.iter().flat_map(|path| both_forms(path)) {
        router = router.route(&path, handlers());
    }
    router
}

/// With our answer to other methods.
fn finished(router: Router) -> Router {
    router.method_not_allowed_fallback(async || Reply::METHOD_NOT_ALLOWED)
}
