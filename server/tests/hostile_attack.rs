//! An hour's attack in little time, and what it leaves behind: nothing.
//!
//! `MIDSESSION_HOSTILE_SECONDS` says how long it takes, `MIDSESSION_HOSTILE_SEED` which attack it is.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::harness::{Client, Server, Site, TOKEN, post, send};

/// The most connections to the database.
const POOL: usize = 16;
/// Memory that has not fallen for this long does not fall any more.
const SETTLED: Duration = Duration::from_secs(3);
const FLAGS: &[&str] = &["--metrics-listen", "127.0.0.1:0"];
const JSON: &str = "content-type: application/json\r\n";
const BODY: &str = r#"{"identifier":"id-1","name":"John Doe","email":"johndoe@example.com","phone":"123-456-7890"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_attack_leaves_nothing_behind_on_sqlite() {
    let site = Site::sqlite();
    an_attack_leaves_nothing_behind(site.server_with("0s", FLAGS)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attack_leaves_nothing_behind_on_postgres() {
    if let Some(site) = Site::postgres() {
        an_attack_leaves_nothing_behind(site.server_with("0s", FLAGS)).await;
        let database = site.cluster.as_ref().unwrap().connect().await;
        let count =
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let started = Instant::now();
        while database.query_one(count, &[]).await.unwrap().get::<_, i64>(0) > 0 {
            assert!(started.elapsed() < Duration::from_mins(1), "backends of a server that has ended");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread")]
async fn an_attack_leaves_nothing_behind_on_redis() {
    if crate::redis_harness::is_missing() {
        return;
    }
    let (redis, folder) = (crate::redis_harness::Process::durable(), tempfile::TempDir::new().unwrap());
    let server = Server::start_with(&redis.url(), "0s", &folder.path().join("log"), FLAGS);
    an_attack_leaves_nothing_behind(server).await;
}

async fn an_attack_leaves_nothing_behind(mut server: Server) {
    let seconds = setting("MIDSESSION_HOSTILE_SECONDS").unwrap_or(6);
    let seed = setting("MIDSESSION_HOSTILE_SEED").unwrap_or(20_261_124);
    println!("seed {seed}, {seconds} s");
    let mut attack = Attack::new(&server, seed).await;

    // Any use takes its threads, and the database's caches, and keeps them. So a smaller attack comes first.
    attack.run(&server, Duration::from_secs(seconds) / 3, 0).await;
    let before = Traces::settled(&server).await;
    attack.run(&server, Duration::from_secs(seconds) * 2 / 3, if seconds > 180 { 5000 } else { 200 }).await;
    let after = Traces::back(&server, &before).await;
    let (sent, honest_links) = (attack.sent(), attack.honest_links());
    println!("{sent} requests of attackers, {honest_links} honest links; {before:?}, then {after:?}");

    assert!(attack.honest_links() > 0);
    let mut stored = 0;
    for id in &attack.sessions {
        let chat = attack.client.chat(id).await;
        // A link's path that lost five bytes is that of an end, which is a revision too.
        let ends = u64::from(chat["state"] == "ended");
        stored += chat["revision"].as_u64().unwrap() - ends;
    }
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    let (links, unknown) = links_in_the_log(&server);
    println!("{stored} links, {links} lines of them, {unknown} of an unknown fate");
    // Only where the machine stood still for seconds is a fate unknown.
    assert!((links..=links + unknown).contains(&stored), "{stored} links, {links} lines and {unknown}");
}

/// The figures of docs/operation.md, "Sizing", which are those of a release build.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_takes_little_memory_and_gives_it_back() {
    let connections = setting("MIDSESSION_CONNECTIONS").unwrap_or(500);
    let site = Site::sqlite();
    let server = site.server_with("0s", FLAGS);
    let request = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    let unfinished = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx-filler: {}", "a".repeat(15_000));
    for (what, sent, answer, most) in [
        ("idle", "", false, 8 * 1024),
        ("answered", request, true, 24 * 1024),
        ("unfinished", &unfinished, false, 48 * 1024),
    ] {
        let before = Traces::settled(&server).await;
        let mut streams = Vec::new();
        for _ in 0..connections {
            let mut stream = TcpStream::connect(&server.address).await.unwrap();
            stream.write_all(sent.as_bytes()).await.unwrap();
            if answer {
                assert!(stream.read(&mut [0; 512]).await.unwrap() > 0);
            }
            streams.push(stream);
        }
        server.holds(streams.len()).await;
        // What came last is read by then.
        sleep(Duration::from_secs(1)).await;
        let each = server.resident().saturating_sub(before.resident) * 1024 / connections;
        println!("{what}: {each} bytes each of {connections} connections, beside {} KiB", before.resident);
        assert!(each < most, "{what}: {each} bytes a connection");
        drop(streams);
        Traces::back(&server, &before).await;
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

/// What a server holds.
#[derive(Debug)]
struct Traces {
    descriptors: usize,
    threads: usize,
    /// In KiB.
    resident: u64,
}

impl Traces {
    /// Once no connection and no command is left, and memory that is free has been given back.
    async fn settled(server: &Server) -> Self {
        let (started, mut lowest, mut fell) = (Instant::now(), u64::MAX, Instant::now());
        loop {
            let (idle, traces) = Self::now(server).await;
            if traces.resident < lowest {
                (lowest, fell) = (traces.resident, Instant::now());
            }
            if idle && fell.elapsed() > SETTLED {
                return Self { resident: lowest, ..traces };
            }
            assert!(started.elapsed() < Duration::from_mins(2), "{traces:?}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Once it is as it was `before`, but for the database's connections, which open as they are needed, and for a fifth
    /// of the memory.
    async fn back(server: &Server, before: &Self) -> Self {
        let started = Instant::now();
        loop {
            let (idle, traces) = Self::now(server).await;
            let as_before = traces.descriptors <= before.descriptors + POOL
                && traces.threads <= before.threads
                && traces.resident <= before.resident * 6 / 5;
            if idle && as_before {
                return traces;
            }
            assert!(started.elapsed() < Duration::from_mins(2), "{before:?}, then {traces:?}, idle: {idle}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Whether no connection and no command is left, and what there is.
    async fn now(server: &Server) -> (bool, Self) {
        let metrics = server.metrics().await;
        let idle =
            ["midsession_connections 0\n", "midsession_queue_length 0\n"].iter().all(|line| metrics.contains(line));
        let (descriptors, threads, resident) = (server.descriptors(), server.threads(), server.resident());
        (idle, Self { descriptors, threads, resident })
    }
}

/// The lines of links that were made, and of requests that were told that it is not known.
fn links_in_the_log(server: &Server) -> (u64, u64) {
    let (mut links, mut unknown) = (0, 0);
    for line in BufReader::new(File::open(&server.log).unwrap()).lines() {
        let line: Value = serde_json::from_str(&line.unwrap()).expect("a line of JSON");
        assert!(line["message"] != "panicked" && line["lines"].is_null(), "{line}");
        assert!(line["status"] != 500, "{line}");
        let is_link = ["first", "unchanged", "refreshed", "relinked"].iter().any(|change| line["outcome"] == *change);
        links += u64::from(is_link);
        let is_unknown = |cause: &str| cause.starts_with("whether the change was made is not known");
        unknown += u64::from(line["cause"].as_str().is_some_and(is_unknown));
    }
    (links, unknown)
}

struct Attack {
    client: Client,
    address: String,
    rng: Rng,
    /// All that can be linked. The first is the honest client's alone: a mutation may end any other.
    sessions: Vec<String>,
    sent: Arc<AtomicUsize>,
    honest_links: Arc<AtomicUsize>,
}

impl Attack {
    async fn new(server: &Server, seed: u64) -> Self {
        let client = server.client();
        let mut sessions = Vec::new();
        for _ in 0..21 {
            sessions.push(client.start_chat().await);
        }
        let (sent, honest_links) = (Arc::default(), Arc::default());
        Self { client, address: server.address.clone(), rng: Rng::with_seed(seed), sessions, sent, honest_links }
    }

    fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    fn honest_links(&self) -> usize {
        self.honest_links.load(Ordering::SeqCst)
    }

    async fn run(&mut self, server: &Server, time: Duration, idle_connections: usize) {
        let over = Arc::new(AtomicBool::new(false));
        let mut attackers = JoinSet::new();
        for number in 0..8 {
            let attacker = self.attacker(&over);
            match number % 4 {
                0 | 1 => attackers.spawn(attacker.mutants()),
                2 => attackers.spawn(attacker.hang_ups()),
                _ => attackers.spawn(attacker.drips()),
            };
        }
        for _ in 0..4 {
            attackers.spawn(self.attacker(&over).deaf());
        }
        attackers.spawn(honest(self.client.clone(), self.sessions[0].clone(), over.clone(), self.honest_links.clone()));
        let mut idle = Vec::new();
        for _ in 0..idle_connections {
            idle.push(TcpStream::connect(&self.address).await.unwrap());
        }
        server.holds(idle_connections).await;
        println!("{} KiB with {idle_connections} idle connections", server.resident());
        sleep(time).await;
        assert_eq!(send(&self.address, "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.status, 200);
        over.store(true, Ordering::SeqCst);
        drop(idle);
        attackers.join_all().await;
        self.client = self.client.renewed();
    }

    fn attacker(&mut self, over: &Arc<AtomicBool>) -> Attacker {
        let (address, sessions) = (self.address.clone(), self.sessions[1..].to_vec());
        Attacker { address, sessions, rng: self.rng.fork(), over: over.clone(), sent: self.sent.clone() }
    }
}

/// Links, and is answered, all the while.
async fn honest(client: Client, id: String, over: Arc<AtomicBool>, links: Arc<AtomicUsize>) {
    for number in 0.. {
        if over.load(Ordering::SeqCst) {
            break;
        }
        let (status, body) = timeout(Duration::from_secs(30), client.link(&id, &number.to_string())).await.unwrap();
        // On a machine that is too busy it may be told to come again, but in time.
        assert!([202, 503].contains(&status), "{body}");
        links.fetch_add(usize::from(status == 202), Ordering::SeqCst);
        sleep(Duration::from_millis(5)).await;
    }
}

struct Attacker {
    address: String,
    sessions: Vec<String>,
    rng: Rng,
    over: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
}

impl Attacker {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    async fn connect(&self) -> TcpStream {
        self.sent.fetch_add(1, Ordering::Relaxed);
        TcpStream::connect(&self.address).await.unwrap()
    }

    fn link(&mut self) -> Vec<u8> {
        let id = self.rng.choice(&self.sessions).unwrap();
        let chunked = self.rng.bool();
        post(&format!("/apps/api/v1/chats/{id}/end_user"), JSON, BODY.as_bytes(), chunked)
    }

    /// Requests that were changed at some places.
    async fn mutants(mut self) {
        while !self.is_over() {
            let mut request = match self.rng.u8(..4) {
                0 => format!("GET /livez HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n").into_bytes(),
                1 => post("/apps/api/v1/chats", JSON, br#"{"crm":"supported"}"#, false),
                _ => self.link(),
            };
            for _ in 0..self.rng.usize(0..4) {
                self.mutate(&mut request);
            }
            let mut stream = self.connect().await;
            let reply = async {
                stream.write_all(&request).await?;
                if self.rng.bool() {
                    stream.shutdown().await?;
                }
                let mut reply = vec![0; 4096];
                let read = stream.read(&mut reply).await?;
                reply.truncate(read);
                std::io::Result::Ok(reply)
            };
            // Some have no end, and some are cut off.
            if let Ok(Ok(reply)) = timeout(Duration::from_millis(200), reply).await
                && !reply.is_empty()
            {
                let reply = String::from_utf8_lossy(&reply).into_owned();
                assert!(reply.starts_with("HTTP/1."), "{reply}");
                assert!(!reply.contains("johndoe"), "an echo: {reply}");
            }
        }
    }

    fn mutate(&mut self, request: &mut Vec<u8>) {
        let at = self.rng.usize(0..=request.len());
        let end = (at + self.rng.usize(0..40)).min(request.len());
        match self.rng.u8(..6) {
            0 if at < request.len() => request[at] = self.rng.u8(..),
            1 => request.insert(at, self.rng.u8(..)),
            2 => drop(request.drain(at..end)),
            3 => {
                let copy = request[at..end].to_vec();
                request.splice(at..at, copy);
            }
            4 => request.truncate(at),
            _ => {
                let word: &[u8] = self.rng.choice(WORDS).unwrap();
                request.splice(at..at, word.iter().copied());
            }
        }
    }

    /// A request that ends after its first byte, after its second, and so on: closed, half-closed, or reset.
    async fn hang_ups(mut self) {
        while !self.is_over() {
            let request = self.link();
            for end in 0..=request.len() {
                if self.is_over() {
                    return;
                }
                let mut stream = self.connect().await;
                // The server may have refused it before its end.
                let _ = stream.write_all(&request[..end]).await;
                match self.rng.u8(..3) {
                    0 => drop(stream.shutdown().await),
                    1 => stream.set_zero_linger().unwrap(),
                    _ => (),
                }
                sleep(Duration::from_micros(self.rng.u64(..2000))).await;
            }
        }
    }

    /// Requests that come a byte at a time.
    async fn drips(mut self) {
        while !self.is_over() {
            let request = self.link();
            let mut stream = self.connect().await;
            for byte in request {
                if self.is_over() || stream.write_all(&[byte]).await.is_err() {
                    break;
                }
                sleep(Duration::from_millis(self.rng.u64(..10))).await;
            }
            let _ = timeout(Duration::from_millis(200), stream.read(&mut [0; 512])).await;
        }
    }

    /// Answers that no one reads, until the connection is given up.
    async fn deaf(self) {
        let many =
            format!("GET /openapi.json HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n").repeat(100);
        while !self.is_over() {
            let mut stream = self.connect().await;
            while !self.is_over() {
                let write = stream.write_all(many.as_bytes());
                if matches!(timeout(Duration::from_millis(500), write).await, Ok(Err(_))) {
                    break;
                }
            }
        }
    }
}

const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b" ",
    b"/",
    b"//",
    b"%30",
    b"..",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"\xff\xfe",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"content-length: 99999999999999999999\r\n",
    b"transfer-encoding: chunked\r\n",
    b"transfer-encoding: gzip\r\n",
    b"expect: 100-continue\r\n",
    b"connection: upgrade\r\nupgrade: h2c\r\n",
    b"content-encoding: gzip\r\n",
    b"host: y\r\n",
    b"{\"a\":",
    b"[[[[",
    b"\"\\ud800\"",
    b"1e999",
    b"null",
];
