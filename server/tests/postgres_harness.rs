//! PostgreSQL servers, standbys and PgBouncer, started by the tests that need them.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use midsession::{CommType, DuplicatePolicy, EndUser, Session};
use midsession_server::{ConditionalWrite, Store, WriteOutcome};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio_postgres::{Client, NoTls};

/// A PostgreSQL server of the test's own, on loopback, under a user without privileges. Killed when dropped.
pub struct Cluster {
    programs: PathBuf,
    folder: TempDir,
    pub port: u16,
    settings: String,
}

/// How many commits wait for a standby.
pub const WAITING: &str = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";

/// None, and one line to say so, where a program is missing. With `MIDSESSION_TEST_ENGINES=required` that is a failure.
fn required<T>(found: Option<T>, what: &str) -> Option<T> {
    static LEFT_OUT: Once = Once::new();
    if found.is_none() {
        let is_required = |name| std::env::var_os(name).is_some_and(|value| value == "required");
        let required = is_required("MIDSESSION_TEST_ENGINES") || is_required("MIDSESSION_TEST_POSTGRES");
        assert!(!required, "{what} is not installed");
        // Not by `eprintln!`, which the test runner keeps to itself.
        LEFT_OUT.call_once(|| {
            let line = format!("left out for want of {what}: tests of the PostgreSQL engine\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        });
    }
    found
}

impl Cluster {
    /// With `settings` in `postgresql.conf`'s form, a line each.
    pub fn start(settings: &str) -> Option<Self> {
        let programs = required(programs(), "PostgreSQL (Debian: postgresql)")?;
        let cluster = Self { programs, folder: folder(), port: free_port(), settings: settings.to_owned() };
        let arguments = ["--username=midsession", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"];
        run(cluster.program("initdb").args(arguments).arg("--pgdata").arg(cluster.data()));
        cluster.configure();
        cluster.resume();
        Some(cluster)
    }

    /// A standby of this one, with a name for `synchronous_standby_names`.
    pub fn standby(&self, name: &str) -> Self {
        let programs = self.programs.clone();
        let standby = Self { programs, folder: folder(), port: free_port(), settings: self.settings.clone() };
        let from = format!("host=127.0.0.1 port={} user=midsession application_name={name}", self.port);
        let arguments = ["--write-recovery-conf", "--no-sync", "--checkpoint=fast", "--wal-method=stream", "--dbname"];
        run(standby.program("pg_basebackup").args(arguments).arg(from).arg("--pgdata").arg(standby.data()));
        standby.configure();
        standby.resume();
        standby
    }

    fn configure(&self) {
        let common = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = ''\nfsync = off\n\
             max_connections = 100\nmax_wal_senders = 4\nlogging_collector = off\n",
            self.port
        );
        let path = self.data().join("postgresql.conf");
        let file = std::fs::OpenOptions::new().append(true).open(path);
        file.unwrap().write_all(format!("\n{common}{}\n", self.settings).as_bytes()).unwrap();
    }

    /// The folder of PostgreSQL's programs.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Puts a file beside the database's own, readable by its user only.
    pub fn put(&self, name: &str, text: &str) {
        let path = self.data().join(name);
        std::fs::write(&path, text).unwrap();
        run(Command::new("chmod").arg("600").arg(&path));
        if is_root() {
            run(Command::new("chown").arg("nobody").arg(&path));
        }
    }

    /// Starts it, or starts it again.
    pub fn resume(&self) {
        let log = self.folder.path().join("log");
        run(self.control().args(["-w", "-l"]).arg(log).arg("start").stdout(Stdio::null()));
    }

    fn processes(&self) -> Vec<u32> {
        [vec![self.postmaster()], self.backends("")].concat()
    }

    /// SIGSTOP to all its processes.
    pub fn hang(&self) {
        signal("STOP", &self.processes());
    }

    pub fn wake(&self) {
        signal("CONT", &self.processes());
    }

    /// SIGKILL to all its processes.
    pub fn kill(&self) {
        let processes = self.processes();
        signal("KILL", &processes);
        // Its shared memory is in use until the last process has gone.
        until("the processes are gone", || {
            processes.iter().all(|process| !Path::new(&format!("/proc/{process}")).exists())
        });
        let _ = std::fs::remove_file(self.data().join("postmaster.pid"));
    }

    pub fn promote(&self) {
        run(self.control().args(["-w", "promote"]).stdout(Stdio::null()));
    }

    fn postmaster(&self) -> u32 {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        file.lines().next().unwrap().parse().unwrap()
    }

    /// The processes of this cluster whose title holds `title`.
    pub fn backends(&self, title: &str) -> Vec<u32> {
        let children = format!("/proc/{0}/task/{0}/children", self.postmaster());
        let children = std::fs::read_to_string(children).unwrap_or_default();
        let children = children.split_whitespace().map(|process| process.parse::<u32>().unwrap());
        let has_title = |process: &u32| {
            let command = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&command).contains(title)
        };
        children.filter(has_title).collect()
    }

    pub fn url(&self) -> String {
        format!("postgres://midsession@127.0.0.1:{}/postgres", self.port)
    }

    /// A connection past the server.
    pub async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    pub async fn execute(&self, statements: &str) {
        self.client().await.batch_execute(statements).await.unwrap();
    }

    /// Changes a setting of the running server.
    pub async fn set(&self, setting: &str) {
        self.execute(&format!("ALTER SYSTEM SET {setting}")).await;
        self.execute("SELECT pg_reload_conf()").await;
    }

    /// From now on a commit waits for a standby, which is not there. The setting alone is not yet it: one of the server's
    /// processes takes its time to tell the others.
    pub async fn demand_standby(&self) {
        let client = self.client().await;
        client.batch_execute("CREATE TABLE IF NOT EXISTS probe (number INT)").await.unwrap();
        self.set("synchronous_standby_names = 'mirror'").await;
        let probe = tokio::spawn(async move {
            while client.batch_execute("INSERT INTO probe VALUES (1)").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        self.until(WAITING, |waiting| waiting > 0).await;
        self.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'").await;
        probe.await.unwrap();
        self.until(WAITING, |waiting| waiting == 0).await;
    }

    /// Waits until `query`, which counts, counts what `is_so` asks for.
    pub async fn until(&self, query: &str, is_so: impl Fn(i64) -> bool) {
        let (client, started) = (self.client().await, Instant::now());
        while !is_so(client.query_one(query, &[]).await.unwrap().get(0)) {
            assert!(started.elapsed() < Duration::from_mins(1), "not within a minute: {query}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn control(&self) -> Command {
        let mut control = self.program("pg_ctl");
        control.arg("-D").arg(self.data());
        control
    }

    /// PostgreSQL refuses to run as root.
    fn program(&self, name: &str) -> Command {
        let mut command = as_nobody(&self.programs.join(name));
        command.current_dir(self.folder.path());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.data().join("postmaster.pid").exists() {
            self.wake();
        }
        let _ = self.control().args(["-m", "immediate", "stop"]).output();
    }
}

/// PgBouncer in transaction mode, in front of the cluster at a port. Killed when dropped.
pub struct Bouncer {
    child: Child,
    _folder: TempDir,
    pub port: u16,
}

impl Bouncer {
    pub fn start(cluster: u16, settings: &str) -> Option<Self> {
        let paths = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"];
        let program =
            required(paths.iter().map(Path::new).find(|path| path.is_file()), "PgBouncer (Debian: pgbouncer)")?;
        let (folder, port) = (folder(), free_port());
        let users = folder.path().join("users");
        std::fs::write(&users, "\"midsession\" \"\"\n").unwrap();
        let file = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\npostgres = host=127.0.0.1 port={cluster} user=midsession\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\n\
             max_client_conn = 200\n{settings}\n",
            users.display()
        );
        std::fs::write(&file, text).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = as_nobody(program).arg(&file).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let bouncer = Self { child, _folder: folder, port };
        until("PgBouncer listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(bouncer)
    }

    pub fn url(&self) -> String {
        format!("postgres://midsession@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn as_nobody(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
    command
}

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    if is_root() {
        run(Command::new("chown").arg("nobody").arg(folder.path()));
    }
    folder
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The folder of PostgreSQL's programs: on the path, or where Debian puts them.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders = std::env::split_paths(&path).chain(debian.map(|version| version.path().join("bin")));
    folders.find(|folder| ["initdb", "pg_ctl", "pg_basebackup"].iter().all(|program| folder.join(program).is_file()))
}

fn is_root() -> bool {
    let user = Command::new("id").arg("-u").output().unwrap().stdout;
    String::from_utf8(user).unwrap().trim() == "0"
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

pub fn signal(name: &str, processes: &[u32]) {
    // One of them may have gone by itself.
    let _ = Command::new("kill").arg(format!("-{name}")).args(processes.iter().map(u32::to_string)).output();
}

pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_mins(1), "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A change that stores a new session.
pub fn start(id: &str) -> ConditionalWrite {
    ConditionalWrite::new(id, None, Session::start(CommType::Chat))
}

/// A change that links the session of `revision` to `identifier`.
pub fn link(id: &str, revision: u64, identifier: &str) -> ConditionalWrite {
    let policy = DuplicatePolicy::new(Duration::ZERO);
    let mut session = Session::start(CommType::Chat);
    for _ in 0..=revision {
        let end_user = EndUser::new(identifier).unwrap();
        session = session.link(&end_user, &policy, OffsetDateTime::UNIX_EPOCH).unwrap().into_session();
    }
    ConditionalWrite::new(id, Some(revision), session)
}

/// The revision and the identifier that are stored under `id`.
pub async fn stored(store: &impl Store, id: &str) -> Option<(u64, String)> {
    let found = store.read(&[id]).await.unwrap().pop().unwrap().unwrap()?;
    Some((found.revision(), found.end_user().map(|user| user.identifier().to_owned()).unwrap_or_default()))
}

/// Writes one change, whatever becomes of it; none: the store failed.
pub async fn write(store: &impl Store, change: ConditionalWrite) -> Option<WriteOutcome> {
    store.write(&[change]).await.ok()?.pop()
}
