use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use midsession::AnySession;
use midsession::testing::conformance::{Case, Need, Reply, cases};
use midsession_server::{
    App, ConditionalWrite, ConnectionLimits, Limits, Postgres, PostgresOptions, Sessions, Sqlite, Store, Token,
    WriteOutcome, router, serve,
};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::harness::{Site, TOKEN, send};
use crate::postgres_harness::Bouncer;

/// A disk that others use may take seconds to write, and the kit is not about time.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);

fn postgres_options() -> PostgresOptions {
    PostgresOptions { timeout: CALL_TIMEOUT, ..PostgresOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_the_conformance_kit_is_answered_on_sqlite() {
    let site = Site::sqlite();
    let store = Sqlite::open(&site.url(), CALL_TIMEOUT).await.unwrap();
    every_case_is_answered(async || site.execute("DELETE FROM sessions").await, store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_the_conformance_kit_is_answered_on_postgres() {
    let Some(site) = Site::postgres() else { return };
    let store = Postgres::open(&site.url(), &postgres_options()).await.unwrap();
    every_case_is_answered(async || site.execute("DELETE FROM sessions").await, Arc::new(store)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_the_conformance_kit_is_answered_on_postgres_through_pgbouncer() {
    let Some(site) = Site::postgres() else { return };
    let port = site.url().rsplit([':', '/']).nth(1).unwrap().parse().unwrap();
    let Some(bouncer) = Bouncer::start(port, "") else { return };
    let store = Postgres::open(&bouncer.url(), &postgres_options()).await.unwrap();
    every_case_is_answered(async || site.execute("DELETE FROM sessions").await, store).await;
}

/// Over sockets, through the library: its clock and its policy are the case's.
pub async fn every_case_is_answered<S: Store + Clone>(clear: impl AsyncFn(), store: S) {
    // What another server stores meanwhile is put in place by `examples/kit.rs`, which `kit.py` drives.
    let cases = cases().unwrap().into_iter().filter(|case| !case.needs.contains(&Need::Meanwhile));
    let mut servers = JoinSet::new();
    for case in cases {
        clear().await;
        put(&store, &case).await;
        for request in case.in_a_row() {
            if request.replaced {
                clear().await;
                put(&store, &request).await;
            }
            let reply = ask(&store, &request, &mut servers).await;
            request.judge(&reply).unwrap_or_else(|mismatch| panic!("{mismatch}"));
            let stored = stored(&store, &request).await;
            request.judge_store(&reply, &stored).unwrap_or_else(|mismatch| panic!("{mismatch}"));
        }
    }
    servers.join_all().await;
}

async fn put<S: Store>(store: &S, case: &Case) {
    let own = case.session.iter().map(|session| (case.session_id(), session));
    let others = case.others.iter().map(|(id, session)| (id.as_str(), session));
    for (id, session) in own.chain(others) {
        let change = ConditionalWrite::new(id, None, session.clone());
        assert_eq!(store.write(&[change]).await.unwrap(), [WriteOutcome::Applied]);
    }
}

async fn stored<S: Store>(store: &S, case: &Case) -> BTreeMap<String, AnySession> {
    let ids: Vec<_> = case.others.keys().map(String::as_str).chain([case.session_id()]).collect();
    let found = store.read(&ids).await.unwrap();
    ids.iter().zip(found).filter_map(|(id, session)| Some(((*id).to_owned(), session.unwrap()?))).collect()
}

/// By a server of its own. It is told to stop, and may take its time for that while the next case is asked.
async fn ask<S: Store + Clone>(store: &S, case: &Case, servers: &mut JoinSet<()>) -> Reply {
    let now = case.now;
    let limits = Limits { request_timeout: 2 * CALL_TIMEOUT, ..Limits::default() };
    let sessions = Sessions::start(store.clone(), case.policy, Arc::new(move || now), limits);
    let app = App { sessions, tokens: Token::new(TOKEN).unwrap().into(), public_docs: false };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    servers.spawn(serve(listener, router(app), ConnectionLimits::default(), async { drop(stopped.await) }));

    let head = format!("{} {} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n", case.method, case.target());
    let headers = case.headers().iter().fold(String::new(), |head, (name, value)| format!("{head}{name}: {value}\r\n"));
    let head = format!("{head}{headers}content-length: {}\r\n\r\n", case.body.len());
    let reply = send(&address, [head.as_bytes(), &case.body].concat()).await;
    drop(stop);
    let retry_after_secs = reply.header("retry-after").map(|seconds| seconds.parse().unwrap());
    Reply { status: reply.status, body: reply.body.into_bytes(), retry_after_secs }
}
