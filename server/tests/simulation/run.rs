use std::ops::AddAssign;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{self, header};
use fastrand::Rng;
use http_body_util::BodyExt;
use midsession::{AnySession, CommType, DuplicatePolicy, DuplicateScope, LinkRequest, Session};
use midsession_server::{App, Clock, ConditionalWrite, Limits, Sessions, Token, Tokens, router};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;
use tracing_subscriber::fmt::MakeWriter;
use uuid::Uuid;

use crate::history::{History, Operation, Reply, Request};
use crate::store::{Bug, Database, SimulatedStore};

const TOKEN: &str = "simulation-token";
const IDS: [&str; 3] = ["session-a", "session-b", "session-c"];
const CLIENTS: usize = 6;
const REQUESTS_EACH: usize = 8;

/// What came up in a run. A simulation that never meets a lost race proves nothing about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    requests: usize,
    accepted: usize,
    refused: usize,
    unknown: usize,
    gone: usize,
}

impl Seen {
    pub fn assert_everything_happened(&self) {
        let Self { requests, accepted, refused, unknown, gone } = *self;
        assert!([requests, accepted, refused, unknown, gone].iter().all(|count| *count > 100), "{self:?}");
    }
}

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.gone += other.gone;
    }
}

/// One run. What is wrong with it is told in one line.
pub fn simulate(seed: u64, bug: Option<Bug>) -> Result<Seen, String> {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(log.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async { World::new(seed, bug).run(&log).await })
}

struct World {
    random: Rng,
    policy: DuplicatePolicy,
    database: Arc<Database>,
    servers: Vec<Server>,
}

struct Server {
    router: Router,
    sessions: Sessions<SimulatedStore>,
    request_timeout: Duration,
    clock: Arc<Mutex<Vec<(Duration, OffsetDateTime)>>>,
}

/// An operation, the session it is about, and the request id it had.
struct Done {
    id: &'static str,
    request_id: String,
    name: String,
    operation: Operation,
}

impl World {
    fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut random = Rng::with_seed(seed);
        let interval = [0, 1_500, 5_000][random.usize(..3)];
        let scope = DuplicateScope::ALL[random.usize(..DuplicateScope::ALL.len())];
        let policy = DuplicatePolicy::new(Duration::from_millis(interval)).with_scope(scope);
        let database = Arc::new(Database::default());
        for id in IDS {
            database.insert(id, &Session::start(CommType::Chat).into());
        }
        Self { random, policy, database, servers: Vec::new() }.with_servers(bug)
    }

    fn with_servers(mut self, bug: Option<Bug>) -> Self {
        for _ in 0..2 {
            let store = SimulatedStore::new(self.database.clone(), self.random.fork(), bug);
            let shown = Arc::new(Mutex::new(Vec::new()));
            let offset = time::Duration::milliseconds(self.random.i64(-3_000..3_000));
            let clock = clock(offset, shown.clone());
            let limits =
                Limits { shards: self.random.usize(1..3), batch: self.random.usize(1..6), ..Limits::default() };
            let sessions = Sessions::start(store, self.policy, clock, limits);
            let token = Token::new(TOKEN).unwrap();
            let tokens = Tokens::new([token]);
            let router = router(App { sessions: sessions.clone(), tokens, public_docs: false });
            self.servers.push(Server { router, sessions, request_timeout: limits.request_timeout, clock: shown });
        }
        self
    }

    async fn run(mut self, log: &Log) -> Result<Seen, String> {
        let started = Instant::now();
        let world = Arc::new(self.servers.iter().map(|server| server.router.clone()).collect::<Vec<_>>());
        let mut clients = Vec::new();
        for client in 0..CLIENTS {
            clients.push(tokio::spawn(requests(client, self.random.fork(), world.clone(), started)));
        }
        let mut done = Vec::new();
        for client in clients {
            done.extend(client.await.map_err(|error| error.to_string())?);
        }
        for server in &self.servers {
            server.sessions.stop().await;
        }
        // A write whose fate was open may come late.
        sleep(Duration::from_mins(1)).await;
        self.judge(done, log)
    }

    fn judge(&self, done: Vec<(usize, Done)>, log: &Log) -> Result<Seen, String> {
        let lines = log.lines();
        let writes = self.database.writes();
        let mut seen = Seen::default();
        let mut histories: Vec<Vec<Operation>> = vec![Vec::new(); IDS.len()];
        for (server, mut done) in done {
            let server = &self.servers[server];
            seen.count(&done.operation);
            done.check_deadline(server.request_timeout)?;
            done.check_log(&lines, &writes)?;
            let in_time = |at: Duration| {
                done.operation.invoked <= at && (done.operation.reply.is_none() || at <= done.operation.returned)
            };
            let shown = server.clock.lock().unwrap();
            done.operation.clock = shown.iter().filter(|(at, _)| in_time(*at)).map(|(_, now)| *now).collect();
            histories[IDS.iter().position(|id| *id == done.id).unwrap()].push(done.operation);
        }
        for (id, operations) in IDS.iter().zip(&histories) {
            let written = writes.iter().filter(|change| *change.id == **id).map(|change| change.next.clone()).collect();
            let first = AnySession::from(Session::start(CommType::Chat));
            let history = History { policy: self.policy, first, operations, last: self.database.session(id), written };
            if !history.is_linearizable() {
                return Err(format!("no order of the requests explains what happened to {id}:\n{history}"));
            }
        }
        Ok(seen)
    }
}

impl Seen {
    fn count(&mut self, operation: &Operation) {
        self.requests += 1;
        match &operation.reply {
            Some(reply) if reply.status == 202 => self.accepted += 1,
            Some(_) => self.refused += 1,
            None if operation.returned == Duration::MAX => self.gone += 1,
            None => self.unknown += 1,
        }
    }
}

impl Done {
    fn check_deadline(&self, request_timeout: Duration) -> Result<(), String> {
        let took = self.operation.returned.saturating_sub(self.operation.invoked);
        if self.operation.returned != Duration::MAX && took > request_timeout + Duration::from_millis(50) {
            return Err(format!("{} was answered after {took:?}", self.request_id));
        }
        Ok(())
    }

    /// Every request has a line, and an accepted link has one that says so; whoever is found in the database has one, too.
    fn check_log(&self, lines: &[Value], writes: &[ConditionalWrite]) -> Result<(), String> {
        let own: Vec<_> = lines.iter().filter(|line| line["request_id"] == self.request_id.as_str()).collect();
        let accepted = own.iter().any(|line| {
            ["first", "unchanged", "refreshed", "relinked"].iter().any(|change| line["outcome"] == *change)
        });
        let unknown = own.iter().any(|line| line["status"] == 503);
        let linked = writes
            .iter()
            .any(|write| write.next.end_user().and_then(|person| person.name()) == Some(self.name.as_str()));
        match &self.operation.reply {
            _ if own.is_empty() => Err(format!("{} has no line in the log", self.request_id)),
            Some(reply) if reply.status == 202 && !accepted => {
                Err(format!("{} was accepted, and the log does not know", self.request_id))
            }
            _ if linked && !accepted && !unknown => {
                Err(format!("{} is stored, and the log does not know", self.request_id))
            }
            _ => Ok(()),
        }
    }
}

/// The same moment never twice, so that a moment tells which decision it belongs to.
fn clock(offset: time::Duration, shown: Arc<Mutex<Vec<(Duration, OffsetDateTime)>>>) -> Clock {
    let started = Instant::now();
    let ticks = AtomicI64::new(0);
    Arc::new(move || {
        let elapsed = started.elapsed();
        let tick = time::Duration::nanoseconds(ticks.fetch_add(1, Ordering::Relaxed));
        let now = OffsetDateTime::UNIX_EPOCH + time::Duration::DAY + offset + elapsed + tick;
        shown.lock().unwrap().push((elapsed, now));
        now
    })
}

/// One client's requests, one after the other, each to either server.
async fn requests(client: usize, mut random: Rng, servers: Arc<Vec<Router>>, started: Instant) -> Vec<(usize, Done)> {
    let mut done = Vec::new();
    for number in 0..REQUESTS_EACH {
        sleep(Duration::from_millis(random.u64(..3_000))).await;
        let server = random.usize(..servers.len());
        let id = IDS[random.usize(..IDS.len())];
        let request_id = Uuid::from_u64_pair(client as u64 + 1, number as u64).to_string();
        let name = format!("name-{client}-{number}");
        let request = match random.u8(..20) {
            0 => Request::End,
            1 => Request::Erase,
            2..6 => Request::Show,
            _ => link(["person-1", "person-2"][random.usize(..2)], &name),
        };
        let request_timeout =
            if random.u8(..10) == 0 { Duration::from_millis(random.u64(..200)) } else { Duration::MAX };
        let invoked = started.elapsed();
        // In a task of its own, as `serve` does it: it is finished though its client goes away.
        let call = tokio::spawn(servers[server].clone().oneshot(http_request(&request, id, &request_id)));
        let reply = match timeout(request_timeout, call).await {
            Ok(response) => Some(reply(response.unwrap().unwrap()).await),
            Err(_) => None,
        };
        let returned = if reply.is_some() { started.elapsed() } else { Duration::MAX };
        let reply = reply.filter(|reply| reply.status != 503);
        let operation = Operation { request, invoked, returned, reply, clock: Vec::new() };
        done.push((server, Done { id, request_id, name, operation }));
    }
    done
}

fn link(identifier: &str, name: &str) -> Request {
    let request = LinkRequest {
        identifier: identifier.to_owned().into(),
        name: name.to_owned().into(),
        ..LinkRequest::default()
    };
    Request::Link(request.with_comm_type(CommType::Chat))
}

fn http_request(request: &Request, id: &str, request_id: &str) -> http::Request<Body> {
    let session = format!("/apps/api/v1/chats/{id}");
    let (method, path, body) = match request {
        Request::Link(link) => {
            let body = json!({ "identifier": link.identifier.as_text(), "name": link.name.as_text() });
            ("POST", format!("{session}/end_user"), body.to_string())
        }
        Request::End => ("POST", format!("{session}/end"), String::new()),
        Request::Erase => ("DELETE", session, String::new()),
        Request::Show => ("GET", session, String::new()),
    };
    let request = http::Request::builder().method(method).uri(path).header(header::HOST, "simulation");
    let request = request.header("x-request-id", request_id).header(header::CONTENT_TYPE, "application/json");
    request.header(header::AUTHORIZATION, format!("Bearer {TOKEN}")).body(Body::from(body)).unwrap()
}

async fn reply(response: http::Response<Body>) -> Reply {
    let (head, body) = response.into_parts();
    let retry_after = head.headers.get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().parse().unwrap());
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Reply { status: head.status.as_u16(), body, retry_after }
}

/// The log of a run.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines(&self) -> Vec<Value> {
        let bytes = self.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
