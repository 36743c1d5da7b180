//! The PostgreSQL engine, on real servers that are broken on purpose.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use midsession::AnySession;
use midsession_server::{Postgres, PostgresOptions, Store, StoreError, WriteOutcome};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::postgres_harness::{Bouncer, Cluster, link, start, stored, write};
use crate::store_kit;

pub async fn open(url: &str) -> Postgres {
    Postgres::open(url, &PostgresOptions::default()).await.unwrap()
}

/// With time enough for a machine that is busy with other tests, where time is not what is tested.
pub async fn open_and_wait(url: &str) -> Postgres {
    let options = PostgresOptions { timeout: Duration::from_secs(30), ..PostgresOptions::default() };
    Postgres::open(url, &options).await.unwrap()
}

/// Not before the server itself: 2.5 s by default.
const IN_TIME: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_conditional_on_the_revision() {
    let Some(cluster) = Cluster::start("") else { return };
    let store = open_and_wait(&cluster.url()).await;
    a_write_is_conditional(&store).await;
}

async fn a_write_is_conditional(store: &Postgres) {
    assert_eq!(store.write(&[start("a"), start("b")]).await.unwrap(), [WriteOutcome::Applied, WriteOutcome::Applied]);
    // New ones and old ones in one batch, in any order.
    let changes = [link("b", 0, "x"), start("c"), start("a"), link("a", 1, "y"), link("none", 0, "z")];
    let written = store.write(&changes).await.unwrap();
    assert_eq!(
        written,
        [
            WriteOutcome::Applied,
            WriteOutcome::Applied,
            WriteOutcome::Conflict,
            WriteOutcome::Conflict,
            WriteOutcome::Conflict
        ]
    );
    let found = store.read(&["none", "c", "b", "a"]).await.unwrap();
    let revisions: Vec<_> = found.into_iter().map(|found| found.unwrap().map(|session| session.revision())).collect();
    assert_eq!(revisions, [None, Some(0), Some(1), Some(0)]);
}

/// Not in a runtime: the kit blocks.
fn it_keeps_every_rule(url: &str) {
    let runtime = Runtime::new().unwrap();
    let store = runtime.block_on(open_and_wait(url));
    store_kit::check(&runtime, store);
}

#[test]
fn it_keeps_every_rule_of_the_kit_for_stores() {
    if let Some(cluster) = Cluster::start("") {
        it_keeps_every_rule(&cluster.url());
    }
}

#[test]
fn it_keeps_every_rule_of_the_kit_for_stores_through_pgbouncer() {
    let Some(cluster) = Cluster::start("") else { return };
    if let Some(bouncer) = Bouncer::start(cluster.port, "default_pool_size = 4") {
        it_keeps_every_rule(&bouncer.url());
    }
}

/// Two stores write the same sessions in opposite orders, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn batches_that_cross_never_deadlock_and_each_revision_is_written_once() {
    let Some(cluster) = Cluster::start("") else { return };
    they_never_deadlock(&cluster, &cluster.url()).await;
}

async fn they_never_deadlock(cluster: &Cluster, url: &str) {
    const ROUNDS: u64 = 40;
    let ids: Vec<String> = (0..40).map(|number| format!("session-{number}")).collect();
    let stores = [Arc::new(open_and_wait(url).await), Arc::new(open_and_wait(url).await)];
    let new: Vec<_> = ids.iter().map(|id| start(id)).collect();
    assert!(stores[0].write(&new).await.unwrap().iter().all(|written| *written == WriteOutcome::Applied));

    let mut writers = JoinSet::new();
    for number in 0..6 {
        let (store, mut ids) = (stores[number % 2].clone(), ids.clone());
        writers.spawn(async move {
            let mut written = 0;
            for _ in 0..ROUNDS {
                ids.rotate_left(7);
                if number % 2 == 1 {
                    ids.reverse();
                }
                let names: Vec<&str> = ids.iter().map(String::as_str).collect();
                let found = store.read(&names).await.unwrap();
                let revision = |found: midsession_server::ReadOutcome| found.unwrap().unwrap().revision();
                let changes: Vec<_> =
                    ids.iter().zip(found).map(|(id, found)| link(id, revision(found), "someone")).collect();
                let results = store.write(&changes).await.unwrap();
                written += results.iter().filter(|result| **result == WriteOutcome::Applied).count();
            }
            written
        });
    }
    let written: usize = writers.join_all().await.into_iter().sum();

    let client = cluster.client().await;
    let row = client.query_one("SELECT SUM(revision)::bigint FROM sessions", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), i64::try_from(written).unwrap());
    let row = client.query_one("SELECT SUM(deadlocks)::bigint FROM pg_stat_database", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serialisation_failure_is_a_lost_race() {
    let Some(cluster) = Cluster::start("") else { return };
    let store = open_and_wait(&cluster.url()).await;
    store.write(&["a", "b"].map(start)).await.unwrap();
    // PostgreSQL itself has none at this server's isolation. What speaks its protocol may have them.
    let fails = "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS \
        $$BEGIN RAISE EXCEPTION USING ERRCODE = 'serialization_failure'; END$$; \
        CREATE TRIGGER fail BEFORE UPDATE ON sessions FOR EACH ROW WHEN (NEW.id = 'b') EXECUTE FUNCTION fail()";
    cluster.execute(fails).await;
    let batch = [link("a", 0, "x"), link("b", 0, "x")];
    assert_eq!(store.write(&batch).await.unwrap(), [WriteOutcome::Conflict, WriteOutcome::Conflict]);
    cluster.execute("DROP TRIGGER fail ON sessions").await;
    assert_eq!(store.write(&batch).await.unwrap(), [WriteOutcome::Applied, WriteOutcome::Applied]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_costs_no_more_backends_than_the_pool_has_and_they_recover() {
    let Some(cluster) = Cluster::start("") else { return };
    a_locked_table_is_survived(&cluster, &cluster.url(), "midsession-server").await;
}

async fn a_locked_table_is_survived(cluster: &Cluster, url: &str, application: &str) {
    let store = Arc::new(open(url).await);
    write(&*store, start("a")).await.unwrap();
    let client = cluster.client().await;
    client.batch_execute("BEGIN; LOCK TABLE sessions").await.unwrap();

    let mut callers = JoinSet::new();
    for number in 0..64 {
        let store = store.clone();
        callers.spawn(async move {
            let mut may_be_written = false;
            for _ in 0..2 {
                let asked = Instant::now();
                let failed = match number % 2 {
                    0 => store.read(&["a"]).await.err(),
                    _ => store.write(&[link("a", 0, "someone")]).await.err(),
                };
                assert!(asked.elapsed() < IN_TIME, "{:?}", asked.elapsed());
                let failed = failed.expect("no way through a lock");
                may_be_written |= number % 2 == 1 && !failed.nothing_was_written();
            }
            may_be_written
        });
    }
    let count = "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = $1";
    let (mut most, mut may_be_written) = (0, false);
    while !callers.is_empty() {
        while let Some(done) = callers.try_join_next() {
            may_be_written |= done.unwrap();
        }
        let backends: i64 = client.query_one(count, &[&application]).await.unwrap().get(0);
        most = most.max(backends);
        sleep(Duration::from_millis(50)).await;
    }
    assert!((1..=16).contains(&most), "{most} backends");

    client.batch_execute("COMMIT").await.unwrap();
    recovered(&store).await;
    let stored = stored(&*store, "a").await;
    assert!(stored == Some((0, String::new())) || may_be_written, "{stored:?} was written after all");
}

pub async fn recovered(store: &Postgres) {
    let started = Instant::now();
    while store.read(&["a"]).await.is_err() || store.write(&[start("a")]).await.is_err() {
        assert!(started.elapsed() < Duration::from_mins(1), "no recovery within a minute");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_is_told_in_time_and_finds_no_pile_of_connections_when_it_goes_on() {
    let Some(cluster) = Cluster::start("") else { return };
    let store = Arc::new(open(&cluster.url()).await);
    write(&*store, start("a")).await.unwrap();
    cluster.hang();

    let mut callers = JoinSet::new();
    for _ in 0..64 {
        let store = store.clone();
        callers.spawn(async move {
            for revision in 0..2 {
                let asked = Instant::now();
                assert!(store.write(&[link("a", revision, "someone")]).await.is_err());
                assert!(store.read(&["a"]).await.is_err());
                assert!(asked.elapsed() < 2 * IN_TIME, "{:?}", asked.elapsed());
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }
    cluster.wake();
    recovered(&store).await;
    let backends = cluster.backends("midsession postgres").len();
    assert!(backends <= 16, "{backends} backends");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_works_through_pgbouncer_in_transaction_mode() {
    let Some(cluster) = Cluster::start("") else { return };
    for settings in ["default_pool_size = 4", "default_pool_size = 4\nignore_startup_parameters = options"] {
        let Some(bouncer) = Bouncer::start(cluster.port, settings) else { return };
        cluster.execute("DROP TABLE IF EXISTS sessions, midsession_schema").await;
        let store = open_and_wait(&bouncer.url()).await;
        a_write_is_conditional(&store).await;
        cluster.execute("DELETE FROM sessions").await;
        they_never_deadlock(&cluster, &bouncer.url()).await;
        cluster.execute("DELETE FROM sessions").await;
        a_locked_table_is_survived(&cluster, &bouncer.url(), "midsession-server").await;
    }
}

/// Writes to sessions of its own, revision by revision, through whatever happens, and remembers what it was told.
pub struct Load {
    store: Arc<Postgres>,
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    writers: JoinSet<(String, u64)>,
}

impl Load {
    pub async fn start(store: &Arc<Postgres>) -> Self {
        let mut load =
            Self { store: store.clone(), stop: Arc::default(), accepted: Arc::default(), writers: JoinSet::new() };
        for number in 0..16 {
            let id = format!("load-{number}");
            assert_eq!(write(&**store, start(&id)).await, Some(WriteOutcome::Applied));
            let (store, stop, accepted) = (store.clone(), load.stop.clone(), load.accepted.clone());
            load.writers.spawn(async move {
                let mut acknowledged = 0;
                while !stop.load(Ordering::SeqCst) {
                    let Ok(found) = store.read(&[&id]).await else {
                        sleep(Duration::from_millis(20)).await;
                        continue;
                    };
                    let revision = found[0].as_ref().unwrap().as_ref().map_or(0, AnySession::revision);
                    assert!(revision >= acknowledged, "{id} was at {acknowledged} and is read at {revision}");
                    if write(&*store, link(&id, revision, "someone")).await == Some(WriteOutcome::Applied) {
                        acknowledged = revision + 1;
                        accepted.fetch_add(1, Ordering::SeqCst);
                    }
                }
                (id, acknowledged)
            });
        }
        load
    }

    /// Waits for another hundred acknowledged writes.
    pub async fn goes_on(&self) {
        let (before, started) = (self.accepted.load(Ordering::SeqCst), Instant::now());
        while self.accepted.load(Ordering::SeqCst) < before + 100 {
            assert!(started.elapsed() < Duration::from_mins(1), "no writes within a minute");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Every acknowledged write is there.
    pub async fn settle(self) {
        self.stop.store(true, Ordering::SeqCst);
        for (id, acknowledged) in self.writers.join_all().await {
            let (revision, _) = stored(&*self.store, &id).await.expect("a session that was acknowledged");
            assert!(revision >= acknowledged, "{id}: {acknowledged} was acknowledged, {revision} is stored");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_the_kill_of_the_database() {
    let Some(cluster) = Cluster::start("") else { return };
    let store = Arc::new(open(&cluster.url()).await);
    let load = Load::start(&store).await;
    for _ in 0..2 {
        load.goes_on().await;
        cluster.kill();
        assert!(store.read(&["load-0"]).await.is_err());
        cluster.resume();
    }
    load.goes_on().await;
    load.settle().await;
}

/// Hosts that take connections and never answer do not use up the time of the others.
#[tokio::test(flavor = "multi_thread")]
async fn silent_hosts_are_passed_over() {
    let Some(cluster) = Cluster::start("") else { return };
    let silent = [(); 4].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let hosts = silent.each_ref().map(|silent| silent.local_addr().unwrap().to_string()).join(",");
    let url = format!("postgres://midsession@{hosts},127.0.0.1:{}/postgres", cluster.port);
    let store = open(&url).await;
    assert_eq!(write(&store, start("a")).await, Some(WriteOutcome::Applied));
    assert_eq!(stored(&store, "a").await, Some((0, String::new())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_turned_read_only_is_left_for_one_that_takes_writes() {
    let Some(cluster) = Cluster::start("") else { return };
    let store = open(&cluster.url()).await;
    assert_eq!(write(&store, start("a")).await, Some(WriteOutcome::Applied));
    cluster.set("default_transaction_read_only = on").await;
    let started = Instant::now();
    let refuses = |error: &StoreError| error.to_string().contains("it refuses writes");
    while !store.write(&[start("b")]).await.as_ref().is_err_and(refuses) {
        assert!(started.elapsed() < Duration::from_mins(1), "it still uses a server that is read-only");
        sleep(Duration::from_millis(20)).await;
    }
    // What such a server would tell may be old.
    assert!(refuses(&store.read(&["a"]).await.unwrap_err()));
    cluster.set("default_transaction_read_only = off").await;
    recovered(&store).await;
}
