use std::sync::Arc;

use midsession::conformance::{Case, Reply, cases};
use midsession_server::{App, LegacyStore as Store, Token, router, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::harness::{Site, TOKEN, post, send};

#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_the_conformance_kit_is_answered_on_sqlite() {
    every_case_is_answered(Site::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_the_conformance_kit_is_answered_on_postgres() {
    if let Some(site) = Site::postgres() {
        every_case_is_answered(site).await;
    }
}

/// Over sockets, through the library: its clock and its policy are the case's.
async fn every_case_is_answered(site: Site) {
    let store = Store::open(&site.url()).await.unwrap();
    for case in cases().unwrap() {
        site.execute("DELETE FROM sessions").await;
        if let Some(session) = &case.session {
            store.insert(case.session_id(), session).await.unwrap();
        }
        let reply = ask(&store, &case).await;
        case.judge(&reply).unwrap_or_else(|mismatch| panic!("{mismatch}"));
        let stored = store.load(case.session_id()).await.unwrap();
        case.judge_stored(stored.as_ref()).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    }
}

async fn ask(store: &Store, case: &Case) -> Reply {
    let now = case.now;
    let app = App {
        store: store.clone(),
        policy: case.policy,
        token: Token::new(TOKEN).unwrap(),
        clock: Arc::new(move || now),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, router(app), async { drop(stopped.await) }));

    let request = post(&case.path, "content-type: application/json\r\n", case.body.as_bytes(), false);
    let reply = send(&address, request).await;
    drop(stop);
    server.await.unwrap();
    let retry_after_secs = reply.header("retry-after").map(|seconds| seconds.parse().unwrap());
    Reply { status: reply.status, body: reply.body.into_bytes(), retry_after_secs }
}
