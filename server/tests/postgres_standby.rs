//! The PostgreSQL engine with standbys: which of them has what was acknowledged, and which server is used.

use std::sync::Arc;

use midsession_server::{Postgres, PostgresOptions, Store, WriteOutcome};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::harness::Server;
use crate::postgres::{Load, open};
use crate::postgres_harness::{Bouncer, Cluster, WAITING, link, start, stored, write};

const SYNCHRONOUS: &str = "synchronous_standby_names = 'mirror'";

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_found_on_the_standby_when_the_primary_is_killed() {
    the_standby_takes_over(Cluster::kill).await;
}

/// Its kernel goes on, so that its connections neither answer nor break.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_found_on_the_standby_when_the_primary_hangs() {
    the_standby_takes_over(Cluster::hang).await;
}

async fn the_standby_takes_over(end: fn(&Cluster)) {
    let Some(primary) = Cluster::start(SYNCHRONOUS) else { return };
    let standby = primary.standby("mirror");
    // The standby first: it refuses writes, so it is passed over.
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", standby.port, primary.port);
    let url = format!("postgres://midsession@{hosts}/postgres?target_session_attrs=read-write");
    let store = Arc::new(open(&url).await);
    let load = Load::start(&store).await;
    load.goes_on().await;

    end(&primary);
    standby.promote();
    // It would wait for a standby of its own.
    standby.set("synchronous_standby_names = ''").await;
    load.goes_on().await;
    load.settle().await;
}

/// PostgreSQL's own promise: a commit that waits for its standby is not undone when its backend is ended. It is visible from
/// then on, to everyone.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_without_its_standby_is_not_acknowledged_and_reads_go_on() {
    let Some(cluster) = Cluster::start("") else { return };
    let (store, other) = (open(&cluster.url()).await, open(&cluster.url()).await);
    assert_eq!(store.write(&[start("a"), start("b"), start("c")]).await.unwrap(), [WriteOutcome::Applied; 3]);
    cluster.demand_standby().await;

    let failed = store.write(&[link("a", 0, "someone")]).await.unwrap_err();
    assert!(!failed.nothing_was_written(), "{failed}");
    let mut writers = JoinSet::new();
    for _ in 0..32 {
        let store = store.clone();
        writers.spawn(async move { write(&store, link("b", 0, "someone")).await });
    }
    while let Some(written) = writers.join_next().await {
        // The first waits for the standby, and the others for its row.
        assert!(matches!(written.unwrap(), None | Some(WriteOutcome::Busy)));
    }
    assert_eq!(stored(&store, "c").await, Some((0, String::new())), "a read waited for a write");
    assert_eq!(stored(&store, "b").await, Some((0, String::new())), "no one was told of it yet");

    cluster.until(WAITING, |waiting| waiting > 0).await;
    cluster.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'").await;
    cluster.until("SELECT revision FROM sessions WHERE id = 'b'", |revision| revision == 1).await;
    for server in [&store, &other] {
        assert_eq!(stored(server, "b").await, Some((1, "someone".to_owned())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_an_administrator_releases_from_its_wait_counts_as_committed_and_the_log_warns() {
    let Some(cluster) = Cluster::start("") else { return };
    let Some(bouncer) = Bouncer::start(cluster.port, "default_pool_size = 4") else { return };
    for url in [cluster.url(), bouncer.url()] {
        cluster.set("synchronous_standby_names = ''").await;
        let folder = TempDir::new().unwrap();
        let server = Server::start(&url, "0s", &folder.path().join("log"));
        let client = server.client();
        let id = client.start_chat().await;
        cluster.demand_standby().await;
        let linking = tokio::spawn({
            let (client, id) = (client.clone(), id.clone());
            async move { client.link(&id, "someone").await }
        });
        cluster.until(WAITING, |waiting| waiting > 0).await;
        cluster.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'").await;
        assert_eq!(linking.await.unwrap().0, 202);
        assert!(server.log().contains("a commit was released from its wait for the standby"), "{}", server.log());
    }
}

/// Its standby was promoted, so that none confirms its commits any more. It reads and takes statements as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_whose_commits_hang_is_left_by_a_server_with_few_requests_and_not_started_on() {
    let Some(old) = Cluster::start(SYNCHRONOUS) else { return };
    let new = old.standby("mirror");
    let url = format!("postgres://midsession@127.0.0.1:{},127.0.0.1:{}/postgres", old.port, new.port);
    let store = open(&url).await;
    assert_eq!(write(&store, start("a")).await, Some(WriteOutcome::Applied));
    new.promote();
    // It would wait for a standby of its own.
    new.set("synchronous_standby_names = ''").await;

    // One request at a time, each of another session, and fewer than the connections that hung commits could take.
    let few = PostgresOptions::default().connections;
    let moved = |number: usize| {
        let (store, change) = (store.clone(), start(&format!("new-{number}")));
        async move { write(&store, change).await == Some(WriteOutcome::Applied) }
    };
    let mut tries = 0;
    while !moved(tries).await {
        tries += 1;
        assert!(tries < few, "it stays with a primary whose commits hang");
    }
    let known = format!("new-{tries}");
    assert_eq!(stored(&store, &known).await, Some((0, String::new())));

    // Of two that start now, neither has ever known the old one to fail.
    for _ in 0..2 {
        let fresh = Postgres::open(&url, &PostgresOptions::default()).await.unwrap();
        assert_eq!(stored(&fresh, &known).await, Some((0, String::new())), "an old server's state was served");
        assert_eq!(stored(&fresh, "a").await, Some((0, String::new())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_warns_of_commits_that_do_not_wait_for_the_standby_that_is_demanded() {
    let Some(cluster) = Cluster::start("") else { return };
    let folder = TempDir::new().unwrap();
    let warning = "synchronous_commit is local";
    cluster.execute("ALTER DATABASE postgres SET synchronous_commit = local").await;
    let server = Server::start(&cluster.url(), "30s", &folder.path().join("alone"));
    assert!(!server.log().contains(warning), "{}", server.log());
    cluster.set("synchronous_standby_names = 'mirror'").await;
    cluster.until("SELECT length(current_setting('synchronous_standby_names'))::bigint", |length| length > 0).await;
    let server = Server::start(&cluster.url(), "30s", &folder.path().join("demanded"));
    assert!(server.log().contains(warning), "{}", server.log());
}
