//! Requests that two readers read in two ways, over a real socket: where one ends, which path it names, what its body says.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Site, TOKEN, post, send};

const LINK: &str = "/apps/api/v1/chats/42/end_user";
const JSON: &str = "content-type: application/json\r\n";
/// Behind a refused request, where another reader may see it.
const SMUGGLED: &str = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_two_readers_end_in_two_places_is_refused_before_the_token_and_the_body_and_is_the_last() {
    let site = Site::sqlite();
    let server = site.server("30s");
    let line = format!("POST {LINK} HTTP/1.1\r\nhost: x\r\n{JSON}");
    let two = r#"{"message":"length of the body is given twice"}"#;
    let coded = r#"{"message":"transfer encoding must be chunked alone"}"#;
    let feed = r#"{"message":"lines of a head must end with CRLF"}"#;
    let fragment = r#"{"message":"path must not have a fragment"}"#;
    let head = |fields: &str| format!("{line}{fields}\r\n");
    for (request, message) in [
        (head("content-length: 9\r\ntransfer-encoding: chunked\r\n"), two),
        (head("transfer-encoding: chunked\r\ncontent-length: 9\r\n"), two),
        (head("Content-Length: 9\r\nx: y\r\nTRANSFER-encoding:Chunked\r\n"), two),
        (head("content-length: 9\r\ncontent-length: 9\r\n"), two),
        (head("transfer-encoding: gzip, chunked\r\n"), coded),
        (head("transfer-encoding: chunked, chunked\r\n"), coded),
        (head("transfer-encoding: identity, chunked\r\n"), coded),
        (head("transfer-encoding: ,chunked\r\n"), coded),
        (head("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"), coded),
        (head("transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n"), coded),
        (head("content-length: 9\n"), feed),
        (head("").replace("\r\n", "\n"), feed),
        (format!("{line}\n"), feed),
        (format!("\n{}", head("")), feed),
        (format!("DELETE {LINK}#/../other HTTP/1.1\r\nhost: x\r\n\r\n"), fragment),
        ("GET /livez# HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), fragment),
        ("GET /livez?a#b HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), fragment),
    ] {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        stream.write_all(format!("{request}{SMUGGLED}").as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 400 ") && reply.ends_with(message), "{request}{reply}");
        assert_eq!(reply.matches("HTTP/1.1").count(), 1, "{request}{reply}");
        assert!(reply.contains("\r\nconnection: close\r\n"), "{request}{reply}");
    }
    // A long line, and one that comes byte by byte.
    let long = format!("x: {}\r\ntransfer-encoding:{}chunked\r\n", "y".repeat(1000), " ".repeat(300));
    assert_eq!(send(&server.address, head(&format!("{long}content-length: 9\r\n"))).await.status, 400);
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in head("content-length: 9\r\ntransfer-encoding: chunked\r\n").bytes() {
        stream.write_all(&[byte]).await.unwrap();
    }
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.ends_with(two), "{reply}");
    assert_eq!(server.log().matches(r#""outcome":"two_lengths""#).count(), 6, "each has its line");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_of_a_path_with_a_fragment_erases_nothing() {
    let site = Site::sqlite();
    let server = site.server("0s");
    let client = server.client();
    let id = client.start_chat().await;
    client.link(&id, "id-1").await;
    for path in [format!("{id}/end_user#/../other"), format!("{id}/end_user#")] {
        let request =
            format!("DELETE /apps/api/v1/chats/{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
        assert_eq!(send(&server.address, request).await.status, 400, "{path}");
    }
    assert_eq!(client.chat(&id).await["end_user"], json!({ "identifier": "id-1" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charset_other_than_utf_8_is_refused_before_the_token_and_the_body() {
    let site = Site::sqlite();
    let server = site.server("30s");
    for charset in ["utf-16", "UTF-16LE", "iso-8859-1", "\"utf-16\"", "utf-8; charset=utf-7", ""] {
        let head = format!(
            "POST {LINK} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json; charset={charset}\r\n\
             content-length: 99\r\n\r\n"
        );
        let reply = send(&server.address, head).await;
        assert_eq!((reply.status, &*reply.body), (415, r#"{"message":"charset must be utf-8"}"#), "{charset}");
    }
    for content_type in [
        "application/json;charset=UTF-8",
        "application/json ; Charset=utf-8",
        "application/json; a=b; charset=\"UTF-8\"",
        "application/merge-patch+json;charset=utf8",
    ] {
        let content_type = format!("content-type: {content_type}\r\n");
        let reply = send(&server.address, post(LINK, &content_type, br#"{"identifier":"x"}"#, false)).await;
        assert_eq!(reply.status, 404, "{content_type}{}", reply.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_body_of_any_content_type_is_no_body() {
    let site = Site::sqlite();
    let server = site.server("30s");
    let id = server.client().start_chat().await;
    let missing = r#"{"message":"param is missing or the value is empty: identifier"}"#;
    for content_type in ["application/octet-stream", "text/plain; charset=utf-16", "application/json", "nonsense"] {
        let content_type = format!("content-type: {content_type}\r\n");
        for chunked in [false, true] {
            // A chunked body may be there: then what is said of its charset counts.
            if chunked && content_type.contains("utf-16") {
                continue;
            }
            let ask = async |path: String| send(&server.address, post(&path, &content_type, b"", chunked)).await;
            assert_eq!(ask("/apps/api/v1/chats".to_owned()).await.status, 201, "{content_type}");
            assert_eq!(ask(format!("/apps/api/v1/chats/{id}/end")).await.status, 200, "{content_type}");
            let reply = ask(format!("/apps/api/v1/chats/{id}/end_user")).await;
            assert_eq!((reply.status, &*reply.body), (400, missing), "{content_type}");
        }
    }
}

/// Were one of them taken to end elsewhere, the answers behind it would be others.
#[tokio::test(flavor = "multi_thread")]
async fn requests_in_one_stream_are_told_apart_however_they_are_framed_and_cut() {
    let site = Site::sqlite();
    let server = site.server("30s");
    let body = br#"{"identifier":"x\n\r\n\r\nGET / HTTP/1.1"}"#;
    let (head, length) =
        (format!("POST {LINK} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n{JSON}"), body.len());
    let shown = str::from_utf8(body).unwrap();
    let requests = [
        (SMUGGLED.to_owned(), 200),
        (String::from_utf8(post(LINK, JSON, body, false)).unwrap(), 400),
        (String::from_utf8(post(LINK, JSON, body, true)).unwrap(), 400),
        (format!("{head}transfer-encoding: chunked\r\n\r\n{length:x};a=\"b\"\r\n{shown}\r\n0\r\nx: y\r\n\r\n"), 400),
        (format!("{head}transfer-encoding: chunked\r\n\r\n00{length:X} \t\r\n{shown}\r\n000\r\n\r\n"), 400),
        (format!("\r\n{head}content-length: 0\r\n\r\n"), 400),
        (format!("{head}expect: 100-continue\r\ncontent-length: 2\r\n\r\n{{}}"), 400),
    ];
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let chosen: Vec<_> = (0..12).map(|_| random.choice(&requests).unwrap()).collect();
        let stream: String = chosen.iter().map(|(request, _)| request.as_str()).collect();
        let expected: Vec<_> = chosen.iter().map(|(_, status)| status.to_string()).collect();
        let (mut reader, mut writer) = TcpStream::connect(&server.address).await.unwrap().into_split();
        let sent = tokio::spawn(async move {
            let mut rest = stream.as_bytes();
            while !rest.is_empty() {
                let (next, behind) = rest.split_at(random.usize(1..=rest.len().min(2000)));
                writer.write_all(next).await.unwrap();
                tokio::task::yield_now().await;
                rest = behind;
            }
            writer.shutdown().await.unwrap();
        });
        let mut replies = String::new();
        reader.read_to_string(&mut replies).await.unwrap();
        sent.await.unwrap();
        let statuses: Vec<_> = replies.split("HTTP/1.1 ").skip(1).map(|reply| &reply[..3]).collect();
        let statuses: Vec<_> = statuses.into_iter().filter(|status| *status != "100").collect();
        assert_eq!(statuses, expected, "seed {seed}");
    }
    for chunks in [
        "5\nabcde\r\n0\r\n\r\n",
        "5\r\nabcde\n0\r\n\r\n",
        "5\r\nabcde0\r\n\r\n",
        "-5\r\n",
        "0\r\nx: y\n\r\n",
        "5 5\r\n",
    ] {
        let request = format!("{head}transfer-encoding: chunked\r\n\r\n{chunks}{SMUGGLED}");
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 400 ") && !reply.contains("\"ok\""), "{chunks:?} {reply}");
    }
}
