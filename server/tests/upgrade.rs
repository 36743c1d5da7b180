//! What a server does with the records of a later one.

use serde_json::json;

use crate::harness::Site;

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

impl Site {
    async fn count(&self, query: &str) -> i64 {
        match &self.cluster {
            None => self.sqlite_file().query_row(query, [], |row| row.get(0)).unwrap(),
            Some(cluster) => cluster.connect().await.query_one(query, &[]).await.unwrap().get(0),
        }
    }
}
