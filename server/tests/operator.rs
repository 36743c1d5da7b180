//! What an operator looks for: metrics, tokens that rotate, a log to go by, and files to deploy with.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{Permissions, set_permissions, write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use midsession_server::metrics::NAMES;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::harness::{Server, Site, TOKEN, command, exit_code, has_thread, required, send};

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_what_was_answered_and_the_dashboard_asks_for_what_they_tell() {
    let site = Site::sqlite();
    let server = site.server_with("30s", &["--metrics-listen", "127.0.0.1:0"]);
    let client = server.client();
    let id = client.start_chat().await;
    for _ in 0..3 {
        client.link(&id, "marker-identifier").await;
    }
    assert_eq!(client.health().await, 200);
    assert_eq!(send(&server.address, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.status, 401);

    let text = server.metrics().await;
    let linked = r#"route="/apps/api/v1/{comm_type}/{session_id}/end_user""#;
    for (outcome, status, count) in [("first", 202, 1), ("duplicate", 400, 2)] {
        let line = text.lines().find(|line| line.contains(linked) && line.contains(&format!("outcome=\"{outcome}\"")));
        let line = line.unwrap_or_else(|| panic!("no {outcome} in {text}"));
        assert!(line.contains(&format!("status=\"{status}\"")) && line.ends_with(&format!("}} {count}")), "{line}");
    }
    assert!(text.contains("midsession_ready 1\n") && text.contains("engine=\"sqlite\""), "{text}");
    for secret in [&id, "marker", TOKEN] {
        assert!(!text.contains(secret), "{secret}");
    }

    let shown = labels(&text);
    assert_eq!(shown.keys().copied().collect::<BTreeSet<_>>(), NAMES.iter().copied().collect(), "what there is");
    let mut asked = BTreeSet::new();
    for query in queries() {
        let name = NAMES.iter().find(|name| query.contains(**name)).unwrap_or_else(|| panic!("{query}"));
        // The longest name that fits: one may begin as another does.
        let name = NAMES.iter().filter(|other| query.contains(**other)).max_by_key(|other| other.len()).unwrap_or(name);
        for label in asked_labels(&query) {
            assert!(shown[name].contains(label.as_str()), "{name} has no label {label}: {query}");
        }
        asked.insert(*name);
    }
    assert_eq!(asked, NAMES.iter().copied().collect(), "what the dashboard shows");
}

/// Each metric's labels, from its lines.
fn labels(text: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        let labels = labels.split("\",").filter_map(|label| Some(label.split_once("=\"")?.0));
        found.entry(base).or_default().extend(labels);
    }
    found
}

fn queries() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let queries: Vec<_> = targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect();
    assert!(queries.len() >= 10);
    queries
}

/// Those in `by (…)` and in `{…}`.
fn asked_labels(query: &str) -> Vec<String> {
    let groups = query.split("by (").skip(1).map(|rest| rest.split(')').next().unwrap().to_owned());
    let matchers = query.split('{').skip(1).map(|rest| rest.split('}').next().unwrap().to_owned());
    let matchers = matchers.flat_map(|matchers| {
        matchers.split(',').map(|matcher| matcher.split(['=', '!']).next().unwrap().to_owned()).collect::<Vec<_>>()
    });
    let labels = groups.flat_map(|group| group.split(',').map(str::to_owned).collect::<Vec<_>>()).chain(matchers);
    labels.map(|label| label.trim().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_rotate_by_a_file_and_sighup() {
    let site = Site::sqlite();
    let file = site.folder.path().join("tokens");
    write(&file, "first-token-3b1f9a20\n\n  second-token-77c0de1b \n").unwrap();
    set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let server = site.server_with("30s", &["--token-file", file.to_str().unwrap()]);
    for token in ["first-token-3b1f9a20", "second-token-77c0de1b", TOKEN] {
        assert_eq!(shows(&server, token).await, 200);
    }
    assert_eq!(shows(&server, "third-token-51d2e9f4").await, 401);

    write(&file, "second-token-77c0de1b\nthird-token-51d2e9f4\n").unwrap();
    server.hang_up();
    until("the new token is valid", async || shows(&server, "third-token-51d2e9f4").await == 200).await;
    assert_eq!(shows(&server, "first-token-3b1f9a20").await, 401);
    assert_eq!(shows(&server, "second-token-77c0de1b").await, 200);
    assert_eq!(shows(&server, TOKEN).await, 200, "the one that was given by itself stays");

    for (number, bad) in ["", "fourth-token-51d2e9f4\nshort\n", "a token with spaces in it\n"].into_iter().enumerate() {
        write(&file, bad).unwrap();
        server.hang_up();
        let refusals = async || server.log().matches("the tokens stay as they were").count() == number + 1;
        until("the file is refused", refusals).await;
        assert_eq!(shows(&server, "third-token-51d2e9f4").await, 200);
        assert_eq!(shows(&server, "fourth-token-51d2e9f4").await, 401);
    }
    assert!(server.log().contains("line 2 of the token file: a token must have at least 16 characters"));

    assert!(!server.log().contains("open to other users"));
    write(&file, "third-token-51d2e9f4\n").unwrap();
    set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    server.hang_up();
    until("it warns", async || server.log().contains("open to other users")).await;
    let log = server.log();
    assert!(!["first-token", "third-token", "short"].iter().any(|secret| log.contains(secret)), "{log}");
}

/// As on a mount that hangs: whoever opens a pipe waits until someone writes to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_file_that_blocks_holds_up_neither_a_request_nor_the_stop() {
    let site = Site::sqlite();
    let file = site.folder.path().join("tokens");
    write(&file, "first-token-3b1f9a20\n").unwrap();
    let mut server = site.server_with("30s", &["--token-file", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    make_pipe(&file);
    server.hang_up();
    until("it opens the file", async || server.has_thread("blocking")).await;
    let client = server.client();
    let id = client.start_chat().await;
    assert_eq!(client.link(&id, "id-1").await.0, 202);
    assert_eq!(shows(&server, "first-token-3b1f9a20").await, 200, "the tokens stay as they were");

    write(&file, "second-token-77c0de1b\n").unwrap();
    until("the new token is valid", async || shows(&server, "second-token-77c0de1b").await == 200).await;
    assert_eq!(shows(&server, "first-token-3b1f9a20").await, 401);

    server.hang_up();
    until("it opens the file again", async || server.has_thread("blocking")).await;
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_file_that_blocks_for_good_is_given_up_and_the_next_one_is_read() {
    let site = Site::sqlite();
    let file = site.folder.path().join("tokens");
    write(&file, "first-token-3b1f9a20\n").unwrap();
    let server = site.server_with("30s", &["--token-file", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    make_pipe(&file);
    server.hang_up();
    let late = "the token file was not read in time: is it on a mount that hangs, or a pipe?";
    until("it is given up", async || server.log().contains(late)).await;
    assert_eq!(shows(&server, "first-token-3b1f9a20").await, 200);

    std::fs::remove_file(&file).unwrap();
    write(&file, "second-token-77c0de1b\n").unwrap();
    server.hang_up();
    until("the new token is valid", async || shows(&server, "second-token-77c0de1b").await == 200).await;
}

#[test]
fn a_start_whose_files_block_stops_when_it_is_told() {
    let site = Site::sqlite();
    let pipe = site.folder.path().join("pipe");
    make_pipe(&pipe);
    let pipe = pipe.to_str().unwrap();
    let roots = format!("postgres://h/db?sslmode=verify-full&sslrootcert={pipe}");
    for arguments in [["--token-file", pipe], ["--database-url", &roots]] {
        let mut start = command();
        start.args(arguments).args(["--token", TOKEN, "--listen", "127.0.0.1:0"]);
        let mut server = start.spawn().unwrap();
        crate::postgres_harness::until("it opens the file", || has_thread(server.id(), "blocking"));
        crate::postgres_harness::signal("TERM", &[server.id()]);
        assert_eq!(exit_code(&mut server), Some(0), "{arguments:?}");
    }
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

async fn shows(server: &Server, token: &str) -> u16 {
    let request = format!("GET /openapi.json HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
    send(&server.address, request).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_to_the_metrics_do_not_keep_prometheus_out() {
    let site = Site::sqlite();
    let server = site.server_with("30s", &["--metrics-listen", "127.0.0.1:0"]);
    server.log();
    let address = server.metrics_address();
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TcpStream::connect(&address).await.unwrap());
    }
    let scraped = timeout(Duration::from_mins(1), server.metrics()).await.expect("it is its turn in time");
    assert!(scraped.contains("midsession_ready"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_of_start_and_stop_and_takes_over_ids() {
    let site = Site::sqlite();
    let mut server = site.server("30s");
    let (id, trace) = ("0195a1b2-0000-7000-8000-0123456789ab", "4bf92f3577b34da6a3ce929d0e0e4736");
    let request = format!(
        "GET /livez HTTP/1.1\r\nhost: x\r\nx-request-id: {id}\r\ntraceparent: 00-{trace}-00f067aa0ba902b7-01\r\n\r\n"
    );
    let reply = send(&server.address, request).await;
    assert_eq!(reply.header("x-request-id"), Some(id));
    // A session's id is in no log, whatever a client calls it.
    let session = server.client().start_chat().await;
    let simple = session.replace('-', "");
    for id in [&session, &simple] {
        let request = format!(
            "GET /livez HTTP/1.1\r\nhost: x\r\nx-request-id: {id}\r\ntraceparent: 00-{simple}-00f067aa0ba902b7-01\r\n\r\n"
        );
        assert_ne!(send(&server.address, request).await.header("x-request-id"), Some(id.as_str()));
    }
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));

    let log = server.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let started = &lines[0];
    assert_eq!((&started["message"], &started["engine"]), (&json!("started"), &json!("sqlite")));
    assert_eq!((&started["version"], &started["interval"]), (&json!(env!("CARGO_PKG_VERSION")), &json!("30s")));
    assert_eq!(lines.last().unwrap()["message"], "stopped");
    let asked = lines.iter().find(|line| line["request_id"] == id).unwrap();
    assert_eq!(asked["trace_id"], trace);
    assert!(!log.contains(&session) && !log.contains(&simple), "{log}");
    assert!(!log.contains(TOKEN) && !log.contains("sessions.db"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_by_its_exit_code_whether_the_server_lives_and_whether_it_is_ready() {
    let site = Site::sqlite();
    let mut server = site.server("30s");
    let port = server.address.rsplit(':').next().unwrap().to_owned();
    // A server on all addresses is asked on the machine's own.
    for listen in [server.address.clone(), format!("0.0.0.0:{port}")] {
        assert_eq!(health(&listen, &[]), (Some(0), String::new()));
        assert_eq!(health(&listen, &["/readyz"]), (Some(0), String::new()));
    }
    site.execute("ALTER TABLE sessions RENAME TO gone").await;
    // Readiness is asked for once a second.
    until("it is not ready", async || health(&server.address, &["/readyz"]).0 == Some(1)).await;
    assert_eq!(health(&server.address, &["/readyz"]).1, "midsession-server: /readyz is not well: HTTP/1.1 503\n");
    assert_eq!(health(&server.address, &["/livez"]).0, Some(0));
    server.kill();
    let (code, said) = health(&server.address, &[]);
    assert!(code == Some(1) && said.starts_with("midsession-server: /livez does not answer: "), "{said}");
    assert!(said.lines().count() == 1, "{said}");
}

#[test]
fn health_gives_up_a_server_that_hangs() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, said) = health(&listener.local_addr().unwrap().to_string(), &[]);
    assert!(code == Some(1) && said.starts_with("midsession-server: /livez does not answer: "), "{said}");
}

/// The exit code, and what it says.
fn health(listen: &str, path: &[&str]) -> (Option<i32>, String) {
    let asked = command().env("MIDSESSION_LISTEN", listen).arg("health").args(path).output().unwrap();
    assert!(asked.stdout.is_empty());
    (asked.status.code(), String::from_utf8(asked.stderr).unwrap())
}

#[test]
fn migrate_makes_the_schema_and_ends() {
    let site = Site::sqlite();
    let migrate = || command().args(["migrate", "--database-url", &site.url()]).output().unwrap();
    for _ in 0..2 {
        let migrated = migrate();
        assert!(
            migrated.status.success() && migrated.stdout.is_empty(),
            "{}",
            String::from_utf8_lossy(&migrated.stderr)
        );
    }
    let tables: i64 = site
        .sqlite_file()
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'sessions'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 1);
}

#[test]
fn the_systemd_unit_is_in_order() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        assert!(!required(), "no systemd-analyze on PATH");
        return;
    }
    let unit = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/midsession-server.service"));
    // Where this build is, since it also looks for the program.
    let installed = "/usr/local/bin/midsession-server";
    let unit = unit.unwrap();
    assert!(unit.contains(installed));
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("midsession-server.service");
    write(&path, unit.replace(installed, env!("CARGO_BIN_EXE_midsession-server"))).unwrap();
    let verified = Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    let said: Vec<_> = said.lines().filter(|line| line.contains("midsession-server")).collect();
    assert!(said.is_empty(), "{said:?}");
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < Duration::from_mins(1), "not in time: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}
