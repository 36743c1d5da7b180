//! Rows of PostgreSQL that something else holds, and rows that are not what they should be.

use midsession_server::{ConditionalWrite, Store, WriteOutcome};
use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::Site;
use crate::postgres::open;
use crate::postgres_harness::{Bouncer, Cluster, link, start, stored};

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_held_is_put_aside_by_itself() {
    let Some(cluster) = Cluster::start("") else { return };
    let Some(bouncer) = Bouncer::start(cluster.port, "default_pool_size = 4") else { return };
    for url in [cluster.url(), bouncer.url()] {
        cluster.execute("DROP TABLE IF EXISTS sessions, midsession_schema").await;
        let store = open(&url).await;
        let ids: Vec<String> = (0..50).map(|number| format!("session-{number}")).collect();
        let new: Vec<_> = ids.iter().map(|id| start(id)).collect();
        store.write(&new).await.unwrap();
        let other = cluster.client().await;
        other.batch_execute("BEGIN; SELECT FROM sessions WHERE id = 'session-7' FOR UPDATE").await.unwrap();

        // At first it is not known that it is held; then it is.
        for revision in 0..3 {
            let links: Vec<_> = ids
                .iter()
                .map(|id| link(id, if id == "session-7" { 0 } else { revision }, "someone"))
                .chain([link("none", 0, "someone"), start(&format!("new-{revision}")), start("session-1")])
                .collect();
            let outcome = |write: &ConditionalWrite| match &*write.id {
                "session-7" => WriteOutcome::Busy,
                "none" => WriteOutcome::Conflict,
                "session-1" if write.expected.is_none() => WriteOutcome::Conflict,
                _ => WriteOutcome::Applied,
            };
            // A batch has an id once.
            let links: Vec<_> = links.into_iter().filter(|write| &*write.id != "session-1").collect();
            let expected: Vec<_> = links.iter().map(outcome).collect();
            assert_eq!(store.write(&links).await.unwrap(), expected, "{revision}");
            // A held row is read as ever, and a condition that does not hold is told apart.
            assert_eq!(stored(&store, "session-7").await, Some((0, String::new())));
        }
        other.batch_execute("UPDATE sessions SET record = record WHERE id = 'session-7'; COMMIT").await.unwrap();
        let late = [link("session-7", 3, "someone"), link("session-8", 3, "someone")];
        assert_eq!(store.write(&late).await.unwrap(), [WriteOutcome::Conflict, WriteOutcome::Applied]);
        assert_eq!(store.write(&[link("session-7", 0, "someone")]).await.unwrap(), [WriteOutcome::Applied]);
    }
}

/// Without the second look the starts would wait for whoever holds the record.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_record_of_the_probe_does_not_hold_up_a_start() {
    let Some(cluster) = Cluster::start("") else { return };
    let Some(bouncer) = Bouncer::start(cluster.port, "default_pool_size = 4") else { return };
    open(&cluster.url()).await;
    let other = cluster.client().await;
    other.batch_execute("BEGIN; SELECT FROM sessions WHERE id = 'probe:ready' FOR UPDATE").await.unwrap();
    for url in [cluster.url(), bouncer.url()] {
        let store = open(&url).await;
        assert_eq!(store.write(&[start(&url)]).await.unwrap(), [WriteOutcome::Applied]);
    }
    other.batch_execute("COMMIT").await.unwrap();
}

/// Another server's start of the same session, say, whose commit waits for a standby.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_someone_else_is_about_to_insert_is_put_aside_by_itself() {
    let Some(cluster) = Cluster::start("") else { return };
    let store = open(&cluster.url()).await;
    let other = cluster.client().await;
    other.batch_execute("BEGIN; INSERT INTO sessions (id, revision, record) VALUES ('b', 0, '{}')").await.unwrap();
    let written = store.write(&["a", "b", "c"].map(start)).await.unwrap();
    assert_eq!(written, [WriteOutcome::Applied, WriteOutcome::Busy, WriteOutcome::Applied]);
    other.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(store.write(&[start("b")]).await.unwrap(), [WriteOutcome::Applied]);
}

/// Each waits for a row that the other has.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_someone_else_that_crosses_a_batch_is_not_aborted_for_it() {
    let Some(cluster) = Cluster::start("") else { return };
    let store = open(&cluster.url()).await;
    store.write(&["a", "b"].map(start)).await.unwrap();
    let other = cluster.client().await;
    other.batch_execute("BEGIN; SELECT FROM sessions WHERE id = 'b' FOR UPDATE").await.unwrap();
    let batch = tokio::spawn({
        let store = store.clone();
        async move { store.write(&[link("a", 0, "x"), link("b", 0, "x")]).await }
    });
    cluster
        .until("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND wait_event_type = 'Lock'", |_| true)
        .await;
    other.batch_execute("SELECT FROM sessions WHERE id = 'a' FOR UPDATE; COMMIT").await.unwrap();
    let written = batch.await.unwrap().unwrap();
    assert!(written.iter().all(|written| matches!(written, WriteOutcome::Applied | WriteOutcome::Busy)), "{written:?}");
}

/// The whole way: clients, shards, the database.
#[tokio::test(flavor = "multi_thread")]
async fn one_held_row_delays_no_link_of_another_session() {
    let Some(site) = Site::postgres() else { return };
    let server = site.server("0s");
    let client = server.client();
    let held = client.start_chat().await;
    let other = site.cluster.as_ref().unwrap().connect().await;
    other.batch_execute(&format!("BEGIN; SELECT FROM sessions WHERE id = '{held}' FOR UPDATE")).await.unwrap();

    let mut stuck = JoinSet::new();
    for _ in 0..4 {
        let (client, held) = (client.clone(), held.clone());
        stuck.spawn(async move { client.link(&held, "someone").await.0 });
    }
    // Over all shards, and for as long as the others are stuck.
    let mut links = 0;
    while stuck.try_join_next().is_none() {
        let id = client.start_chat().await;
        assert_eq!(client.link(&id, "someone").await.0, 202);
        links += 1;
    }
    // A link at a time takes some milliseconds. Behind a held row it took two seconds.
    assert!(links > 50, "{links} links while one row was held");
    while let Some(status) = stuck.join_next().await {
        assert_eq!(status.unwrap(), 503);
    }
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(client.link(&held, "someone").await.0, 202);
}

/// Someone changed a record or a column by hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_whose_revision_is_not_that_of_its_record_is_corrected_and_written() {
    let Some(site) = Site::postgres() else { return };
    let server = site.server("0s");
    let client = server.client();
    for revision in [7, -1, 1] {
        let (wrong, right) = (client.start_chat().await, client.start_chat().await);
        assert_eq!(client.link(&wrong, "someone").await.0, 202);
        assert_eq!(client.health().await, 200);
        site.execute(&format!("UPDATE sessions SET revision = {revision} WHERE id IN ('{wrong}', 'probe:ready')"))
            .await;
        for id in [&wrong, &right] {
            assert_eq!(client.link(id, "someone-else").await.0, 202);
            assert_eq!(client.post(&format!("chats/{id}/end"), json!({})).await.0, 200);
        }
        assert_eq!(client.chat(&wrong).await["revision"], 3);
        client.recovered().await;
        let row = site.cluster.as_ref().unwrap().connect().await;
        let row = row.query_one("SELECT revision FROM sessions WHERE id = $1", &[&wrong]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 3);
    }
}
