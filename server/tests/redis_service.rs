//! The server on a Redis Cluster: what the other engines are asked, too.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use midsession_server::{Redis, RedisOptions};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::conformance::every_case_is_answered;
use crate::faults::Load;
use crate::harness::Server;
use crate::redis_harness::{Cluster, REQUEST_TIMEOUT, is_missing};

#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_the_conformance_kit_is_answered_on_a_redis_cluster() {
    if is_missing() {
        return;
    }
    let cluster = Cluster::without_failover();
    // A disk that others use may take seconds to write.
    let options = RedisOptions { timeout: REQUEST_TIMEOUT, start: REQUEST_TIMEOUT, ..RedisOptions::default() };
    let store = Redis::open(&cluster.url(), &options).await.unwrap();
    // The first three nodes are the masters.
    let clear = async || cluster.nodes[..3].iter().for_each(|master| master.tell(&["FLUSHALL"]));
    every_case_is_answered(clear, Arc::new(store)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_survives_sigkill_on_a_redis_cluster() {
    if is_missing() {
        return;
    }
    let (cluster, folder) = (Cluster::start(), TempDir::new().unwrap());
    let start = || Server::start(&cluster.url(), "0s", &folder.path().join("log"));
    let mut server = start();
    for _ in 0..3 {
        let load = Load::start(&server.client()).await;
        sleep(Duration::from_secs(1)).await;
        server.kill();
        server = start();
        assert!(load.settle(&server.client()).await > 0, "the kill was not under load");
    }
}

/// 10,000 requests over 100 sessions through two servers. A revision counts the links that were stored.
#[tokio::test(flavor = "multi_thread")]
async fn each_accepted_link_is_stored_once_on_a_redis_cluster() {
    if is_missing() {
        return;
    }
    let (cluster, folder) = (Cluster::start(), TempDir::new().unwrap());
    let servers = ["one", "two"].map(|name| Server::start(&cluster.url(), "0.5s", &folder.path().join(name)));
    let mut sessions = Vec::new();
    for _ in 0..100 {
        sessions.push(servers[0].client().start_chat().await);
    }
    let mut clients = JoinSet::new();
    for number in 0..50 {
        let (client, sessions) = (servers[number % 2].client(), sessions.clone());
        clients.spawn(async move {
            let (mut accepted, mut unknown) = (Vec::new(), Vec::new());
            for request in 0..200 {
                // All clients go through the sessions together, so that they meet.
                let id = &sessions[request % sessions.len()];
                let identifier = format!("person-{number}-{request}");
                match client.link(id, &identifier).await {
                    (202, _) => accepted.push((id.clone(), identifier)),
                    // On a busy machine a replica may be too slow.
                    (503, _) => unknown.push((id.clone(), identifier)),
                    (status, body) => assert!(status == 400 && body.contains("Duplicate request"), "{status} {body}"),
                }
            }
            (accepted, unknown)
        });
    }
    let mut accepted: HashMap<String, Vec<String>> = HashMap::new();
    let mut possible: HashMap<String, Vec<String>> = HashMap::new();
    for (certain, unknown) in clients.join_all().await {
        for (id, identifier) in certain {
            possible.entry(id.clone()).or_default().push(identifier.clone());
            accepted.entry(id).or_default().push(identifier);
        }
        for (id, identifier) in unknown {
            possible.entry(id).or_default().push(identifier);
        }
    }
    assert!(!accepted.is_empty(), "none was answered 202");
    for id in sessions {
        let stored = servers[1].client().chat(&id).await;
        let (accepted, possible) = (accepted.remove(&id).unwrap_or_default(), possible.remove(&id).unwrap_or_default());
        let revision = usize::try_from(stored["revision"].as_u64().unwrap()).unwrap();
        assert!((accepted.len()..=possible.len()).contains(&revision), "{revision}: {accepted:?} of {possible:?}");
        if let Some(last) = stored["end_user"]["identifier"].as_str() {
            assert!(possible.iter().any(|identifier| identifier == last), "{last} was not accepted");
        }
    }
}
