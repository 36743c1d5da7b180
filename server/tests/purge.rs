//! The bulk erasure of sessions that ended long ago, while a server runs.

use std::fmt::Write;

use serde_json::json;

use crate::harness::{Site, command};

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_erases_what_ended_long_ago_on_sqlite() {
    a_purge_erases_what_ended_long_ago(Site::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_erases_what_ended_long_ago_on_postgres() {
    if let Some(site) = Site::postgres() {
        a_purge_erases_what_ended_long_ago(site).await;
    }
}

async fn a_purge_erases_what_ended_long_ago(site: Site) {
    let server = site.server("30s");
    let client = server.client();
    // More than two batches that ended in 2020, one of them unreadable.
    let mut insert = "INSERT INTO sessions (id, revision, record) VALUES ".to_owned();
    for number in 0..1200 {
        let record = json!({
            "state": "ended", "comm_type": if number == 700 { "letter" } else { "chat" }, "crm_support": "supported",
            "end_user": { "identifier": "id-1" }, "last_linked_at": "2020-01-01T00:00:00Z",
            "ended_at": "2020-01-02T00:00:00Z", "revision": 2,
        });
        let comma = if number == 0 { "" } else { ", " };
        write!(insert, "{comma}('old-{number}', 2, '{record}')").unwrap();
    }
    site.execute(&insert).await;
    let (active, ended) = (client.start_chat().await, client.start_chat().await);
    for id in [&active, &ended] {
        assert_eq!(client.link(id, "id-1").await.0, 202);
    }
    client.post(&format!("chats/{ended}/end"), json!({})).await;

    assert_eq!(purge(&site, "30d"), "erased 1199 of 1202 sessions, skipped 1\n");
    for (id, kept) in [("old-0", false), ("old-1199", false), (&active, true), (&ended, true)] {
        assert_eq!(client.chat(id).await.get("end_user").is_some(), kept, "{id}");
    }
    assert_eq!(client.chat("old-0").await["revision"], 3);
    assert_eq!(purge(&site, "30d"), "erased 0 of 1202 sessions, skipped 1\n");
    assert_eq!(purge(&site, "0s"), "erased 1 of 1202 sessions, skipped 1\n");
    assert!(client.chat(&ended).await.get("end_user").is_none());
    assert!(client.chat(&active).await.get("end_user").is_some());
}

fn purge(site: &Site, ended_before: &str) -> String {
    let arguments = ["purge", "--ended-before", ended_before, "--database-url", &site.url()];
    let output = command().args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
