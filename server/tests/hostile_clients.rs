//! What brought the server down once: clients that take too much, and a machine that does not help.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::harness::{Server, Site, TOKEN, command, post, required, send};

const LIVE: &str = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
/// Longer than anything here takes on a busy machine.
const LONG: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_read_are_given_up_and_keep_no_one_out() {
    let site = Site::sqlite();
    let server = site.server_with("30s", &["--max-connections", "8", "--write-timeout", "1s"]);
    let mut deaf = JoinSet::new();
    for _ in 0..8 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(server.address.parse().unwrap()).await.unwrap();
        let many =
            format!("GET /openapi.json HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n").repeat(100);
        deaf.spawn(async move { while stream.write_all(many.as_bytes()).await.is_ok() {} });
    }
    let given_up = async { while deaf.join_next().await.is_some() {} };
    timeout(LONG, given_up).await.expect("the server gives up clients that do not read");
    let reply = timeout(LONG, send(&server.address, LIVE)).await.expect("others are served");
    assert_eq!(reply.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_cap_wait_and_take_no_descriptors() {
    let site = Site::sqlite();
    let server = site.server_with("30s", &["--max-connections", "10"]);
    let before = server.sockets();
    let mut idle = Vec::new();
    for _ in 0..60 {
        idle.push(TcpStream::connect(&server.address).await.unwrap());
    }
    until("ten are taken", || server.sockets() >= before + 10).await;
    assert!(timeout(Duration::from_millis(500), send(&server.address, LIVE)).await.is_err(), "one more was taken");
    assert!(server.sockets() <= before + 10, "{} sockets, {before} before", server.sockets());
    drop(idle);
    let reply = timeout(LONG, send(&server.address, LIVE)).await.expect("it is served once there is room");
    assert_eq!(reply.status, 200);
    until("the descriptors are closed", || server.sockets() <= before + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_limited_to_16_kb_and_what_is_no_http_is_refused_by_hyper() {
    let site = Site::sqlite();
    let server = site.server("30s");
    let head = |filler: usize| format!("GET /livez HTTP/1.1\r\nhost: x\r\nx-filler: {}\r\n", "a".repeat(filler));
    assert_eq!(send(&server.address, head(15_000) + "\r\n").await.status, 200);
    for (request, status) in [
        (head(16_384), 431),
        (head(10) + &"x: y\r\n".repeat(200) + "\r\n", 431),
        ("marker\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nhost : x\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(), 400),
    ] {
        let reply = send(&server.address, &request).await;
        let start: String = request.chars().take(60).collect();
        assert_eq!((reply.status, reply.body.as_str()), (status, ""), "{start}");
        assert!(!reply.text().contains("marker"), "{start}");
    }

    let before = server.resident();
    let mut unfinished = JoinSet::new();
    for _ in 0..200 {
        let (address, request) = (server.address.clone(), head(390_000));
        unfinished.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // It is refused on the way.
            let _ = stream.write_all(request.as_bytes()).await;
            stream
        });
    }
    let streams = unfinished.join_all().await;
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 20 * 1024, "{} connections took {grown} KiB", streams.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_no_one_reads_holds_up_no_request_and_no_stop() {
    let site = Site::sqlite();
    let mut child = command()
        .args(["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--token", TOKEN])
        .args(["--database-url", &site.url()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening on http://").unwrap().to_owned();
    // The pipe holds 64 KiB, and the server itself 16,384 lines.
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let address = address.clone();
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            for _ in 0..100 {
                stream.write_all(LIVE.repeat(60).as_bytes()).await.unwrap();
                let mut answers = 0;
                let mut bytes = vec![0; 64 * 1024];
                while answers < 60 {
                    let read = stream.read(&mut bytes).await.unwrap();
                    assert!(read > 0, "the server broke off");
                    // Each answer ends with its body, and no answer is cut in the middle of this word for long.
                    answers += String::from_utf8_lossy(&bytes[..read]).matches("\"ok\"}").count();
                }
            }
        });
    }
    timeout(LONG, clients.join_all()).await.expect("requests do not wait for the log's reader");

    let started = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    until("it stops", || child.try_wait().unwrap().is_some()).await;
    assert!(started.elapsed() < Duration::from_secs(20));
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.lines().count() < 24_000, "no line was dropped: this test has shown nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_is_whether_writing_works_on_sqlite() {
    let site = Site::sqlite();
    let server = site.server("30s");
    ready(&server, 200).await;

    let other_writer = site.sqlite_file();
    other_writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    ready(&server, 503).await;
    other_writer.execute_batch("ROLLBACK").unwrap();
    ready(&server, 200).await;

    // As a full disk or a read-only file would: reads go on.
    let refuse = "CREATE TRIGGER full BEFORE UPDATE ON sessions BEGIN SELECT RAISE(FAIL, 'full'); END";
    site.execute(refuse).await;
    ready(&server, 503).await;
    site.execute("DROP TRIGGER full").await;
    ready(&server, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_is_whether_writing_works_on_postgres() {
    let Some(site) = Site::postgres() else { return };
    let server = site.server("30s");
    ready(&server, 200).await;
    site.execute("ALTER TABLE sessions RENAME TO away").await;
    ready(&server, 503).await;
    site.execute("ALTER TABLE away RENAME TO sessions").await;
    ready(&server, 200).await;
}

/// A limit on the size of files stands for a full disk: with either, SQLite's write fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_turns_links_and_readiness_503_and_loses_nothing_that_was_answered() {
    let site = Site::sqlite();
    // A write over the limit also sends SIGXFSZ, which ends a process that does not take it.
    let server = site.server("0s");
    let client = server.client();
    let id = client.start_chat().await;
    server.limit_files("200000");
    let mut stored = Vec::new();
    loop {
        let identifier = format!("id-{}", stored.len());
        match client.link(&id, &identifier).await.0 {
            202 => stored.push(identifier),
            status => {
                assert_eq!(status, 503);
                break;
            }
        }
        assert!(stored.len() < 10_000, "no write failed");
    }
    ready(&server, 503).await;
    assert_eq!(client.link(&id, "too-late").await.0, 503);
    assert_eq!(client.chat(&id).await["end_user"]["identifier"], *stored.last().unwrap(), "reads go on");

    server.limit_files("unlimited");
    ready(&server, 200).await;
    assert_eq!(client.chat(&id).await["end_user"]["identifier"], *stored.last().unwrap());
    assert_eq!(client.link(&id, "id-after").await.0, 202);
}

/// Waits until it says so: an answer is good for a second. The process lives all the while.
async fn ready(server: &Server, expected: u16) {
    let started = Instant::now();
    loop {
        let mut statuses = Vec::new();
        for path in ["/readyz", "/livez"] {
            statuses.push(send(&server.address, format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await.status);
        }
        assert_eq!(statuses.pop(), Some(200));
        if statuses == [expected] {
            return;
        }
        assert!(started.elapsed() < LONG, "{statuses:?}, and not {expected}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_asks_for_readiness_makes_one_probe_a_second() {
    let site = Site::sqlite();
    let server = site.server("30s");
    let started = Instant::now();
    let mut crowd = JoinSet::new();
    for _ in 0..16 {
        let client = server.client();
        crowd.spawn(async move {
            for _ in 0..100 {
                assert_eq!(client.health().await, 200);
            }
        });
    }
    crowd.join_all().await;
    let written: i64 = site
        .sqlite_file()
        .query_row("SELECT revision FROM sessions WHERE id = 'probe:ready'", [], |row| row.get(0))
        .unwrap();
    assert!(
        written <= 1 + i64::try_from(started.elapsed().as_secs()).unwrap(),
        "{written} probes in {:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn links_of_clients_that_hang_up_are_finished_and_logged_on_sqlite() {
    let site = Site::sqlite();
    links_of_clients_that_hang_up_are_finished_and_logged(site.server("30s")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_of_clients_that_hang_up_are_finished_and_logged_on_postgres() {
    if let Some(site) = Site::postgres() {
        links_of_clients_that_hang_up_are_finished_and_logged(site.server("30s")).await;
    }
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread")]
async fn links_of_clients_that_hang_up_are_finished_and_logged_on_redis() {
    if crate::redis_harness::is_missing() {
        return;
    }
    let (redis, folder) = (crate::redis_harness::Process::durable(), tempfile::TempDir::new().unwrap());
    let server = Server::start(&redis.url(), "30s", &folder.path().join("log"));
    links_of_clients_that_hang_up_are_finished_and_logged(server).await;
}

/// Some close their sending half and wait, some close all, some reset the connection.
async fn links_of_clients_that_hang_up_are_finished_and_logged(server: Server) {
    let client = server.client();
    let mut ids = Vec::new();
    let mut clients = JoinSet::new();
    for number in 0..150 {
        let id = client.start_chat().await;
        let (address, path) = (server.address.clone(), format!("/apps/api/v1/chats/{id}/end_user"));
        ids.push(id);
        clients.spawn(async move {
            let request = post(&path, "content-type: application/json\r\n", br#"{"identifier":"id-1"}"#, false);
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&request).await.unwrap();
            match number % 3 {
                0 => {
                    stream.shutdown().await.unwrap();
                    let mut reply = String::new();
                    stream.read_to_string(&mut reply).await.unwrap();
                    assert!(reply.starts_with("HTTP/1.1 202 ") && reply.ends_with('}'), "{reply}");
                }
                1 => drop(stream),
                _ => {
                    sleep(Duration::from_micros(100 * number)).await;
                    stream.set_zero_linger().unwrap();
                }
            }
        });
    }
    clients.join_all().await;
    sleep(Duration::from_millis(500)).await;

    let mut linked = 0;
    for id in &ids {
        linked += usize::from(client.chat(id).await["revision"] == 1);
    }
    assert!(linked >= 100, "only {linked}: those that close without a reset are all taken up");
    assert_eq!(logged(&server, "first"), linked, "stored links, and lines of them");
}

fn logged(server: &Server, outcome: &str) -> usize {
    let log = server.log();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["outcome"] == outcome).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_read_in_one_way_and_a_doubled_slash_is_one_in_every_route() {
    let site = Site::sqlite();
    let server = site.server("30s");
    let id = server.client().start_chat().await;
    let ask = async |method: &str, path: String| {
        let body = if method == "POST" { r#"{"identifier":"id-1"}"# } else { "" };
        let request = post(&path, "content-type: application/json\r\n", body.as_bytes(), false);
        let request = String::from_utf8(request).unwrap().replacen("POST", method, 1);
        send(&server.address, request).await.status
    };
    let escaped = format!("%{:x}{}", id.as_bytes()[0], &id[1..]);
    for slashes in ["/", "//"] {
        let base = format!("{slashes}apps/api/v1/chats");
        for (method, rest, unknown, known) in [
            ("GET", "", 404, 200),
            ("POST", "/end_user", 404, 202),
            ("POST", "/end", 404, 200),
            ("DELETE", "/end_user", 404, 204),
        ] {
            assert_eq!(ask(method, format!("{base}/{escaped}{rest}")).await, unknown, "{method} {base} {rest}");
            // The session has ended by then.
            let known = if (method, slashes, rest) == ("POST", "//", "/end_user") { 400 } else { known };
            assert_eq!(ask(method, format!("{base}/{id}{rest}")).await, known, "{method} {base} {rest}");
        }
        assert_eq!(ask("POST", base).await, 201);
    }
    for reserved in ["end", "end_user", "chats"] {
        assert_eq!(ask("GET", format!("/apps/api/v1/chats/{reserved}")).await, 404);
    }
    assert_eq!(ask("GET", "///apps/api/v1/chats/x".to_owned()).await, 404);
    assert!(!server.log().contains("\"//apps"), "one route has one name");
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_does_not_end_it() {
    let site = Site::sqlite();
    let server = site.server("30s");
    server.hang_up();
    until("it is logged", || server.log().contains("SIGHUP")).await;
    assert_eq!(server.client().health().await, 200);
}

/// hyper panics on such a clock, so no client is let in. A connection that was open before ends by that panic, in its own
/// task. The process lives, and serves again when the clock is set.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_before_1970_lets_no_client_in_and_ends_nothing_but_open_connections() {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let faketime = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1")).find(|path| path.is_file());
    assert!(faketime.is_some() || !required(), "no libfaketime in /usr/lib (Debian: libfaketime)");
    let Some(faketime) = faketime else { return };
    let site = Site::sqlite();
    let file = site.folder.path().join("clock");
    let (preload, file_setting) =
        (format!("LD_PRELOAD={}", faketime.display()), format!("FAKETIME_TIMESTAMP_FILE={}", file.display()));
    let environment = ["env", &preload, &file_setting, "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"];

    // In one step: libfaketime shows the true time while the file is empty.
    let set = |moment: &str| {
        let next = site.folder.path().join("next-clock");
        std::fs::write(&next, moment).unwrap();
        std::fs::rename(&next, &file).unwrap();
    };
    set("@1960-02-03 04:05:06");
    let mut refused = Command::new("env");
    refused.args(&environment[1..]).arg(command().get_program()).args(["--token", TOKEN, "--listen", "127.0.0.1:0"]);
    let refused = refused.args(["--database-url", &site.url()]).output().unwrap();
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(stderr, "midsession-server: the machine's clock is before 1970: set it first\n");

    set("@2020-02-03 04:05:06");
    let server = site.server_as(&environment, "30s", &[]);
    let live = async || {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        let _ = stream.write_all(LIVE.as_bytes()).await;
        let mut reply = [0; 12];
        stream.read_exact(&mut reply).await.is_ok_and(|_| &reply == b"HTTP/1.1 200")
    };
    assert!(live().await);
    set("@1960-02-03 04:05:06");
    assert!(!live().await);
    set("@2020-02-03 04:05:06");
    assert!(live().await);
    let log = server.log();
    assert!(log.contains(r#""timestamp":"1960-02-0"#), "{log}");
    assert!(log.contains("the machine's clock is before 1970: no client is served"), "{log}");
    let panics: Vec<_> = log.lines().filter(|line| line.contains("panicked")).collect();
    assert!(panics.iter().all(|line| line.contains("httpdate")), "{panics:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_can_be_read_in_two_ways_are_refused() {
    let site = Site::sqlite();
    let server = site.server("30s");
    let id = server.client().start_chat().await;
    let path = format!("/apps/api/v1/chats/{id}/end_user");
    let (host, token) = ("host: x\r\n", format!("authorization: Bearer {TOKEN}\r\n"));
    let json = "content-type: application/json\r\n";
    for (headers, status, message) in [
        (format!("{token}{json}"), 400, "header is missing: host"),
        (format!("{host}{host}{token}{json}"), 400, "header is given twice: host"),
        (format!("{host}{token}{token}{json}"), 400, "header is given twice: authorization"),
        (format!("{host}{token}authorization: Bearer x\r\n{json}"), 400, "header is given twice: authorization"),
        (format!("{host}{token}{json}content-type: text/plain\r\n"), 400, "header is given twice: content-type"),
        (format!("{host}{token}{json}content-encoding: gzip\r\n"), 415, "content encoding must be identity"),
        (
            format!("{host}{token}{json}content-encoding: identity\r\ncontent-encoding: br\r\n"),
            415,
            "content encoding must be identity",
        ),
        (format!("{host}{token}{json}content-encoding: Identity\r\n"), 202, "accepted"),
    ] {
        let body = r#"{"identifier":"id-1"}"#;
        let request = format!("POST {path} HTTP/1.1\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
        let reply = send(&server.address, request).await;
        let expected = json!({ "message": message }).to_string();
        assert_eq!((reply.status, reply.body), (status, expected), "{headers}");
    }
    let old = format!("GET /apps/api/v1/chats/{id} HTTP/1.0\r\n{token}\r\n");
    assert_eq!(send(&server.address, old).await.status, 200, "HTTP/1.0 knows no host");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_and_unfinished_heads_have_times_of_their_own() {
    let site = Site::sqlite();
    let server = site.server_with("30s", &["--idle-timeout", "6s", "--head-timeout", "1s"]);
    // An unfinished head ends after a second, on a new connection and on one that was used.
    for first in ["", LIVE] {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        stream.write_all(first.as_bytes()).await.unwrap();
        if !first.is_empty() {
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
        }
        let started = Instant::now();
        stream.write_all(b"GET /livez HTTP/1.1\r\nho").await.unwrap();
        let ended = timeout(LONG, stream.read(&mut [0])).await.expect("it is cut");
        assert!(matches!(ended, Ok(0) | Err(_)));
        assert!(started.elapsed() >= Duration::from_millis(900));
    }
    // A connection that was idle for longer than that is still served, and is cut later.
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    for _ in 0..2 {
        stream.write_all(LIVE.as_bytes()).await.unwrap();
        assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
        sleep(Duration::from_secs(2)).await;
    }
    let started = Instant::now();
    assert_eq!(timeout(LONG, stream.read(&mut [0])).await.expect("it is cut").unwrap(), 0);
    assert!(started.elapsed() >= Duration::from_secs(3));

    let help = String::from_utf8(command().arg("--help").output().unwrap().stdout).unwrap();
    for (flag, default) in [("--idle-timeout", "75s"), ("--head-timeout", "10s"), ("--write-timeout", "10s")] {
        let (_, about) = help.split_once(flag).unwrap();
        assert!(about.split("  --").next().unwrap().contains(&format!("[default: {default}]")), "{help}");
    }
}

#[test]
fn short_tokens_and_impossible_caps_are_refused() {
    for (flags, reason) in [
        (["--token", "x"], "at least 16 characters"),
        (["--token", "fifteen-letters"], "at least 16 characters"),
        (["--max-connections", "0"], "--max-connections must be at least 1"),
        (["--max-connections", "99999999999"], "raise that limit"),
    ] {
        let refused = command().env("MIDSESSION_TOKEN", TOKEN).args(flags).output().unwrap();
        let stderr = String::from_utf8(refused.stderr).unwrap();
        assert!(stderr.contains(reason) && stderr.lines().count() == 1, "{stderr}");
        assert!(!stderr.contains("fifteen"), "{stderr}");
    }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < LONG, "not in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
