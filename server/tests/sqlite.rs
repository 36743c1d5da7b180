//! What the server promises of its SQLite file, and what it does when the file is not what it was.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use midsession_server::Sqlite;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::harness::{Client, Server, Site, TOKEN, command, is_root};
use crate::store_kit;

#[test]
fn it_keeps_each_rule_of_the_kit_for_stores_in_a_file_and_in_memory() {
    let site = Site::sqlite();
    for url in [site.url().as_str(), "sqlite::memory:"] {
        let runtime = Runtime::new().unwrap();
        let store = runtime.block_on(Sqlite::open(url, Duration::from_secs(2))).unwrap();
        store_kit::check(&runtime, store);
    }
}

#[tokio::test]
async fn a_wait_for_other_processes_may_be_as_long_as_its_type_allows() {
    let site = Site::sqlite();
    Sqlite::open(&site.url(), Duration::MAX).await.unwrap().close().await;
    Sqlite::open_beside(&site.url(), Duration::MAX).await.unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_readable_by_its_owner_only() {
    let site = Site::sqlite();
    let server = site.server("30s");
    let client = server.client();
    client.link(&client.start_chat().await, "id-1").await;
    for path in files(&site) {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_clean_stop_a_copy_of_the_file_alone_is_whole() {
    for another_has_it_open in [false, true] {
        let site = Site::sqlite();
        let mut server = site.server("30s");
        let client = server.client();
        let id = client.start_chat().await;
        assert_eq!(client.link(&id, "id-1").await.0, 202);
        let another = another_has_it_open.then(|| site.sqlite_file());
        if let Some(another) = &another {
            another.query_row("SELECT 1 FROM sessions", (), |_| Ok(())).unwrap();
        }
        server.terminate();
        assert_eq!(server.exit_code(), Some(0));

        let copy = site.folder.path().join("copy.db");
        fs::copy(site.sqlite_path(), &copy).unwrap();
        let record: String = Connection::open_with_flags(&copy, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .unwrap()
            .query_row("SELECT record FROM sessions WHERE id = ?1", [&id], |row| row.get(0))
            .unwrap();
        let record: Value = serde_json::from_str(&record).unwrap();
        assert_eq!(record["end_user"]["identifier"], "id-1");
        let log = fs::metadata(&files(&site)[1]).map_or(0, |log| log.len());
        assert_eq!(log, 0, "the write-ahead log is empty");
    }
}

#[test]
fn a_read_only_file_is_refused_at_the_start_in_one_line() {
    let site = Site::sqlite();
    drop(site.server("30s"));
    fs::set_permissions(site.folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(site.sqlite_path(), fs::Permissions::from_mode(0o444)).unwrap();
    let arguments = ["--listen", "127.0.0.1:0", "--token", TOKEN, "--database-url", &site.url()];
    // Root may write any file.
    let output = if is_root() {
        let program = site.folder.path().join("server");
        let built = command();
        fs::copy(built.get_program(), &program).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program).args(arguments).output()
    } else {
        command().args(arguments).output()
    };
    let output = output.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr, "midsession-server: cannot open the database: the file is read-only\n");
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_deleted_or_replaced_is_not_written_to() {
    let (site, server, id) = linked().await;
    let client = server.client();
    for gone in &files(&site) {
        let away = site.folder.path().join("away");
        fs::rename(gone, &away).unwrap();
        assert_unavailable(&client, &id).await;
        fs::copy(&away, gone).unwrap();
        assert_unavailable(&client, &id).await;
        fs::rename(&away, gone).unwrap();
        client.recovered().await;
        assert_eq!(client.link(&id, "id-1").await.0, 202, "it is the same file again");
    }
    let log = server.log();
    assert!(
        log.contains(
            r#""cause":"the database failed: its file, or one beside it, was deleted or replaced: restart the server""#
        ),
        "{log}"
    );
}

async fn assert_unavailable(client: &Client, id: &str) {
    assert_eq!(client.link(id, "id-2").await.0, 503);
    assert_eq!(client.get(&format!("chats/{id}")).await, 503);
    let asked = Instant::now();
    // It probes once a second.
    while client.health().await != 503 {
        assert!(asked.elapsed() < Duration::from_secs(30), "it is said to be healthy");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_another_process_holds_the_lock_reads_come_through_and_writes_are_refused_in_time() {
    let (site, server, id) = linked().await;
    let client = server.client();
    let other = site.sqlite_file();
    other.execute_batch("BEGIN IMMEDIATE; UPDATE sessions SET revision = revision").unwrap();
    let before = server.resident();

    let mut links = JoinSet::new();
    for _ in 0..200 {
        let (client, id) = (client.clone(), id.clone());
        links.spawn(async move {
            let asked = Instant::now();
            let status = client.link(&id, "id-2").await.0;
            (status, asked.elapsed())
        });
    }
    let mut reads = JoinSet::new();
    for _ in 0..48 {
        let (client, path) = (client.clone(), format!("chats/{id}"));
        reads.spawn(async move { client.get(&path).await });
    }
    assert_eq!(reads.join_all().await, vec![200; 48]);
    for (status, waited) in links.join_all().await {
        assert_eq!(status, 503);
        assert!(waited < Duration::from_secs(15), "{waited:?}");
    }
    let after = server.resident();
    assert!(after < before + 64 * 1024, "{before} KiB, then {after} KiB");

    other.execute_batch("COMMIT").unwrap();
    assert_eq!(client.link(&id, "id-2").await.0, 202);
    assert!(server.log().contains(r#""cause":"the database failed: code 5, database is locked""#), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_memory_is_warned_of_in_one_line() {
    let site = Site::sqlite();
    let server = Server::start("sqlite::memory:", "30s", &site.folder.path().join("log"));
    let client = server.client();
    let log = server.log();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains(r#""level":"WARN""#)).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(warnings[0].contains("keeps the sessions only as long as the server runs"), "{log}");

    let id = client.start_chat().await;
    assert_eq!(client.link(&id, "id-1").await.0, 202);
    assert_eq!(client.chat(&id).await["end_user"]["identifier"], "id-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_the_first_release_is_opened_as_it_is() {
    let site = Site::sqlite();
    let record = json!({
        "state": "active", "comm_type": "chat", "crm_support": "supported", "revision": u64::MAX - 1,
        "end_user": { "identifier": "id-0" }, "last_linked_at": "2026-11-22T12:00:00.123456789Z",
    });
    site.sqlite_file()
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE midsession_schema (version BIGINT PRIMARY KEY);
             CREATE TABLE sessions (id TEXT PRIMARY KEY, revision BIGINT NOT NULL, record TEXT NOT NULL);
             INSERT INTO midsession_schema VALUES (1);
             INSERT INTO sessions VALUES ('old', -2, '{record}');"
        ))
        .unwrap();
    let server = site.server("30s");
    let client = server.client();
    assert_eq!(client.link("old", "id-1").await.0, 202);
    let stored = client.chat("old").await;
    assert_eq!((&stored["revision"], &stored["end_user"]["identifier"]), (&json!(u64::MAX), &json!("id-1")));
}

#[test]
fn of_servers_that_start_at_once_one_has_the_file_and_the_others_are_refused_in_one_line() {
    let site = Site::sqlite();
    let arguments = ["--listen", "127.0.0.1:0", "--token", TOKEN, "--database-url", &site.url()];
    let start = |_| command().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut running: Vec<Child> = (0..8).map(start).collect();
    let mut refused = Vec::new();
    let started = std::time::Instant::now();
    while running.len() > 1 {
        assert!(started.elapsed() < Duration::from_secs(30), "{} servers have the file", running.len());
        let ended = running.iter_mut().position(|child| child.try_wait().unwrap().is_some());
        refused.extend(ended.map(|at| running.remove(at).wait_with_output().unwrap()));
    }
    let mut line = String::new();
    BufReader::new(running[0].stdout.take().unwrap()).read_line(&mut line).unwrap();
    running[0].kill().unwrap();
    running[0].wait().unwrap();
    assert!(line.starts_with("listening on"), "{line}");
    for refused in refused {
        let stderr = String::from_utf8(refused.stderr).unwrap();
        let expected = "midsession-server: cannot open the database: another server has this file: stop it first\n";
        assert_eq!((refused.status.code(), &*stderr), (Some(1), expected));
    }
    // A lock ends with its process.
    drop(site.server("30s"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_index_of_the_log_neither_a_second_server_nor_a_task_works_on_the_file() {
    let (site, server, _) = linked().await;
    fs::remove_file(&files(&site)[2]).unwrap();
    let second = ["--listen", "127.0.0.1:0", "--token", TOKEN, "--database-url", &site.url()];
    for (arguments, expected) in [
        (&second[..], "another server has this file: stop it first"),
        (
            &["purge", "--ended-before", "1d", "--database-url", &site.url()],
            "the file beside it that ends in -shm was deleted: restart the server that has it first",
        ),
    ] {
        let output = command().args(arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr, format!("midsession-server: cannot open the database: {expected}\n"));
    }
    drop(server);
    drop(site.server("30s"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_whose_revision_is_not_that_of_its_record_is_written_all_the_same() {
    let (site, server, id) = linked().await;
    let client = server.client();
    site.execute("UPDATE sessions SET revision = 41").await;
    assert_eq!(client.link(&id, "id-2").await.0, 202);
    assert_eq!(client.link(&id, "id-3").await.0, 202);
    let select = "SELECT revision, record ->> '$.revision' FROM sessions WHERE id = ?1";
    let row = site.sqlite_file().query_row(select, [&id], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
    assert_eq!(row.unwrap(), (3, 3));
    assert_eq!(server.log().matches("a row's revision was not that of its record").count(), 1, "{}", server.log());
}

#[test]
fn a_url_with_parameters_is_refused_in_one_line() {
    let url = format!("sqlite://{}?mode=ro", Path::new("/nowhere").display());
    let output =
        command().args(["--listen", "127.0.0.1:0", "--token", TOKEN, "--database-url", &url]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("its URL must be sqlite://FILE without parameters"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1);
}

async fn linked() -> (Site, Server, String) {
    let site = Site::sqlite();
    let server = site.server("0s");
    let client = server.client();
    let id = client.start_chat().await;
    assert_eq!(client.link(&id, "id-1").await.0, 202);
    (site, server, id)
}

/// The database, its write-ahead log, the log's index, and the server's lock.
fn files(site: &Site) -> [PathBuf; 4] {
    ["db", "db-wal", "db-shm", "db-lock"].map(|extension| site.sqlite_path().with_extension(extension))
}
