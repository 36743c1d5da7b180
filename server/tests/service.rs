use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Site, TOKEN, command, post, send};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_started_linked_shown_and_ended_over_http() {
    let site = Site::sqlite();
    let server = site.server("30s");
    let client = server.client();
    let id = client.start_chat().await;
    assert_eq!(client.link(&id, "id-1").await, (202, r#"{"message":"accepted"}"#.to_owned()));
    assert_eq!(client.link(&id, "id-1").await.0, 400);
    let shown = client.chat(&id).await;
    assert_eq!((&shown["state"], &shown["end_user"]), (&json!("active"), &json!({ "identifier": "id-1" })));

    let end = format!("chats/{id}/end");
    assert_eq!(client.post(&end.replace("chats", "calls"), json!({})).await.0, 404, "a chat is no call");
    for _ in 0..2 {
        assert_eq!(client.post(&end, json!({})).await, (200, r#"{"message":"ended"}"#.to_owned()));
    }
    assert_eq!(client.link(&id, "id-1").await, (400, r#"{"message":"Chat is already ended"}"#.to_owned()));
    assert_eq!(client.chat(&id).await["revision"], 2, "the second end changed nothing");

    let (_, unsupported) = client.post("calls", json!({ "crm": "unsupported" })).await;
    let id = serde_json::from_str::<Value>(&unsupported).unwrap()["id"].as_str().unwrap().to_owned();
    let refused = client.post(&format!("calls/{id}/end_user"), json!({ "identifier": "id-1" })).await;
    assert_eq!(refused, (400, r#"{"message":"Unsupported CRM request"}"#.to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_broken_json_is_told_from_one_with_wrong_data() {
    let site = Site::sqlite();
    let server = site.server("30s");
    let wrong = "body is invalid: it is an object with an optional crm, supported or unsupported";
    let broken = "body is not valid JSON";
    for (body, message) in [
        (r#"{"crm":"supp"#, broken),
        (r#"{"crm":supported}"#, broken),
        (r#"{"crm":"#, broken),
        (r#"{"crm":"supported""#, broken),
        (r#"{"crm":"supported"} x"#, broken),
        (r#"{"crm":"none"}"#, wrong),
        (r#"{"crm":7}"#, wrong),
        (r#"["supported"]"#, wrong),
    ] {
        let request = post("/apps/api/v1/chats", "content-type: application/json\r\n", body.as_bytes(), false);
        let reply = send(&server.address, request).await;
        assert_eq!((reply.status, reply.body), (400, format!(r#"{{"message":"{message}"}}"#)), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_user_of_a_session_is_erased_whether_it_is_active_has_ended_or_has_none() {
    let site = Site::sqlite();
    let server = site.server("30s");
    let client = server.client();
    let id = client.start_chat().await;
    let (chat, call) = (format!("chats/{id}"), format!("calls/{id}"));
    let erased = async |state: &str, revision: u64| {
        assert_eq!(client.erase(&chat).await, (204, String::new()));
        let erased = client.chat(&id).await;
        assert_eq!((erased.get("end_user"), erased.get("last_linked_at")), (None, None));
        assert_eq!((&erased["state"], &erased["revision"]), (&json!(state), &json!(revision)));
    };
    erased("active", 0).await;
    client.link(&id, "id-1").await;
    assert_eq!(client.erase(&call).await, (404, r#"{"message":"Not Found"}"#.to_owned()), "a chat is no call");
    assert_eq!(client.erase("chats/unknown").await.0, 404);
    assert!(client.chat(&id).await.get("end_user").is_some());
    for _ in 0..2 {
        erased("active", 2).await;
    }

    assert_eq!(client.link(&id, "id-1").await.0, 202, "it is anonymous again, and the interval is over");
    client.post(&format!("{chat}/end"), json!({})).await;
    for _ in 0..2 {
        erased("ended", 5).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_one_line_a_request_and_nothing_of_what_clients_sent() {
    let site = Site::sqlite();
    let mut server = site.server("0s");
    let client = server.client();
    let id = client.start_chat().await;
    let person = json!({
        "identifier": "marker-identifier", "name": "marker name", "email": "marker@example.com", "phone": "5550142",
    });
    for body in [&person, &person, &json!({ "identifier": "marker-identifier", "email": "marker" }), &json!("marker")] {
        client.post(&format!("chats/{id}/end_user?marker=1"), body.clone()).await;
        client.post("emails/marker/end_user", body.clone()).await;
        client.post("marker", body.clone()).await;
        client.post("chats", body.clone()).await;
    }
    let odd = "MARKER /marker HTTP/1.1\r\nhost: marker\r\nauthorization: Bearer marker\r\nx-request-id: marker\r\n\
               traceparent: marker\r\nuser-agent: marker\r\nconnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    stream.write_all(odd.as_bytes()).await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap();

    server.terminate();
    server.exit_code();
    let log = server.log();
    for secret in ["marker", "MARKER", "5550142", "example.com", TOKEN, id.as_str()] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lines: Vec<_> = lines.into_iter().filter(|line| line["message"] == "request").collect();
    assert_eq!(lines.len(), 18, "{log}");
    let linked = &lines[1];
    assert_eq!(linked["route"], "/apps/api/v1/{comm_type}/{session_id}/end_user");
    assert_eq!(
        (&linked["method"], &linked["status"], &linked["outcome"]),
        (&json!("POST"), &json!(202), &json!("first"))
    );
    assert!(linked["micros"].is_u64() && linked["request_id"].is_string(), "{linked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_finishes_what_is_in_flight() {
    let site = Site::sqlite();
    let mut server = site.server("30s");
    let id = server.client().start_chat().await;
    let body = r#"{"identifier":"id-1"}"#;
    let (first, rest) = body.split_at(7);
    let head = format!(
        "POST /apps/api/v1/chats/{id}/end_user HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{first}",
        body.len()
    );
    let mut in_flight = TcpStream::connect(&server.address).await.unwrap();
    in_flight.write_all(head.as_bytes()).await.unwrap();
    let mut idle = TcpStream::connect(&server.address).await.unwrap();
    // Its reply tells that the server has read the request before it.
    assert_eq!(server.client().health().await, 200);
    tokio::time::sleep(Duration::from_millis(200)).await;

    server.terminate();
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0, "an idle connection is closed at once");
    assert!(TcpStream::connect(&server.address).await.is_err(), "no new connections");
    in_flight.write_all(rest.as_bytes()).await.unwrap();
    let mut reply = String::new();
    in_flight.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 202 ") && reply.ends_with(r#"{"message":"accepted"}"#), "{reply}");
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn a_start_that_fails_says_why_in_one_line() {
    let site = Site::sqlite();
    let file = site.folder.path().join("no-database");
    std::fs::write(&file, "not a database, but long enough to be read as the header of one".repeat(9)).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let no_database = format!("sqlite://{}", file.display());
    let no_folder = format!("sqlite://{}/none/x.db", site.folder.path().display());
    let free = ["--listen", "127.0.0.1:0", "--token", "secret-token-8c1f7a"];
    for (flags, reason) in [
        (&["--listen", "127.0.0.1:0"][..], "no token"),
        (&["--token", ""], "no token"),
        (&["--token", "secret token"], "a token must be"),
        (&["--nonsense"], "unexpected argument"),
        (&["--interval", "half an hour"], "--interval"),
        (&["--scope", "all"], "--scope"),
        (&["--listen", "here"], "--listen"),
        (&["--token", "secret-token-8c1f7a", "--listen", &taken], "cannot listen on"),
        (&[&free[..], &["--database-url", "mysql://root:secret@127.0.0.1/x"]].concat(), "sqlite:// or postgres://"),
        (
            &[&free[..], &["--database-url", "postgres://root:secret@127.0.0.1:1/x?nonsense=1"]].concat(),
            "cannot open the database",
        ),
        (&[&free[..], &["--database-url", &no_database]].concat(), "cannot open the database"),
        (&[&free[..], &["--database-url", &no_folder]].concat(), "cannot open the database"),
    ] {
        let Output { status, stdout, stderr } = command().args(flags).output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(1), "{flags:?}");
        assert!(stdout.is_empty());
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(reason), "{flags:?}: {stderr}");
        assert!(!stderr.contains("secret"), "{stderr}");
    }
}

#[test]
fn help_does_not_show_the_environments_secrets() {
    let environment = [("MIDSESSION_TOKEN", "secret-1"), ("MIDSESSION_DATABASE_URL", "postgres://u:secret-2@h/d")];
    let help = command().envs(environment).arg("--help").output().unwrap();
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).unwrap();
    for flag in ["--listen", "--database-url", "--interval", "--scope", "--token"] {
        assert!(help.contains(flag), "{help}");
    }
    assert!(!help.contains("secret"), "{help}");
}

#[test]
fn a_schema_newer_than_the_server_is_left_alone() {
    let site = Site::sqlite();
    drop(site.server("30s"));
    site.sqlite_file().execute("INSERT INTO midsession_schema (version) VALUES (99)", ()).unwrap();
    let flags = ["--listen", "127.0.0.1:0", "--token", TOKEN, "--database-url", &site.url()];
    let refused = command().args(flags).output().unwrap();
    assert!(String::from_utf8(refused.stderr).unwrap().contains("newer than this server"));
}

#[test]
fn servers_that_start_at_once_agree_on_the_schema_on_postgres() {
    if let Some(site) = Site::postgres() {
        servers_that_start_at_once_agree_on_the_schema(&site);
    }
}

fn servers_that_start_at_once_agree_on_the_schema(site: &Site) {
    std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| site.server("30s"))).collect();
        for start in starts {
            start.join().expect("it started");
        }
    });
}
