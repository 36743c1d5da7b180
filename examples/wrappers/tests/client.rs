use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Mutex;

use midsession::testing::conformance::{Case, Need, Reply, cases};
use midsession::{
    Answer, AnySession, CommType, DuplicatePolicy, Endpoint, LinkError, LinkErrorKind, LinkRequest, Session,
};
use midsession_wrappers::axum;
use midsession_wrappers::client::{CallError, Client, Fake, LinkEndUser};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::kit::{Site, judge};

type Called = Result<Result<(), LinkError>, CallError>;

const TOKEN: &str = "token-zq7";
/// No test comes near it, but for the one whose server never answers.
const LONG: Duration = Duration::from_secs(60);

fn client(address: SocketAddr, timeout: Duration) -> Client {
    Client::new(format!("http://{address}").parse().unwrap(), TOKEN.to_owned(), timeout).unwrap()
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The case's endpoint and request, if a client can send it: the client builds paths of calls and chats only.
fn sendable(case: &Case) -> Option<(Endpoint<'_>, LinkRequest<'_>)> {
    let (session_id, request) = case.request()?;
    let comm_type = Endpoint::parse(&case.path)?.comm_type()?;
    Some((Endpoint::new(comm_type, session_id)?, request))
}

/// The answer that was read, as a reply over HTTP again.
fn reply(read: &Result<(), LinkError>) -> Reply {
    read.as_ref().map_or_else(Answer::from, |()| Answer::ACCEPTED).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_sends_is_decided_as_each_case_says_and_it_reads_the_cases_answer() {
    let mut read_kinds = BTreeMap::<Option<LinkErrorKind>, u32>::new();
    for case in cases().unwrap() {
        let site = Site::new(&case);
        let (listener, address) = listen().await;
        let serving = tokio::spawn(::axum::serve(listener, axum::router(site.app.clone())).into_future());
        let client = client(address, LONG);
        for step in case.in_a_row() {
            // What a client cannot send, the other requests of its case do not build on: they are of transports.
            let Some((endpoint, request)) = sendable(&step) else { break };
            site.prepare(&step);
            match client.link_end_user(&endpoint, &request).await {
                Ok(read) => {
                    judge(&step, &site.app, &reply(&read));
                    *read_kinds.entry(read.err().map(|error| error.kind())).or_default() += 1;
                }
                Err(CallError::Path) => assert!(step.needs.contains(&Need::DotSegments), "{}", step.name),
                Err(error) => panic!("{}: {error:?}", step.name),
            }
        }
        serving.abort();
    }
    assert!(read_kinds.values().sum::<u32>() > 500, "{read_kinds:?}");
    assert_eq!(read_kinds.len(), 1 + LinkErrorKind::ALL.len(), "{read_kinds:?}");
}

#[tokio::test]
async fn the_fake_answers_each_case_as_the_client_reads_it() {
    let mut answered = 0;
    for case in cases().unwrap() {
        // Nobody else writes to the fake.
        if case.needs.contains(&Need::Meanwhile) {
            continue;
        }
        let mut sessions = HashMap::from_iter(case.others.clone());
        sessions.extend(case.session.clone().map(|session| (case.session_id().to_owned(), session)));
        let mut fake = Fake { sessions: Mutex::new(sessions), policy: case.policy, now: case.now };
        for step in case.in_a_row() {
            let Some((endpoint, request)) = sendable(&step) else { break };
            fake.now = step.now;
            if step.replaced {
                let mut sessions = fake.sessions.lock().unwrap();
                sessions.remove(step.session_id());
                sessions.extend(step.session.clone().map(|session| (step.session_id().to_owned(), session)));
            }
            let read = fake.link_end_user(&endpoint, &request).await.unwrap();
            step.judge(&reply(&read)).unwrap_or_else(|mismatch| panic!("{mismatch}"));
            let stored = fake.sessions.lock().unwrap().get(step.session_id()).cloned();
            step.judge_stored(stored.as_ref()).unwrap_or_else(|mismatch| panic!("{mismatch}"));
            answered += 1;
        }
    }
    assert!(answered > 500, "{answered}");
}

/// Code that uses the endpoint, and its test with the fake.
#[tokio::test]
async fn code_that_takes_the_trait_runs_with_the_fake() {
    async fn sign_in(platform: &impl LinkEndUser, chat: &str, identifier: &str) -> bool {
        let endpoint = Endpoint::new(CommType::Chat, chat).unwrap();
        let request = LinkRequest { identifier: identifier.into(), ..LinkRequest::default() };
        platform.link_end_user(&endpoint, &request).await.is_ok_and(|answer| answer.is_ok())
    }
    let sessions = Mutex::new(HashMap::from([("42".to_owned(), AnySession::from(Session::start(CommType::Chat)))]));
    let fake = Fake { sessions, policy: DuplicatePolicy::new(LONG), now: OffsetDateTime::UNIX_EPOCH };
    assert!(sign_in(&fake, "42", "id-1").await);
    assert!(!sign_in(&fake, "42", "id-2").await, "inside the interval");
    assert!(!sign_in(&fake, "43", "id-1").await, "no such chat");
}

/// Answers one connection with these bytes and closes it. Returns what the client has read, and what it had sent.
async fn call_answered(answer: &[u8]) -> (Called, String) {
    let (listener, address) = listen().await;
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let sent = read_request(&mut stream).await;
        // A client that has heard enough closes the connection first.
        let _ = stream.write_all(answer).await;
        sent
    };
    let client = client(address, LONG);
    let endpoint = Endpoint::new(CommType::Chat, "42").unwrap();
    let request = sample();
    tokio::join!(client.link_end_user(&endpoint, &request), serve)
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut sent = Vec::new();
    while !sent.ends_with(b"}") {
        assert_ne!(stream.read_buf(&mut sent).await.unwrap(), 0, "the request is whole");
    }
    String::from_utf8(sent).unwrap()
}

fn sample() -> LinkRequest<'static> {
    LinkRequest {
        comm_type: CommType::Chat.into(),
        identifier: "marker-identifier".into(),
        name: "marker name".into(),
        email: "marker@example.com".into(),
        phone: "123-456-7890".into(),
    }
}

fn http(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn a_request_is_the_published_one_with_the_token_and_without_the_comm_type_in_its_body() {
    let (called, sent) = call_answered(&http("202 Accepted", Answer::ACCEPTED.body)).await;
    assert_eq!(called.unwrap(), Ok(()));
    let (head, body) = sent.split_once("\r\n\r\n").unwrap();
    assert_eq!(head.lines().next(), Some("POST /apps/api/v1/chats/42/end_user HTTP/1.1"));
    let head = head.to_ascii_lowercase();
    for header in ["content-type: application/json", &format!("authorization: bearer {TOKEN}")] {
        assert_eq!(head.lines().filter(|line| *line == header).count(), 1, "{head}");
    }
    let published = r#"{"identifier":"marker-identifier","name":"marker name","email":"marker@example.com","phone":"123-456-7890"}"#;
    assert_eq!(body, published);
}

#[tokio::test]
async fn an_answer_that_is_not_the_contracts_is_told_with_its_status_and_wait() {
    for (answer, status, retry_after) in [
        (http("503 Service Unavailable\r\nretry-after: 7", r#"{"message":"try again"}"#), 503, Some(7)),
        (http("503 Service Unavailable\r\nretry-after: Thu, 26 Nov 2026 12:00:00 GMT", "{}"), 503, None),
        (http("502 Bad Gateway", "<html>Bad Gateway</html>"), 502, None),
        (http("401 Unauthorized", r#"{"message":"unauthorized"}"#), 401, None),
        (http("404 Not Found", "404 page not found\n"), 404, None),
        (http("202 Accepted", "{}"), 202, None),
        (http("200 OK", Answer::ACCEPTED.body), 200, None),
        (http("202 Accepted", &"x".repeat(1 << 20)), 202, None),
    ] {
        let (called, _) = call_answered(&answer).await;
        match called {
            Err(CallError::Other { status: read, retry_after: wait }) => {
                assert_eq!((read, wait), (status, retry_after.map(Duration::from_secs)));
            }
            other => panic!("{status}: {other:?}"),
        }
    }
}

/// The listener takes no second connection, so a client that followed would wait in vain.
#[tokio::test]
async fn a_redirect_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let head = format!("{status} Moved\r\nlocation: http://127.0.0.1:1/apps/api/v1/chats/42/end_user");
        let (called, _) = call_answered(&http(&head, "")).await;
        assert!(matches!(called, Err(CallError::Other { status: read, .. }) if read == status), "{called:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_lost_and_may_have_linked() {
    let whole = http("202 Accepted", Answer::ACCEPTED.body);
    for kept in [0, 5, 12, whole.len() - 1] {
        let (called, _) = call_answered(&whole[..kept]).await;
        assert!(matches!(called, Err(CallError::Lost(_))), "{kept}: {called:?}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_lost_and_may_have_linked() {
    // It takes the connection, and never answers.
    let (_listener, address) = listen().await;
    let endpoint = Endpoint::new(CommType::Chat, "42").unwrap();
    let called = client(address, Duration::from_millis(20)).link_end_user(&endpoint, &sample()).await;
    assert!(matches!(&called, Err(CallError::Lost(error)) if error.is_timeout()), "{called:?}");
}

#[tokio::test]
async fn where_no_server_listens_nothing_was_sent() {
    let (listener, address) = listen().await;
    drop(listener);
    let endpoint = Endpoint::new(CommType::Chat, "42").unwrap();
    let called = client(address, LONG).link_end_user(&endpoint, &sample()).await;
    assert!(matches!(called, Err(CallError::NotSent(_))), "{called:?}");
}

#[tokio::test]
async fn a_session_id_that_a_url_resolves_is_not_sent_to_another_path() {
    let (listener, address) = listen().await;
    drop(listener);
    for id in [".", ".."] {
        let endpoint = Endpoint::new(CommType::Chat, id).unwrap();
        let called = client(address, LONG).link_end_user(&endpoint, &sample()).await;
        assert!(matches!(called, Err(CallError::Path)), "{id}: {called:?}");
    }
}

#[tokio::test]
async fn an_error_shows_nothing_of_the_request_or_the_token() {
    let answers = [http("503 Service Unavailable", "marker"), b"HTTP/1.1 202 Acc".to_vec(), b"marker\r\n\r\n".to_vec()];
    for answer in answers {
        let (called, _) = call_answered(&answer).await;
        let error = called.unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let printed = format!("{error:?} {error} {cause:?}");
        for data in ["marker", "123-456", "example.com", TOKEN, "chats/42"] {
            assert!(!printed.contains(data), "{data}: {printed}");
        }
    }
}
