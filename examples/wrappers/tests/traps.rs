use core::time::Duration;
use std::io::Write;
use std::sync::{Arc, Mutex};

use midsession::{CommType, DuplicatePolicy, Session};
use midsession_wrappers::app::{App, Store};
use time::OffsetDateTime;
use tracing_subscriber::fmt::MakeWriter;

use crate::wire::{ALL, request};

const JSON: Option<&str> = Some("application/json");
const LINK: &str =
    r#"{"identifier":"marker-identifier","name":"marker name","email":"marker@example.com","phone":"5550142"}"#;

fn app() -> Arc<App> {
    let store = Store::default();
    store.insert("42", Session::start(CommType::Chat).into());
    let policy = DuplicatePolicy::new(Duration::from_secs(30));
    Arc::new(App { store, policy, now: Box::new(|| OffsetDateTime::UNIX_EPOCH) })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_links_but_a_post_to_the_path_as_it_stands() {
    for (method, path) in [
        ("POST", "/apps/api/v1/chat%73/42/end_user"),
        ("POST", "/apps/api/v1/chats/%34%32/end_user"),
        ("POST", "/apps/api/v1/chats/42/end_user/"),
        ("POST", "/apps/api/v1/chats/42/%65nd_user"),
        ("GET", "/apps/api/v1/chats/42/end_user"),
        ("PUT", "/apps/api/v1/chats/42/end_user"),
        ("DELETE", "/apps/api/v1/chats/42/end_user"),
    ] {
        for wrapper in ALL {
            let app = app();
            let reply = wrapper.ask(&app, request(method, path, JSON, LINK)).await;
            assert!((400..500).contains(&reply.status), "{wrapper:?} {method} {path}: {reply:?}");
            assert_eq!(app.store.load("42").unwrap().revision(), 0, "{wrapper:?} {method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_framework_refuses_has_the_form_of_the_contract() {
    let path = "/apps/api/v1/chats/42/end_user";
    let large = format!(r#"{{"identifier":"id-1","name":"{}"}}"#, "x".repeat(17_000));
    let twice = r#"{"identifier":"id-1","identifier":"id-2"}"#;
    for (content_type, body, status) in [
        (JSON, "{", 400),
        (JSON, twice, 400),
        (JSON, large.as_str(), 413),
        (Some("text/plain"), r#"{"identifier":"id-1"}"#, 415),
        (None, r#"{"identifier":"id-1"}"#, 415),
    ] {
        for wrapper in ALL {
            let app = app();
            let reply = wrapper.ask(&app, request("POST", path, content_type, body)).await;
            assert_eq!(reply.status, status, "{wrapper:?}: {reply:?}");
            assert_eq!(reply.header("content-type"), Some("application/json"), "{wrapper:?}");
            assert!(reply.body.starts_with("{\"message\":\"") && reply.body.ends_with("\"}"), "{wrapper:?}: {reply:?}");
            assert_eq!(app.store.load("42").unwrap().revision(), 0, "{wrapper:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_path_is_answered_before_its_body_is_judged() {
    for wrapper in ALL {
        let reply = wrapper.ask(&app(), request("POST", "/apps/api/v1/chats/42", None, "{")).await;
        assert_eq!((reply.status, reply.body.as_str()), (404, r#"{"message":"Not Found"}"#), "{wrapper:?}");
    }
}

/// One test for all, since a log's subscriber is the whole process's.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_labels_and_no_personal_data() {
    let log = Log::default();
    tracing_subscriber::fmt().json().with_writer(log.clone()).init();
    let path = "/apps/api/v1/chats/42/end_user";
    for wrapper in ALL {
        let app = app();
        for body in [LINK, LINK, r#"{"identifier":"marker-identifier","email":"marker"}"#, "{}"] {
            wrapper.ask(&app, request("POST", path, JSON, body)).await;
        }
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for label in ["first", "duplicate", "invalid_param", "email", "missing_param", "identifier"] {
        assert!(log.contains(&format!(":\"{label}\"")), "{label}: {log}");
    }
    for data in ["marker", "5550142", "example.com"] {
        assert!(!log.contains(data), "{data} is in the log");
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
