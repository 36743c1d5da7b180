use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::harness::{Client, Site};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_survives_sigkill_on_sqlite() {
    what_was_accepted_survives_sigkill(Site::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_survives_sigkill_on_postgres() {
    if let Some(site) = Site::postgres() {
        what_was_accepted_survives_sigkill(site).await;
    }
}

async fn what_was_accepted_survives_sigkill(site: Site) {
    let mut server = site.server("0s");
    for _ in 0..3 {
        let load = Load::start(&server.client()).await;
        sleep(Duration::from_secs(1)).await;
        server.kill();
        server = site.server("0s");
        assert!(load.settle(&server.client()).await > 100, "the kill was not under load");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_outlives_its_database_on_postgres() {
    let Some(site) = Site::postgres() else { return };
    let cluster = site.cluster.as_ref().unwrap();
    let server = site.server("0s");
    let client = server.client();
    let load = Load::start(&client).await;
    sleep(Duration::from_millis(500)).await;
    cluster.stop();

    let id = load.sessions[0].clone();
    for _ in 0..5 {
        let asked = Instant::now();
        let (status, body) = client.link(&id, "someone").await;
        assert_eq!((status, body.as_str()), (503, r#"{"message":"Service Unavailable: Please try again"}"#));
        assert_eq!(client.health().await, 503);
        assert!(asked.elapsed() < Duration::from_secs(10));
    }
    let accepted = load.accepted.load(Ordering::SeqCst);
    assert!(load.refused.load(Ordering::SeqCst), "the load did not notice");

    cluster.resume();
    client.recovered().await;
    sleep(Duration::from_secs(1)).await;
    assert!(load.settle(&client).await > accepted, "the load did not go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_outlives_the_loss_of_its_table_on_sqlite() {
    let site = Site::sqlite();
    let server = site.server("30s");
    let client = server.client();
    let id = client.start_chat().await;
    let database = sqlx::SqlitePool::connect(&site.url()).await.unwrap();

    sqlx::query("ALTER TABLE sessions RENAME TO away").execute(&database).await.unwrap();
    assert_eq!(client.health().await, 503);
    assert_eq!(client.link(&id, "id-1").await.0, 503);
    sqlx::query("ALTER TABLE away RENAME TO sessions").execute(&database).await.unwrap();
    client.recovered().await;

    let mut other_writer = database.begin_with("BEGIN IMMEDIATE").await.unwrap();
    assert_eq!(client.link(&id, "id-1").await.0, 503);
    sqlx::query("UPDATE sessions SET revision = revision").execute(&mut *other_writer).await.unwrap();
    other_writer.commit().await.unwrap();
    assert_eq!(client.link(&id, "id-1").await.0, 202);
    assert!(server.log().contains(r#""cause":"the database failed: code 5, database is locked""#), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_record_that_is_none_is_not_taken_for_a_session_nor_shown() {
    let site = Site::sqlite();
    let server = site.server("30s");
    let client = server.client();
    let id = client.start_chat().await;
    let database = sqlx::SqlitePool::connect(&site.url()).await.unwrap();
    let forged = r#"UPDATE sessions SET record = '{"state":"active","comm_type":"chat","crm_support":"marker"}'"#;
    sqlx::query(forged).execute(&database).await.unwrap();

    let failed = (500, r#"{"message":"Internal Server Error"}"#.to_owned());
    assert_eq!(client.link(&id, "id-1").await, failed);
    let log = server.log();
    assert!(log.contains("`crm_support` of the stored session is invalid") && !log.contains("marker"), "{log}");
}

/// Clients that link a session each, again and again, to person 1, 2, 3 …
struct Load {
    sessions: Vec<String>,
    clients: JoinSet<Progress>,
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    refused: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Progress {
    id: String,
    /// The last person whose link was answered 202.
    accepted: usize,
    /// The last person asked for; of those after `accepted` nothing is known.
    asked: usize,
}

impl Load {
    async fn start(client: &Client) -> Self {
        let mut load = Self {
            sessions: Vec::new(),
            clients: JoinSet::new(),
            stop: Arc::default(),
            accepted: Arc::default(),
            refused: Arc::default(),
        };
        for _ in 0..16 {
            let id = client.start_chat().await;
            load.sessions.push(id.clone());
            load.clients.spawn(load.client(client.clone(), id));
        }
        load
    }

    /// Goes on through 503s, and until the server is gone.
    fn client(&self, client: Client, id: String) -> impl Future<Output = Progress> + use<> {
        let (stop, all, refused) = (self.stop.clone(), self.accepted.clone(), self.refused.clone());
        async move {
            let mut progress = Progress { id, accepted: 0, asked: 0 };
            while !stop.load(Ordering::SeqCst) {
                progress.asked += 1;
                let body = json!({ "identifier": progress.asked.to_string() });
                match client.try_post(&format!("chats/{}/end_user", progress.id), body).await {
                    Some((202, _)) => {
                        progress.accepted = progress.asked;
                        all.fetch_add(1, Ordering::SeqCst);
                    }
                    Some((503, _)) => {
                        refused.store(true, Ordering::SeqCst);
                        sleep(Duration::from_millis(20)).await;
                    }
                    Some(other) => panic!("{other:?}"),
                    None => break,
                }
            }
            progress
        }
    }

    /// Compares what the clients were told with what `server` holds; answers how many links were accepted.
    async fn settle(self, server: &Client) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        for progress in self.clients.join_all().await {
            let stored = server.chat(&progress.id).await;
            let stored: usize = stored["end_user"]["identifier"].as_str().map_or(0, |person| person.parse().unwrap());
            assert!((progress.accepted..=progress.asked).contains(&stored), "lost: {stored} is stored of {progress:?}");
        }
        self.accepted.load(Ordering::SeqCst)
    }
}
