//! The audit: a row for each accepted link, end and erasure, and neither without the other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use midsession::{CommType, DuplicatePolicy, LinkChange, LinkRequest, Session};
use midsession_server::{
    Audit, Caller, Change, Command, ConditionalWrite, Limits, Origin, Postgres, PostgresOptions, Purgeable,
    SessionChange, Sessions, Sqlite, Store, WriteOutcome,
};
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::faults::Load;
use crate::harness::{Server, Site, TOKEN, command, on_each_database, send};
use crate::postgres_harness::{Bouncer, Cluster, link, start};

/// A row of the audit, without its session and its time.
type Row = (i64, String, Option<String>, Option<String>);

/// With `--audit`, and a token that has a name.
fn audited(site: &Site, interval: &str) -> Server {
    audited_at(site, &site.url(), interval)
}

/// By another way to the same database.
fn audited_at(site: &Site, url: &str, interval: &str) -> Server {
    let mut start = command();
    let token = format!("crm-sync:{TOKEN}");
    start.args(["--listen", "127.0.0.1:0", "--token", &token, "--database-url", url]);
    start.args(["--interval", interval, "--audit"]);
    Server::spawn(start, &site.folder.path().join("log"))
}

impl Site {
    /// Each row as texts, the columns in this order.
    async fn texts(&self, query: &str) -> Vec<Vec<Option<String>>> {
        if let Some(cluster) = &self.cluster {
            let answers = cluster.connect().await.simple_query(query).await.unwrap();
            let rows = answers.iter().filter_map(|answer| match answer {
                tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            });
            return rows.map(|row| (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()).collect();
        }
        let file = self.sqlite_file();
        let mut select = file.prepare(query).unwrap();
        let columns = select.column_count();
        let text = |value| match value {
            rusqlite::types::Value::Null => None,
            rusqlite::types::Value::Integer(number) => Some(number.to_string()),
            rusqlite::types::Value::Text(text) => Some(text),
            other => panic!("{other:?}"),
        };
        let rows = select.query_map((), |row| (0..columns).map(|at| row.get(at).map(text)).collect());
        rows.unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// The rows of one session, in the order of its revisions.
    async fn rows(&self, id: &str) -> Vec<Row> {
        let columns = "revision, change, client, request_id";
        let query = format!("SELECT {columns} FROM midsession_audit WHERE session_id = '{id}' ORDER BY revision");
        let mut rows = Vec::new();
        for mut row in self.texts(&query).await {
            let (request_id, client) = (row.pop().unwrap(), row.pop().unwrap());
            rows.push((row[0].as_ref().unwrap().parse().unwrap(), row[1].clone().unwrap(), client, request_id));
        }
        rows
    }

    async fn row_count(&self) -> usize {
        self.texts("SELECT session_id FROM midsession_audit").await.len()
    }
}

/// The status, and the id that the server gave the request.
async fn ask(server: &Server, method: &str, path: &str, body: &str) -> (u16, String) {
    let request = format!(
        "{method} /apps/api/v1/{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let reply = send(&server.address, request).await;
    (reply.status, reply.header("x-request-id").unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_accepted_link_end_and_erasure_has_its_row_and_what_is_refused_has_none_on_sqlite() {
    let site = Site::sqlite();
    each_accepted_link_end_and_erasure_has_its_row(&site, &audited(&site, "30s")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_accepted_link_end_and_erasure_has_its_row_and_what_is_refused_has_none_on_postgres() {
    if let Some(site) = Site::postgres() {
        each_accepted_link_end_and_erasure_has_its_row(&site, &audited(&site, "30s")).await;
    }
}

/// One that refuses the settings of a connection, and one that drops them.
#[tokio::test(flavor = "multi_thread")]
async fn each_accepted_link_end_and_erasure_has_its_row_through_pgbouncer_in_transaction_mode() {
    for settings in ["default_pool_size = 4", "default_pool_size = 4\nignore_startup_parameters = options"] {
        let Some(site) = Site::postgres() else { return };
        let Some(bouncer) = Bouncer::start(site.cluster.as_ref().unwrap().port, settings) else { return };
        let server = audited_at(&site, &bouncer.url(), "30s");
        each_accepted_link_end_and_erasure_has_its_row(&site, &server).await;
        let store = postgres(&bouncer.url()).await;
        a_row_of_each_change_of_a_write(&site, &store).await;
        let purged = store.purge_audit(OffsetDateTime::now_utc(), 4).await.unwrap();
        assert_eq!((purged, site.row_count().await), (Some(4), 5), "the oldest go first");
    }
}

async fn each_accepted_link_end_and_erasure_has_its_row(site: &Site, server: &Server) {
    let client = server.client();
    let id = client.start_chat().await;
    let (chat, end, link) = (format!("chats/{id}"), format!("chats/{id}/end"), format!("chats/{id}/end_user"));
    let body = r#"{"identifier":"marker-1","name":"marker name","email":"marker@example.com"}"#;
    let before = OffsetDateTime::now_utc();
    let mut expected = Vec::new();
    for (method, path, status, change) in [
        ("DELETE", &link, 204, None),
        ("POST", &link, 202, Some("first")),
        ("POST", &link, 400, None),
        ("GET", &chat, 200, None),
        ("DELETE", &link, 204, Some("erased")),
        ("POST", &link, 202, Some("first")),
        ("POST", &end, 200, Some("ended")),
        ("POST", &end, 200, None),
        ("POST", &link, 400, None),
        ("DELETE", &link, 204, Some("erased")),
        ("DELETE", &link, 204, None),
    ] {
        let (answered, request_id) = ask(server, method, path, if method == "POST" { body } else { "" }).await;
        assert_eq!(answered, status, "{method} {path}");
        let row = |change: &str| {
            let revision = i64::try_from(expected.len()).unwrap() + 1;
            (revision, change.to_owned(), Some("crm-sync".to_owned()), Some(request_id.clone()))
        };
        let row = change.map(row);
        expected.extend(row);
    }
    assert_eq!(client.health().await, 200, "the probe has written");
    assert_eq!(site.rows(&id).await, expected);
    assert_eq!(site.row_count().await, 5, "neither the start nor the probe has a row");

    let all = site.texts("SELECT * FROM midsession_audit").await;
    assert!(!format!("{all:?}").contains("marker"), "{all:?}");
    let times = site.texts("SELECT at_ms FROM midsession_audit ORDER BY revision").await;
    let times: Vec<i128> = times.iter().map(|row| row[0].as_ref().unwrap().parse().unwrap()).collect();
    let ms = |at: OffsetDateTime| at.unix_timestamp_nanos() / 1_000_000;
    assert!(times.is_sorted() && ms(before) <= times[0] && times[4] <= ms(OffsetDateTime::now_utc()), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_query_of_the_docs_tells_who_linked_a_session_and_when_on_sqlite() {
    the_query_of_the_docs_tells_who_linked_a_session_and_when(Site::sqlite(), "SELECT strftime").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_query_of_the_docs_tells_who_linked_a_session_and_when_on_postgres() {
    if let Some(site) = Site::postgres() {
        the_query_of_the_docs_tells_who_linked_a_session_and_when(site, "SELECT to_timestamp").await;
    }
}

async fn the_query_of_the_docs_tells_who_linked_a_session_and_when(site: Site, begins: &str) {
    let server = audited(&site, "0s");
    let client = server.client();
    let (id, other) = (client.start_chat().await, client.start_chat().await);
    let mut asked = Vec::new();
    let day = |at: OffsetDateTime| at.date().to_string();
    let before = OffsetDateTime::now_utc();
    for (identifier, change) in [("a", "first"), ("a", "unchanged"), ("b", "relinked")] {
        let body = format!(r#"{{"identifier":"{identifier}"}}"#);
        let (status, request_id) = ask(&server, "POST", &format!("chats/{id}/end_user"), &body).await;
        assert_eq!(status, 202);
        asked.push([change.to_owned(), "crm-sync".to_owned(), request_id].map(Some).to_vec());
    }
    assert_eq!(client.link(&other, "a").await.0, 202);
    assert_eq!(ask(&server, "POST", &format!("chats/{id}/end"), "").await.0, 200);
    let days = [day(before), day(OffsetDateTime::now_utc())];

    let page = include_str!("../docs/audit.md");
    let query = page.split("```sql\n").find(|block| block.starts_with(begins)).unwrap();
    let query = query.split("```").next().unwrap().replace("SESSION", &id);
    let mut answered = site.texts(&query).await;
    for row in &mut answered {
        let at = row.remove(0).unwrap();
        assert!(days.iter().any(|day| at.starts_with(&**day)), "{at}");
    }
    assert_eq!(answered, asked);
}

on_each_database!(a_reader_never_sees_a_change_without_its_row_or_a_row_without_its_change);
/// Each look is at one state of the database, as a SIGKILL would leave it, and there are many more than of those.
async fn a_reader_never_sees_a_change_without_its_row_or_a_row_without_its_change(site: Site) {
    let server = audited(&site, "0s");
    let load = Load::start(&server.client()).await;
    more_links(&load).await;
    for _ in 0..100 {
        assert_whole(&site).await;
    }
    more_links(&load).await;
    load.settle(&server.client()).await;
}

on_each_database!(after_sigkill_under_load_no_change_is_there_without_its_row_and_no_row_without_its_change);
async fn after_sigkill_under_load_no_change_is_there_without_its_row_and_no_row_without_its_change(site: Site) {
    let mut server = audited(&site, "0s");
    // With four rounds a row in a transaction of its own, planted on SQLite, was missed by two runs of seven.
    for _ in 0..12 {
        let load = Load::start(&server.client()).await;
        more_links(&load).await;
        server.kill();
        // Of one state of the database: PostgreSQL may still be at a statement.
        assert_whole(&site).await;
        server = audited(&site, "0s");
        load.settle(&server.client()).await;
        assert_whole(&site).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sigkill_of_postgres_under_load_neither_is_there_without_the_other() {
    let Some(cluster) = Cluster::start("") else { return };
    let folder = tempfile::TempDir::new().unwrap();
    let server = Server::start_with(&cluster.url(), "0s", &folder.path().join("log"), &["--audit"]);
    let client = server.client();
    for _ in 0..2 {
        let load = Load::start(&client).await;
        more_links(&load).await;
        cluster.kill();
        cluster.resume();
        client.recovered().await;
        more_links(&load).await;
        load.settle(&client).await;
        let wrong = cluster.client().await.query(WRONG, &[]).await.unwrap();
        assert!(wrong.is_empty(), "{} sessions", wrong.len());
    }
}

/// Of a load whose sessions are only linked, each revision is one link: those whose rows are not 1, 2, 3 … up to it.
const WRONG: &str = "SELECT sessions.id FROM sessions LEFT JOIN midsession_audit ON session_id = sessions.id \
                     WHERE sessions.id <> 'probe:ready' GROUP BY sessions.id, sessions.revision \
                     HAVING COUNT(session_id) <> sessions.revision \
                     OR COUNT(DISTINCT midsession_audit.revision) <> sessions.revision \
                     OR COALESCE(MAX(midsession_audit.revision), 0) <> sessions.revision \
                     UNION ALL SELECT session_id FROM midsession_audit WHERE session_id NOT IN (SELECT id FROM sessions)";

async fn assert_whole(site: &Site) {
    assert_eq!(site.texts(WRONG).await, Vec::<Vec<_>>::new());
    assert!(site.row_count().await > 100, "there was no load");
}

async fn more_links(load: &Load) {
    let (before, started) = (load.accepted.load(Ordering::SeqCst), Instant::now());
    while load.accepted.load(Ordering::SeqCst) < before + 200 {
        assert!(started.elapsed() < Duration::from_mins(1), "no links within a minute");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_servers_that_link_one_session_the_one_that_lost_the_race_writes_no_row() {
    let Some(site) = Site::postgres() else { return };
    let servers = [audited(&site, "30s"), audited(&site, "30s")];
    let client = servers[0].client();
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(client.start_chat().await);
    }
    let mut links = JoinSet::new();
    for id in &ids {
        for (number, server) in servers.iter().enumerate() {
            let (client, id) = (server.client(), id.clone());
            links.spawn(async move { client.link(&id, &format!("person-{number}")).await.0 });
        }
    }
    let accepted = links.join_all().await.into_iter().filter(|status| *status == 202).count();
    assert_eq!(accepted, ids.len());
    for id in &ids {
        assert_eq!(site.rows(id).await.len(), 1);
    }
    assert_eq!(site.row_count().await, ids.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_each_change_of_a_write_and_none_of_one_that_lost_the_race_on_sqlite() {
    let site = Site::sqlite();
    let store = sqlite(&site).await;
    a_row_of_each_change_of_a_write(&site, &store).await;
    several_links_of_one_batch_have_a_row_each(&site, store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_each_change_of_a_write_and_none_of_one_that_lost_the_race_on_postgres() {
    let Some(site) = Site::postgres() else { return };
    let store = postgres(&site.url()).await;
    a_row_of_each_change_of_a_write(&site, &store).await;
    several_links_of_one_batch_have_a_row_each(&site, store).await;
}

async fn sqlite(site: &Site) -> Sqlite {
    let store = Sqlite::open(&site.url(), Duration::from_secs(10)).await.unwrap();
    store.audit(Audit::On).await.unwrap();
    store
}

async fn postgres(url: &str) -> Postgres {
    let timeout = Duration::from_secs(30);
    Postgres::open(url, &PostgresOptions { audit: Audit::On, timeout, ..PostgresOptions::default() }).await.unwrap()
}

fn with(write: ConditionalWrite, changes: &[(SessionChange, u64)]) -> ConditionalWrite {
    let change = |&(kind, revision)| Change {
        kind,
        revision,
        at: OffsetDateTime::UNIX_EPOCH,
        origin: Origin { client: Some("crm".into()), request_id: Some(format!("request-{revision}").into()) },
    };
    ConditionalWrite { changes: changes.iter().map(change).collect(), ..write }
}

/// A first link, decided on revision 0.
pub fn linked_write(id: &str) -> ConditionalWrite {
    with(link(id, 0, "someone"), &[(FIRST, 1)])
}

fn row(revision: i64, change: &str) -> Row {
    (revision, change.to_owned(), Some("crm".to_owned()), Some(format!("request-{revision}")))
}

const FIRST: SessionChange = SessionChange::Linked(LinkChange::First);
const RELINKED: SessionChange = SessionChange::Linked(LinkChange::Relinked);

async fn a_row_of_each_change_of_a_write(site: &Site, store: &impl Store) {
    let (started, before) = (SessionChange::Started, site.row_count().await);
    let writes = [
        with(start("one"), &[(started, 0)]),
        with(start("late"), &[(started, 0)]),
        // By a team that names its sessions itself.
        with(ConditionalWrite::new("linked-at-once", None, linked()), &[(started, 0), (FIRST, 1)]),
    ];
    assert_eq!(store.write(&writes).await.unwrap(), [WriteOutcome::Applied; 3]);
    assert_eq!(site.rows("linked-at-once").await, [row(1, "first")]);

    let writes = [
        with(link("one", 0, "x"), &[(FIRST, 1), (RELINKED, 2), (SessionChange::Ended, 3)]),
        with(link("late", 7, "x"), &[(RELINKED, 8)]),
        with(link("none", 0, "x"), &[(FIRST, 1)]),
        with(start("linked-at-once"), &[(started, 0), (FIRST, 1)]),
    ];
    let (applied, conflict) = (WriteOutcome::Applied, WriteOutcome::Conflict);
    assert_eq!(store.write(&writes).await.unwrap(), [applied, conflict, conflict, conflict]);
    assert_eq!(site.rows("one").await, [row(1, "first"), row(2, "relinked"), row(3, "ended")]);
    assert_eq!(site.row_count().await, before + 4, "those that lost have no row");
}

fn linked() -> Session<midsession::Active> {
    let session = Session::start(CommType::Chat);
    let person = midsession::EndUser::new("x").unwrap();
    session.link(&person, &DuplicatePolicy::new(Duration::ZERO), OffsetDateTime::UNIX_EPOCH).unwrap().into_session()
}

/// Those that queue while the first is under way share a write.
async fn several_links_of_one_batch_have_a_row_each<S: Store>(site: &Site, store: S) {
    let no_wait = DuplicatePolicy::new(Duration::ZERO);
    let sessions = Sessions::start(store, no_wait, Arc::new(OffsetDateTime::now_utc), Limits::default());
    sessions.submit("chat", Command::Start(Session::start(CommType::Chat))).await.unwrap();
    let mut links = JoinSet::new();
    for number in 0..100 {
        let sessions = sessions.clone();
        let request = LinkRequest { identifier: format!("person-{number}").into(), ..LinkRequest::default() };
        let command = Command::Link(request.with_comm_type("chat"));
        let caller = Caller::new("crm").with_client("crm").with_request_id(format!("request-{number}"));
        links.spawn(async move { sessions.submit_as(caller, "chat", command).await.unwrap() });
    }
    links.join_all().await;
    sessions.stop().await;
    let rows = site.rows("chat").await;
    assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), (1..=100).collect::<Vec<_>>());
    let asked: BTreeSet<_> = rows.iter().filter_map(|row| row.3.as_deref()).collect();
    assert_eq!(asked.len(), 100, "each link has its own request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_put_aside_since_its_row_is_held_leaves_no_row_until_it_is_made() {
    let Some(cluster) = Cluster::start("") else { return };
    let store = postgres(&cluster.url()).await;
    store.write(&["a", "b"].map(start)).await.unwrap();
    let other = cluster.client().await;
    let hold = "BEGIN; SELECT FROM sessions WHERE id = 'a' FOR UPDATE; \
                INSERT INTO sessions (id, revision, record) VALUES ('new-b', 0, '{}')";
    other.batch_execute(hold).await.unwrap();
    let (busy, applied) = (WriteOutcome::Busy, WriteOutcome::Applied);
    // At first it is not known that it is held; then it is.
    for revision in 0..2 {
        let b = with(link("b", revision, "x"), &[(FIRST, revision + 1)]);
        let writes = [with(link("a", 0, "x"), &[(FIRST, 1)]), b];
        assert_eq!(store.write(&writes).await.unwrap(), [busy, applied], "{revision}");
    }
    let new = |id: &str| with(ConditionalWrite::new(id, None, linked()), &[(FIRST, 1)]);
    let written = store.write(&["new-a", "new-b", "new-c"].map(new)).await.unwrap();
    assert_eq!(written, [applied, busy, applied]);
    other.batch_execute("ROLLBACK").await.unwrap();
    let of = async |id: &str| {
        let rows = cluster.client().await.query("SELECT FROM midsession_audit WHERE session_id = $1", &[&id]).await;
        rows.unwrap().len()
    };
    assert_eq!([of("a").await, of("b").await], [0, 2]);
    assert_eq!([of("new-a").await, of("new-b").await, of("new-c").await], [1, 0, 1]);
    let late = [with(link("a", 0, "x"), &[(FIRST, 1)]), with(link("b", 2, "x"), &[(RELINKED, 3)])];
    assert_eq!(store.write(&late).await.unwrap(), [applied, applied]);
    assert_eq!([of("a").await, of("b").await], [1, 3]);
}

on_each_database!(a_change_whose_row_cannot_be_written_is_not_made);
async fn a_change_whose_row_cannot_be_written_is_not_made(site: Site) {
    let server = audited(&site, "30s");
    let client = server.client();
    let id = client.start_chat().await;
    site.execute("ALTER TABLE midsession_audit RENAME TO away").await;
    assert_eq!(client.link(&id, "a").await.0, 503);
    assert_eq!(client.chat(&id).await["revision"], 0);
    site.execute("ALTER TABLE away RENAME TO midsession_audit").await;
    assert_eq!(client.link(&id, "a").await.0, 202);
    assert_eq!(site.rows(&id).await.len(), 1);
}
