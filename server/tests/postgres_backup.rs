//! The words of docs/postgres.md on backup and restore, run as they stand while clients link sessions.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;

use tempfile::TempDir;

use crate::faults::Load;
use crate::harness::Server;
use crate::postgres_harness::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_holds_all_that_was_answered_before_it_and_is_restored() {
    let Some(cluster) = Cluster::start("") else { return };
    let folder = TempDir::new().unwrap();
    let server = Server::start(&cluster.url(), "0s", &folder.path().join("log"));
    let client = server.client();
    let mut linked = Vec::new();
    for number in 0..20 {
        let id = client.start_chat().await;
        assert_eq!(client.link(&id, &format!("person-{number}")).await.0, 202);
        linked.push(id);
    }
    let load = Load::start(&client).await;
    let sessions = load.sessions.clone();
    run_page("pg_dump", &cluster, folder.path());
    let before = load.accepted.load(Ordering::SeqCst);
    let late = client.start_chat().await;
    assert_eq!(client.link(&linked[0], "someone-later").await.0, 202);
    let accepted = load.settle(&client).await;
    assert!(before > 0 && accepted > 0, "no load");
    drop(server);

    run_page("pg_restore", &cluster, folder.path());
    let server = Server::start(&cluster.url(), "0s", &folder.path().join("log"));
    let client = server.client();
    for (number, id) in linked.iter().enumerate() {
        assert_eq!(client.chat(id).await["end_user"]["identifier"], format!("person-{number}"));
    }
    assert_eq!(client.get(&format!("chats/{late}")).await, 404, "it was started after the backup");
    for id in &sessions {
        // The load links each session to 1, 2, 3 …: each is as it was at one moment.
        let session = client.chat(id).await;
        let person = session["end_user"]["identifier"].as_str().unwrap_or("0").to_owned();
        assert_eq!(session["revision"].to_string(), person);
        assert_eq!(client.link(id, "someone").await.0, 202);
    }
}

/// The page's block that begins with `program`.
fn run_page(program: &str, cluster: &Cluster, folder: &Path) {
    let page = include_str!("../docs/postgres.md");
    let block = page.split("```sh\n").find(|block| block.starts_with(program)).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("sh");
    shell.args(["-euc", block.split("```").next().unwrap()]).current_dir(folder);
    shell.env("PATH", format!("{}:{path}", cluster.programs().display())).env("MIDSESSION_DATABASE_URL", cluster.url());
    let done = shell.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
