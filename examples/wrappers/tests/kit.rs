use std::sync::Arc;

use midsession::testing::conformance::{Case, Reply, cases};
use midsession::{Answer, Param};
use midsession_wrappers::app::{App, Store};
use midsession_wrappers::grpc;
use midsession_wrappers::grpc::proto::LinkEndUserRequest;
use midsession_wrappers::grpc::proto::mid_session_client::MidSessionClient;
use midsession_wrappers::queue::{KeyValueStore, Row, consume};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::wire::{self, Wrapper};

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
        let app = app(&case);
        let reply =
            wrapper.ask(&app, wire::request(&case.method, &case.path, Some("application/json"), &case.body)).await;
        let retry_after_secs = reply.header("retry-after").map(|seconds| seconds.parse().unwrap());
        judge(&case, &app, &Reply { status: reply.status, body: reply.body.into(), retry_after_secs });
    }
}

/// Without a socket, but encoded and decoded as on one.
#[tokio::test]
async fn the_tonic_wrapper_passes_every_case_of_the_contract() {
    for case in &cases().unwrap() {
        let Some((session_id, request)) = case.request() else { continue };
        let app = app(case);
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
        let decision = consume(&store, &case.policy, case.now, &message.to_string()).unwrap();
        case.judge(&Answer::from(&decision).into()).unwrap_or_else(|mismatch| panic!("{mismatch}"));
        let row = store.get(case.session_id()).map(|row| serde_json::from_str::<Row>(&row).unwrap());
        case.judge_stored(row.map(|row| row.session).as_ref()).unwrap_or_else(|mismatch| panic!("{mismatch}"));
        assert_eq!(store.drain_outbox().len(), usize::from(decision.is_ok()), "{}", case.name);
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

fn app(case: &Case) -> Arc<App> {
    let store = Store::default();
    if let Some(session) = case.session.clone() {
        store.insert(case.session_id(), session);
    }
    let now = case.now;
    Arc::new(App { store, policy: case.policy, now: Box::new(move || now) })
}

#[track_caller]
fn judge(case: &Case, app: &App, reply: &Reply) {
    case.judge(reply).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    let stored = app.store.load(case.session_id());
    case.judge_stored(stored.as_ref()).unwrap_or_else(|mismatch| panic!("{mismatch}"));
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
