use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, Weak};

use midsession::testing::conformance::{Case, Need, Reply, cases};
use midsession::{Answer, AnySession, Param};
use midsession_wrappers::app::{App, Store};
use midsession_wrappers::grpc;
use midsession_wrappers::grpc::proto::LinkEndUserRequest;
use midsession_wrappers::grpc::proto::mid_session_client::MidSessionClient;
use midsession_wrappers::queue::{Consumed, KeyValueStore, Row, consume};
use time::OffsetDateTime;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::wire::Wrapper;

#[tokio::test(flavor = "multi_thread")]
async fn the_axum_wrapper_passes_every_case() {
    every_case_passes(Wrapper::Axum).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_actix_web_wrapper_passes_every_case() {
    every_case_passes(Wrapper::Actix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tower_service_passes_every_case() {
    every_case_passes(Wrapper::Tower).await;
}

async fn every_case_passes(wrapper: Wrapper) {
    for case in cases().unwrap() {
        let site = Site::new(&case);
        for request in case.in_a_row() {
            site.prepare(&request);
            let reply = wrapper.ask(&site.app, in_bytes(&request)).await;
            let retry_after_secs = reply.header("retry-after").map(|seconds| seconds.parse().unwrap());
            let reply = Reply { status: reply.status, body: reply.body.into(), retry_after_secs };
            judge(&request, &site.app, &reply);
            if !request.goes_on_after(&reply) {
                break;
            }
        }
    }
}

fn in_bytes(case: &Case) -> Vec<u8> {
    let headers = case.headers().iter().fold(String::new(), |head, (name, value)| format!("{head}{name}: {value}\r\n"));
    let line = format!("{} {} HTTP/1.1\r\nhost: x\r\n{headers}", case.method, case.target());
    let head = format!("{line}content-length: {}\r\nconnection: close\r\n\r\n", case.body.len());
    [head.as_bytes(), &case.body].concat()
}

/// Without a socket, but encoded and decoded as on one.
#[tokio::test]
async fn the_tonic_wrapper_passes_every_case_of_the_contract() {
    for case in &cases().unwrap() {
        let Some((session_id, request)) = case.request() else { continue };
        let Site { app, .. } = Site::new(case);
        let message = LinkEndUserRequest {
            session_id: session_id.to_owned(),
            comm_type: typed(&request.comm_type).unwrap_or_default(),
            identifier: typed(&request.identifier).unwrap_or_default(),
            name: typed(&request.name),
            email: typed(&request.email),
            phone: typed(&request.phone),
        };
        let reply = MidSessionClient::new(grpc::service(app.clone())).link_end_user(message).await;
        let reply = match reply {
            Ok(accepted) => in_http(202, &accepted.into_inner().message, None),
            Err(status) => refused(&status),
        };
        judge(case, &app, &reply);
    }
}

#[test]
fn the_queues_consumer_passes_every_case_of_the_contract() {
    for case in &cases().unwrap() {
        let Some((session_id, request)) = case.request() else { continue };
        // Its clock is an argument, so nothing can come between its read and its write here.
        if case.needs.contains(&Need::Meanwhile) {
            continue;
        }
        let store = KeyValueStore::default();
        if let Some(session) = case.session.clone() {
            let row = Row { tenant: "tenant-1".to_owned(), agent: None, session };
            store.put(case.session_id(), serde_json::to_string(&row).unwrap());
        }
        let message = serde_json::json!({
            "session_id": session_id,
            "comm_type": typed(&request.comm_type).unwrap_or_default(),
            "identifier": typed(&request.identifier),
            "name": typed(&request.name),
            "email": typed(&request.email),
            "phone": typed(&request.phone),
        });
        let consumed = consume(&store, &case.policy, case.now, &message.to_string()).unwrap();
        let (answer, lines) = match &consumed {
            Consumed::Linked(accepted) => (Answer::from(accepted), 1),
            Consumed::AlreadyLinked(error) | Consumed::Refused(error) => (Answer::from(error), 0),
        };
        case.judge(&answer.into()).unwrap_or_else(|mismatch| panic!("{mismatch}"));
        let row = store.get(case.session_id()).map(|row| serde_json::from_str::<Row>(&row).unwrap());
        case.judge_stored(row.map(|row| row.session).as_ref()).unwrap_or_else(|mismatch| panic!("{mismatch}"));
        assert_eq!(store.drain_outbox().len(), lines, "{}", case.name);
    }
}

/// A param in a typed field, which cannot hold anything but text: what is not text becomes text that no field accepts, so
/// that the same row answers.
fn typed(param: &Param<'_>) -> Option<String> {
    match param {
        Param::Blank => None,
        Param::Text(text) => Some(text.to_string()),
        Param::NotText => Some("\0".to_owned()),
    }
}

/// The app, with its clock and the other servers, as a case has them.
pub struct Site {
    pub app: Arc<App>,
    clock: Arc<Mutex<OffsetDateTime>>,
    /// What other servers store under the case's id, or delete, between a read and a write, one after the other.
    others: Arc<Mutex<VecDeque<Option<AnySession>>>>,
}

impl Site {
    /// The app looks at its clock after it has read the session and before it writes, so the clock is where another server
    /// stores something.
    pub fn new(case: &Case) -> Self {
        let store = Store::default();
        for (id, session) in &case.others {
            store.insert(id, session.clone());
        }
        put(&store, case.session_id(), case.session.clone());
        let deleted = case.deleted_meanwhile.then_some(None);
        let stored = case.meanwhile.clone().into_iter().chain(refusals(case)).map(Some);
        let others = deleted.into_iter().chain(stored).collect::<VecDeque<_>>();
        let others = Arc::new(Mutex::new(others));
        let clock = Arc::new(Mutex::new(case.now));
        let (id, shown, next) = (case.session_id().to_owned(), clock.clone(), others.clone());
        let app = Arc::new_cyclic(|app: &Weak<App>| {
            let app = app.clone();
            let now = move || {
                let next = next.lock().unwrap().pop_front();
                if let Some(session) = next {
                    put(&app.upgrade().unwrap().store, &id, session);
                }
                *shown.lock().unwrap()
            };
            App { store, policy: case.policy, now: Box::new(now) }
        });
        Self { app, clock, others }
    }

    /// Before each request of a case in a row.
    pub fn prepare(&self, request: &Case) {
        *self.clock.lock().unwrap() = request.now;
        let is_first = request.meanwhile.is_some() || request.deleted_meanwhile || request.refused_writes > 0;
        let is_void = !is_first && self.others.lock().unwrap().drain(..).count() > 0;
        if request.replaced || is_void {
            put(&self.app.store, request.session_id(), request.session.clone());
        }
    }
}

fn put(store: &Store, id: &str, session: Option<AnySession>) {
    match session {
        Some(session) => store.insert(id, session),
        None => store.remove(id),
    }
}

/// The same session with its revision changed again and again: so many writes are lost. The last one has the first revision.
fn refusals(case: &Case) -> Vec<AnySession> {
    let Some(session) = &case.session else { return Vec::new() };
    let mut stored = serde_json::to_value(session).unwrap();
    let revision = session.revision();
    let revisions = (0..case.refused_writes).map(|number| revision + 1 + u64::from(case.refused_writes - number));
    revisions
        .map(|revision| {
            stored["revision"] = revision.into();
            serde_json::from_value(stored.clone()).unwrap()
        })
        .collect()
}

#[track_caller]
pub fn judge(case: &Case, app: &App, reply: &Reply) {
    case.judge(reply).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    let ids = case.others.keys().map(String::as_str).chain([case.session_id()]);
    let stored = ids.filter_map(|id| Some((id.to_owned(), app.store.load(id)?))).collect::<BTreeMap<_, _>>();
    if case.refused_writes > 0 {
        // Their revisions are those of the other server.
        let linked = |session: Option<&AnySession>| session.and_then(|session| session.end_user().cloned());
        let expected = if reply.status == 202 { &case.expected.session } else { &case.session };
        assert_eq!(linked(stored.get(case.session_id())), linked(expected.as_ref()), "{}", case.name);
        return;
    }
    case.judge_store(reply, &stored).unwrap_or_else(|mismatch| panic!("{mismatch}"));
}

/// A gRPC status as the reply that HTTP would give.
fn refused(status: &Status) -> Reply {
    let details = status.get_error_details();
    assert!(details.error_info().is_some(), "{status:?}");
    let retry_after = details.retry_info().and_then(|info| info.retry_delay);
    let code = match status.code() {
        Code::InvalidArgument => {
            assert!(details.bad_request().is_some_and(|request| request.field_violations.len() == 1), "{status:?}");
            400
        }
        Code::FailedPrecondition => 400,
        Code::ResourceExhausted => {
            assert!(retry_after.is_some(), "{status:?}");
            400
        }
        Code::NotFound => 404,
        _ => panic!("{status:?}"),
    };
    in_http(code, status.message(), retry_after)
}

fn in_http(status: u16, message: &str, retry_after: Option<std::time::Duration>) -> Reply {
    let body = format!(r#"{{"message":"{message}"}}"#).into_bytes();
    let seconds = retry_after.map(|wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
    Reply { status, body, retry_after_secs: seconds }
}
