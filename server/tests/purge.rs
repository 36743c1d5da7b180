//! The bulk erasure of sessions that ended long ago, while a server runs.

use std::fmt::Write;
use std::time::Duration;

use midsession::{AnySession, CommType, EndUser, Session};
use midsession_server::{ConditionalWrite, EndedSession, Purgeable, Sqlite};
use serde_json::json;
use time::OffsetDateTime;
use time::ext::NumericalDuration;

use crate::harness::{Site, command, on_each_database};

on_each_database!(a_purge_erases_what_ended_long_ago);
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

    assert_eq!(purge(&site, "30d"), "erased 1199 sessions, skipped 1\n");
    for (id, kept) in [("old-0", false), ("old-1199", false), (&active, true), (&ended, true)] {
        assert_eq!(client.chat(id).await.get("end_user").is_some(), kept, "{id}");
    }
    assert_eq!(client.chat("old-0").await["revision"], 3);
    assert_eq!(purge(&site, "30d"), "erased 0 sessions, skipped 1\n");
    assert_eq!(purge(&site, "0s"), "erased 1 sessions, skipped 1\n");
    assert!(client.chat(&ended).await.get("end_user").is_none());
    assert!(client.chat(&active).await.get("end_user").is_some());
}

fn purge(site: &Site, ended_before: &str) -> String {
    let arguments = ["purge", "--ended-before", ended_before, "--database-url", &site.url()];
    let output = command().args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_have_something_to_erase_are_listed_in_the_order_of_their_end_on_sqlite() {
    let site = Site::sqlite();
    let store = Sqlite::open(&site.url(), Duration::from_secs(2)).await.unwrap();
    ended_sessions_are_listed(&store).await;
    // Of earlier versions a record may be in another order, or have another offset. What is no session is passed over.
    site.execute(
        r#"INSERT INTO sessions (id, revision, record) VALUES
        ('other', 1, '{ "ended_at": "2020-01-01T01:00:05+01:00", "end_user" : {"identifier": "id-1"} }'),
        ('broken', 1, '{ "ended_at": "2020-01-01T00:00:05Z", "end_user" : {"identifier": "id-1"}'),
        ('list', 1, '["ended_at", "end_user"]')"#,
    )
    .await;
    let all = store.list_ended(start() + 10.seconds(), None, 100).await.unwrap();
    let others: Vec<_> = all.into_iter().filter(|ended| ended.id.len() > 1).collect();
    assert_eq!(others, [EndedSession { id: "other".to_owned(), ended_at: start() + 5.seconds() }]);
}

/// On an empty store. Sessions that end within the last second may be listed, too.
pub async fn ended_sessions_are_listed<S: Purgeable>(store: &S) {
    let linked = || Session::start(CommType::Chat).with_end_user(EndUser::new("id-1").unwrap());
    let ended = |id: &str, seconds: i64| ConditionalWrite::new(id, None, linked().end(start() + seconds.seconds()));
    let writes = [
        ended("b", 3),
        ended("A", 3),
        ended("c", 1),
        ended("a", 3),
        ended("l", 20),
        ConditionalWrite::new("active", None, linked()),
        ConditionalWrite::new("anonymous", None, Session::start(CommType::Call).end(start())),
        ConditionalWrite::new("erased", None, AnySession::from(linked().end(start())).erase()),
    ];
    store.write(&writes).await.unwrap();
    let ids = |page: &[EndedSession]| page.iter().map(|ended| ended.id.clone()).collect::<Vec<_>>();
    let before = start() + 10.seconds();
    let first = store.list_ended(before, None, 3).await.unwrap();
    assert_eq!(ids(&first), ["c", "A", "a"]);
    let second = store.list_ended(before, first.last(), 3).await.unwrap();
    assert_eq!(ids(&second), ["b"]);
    assert!(store.list_ended(before, second.last(), 3).await.unwrap().is_empty());
    assert_eq!(ids(&store.list_ended(start() + 2.seconds(), None, 3).await.unwrap()), ["c"]);
}

fn start() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_577_836_800).unwrap()
}
