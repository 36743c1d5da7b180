//! What a server does with the records of a later one, and this server beside that of an earlier commit.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Once;

use serde_json::{Value, json};

use crate::harness::{Client, Server, Site, TOKEN, command};

#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_a_later_version_is_ignored_and_gone_after_the_next_write_on_sqlite() {
    a_field_of_a_later_version(Site::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_a_later_version_is_ignored_and_gone_after_the_next_write_on_postgres() {
    let Some(site) = Site::postgres() else { return };
    a_field_of_a_later_version(site).await;
}

async fn a_field_of_a_later_version(site: Site) {
    let server = site.server("30s");
    let client = server.client();
    let id = client.start_chat().await;
    site.execute("UPDATE sessions SET record = replace(record, '{\"state\"', '{\"later\":1,\"state\"')").await;
    let later = site.count("SELECT count(*) FROM sessions WHERE record LIKE '%later%'").await;
    assert!(later > 0);
    assert_eq!(client.link(&id, "a").await.0, 202);
    assert_eq!(client.chat(&id).await["end_user"], json!({ "identifier": "a" }));
    let later_now = site.count("SELECT count(*) FROM sessions WHERE record LIKE '%later%'").await;
    assert_eq!(later_now, later - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_server_and_this_one_follow_each_other_on_one_sqlite_file() {
    let Some(earlier) = Earlier::find() else { return };
    let site = Site::sqlite();
    let server = earlier.server(&site);
    let old = People::arrive(&server.client()).await;
    stop(server);
    let schema = site.count(SCHEMA).await;

    let server = site.server("0s");
    let client = server.client();
    old.are_known_to(&client).await;
    let new = People::arrive(&client).await;
    old.go_on(&client).await;
    stop(server);
    assert!(site.count(SCHEMA).await > schema);
    earlier.is_refused(&site);

    let down =
        command().args(["migrate", "--database-url", &site.url(), "--to", &schema.to_string()]).output().unwrap();
    assert!(down.status.success(), "{down:?}");
    let server = earlier.server(&site);
    for people in [&old, &new] {
        people.are_known_to(&server.client()).await;
        people.go_on(&server.client()).await;
    }
    stop(server);

    let server = site.server("0s");
    for people in [&old, &new] {
        people.are_known_to(&server.client()).await;
        people.go_on(&server.client()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_server_and_this_one_work_on_one_postgres_at_once_whichever_starts_first() {
    let Some(earlier) = Earlier::find() else { return };
    let Some(site) = Site::postgres() else { return };
    let before = earlier.server(&site);
    let old = People::arrive(&before.client()).await;
    let server = site.server("0s");
    work_at_once(&before, &server, &old).await;

    // A server of the earlier release that is started now has to have its own schema, under the one that runs.
    earlier.is_refused(&site);
    let down = include_str!("../docs/postgres.md").split("```sql\n");
    let down = down.into_iter().find(|block| block.starts_with("ALTER TABLE sessions DROP COLUMN ended_at")).unwrap();
    site.execute(down.split("```").next().unwrap()).await;
    let again = earlier.server(&site);
    work_at_once(&again, &server, &old).await;

    let newest = site.server("0s");
    work_at_once(&again, &newest, &old).await;
    work_at_once(&before, &server, &old).await;
}

/// Each has sessions of its own, knows those of the other and goes on with them, and of two links only one is accepted.
async fn work_at_once(earlier: &Server, server: &Server, known: &People) {
    let (earlier, client) = (earlier.client(), server.client());
    let (theirs, ours) = (People::arrive(&earlier).await, People::arrive(&client).await);
    for people in [known, &theirs, &ours] {
        for client in [&earlier, &client, &earlier] {
            people.are_known_to(client).await;
            people.go_on(client).await;
        }
    }
    // Both decide on the same revision again and again, and each write is of one of the two.
    let id = earlier.start_chat().await;
    let links = (0..40).map(|number| {
        let (client, id) = (if number % 2 == 0 { earlier.clone() } else { client.clone() }, id.clone());
        tokio::spawn(async move { client.link(&id, &format!("racer-{number}")).await.0 })
    });
    let mut accepted = 0;
    for link in links.collect::<Vec<_>>() {
        accepted += u64::from(link.await.unwrap() == 202);
    }
    assert_eq!(client.chat(&id).await["revision"], accepted);
    assert_eq!(earlier.chat(&id).await, client.chat(&id).await);
}

/// Sessions in each state that a release can store.
struct People {
    untouched: String,
    linked: String,
    ended: String,
    erased: String,
}

impl People {
    async fn arrive(client: &Client) -> Self {
        let untouched = client.start_chat().await;
        let linked = client.start_chat().await;
        let person =
            json!({ "identifier": "id-1", "name": "Zo\u{eb} \"Z\"", "email": "zoe@example.com", "phone": "123-456" });
        assert_eq!(client.post(&format!("chats/{linked}/end_user"), person).await.0, 202);
        let [ended, erased] = [client.start_chat().await, client.start_chat().await];
        for id in [&ended, &erased] {
            assert_eq!(client.link(id, "id-2").await.0, 202);
            assert_eq!(client.post(&format!("chats/{id}/end"), json!({})).await.0, 200);
        }
        let mut answer = client.erase(&format!("chats/{erased}")).await;
        if answer.0 == 405 {
            // The earlier server has it at the session itself.
            answer = client.delete(&format!("chats/{erased}")).await;
        }
        assert_eq!(answer.0, 204);
        Self { untouched, linked, ended, erased }
    }

    async fn are_known_to(&self, client: &Client) {
        let [untouched, linked, ended, erased] =
            [&self.untouched, &self.linked, &self.ended, &self.erased].map(|id| client.chat(id));
        assert_eq!(untouched.await["state"], "active");
        let linked = linked.await;
        assert_eq!((&linked["state"], &linked["end_user"]["identifier"]), (&json!("active"), &json!("id-1")));
        assert_eq!(
            (&linked["end_user"]["name"], &linked["end_user"]["phone"]),
            (&json!("Zo\u{eb} \"Z\""), &json!("123-456"))
        );
        let ended = ended.await;
        assert_eq!((&ended["state"], &ended["end_user"]["identifier"]), (&json!("ended"), &json!("id-2")));
        let erased = erased.await;
        assert_eq!((&erased["state"], &erased["end_user"]), (&json!("ended"), &Value::Null));
    }

    /// One link of each, with the answer that it must have.
    async fn go_on(&self, client: &Client) {
        assert_eq!(client.link(&self.untouched, "someone").await.0, 202);
        let before = client.chat(&self.linked).await["revision"].as_u64().unwrap();
        assert_eq!(client.link(&self.linked, "id-1").await.0, 202);
        assert_eq!(client.chat(&self.linked).await["revision"], before + 1);
        for id in [&self.ended, &self.erased] {
            let answer = (400, r#"{"message":"Chat is already ended"}"#.to_owned());
            assert_eq!(client.link(id, "someone").await, answer);
        }
    }
}

/// The server of an earlier commit, which `.ci/server` builds.
struct Earlier(PathBuf);

const SCHEMA: &str = "SELECT max(version) FROM midsession_schema";

impl Earlier {
    /// None, and one line to say so, where there is none.
    fn find() -> Option<Self> {
        static LEFT_OUT: Once = Once::new();
        let found = std::env::var_os("MIDSESSION_EARLIER_SERVER").filter(|path| !path.is_empty());
        if found.is_none() {
            // Not by `eprintln!`, which the test runner keeps to itself.
            LEFT_OUT.call_once(|| {
                let line =
                    "left out for want of an earlier server: the tests an_earlier_server_*; .ci/server builds one\n";
                std::io::stderr().write_all(line.as_bytes()).unwrap();
            });
        }
        Some(Self(found?.into()))
    }

    fn server(&self, site: &Site) -> Server {
        Server::spawn(self.start(site), &site.folder.path().join("log"))
    }

    fn start(&self, site: &Site) -> Command {
        let mut start = Command::new(&self.0);
        start.args(["--listen", "127.0.0.1:0", "--token", TOKEN, "--database-url", &site.url(), "--interval", "0s"]);
        start
    }

    fn is_refused(&self, site: &Site) {
        let Output { status, stderr, .. } = self.start(site).output().unwrap();
        let said = String::from_utf8_lossy(&stderr).into_owned();
        assert!(!status.success() && said.contains("its schema is newer than this server"), "{said}");
    }
}

fn stop(mut server: Server) {
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
}

impl Site {
    async fn count(&self, query: &str) -> i64 {
        match &self.cluster {
            None => self.sqlite_file().query_row(query, [], |row| row.get(0)).unwrap(),
            Some(cluster) => cluster.connect().await.query_one(query, &[]).await.unwrap().get(0),
        }
    }
}
