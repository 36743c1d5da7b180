//! The server with the two hooks by which the conformance kit's `kit.py` drives a transport in any language: it stores a
//! case's session and sets the clock. They are in this program alone: whoever may ask it may set its clock.
//!
//! ```text
//! cargo run -p midsession-server --example kit --features test-hooks -- sqlite://kit.db TOKEN
//! ```

use std::error::Error;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use midsession::{AnySession, DuplicatePolicy};
use midsession_server::{
    App, Change, ConnectionLimits, Found, Limits, Sessions, Sqlite, Store, StoreError, Token, Tokens, Written, router,
    serve,
};
use serde::{Deserialize, Deserializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpListener;
use tower::ServiceExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(token)) = (arguments.next(), arguments.next()) else {
        return Err("usage: kit sqlite://FILE TOKEN".into());
    };
    let store = Sqlite::open(&url, Duration::from_secs(2)).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let tokens = Tokens::new([Token::new(&token)?]);
    writeln!(std::io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    serve(listener, with_hooks(store, tokens), ConnectionLimits::default(), std::future::pending()).await;
    Ok(())
}

/// The server's routes, and before them the two hooks, which `kit.py` describes.
fn with_hooks(store: Sqlite, tokens: Tokens) -> Router {
    let first = Running { number: 0, session_id: String::new(), sessions: None, router: Router::new() };
    let hooks = Arc::new(Hooks { store, tokens, running: Mutex::new(first) });
    Router::new()
        .route("/test/case", put(put_case))
        .route("/test/session", get(get_session))
        .fallback(pass_on)
        .with_state(hooks)
}

struct Hooks {
    store: Sqlite,
    tokens: Tokens,
    running: Mutex<Running>,
}

/// The server as the last case has it. Before the first there is none.
#[derive(Clone)]
struct Running {
    number: u64,
    session_id: String,
    sessions: Option<Sessions<Part>>,
    router: Router,
}

type Shared = State<Arc<Hooks>>;

#[derive(Deserialize)]
struct Case {
    session_id: String,
    session: Option<AnySession>,
    policy: DuplicatePolicy,
    #[serde(deserialize_with = "moment")]
    now: OffsetDateTime,
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OffsetDateTime, D::Error> {
    OffsetDateTime::parse(&String::deserialize(deserializer)?, &Rfc3339).map_err(serde::de::Error::custom)
}

async fn put_case(State(hooks): Shared, Json(case): Json<Case>) -> Response {
    let Running { number, sessions: former, .. } = hooks.now_running();
    if let Some(former) = former {
        former.stop().await;
    }
    let number = number.saturating_add(1);
    let store = Part { store: hooks.store.clone(), number };
    if let Some(next) = case.session {
        let change = Change { id: case.session_id.clone(), expected: None, glanced: None, next };
        if store.write(&[change]).await.ok().as_deref() != Some(&[Written::Yes]) {
            return (StatusCode::INTERNAL_SERVER_ERROR, "the session is not stored").into_response();
        }
    }
    let sessions = Sessions::start(store, case.policy, Arc::new(move || case.now), Limits::default());
    let app = App { sessions: sessions.clone(), tokens: hooks.tokens.clone(), public_docs: false };
    *hooks.running.lock().unwrap_or_else(PoisonError::into_inner) =
        Running { number, session_id: case.session_id, sessions: Some(sessions), router: router(app) };
    StatusCode::NO_CONTENT.into_response()
}

async fn get_session(State(hooks): Shared) -> Response {
    let Running { session_id, sessions, .. } = hooks.now_running();
    let Some(sessions) = sessions else { return (StatusCode::NOT_FOUND, "no case was put").into_response() };
    match sessions.read(&session_id).await {
        Ok(session) => Json(session).into_response(),
        Err(failure) => (StatusCode::INTERNAL_SERVER_ERROR, failure.to_string()).into_response(),
    }
}

async fn pass_on(State(hooks): Shared, request: Request) -> Response {
    let Ok(response) = hooks.now_running().router.oneshot(request).await;
    response
}

impl Hooks {
    fn now_running(&self) -> Running {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A part of the store for each case, so that it holds nothing of the cases before.
struct Part {
    store: Sqlite,
    number: u64,
}

impl Part {
    fn id(&self, id: &str) -> String {
        format!("{}:{id}", self.number)
    }
}

impl Store for Part {
    async fn read(&self, ids: &[&str]) -> Result<Vec<Found>, StoreError> {
        let ids: Vec<_> = ids.iter().map(|id| self.id(id)).collect();
        self.store.read(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    async fn write(&self, changes: &[Change]) -> Result<Vec<Written>, StoreError> {
        let changes: Vec<_> =
            changes.iter().map(|change| Change { id: self.id(&change.id), ..change.clone() }).collect();
        self.store.write(&changes).await
    }
}
