//! The store on Redis, on real processes: alone, as a cluster, and broken on purpose.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use midsession::AnySession;
use midsession_server::{ConditionalWrite, Redis, RedisOpenError, RedisOptions, Store, WriteOutcome};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::runtime::Runtime;

use crate::harness::Server;
use crate::redis_harness::{
    Cluster, Load, Process, REQUEST_TIMEOUT, change, eventually, fresh, is_missing, key, linked, open, read, write,
};
use crate::store_kit;

/// No call may take longer, whatever happens to the nodes. A call has 2 seconds; the rest is for a busy machine.
const IN_TIME: Duration = Duration::from_secs(15);

#[test]
fn a_single_redis_keeps_every_rule_of_the_kit_for_stores() {
    if is_missing() {
        return;
    }
    let (runtime, redis) = (Runtime::new().unwrap(), Process::durable());
    let store = runtime.block_on(open(&redis.url()));
    store_kit::check(&runtime, store);
}

#[test]
fn a_redis_cluster_keeps_every_rule_of_the_kit_for_stores() {
    if is_missing() {
        return;
    }
    let (runtime, cluster) = (Runtime::new().unwrap(), Cluster::start());
    let store = runtime.block_on(open(&cluster.url()));
    store_kit::check(&runtime, store);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_write_is_found_after_a_redis_master_is_killed() {
    if is_missing() {
        return;
    }
    let mut cluster = Cluster::start();
    let store = Arc::new(open(&cluster.url()).await);
    let load = Load::start(&store, "killed");
    load.more(10_000).await;
    cluster.nodes[0].kill();
    // The other masters serve on meanwhile.
    load.more(1_000).await;
    cluster.wait_for_promotion(3);
    load.more(1_000).await;
    cluster.nodes[0].resume();
    cluster.wait_until_whole();
    load.all_move_on().await;
    load.more(10_000).await;
    let acknowledged = load.stop(&store).await;
    assert!(acknowledged > 20_000, "{acknowledged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_move_to_another_redis_master_under_load_lose_nothing() {
    if is_missing() {
        return;
    }
    let cluster = Cluster::start();
    let store = Arc::new(open(&cluster.url()).await);
    let load = Load::start(&store, "moved");
    load.more(1_000).await;
    for id in load.ids().iter().take(20) {
        let from = cluster.master_of(id);
        cluster.begin_to_move(id, from, (from + 1) % 3);
        load.more(100).await;
        cluster.move_keys(id, from, (from + 1) % 3);
        load.more(100).await;
        cluster.end_to_move(id, (from + 1) % 3);
        load.more(100).await;
    }
    load.all_move_on().await;
    load.stop(&store).await;
    // A server that starts now finds them where they are.
    let other = open(&cluster.url()).await;
    assert!(read(&other, "moved-0-0").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_replica_a_redis_master_acknowledges_nothing_until_it_is_back() {
    if is_missing() {
        return;
    }
    let mut cluster = Cluster::start();
    let store = Arc::new(open(&cluster.url()).await);
    let session = fresh();
    write(&store, "alone", None, &session).await;
    let master = cluster.master_of("alone");
    cluster.nodes[master + 3].kill();
    let next = linked(&session, "identifier-90d2");
    let started = Instant::now();
    let written = store.write(&[change("alone", Some(&session), &next)]).await;
    assert!(matches!(&written, Ok(written) if *written == [WriteOutcome::Unknown]), "{written:?}");
    // What is stored there may still be lost, so it is not said.
    let found = store.read(&["alone"]).await;
    assert!(found.is_err(), "{found:?}");
    assert!(started.elapsed() < IN_TIME, "{:?}", started.elapsed());
    // From now on nothing is written that would be of unknown fate.
    let refused = store.write(&[change("alone", Some(&next), &linked(&next, "identifier-41a9"))]).await;
    assert!(refused.is_err_and(|error| error.nothing_was_written()));
    // The other masters serve on.
    let load = Load::start(&store, "short");
    load.more(1_000).await;
    cluster.nodes[master + 3].resume();
    // The look-up of what was unknown: it is on the replica now.
    assert!(read(&store, "alone").await == Some(next));
    load.all_move_on().await;
    load.stop(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_redis_replica_has_is_not_acknowledged_and_a_failover_does_lose_it() {
    if is_missing() {
        return;
    }
    let mut cluster = Cluster::start();
    let (store, other) = (open(&cluster.url()).await, open(&cluster.url()).await);
    let session = fresh();
    write(&store, "lost", None, &session).await;
    let master = cluster.master_of("lost");
    // Cut off, so that it gets nothing more, not even into a buffer.
    cluster.nodes[master + 3].signal("-STOP");
    cluster.nodes[master].tell(&["CLIENT", "KILL", "TYPE", "replica"]);
    let lost = linked(&session, "identifier-77c0");
    let written = store.write(&[change("lost", Some(&session), &lost)]).await;
    assert!(matches!(&written, Ok(written) if *written == [WriteOutcome::Unknown]), "{written:?}");
    let stored: String = cluster.nodes[master].ask(&["GET", &key("lost")]).unwrap();
    assert!(stored.contains("identifier-77c0"), "the master alone has it: {stored}");
    assert!(store.read(&["lost"]).await.is_err(), "it must not be told what may be lost");
    let weakly_read = other.read_weak(&["lost"]).await.unwrap().unwrap().pop().unwrap().unwrap();
    assert!(weakly_read.as_ref() == Some(&lost), "a weak read does not wait");
    cluster.nodes[master].kill();
    cluster.nodes[master + 3].signal("-CONT");
    cluster.nodes[master + 3].tell(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
    cluster.wait_for_promotion(master + 3);
    cluster.nodes[master].resume();
    cluster.wait_until_whole();
    assert!(read(&store, "lost").await == Some(session.clone()), "what was acknowledged is there, and no more");
    let kept = linked(&session, "identifier-1f6b");
    write(&store, "lost", Some(&session), &kept).await;
    assert!(read(&other, "lost").await.as_ref() == Some(&kept));
    // It has the revision of the lost one.
    let after_weak_read = |found: &AnySession| {
        let change = change("lost", Some(found), &linked(found, "identifier-3d1c"));
        [ConditionalWrite { weakly_read: Some(found.clone()), ..change }]
    };
    assert_eq!(other.write(&after_weak_read(&lost)).await.unwrap(), [WriteOutcome::Conflict]);
    assert_eq!(other.write(&after_weak_read(&kept)).await.unwrap(), [WriteOutcome::Applied]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_master_that_hangs_fails_its_own_sessions_in_time_and_no_others() {
    if is_missing() {
        return;
    }
    let cluster = Cluster::start();
    let store = Arc::new(open(&cluster.url()).await);
    let load = Load::start(&store, "hung");
    load.more(1_000).await;
    let session = fresh();
    write(&store, "hung", None, &session).await;
    let master = cluster.master_of("hung");
    cluster.nodes[master].signal("-STOP");
    let next = linked(&session, "identifier-c35d");
    for _ in 0..20 {
        let started = Instant::now();
        let written = store.write(&[change("hung", Some(&session), &next)]).await;
        assert!(!matches!(&written, Ok(written) if *written != [WriteOutcome::Unknown]), "{written:?}");
        assert!(store.read(&["hung"]).await.is_err());
        assert!(started.elapsed() < IN_TIME, "{:?}", started.elapsed());
    }
    load.more(1_000).await;
    cluster.nodes[master].signal("-CONT");
    cluster.wait_until_whole();
    load.all_move_on().await;
    load.more(1_000).await;
    load.stop(&store).await;
    // One of those twenty may have been made when it woke up.
    let found = read(&store, "hung").await.unwrap();
    assert!(found == session || found == next);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_restarted_or_forgets_its_scripts_is_used_again() {
    if is_missing() {
        return;
    }
    let mut redis = Process::durable();
    let store = Arc::new(open(&redis.url()).await);
    let load = Load::start(&store, "scripts");
    for _ in 0..5 {
        load.more(200).await;
        redis.tell(&["SCRIPT", "FLUSH"]);
    }
    load.more(200).await;
    redis.kill();
    redis.resume();
    load.all_move_on().await;
    load.more(200).await;
    load.stop(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_refuses_writes_and_says_that_nothing_was_written() {
    if is_missing() {
        return;
    }
    let redis = Process::durable();
    let store = open(&redis.url()).await;
    let session = fresh();
    write(&store, "full", None, &session).await;
    redis.tell(&["CONFIG", "SET", "maxmemory", "1"]);
    let next = linked(&session, "identifier-2e88");
    let refused = store.write(&[change("full", Some(&session), &next)]).await.unwrap_err();
    assert!(refused.nothing_was_written());
    assert_eq!(refused.to_string(), "the database failed: OOM");
    assert!(read(&store, "full").await == Some(session.clone()));
    redis.tell(&["CONFIG", "SET", "maxmemory", "0"]);
    write(&store, "full", Some(&session), &next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_record_fails_its_own_session_alone() {
    if is_missing() {
        return;
    }
    let redis = Process::durable();
    let store = open(&redis.url()).await;
    write(&store, "sound", None, &fresh()).await;
    redis.tell(&["SET", &key("text"), "name-secret"]);
    redis.tell(&["SET", &key("json"), "7 {\"state\":\"active\",\"comm_type\":\"name-secret\"}"]);
    redis.tell(&["SADD", &key("set"), "name-secret"]);
    let found = store.read(&["text", "sound", "json", "set", "none"]).await.unwrap();
    assert!(matches!(&found[1], Ok(Some(_))) && matches!(&found[4], Ok(None)), "{found:?}");
    for found in [&found[0], &found[2], &found[3]] {
        let error = found.as_ref().unwrap_err().to_string();
        assert!(!error.contains("name-secret"), "{error}");
    }
    // Nor is any of them overwritten.
    let changes = ["text", "json", "set"].map(|id| change(id, None, &fresh()));
    assert_eq!(store.write(&changes).await.unwrap(), [WriteOutcome::Conflict; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_session_lives_as_long_in_redis_as_the_url_says() {
    if is_missing() {
        return;
    }
    let redis = Process::durable();
    let time_to_live = |id| redis.ask::<i64>(&["TTL", &key(id)]).unwrap();
    let (active, ended) = (fresh(), AnySession::end(fresh(), OffsetDateTime::UNIX_EPOCH));
    let store = open(&format!("{}?ended_ttl=2h", redis.url())).await;
    write(&store, "active", None, &active).await;
    write(&store, "ended", None, &active).await;
    write(&store, "ended", Some(&active), &ended).await;
    assert_eq!(time_to_live("active"), -1);
    assert!((7_000..=7_200).contains(&time_to_live("ended")), "{}", time_to_live("ended"));
    assert!(read(&store, "ended").await == Some(ended.clone()));
    let short = open(&format!("{}?ended_ttl=1s", redis.url())).await;
    write(&short, "short", None, &active).await;
    write(&short, "short", Some(&active), &ended).await;
    eventually("it is gone", || (time_to_live("short") == -2).then_some(()));
    assert!(read(&short, "short").await.is_none());
    let kept = open(&redis.url()).await;
    write(&kept, "kept", None, &active).await;
    write(&kept, "kept", Some(&active), &ended).await;
    assert_eq!(time_to_live("kept"), -1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_url_that_cannot_work_is_refused_in_one_line() {
    if is_missing() {
        return;
    }
    let redis = Process::start(&["--requirepass", "secret-9f0e"]);
    let hosts = redis.url().replace("redis://", "");
    let refusal = async |url: String, start| {
        let options = RedisOptions { start, ..RedisOptions::default() };
        let error = Redis::open(&url, &options).await.unwrap_err().to_string();
        assert!(!error.contains('\n') && !error.contains("secret"), "{error}");
        error
    };
    for url in [format!("redis://:secret-wrong@{hosts}"), format!("redis://secret-user:secret-9f0e@{hosts}")] {
        let error = refusal(url, REQUEST_TIMEOUT).await;
        assert_eq!(error, "the database cannot be used: the node refuses the user or the password");
    }
    let error = refusal(format!("redis://{hosts}"), Duration::ZERO).await;
    assert_eq!(error, "the database was not ready in time: NOAUTH");
    let error = refusal("redis://127.0.0.1:1".into(), Duration::ZERO).await;
    assert_eq!(error, "the database was not ready in time: connection refused");
    let error = refusal(format!("redis://:secret-9f0e@{hosts}?pool=3"), REQUEST_TIMEOUT).await;
    assert_eq!(error, "the URL's parameter pool is unknown");
    let store = open(&format!("redis://:secret-9f0e@{hosts}")).await;
    write(&store, "right", None, &fresh()).await;
}

#[tokio::test]
async fn options_beyond_all_bounds_are_refused_at_once() {
    let usual = RedisOptions::default();
    for options in [
        RedisOptions { connections: 0, ..usual },
        RedisOptions { connections: usize::MAX, ..usual },
        RedisOptions { timeout: Duration::ZERO, ..usual },
        RedisOptions { timeout: Duration::MAX, ..usual },
        RedisOptions { start: Duration::MAX, ..usual },
    ] {
        let error = Redis::open("redis://127.0.0.1:1", &options).await.unwrap_err();
        assert!(matches!(error, RedisOpenError::Options), "{options:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_user_needs_no_more_rights_than_the_page_says() {
    if is_missing() {
        return;
    }
    let redis = Process::durable();
    let replica = Process::start(&["--appendonly", "yes", "--replicaof", "127.0.0.1", &redis.port().to_string()]);
    eventually("it has a replica", || redis.info("replication").contains("state=online").then_some(()));
    let page = include_str!("../docs/redis.md");
    let rights = page.lines().find_map(|line| line.strip_prefix("ACL SETUSER ")).unwrap();
    let rights = rights.replace("PASSWORD", "secret");
    let command: Vec<&str> = ["ACL", "SETUSER"].into_iter().chain(rights.split(' ')).collect();
    redis.tell(&command);
    replica.tell(&command);
    let store = open(&redis.url().replace("redis://", "redis://midsession:secret@")).await;
    let session = fresh();
    write(&store, "rights", None, &session).await;
    assert!(read(&store, "rights").await == Some(session));
    // That a single node has a replica is seen: it is waited for.
    replica.signal("-STOP");
    let written = store.write(&[change("alone", None, &fresh())]).await;
    assert!(matches!(&written, Ok(written) if *written == [WriteOutcome::Unknown]), "{written:?}");
    replica.signal("-CONT");
    assert!(read(&store, "alone").await.is_some());
    for node in [&redis, &replica] {
        let denied: Vec<::redis::Value> = node.ask(&["ACL", "LOG"]).unwrap();
        assert!(denied.is_empty(), "{denied:?}");
    }
}

/// An authority, and a certificate of its own for a name, in files.
struct Authority {
    folder: TempDir,
}

impl Authority {
    fn new(name: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.distinguished_name.push(DnType::CommonName, format!("the authority of {name}"));
        let root_key = KeyPair::generate().unwrap();
        let root_certificate = root.self_signed(&root_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let node = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = node.signed_by(&key, &Issuer::new(root, root_key)).unwrap();
        std::fs::write(folder.path().join("root"), root_certificate.pem()).unwrap();
        std::fs::write(folder.path().join("certificate"), certificate.pem()).unwrap();
        std::fs::write(folder.path().join("key"), key.serialize_pem()).unwrap();
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self) -> Process {
        Process::with_tls(&self.file("certificate"), &self.file("key"), &self.file("root"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_to_redis_passes_with_the_right_certificate_alone() {
    if is_missing() {
        return;
    }
    let (right, other) = (Authority::new("127.0.0.1"), Authority::new("elsewhere.example"));
    let (redis, elsewhere) = (right.start(), other.start());
    let url = |redis: &Process, authority: &Authority| {
        format!("rediss://127.0.0.1:{}?cacert={}", redis.port(), authority.file("root").display())
    };
    let store = open(&url(&redis, &right)).await;
    write(&store, "safe", None, &fresh()).await;
    let refusal = async |url: String| {
        let error = Redis::open(&url, &RedisOptions::default()).await.unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    };
    let authority = refusal(url(&redis, &other)).await;
    assert_eq!(authority, "the database cannot be used: TLS: invalid peer certificate: UnknownIssuer");
    let name = refusal(url(&elsewhere, &other)).await;
    assert!(name.starts_with("the database cannot be used: TLS: invalid peer certificate: "), "{name}");
    assert!(name.contains("not valid for name"), "{name}");
    let none = refusal(format!("rediss://127.0.0.1:{}?cacert=/nowhere", redis.port())).await;
    assert_eq!(none, "the file in the URL's parameter cacert cannot be read, or is not in PEM");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_on_redis_warns_of_what_may_lose_sessions() {
    if is_missing() {
        return;
    }
    let lines = async |arguments: &[&str]| {
        let (redis, folder) = (Process::start(arguments), TempDir::new().unwrap());
        let server = Server::start(&redis.url(), "30s", &folder.path().join("log"));
        let client = server.client();
        let id = client.start_chat().await;
        assert_eq!(client.link(&id, "identifier-3d1c").await.0, 202);
        let log = server.log();
        log.lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect::<Vec<_>>()
    };
    let durable = ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"];
    assert_eq!(lines(&durable).await, [""; 0]);
    let careless = lines(&["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"]).await;
    assert_eq!(careless.len(), 2, "{careless:?}");
    assert!(careless[0].contains("appendonly is no") && careless[1].contains("maxmemory-policy is not noeviction"));
    let lazy = lines(&["--appendonly", "yes", "--appendfsync", "everysec"]).await;
    assert!(lazy.len() == 1 && lazy[0].contains("appendfsync is not always"), "{lazy:?}");
    let managed = lines(&["--rename-command", "CONFIG", ""]).await;
    assert!(managed.len() == 1 && managed[0].contains("could not be checked"), "{managed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_a_redis_cluster_let_one_of_64_links_through() {
    if is_missing() {
        return;
    }
    let (cluster, folder) = (Cluster::start(), TempDir::new().unwrap());
    let log = |name| folder.path().join(name);
    let servers = ["one", "two"].map(|name| Server::start(&cluster.url(), "3600s", &log(name)));
    let id = servers[0].client().start_chat().await;
    let mut linking = tokio::task::JoinSet::new();
    for number in 0..64 {
        let (client, id) = (servers[number % 2].client(), id.clone());
        linking.spawn(async move { client.link(&id, &format!("identifier-{number}")).await });
    }
    let answers = linking.join_all().await;
    let accepted = answers.iter().filter(|(status, _)| *status == 202).count();
    let duplicates = answers.iter().filter(|(_, body)| body.contains("Duplicate request")).count();
    assert_eq!((accepted, duplicates), (1, 63), "{answers:?}");
}
