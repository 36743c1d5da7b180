//! The server with the hooks by which the conformance kit's `kit.py` drives a transport in any language: they set up
//! the store and the clock, and show what is stored. They are in this program alone: whoever may ask it may set its clock.
//!
//! ```text
//! cargo run -p midsession-server --example kit --features test-hooks -- sqlite://kit.db TOKEN
//! cargo run -p midsession-server --example kit --features test-hooks -- embed:kit.db TOKEN
//! ```
//!
//! The second is the endpoint inside a team's server, which `embed.rs` is: its router, its login and its store.

#[allow(dead_code)]
mod embed;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use midsession::{AnySession, DuplicatePolicy};
use midsession_server::{
    App, ConditionalWrite, ConnectionLimits, Limits, Log, ReadOutcome, Sessions, Sqlite, Store, StoreError, Tenant,
    Token, Tokens, WriteOutcome, router, serve,
};
use serde::{Deserialize, Deserializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpListener;
use tower::ServiceExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // `.ci/kit` looks for panics and failures in it.
    let _log = Log::start();
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(token)) = (arguments.next(), arguments.next()) else {
        return Err("usage: kit sqlite://FILE TOKEN".into());
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let served = match url.strip_prefix("embed:") {
        None => {
            let tokens = Tokens::new([Token::new(&token)?]);
            let whole = move |sessions| router(App { sessions, tokens: tokens.clone(), public_docs: false });
            with_hooks(Sqlite::open(&url, Duration::from_secs(2)).await?, None, whole)
        }
        Some(file) => {
            let tenant = Tenant::new("acme").ok_or("no name of a tenant")?;
            let logins = embed::Logins::from([(token, tenant.clone())]);
            let team = move |sessions| embed::team_router(sessions, logins.clone());
            with_hooks(embed::OutboxStore::open(file)?, Some(tenant), team)
        }
    };
    writeln!(std::io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    serve(listener, served, ConnectionLimits::default(), std::future::pending()).await;
    Ok(())
}

/// The routes of a server on `store`, and before them the hooks, which `kit.py` describes. The kit's sessions are all
/// the tenant's.
fn with_hooks<S: Store + Clone>(
    store: S,
    tenant: Option<Tenant>,
    server: impl Fn(Sessions<Arc<Part<S>>>) -> Router + Send + Sync + 'static,
) -> Router {
    let first = Running { number: 0, clock: Arc::default(), part: None, sessions: None, router: Router::new() };
    let hooks = Arc::new(Hooks { store, tenant, server: Box::new(server), running: Mutex::new(first) });
    Router::new()
        .route("/test/case", put(put_case::<S>))
        .route("/test/clock", put(put_clock::<S>))
        .route("/test/session", put(put_session::<S>))
        .route("/test/sessions", get(get_sessions::<S>))
        .fallback(pass_on::<S>)
        .with_state(hooks)
}

type Server<S> = Box<dyn Fn(Sessions<Arc<Part<S>>>) -> Router + Send + Sync>;

struct Hooks<S> {
    store: S,
    tenant: Option<Tenant>,
    server: Server<S>,
    running: Mutex<Running<S>>,
}

/// The server as the last case has it. Before the first there is none.
#[derive(Clone)]
struct Running<S> {
    number: u64,
    clock: Arc<Mutex<Option<OffsetDateTime>>>,
    part: Option<Arc<Part<S>>>,
    sessions: Option<Sessions<Arc<Part<S>>>>,
    router: Router,
}

type Shared<S> = State<Arc<Hooks<S>>>;

#[derive(Deserialize)]
struct Case {
    session_id: String,
    session: Option<AnySession>,
    others: BTreeMap<String, AnySession>,
    policy: DuplicatePolicy,
    #[serde(deserialize_with = "moment")]
    now: OffsetDateTime,
    meanwhile: Option<AnySession>,
    deleted_meanwhile: bool,
    refused_writes: u32,
    pause_ms: u64,
}

#[derive(Deserialize)]
struct Clock {
    #[serde(deserialize_with = "moment")]
    now: OffsetDateTime,
}

#[derive(Deserialize)]
struct OfAnotherServer {
    session_id: String,
    session: Option<AnySession>,
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OffsetDateTime, D::Error> {
    OffsetDateTime::parse(&String::deserialize(deserializer)?, &Rfc3339).map_err(serde::de::Error::custom)
}

async fn put_case<S: Store + Clone>(State(hooks): Shared<S>, Json(case): Json<Case>) -> Response {
    let Running { number, sessions: former, .. } = hooks.now_running();
    if let Some(former) = former {
        former.stop().await;
    }
    let number = number.saturating_add(1);
    let Case { session_id, session, others, policy, now, meanwhile, deleted_meanwhile, refused_writes, pause_ms } =
        case;
    let session_id = hooks.stored_id(session_id);
    let others: BTreeMap<_, _> = others.into_iter().map(|(id, other)| (hooks.stored_id(id), other)).collect();
    let part = Arc::new(Part::new(hooks.store.clone(), number, others.keys().chain([&session_id])));
    let stored: Vec<_> = others.into_iter().chain(session.map(|session| (session_id.clone(), session))).collect();
    let pause = Duration::from_millis(pause_ms);
    part.lose(Losses { session_id, meanwhile, deleted_meanwhile, refused_writes, pause });
    let clock = Arc::new(Mutex::new(Some(now)));
    let shown = clock.clone();
    let time = move || locked(&shown).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let sessions = Sessions::start(part.clone(), policy, Arc::new(time), Limits::default());
    let building = {
        let (hooks, sessions) = (hooks.clone(), sessions.clone());
        // Built beside the write, since it takes about as long.
        tokio::task::spawn_blocking(move || (hooks.server)(sessions))
    };
    let (true, Ok(router)) = (part.put(stored).await, building.await) else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "the case is not in place").into_response();
    };
    *locked(&hooks.running) = Running { number, clock, part: Some(part), sessions: Some(sessions), router };
    StatusCode::NO_CONTENT.into_response()
}

async fn put_clock<S: Store + Clone>(State(hooks): Shared<S>, Json(Clock { now }): Json<Clock>) -> StatusCode {
    let running = hooks.now_running();
    *locked(&running.clock) = Some(now);
    if let Some(part) = running.part {
        part.lose(Losses::default());
    }
    StatusCode::NO_CONTENT
}

async fn put_session<S: Store + Clone>(State(hooks): Shared<S>, Json(other): Json<OfAnotherServer>) -> Response {
    let Some(part) = hooks.now_running().part else {
        return (StatusCode::NOT_FOUND, "no case was put").into_response();
    };
    let id = hooks.stored_id(other.session_id);
    part.delete(&id);
    let stored = other.session.map(|session| (id, session)).into_iter().collect();
    if !part.put(stored).await {
        return (StatusCode::INTERNAL_SERVER_ERROR, "the session is not stored").into_response();
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn get_sessions<S: Store + Clone>(State(hooks): Shared<S>) -> Response {
    let Some(part) = hooks.now_running().part else {
        return (StatusCode::NOT_FOUND, "no case was put").into_response();
    };
    match part.stored().await {
        Some(stored) => {
            let shown = stored.into_iter().map(|(id, session)| (hooks.shown_id(id), session));
            Json(shown.collect::<BTreeMap<_, _>>()).into_response()
        }
        None => (StatusCode::INTERNAL_SERVER_ERROR, "the store does not answer").into_response(),
    }
}

async fn pass_on<S: Store + Clone>(State(hooks): Shared<S>, request: Request) -> Response {
    let Ok(response) = hooks.now_running().router.oneshot(request).await;
    response
}

impl<S: Store + Clone> Hooks<S> {
    fn now_running(&self) -> Running<S> {
        locked(&self.running).clone()
    }

    fn stored_id(&self, id: String) -> String {
        match &self.tenant {
            Some(tenant) => tenant.stored_id(&id),
            None => id,
        }
    }

    fn shown_id(&self, id: String) -> String {
        match &self.tenant {
            Some(_) => Tenant::split(&id).1.to_owned(),
            None => id,
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A part of the store for each case, so that it holds nothing of the cases before. It loses to another server as the case
/// says.
struct Part<S> {
    store: S,
    number: u64,
    /// The ids under which something may be stored.
    ids: Mutex<BTreeSet<String>>,
    /// How often each was deleted. What was stored before is then under another id, since the server's stores delete nothing
    /// but what is long over.
    deleted: Mutex<BTreeMap<String, u64>>,
    losses: Mutex<Losses>,
}

/// What another server does to the case's session, and when.
#[derive(Default)]
struct Losses {
    session_id: String,
    meanwhile: Option<AnySession>,
    deleted_meanwhile: bool,
    refused_writes: u32,
    pause: Duration,
}

impl<S: Store> Part<S> {
    fn new<'i>(store: S, number: u64, ids: impl Iterator<Item = &'i String>) -> Self {
        let ids = Mutex::new(ids.cloned().collect());
        Self { store, number, ids, deleted: Mutex::default(), losses: Mutex::default() }
    }

    fn lose(&self, losses: Losses) {
        *locked(&self.losses) = losses;
    }

    fn id(&self, id: &str) -> String {
        let deleted = locked(&self.deleted).get(id).copied().unwrap_or_default();
        format!("{}:{deleted}:{id}", self.number)
    }

    fn delete(&self, id: &str) {
        let mut deleted = locked(&self.deleted);
        let times = deleted.entry(id.to_owned()).or_default();
        *times = times.saturating_add(1);
    }

    /// Whether all are stored, where nothing is stored yet.
    async fn put(&self, sessions: Vec<(String, AnySession)>) -> bool {
        let changes = sessions.into_iter().map(|(id, session)| ConditionalWrite::new(self.id(&id), None, session));
        self.is_applied(&changes.collect::<Vec<_>>()).await
    }

    async fn replace(&self, id: &str, read: &AnySession, next: AnySession) -> bool {
        self.is_applied(&[ConditionalWrite::new(self.id(id), Some(read.revision()), next)]).await
    }

    async fn is_applied(&self, changes: &[ConditionalWrite]) -> bool {
        if changes.is_empty() {
            return true;
        }
        let written = self.store.write(changes).await;
        written.is_ok_and(|written| written.iter().all(|outcome| *outcome == WriteOutcome::Applied))
    }

    async fn look(&self, ids: &[&str]) -> Result<Vec<ReadOutcome>, StoreError> {
        let ids: Vec<_> = ids.iter().map(|id| self.id(id)).collect();
        self.store.read(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    /// All that the part holds; none if the store does not answer.
    async fn stored(&self) -> Option<BTreeMap<String, AnySession>> {
        let ids: Vec<_> = locked(&self.ids).iter().cloned().collect();
        let found = self.look(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await.ok()?;
        let found: Vec<_> = found.into_iter().collect::<Result<_, _>>().ok()?;
        Some(ids.into_iter().zip(found).filter_map(|(id, session)| Some((id, session?))).collect())
    }

    /// How many of the next writes of this change are refused, and one less from now on.
    fn is_refused(&self, change: &ConditionalWrite) -> bool {
        let mut losses = locked(&self.losses);
        let is_refused = losses.refused_writes > 0 && *losses.session_id == *change.id;
        losses.refused_writes = losses.refused_writes.saturating_sub(u32::from(is_refused));
        is_refused
    }
}

impl<S: Store> Store for Part<S> {
    async fn read(&self, ids: &[&str]) -> Result<Vec<ReadOutcome>, StoreError> {
        let found = self.look(ids).await?;
        let (session_id, meanwhile, is_deleted) = {
            let mut losses = locked(&self.losses);
            let is_read = ids.contains(&losses.session_id.as_str());
            let is_deleted = is_read && std::mem::take(&mut losses.deleted_meanwhile);
            (losses.session_id.clone(), losses.meanwhile.take_if(|_| is_read), is_deleted)
        };
        if is_deleted {
            self.delete(&session_id);
        }
        let read = ids.iter().zip(&found).find(|(id, _)| **id == session_id);
        if let (Some(next), Some((_, Ok(Some(read))))) = (meanwhile, read)
            && !self.replace(&session_id, read, next).await
        {
            return Err(StoreError::new("what another server stores is not stored"));
        }
        Ok(found)
    }

    async fn write(&self, changes: &[ConditionalWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
        let pause = locked(&self.losses).pause;
        tokio::time::sleep(pause).await;
        locked(&self.ids).extend(changes.iter().map(|change| change.id.to_string()));
        let mut written = Vec::new();
        for change in changes {
            let inner = ConditionalWrite { id: self.id(&change.id).into(), ..change.clone() };
            let refused = self.is_refused(change);
            written.extend(if refused { vec![WriteOutcome::Conflict] } else { self.store.write(&[inner]).await? });
        }
        Ok(written)
    }
}
