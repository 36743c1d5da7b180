use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use midsession::{Answer, LinkError};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::harness::{Server, Site, on_each_database};

on_each_database!(of_64_links_at_once_exactly_one_is_accepted);
/// Through two servers on one database where it takes two, and again on one session after another: not every start is a close one.
async fn of_64_links_at_once_exactly_one_is_accepted(site: Site) {
    let servers = servers(&site, "30s");
    let clients: Vec<_> = (0..64).map(|number| servers[number % servers.len()].client()).collect();
    for _ in 0..40 {
        let id = clients[0].start_chat().await;
        let start = Arc::new(Barrier::new(clients.len()));
        let mut links = JoinSet::new();
        for (number, client) in clients.iter().cloned().enumerate() {
            let (id, start) = (id.clone(), start.clone());
            links.spawn(async move {
                // So that all are connected, and none has to be first.
                assert_eq!(client.health().await, 200);
                start.wait().await;
                (number, client.link(&id, &format!("person-{number}")).await)
            });
        }
        let (accepted, refused): (Vec<_>, Vec<_>) =
            links.join_all().await.into_iter().partition(|(_, (status, _))| *status == 202);
        assert_eq!(accepted.len(), 1, "{accepted:?}");
        assert!(refused.iter().all(|(_, answer)| *answer == duplicate()), "{refused:?}");
        let stored = clients[1].chat(&id).await;
        assert_eq!(stored["end_user"]["identifier"], format!("person-{}", accepted[0].0));
        assert_eq!(stored["revision"], 1);
    }
}

on_each_database!(accepted_links_keep_their_distance);
/// 10,000 requests over 100 sessions, judged by what the database saw being written.
async fn accepted_links_keep_their_distance(site: Site) {
    const INTERVAL: Duration = Duration::from_millis(500);
    let servers = servers(&site, "0.5s");
    let audit = site.audit().await;
    let mut sessions = Vec::new();
    for _ in 0..100 {
        sessions.push(servers[0].client().start_chat().await);
    }

    let mut clients = JoinSet::new();
    for number in 0..50 {
        let (client, sessions) = (servers[number % servers.len()].client(), sessions.clone());
        clients.spawn(async move {
            let mut accepted = Vec::new();
            for request in 0..200 {
                // All clients go through the sessions together, so that they meet.
                let id = &sessions[request % sessions.len()];
                let identifier = format!("person-{number}-{request}");
                match client.link(id, &identifier).await {
                    (202, _) => accepted.push((id.clone(), identifier)),
                    answer => assert_eq!(answer, duplicate()),
                }
            }
            accepted
        });
    }
    let mut accepted: HashMap<String, Vec<String>> = HashMap::new();
    for (id, identifier) in clients.join_all().await.into_iter().flatten() {
        accepted.entry(id).or_default().push(identifier);
    }

    for id in sessions {
        let writes = audit.records(&id).await;
        let times: Vec<_> = writes.iter().map(last_linked_at).collect();
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= INTERVAL), "{times:?}");
        assert_eq!(servers[servers.len() - 1].client().chat(&id).await, *writes.last().expect("at least one link"));

        let mut written: Vec<_> = writes.iter().map(|record| record["end_user"]["identifier"].clone()).collect();
        written.sort_by_key(Value::to_string);
        let mut answered = accepted.remove(&id).unwrap_or_default();
        answered.sort();
        assert_eq!(written, answered, "written is what was answered 202, no more and no less");
    }
}

/// SQLite's file has one.
fn servers(site: &Site, interval: &str) -> Vec<Server> {
    let count = if site.cluster.is_some() { 2 } else { 1 };
    (0..count).map(|_| site.server(interval)).collect()
}

fn last_linked_at(record: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(record["last_linked_at"].as_str().unwrap(), &Rfc3339).unwrap()
}

fn duplicate() -> (u16, String) {
    let answer = Answer::from(&LinkError::Duplicate { retry_after: Duration::MAX });
    (answer.status, answer.body.to_owned())
}
