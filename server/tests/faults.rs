use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::harness::{Client, Site, on_each_database, post};

on_each_database!(what_was_accepted_survives_sigkill);
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

    site.execute("ALTER TABLE sessions RENAME TO away").await;
    assert_eq!(client.health().await, 503);
    assert_eq!(client.link(&id, "id-1").await.0, 503);
    site.execute("ALTER TABLE away RENAME TO sessions").await;
    client.recovered().await;
    assert_eq!(client.link(&id, "id-1").await.0, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_record_that_is_none_is_not_taken_for_a_session_nor_shown() {
    let site = Site::sqlite();
    let server = site.server("30s");
    let client = server.client();
    let id = client.start_chat().await;
    site.execute(r#"UPDATE sessions SET record = '{"state":"active","comm_type":"chat","crm_support":"marker"}'"#)
        .await;

    let failed = (500, r#"{"message":"Internal Server Error"}"#.to_owned());
    assert_eq!(client.link(&id, "id-1").await, failed);
    let log = server.log();
    assert!(log.contains("`crm_support` of the stored session is invalid") && !log.contains("marker"), "{log}");
}

on_each_database!(each_stored_link_has_its_line_in_the_log_though_its_client_hung_up);
/// Of clients that hang up as soon as they have sent their request, some are linked. The log tells which.
async fn each_stored_link_has_its_line_in_the_log_though_its_client_hung_up(site: Site) {
    let mut server = site.server("30s");
    let client = server.client();
    let mut sessions = Vec::new();
    for _ in 0..300 {
        sessions.push(client.start_chat().await);
    }
    let mut hasty = JoinSet::new();
    for (number, id) in sessions.iter().enumerate() {
        let path = format!("/apps/api/v1/chats/{id}/end_user");
        let request = post(&path, "content-type: application/json\r\n", br#"{"identifier":"id-1"}"#, false);
        let address = server.address.clone();
        hasty.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&request).await.unwrap();
            sleep(Duration::from_micros(number as u64 * 5)).await;
        });
    }
    hasty.join_all().await;
    let mut stored = 0;
    for id in &sessions {
        // Queued behind its link, so that the link is over.
        assert_eq!(client.post(&format!("chats/{id}/end"), json!({})).await.0, 200);
        let session = client.chat(id).await;
        stored += usize::from(session.get("end_user").is_some());
    }
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    let logged = server.log().lines().filter(|line| line.contains(r#""outcome":"first""#)).count();
    assert!(stored > 0, "none was fast enough");
    assert_eq!(logged, stored, "a line for each stored link");
}

/// Clients that link a session each, again and again, to person 1, 2, 3 …
pub struct Load {
    pub sessions: Vec<String>,
    clients: JoinSet<Progress>,
    stop: Arc<AtomicBool>,
    pub accepted: Arc<AtomicUsize>,
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
    pub async fn start(client: &Client) -> Self {
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
    pub async fn settle(self, server: &Client) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        for progress in self.clients.join_all().await {
            let stored = server.chat(&progress.id).await;
            let stored: usize = stored["end_user"]["identifier"].as_str().map_or(0, |person| person.parse().unwrap());
            assert!((progress.accepted..=progress.asked).contains(&stored), "lost: {stored} is stored of {progress:?}");
        }
        self.accepted.load(Ordering::SeqCst)
    }
}
