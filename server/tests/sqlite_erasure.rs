//! What was erased stands in no file of an SQLite database.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use midsession::{AnySession, CommType, EndUser, Session};
use midsession_server::{Change, ConditionalWrite, Origin, Purgeable, SessionChange, Sqlite, Store, WriteOutcome};
use rusqlite::Connection;
use serde_json::json;
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::harness::{Client, Site, command};

/// Each identifier and each e-mail address of a person who is to be erased has it.
const MARKER: &[u8] = b"to-be-erased";

#[tokio::test(flavor = "multi_thread")]
async fn within_a_minute_under_load_nothing_that_was_erased_is_in_any_file() {
    let site = Site::sqlite();
    let mut server = site.server("0s");
    let client = server.client();
    let load = Load::start(&client).await;
    let mut people = JoinSet::new();
    for number in 0..500 {
        people.spawn(linked_and_ended(client.clone(), number));
    }
    let ids = people.join_all().await;
    assert!(found(&site) > 100, "the search finds what is there");
    let mut erasures = JoinSet::new();
    for id in ids {
        let client = client.clone();
        erasures.spawn(async move { client.erase(&format!("chats/{id}")).await.0 });
    }
    assert!(erasures.join_all().await.iter().all(|status| *status == 204));
    let erased = Instant::now();
    while found(&site) > 0 {
        assert!(erased.elapsed() < Duration::from_mins(1), "{} are still there", found(&site));
        sleep(Duration::from_millis(500)).await;
    }
    assert!(load.stop().await > 100, "there was no load");
    assert_eq!(found(&site), 0, "it comes back");
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    assert_eq!(found(&site), 0, "it comes back at the stop");
    assert_whole(&site);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_erased_just_before_a_stop_is_in_no_file_after_it() {
    let site = Site::sqlite();
    let mut server = site.server("0s");
    let client = server.client();
    let mut ids = Vec::new();
    for number in 0..40 {
        ids.push(linked_and_ended(client.clone(), number).await);
    }
    for id in ids {
        assert_eq!(client.erase(&format!("chats/{id}")).await.0, 204);
    }
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    assert_eq!(found(&site), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_of_a_purge_nothing_that_it_erased_is_in_any_file() {
    let site = Site::sqlite();
    let mut server = site.server("0s");
    let client = server.client();
    let load = Load::start(&client).await;
    for number in 0..40 {
        linked_and_ended(client.clone(), number).await;
    }
    let purge = || command().args(["purge", "--ended-before", "0s", "--database-url", &site.url()]).output().unwrap();
    let purged = tokio::task::block_in_place(purge);
    assert_eq!(String::from_utf8_lossy(&purged.stdout), "erased 40 sessions, skipped 0\n", "{purged:?}");
    assert_eq!(found(&site), 0);
    assert!(load.stop().await > 0, "there was no load");
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    assert_eq!(found(&site), 0, "it comes back at the stop");
    assert_whole(&site);
}

/// Records that grow and shrink at random have SQLite move their neighbours from page to page.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_were_left_where_pages_were_split_and_merged_are_overwritten() {
    let site = Site::sqlite();
    let store = Sqlite::open(&site.url(), Duration::from_secs(2)).await.unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let ids: Vec<String> = (0..4000).map(|number| format!("session-{number}")).collect();
    let started = Session::start(CommType::Chat);
    write(&store, ids.iter().map(|id| ConditionalWrite::new(&**id, None, started.clone()))).await;
    for revision in 0..3 {
        let mut shuffled = ids.clone();
        random.shuffle(&mut shuffled);
        let mut linked = |id: &str| {
            let identifier = format!("to-be-erased-{}", "x".repeat(random.usize(0..200)));
            let person = EndUser::new(&*identifier).unwrap();
            (id.to_owned(), Session::start(CommType::Chat).with_end_user(person), revision)
        };
        let links: Vec<_> = shuffled.iter().map(|id| linked(id)).collect();
        write(&store, links.into_iter().map(|(id, session, revision)| at_revision(&id, session.into(), revision)))
            .await;
    }
    random.shuffle(&mut ids.clone());
    let ended = started.end(OffsetDateTime::UNIX_EPOCH);
    let erasures = ids.iter().map(|id| at_revision(id, ended.clone().into(), 3));
    let kind = SessionChange::Erased;
    let erased = Change { kind, revision: 4, at: OffsetDateTime::UNIX_EPOCH, origin: Origin::default() };
    write(&store, erasures.map(|write| ConditionalWrite { changes: vec![erased.clone()], ..write })).await;
    store.scrub().await.unwrap();
    assert_eq!(found(&site), 0);
    // Each page is written once more, as the writer has it in memory.
    write(&store, ids.iter().map(|id| at_revision(id, ended.clone().into(), 4))).await;
    assert_eq!(found(&site), 0, "it comes back");
    store.close().await;
    assert_eq!(found(&site), 0);
    assert_whole(&site);
}

/// Its last release did not overwrite what it deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_an_earlier_version_is_free_of_what_was_erased_from_its_first_start_on() {
    let site = Site::sqlite();
    earlier_version(&site);
    assert!(found(&site) > 100, "the earlier version leaves nothing: this test has shown nothing");
    let mut server = site.server("0s");
    assert_eq!(server.client().chat("session-7").await["state"], "ended");
    let started = Instant::now();
    while found(&site) > 0 {
        assert!(started.elapsed() < Duration::from_mins(1), "{} are still there", found(&site));
        sleep(Duration::from_millis(100)).await;
    }
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    assert_whole(&site);
}

/// It prints how many links a file takes a second with this schema and overwriting, beside one without either, in turns.
/// `MIDSESSION_COST_LINKS` says how many links a round has.
#[tokio::test(flavor = "multi_thread")]
async fn what_overwriting_costs_a_link_is_measured_side_by_side() {
    let links = std::env::var("MIDSESSION_COST_LINKS").map_or(640, |links| links.parse().unwrap());
    let (plain, now) = (Site::sqlite(), Site::sqlite());
    earlier_version(&plain);
    Sqlite::open(&now.url(), Duration::from_secs(2)).await.unwrap().close().await;
    let (mut plain, mut now) = (plain.sqlite_file(), now.sqlite_file());
    for (file, secure) in [(&mut plain, false), (&mut now, true)] {
        file.pragma_update(None, "synchronous", "FULL").unwrap();
        file.pragma_update(None, "wal_autocheckpoint", 16_384).unwrap();
        file.pragma_update(None, "secure_delete", secure).unwrap();
        let insert = "INSERT OR REPLACE INTO sessions (id, revision, record) VALUES (?1, 0, ?2)";
        let transaction = file.transaction().unwrap();
        for number in 0..10_000 {
            transaction.prepare_cached(insert).unwrap().execute((format!("load-{number}"), active(0, number))).unwrap();
        }
        transaction.commit().unwrap();
    }
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for round in 1..=5 {
        before.push(links_a_second(&mut plain, links, round));
        after.push(links_a_second(&mut now, links, round));
    }
    let median = |rates: &mut Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[2]
    };
    let (before, after) = (median(&mut before), median(&mut after));
    println!("links/s in transactions of 64: {before:.0} without, {after:.0} with, ratio {:.2}", after / before);
}

fn links_a_second(file: &mut Connection, links: usize, round: usize) -> f64 {
    let mut random = fastrand::Rng::with_seed(round as u64);
    let started = Instant::now();
    for _ in 0..links.div_ceil(64) {
        let transaction = file.transaction().unwrap();
        for _ in 0..64 {
            let number = random.usize(0..10_000);
            let update = "UPDATE sessions SET revision = revision + 1, record = ?2 WHERE id = ?1";
            let rows = (format!("load-{number}"), active(round, random.usize(..)));
            assert_eq!(transaction.prepare_cached(update).unwrap().execute(rows).unwrap(), 1);
        }
        transaction.commit().unwrap();
    }
    f64::from(u32::try_from(links).unwrap()) / started.elapsed().as_secs_f64()
}

fn active(revision: usize, person: usize) -> String {
    let record = json!({
        "state": "active", "comm_type": "chat", "crm_support": "supported", "revision": revision,
        "end_user": { "identifier": format!("person-{person}"), "name": "John Doe", "email": "johndoe@example.com" },
        "last_linked_at": "2026-11-22T12:00:00.123456789Z",
    });
    record.to_string()
}

/// As the first release wrote and erased.
fn earlier_version(site: &Site) {
    let file = site.sqlite_file();
    file.execute_batch(
        "PRAGMA journal_mode = WAL;
         CREATE TABLE midsession_schema (version BIGINT PRIMARY KEY);
         CREATE TABLE sessions (id TEXT PRIMARY KEY, revision BIGINT NOT NULL, record TEXT NOT NULL);
         INSERT INTO midsession_schema VALUES (1);",
    )
    .unwrap();
    let change = "INSERT OR REPLACE INTO sessions VALUES (?1, 0, ?2)";
    for number in 0..500 {
        let record = json!({
            "state": "ended", "comm_type": "chat", "crm_support": "supported", "revision": 1,
            "end_user": { "identifier": format!("to-be-erased-{number}") }, "ended_at": "2020-01-01T00:00:00Z",
        });
        file.execute(change, (format!("session-{number}"), record.to_string())).unwrap();
    }
    for number in 0..500 {
        let record = json!({
            "state": "ended", "comm_type": "chat", "crm_support": "supported", "revision": 2,
            "ended_at": "2020-01-01T00:00:00Z",
        });
        file.execute(change, (format!("session-{number}"), record.to_string())).unwrap();
    }
}

fn at_revision(id: &str, session: AnySession, expected: u64) -> ConditionalWrite {
    let mut record = serde_json::to_value(session).unwrap();
    record["revision"] = json!(expected + 1);
    ConditionalWrite::new(id, Some(expected), serde_json::from_value::<AnySession>(record).unwrap())
}

/// In batches, each of which is made.
async fn write(store: &Sqlite, writes: impl Iterator<Item = ConditionalWrite>) {
    for batch in writes.collect::<Vec<_>>().chunks(100) {
        assert!(store.write(batch).await.unwrap().iter().all(|outcome| *outcome == WriteOutcome::Applied));
    }
}

async fn linked_and_ended(client: Client, number: usize) -> String {
    let id = client.start_chat().await;
    let person = json!({
        "identifier": format!("to-be-erased-{number}"), "name": "x".repeat(number % 40 + 1),
        "email": format!("to-be-erased-{number}@example.com"),
    });
    assert_eq!(client.post(&format!("chats/{id}/end_user"), person).await.0, 202);
    assert_eq!(client.post(&format!("chats/{id}/end"), json!({})).await.0, 200);
    id
}

/// How often the marker is in the files that begin as the database's does.
fn found(site: &Site) -> usize {
    let database = site.sqlite_path();
    let name = database.file_name().unwrap().to_str().unwrap();
    let files = fs::read_dir(site.folder.path()).unwrap().map(|entry| entry.unwrap());
    let files = files.filter(|file| file.file_name().to_str().unwrap().starts_with(name));
    files.map(|file| count(&file.path())).sum()
}

fn count(file: &Path) -> usize {
    // SQLite deletes some of them at a stop.
    let bytes = fs::read(file).unwrap_or_default();
    bytes.windows(MARKER.len()).filter(|window| *window == MARKER).count()
}

fn assert_whole(site: &Site) {
    let file: Connection = site.sqlite_file();
    let said: String = file.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(said, "ok");
}

/// Other people's links, one after the other.
struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<usize>,
}

impl Load {
    async fn start(client: &Client) -> Self {
        let (stop, mut clients) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for number in 0..4 {
            let (client, stop, mut links) = (client.clone(), stop.clone(), 0);
            let id = client.start_chat().await;
            clients.spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(client.link(&id, &format!("person-{number}-{links}")).await.0, 202);
                    links += 1;
                }
                links
            });
        }
        Self { stop, clients }
    }

    /// How many there were.
    async fn stop(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.clients.join_all().await.into_iter().sum()
    }
}
