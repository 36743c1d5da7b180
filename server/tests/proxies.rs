//! The configurations of the proxies in the docs, run before two servers.

use std::net::TcpListener as StdListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::harness::{Server, Site, TOKEN, command, required};

const CLIENTS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_in_a_rolling_restart_behind_nginx() {
    rolling_restart(Proxy::nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_in_a_rolling_restart_behind_haproxy() {
    rolling_restart(Proxy::haproxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_whose_answer_is_lost_is_not_sent_to_another_server_by_nginx() {
    lost_answer(Proxy::nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_whose_answer_is_lost_is_not_sent_to_another_server_by_haproxy() {
    lost_answer(Proxy::haproxy).await;
}

async fn rolling_restart(proxy: fn([&str; 2]) -> Option<Proxy>) {
    let Some(site) = Site::postgres() else { return };
    let addresses = [free_address(), free_address()];
    let mut servers: Vec<_> = addresses.iter().map(|address| Some(start(&site, address, 0))).collect();
    let Some(proxy) = proxy([&addresses[0], &addresses[1]]) else { return };
    proxy.answers().await;
    let (over, linked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(link_again_and_again(proxy.address.clone(), over.clone(), linked.clone())))
        .collect();
    for (number, address) in addresses.iter().enumerate() {
        // In the order that docs/proxies.md names: the next one only when the last one takes requests again.
        takes_links(servers[number].as_ref().unwrap()).await;
        let mut server = servers[number].take().unwrap();
        server.terminate();
        assert_eq!(tokio::task::spawn_blocking(move || server.exit_code()).await.unwrap(), Some(0));
        let server = servers[number].insert(start(&site, address, 1));
        takes_links(server).await;
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        assert_eq!(client.await.unwrap(), Ok(()), "after {} links", linked.load(Ordering::Relaxed));
    }
    assert!(linked.load(Ordering::Relaxed) > CLIENTS);
}

fn start(site: &Site, address: &str, restarts: usize) -> Server {
    let mut server = command();
    server.args(["--listen", address, "--token", TOKEN, "--database-url", &site.url()]);
    server.env("MIDSESSION_DRAIN", "5s");
    Server::spawn(server, &site.folder.path().join(format!("log-{address}-{restarts}")))
}

/// Until it has answered one that came through the proxy.
async fn takes_links(server: &Server) {
    let started = Instant::now();
    while !std::fs::read_to_string(&server.log).unwrap().contains("\"outcome\":\"first\"") {
        assert!(started.elapsed() < Duration::from_mins(1), "the proxy sends it nothing");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn link_again_and_again(
    address: String,
    over: Arc<AtomicBool>,
    linked: Arc<AtomicUsize>,
) -> Result<(), (u16, String)> {
    let http = reqwest::Client::new();
    let post = async |path: String, body: Value| {
        let request = http.post(format!("http://{address}/apps/api/v1/chats{path}")).bearer_auth(TOKEN).json(&body);
        let response = request.send().await.map_err(|error| (0, error.to_string()))?;
        Ok((response.status().as_u16(), response.text().await.map_err(|error| (0, error.to_string()))?))
    };
    while !over.load(Ordering::Relaxed) {
        let (status, body) = post(String::new(), json!({})).await?;
        if status != 201 {
            return Err((status, body));
        }
        let id = serde_json::from_str::<Value>(&body).unwrap()["id"].as_str().unwrap().to_owned();
        let (status, body) = post(format!("/{id}/end_user"), json!({ "identifier": "a" })).await?;
        if status != 202 {
            return Err((status, body));
        }
        linked.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Both servers take the request, and break off without an answer.
async fn lost_answer(proxy: fn([&str; 2]) -> Option<Proxy>) {
    let posts = Arc::new(AtomicUsize::new(0));
    let (first, second) = (broken_server(posts.clone()).await, broken_server(posts.clone()).await);
    let Some(proxy) = proxy([&first, &second]) else { return };
    proxy.answers().await;
    posts.store(0, Ordering::SeqCst);
    let request = reqwest::Client::new().post(format!("http://{}/apps/api/v1/chats/1/end_user", proxy.address));
    let status = request.json(&json!({ "identifier": "a" })).send().await.unwrap().status().as_u16();
    assert_eq!((status, posts.load(Ordering::SeqCst)), (502, 1));
}

async fn broken_server(posts: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let posts = posts.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let read = stream.read(&mut request).await.unwrap_or_default();
                if request[..read].starts_with(b"POST") {
                    posts.fetch_add(1, Ordering::SeqCst);
                } else if read > 0 {
                    let ready = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    let _ = stream.write_all(ready).await;
                }
            });
        }
    });
    address
}

/// A proxy before two servers. Ended when dropped.
struct Proxy {
    child: Child,
    address: String,
    _folder: TempDir,
}

impl Proxy {
    /// None where there is none.
    fn nginx(servers: [&str; 2]) -> Option<Self> {
        let run = |folder: &Path, file: &Path| {
            let mut nginx = Command::new("nginx");
            nginx.arg("-p").arg(folder).args(["-e", "error.log", "-g", "daemon off; pid nginx.pid;", "-c"]).arg(file);
            nginx
        };
        Self::start("nginx.conf", "listen 80", "listen ", servers, run)
    }

    fn haproxy(servers: [&str; 2]) -> Option<Self> {
        let run = |_: &Path, file: &Path| {
            let mut haproxy = Command::new("haproxy");
            haproxy.args(["-db", "-f"]).arg(file);
            haproxy
        };
        Self::start("haproxy.cfg", "bind :80", "bind ", servers, run)
    }

    fn start(
        name: &str,
        listens: &str,
        listen: &str,
        servers: [&str; 2],
        run: impl Fn(&Path, &Path) -> Command,
    ) -> Option<Self> {
        let (folder, address) = (TempDir::new().unwrap(), free_address());
        let mut text =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)).unwrap();
        for (from, to) in
            [("10.0.0.11:3000", servers[0]), ("10.0.0.12:3000", servers[1]), (listens, &format!("{listen}{address}"))]
        {
            assert_eq!(text.matches(from).count(), 1, "{from}");
            text = text.replace(from, to);
        }
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        let Ok(child) = run(folder.path(), &file).stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
            assert!(!required(), "neither nginx nor HAProxy may be missing (Debian: nginx-light, haproxy)");
            return None;
        };
        Some(Self { child, address, _folder: folder })
    }

    /// Waits until it sends requests on.
    async fn answers(&self) {
        let started = Instant::now();
        loop {
            if let Ok(mut stream) = TcpStream::connect(&self.address).await {
                let request = "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
                let mut reply = String::new();
                let _ = stream.write_all(request.as_bytes()).await;
                let _ = stream.read_to_string(&mut reply).await;
                if reply.starts_with("HTTP/1.1 200") {
                    return;
                }
            }
            assert!(started.elapsed() < Duration::from_secs(30), "the proxy does not answer");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // nginx has workers, which end with it when it is asked to.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// It was free a moment ago.
fn free_address() -> String {
    StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
