//! How the PostgreSQL engine starts: TLS, rights, waiting, and what it refuses or warns of.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use midsession_server::{Postgres, PostgresOpenError, PostgresOptions, Store, WriteOutcome};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::harness::{Server, TOKEN, command};
use crate::postgres_harness::{Cluster, free_port, link, signal, start, until};

/// It has some time on a busy machine, and takes it only for what it waits for.
fn waits_long() -> PostgresOptions {
    PostgresOptions { start: Duration::from_secs(20), ..PostgresOptions::default() }
}

fn waits_briefly() -> PostgresOptions {
    PostgresOptions { start: Duration::from_secs(1), ..PostgresOptions::default() }
}

async fn refusal(url: &str) -> String {
    refusal_in_time(url, &waits_long()).await
}

async fn refusal_in_time(url: &str, options: &PostgresOptions) -> String {
    match Postgres::open(url, options).await {
        Ok(_) => panic!("it opened"),
        Err(error) => error.to_string(),
    }
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap())
    }

    fn write(&self, path: &Path) {
        std::fs::write(path, self.0.as_ref().pem()).unwrap();
    }

    /// The certificate and its key.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_verifies_what_the_url_asks_for_and_says_in_one_line_why_it_fails() {
    let Some(cluster) = Cluster::start("") else { return };
    assert_eq!(
        refusal(&format!("{}?sslmode=require", cluster.url())).await,
        "it does not offer TLS, which the URL requires"
    );

    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let folder = TempDir::new().unwrap();
    ours.write(&folder.path().join("ours.pem"));
    theirs.write(&folder.path().join("theirs.pem"));
    let (certificate, key) = ours.sign("localhost");
    cluster.put("server.crt", &certificate);
    cluster.put("server.key", &key);
    cluster.set("ssl = on").await;
    cluster.execute("CREATE ROLE guest LOGIN PASSWORD 'secret'").await;
    cluster.put("pg_hba.conf", "host all guest all scram-sha-256\nhost all all all trust\n");
    cluster.execute("ALTER ROLE guest SUPERUSER; SELECT pg_reload_conf()").await;

    let (roots, port) = (folder.path().display(), cluster.port);
    for (host, query, refused) in [
        ("localhost", format!("sslmode=verify-full&sslrootcert={roots}/ours.pem"), None),
        (
            "127.0.0.1",
            format!("sslmode=verify-full&sslrootcert={roots}/ours.pem"),
            Some("its certificate is for another name"),
        ),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={roots}/ours.pem"), None),
        (
            "localhost",
            format!("sslmode=verify-full&sslrootcert={roots}/theirs.pem"),
            Some("its certificate is from an unknown authority"),
        ),
        (
            "localhost",
            format!("sslmode=verify-ca&sslrootcert={roots}/theirs.pem"),
            Some("its certificate is from an unknown authority"),
        ),
        (
            "localhost",
            format!("sslmode=require&sslrootcert={roots}/theirs.pem"),
            Some("its certificate is from an unknown authority"),
        ),
        ("localhost", "sslmode=require".to_owned(), None),
        ("127.0.0.1", "sslmode=prefer".to_owned(), None),
        (
            "localhost",
            format!("sslmode=verify-full&sslrootcert={roots}/none.pem"),
            Some("the parameter `sslrootcert` of its URL names no readable file of PEM certificates"),
        ),
    ] {
        let url = format!("postgres://midsession@{host}:{port}/postgres?{query}");
        if let Some(refused) = refused {
            assert_eq!(refusal(&url).await, refused, "{host} {query}");
        } else {
            let store = Postgres::open(&url, &waits_long()).await.unwrap_or_else(|error| panic!("{query}: {error}"));
            let encrypted = "SELECT COUNT(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                             WHERE ssl AND application_name = 'midsession-server'";
            cluster.until(encrypted, |count| count > 0).await;
            drop(store);
            cluster.until(encrypted, |count| count == 0).await;
        }
    }

    let guest = |password: &str, query: &str| format!("postgres://guest:{password}@localhost:{port}/postgres?{query}");
    let required = "sslmode=require&channel_binding=require";
    Postgres::open(&guest("secret", required), &waits_long()).await.unwrap();
    let unbound = refusal(&guest("secret", "sslmode=disable&channel_binding=require")).await;
    assert_eq!(unbound, "it does not do channel binding, which the URL requires");
    let asked = Instant::now();
    assert_eq!(refusal(&guest("wrong", required)).await, "it does not let this user in, code 28P01");
    assert!(asked.elapsed() < Duration::from_secs(15), "it waited for a password to become right");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_only_select_insert_and_update_is_enough_for_tables_made_beforehand() {
    let Some(cluster) = Cluster::start("") else { return };
    cluster.execute("CREATE ROLE midsession_server LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
    let url = cluster.url().replace("midsession@", "midsession_server@");
    let missing = "its tables are missing or old, and this user may not make them: migrate it as a user who may";
    assert_eq!(refusal(&url).await, missing);

    // As docs/postgres.md has it, which ends with the right to write.
    let page = include_str!("../docs/postgres.md");
    let sql = page.split("```sql\n").find(|block| block.starts_with("CREATE TABLE midsession_schema")).unwrap();
    let (tables, grant) = sql.split("```").next().unwrap().trim_end().rsplit_once('\n').unwrap();
    cluster.execute(tables).await;
    assert_eq!(refusal(&url).await, "this user lacks the right to SELECT in the table sessions");
    cluster.execute(grant).await;
    let store = Postgres::open(&url, &waits_long()).await.unwrap();
    assert_eq!(store.write(&[start("a")]).await.unwrap(), [WriteOutcome::Applied]);
    assert_eq!(store.write(&[link("a", 0, "someone")]).await.unwrap(), [WriteOutcome::Applied]);
    assert_eq!(store.read(&["a"]).await.unwrap()[0].as_ref().unwrap().as_ref().unwrap().revision(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_the_first_release_are_used_as_they_are() {
    let Some(cluster) = Cluster::start("") else { return };
    let tables =
        "CREATE TABLE midsession_schema (version BIGINT PRIMARY KEY); INSERT INTO midsession_schema VALUES (1);
                  CREATE TABLE sessions (id TEXT PRIMARY KEY, revision BIGINT NOT NULL, record TEXT NOT NULL)";
    cluster.execute(tables).await;
    let store = Postgres::open(&cluster.url(), &waits_long()).await.unwrap();
    assert_eq!(store.write(&[start("a"), start("A")]).await.unwrap(), [WriteOutcome::Applied; 2]);
    assert_eq!(store.write(&[link("a", 0, "someone")]).await.unwrap(), [WriteOutcome::Applied]);
    cluster.execute("INSERT INTO midsession_schema VALUES (3)").await;
    assert_eq!(refusal(&cluster.url()).await, "its schema is newer than this server: start a later release");
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_a_collation_merges_and_an_encoding_that_holds_few_names_are_refused() {
    let Some(cluster) = Cluster::start("") else { return };
    cluster.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0").await;
    let latin = cluster.url().replace("/postgres", "/latin").replace("postgres:/latin", "postgres:/");
    assert_eq!(refusal(&latin).await, "its encoding is not UTF8");

    let client = cluster.client().await;
    let collation = "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";
    if client.batch_execute(collation).await.is_ok() {
        Postgres::migrate(&cluster.url(), &waits_long()).await.unwrap();
        cluster.execute("ALTER TABLE sessions ALTER COLUMN id TYPE TEXT COLLATE loose").await;
        let merged = "the column id of its table sessions has a collation that takes different ids for the same";
        assert_eq!(refusal(&cluster.url()).await, merged);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_its_database_gives_up_after_a_time_and_can_be_broken_off() {
    let Some(cluster) = Cluster::start("") else { return };
    cluster.kill();
    let url = cluster.url();
    let opening = tokio::spawn(async move { Postgres::open(&url, &PostgresOptions::default()).await });
    sleep(Duration::from_millis(500)).await;
    assert!(!opening.is_finished());
    cluster.resume();
    opening.await.unwrap().unwrap();

    // Another server makes the tables, and takes its time.
    let client = cluster.client().await;
    let lock = "BEGIN; DROP TABLE sessions, midsession_schema; SELECT pg_advisory_xact_lock(7310582946120335)";
    client.batch_execute(lock).await.unwrap();
    let asked = Instant::now();
    let refused = refusal_in_time(&cluster.url(), &waits_briefly()).await;
    assert_eq!(refused, "it was not ready in time: it does not answer");
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());

    let url = cluster.url();
    let opening = tokio::spawn(async move { Postgres::open(&url, &PostgresOptions::default()).await.map(drop) });
    sleep(Duration::from_millis(500)).await;
    opening.abort();
    assert!(opening.await.unwrap_err().is_cancelled());

    client.batch_execute("COMMIT").await.unwrap();
    Postgres::open(&cluster.url(), &PostgresOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_waited_for_is_said_at_once() {
    let asked = Instant::now();
    let usual = PostgresOptions::default();
    for options in [
        PostgresOptions { connections: 1, ..usual },
        PostgresOptions { connections: usize::MAX, ..usual },
        PostgresOptions { timeout: Duration::ZERO, ..usual },
        PostgresOptions { timeout: Duration::MAX, ..usual },
        PostgresOptions { start: Duration::MAX, ..usual },
    ] {
        let error = Postgres::open("postgres://h/db", &options).await.unwrap_err();
        assert!(matches!(error, PostgresOpenError::Options), "{options:?}: {error}");
    }
    let error = refusal("postgres://midsession:secret@127.0.0.1/db?sslmod=require").await;
    assert_eq!(error, "the parameter `sslmod` of its URL is unknown");
    assert!(asked.elapsed() < Duration::from_secs(10));

    let nobody = format!("postgres://midsession@127.0.0.1:{}/db", free_port());
    assert_eq!(refusal_in_time(&nobody, &waits_briefly()).await, "it was not ready in time: connection refused");
}

/// The server's binary on `url`, with its arguments, and what it has to say in `log`.
fn spawn(url: &str, arguments: &[&str], log: &Path) -> Child {
    let log = std::fs::File::create(log).unwrap();
    let mut command = command();
    command.args(["--database-url", url, "--listen", "127.0.0.1:0", "--token", TOKEN]).args(arguments);
    command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_warns_of_what_may_lose_links() {
    let Some(cluster) = Cluster::start("") else { return };
    let folder = TempDir::new().unwrap();
    let warning = "synchronous_commit is off: a crash of the database loses links that were answered 202";
    let server = Server::start(&cluster.url(), "30s", &folder.path().join("on"));
    assert!(!server.log().contains(warning), "{}", server.log());
    cluster.execute("ALTER DATABASE postgres SET synchronous_commit = off").await;
    let server = Server::start(&cluster.url(), "30s", &folder.path().join("off"));
    assert!(server.log().contains(warning), "{}", server.log());
}

#[test]
fn a_server_that_waits_for_its_database_says_so_once_and_stops_at_once_when_it_is_told() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log");
    let url = format!("postgres://midsession:secret@127.0.0.1:{}/postgres", free_port());
    let mut server = spawn(&url, &[], &log);
    let said = || std::fs::read_to_string(&log).unwrap();
    until("the server waits", || said().contains("waiting for the database"));
    std::thread::sleep(Duration::from_secs(1));
    signal("TERM", &[server.id()]);
    let asked = Instant::now();
    assert!(server.wait().unwrap().success());
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(said().matches("waiting for the database").count(), 1, "{}", said());
    assert!(said().contains("connection refused") && !said().contains("secret"), "{}", said());
}

#[test]
fn a_server_names_the_parameter_that_it_does_not_know() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log");
    let mut server = spawn("postgres://midsession:secret@127.0.0.1/db?sslmod=marker", &[], &log);
    assert!(!server.wait().unwrap().success());
    let said = std::fs::read_to_string(&log).unwrap();
    let line = "midsession-server: cannot open the database: the parameter `sslmod` of its URL is unknown\n";
    assert_eq!(said, line);
}

#[test]
fn a_server_gives_up_its_wait_after_the_time_it_was_given() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log");
    let url = format!("postgres://midsession@127.0.0.1:{}/postgres", free_port());
    let mut server = spawn(&url, &["--database-wait", "500ms", "--database-connections", "2"], &log);
    assert!(!server.wait().unwrap().success());
    let said = std::fs::read_to_string(&log).unwrap();
    let line = "midsession-server: cannot open the database: it was not ready in time: connection refused\n";
    assert!(said.ends_with(line), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_makes_the_tables_and_ends() {
    let Some(cluster) = Cluster::start("") else { return };
    let folder = TempDir::new().unwrap();
    let mut migration = spawn(&cluster.url(), &["migrate"], &folder.path().join("log"));
    assert!(migration.wait().unwrap().success());
    cluster.until("SELECT COUNT(*) FROM midsession_schema", |versions| versions == 2).await;
    // That of the probe.
    cluster.until("SELECT COUNT(*) FROM sessions", |sessions| sessions == 1).await;
}
