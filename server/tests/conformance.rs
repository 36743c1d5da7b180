use std::sync::Arc;
use std::time::Duration;

use midsession::testing::conformance::{Case, Reply, cases};
use midsession_server::{
    App, Change, ConnectionLimits, Limits, Postgres, PostgresOptions, Sessions, Sqlite, Store, Token, Written, router,
    serve,
};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::harness::{Site, TOKEN, send};
use crate::postgres_harness::Bouncer;

#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_the_conformance_kit_is_answered_on_sqlite() {
    let site = Site::sqlite();
    let store = Sqlite::open(&site.url(), Duration::from_secs(2)).await.unwrap();
    every_case_is_answered(async || site.execute("DELETE FROM sessions").await, store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_the_conformance_kit_is_answered_on_postgres() {
    let Some(site) = Site::postgres() else { return };
    let store = Postgres::open(&site.url(), &PostgresOptions::default()).await.unwrap();
    every_case_is_answered(async || site.execute("DELETE FROM sessions").await, Arc::new(store)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_the_conformance_kit_is_answered_on_postgres_through_pgbouncer() {
    let Some(site) = Site::postgres() else { return };
    let port = site.url().rsplit([':', '/']).nth(1).unwrap().parse().unwrap();
    let Some(bouncer) = Bouncer::start(port, "") else { return };
    let store = Postgres::open(&bouncer.url(), &PostgresOptions::default()).await.unwrap();
    every_case_is_answered(async || site.execute("DELETE FROM sessions").await, store).await;
}

/// Over sockets, through the library: its clock and its policy are the case's.
pub async fn every_case_is_answered<S: Store + Clone>(clear: impl AsyncFn(), store: S) {
    for case in cases().unwrap() {
        clear().await;
        if let Some(session) = &case.session {
            let change =
                Change { id: case.session_id().to_owned(), expected: None, glanced: None, next: session.clone() };
            assert_eq!(store.write(&[change]).await.unwrap(), [Written::Yes]);
        }
        let reply = ask(&store, &case).await;
        case.judge(&reply).unwrap_or_else(|mismatch| panic!("{mismatch}"));
        let stored = store.read(&[case.session_id()]).await.unwrap().pop().unwrap().unwrap();
        case.judge_stored(stored.as_ref()).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    }
}

async fn ask<S: Store + Clone>(store: &S, case: &Case) -> Reply {
    let now = case.now;
    let sessions = Sessions::start(store.clone(), case.policy, Arc::new(move || now), Limits::default());
    let app = App { sessions, tokens: Token::new(TOKEN).unwrap().into(), public_docs: false };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, router(app), ConnectionLimits::default(), async { drop(stopped.await) }));

    let Case { method, path, body, .. } = case;
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n");
    let request = format!("{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let reply = send(&address, request.into_bytes()).await;
    drop(stop);
    server.await.unwrap();
    let retry_after_secs = reply.header("retry-after").map(|seconds| seconds.parse().unwrap());
    Reply { status: reply.status, body: reply.body.into_bytes(), retry_after_secs }
}
