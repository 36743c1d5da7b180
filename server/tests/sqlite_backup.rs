//! A backup under load and what is restored from it, schemas of other versions, and a log that a reader lets grow.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use crate::faults::Load;
use crate::harness::{Site, command};

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_one_state_and_a_server_restored_from_it_goes_on() {
    let site = Site::sqlite();
    let mut server = site.server("0s");
    let client = server.client();
    let mut linked = Vec::new();
    for number in 0..20 {
        let id = client.start_chat().await;
        assert_eq!(client.link(&id, &format!("before-{number}")).await.0, 202);
        linked.push(id);
    }
    let load = Load::start(&client).await;
    let copy = site.folder.path().join("copy.db");
    let backed_up = tokio::task::block_in_place(|| run_block(&site, "midsession-server backup"));
    assert_eq!(String::from_utf8_lossy(&backed_up.stdout), "copied 36 sessions\n", "{backed_up:?}");
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(load.settle(&client).await > 0, "there was no load");

    let again = back_up(&site, &copy);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_eq!(
        said,
        "midsession-server: cannot open the database: the file of the backup is already there: name another\n"
    );
    assert_eq!(names(site.folder.path(), "copy"), ["copy.db"]);

    // The machine is lost, and what is left of its files is not in the way.
    server.kill();
    let restored = run_block(&site, "midsession-server backup --database-url");
    assert!(restored.status.success() && copy.exists(), "{restored:?}");
    let server = site.server("0s");
    let client = server.client();
    for (number, id) in linked.iter().enumerate() {
        assert_eq!(client.chat(id).await["end_user"]["identifier"], format!("before-{number}"));
        assert_eq!(client.link(id, "after").await.0, 202);
    }
    assert_eq!(client.health().await, 200);
}

#[test]
fn a_backup_of_what_is_no_database_is_refused_in_one_line_and_leaves_nothing() {
    let site = Site::sqlite();
    let copy = site.folder.path().join("copy.db");
    let absent = back_up(&site, &copy);
    assert_eq!(absent.status.code(), Some(1));
    fs::write(site.sqlite_path(), "no database, although it has some length".repeat(100)).unwrap();
    let refused = back_up(&site, &copy);
    for refused in [absent, refused] {
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            said.starts_with("midsession-server: cannot open the database: code ") && said.lines().count() == 1,
            "{said}"
        );
    }
    assert_eq!(names(site.folder.path(), "copy"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_goes_back_to_the_first_release_and_up_again() {
    let site = Site::sqlite();
    let mut server = site.server("0s");
    let client = server.client();
    let id = client.start_chat().await;
    assert_eq!(client.link(&id, "id-1").await.0, 202);
    assert_eq!(client.post(&format!("chats/{id}/end"), json!({})).await.0, 200);
    let said = String::from_utf8(migrate(&site, "1").stderr).unwrap();
    assert_eq!(said, "midsession-server: cannot open the database: another server has this file: stop it first\n");
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));

    let latest = schema(&site);
    assert!(migrate(&site, "1").status.success());
    let first = [
        "CREATE TABLE midsession_schema (version BIGINT PRIMARY KEY)",
        "CREATE TABLE sessions (id TEXT PRIMARY KEY, revision BIGINT NOT NULL, record TEXT NOT NULL)",
    ];
    assert_eq!(schema(&site), (1, first.map(str::to_owned).to_vec()));
    for absent in ["0", "99"] {
        let said = String::from_utf8(migrate(&site, absent).stderr).unwrap();
        assert_eq!(
            said,
            "midsession-server: cannot open the database: this server has no such version of the schema\n"
        );
    }
    let server = site.server("0s");
    assert_eq!(schema(&site), latest);
    assert_eq!(server.client().chat(&id).await["end_user"]["identifier"], "id-1");
    let arguments = ["purge", "--ended-before", "0s", "--database-url", &site.url()];
    let purged = command().args(arguments).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&purged.stdout), "erased 1 sessions, skipped 0\n", "{purged:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_a_long_reader_lets_grow_is_told_of_once_and_made_small_afterwards() {
    const LARGE: u64 = 128 * 1024 * 1024;
    let site = Site::sqlite();
    let server = site.server_with("0s", &["--metrics-listen", "127.0.0.1:0"]);
    let client = server.client();
    let id = client.start_chat().await;
    let reader = site.sqlite_file();
    reader.execute_batch("BEGIN; SELECT count(*) FROM sessions").unwrap();
    let writer = site.sqlite_file();
    writer.execute_batch("CREATE TABLE filler (bytes BLOB)").unwrap();
    while log_size(&site) <= LARGE {
        writer.execute_batch("INSERT INTO filler VALUES (zeroblob(4000000))").unwrap();
    }
    assert_eq!(client.link(&id, "id-1").await.0, 202);
    let says = |what: &str| server.log().matches(what).count();
    until("it is told of", || says("the write-ahead log grows") > 0).await;
    assert!(log_metric(&server.metrics().await) > LARGE);
    reader.execute_batch("COMMIT").unwrap();
    until("it is small again", || log_size(&site) < LARGE && says("the write-ahead log is small again") == 1).await;
    assert_eq!(says("the write-ahead log grows"), 1);
    assert!(log_metric(&server.metrics().await) < LARGE);
    assert_eq!(client.link(&id, "id-2").await.0, 202);
}

fn log_metric(metrics: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix("midsession_database_log_bytes ")).unwrap();
    line.parse().unwrap()
}

fn log_size(site: &Site) -> u64 {
    fs::metadata(site.sqlite_path().with_extension("db-wal")).map_or(0, |log| log.len())
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_mins(1), "not in time: {what}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// The page's block that begins so, as it stands but for the name of the database.
fn run_block(site: &Site, beginning: &str) -> Output {
    let blocks =
        include_str!("../docs/sqlite.md").split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let block = blocks.into_iter().find(|block| block.starts_with(beginning)).unwrap();
    let binary = command().get_program().to_owned();
    let folder = Path::new(&binary).parent().unwrap().display().to_string();
    let mut shell = Command::new("sh");
    shell.args(["-euc", &block.replace("midsession.db", "sessions.db")]).current_dir(site.folder.path());
    shell.env("PATH", format!("{folder}:/usr/bin:/bin")).env("MIDSESSION_DATABASE_URL", site.url());
    shell.output().unwrap()
}

fn back_up(site: &Site, to: &Path) -> Output {
    command().args(["backup", to.to_str().unwrap(), "--database-url", &site.url()]).output().unwrap()
}

fn migrate(site: &Site, version: &str) -> Output {
    command().args(["migrate", "--to", version, "--database-url", &site.url()]).output().unwrap()
}

/// The version, and the statements that make it.
fn schema(site: &Site) -> (u32, Vec<String>) {
    let file = site.sqlite_file();
    let version = file.query_row("SELECT max(version) FROM midsession_schema", (), |row| row.get(0)).unwrap();
    let mut select = file.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").unwrap();
    let statements = select.query_map((), |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    (version, statements)
}

/// The files whose names begin so.
fn names(folder: &Path, prefix: &str) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(prefix)).collect()
}
