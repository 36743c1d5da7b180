//! The audit's tables: how they are made, who may write them, and how long rows are kept.

use std::collections::BTreeSet;
use std::process::Output;
use std::time::{Duration, Instant};

use midsession_server::{Audit, Postgres, PostgresOptions, Store, WriteOutcome};
use serde_json::json;

use crate::harness::{Site, TOKEN, command, on_each_database};
use crate::postgres_harness::{Cluster, start};

fn run(site: &Site, arguments: &[&str]) -> Output {
    command().args(arguments).args(["--database-url", &site.url()]).output().unwrap()
}

fn printed(output: &Output) -> &str {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    str::from_utf8(&output.stdout).unwrap()
}

on_each_database!(rows_are_purged_by_their_age_and_an_erasure_by_purge_has_its_row);
async fn rows_are_purged_by_their_age_and_an_erasure_by_purge_has_its_row(site: Site) {
    let server = site.server_with("30s", &["--audit"]);
    let client = server.client();
    // More than two batches, written before all others.
    let numbers = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 2500)";
    let insert = "INSERT INTO midsession_audit (session_id, revision, at_ms, change)";
    site.execute(&format!("{insert} {numbers} SELECT 'old', n, 1577836800000 + n, 'first' FROM numbers")).await;
    let id = client.start_chat().await;
    assert_eq!(client.link(&id, "a").await.0, 202);
    assert_eq!(client.post(&format!("chats/{id}/end"), json!({})).await.0, 200);

    let both = run(&site, &["purge", "--ended-before", "0s", "--audit-before", "30d"]);
    assert_eq!(printed(&both), "erased 1 sessions, skipped 0\ndeleted 2500 rows of the audit\n");
    let changes = site.column("SELECT change FROM midsession_audit ORDER BY revision").await;
    assert_eq!(changes, ["first", "ended", "erased"]);
    let by_no_client = "SELECT change FROM midsession_audit WHERE client IS NULL AND request_id IS NULL";
    assert_eq!(site.column(by_no_client).await, ["erased"], "the purge knew of the audit by itself");

    assert_eq!(printed(&run(&site, &["purge", "--audit-before", "30d"])), "deleted 0 rows of the audit\n");
    assert_eq!(printed(&run(&site, &["purge", "--audit-before", "0s"])), "deleted 3 rows of the audit\n");
    assert_eq!(client.chat(&id).await["state"], "ended", "the session stays");
}

impl Site {
    async fn column(&self, query: &str) -> Vec<String> {
        match &self.cluster {
            None => {
                let file = self.sqlite_file();
                let mut select = file.prepare(query).unwrap();
                select.query_map((), |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
            }
            Some(cluster) => {
                let rows = cluster.connect().await.query(query, &[]).await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
        }
    }
}

on_each_database!(a_purge_of_an_audit_that_is_not_there_is_refused_before_anything_is_erased);
async fn a_purge_of_an_audit_that_is_not_there_is_refused_before_anything_is_erased(site: Site) {
    let server = site.server("0s");
    let client = server.client();
    let id = client.start_chat().await;
    assert_eq!(client.link(&id, "a").await.0, 202);
    assert_eq!(client.post(&format!("chats/{id}/end"), json!({})).await.0, 200);
    let refused = run(&site, &["purge", "--ended-before", "0s", "--audit-before", "0s"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    let said: Vec<_> = said.lines().filter(|line| !line.starts_with('{')).collect();
    let reason = "midsession-server: --audit-before: the database has no audit";
    assert_eq!((refused.status.code(), said), (Some(1), vec![reason]));
    assert_eq!(String::from_utf8(refused.stdout).unwrap(), "");
    assert!(client.chat(&id).await.get("end_user").is_some());
}

const GAP: &str = "this server's changes will be missing in it";

on_each_database!(there_is_an_audit_only_where_it_is_asked_for_and_its_gap_is_warned_of);
async fn there_is_an_audit_only_where_it_is_asked_for_and_its_gap_is_warned_of(site: Site) {
    let tables = match &site.cluster {
        None => "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'midsession_audit%' ORDER BY name",
        Some(_) => "SELECT tablename::text FROM pg_tables WHERE tablename LIKE 'midsession_audit%' ORDER BY 1",
    };
    let mut server = site.server("0s");
    let id = server.client().start_chat().await;
    assert_eq!(server.client().link(&id, "a").await.0, 202);
    assert_eq!(site.column(tables).await, Vec::<String>::new());
    server.terminate();
    server.exit_code();
    assert!(!server.log().contains(GAP));

    for _ in 0..2 {
        assert_eq!(printed(&run(&site, &["migrate", "--audit"])), "");
    }
    assert_eq!(site.column(tables).await, ["midsession_audit", "midsession_audit_schema"]);
    let server = site.server("0s");
    assert_eq!(server.client().link(&id, "a").await.0, 202);
    assert!(server.log().contains(GAP), "{}", server.log());
    assert_eq!(site.column("SELECT change FROM midsession_audit").await, Vec::<String>::new());
    drop(server);

    site.execute("INSERT INTO midsession_audit_schema (version) VALUES (99)").await;
    let flags = ["--listen", "127.0.0.1:0", "--token", TOKEN, "--audit"];
    let said = String::from_utf8(run(&site, &flags).stderr).unwrap();
    assert!(said.contains("its schema is newer than this server"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_waits_for_its_database_warns_of_the_gap_once() {
    let Some(site) = Site::postgres() else { return };
    assert_eq!(printed(&run(&site, &["migrate", "--audit"])), "");
    let cluster = site.cluster.as_ref().unwrap();
    let (holder, watcher) = (cluster.connect().await, cluster.connect().await);
    // The tables can be read meanwhile, and the start's own write waits.
    holder.batch_execute("BEGIN; LOCK TABLE sessions IN EXCLUSIVE MODE").await.unwrap();
    let held = tokio::spawn(async move {
        let (mut attempts, started) = (BTreeSet::new(), Instant::now());
        let waiting = "SELECT query_start::text FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        while attempts.len() < 3 && started.elapsed() < Duration::from_secs(20) {
            let rows = watcher.query(waiting, &[]).await.unwrap();
            attempts.extend(rows.iter().map(|row| row.get::<_, String>(0)));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        holder.batch_execute("COMMIT").await.unwrap();
        attempts.len()
    });
    let server = site.server("0s");
    assert_eq!(held.await.unwrap(), 3, "the start made an attempt and others");
    assert_eq!(server.log().matches(GAP).count(), 1, "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_only_insert_into_the_audit_is_enough_for_tables_made_by_the_sql_of_the_docs() {
    let Some(cluster) = Cluster::start("") else { return };
    cluster.execute("CREATE ROLE midsession_server LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
    let url = cluster.url().replace("midsession@", "midsession_server@");
    let sessions = include_str!("../docs/postgres.md");
    let sessions =
        sessions.split("```sql\n").find(|block| block.starts_with("CREATE TABLE midsession_schema")).unwrap();
    cluster.execute(sessions.split("```").next().unwrap()).await;
    let options = PostgresOptions { audit: Audit::On, ..PostgresOptions::default() };
    let refused = Postgres::open(&url, &options).await.unwrap_err().to_string();
    assert!(refused.starts_with("its tables are missing or old"), "{refused}");

    let page = include_str!("../docs/audit.md");
    let audit = page.split("```sql\n").find(|block| block.starts_with("CREATE TABLE")).unwrap();
    let (tables, grant) = audit.split("```").next().unwrap().trim_end().rsplit_once('\n').unwrap();
    cluster.execute(tables).await;
    let refused = Postgres::open(&url, &options).await.unwrap_err().to_string();
    assert_eq!(refused, "this user lacks the right to INSERT in the table midsession_audit");
    cluster.execute(grant).await;
    let store = Postgres::open(&url, &options).await.unwrap();
    assert_eq!(store.write(&[start("a")]).await.unwrap(), [WriteOutcome::Applied]);
    let linked = crate::audit::linked_write("a");
    assert_eq!(store.write(&[linked]).await.unwrap(), [WriteOutcome::Applied]);
    let rows = cluster.client().await.query("SELECT FROM midsession_audit", &[]).await.unwrap();
    assert_eq!(rows.len(), 1);
}

#[cfg(feature = "redis")]
#[test]
fn on_redis_the_start_refuses_the_audit_and_says_why() {
    let mut refused = command();
    refused.args(["--audit", "--token", TOKEN, "--listen", "127.0.0.1:0", "--database-url", "redis://127.0.0.1:1"]);
    let refused = refused.output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    let reason = "--audit is for SQLite and PostgreSQL: Redis cannot write a change and its row as one";
    assert_eq!((refused.status.code(), &*said), (Some(1), &*format!("midsession-server: {reason}\n")));
}
