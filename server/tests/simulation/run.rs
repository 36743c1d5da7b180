use std::ops::AddAssign;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{self, header};
use fastrand::Rng;
use http_body_util::BodyExt;
use midsession::{Active, CommType, DuplicatePolicy, DuplicateScope, EndUser, LinkRequest, Session};
use midsession_server::{
    App, Clock, Command, ConditionalWrite, Limits, Outcome, Sessions, SubmitError, Token, Tokens, router,
};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;
use tracing_subscriber::fmt::MakeWriter;
use uuid::Uuid;

use crate::history::{History, Operation, Reply, Request};
use crate::store::{Bug, Database, SimulatedStore};

const TOKEN: &str = "simulation-token";
const IDS: [&str; 4] = ["session-a", "session-b", "session-c", "session-d"];
/// Those that are stored at the beginning.
const STARTED: [&str; 2] = ["session-a", "session-b"];
const CLIENTS: usize = 6;
const REQUESTS_EACH: usize = 8;

/// What came up in a run. A simulation that never meets a lost race proves nothing about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    requests: usize,
    accepted: usize,
    refused: usize,
    started: usize,
    nothing_done: usize,
    unknown: usize,
    gone: usize,
}

impl Seen {
    pub fn assert_everything_happened(&self) {
        let Self { requests, accepted, refused, started, nothing_done, unknown, gone } = *self;
        assert!(
            [requests, accepted, refused, started, nothing_done, unknown, gone].iter().all(|count| *count > 100),
            "{self:?}"
        );
    }
}

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.started += other.started;
        self.nothing_done += other.nothing_done;
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

/// What a client is left with.
enum Ending {
    Replied(Reply),
    /// A start without HTTP failed so.
    Failed(SubmitError),
    /// It went away.
    Gone,
}

/// An operation, the session it is about, and the request id it had.
struct Done {
    failure: Option<SubmitError>,
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
        for id in STARTED {
            database.insert(id, &Session::start(CommType::Chat).into());
        }
        Self { random, policy, database, servers: Vec::new() }.with_servers(bug)
    }

    fn with_servers(mut self, bug: Option<Bug>) -> Self {
        // Two servers may show the same moment, and one server the same moment again.
        let coarse = self.random.u8(..4) == 0;
        let short_queue = self.random.u8(..4) == 0;
        for _ in 0..2 {
            let store = SimulatedStore::new(self.database.clone(), self.random.fork(), bug);
            let shown = Arc::new(Mutex::new(Vec::new()));
            let offset = time::Duration::milliseconds(self.random.i64(-3_000..3_000));
            let clock = clock(if coarse { None } else { Some(offset) }, shown.clone());
            let (shards, batch) = (self.random.usize(1..3), self.random.usize(1..6));
            let queue = if short_queue { self.random.usize(1..3) } else { 2048 };
            let limits = Limits { shards, batch, queue, ..Limits::default() };
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
        let world = self.servers.iter().map(|server| (server.router.clone(), server.sessions.clone()));
        let world = Arc::new(world.collect::<Vec<_>>());
        if self.random.u8(..4) == 0 {
            let (stopped, after) = (self.servers[1].sessions.clone(), self.random.u64(2_000..15_000));
            tokio::spawn(async move {
                sleep(Duration::from_millis(after)).await;
                stopped.stop().await;
            });
        }
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
            let nothing_done = done.nothing_was_done(&lines);
            seen.count(&done.operation, nothing_done);
            done.check_deadline(server.request_timeout)?;
            done.check_failure(&lines, server.sessions.store())?;
            done.check_log(&lines, &writes)?;
            if nothing_done {
                continue;
            }
            let in_time = |at: Duration| {
                done.operation.invoked <= at && (done.operation.reply.is_none() || at <= done.operation.returned)
            };
            let shown = server.clock.lock().unwrap();
            done.operation.clock = shown.iter().filter(|(at, _)| in_time(*at)).map(|(_, now)| *now).collect();
            done.operation.clock.dedup();
            histories[IDS.iter().position(|id| *id == done.id).unwrap()].push(done.operation);
        }
        for (id, operations) in IDS.iter().zip(&histories) {
            let written = writes.iter().filter(|change| *change.id == **id).map(|change| change.next.clone()).collect();
            let first = STARTED.contains(id).then(|| Session::start(CommType::Chat).into());
            let history = History { policy: self.policy, first, operations, last: self.database.session(id), written };
            if !history.is_linearizable() {
                return Err(format!("no order of the requests explains what happened to {id}:\n{history}"));
            }
        }
        Ok(seen)
    }
}

impl Seen {
    fn count(&mut self, operation: &Operation, nothing_done: bool) {
        self.requests += 1;
        match &operation.reply {
            _ if nothing_done => self.nothing_done += 1,
            Some(reply) if reply.status == 201 => self.started += 1,
            Some(reply) if reply.status == 202 => self.accepted += 1,
            Some(_) => self.refused += 1,
            None if operation.returned == Duration::MAX => self.gone += 1,
            None => self.unknown += 1,
        }
    }
}

impl Done {
    /// Whether it was said that nothing was done: to its client, or in the log alone.
    fn nothing_was_done(&self, lines: &[Value]) -> bool {
        if let Some(failure) = &self.failure {
            return !matches!(failure, SubmitError::Unknown(_));
        }
        let failed = |line: &&Value| {
            line["request_id"] == self.request_id.as_str()
                && line["status"].as_u64().is_some_and(|status| status >= 500)
        };
        let not_known =
            |line: &Value| line["cause"].as_str().is_none_or(|cause| cause.starts_with("whether the change"));
        self.operation.reply.is_none() && lines.iter().find(failed).is_some_and(|line| !not_known(line))
    }

    fn check_deadline(&self, request_timeout: Duration) -> Result<(), String> {
        let took = self.operation.returned.saturating_sub(self.operation.invoked);
        if self.operation.returned != Duration::MAX && took > request_timeout + Duration::from_millis(50) {
            return Err(format!("{} was answered after {took:?}", self.request_id));
        }
        Ok(())
    }

    /// The server's own panics are bugs. What is said not to be known was at least asked of the store.
    fn check_failure(&self, lines: &[Value], store: &SimulatedStore) -> Result<(), String> {
        let logged = lines.iter().find(|line| line["request_id"] == self.request_id.as_str());
        let logged = logged.and_then(|line| line["cause"].as_str()).unwrap_or_default();
        let cause = self.failure.as_ref().map_or_else(|| logged.to_owned(), ToString::to_string);
        if cause.contains("panicked") && !cause.contains("its client panicked") {
            return Err(format!("{}: {cause}", self.request_id));
        }
        let Operation { invoked, returned, .. } = self.operation;
        if cause.starts_with("whether the change") && !store.was_asked_to_write(self.id, invoked..=returned) {
            return Err(format!("{} was told what no write stands behind: {cause}", self.request_id));
        }
        Ok(())
    }

    /// Every request has a line, and an accepted link has one that says so; whoever is found in the database has one, too.
    fn check_log(&self, lines: &[Value], writes: &[ConditionalWrite]) -> Result<(), String> {
        let own: Vec<_> = lines.iter().filter(|line| line["request_id"] == self.request_id.as_str()).collect();
        let accepted = own.iter().any(|line| {
            ["first", "unchanged", "refreshed", "relinked"].iter().any(|change| line["outcome"] == *change)
        });
        let unknown = own.iter().any(|line| line["status"] == 503 || line["status"] == 500);
        let linked = writes
            .iter()
            .any(|write| write.next.end_user().and_then(|person| person.name()) == Some(self.name.as_str()));
        match &self.operation.reply {
            // It has no line, since it was no request.
            _ if matches!(self.operation.request, Request::Start(_)) => Ok(()),
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

/// With an offset: the same moment never twice, so that a moment tells which decision it belongs to. Without one: a clock
/// that moves once a second, as all others of its kind do.
fn clock(offset: Option<time::Duration>, shown: Arc<Mutex<Vec<(Duration, OffsetDateTime)>>>) -> Clock {
    let started = Instant::now();
    let ticks = AtomicI64::new(0);
    Arc::new(move || {
        let elapsed = started.elapsed();
        let since = match offset {
            Some(offset) => elapsed + offset + time::Duration::nanoseconds(ticks.fetch_add(1, Ordering::Relaxed)),
            None => time::Duration::seconds(elapsed.as_secs().cast_signed()),
        };
        let now = OffsetDateTime::UNIX_EPOCH + time::Duration::DAY + since;
        shown.lock().unwrap().push((elapsed, now));
        now
    })
}

type Servers = Arc<Vec<(Router, Sessions<SimulatedStore>)>>;

/// One client's requests, one after the other, each to either server.
async fn requests(client: usize, mut random: Rng, servers: Servers, started: Instant) -> Vec<(usize, Done)> {
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
            6..9 => {
                let end_user = EndUser::new("person-3").and_then(|person| person.with_name(&*name)).unwrap();
                Request::Start(Session::start(CommType::Chat).with_end_user(end_user))
            }
            _ => link(["person-1", "person-2"][random.usize(..2)], &name),
        };
        let request_timeout =
            if random.u8(..10) == 0 { Duration::from_millis(random.u64(..200)) } else { Duration::MAX };
        let invoked = started.elapsed();
        // In a task of its own, as `serve` does it: it is finished though its client goes away.
        let (router, sessions) = servers[server].clone();
        let call = if let Request::Start(new) = &request {
            let new = new.clone();
            tokio::spawn(async move { start(&sessions, id, new).await })
        } else {
            let request = http_request(&request, id, &request_id);
            tokio::spawn(async move { Ending::Replied(reply(router.oneshot(request).await.unwrap()).await) })
        };
        let ending = timeout(request_timeout, call).await.map_or(Ending::Gone, Result::unwrap);
        let returned = if matches!(ending, Ending::Gone) { Duration::MAX } else { started.elapsed() };
        let (reply, failure) = match ending {
            Ending::Replied(reply) => (Some(reply), None),
            Ending::Failed(failure) => (None, Some(failure)),
            Ending::Gone => (None, None),
        };
        let reply = reply.filter(|reply| reply.status < 500);
        let operation = Operation { request, invoked, returned, reply, clock: Vec::new() };
        done.push((server, Done { failure, id, request_id, name, operation }));
    }
    done
}

async fn start(sessions: &Sessions<SimulatedStore>, id: &str, new: Session<Active>) -> Ending {
    match sessions.submit(id, Command::Start(new)).await {
        Ok(Outcome::Started) => Ending::Replied(Reply::STARTED),
        Ok(_) => Ending::Replied(Reply::ID_TAKEN),
        Err(error) => Ending::Failed(error),
    }
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
        Request::Erase => ("DELETE", format!("{session}/end_user"), String::new()),
        Request::Show => ("GET", session, String::new()),
        Request::Start(_) => unreachable!("it is no HTTP request"),
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
