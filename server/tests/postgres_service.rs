//! The server on PostgreSQL servers that are broken on purpose, as its clients meet it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::faults::Load;
use crate::harness::Server;
use crate::postgres_harness::Cluster;

/// A request may take 5 s by default.
const IN_TIME: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn links_that_were_answered_202_are_on_the_standby_that_took_over_and_the_server_goes_on() {
    let Some(primary) = Cluster::start("synchronous_standby_names = 'mirror'") else { return };
    let standby = primary.standby("mirror");
    let folder = TempDir::new().unwrap();
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", primary.port, standby.port);
    let url = format!("postgres://midsession@{hosts}/postgres?target_session_attrs=read-write");
    let server = Server::start(&url, "0s", &folder.path().join("log"));
    let client = server.client();
    let load = Load::start(&client).await;
    more_links(&load).await;

    primary.kill();
    standby.promote();
    // It would wait for a standby of its own.
    standby.set("synchronous_standby_names = ''").await;
    client.recovered().await;
    more_links(&load).await;
    load.settle(&client).await;
}

async fn more_links(load: &Load) {
    let (before, started) = (load.accepted.load(Ordering::SeqCst), Instant::now());
    while load.accepted.load(Ordering::SeqCst) < before + 100 {
        assert!(started.elapsed() < Duration::from_mins(1), "no links within a minute");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_is_503_in_time_and_no_pile_up_on_either_side() {
    let Some(cluster) = Cluster::start("") else { return };
    let folder = TempDir::new().unwrap();
    let server = Server::start(&cluster.url(), "0s", &folder.path().join("log"));
    let client = server.client();
    let id = client.start_chat().await;
    let locker = cluster.client().await;
    locker.batch_execute("BEGIN; LOCK TABLE sessions").await.unwrap();

    let mut clients = JoinSet::new();
    for number in 0..100 {
        let (client, id) = (client.clone(), id.clone());
        clients.spawn(async move {
            let asked = Instant::now();
            let status = match number % 3 {
                0 => client.health().await,
                _ => client.link(&id, "someone").await.0,
            };
            assert_eq!(status, 503);
            assert!(asked.elapsed() < IN_TIME, "{:?}", asked.elapsed());
        });
    }
    let mut most = 0;
    let count = "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'midsession-server'";
    while !clients.is_empty() {
        while let Some(done) = clients.try_join_next() {
            done.unwrap();
        }
        let backends: i64 = locker.query_one(count, &[]).await.unwrap().get(0);
        most = most.max(backends);
        sleep(Duration::from_millis(50)).await;
    }
    assert!((1..=16).contains(&most), "{most} backends");
    locker.batch_execute("COMMIT").await.unwrap();
    client.recovered().await;
    assert_eq!(client.link(&id, "someone").await.0, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_database_is_503_in_time_and_the_server_recovers() {
    let Some(cluster) = Cluster::start("") else { return };
    let folder = TempDir::new().unwrap();
    let server = Server::start(&cluster.url(), "0s", &folder.path().join("log"));
    let client = server.client();
    let load = Load::start(&client).await;
    more_links(&load).await;
    let id = client.start_chat().await;
    cluster.hang();
    for _ in 0..2 {
        let asked = Instant::now();
        assert_eq!(client.health().await, 503);
        assert_eq!(client.link(&id, "someone").await.0, 503);
        assert!(asked.elapsed() < 2 * IN_TIME, "{:?}", asked.elapsed());
    }
    cluster.wake();
    client.recovered().await;
    more_links(&load).await;
    load.settle(&client).await;
    let backends = cluster.backends("midsession postgres").len();
    assert!(backends <= 16, "{backends} backends");
}
