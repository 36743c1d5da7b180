//! The server's binary, a throw-away PostgreSQL, and a client: what every test here starts from.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Two tests of an `async fn` of this name, which takes a [`Site`]: `name::on_sqlite` and `name::on_postgres`.
macro_rules! on_each_database {
    ($name:ident) => {
        mod $name {
            use crate::harness::Site;

            #[tokio::test(flavor = "multi_thread")]
            async fn on_sqlite() {
                super::$name(Site::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_postgres() {
                if let Some(site) = Site::postgres() {
                    super::$name(site).await;
                }
            }
        }
    };
}
pub(crate) use on_each_database;

pub const TOKEN: &str = "token-8c1f7a-4be0d923";

/// The server's binary, running. Killed when dropped.
pub struct Server {
    child: Child,
    pub address: String,
    pub log: PathBuf,
}

impl Server {
    pub fn start(database_url: &str, interval: &str, log: &Path) -> Self {
        Self::start_with(database_url, interval, log, &[])
    }

    /// With `flags` beside the usual ones.
    pub fn start_with(database_url: &str, interval: &str, log: &Path, flags: &[&str]) -> Self {
        let usual =
            ["--listen", "127.0.0.1:0", "--token", TOKEN, "--database-url", database_url, "--interval", interval];
        let mut command = command();
        command.args(usual).args(flags);
        Self::spawn(command, log)
    }

    /// `command` is the server's binary, or starts it.
    pub fn spawn(mut command: Command, log: &Path) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on http://");
        let address = address.unwrap_or_else(|| panic!("the server did not start: {}", read(log))).to_owned();
        Self { child, address, log: log.to_owned() }
    }

    pub fn client(&self) -> Client {
        Client { http: reqwest::Client::new(), base: format!("http://{}", self.address) }
    }

    /// What it has logged so far. It writes its lines a little after its answers, but in order: a request of our own tells
    /// that those before it are there.
    pub fn log(&self) -> String {
        if let Ok(mut stream) = std::net::TcpStream::connect(&self.address) {
            let id = uuid::Uuid::now_v7().to_string();
            let request = format!("GET / HTTP/1.1\r\nhost: x\r\nx-request-id: {id}\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(request.as_bytes());
            let asked = Instant::now();
            while !read(&self.log).contains(&id) {
                assert!(asked.elapsed() < Duration::from_secs(30), "the log stands still: {}", read(&self.log));
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        read(&self.log)
    }

    /// How much memory it holds, in KiB.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    /// How many files and sockets it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// How many sockets it has open. Files of the database come and go.
    pub fn sockets(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().flatten();
        open.filter(|file| std::fs::read_link(file.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:")))
            .count()
    }

    /// Waits until it has accepted so many connections: others wait in the kernel's queue.
    pub async fn holds(&self, connections: usize) {
        let started = Instant::now();
        while self.descriptors() < connections {
            assert!(started.elapsed() < Duration::from_secs(30), "it holds {} descriptors", self.descriptors());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().count()
    }

    pub fn has_thread(&self, name: &str) -> bool {
        has_thread(self.child.id(), name)
    }

    /// What `--metrics-listen` shows.
    pub async fn metrics(&self) -> String {
        reqwest::get(format!("http://{}/metrics", self.metrics_address())).await.unwrap().text().await.unwrap()
    }

    /// It is in the log.
    pub fn metrics_address(&self) -> String {
        let log = std::io::BufReader::new(std::fs::File::open(&self.log).unwrap());
        let mut lines = log.lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        lines.find_map(|line| line["address"].as_str().map(str::to_owned)).unwrap()
    }

    /// How large its files may become from now on, in bytes, or `unlimited`.
    pub fn limit_files(&self, bytes: &str) {
        run(Command::new("prlimit").args([
            "--pid",
            &self.child.id().to_string(),
            &format!("--fsize={bytes}:unlimited"),
        ]));
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        run(Command::new("kill").args(["-HUP", &self.child.id().to_string()]));
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn terminate(&self) {
        run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
    }

    /// The exit code, once it has stopped.
    pub fn exit_code(&mut self) -> Option<i32> {
        exit_code(&mut self.child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The exit code of a process that ends by itself. It is killed if it does not.
pub fn exit_code(child: &mut Child) -> Option<i32> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if started.elapsed() > Duration::from_mins(1) {
            child.kill().unwrap();
            panic!("it does not stop");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn has_thread(process: u32, name: &str) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    threads.into_iter().any(|thread| read(&thread.path().join("comm")).trim_end() == name)
}

/// The server's binary, with nothing of this environment's configuration.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midsession-server"));
    for flag in ["LISTEN", "DATABASE_URL", "INTERVAL", "SCOPE", "TOKEN", "TOKEN_FILE", "METRICS_LISTEN"] {
        command.env_remove(format!("MIDSESSION_{flag}"));
    }
    // No one balances a load here, but in the tests of the drain.
    command.env("MIDSESSION_DRAIN", "0s");
    command
}

/// Whether this run must leave nothing out for want of a program.
pub fn required() -> bool {
    std::env::var_os("MIDSESSION_TEST_ENGINES").is_some_and(|value| value == "required")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// A place for a test's files, and its database. What is started on it is to be dropped before it.
pub struct Site {
    pub folder: TempDir,
    pub cluster: Option<Cluster>,
}

impl Site {
    pub fn sqlite() -> Self {
        Self { folder: TempDir::new().unwrap(), cluster: None }
    }

    /// None, and one line to say so, where there is no PostgreSQL.
    pub fn postgres() -> Option<Self> {
        static LEFT_OUT: Once = Once::new();
        let cluster = Cluster::start();
        if cluster.is_none() {
            let required = std::env::var_os("MIDSESSION_TEST_POSTGRES").is_some_and(|value| value == "required");
            assert!(!required, "no initdb and pg_ctl on PATH or in /usr/lib/postgresql/*/bin");
            // Not by `eprintln!`, which the test runner keeps to itself.
            LEFT_OUT.call_once(|| {
                let line = "left out for want of PostgreSQL: the tests *_on_postgres; install it (Debian: apt-get install \
                            postgresql) and run them with cargo test -p midsession-server postgres\n";
                std::io::stderr().write_all(line.as_bytes()).unwrap();
            });
        }
        Some(Self { folder: TempDir::new().unwrap(), cluster: Some(cluster?) })
    }

    pub fn url(&self) -> String {
        match &self.cluster {
            Some(cluster) => cluster.url(),
            None => format!("sqlite://{}", self.sqlite_path().display()),
        }
    }

    pub fn server(&self, interval: &str) -> Server {
        Server::start(&self.url(), interval, &self.folder.path().join("log"))
    }

    /// With `flags` beside the usual ones.
    pub fn server_with(&self, interval: &str, flags: &[&str]) -> Server {
        self.server_as(&[], interval, flags)
    }

    /// Started by the command `wrapper`.
    pub fn server_as(&self, wrapper: &[&str], interval: &str, flags: &[&str]) -> Server {
        let binary = command();
        let mut server = match wrapper {
            [] => command(),
            [program, args @ ..] => {
                let mut server = Command::new(program);
                server.args(args).arg(binary.get_program());
                server
            }
        };
        server.args(["--listen", "127.0.0.1:0", "--token", TOKEN]);
        server.args(["--database-url", &self.url(), "--interval", interval]).args(flags);
        Server::spawn(server, &self.folder.path().join("log"))
    }

    /// Has the database itself keep each change of a session, in the order of the writes.
    pub async fn audit(&self) -> Audit<'_> {
        let statements: &[&str] = match &self.cluster {
            None => &[
                "CREATE TABLE audit (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, record TEXT)",
                "CREATE TRIGGER audit AFTER UPDATE ON sessions BEGIN
                 INSERT INTO audit (id, record) VALUES (new.id, new.record); END",
            ],
            Some(_) => &[
                "CREATE TABLE audit (seq BIGSERIAL PRIMARY KEY, id TEXT, record TEXT)",
                "CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO audit (id, record) VALUES (new.id, new.record); RETURN new; END $$",
                "CREATE TRIGGER audit AFTER UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION audit()",
            ],
        };
        for statement in statements {
            self.execute(statement).await;
        }
        Audit(self)
    }

    /// Past the server, on its database.
    pub async fn execute(&self, statement: &str) {
        match &self.cluster {
            None => self.sqlite_file().execute_batch(statement).unwrap(),
            Some(cluster) => cluster.connect().await.batch_execute(statement).await.unwrap(),
        }
    }

    pub fn sqlite_path(&self) -> PathBuf {
        self.folder.path().join("sessions.db")
    }

    /// Another process's view of the file.
    pub fn sqlite_file(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.sqlite_path()).unwrap();
        connection.busy_timeout(Duration::from_secs(30)).unwrap();
        connection
    }
}

pub struct Audit<'a>(&'a Site);

impl Audit<'_> {
    /// Every state a session was written in, the last last.
    pub async fn records(&self, id: &str) -> Vec<Value> {
        let records: Vec<String> = match &self.0.cluster {
            None => {
                let file = self.0.sqlite_file();
                let mut select = file.prepare("SELECT record FROM audit WHERE id = ?1 ORDER BY seq").unwrap();
                select.query_map([id], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
            }
            Some(cluster) => {
                let select = "SELECT record FROM audit WHERE id = $1 ORDER BY seq";
                let rows = cluster.connect().await.query(select, &[&id]).await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
        };
        records.iter().map(|record| serde_json::from_str(record).unwrap()).collect()
    }
}

/// A throw-away PostgreSQL on loopback, under a user without privileges. Stopped when dropped.
pub struct Cluster {
    programs: PathBuf,
    folder: TempDir,
    pub port: u16,
}

impl Cluster {
    fn start() -> Option<Self> {
        let programs = programs()?;
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let cluster = Self { programs, folder: TempDir::new().unwrap(), port };
        if is_root() {
            run(Command::new("chown").arg("nobody").arg(cluster.folder.path()));
        }
        let data = cluster.folder.path().join("data");
        let initdb =
            ["--username=midsession", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata"];
        run(cluster.program("initdb").args(initdb).arg(data));
        cluster.resume();
        Some(cluster)
    }

    pub fn url(&self) -> String {
        format!("postgres://midsession@127.0.0.1:{}/postgres", self.port)
    }

    pub async fn connect(&self) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Starts it, or starts it again.
    pub fn resume(&self) {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=100 -c fsync=off",
            self.port
        );
        let log = self.folder.path().join("log");
        run(self.control().args(["-w", "-o", &options, "-l"]).arg(log).arg("start").stdout(Stdio::null()));
    }

    pub fn stop(&self) {
        run(self.control().args(["-w", "-m", "fast", "stop"]));
    }

    fn control(&self) -> Command {
        let mut control = self.program("pg_ctl");
        control.arg("-D").arg(self.folder.path().join("data"));
        control
    }

    /// PostgreSQL refuses to run as root.
    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = Command::new(if is_root() { Path::new("setpriv") } else { &program });
        if is_root() {
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
        }
        command.current_dir(self.folder.path());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.control().args(["-m", "immediate", "stop"]).output();
    }
}

/// The folder of `initdb` and `pg_ctl`: on the path, or where Debian puts them.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders = std::env::split_paths(&path).chain(debian.map(|version| version.path().join("bin")));
    folders.find(|folder| ["initdb", "pg_ctl"].iter().all(|program| folder.join(program).is_file()))
}

pub fn is_root() -> bool {
    String::from_utf8(run(Command::new("id").arg("-u")).stdout).unwrap().trim() == "0"
}

/// A client that shows the token.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    /// The same, with connections of its own: those of the old one close.
    pub fn renewed(&self) -> Self {
        Self { http: reqwest::Client::new(), base: self.base.clone() }
    }

    /// Status and body; none if the server broke off.
    pub async fn try_post(&self, path: &str, body: Value) -> Option<(u16, String)> {
        let request = self.http.post(format!("{}/apps/api/v1/{path}", self.base)).bearer_auth(TOKEN).json(&body);
        let response = request.send().await.ok()?;
        Some((response.status().as_u16(), response.text().await.ok()?))
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, String) {
        self.try_post(path, body).await.expect("a whole answer")
    }

    pub async fn start_chat(&self) -> String {
        let (status, body) = self.post("chats", json!({})).await;
        assert_eq!(status, 201, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["id"].as_str().unwrap().to_owned()
    }

    pub async fn link(&self, id: &str, identifier: &str) -> (u16, String) {
        self.post(&format!("chats/{id}/end_user"), json!({ "identifier": identifier })).await
    }

    pub async fn chat(&self, id: &str) -> Value {
        let request = self.http.get(format!("{}/apps/api/v1/chats/{id}", self.base)).bearer_auth(TOKEN);
        request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }

    /// The status of `GET`.
    pub async fn get(&self, path: &str) -> u16 {
        let request = self.http.get(format!("{}/apps/api/v1/{path}", self.base)).bearer_auth(TOKEN);
        request.send().await.unwrap().status().as_u16()
    }

    /// Erases the end user of `chats/…` or `calls/…`.
    pub async fn erase(&self, session: &str) -> (u16, String) {
        self.delete(&format!("{session}/end_user")).await
    }

    pub async fn delete(&self, path: &str) -> (u16, String) {
        let request = self.http.delete(format!("{}/apps/api/v1/{path}", self.base)).bearer_auth(TOKEN);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub async fn health(&self) -> u16 {
        self.http.get(format!("{}/readyz", self.base)).send().await.unwrap().status().as_u16()
    }

    /// Waits for it to be healthy again.
    pub async fn recovered(&self) {
        let started = Instant::now();
        while self.health().await != 200 {
            assert!(started.elapsed() < Duration::from_secs(30), "no recovery in 30 s");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A request with a body, to be sent as it stands.
pub fn post(path: &str, content_type: &str, body: &[u8], chunked: bool) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n{content_type}");
    if chunked {
        let mut request = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
        for chunk in body.chunks(1000) {
            request.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
            request.extend([chunk, b"\r\n"].concat());
        }
        [request, b"0\r\n\r\n".into()].concat()
    } else {
        [format!("{head}content-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
    }
}

/// One reply, as it came.
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn text(&self) -> String {
        format!("{}{}", self.head, self.body)
    }

    /// What comes after the header's name, in lower case, and a colon.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Sends one request as it stands, and reads one reply of a known length.
pub async fn send(address: &str, request: impl AsRef<[u8]>) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_ref()).await.unwrap();
    // The answer to a HEAD names the length of a body that it leaves out.
    let has_body = !request.as_ref().starts_with(b"HEAD ");
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = format!("{head}\r\n");
            let length = head
                .split_once("content-length: ")
                .map_or(0, |(_, rest)| rest.lines().next().unwrap().parse().unwrap());
            if body.len() >= length || !has_body {
                let status = head[9..12].parse().unwrap();
                return Reply { status, body: body.to_owned(), head };
            }
        }
        let read = stream.read_buf(&mut bytes).await.unwrap();
        assert!(read > 0, "no whole reply: {text:?}");
    }
}
