//! The two sides that `load.sh` compares: links over HTTP, and the same two statements bare on SQLite.
//!
//! ```text
//! load http ADDRESS TOKEN CLIENTS SECONDS
//! load sqlite FILE SECONDS
//! ```
//!
//! Both change sessions `load-1` to `load-10000`, or as many as the variable `SESSIONS` says, picked at random. With
//! `ORDER=started`, `http` links one after the other, as sessions are linked that were started one after the other. Both print
//! one line: accepted links a second, then the latency's median, 95th and 99th percentile and greatest, in milliseconds. A
//! client that is told to come again later does so. If there were any, two more figures follow: how often that was a
//! second, and the greatest time until it was said.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How many sessions there are, if `SESSIONS` does not say.
const SESSIONS: u64 = 10_000;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let sessions = std::env::var("SESSIONS").map_or(Ok(SESSIONS), |sessions| sessions.parse())?;
    let (seconds, seen) = match arguments[..] {
        ["http", address, token, clients, seconds] => {
            let end = Instant::now() + Duration::from_secs(seconds.parse()?);
            (seconds, http(address, token, clients.parse()?, sessions, end).await?)
        }
        ["sqlite", file, seconds] => {
            let end = Instant::now() + Duration::from_secs(seconds.parse()?);
            (seconds, Seen { accepted: sqlite(file, sessions, end)?, refused: Vec::new() })
        }
        _ => return Err("load http ADDRESS TOKEN CLIENTS SECONDS | load sqlite FILE SECONDS".into()),
    };
    report(seen, seconds.parse()?);
    Ok(())
}

/// How long the answers took.
#[derive(Default)]
struct Seen {
    accepted: Vec<Duration>,
    refused: Vec<Duration>,
}

async fn http(address: &str, token: &str, clients: u64, sessions: u64, end: Instant) -> Outcome<Seen> {
    let mut running = JoinSet::new();
    let started = std::env::var("ORDER").is_ok_and(|order| order == "started");
    let next = started.then(|| Arc::new(AtomicU64::new(0)));
    for client in 0..clients {
        let pick = Pick { sessions, next: next.clone(), random: Random(client) };
        running.spawn(link_until(end, address.to_owned(), token.to_owned(), pick));
    }
    let mut all = Seen::default();
    for client in running.join_all().await {
        let Seen { accepted, refused } = client?;
        all.accepted.extend(accepted);
        all.refused.extend(refused);
    }
    Ok(all)
}

/// Which session is linked next.
struct Pick {
    sessions: u64,
    /// All clients take the next from here; None: at random.
    next: Option<Arc<AtomicU64>>,
    random: Random,
}

impl Pick {
    fn session(&mut self) -> u64 {
        let next = self.next.as_ref().map(|next| next.fetch_add(1, Ordering::Relaxed));
        next.unwrap_or_else(|| self.random.next()) % self.sessions + 1
    }
}

/// As bare as a client can be, so that the two cores go to the server and its database.
async fn link_until(end: Instant, address: String, token: String, mut pick: Pick) -> Outcome<Seen> {
    let mut stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let (mut answers, mut reply) = (Seen::default(), [0; 1024]);
    while Instant::now() < end {
        let body = format!(
            r#"{{"identifier":"person-{}","name":"John Doe","email":"johndoe@example.com"}}"#,
            pick.random.next()
        );
        let request = format!(
            "POST /apps/api/v1/chats/load-{}/end_user HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            pick.session(),
            body.len()
        );
        let started = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        let mut length = 0;
        while !reply[..length].ends_with(b"}") {
            match stream.read(&mut reply[length..]).await? {
                0 => return Err("the server broke off".into()),
                read => length += read,
            }
        }
        if reply.starts_with(b"HTTP/1.1 202 ") {
            answers.accepted.push(started.elapsed());
        } else if reply.starts_with(b"HTTP/1.1 503 ") {
            answers.refused.push(started.elapsed());
            // As its `Retry-After` says.
            sleep(Duration::from_secs(1)).await;
        } else {
            return Err(String::from_utf8_lossy(&reply[..length]).into());
        }
    }
    Ok(answers)
}

fn sqlite(file: &str, sessions: u64, end: Instant) -> Outcome<Vec<Duration>> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let (mut random, mut latencies) = (Random(0), Vec::new());
    while Instant::now() < end {
        let started = Instant::now();
        change(&connection, &format!("load-{}", random.next() % sessions + 1))?;
        latencies.push(started.elapsed());
    }
    Ok(latencies)
}

fn change(connection: &Connection, id: &str) -> Outcome<()> {
    let mut select = connection.prepare_cached("SELECT revision, record FROM sessions WHERE id = ?1")?;
    let (revision, record): (i64, String) = select.query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let record = record.replace(&format!(r#""revision":{revision}"#), &format!(r#""revision":{}"#, revision + 1));
    let update = "UPDATE sessions SET revision = ?1, record = ?2 WHERE id = ?3 AND revision = ?4";
    let changed = connection.prepare_cached(update)?.execute((revision + 1, record, id, revision))?;
    if changed == 1 { Ok(()) } else { Err("no row was changed".into()) }
}

fn report(Seen { accepted: mut latencies, refused }: Seen, seconds: f64) {
    latencies.sort();
    let at = |share: usize| {
        latencies.get((latencies.len() * share / 1000).min(latencies.len() - 1)).unwrap().as_secs_f64() * 1e3
    };
    let rate = |answers: &[Duration]| f64::from(u32::try_from(answers.len()).unwrap()) / seconds;
    print!("{:.0} {:.2} {:.2} {:.2} {:.2}", rate(&latencies), at(500), at(950), at(990), at(1000));
    if let Some(slowest) = refused.iter().max() {
        print!(" {:.0} {:.2}", rate(&refused), slowest.as_secs_f64() * 1e3);
    }
    println!();
}

/// Knuth's generator, more than enough to pick sessions.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}
