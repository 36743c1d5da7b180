use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::harness::{Reply, Server, Site, TOKEN, post, send};

const MARKER: &str = "marker-5d0e";
const LINK: &str = "/apps/api/v1/chats/42/end_user";

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_no_token_or_another_gets_no_further() {
    let (_site, server) = server();
    let attempts = [
        String::new(),
        "authorization: Bearer\r\n".to_owned(),
        "authorization: Bearer \r\n".to_owned(),
        format!("authorization: {TOKEN}\r\n"),
        format!("authorization: Basic {TOKEN}\r\n"),
        format!("authorization: Bearer {TOKEN}x\r\n"),
        format!("authorization: Bearer {}\r\n", &TOKEN[1..]),
        format!("authorization: Bearer {TOKEN} {TOKEN}\r\n"),
        format!("authorization: Bearer {}\r\n", TOKEN.to_uppercase()),
        format!("authorization: Bearer {MARKER}\u{e9}\r\n"),
        format!("x-authorization: Bearer {TOKEN}\r\n"),
    ];
    for path in [LINK, "/apps/api/v1/chats", "/apps/api/v1/calls/42", "/openapi.json", "/", "/nowhere", "/readyz/"] {
        for attempt in &attempts {
            let method = if attempt.is_empty() { "PUT" } else { "POST" };
            let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{attempt}\r\n");
            let reply = send(&server.address, request).await;
            assert_eq!((reply.status, reply.body.as_str()), (401, r#"{"message":"Unauthorized"}"#), "{path} {attempt}");
            assert_eq!((reply.header("www-authenticate"), reply.header("allow")), (Some("Bearer"), None), "{path}");
        }
    }
    let shown = format!("POST {LINK} HTTP/1.1\r\nhost: x\r\nAuthorization: bEARER  {TOKEN}\r\n\r\n");
    assert_eq!(
        send(&server.address, shown).await.status,
        400,
        "the scheme's case and the spaces after it do not matter"
    );
    assert_eq!(server.client().health().await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_methods_and_odd_paths_get_the_same_shape_of_reply() {
    let (_site, server) = server();
    let long = "a".repeat(256);
    let cases = [
        ("GET", "/apps/api/v1/chats", 405, Some("POST")),
        ("PUT", LINK, 405, Some("POST,DELETE")),
        ("GET", "/apps/api/v1/emails/42/end_user", 405, Some("POST,DELETE")),
        ("BREW", LINK, 405, Some("POST,DELETE")),
        ("DELETE", LINK, 404, None),
        ("DELETE", "/apps/api/v1/emails/42/end_user", 404, None),
        ("DELETE", "/apps/api/v1//42/end_user", 404, None),
        ("DELETE", "/apps/api/v1/chats/42", 405, Some("GET,HEAD")),
        ("PUT", "/apps/api/v1/chats/42", 405, Some("GET,HEAD")),
        ("GET", "/apps/api/v1/chats/42/end", 405, Some("POST")),
        ("POST", "/readyz", 405, Some("GET,HEAD")),
        ("GET", "/healthz", 404, None),
        ("POST", "/openapi.json", 405, Some("GET,HEAD")),
        ("OPTIONS", LINK, 405, Some("POST,DELETE")),
        ("POST", LINK, 400, None),
        ("POST", "//apps/api/v1/chats/42/end_user", 400, None),
        ("POST", "/apps/api/v1//42/end_user", 400, None),
        ("POST", "/apps/api/v1/chats/42/end_user?identifier=marker-5d0e", 400, None),
        ("POST", "/apps/api/v1/emails/42/end_user", 400, None),
        ("POST", "/apps/api/v1/chats//end_user", 404, None),
        ("POST", "/apps/api/v1/chats/4/2/end_user", 404, None),
        ("POST", "/apps/api/v1/chats/4%32/end_user", 404, None),
        ("POST", "/apps/api/v1/chats/42/end_user/", 404, None),
        ("POST", "///apps/api/v1/chats/42/end_user", 404, None),
        ("POST", "/apps/api/v1/chats/42/END_USER", 404, None),
        ("POST", "/apps/api/v1/emails", 404, None),
        ("POST", "/apps/api/v1/chats/", 404, None),
        ("GET", "/apps/api/v1/chats/%ff", 404, None),
        ("GET", "/apps/api/v1/chats/%00", 404, None),
        ("GET", "/apps/api/v1/chats/marker-5d0e%0d%0ax", 404, None),
        ("GET", "/apps/api/v1/chats/..%2f..%2freadyz", 404, None),
        ("GET", "/apps/api/v1/chats/'%20OR%201=1", 404, None),
        ("GET", "/marker-5d0e", 404, None),
        ("GET", "*", 404, None),
        ("GET", "http://marker-5d0e/apps/api/v1/chats/42", 404, None),
    ];
    let long = ("GET", format!("/apps/api/v1/chats/{long}"), 404, None);
    let cases = cases.map(|(method, path, status, allow)| (method, path.to_owned(), status, allow));
    for (method, path, status, allow) in cases.into_iter().chain([long]) {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
        let reply = send(&server.address, head).await;
        assert_eq!(reply.status, status, "{method} {path}");
        assert_eq!(reply.header("allow"), allow, "{method} {path}");
        assert_shape(&reply);
    }
    // hyper's own to refuse, before any route.
    for target in ["/\u{ff}", "/a b", ""] {
        let reply = send(&server.address, format!("GET {target}{MARKER} HTTP/1.1\r\n\r\n")).await;
        assert!([400, 401].contains(&reply.status) && !reply.text().contains(MARKER), "{}", reply.text());
    }
    assert_eq!(server.client().health().await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_cannot_be_judged_are_refused_at_the_door() {
    let (_site, server) = server();
    let json = "content-type: application/json\r\n";
    let largest = format!("{{{}}}", " ".repeat(16 * 1024 - 2));
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        (json, largest.clone().into(), 400, "param is missing or the value is empty: identifier"),
        (json, format!("{largest} ").into(), 413, "body is over 16 KiB"),
        (json, vec![b'['; 900 * 1024], 413, "body is over 16 KiB"),
        (json, vec![b'['; 8 * 1024], 400, "body is not valid JSON"),
        (
            json,
            [vec![b'['; 8 * 1024], vec![b']'; 8 * 1024]].concat(),
            400,
            "param is missing or the value is empty: identifier",
        ),
        (json, nested("other").into(), 400, "param is missing or the value is empty: identifier"),
        (json, nested("identifier").into(), 400, "param is invalid: identifier"),
        (json, b"{\"identifier\":\"\xff\"}".into(), 400, "body is not valid JSON"),
        (json, b"{\"identifier\":\"x\",\"other\":\"\xc3\x28\"}".into(), 400, "body is not valid JSON"),
        (json, br#"{"identifier":"\ud800"}"#.into(), 400, "body is not valid JSON"),
        (json, b"\xef\xbb\xbf{}".into(), 400, "body is not valid JSON"),
        (json, br#"{"identifier":"marker-5d0e"} x"#.into(), 400, "body is not valid JSON"),
        (json, br#"{"identifier":"marker-5d0e""#.into(), 400, "body is not valid JSON"),
        (json, br#"{"identifier":"a","identifier":"marker-5d0e"}"#.into(), 400, "body is not valid JSON"),
        (json, b"identifier=marker-5d0e".into(), 400, "body is not valid JSON"),
        (json, br#"["chat","marker-5d0e"]"#.into(), 400, "param is missing or the value is empty: identifier"),
        (json, b"".into(), 400, "param is missing or the value is empty: identifier"),
        ("", b"".into(), 400, "param is missing or the value is empty: identifier"),
        (json, br#"{"identifier":"marker-5d0e\u0000"}"#.into(), 400, "param is invalid: identifier"),
        (json, br#"{"identifier":"x","email":"marker-5d0e"}"#.into(), 400, "param is invalid: email"),
        ("content-type: Application/JSON; charset=utf-8\r\n", b"{\"identifier\":\"x\"}".into(), 404, "Not Found"),
        ("content-type: application/merge-patch+json\r\n", b"{\"identifier\":\"x\"}".into(), 404, "Not Found"),
        ("", b"{\"identifier\":\"x\"}".into(), 415, "content type must be application/json"),
        ("content-type: text/plain\r\n", b"{}".into(), 415, "content type must be application/json"),
        ("content-type: application/jsonp\r\n", b"{}".into(), 415, "content type must be application/json"),
        ("content-type: marker-5d0e\u{ff}\r\n", b"{}".into(), 415, "content type must be application/json"),
    ];
    for (content_type, body, status, message) in cases {
        for chunked in [false, true] {
            let reply = send(&server.address, post(LINK, content_type, &body, chunked)).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            let expected = format!(r#"{{"message":"{message}"}}"#);
            assert_eq!((reply.status, reply.body.as_str()), (status, expected.as_str()), "{content_type}{shown}");
            assert_shape(&reply);
        }
    }
    for (path, body, status) in [
        ("/apps/api/v1/chats", r#"{"crm":"unsupported"}"#, 201),
        ("/apps/api/v1/chats", r#"{"crm":null,"other":1}"#, 201),
        ("/apps/api/v1/chats", "null", 201),
        ("/apps/api/v1/chats", r#"["unsupported"]"#, 400),
        ("/apps/api/v1/chats", r#"{"crm":"marker-5d0e"}"#, 400),
        ("/apps/api/v1/chats", r#"{"crm":"supported","crm":"unsupported"}"#, 400),
        ("/apps/api/v1/chats", r#"{"crm"}"#, 400),
        ("/apps/api/v1/chats/42/end", r#"{"crm"}"#, 400),
        ("/apps/api/v1/chats/42/end", "[]", 404),
    ] {
        let reply = send(&server.address, post(path, json, body.as_bytes(), false)).await;
        assert_eq!(reply.status, status, "{path} {body}");
        assert_shape(&reply);
    }
    assert_eq!(server.client().health().await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_endless_clients_are_cut_off_while_others_are_served() {
    let (_site, server) = server();
    let head = format!("POST {LINK} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n");
    let started = Instant::now();
    let mut slow = JoinSet::new();
    for number in 0..300 {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        let (sent, dripped) = match number % 3 {
            0 => ("POST /apps".to_owned(), "x"),
            1 => (format!("{head}content-type: application/json\r\ncontent-length: 9000\r\n\r\n"), " "),
            _ => (format!("{head}content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"), "1\r\n \r\n"),
        };
        stream.write_all(sent.as_bytes()).await.unwrap();
        slow.spawn(async move {
            let (mut reader, mut writer) = stream.into_split();
            let drip = async {
                while writer.write_all(dripped.as_bytes()).await.is_ok() {
                    sleep(Duration::from_millis(500)).await;
                }
            };
            let mut reply = Vec::new();
            tokio::select! { _ = reader.read_to_end(&mut reply) => (), () = drip => () }
            (number % 3, String::from_utf8(reply).unwrap())
        });
    }
    while !slow.is_empty() {
        assert_eq!(server.client().health().await, 200);
        while let Some(joined) = slow.try_join_next() {
            let (kind, reply) = joined.unwrap();
            if kind > 0 {
                assert!(
                    reply.starts_with("HTTP/1.1 408 ") && reply.ends_with(r#"{"message":"Request Timeout"}"#),
                    "{reply}"
                );
            }
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{} clients hold on", slow.len());
        sleep(Duration::from_millis(100)).await;
    }

    let endless = head + "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    stream.write_all(endless.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let mut chunks = 0;
    while stream.write_all(chunk.as_bytes()).await.is_ok() {
        chunks += 1;
        assert!(chunks < 1000, "64 MiB and still reading");
    }
    assert_eq!(server.client().health().await, 200);
}

fn server() -> (Site, Server) {
    let site = Site::sqlite();
    let server = site.server("30s");
    (site, server)
}

/// As deep as the body's limit lets it be.
fn nested(field: &str) -> String {
    format!(r#"{{"{field}":{}1{}}}"#, r#"{"a":"#.repeat(2500), "}".repeat(2500))
}

/// JSON with a message, and without an echo.
#[track_caller]
fn assert_shape(reply: &Reply) {
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    assert!(body["message"].is_string() || reply.status == 201, "{body}");
    assert!(!reply.text().contains(MARKER), "an echo: {}", reply.text());
}
