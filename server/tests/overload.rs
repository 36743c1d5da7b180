//! More clients than can be served, over sockets.

use std::sync::Arc;
use std::time::Duration;

use midsession::{CommType, DuplicatePolicy, Session};
use midsession_server::{App, ConnectionLimits, Limits, Sessions, Token, Tokens, router, serve};
use time::OffsetDateTime;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::harness::{TOKEN, post, send};
use crate::memory::{Fault, Memory};

#[tokio::test(flavor = "multi_thread")]
async fn clients_beyond_the_queue_are_answered_503_with_retry_after_and_the_others_are_served() {
    const CLIENTS: usize = 200;
    const QUEUE: usize = 16;
    let store = Memory::default();
    for number in 0..CLIENTS {
        store.put(&number.to_string(), Session::start(CommType::Chat).into());
    }
    // Long enough for all clients to come meanwhile.
    store.fail([Fault::Slow(Duration::from_secs(3))]);
    let limits = Limits { queue: QUEUE, request_timeout: Duration::from_mins(1), ..Limits::default() };
    let policy = DuplicatePolicy::new(Duration::ZERO);
    let sessions = Sessions::start(store.clone(), policy, Arc::new(OffsetDateTime::now_utc), limits);
    let tokens = Tokens::new([Token::new(TOKEN).unwrap()]);
    let app = App { sessions: sessions.clone(), tokens, public_docs: false };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let running =
        tokio::spawn(serve(listener, router(app), ConnectionLimits::default(), async { drop(stopped.await) }));

    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let address = address.clone();
        clients.spawn(async move {
            let path = format!("/apps/api/v1/chats/{number}/end_user");
            send(&address, post(&path, "content-type: application/json\r\n", br#"{"identifier":"id-1"}"#, false)).await
        });
    }
    let (accepted, refused): (Vec<_>, Vec<_>) =
        clients.join_all().await.into_iter().partition(|reply| reply.status == 202);
    assert!(accepted.len() >= QUEUE, "only {} were served", accepted.len());
    assert!(!refused.is_empty(), "the queue has no bound");
    for reply in &refused {
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{}", reply.text());
    }
    let linked = (0..CLIENTS).filter(|number| store.get(&number.to_string()).unwrap().revision() == 1).count();
    assert_eq!(linked, accepted.len(), "those who were told so are linked, and no one else");

    drop(stop);
    running.await.unwrap();
    sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_whose_clients_hang_up_do_not_pile_up_beyond_the_bound_of_connections() {
    const CLIENTS: usize = 200;
    const CONNECTIONS: usize = 8;
    let store = Memory::default();
    for number in 0..CLIENTS {
        store.put(&number.to_string(), Session::start(CommType::Chat).into());
    }
    // Long enough for all clients to come and go meanwhile.
    store.fail([Fault::Slow(Duration::from_secs(2))]);
    let policy = DuplicatePolicy::new(Duration::ZERO);
    let sessions = Sessions::start(store.clone(), policy, Arc::new(OffsetDateTime::now_utc), Limits::default());
    let app = App { sessions: sessions.clone(), tokens: Tokens::new([Token::new(TOKEN).unwrap()]), public_docs: false };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = ConnectionLimits { connections: CONNECTIONS, ..ConnectionLimits::default() };
    let running = tokio::spawn(serve(listener, router(app), limits, std::future::pending()));
    for number in 0..CLIENTS {
        let path = format!("/apps/api/v1/chats/{number}/end_user");
        let request = post(&path, "content-type: application/json\r\n", br#"{"identifier":"id-1"}"#, false);
        TcpStream::connect(address).await.unwrap().write_all(&request).await.unwrap();
    }
    while store.batches().len() < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(store.batches()[1] < CONNECTIONS, "{:?}", store.batches());
    running.abort();
    sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_limits_as_large_as_their_types_are_as_good_as_none() {
    let store = Memory::default();
    store.put("chat", Session::start(CommType::Chat).into());
    let policy = DuplicatePolicy::new(Duration::ZERO);
    let sessions = Sessions::start(store, policy, Arc::new(OffsetDateTime::now_utc), Limits::default());
    let app = App { sessions, tokens: Tokens::new([Token::new(TOKEN).unwrap()]), public_docs: false };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (idle, head, write, drain) = (Duration::MAX, Duration::MAX, Duration::MAX, Duration::MAX);
    let limits = ConnectionLimits { connections: usize::MAX, idle, head, write, drain };
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(serve(listener, router(app), limits, async { drop(stopped.await) }));
    let request = || {
        post(
            "/apps/api/v1/chats/chat/end_user",
            "content-type: application/json\r\n",
            br#"{"identifier":"id-1"}"#,
            false,
        )
    };
    assert_eq!(send(&address, request()).await.status, 202);
    drop(stop);
    assert_eq!(send(&address, request()).await.status, 202, "it drains for ever");
    running.abort();
}
