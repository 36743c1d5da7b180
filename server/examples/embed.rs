//! The endpoint inside a team's own axum server, as one file: the team's login, its tenants, its ids, and its own store, which
//! writes an outbox in the transaction of the session. Nothing of the server's command line, page, token or metrics is in it.
//!
//! ```text
//! cargo run -p midsession-server --no-default-features --example embed -- embed.db
//! curl -X PUT http://127.0.0.1:3000/calls/our-call-1 -H 'Authorization: Bearer acme-login'
//! curl http://127.0.0.1:3000/apps/api/v1/calls/our-call-1/end_user -H 'Authorization: Bearer acme-login' \
//!     -H 'Content-Type: application/json' -d '{"identifier": "unique_external_id"}'
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Extension, Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use axum::{Json, Router};
use midsession::{AnySession, CommType, DuplicatePolicy, Session};
use midsession_server::{
    Caller, Command, ConditionalWrite, ConnectionLimits, Limits, Outcome, ReadOutcome, SessionChange, Sessions, Store,
    StoreError, StrictLayer, Tenant, WriteOutcome, routes, serve,
};
use rusqlite::{Connection, OptionalExtension, Transaction};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: embed FILE")?;
    let acme = Tenant::new("acme").ok_or("no name of a tenant")?;
    let logins = HashMap::from([("acme-login".to_owned(), acme)]);
    let policy = DuplicatePolicy::new(Duration::from_secs(30));
    let store = OutboxStore::open(&path)?;
    let sessions = Sessions::start(store, policy, Arc::new(OffsetDateTime::now_utc), Limits::default());
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    serve(listener, team_router(sessions.clone(), logins), ConnectionLimits::default(), stop).await;
    sessions.stop().await;
    Ok(())
}

/// Whose each login is.
pub type Logins = HashMap<String, Tenant>;

/// The team's router: its own route and fallback, and the endpoint's routes between them, behind the team's login.
pub fn team_router<S: Store>(sessions: Sessions<S>, logins: Logins) -> Router {
    let calls = Router::new().route("/calls/{id}", put(call_came_in::<S>)).with_state(sessions.clone());
    let endpoint = routes(sessions).layer(StrictLayer);
    let behind_login = calls.merge(endpoint).layer(from_fn_with_state(Arc::new(logins), login));
    let fallback = async || (StatusCode::NOT_FOUND, Json(serde_json::json!({ "message": "there is no such page" })));
    behind_login.merge(Router::new().route("/", axum::routing::get(async || "the team's server"))).fallback(fallback)
}

/// The tenant goes with the request. The queue is shared by tenants, and an outbox says whose request it was.
async fn login(State(logins): State<Arc<Logins>>, mut request: Request, next: Next) -> Response {
    let shown = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok()?.strip_prefix("Bearer "));
    let Some(tenant) = shown.and_then(|shown| logins.get(shown)).cloned() else {
        return (StatusCode::UNAUTHORIZED, "log in first").into_response();
    };
    request.extensions_mut().insert(Caller::new(tenant.name()).with_client(tenant.name()));
    request.extensions_mut().insert(tenant);
    next.run(request).await
}

/// A call of the team's own id has begun.
async fn call_came_in<S: Store>(
    State(sessions): State<Sessions<S>>,
    Extension(tenant): Extension<Tenant>,
    Path(id): Path<String>,
) -> StatusCode {
    let start = Command::Start(Session::start(CommType::Call));
    match sessions.submit(&tenant.stored_id(&id), start).await {
        Ok(Outcome::Started) => StatusCode::CREATED,
        Ok(_) => StatusCode::CONFLICT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Sessions in SQLite, and beside them an outbox of what was decided. Who sends the outbox on finds an event there exactly if
/// its change is stored.
#[derive(Clone)]
pub struct OutboxStore(Arc<Mutex<Connection>>);

impl OutboxStore {
    /// The file at `path`, and its tables.
    ///
    /// # Errors
    /// - SQLite cannot open it.
    pub fn open(path: &str) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE IF NOT EXISTS sessions
                 (tenant TEXT, id TEXT, revision INTEGER NOT NULL, record TEXT NOT NULL, PRIMARY KEY (tenant, id));
             CREATE TABLE IF NOT EXISTS outbox
                 (event INTEGER PRIMARY KEY, tenant TEXT, id TEXT, revision INTEGER, what TEXT, at TEXT, client TEXT);",
        )?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// On a thread that may block.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let connection = self.0.clone();
        let worked = spawn_blocking(move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner)));
        // What SQLite says may hold a value, and its code does not.
        let code = |error: rusqlite::Error| error.sqlite_error_code().map(|code| format!("SQLite: {code:?}"));
        match worked.await {
            Ok(worked) => worked.map_err(|error| StoreError::new(code(error).unwrap_or("SQLite".to_owned()))),
            Err(_) => Err(StoreError::new("panicked")),
        }
    }
}

impl Store for OutboxStore {
    async fn read(&self, ids: &[&str]) -> Result<Vec<ReadOutcome>, StoreError> {
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        self.with(move |connection| ids.iter().map(|id| read(connection, id)).collect()).await
    }

    async fn write(&self, writes: &[ConditionalWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
        let writes = writes.to_vec();
        self.with(move |connection| {
            let transaction = connection.transaction()?;
            let outcomes = writes.iter().map(|next| write(&transaction, next)).collect::<Result<_, _>>()?;
            transaction.commit()?;
            Ok(outcomes)
        })
        .await
    }
}

fn read(connection: &Connection, stored_id: &str) -> rusqlite::Result<ReadOutcome> {
    let (tenant, id) = Tenant::split(stored_id);
    let mut select = connection.prepare_cached("SELECT record FROM sessions WHERE tenant IS ?1 AND id = ?2")?;
    let record: Option<String> = select.query_row((tenant, id), |row| row.get(0)).optional()?;
    let session: Option<serde_json::Result<AnySession>> = record.map(|record| serde_json::from_str(&record));
    Ok(session.transpose().map_err(Into::into))
}

fn write(transaction: &Transaction<'_>, next: &ConditionalWrite) -> rusqlite::Result<WriteOutcome> {
    let (tenant, id) = Tenant::split(&next.id);
    let Ok(record) = serde_json::to_string(&next.next) else { return Ok(WriteOutcome::Refused) };
    let revision = next.next.revision().cast_signed();
    let made = match next.expected {
        None => transaction
            .prepare_cached(
                "INSERT INTO sessions (tenant, id, revision, record) SELECT ?1, ?2, ?3, ?4
                 WHERE NOT EXISTS (SELECT 1 FROM sessions WHERE tenant IS ?1 AND id = ?2)",
            )?
            .execute((tenant, id, revision, record))?,
        Some(expected) => transaction
            .prepare_cached(
                "UPDATE sessions SET revision = ?3, record = ?4 WHERE tenant IS ?1 AND id = ?2 AND revision = ?5",
            )?
            .execute((tenant, id, revision, record, expected.cast_signed()))?,
    };
    if made == 0 {
        return Ok(WriteOutcome::Conflict);
    }
    // The server's own probe of the database is no one's session.
    if !next.is_probe() {
        let mut insert = transaction.prepare_cached(
            "INSERT INTO outbox (tenant, id, revision, what, at, client) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for change in &next.changes {
            let what = match change.kind {
                SessionChange::Started => "started",
                SessionChange::Linked(how) => how.as_str(),
                SessionChange::Ended => "ended",
                SessionChange::Erased => "erased",
            };
            let (revision, at) = (change.revision.cast_signed(), change.at.to_string());
            insert.execute((tenant, id, revision, what, at, change.origin.client.as_deref()))?;
        }
    }
    Ok(WriteOutcome::Applied)
}
