//! How often memory is allocated for a link, from the router to the answer, so that no layer is dearer than it looks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use midsession::{AnySession, CommType, DuplicatePolicy, Session};
use midsession_server::{
    App, Command, ConditionalWrite, Limits, ReadOutcome, Sessions, Store, StoreError, Token, Tokens, WriteOutcome,
    router,
};
use time::OffsetDateTime;
use tokio::runtime::Builder;
use tower::ServiceExt;

const TOKEN: &str = "allocations-token";
const REQUESTS: u64 = 64;
/// It was 65 when all layers were one function of axum's `from_fn`, and 58 in parts. Since then a change says who asked, which
/// is 4 more.
const MOST: u64 = 62;

#[test]
fn a_link_through_all_layers_allocates_62_times_at_most() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let (sessions, router) = runtime.block_on(async {
        let interval = DuplicatePolicy::new(Duration::ZERO);
        let clock = || OffsetDateTime::UNIX_EPOCH;
        let sessions = Sessions::start(Memory::default(), interval, Arc::new(clock), Limits::default());
        sessions.submit("42", Command::Start(Session::start(CommType::Chat))).await.unwrap();
        let tokens = Tokens::new([Token::new(TOKEN).unwrap()]);
        (sessions.clone(), router(App { sessions, tokens, public_docs: false }))
    });
    let link = |request: Request<Body>| {
        runtime.block_on(async {
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 202);
            to_bytes(response.into_body(), 1024).await.unwrap();
        });
    };
    (0..REQUESTS).map(|_| request()).for_each(link);
    let requests: Vec<_> = (0..REQUESTS).map(|_| request()).collect();
    let counted = allocation_counter::measure(|| requests.into_iter().for_each(link));
    runtime.block_on(sessions.stop());
    println!("{} for {REQUESTS} links", counted.count_total);
    assert!(counted.count_total / REQUESTS <= MOST, "{} allocations for {REQUESTS} links", counted.count_total);
}

fn request() -> Request<Body> {
    let body = r#"{"identifier":"id-1","name":"John Doe"}"#;
    let request = Request::post("/apps/api/v1/chats/42/end_user").header(header::HOST, "x");
    let request = request.header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
    request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body)).unwrap()
}

#[derive(Default)]
struct Memory(Mutex<HashMap<String, AnySession>>);

impl Store for Memory {
    async fn read(&self, ids: &[&str]) -> Result<Vec<ReadOutcome>, StoreError> {
        let sessions = self.0.lock().unwrap();
        Ok(ids.iter().map(|id| Ok(sessions.get(*id).cloned())).collect())
    }

    async fn write(&self, writes: &[ConditionalWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
        let mut sessions = self.0.lock().unwrap();
        let mut write_one = |write: &ConditionalWrite| {
            sessions.insert(write.id.to_string(), write.next.clone());
            WriteOutcome::Applied
        };
        Ok(writes.iter().map(&mut write_one).collect())
    }
}
