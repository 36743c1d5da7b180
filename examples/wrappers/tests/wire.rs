//! Each HTTP wrapper behind a real socket, and raw requests to it.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use midsession_wrappers::app::App;
use midsession_wrappers::{actix, axum, tower};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Copy, Debug)]
pub enum Wrapper {
    Axum,
    Actix,
    Tower,
}

pub const ALL: [Wrapper; 3] = [Wrapper::Axum, Wrapper::Actix, Wrapper::Tower];

impl Wrapper {
    /// Serves the wrapper on a free port, sends it one request as it stands, and answers the whole reply.
    pub async fn ask(self, app: &Arc<App>, request: Vec<u8>) -> Reply {
        if matches!(self, Self::Actix) {
            return ask_actix(app.clone(), request).await;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = app.clone();
        let serving = match self {
            Self::Axum => tokio::spawn(async move { ::axum::serve(listener, axum::router(app)).await.unwrap() }),
            _ => tokio::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let service = TowerToHyperService::new(tower::service(app));
                // A connection that ends badly shows in the reply.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            }),
        };
        let reply = send(address, request).await;
        serving.abort();
        reply
    }
}

async fn ask_actix(app: Arc<App>, request: Vec<u8>) -> Reply {
    let server = actix_web::HttpServer::new(move || actix_web::App::new().configure(actix::configure(app.clone())));
    let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let stop = server.handle();
    let serving = tokio::spawn(server);
    let reply = send(address, request).await;
    stop.stop(false).await;
    serving.await.unwrap().unwrap();
    reply
}

/// One request, whose connection the server is asked to close.
pub fn request(method: &str, path: &str, content_type: Option<&str>, body: &str) -> Vec<u8> {
    let content_type = content_type.map(|value| format!("content-type: {value}\r\n")).unwrap_or_default();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\n{content_type}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A reply as it came, its head in lower case.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

async fn send(address: SocketAddr, request: Vec<u8>) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&request).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole reply: {text:?}"));
    Reply { status: head[9..12].parse().unwrap(), head: head.to_ascii_lowercase(), body: body.to_owned() }
}
