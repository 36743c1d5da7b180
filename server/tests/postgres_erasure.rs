//! What PostgreSQL keeps of erased data, the command that ends it, and the column that a purge finds sessions by.

use std::path::Path;

use midsession_server::{EndedSession, Postgres, PostgresOptions, Purgeable};
use serde_json::json;
use time::OffsetDateTime;
use time::ext::NumericalDuration;

use crate::harness::Server;
use crate::postgres::open;
use crate::postgres_harness::Cluster;
use crate::purge::ended_sessions_are_listed;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_erased_person_is_in_the_database_s_files_after_the_page_s_command() {
    let Some(cluster) = Cluster::start("") else { return };
    let folder = tempfile::TempDir::new().unwrap();
    let server = Server::start(&cluster.url(), "0s", &folder.path().join("log"));
    let client = server.client();
    let mut ids = Vec::new();
    for number in 0..40 {
        let id = client.start_chat().await;
        let person =
            json!({ "identifier": format!("marker-{number}"), "email": format!("marker{number}@example.com") });
        assert_eq!(client.post(&format!("chats/{id}/end_user"), person).await.0, 202);
        client.post(&format!("chats/{id}/end"), json!({})).await;
        ids.push(id);
    }
    // As autovacuum does, which would copy records into the statistics.
    cluster.execute("ANALYZE sessions").await;
    for id in &ids {
        assert_eq!(client.erase(&format!("chats/{id}")).await.0, 204);
    }
    cluster.execute("CHECKPOINT").await;
    assert!(cluster.finds("marker") > 0, "a search finds what is there");

    let page = include_str!("../docs/postgres.md");
    let command = page.split("```sql\n").find(|block| block.starts_with("ALTER SYSTEM SET wal_recycle")).unwrap();
    // Each in a transaction of its own, as psql sends them.
    for statement in command.split("```").next().unwrap().split(';').map(str::trim).filter(|line| !line.is_empty()) {
        cluster.execute(statement).await;
    }
    assert_eq!(cluster.finds("marker"), 0);
    assert_eq!(client.chat(&ids[0]).await["state"], "ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_have_something_to_erase_are_listed_in_the_order_of_their_end_on_postgres() {
    let Some(cluster) = Cluster::start("") else { return };
    let store = open(&cluster.url()).await;
    ended_sessions_are_listed(&store).await;
    // A record may be in another order, and what is no session may be anything.
    let others = r#"INSERT INTO sessions (id, revision, record) VALUES
        ('other', 1, '{ "ended_at" : "2020-01-01T00:00:05.5Z", "end_user" : {"identifier": "id-1"} }'),
        ('never', 1, '{ "ended_at": "2019-02-30T00:00:05Z", "end_user" : {"identifier": "id-1"} }'),
        ('list', 1, '["ended_at", "end_user"]'), ('none', 1, '')"#;
    cluster.execute(others).await;
    let before = OffsetDateTime::from_unix_timestamp(1_577_836_810).unwrap();
    let all = store.list_ended(before, None, 100).await.unwrap();
    let others: Vec<_> = all.into_iter().filter(|ended| ended.id.len() > 1).collect();
    assert_eq!(others, [EndedSession { id: "other".to_owned(), ended_at: before - 5.seconds() }]);

    let client = cluster.client().await;
    client.batch_execute("SET enable_seqscan = off; SET enable_bitmapscan = off").await.unwrap();
    let plan = client.query("EXPLAIN SELECT id FROM sessions WHERE ended_at <= 'x' AND (ended_at, id) > ('', '') ORDER BY ended_at, id LIMIT 5", &[]);
    let plan: Vec<String> = plan.await.unwrap().iter().map(|row| row.get(0)).collect();
    assert!(
        plan.iter().any(|line| line.contains("sessions_by_end")) && !plan.iter().any(|line| line.contains("Sort")),
        "{plan:#?}"
    );
}

/// The statements of the release before, whose servers go on while the first new one starts.
#[tokio::test(flavor = "multi_thread")]
async fn tables_go_up_and_down_a_version_and_the_servers_of_both_work_on_them() {
    let Some(cluster) = Cluster::start("") else { return };
    let old = "CREATE TABLE midsession_schema (version BIGINT PRIMARY KEY); INSERT INTO midsession_schema VALUES (1);
        CREATE TABLE sessions (id TEXT COLLATE \"C\" PRIMARY KEY, revision BIGINT NOT NULL, record TEXT NOT NULL)";
    cluster.execute(old).await;
    let ended = |id: &str| {
        let record = json!({
            "state": "ended", "comm_type": "chat", "crm_support": "supported", "revision": 2,
            "end_user": { "identifier": "id-1" }, "last_linked_at": "2020-01-01T00:00:00Z", "ended_at": "2020-01-02T00:00:00Z",
        });
        format!("INSERT INTO sessions (id, revision, record) VALUES ('{id}', 2, '{record}')")
    };
    cluster.execute(&ended("before")).await;
    let now = OffsetDateTime::now_utc();
    let listed = async |store: &Postgres| -> Vec<String> {
        store.list_ended(now, None, 10).await.unwrap().into_iter().map(|ended| ended.id).collect()
    };
    let store = open(&cluster.url()).await;
    cluster.execute(&ended("meanwhile")).await;
    assert_eq!(listed(&store).await, ["before", "meanwhile"]);

    let page = include_str!("../docs/postgres.md");
    let down = page.split("```sql\n").find(|block| block.starts_with("ALTER TABLE sessions DROP COLUMN ended_at"));
    cluster.execute(down.unwrap().split("```").next().unwrap()).await;
    cluster.until("SELECT max(version) FROM midsession_schema", |version| version == 1).await;
    let update = "UPDATE sessions SET revision = 3, record = replace(record, '\"revision\":2', '\"revision\":3') WHERE id = 'before'";
    cluster.execute(update).await;
    cluster.execute(&ended("after")).await;

    Postgres::migrate(&cluster.url(), &PostgresOptions::default()).await.unwrap();
    assert_eq!(listed(&open(&cluster.url()).await).await, ["after", "before", "meanwhile"]);
}

impl Cluster {
    /// How many of its files, those of the log of writes among them, hold `text`.
    fn finds(&self, text: &str) -> usize {
        files(&self.data())
            .into_iter()
            .filter(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
            .count()
    }
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        // One may have gone meanwhile.
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else if let Ok(bytes) = std::fs::read(entry.path()) {
            found.push(bytes);
        }
    }
    found
}
