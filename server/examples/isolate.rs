//! The clients of `isolate.sh`.
//!
//! ```text
//! isolate links ADDRESS TOKEN CLIENTS RATE SECONDS FILE
//! isolate flood ADDRESS TOKEN CLIENTS links|reads FILE
//! ```
//!
//! FILE has ids of chats, one a line, which are picked at random.
//!
//! `links` are the healthy rest. All clients together ask for RATE links a second, whether or not they are answered, or with
//! a RATE of 0 each as soon as it is answered. Printed is how many were accepted within a second of the time that they were
//! due, a second. `flood` asks as fast as it is answered, whatever it is told, until it is killed. What it needs of the
//! processor is one core at most.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// An answer that takes longer is none.
const IN_TIME: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["links", address, token, clients, rate, seconds, file] => {
            let site = Site::new(address, token, file)?;
            println!("{:.0}", links(&site, clients.parse()?, rate.parse()?, seconds.parse()?).await?);
        }
        ["flood", address, token, clients, what, file] => {
            flood(&Site::new(address, token, file)?, clients.parse()?, what == "reads").await;
        }
        _ => return Err("isolate links ADDRESS TOKEN CLIENTS RATE SECONDS FILE | isolate flood ADDRESS TOKEN CLIENTS links|reads FILE".into()),
    }
    Ok(())
}

/// Who is asked, and for what.
struct Site {
    address: String,
    token: String,
    sessions: Vec<String>,
}

impl Site {
    fn new(address: &str, token: &str, file: &str) -> Outcome<Arc<Self>> {
        let sessions: Vec<String> = std::fs::read_to_string(file)?.lines().map(str::to_owned).collect();
        if sessions.is_empty() {
            return Err("the file has no session".into());
        }
        Ok(Arc::new(Self { address: address.to_owned(), token: token.to_owned(), sessions }))
    }

    fn request(&self, reads: bool, random: &mut Random) -> String {
        let Self { address, token, sessions } = self;
        let session = &sessions[random.below(sessions.len())];
        let head = format!("host: {address}\r\nauthorization: Bearer {token}\r\n");
        if reads {
            return format!("GET /apps/api/v1/chats/{session} HTTP/1.1\r\n{head}\r\n");
        }
        let body = format!(r#"{{"identifier":"person-{}"}}"#, random.below(1_000_000));
        let length = body.len();
        format!(
            "POST /apps/api/v1/chats/{session}/end_user HTTP/1.1\r\n{head}content-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
    }
}

/// The links that were accepted in time, a second.
async fn links(site: &Arc<Site>, clients: u32, rate: u32, seconds: u32) -> Outcome<f64> {
    let end = Instant::now() + Duration::from_secs(seconds.into());
    // Each client has its turn at another time.
    let every = if rate == 0 { Duration::ZERO } else { Duration::from_secs(1) * clients / rate };
    let mut running = JoinSet::new();
    for client in 0..clients {
        let first = Instant::now() + every * client / clients;
        running.spawn(link_until(end, site.clone(), first, every, client));
    }
    Ok(f64::from(running.join_all().await.into_iter().sum::<u32>()) / f64::from(seconds))
}

async fn link_until(end: Instant, site: Arc<Site>, mut due: Instant, every: Duration, seed: u32) -> u32 {
    let (mut random, mut client, mut in_time) = (Random(seed.into()), Client::default(), 0);
    loop {
        if every.is_zero() {
            due = Instant::now();
        }
        if due >= end {
            return in_time;
        }
        sleep_until(due).await;
        let request = site.request(false, &mut random);
        match timeout_at(due + IN_TIME, client.ask(&site.address, &request)).await {
            Ok(Ok(202)) => in_time += 1,
            Ok(Ok(_)) if every.is_zero() => sleep(IN_TIME).await,
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => client = Client::default(),
        }
        due += every;
    }
}

async fn flood(site: &Arc<Site>, clients: u32, reads: bool) {
    let mut running = JoinSet::new();
    for client in 0..clients {
        let site = site.clone();
        running.spawn(async move {
            let (mut random, mut client) = (Random(u64::from(client) + 1_000_000), Client::default());
            loop {
                if client.ask(&site.address, &site.request(reads, &mut random)).await.is_err() {
                    client = Client::default();
                    sleep(Duration::from_millis(10)).await;
                }
            }
        });
    }
    running.join_all().await;
}

/// A connection, once there is one.
#[derive(Default)]
struct Client(Option<TcpStream>);

impl Client {
    /// The status of the answer.
    async fn ask(&mut self, address: &str, request: &str) -> Outcome<u16> {
        let stream = match &mut self.0 {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                none.insert(stream)
            }
        };
        stream.write_all(request.as_bytes()).await?;
        let (mut reply, mut length) = ([0; 4096], 0);
        loop {
            length += match stream.read(&mut reply[length..]).await? {
                0 => return Err("the server broke off".into()),
                read => read,
            };
            if let Some((status, closes)) = whole(&reply[..length])? {
                if closes {
                    self.0 = None;
                }
                return Ok(status);
            }
        }
    }
}

/// The status of an answer that is there as a whole, and whether the connection ends with it.
fn whole(reply: &[u8]) -> Outcome<Option<(u16, bool)>> {
    let Some(head) = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&reply[..head])?;
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let length: usize = value("content-length:").map_or(Ok(0), str::parse)?;
    let status = text.get(9..12).ok_or("it is no HTTP")?.parse()?;
    Ok((reply.len() >= head + 4 + length).then(|| (status, value("connection:") == Some("close"))))
}

/// Knuth's generator, more than enough to pick sessions.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(1).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % bound
    }
}
