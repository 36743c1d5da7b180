//! A server that is told to stop: who balances the load is told first, and no client is cut off.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::harness::{Server, Site, TOKEN, send};

const RESTARTS: usize = 10;
const CLIENTS: usize = 32;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_stop_says_so_before_it_closes() {
    let site = Site::sqlite();
    let mut server = site.server_with("30s", &["--drain", "3s"]);
    let mut open = TcpStream::connect(&server.address).await.unwrap();
    assert_eq!(ask(&mut open, "/readyz").await, (200, false));
    server.terminate();
    let asked = Instant::now();
    while send(&server.address, "GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await.status != 503 {
        assert!(asked.elapsed() < Duration::from_secs(3), "it never said that it stops");
    }
    assert_eq!(ask(&mut open, "/livez").await, (200, true), "a connection from before is answered, and told to close");
    let id = server.client().start_chat().await;
    assert_eq!(server.client().link(&id, "a").await.0, 202, "what still comes is served");
    assert_eq!(server.exit_code(), Some(0));
    assert_eq!(TcpStream::connect(&server.address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

/// Each client connects anew for each request, as fast as it can: the moments around the close are met again and again.
#[tokio::test(flavor = "multi_thread")]
async fn no_connection_that_was_accepted_is_reset_in_ten_restarts() {
    for _ in 0..RESTARTS {
        let site = Site::sqlite();
        let mut server = site.server_with("30s", &["--drain", "100ms"]);
        let (refused, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let client = connect_again_and_again(server.address.clone(), refused.clone(), answered.clone());
                tokio::spawn(client)
            })
            .collect();
        while answered.load(Ordering::Relaxed) < 10 * CLIENTS {
            sleep(Duration::from_millis(5)).await;
        }
        server.terminate();
        for client in clients {
            assert_eq!(client.await.unwrap(), Ok(()));
        }
        assert_eq!(server.exit_code(), Some(0));
    }
}

/// Until the server refuses a connection. An error is one of a connection that it had taken.
async fn connect_again_and_again(
    address: String,
    refused: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
) -> Result<(), String> {
    while !refused.load(Ordering::Relaxed) {
        let mut stream = match TcpStream::connect(&address).await {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                refused.store(true, Ordering::Relaxed);
                break;
            }
            Err(error) => return Err(format!("connecting: {error}")),
        };
        let request = "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.map_err(|error| format!("sending: {error}"))?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.map_err(|error| format!("reading: {error}"))?;
        if !reply.starts_with("HTTP/1.1 200") {
            return Err(format!("no answer: {reply:?}"));
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Another process holds the write lock for good, and requests may wait for a day: without a bound, the stop would, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_though_the_database_does_not_answer() {
    let site = Site::sqlite();
    let mut server = site.server_with("30s", &["--request-timeout", "1day", "--database-timeout", "12h"]);
    let id = server.client().start_chat().await;
    let holder = site.sqlite_file();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = link_and_wait(&server, &id).await;
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    assert!(server_log(&server).contains("gave up on requests in flight"));
    drop((waiting, holder));
}

fn server_log(server: &Server) -> String {
    std::fs::read_to_string(&server.log).unwrap()
}

/// A link that was sent, and is not answered.
async fn link_and_wait(server: &Server, id: &str) -> TcpStream {
    let body = r#"{"identifier":"a"}"#;
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    let head =
        format!("POST /apps/api/v1/chats/{id}/end_user HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n");
    let request = format!("{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    // The server takes up requests in the order of its connections: this one is behind.
    assert_eq!(send(&server.address, "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.status, 200);
    stream
}

/// The status of the answer, and whether it says that the connection closes.
async fn ask(stream: &mut TcpStream, path: &str) -> (u16, bool) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut bytes = [0; 4096];
    let read = stream.read(&mut bytes).await.unwrap();
    let reply = String::from_utf8_lossy(&bytes[..read]).into_owned();
    (reply[9..12].parse().unwrap(), reply.contains("connection: close"))
}
