//! Throw-away Redis servers on loopback, alone or as a cluster, and a load of conditional writes that remembers what it
//! was told.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use ::redis::{FromRedisValue, RedisError, RedisResult, Value, cmd};
use midsession::{Active, AnySession, CommType, DuplicatePolicy, EndUser, Session};
use midsession_server::{ConditionalWrite, Redis, RedisOptions, Store, WriteOutcome};
use tempfile::TempDir;
use time::OffsetDateTime;

/// How long anything may take that is waited for.
pub const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

/// One line to say so, where there is no `redis-server`.
pub fn is_missing() -> bool {
    static LEFT_OUT: Once = Once::new();
    let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found {
        let required = std::env::var_os("MIDSESSION_TEST_ENGINES").is_some_and(|value| value == "required");
        assert!(!required, "no redis-server on PATH");
        // Not by `eprintln!`, which the test runner keeps to itself.
        LEFT_OUT.call_once(|| {
            let line = "left out for want of redis-server: the tests of Redis; install it (Debian: apt-get install \
                        redis-server) and run them with cargo test -p midsession-server --features redis redis\n";
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        });
    }
    !found
}

/// A port that is free, and that the system gives to no outgoing connection meanwhile.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two runs of the tests start in different places.
    let start = u16::try_from(std::process::id() % 19_000).unwrap();
    loop {
        let port = 12_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 19_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// One redis-server. Killed when dropped.
pub struct Process {
    child: Child,
    folder: TempDir,
    port: u16,
    arguments: Vec<String>,
}

impl Process {
    /// With nothing set but its port and its folder.
    pub fn start(arguments: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let port = free_port();
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let child = spawn(port, folder.path(), &arguments);
        let mut process = Self { child, folder, port, arguments };
        process.wait_until_up();
        process
    }

    /// With each write on its disk before it answers.
    pub fn durable() -> Self {
        Self::start(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    fn in_cluster(node_timeout: &str) -> Self {
        let bus = free_port().to_string();
        Self::start(&[
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &bus,
            "--cluster-node-timeout",
            node_timeout,
            "--cluster-require-full-coverage",
            "no",
            "--repl-diskless-sync-delay",
            "0",
        ])
    }

    /// Over TLS alone, with the certificate, the key and the root in these files.
    pub fn with_tls(certificate: &Path, key: &Path, root: &Path) -> Self {
        let folder = TempDir::new().unwrap();
        let port = free_port();
        let file = |path: &Path| path.to_str().unwrap().to_owned();
        let arguments = [
            ["--tls-port", &port.to_string()],
            ["--tls-cert-file", &file(certificate)],
            ["--tls-key-file", &file(key)],
            ["--tls-ca-cert-file", &file(root)],
            ["--tls-auth-clients", "no"],
        ];
        let arguments: Vec<String> = arguments.concat().into_iter().map(str::to_owned).collect();
        let child = spawn(0, folder.path(), &arguments);
        let process = Self { child, folder, port, arguments };
        eventually("it listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        process
    }

    fn wait_until_up(&mut self) {
        let started = Instant::now();
        while self.ask::<String>(&["PING"]).is_err_and(|error| error.code() != Some("NOAUTH")) {
            let exited = self.child.try_wait().unwrap();
            assert!(exited.is_none() && started.elapsed() < REQUEST_TIMEOUT, "redis-server did not start: {exited:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Past the store.
    pub fn ask<T: FromRedisValue>(&self, command: &[&str]) -> RedisResult<T> {
        let client = ::redis::Client::open(self.url())?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
        connection.set_read_timeout(Some(Duration::from_secs(30)))?;
        let (name, arguments) = command.split_first().unwrap();
        let reply = cmd(name).arg(arguments).query(&mut connection);
        // A read with a time-out ends early if a signal comes, such as that of a child process of another test.
        let is_interrupted = |error: &RedisError| error.is_io_error() && error.to_string().contains("Interrupted");
        if reply.as_ref().err().is_some_and(is_interrupted) { self.ask(command) } else { reply }
    }

    pub fn tell(&self, command: &[&str]) {
        let reply = self.ask::<Value>(command);
        assert!(reply.is_ok(), "{command:?}: {reply:?}");
    }

    pub fn info(&self, section: &str) -> String {
        self.ask(&["INFO", section]).unwrap_or_default()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, on what its folder has.
    pub fn resume(&mut self) {
        self.child = spawn(self.port, self.folder.path(), &self.arguments);
        self.wait_until_up();
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, folder: &Path, arguments: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"]);
    command.arg("--dir").arg(folder).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits until it is so.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < REQUEST_TIMEOUT, "not in {} s: {what}", REQUEST_TIMEOUT.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Three masters with a replica each: the replica of node `n` is node `n + 3`.
pub struct Cluster {
    pub nodes: Vec<Process>,
}

const MASTERS: usize = 3;

impl Cluster {
    /// A replica takes over from a master that is silent for two seconds.
    pub fn start() -> Self {
        Self::with_node_timeout("2000")
    }

    /// Each master stays one, on a busy machine too.
    pub fn without_failover() -> Self {
        Self::with_node_timeout("60000")
    }

    fn with_node_timeout(node_timeout: &str) -> Self {
        let nodes: Vec<Process> = (0..2 * MASTERS).map(|_| Process::in_cluster(node_timeout)).collect();
        for (node, slots) in nodes.iter().zip([("0", "5460"), ("5461", "10922"), ("10923", "16383")]) {
            node.tell(&["CLUSTER", "ADDSLOTSRANGE", slots.0, slots.1]);
        }
        for (epoch, node) in nodes.iter().enumerate() {
            node.tell(&["CLUSTER", "SET-CONFIG-EPOCH", &(epoch + 1).to_string()]);
        }
        for node in &nodes[1..] {
            let bus: Vec<String> = node.ask(&["CONFIG", "GET", "cluster-port"]).unwrap();
            nodes[0].tell(&["CLUSTER", "MEET", "127.0.0.1", &node.port.to_string(), &bus[1]]);
        }
        let cluster = Self { nodes };
        for node in &cluster.nodes {
            eventually("every node knows all others", || {
                let known: String = node.ask(&["CLUSTER", "NODES"]).ok()?;
                (known.lines().count() == 2 * MASTERS && !known.contains("handshake")).then_some(())
            });
        }
        for master in 0..MASTERS {
            let id = cluster.id(master);
            eventually("a replica follows its master", || {
                cluster.nodes[master + MASTERS].ask::<Value>(&["CLUSTER", "REPLICATE", &id]).ok()
            });
        }
        cluster.wait_until_whole();
        cluster
    }

    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("redis://{}", hosts.join(","))
    }

    pub fn id(&self, node: usize) -> String {
        self.nodes[node].ask(&["CLUSTER", "MYID"]).unwrap()
    }

    /// Waits until every slot has a master with a replica that is up to date.
    pub fn wait_until_whole(&self) {
        eventually("all nodes are up, and each master has its replica", || {
            let infos: Vec<String> = self.nodes.iter().map(|node| node.info("replication")).collect();
            let masters = infos.iter().filter(|info| info.contains("role:master") && info.contains("state=online"));
            let replicas = infos.iter().filter(|info| info.contains("master_link_status:up"));
            let counts = (masters.count(), replicas.count());
            let settled = self.nodes.iter().all(|node| {
                let state: String = node.ask(&["CLUSTER", "INFO"]).unwrap_or_default();
                state.contains("cluster_state:ok") && state.contains("cluster_slots_ok:16384")
            });
            (counts == (MASTERS, MASTERS) && settled).then_some(())
        });
    }

    /// Waits until the node is a master.
    pub fn wait_for_promotion(&self, node: usize) {
        eventually("the replica takes over", || {
            self.nodes[node].info("replication").contains("role:master").then_some(())
        });
    }

    fn slot(&self, id: &str) -> u64 {
        self.nodes[0].ask(&["CLUSTER", "KEYSLOT", &key(id)]).unwrap()
    }

    /// The slot of a session is about to move: what is not there any more is asked of the other.
    pub fn begin_to_move(&self, id: &str, from: usize, to: usize) {
        let slot = self.slot(id).to_string();
        self.nodes[to].tell(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)]);
        self.nodes[from].tell(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.id(to)]);
    }

    pub fn move_keys(&self, id: &str, from: usize, to: usize) {
        let slot = self.slot(id).to_string();
        let port = self.nodes[to].port.to_string();
        loop {
            let keys: Vec<String> = self.nodes[from].ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).unwrap();
            if keys.is_empty() {
                return;
            }
            let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            command.extend(keys.iter().map(String::as_str));
            self.nodes[from].tell(&command);
        }
    }

    pub fn end_to_move(&self, id: &str, to: usize) {
        let slot = self.slot(id).to_string();
        // The new one first, so that the slot is never no one's.
        for node in [to, (to + 1) % MASTERS, (to + 2) % MASTERS] {
            self.nodes[node].tell(&["CLUSTER", "SETSLOT", &slot, "NODE", &self.id(to)]);
        }
    }

    /// The node that has the slot of a session, while it is where it was at the start.
    pub fn master_of(&self, id: &str) -> usize {
        usize::try_from(self.slot(id) / 5461).unwrap().min(MASTERS - 1)
    }
}

pub fn key(id: &str) -> String {
    format!("midsession:{id}")
}

/// A store with short times, so that what hangs is over soon.
pub async fn open(url: &str) -> Redis {
    let options = RedisOptions { start: REQUEST_TIMEOUT, ..RedisOptions::default() };
    Redis::open(url, &options).await.unwrap()
}

pub fn fresh() -> AnySession {
    Session::start(CommType::Chat).into()
}

/// The next revision of a session, linked to someone else.
pub fn linked(session: &AnySession, identifier: &str) -> AnySession {
    let AnySession::Active(active) = session else { panic!("it has ended") };
    next(active, identifier).into()
}

fn next(active: &Session<Active>, identifier: &str) -> Session<Active> {
    let end_user = EndUser::new(identifier).unwrap();
    let policy = DuplicatePolicy::new(Duration::ZERO);
    active.link(&end_user, &policy, OffsetDateTime::UNIX_EPOCH).unwrap().into_session()
}

pub fn change(id: &str, stored: Option<&AnySession>, next: &AnySession) -> ConditionalWrite {
    ConditionalWrite::new(id, stored.map(AnySession::revision), next.clone())
}

/// One session, read until the store answers.
pub async fn read(store: &Redis, id: &str) -> Option<AnySession> {
    let started = Instant::now();
    loop {
        if let Ok(mut found) = store.read(&[id]).await
            && let Ok(session) = found.pop().unwrap()
        {
            return session;
        }
        assert!(started.elapsed() < REQUEST_TIMEOUT, "it was not read in {} s", REQUEST_TIMEOUT.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One write, until its fate is known.
pub async fn write(store: &Redis, id: &str, stored: Option<&AnySession>, next: &AnySession) {
    let started = Instant::now();
    loop {
        if store.write(&[change(id, stored, next)]).await.is_ok_and(|written| written == [WriteOutcome::Applied])
            || read(store, id).await.as_ref() == Some(next)
        {
            return;
        }
        assert!(started.elapsed() < REQUEST_TIMEOUT, "it was not written in {} s", REQUEST_TIMEOUT.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Writers, each with sessions of its own, which they link again and again in batches. They check that nothing that
/// they were told is taken back: what was written or read once is found, or something later.
pub struct Load {
    name: String,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    /// How many sessions have a write of unknown fate, of each writer.
    open: Vec<Arc<AtomicUsize>>,
    writers: Vec<tokio::task::JoinHandle<Vec<Loaded>>>,
}

const WRITERS: usize = 4;
const SESSIONS: usize = 24;

impl Load {
    pub fn start(store: &Arc<Redis>, name: &str) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let open: Vec<Arc<AtomicUsize>> = (0..WRITERS).map(|_| Arc::default()).collect();
        let writer = |(number, open): (usize, &Arc<AtomicUsize>)| {
            let writer = Writer::new(store, &format!("{name}-{number}"), open.clone());
            tokio::spawn(writer.run(stop.clone(), acknowledged.clone()))
        };
        let writers = open.iter().enumerate().map(writer).collect();
        Self { name: name.to_owned(), stop, acknowledged, open, writers }
    }

    /// The ids of its sessions.
    pub fn ids(&self) -> Vec<String> {
        let of_writer = |writer| (0..SESSIONS).map(move |number| format!("{}-{writer}-{number}", self.name));
        (0..WRITERS).flat_map(of_writer).collect()
    }

    /// Waits until no write is of unknown fate, on any node.
    pub async fn all_move_on(&self) {
        let started = Instant::now();
        // Twice, with writes between them: the first look may come before the next write of a session.
        for _ in 0..2 {
            while self.open.iter().any(|open| open.load(Ordering::Relaxed) > 0) {
                assert!(started.elapsed() < REQUEST_TIMEOUT, "some writes are of unknown fate for good");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            self.more(1_000).await;
        }
    }

    /// How many writes were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until so many more are.
    pub async fn more(&self, count: u64) {
        let (started, target) = (Instant::now(), self.acknowledged() + count);
        while self.acknowledged() < target {
            assert!(started.elapsed() < REQUEST_TIMEOUT, "{} of {target} writes", self.acknowledged());
            assert!(self.writers.iter().all(|writer| !writer.is_finished()), "a writer has failed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How many writes were acknowledged, after it was checked that each is found.
    pub async fn stop(self, store: &Redis) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.writers {
            for mut session in writer.await.unwrap() {
                let found = read(store, &session.id).await;
                session.is_at(found);
            }
        }
        self.acknowledged.load(Ordering::Relaxed)
    }
}

struct Writer {
    store: Arc<Redis>,
    sessions: Vec<Loaded>,
    open: Arc<AtomicUsize>,
}

/// One session of a writer.
struct Loaded {
    id: String,
    session: Option<AnySession>,
    /// The revision that the writer was told last, by a write or by a read.
    told: Option<u64>,
    /// Whether the fate of its last write is not known. It is read before it is written again.
    open: bool,
}

impl Writer {
    fn new(store: &Arc<Redis>, name: &str, open: Arc<AtomicUsize>) -> Self {
        let session = |number| Loaded { id: format!("{name}-{number}"), session: None, told: None, open: false };
        Self { store: store.clone(), sessions: (0..SESSIONS).map(session).collect(), open }
    }

    /// The sessions, with what was told of them last.
    async fn run(mut self, stop: Arc<AtomicBool>, acknowledged: Arc<AtomicU64>) -> Vec<Loaded> {
        while !stop.load(Ordering::Relaxed) {
            let (mut written, mut unknown) = (0, 0);
            let (open, known): (Vec<_>, Vec<_>) = self.sessions.iter_mut().partition(|session| session.open);
            let changes: Vec<ConditionalWrite> = known.iter().map(|session| session.step()).collect();
            let answers =
                self.store.write(&changes).await.unwrap_or_else(|_| vec![WriteOutcome::Unknown; changes.len()]);
            for ((session, change), answer) in known.into_iter().zip(changes).zip(answers) {
                if answer == WriteOutcome::Applied {
                    session.is_at(Some(change.next));
                    written += 1;
                } else {
                    session.open = true;
                    unknown += 1;
                }
            }
            let ids: Vec<&str> = open.iter().map(|session| &*session.id).collect();
            let found = if ids.is_empty() { Vec::new() } else { self.store.read(&ids).await.unwrap_or_default() };
            for (session, found) in open.into_iter().zip(found) {
                if let Ok(found) = found {
                    session.is_at(found);
                }
            }
            self.open.store(self.sessions.iter().filter(|session| session.open).count(), Ordering::Relaxed);
            acknowledged.fetch_add(written, Ordering::Relaxed);
            if written == 0 || unknown > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        self.sessions
    }
}

impl Loaded {
    fn step(&self) -> ConditionalWrite {
        let next = self.session.as_ref().map_or_else(fresh, |session| linked(session, "identifier-5b7e"));
        change(&self.id, self.session.as_ref(), &next)
    }

    /// What was read is as good as what was written: it must not be taken back either.
    fn is_at(&mut self, found: Option<AnySession>) {
        let revision = found.as_ref().map(AnySession::revision);
        assert!(revision >= self.told, "{:?} was told, and {revision:?} is found", self.told);
        (self.session, self.told, self.open) = (found, revision, false);
    }
}
