//! The server in parts, as a team takes it into a router of its own.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request as AxumRequest;
use axum::http::{Request, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use midsession_server::{
    Limits, LogLayer, MetricsLayer, StrictLayer, Tenant, Token, TokenLayer, Tokens, health_routes, routes, start_routes,
};
use tower::ServiceExt;

use crate::batching::new;
use crate::memory::Memory;

const LINK: &str = r#"{"identifier":"id-1"}"#;
const NOT_FOUND: (u16, &str) = (404, r#"{"message":"Not Found"}"#);
const TEAMS_OWN: (u16, &str) = (418, "the team's own");

async fn ask(router: &Router, request: Request<Body>) -> (u16, String) {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    (status, String::from_utf8(to_bytes(response.into_body(), 1024).await.unwrap().to_vec()).unwrap())
}

fn post(path: &str, body: &'static str) -> Request<Body> {
    Request::post(path).header(header::CONTENT_TYPE, "application/json").body(Body::from(body)).unwrap()
}

/// A team's router, with a page and a fallback of its own.
fn teams() -> Router {
    let fallback = async || (StatusCode::IM_A_TEAPOT, TEAMS_OWN.1);
    Router::new().route("/apps/about", get(async || "about us")).fallback(fallback)
}

#[tokio::test(start_paused = true)]
async fn the_routes_are_merged_or_nested_beside_a_teams_own_fallback() {
    for base in ["", "/v2"] {
        let (_, sessions) = new(Limits::default());
        let router = match base {
            "" => teams().merge(routes(sessions)),
            base => teams().nest(base, routes(sessions)),
        };
        for (path, answer) in [
            ("/apps/api/v1/chats/1/end_user", (202, r#"{"message":"accepted"}"#)),
            ("//apps/api/v1/chats/2/end_user", (202, r#"{"message":"accepted"}"#)),
            // Rows 1, 4 and 5 of the contract.
            ("/apps/api/v1//1/end_user", (400, r#"{"message":"param is missing or the value is empty: comm_type"}"#)),
            ("//apps/api/v1//1/end_user", (400, r#"{"message":"param is missing or the value is empty: comm_type"}"#)),
            ("/apps/api/v1/emails/1/end_user", NOT_FOUND),
            ("/apps/api/v1/chat/1/end_user", NOT_FOUND),
            ("/apps/api/v1/calls/1/end_user", NOT_FOUND),
            ("/apps/api/v1/chats/1/elsewhere", TEAMS_OWN),
            // What starts sessions, and what tells their health, was not taken.
            ("/apps/api/v1/chats", TEAMS_OWN),
            ("/livez", TEAMS_OWN),
        ] {
            assert_eq!(
                ask(&router, post(&format!("{base}{path}"), LINK)).await,
                (answer.0, answer.1.to_owned()),
                "{path}"
            );
        }
        let shown = Request::get(format!("{base}/apps/api/v1/chats/1")).body(Body::empty()).unwrap();
        assert_eq!(ask(&router, shown).await.0, 200);
        let about = Request::get("/apps/about").body(Body::empty()).unwrap();
        assert_eq!(ask(&router, about).await, (200, "about us".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn starts_and_health_are_parts_of_their_own() {
    let (store, sessions) = new(Limits::default());
    let router = teams().merge(start_routes(sessions.clone())).merge(health_routes(sessions));
    assert_eq!(ask(&router, post("/apps/api/v1/chats", "{}")).await.0, 201);
    assert!(store.writes().iter().all(|write| Tenant::split(&write.id).0.is_none()));
    for path in ["/livez", "/readyz"] {
        assert_eq!(ask(&router, Request::get(path).body(Body::empty()).unwrap()).await.0, 200);
    }
    assert_eq!(ask(&router, post("/apps/api/v1/chats/1/end_user", LINK)).await.0, TEAMS_OWN.0);
}

/// Who says so in a header: a stand-in for a login.
async fn login(mut request: AxumRequest, next: Next) -> Response {
    let tenant = request.headers().get("x-tenant").and_then(|name| Tenant::new(name.to_str().ok()?));
    let Some(tenant) = tenant else { return StatusCode::FORBIDDEN.into_response() };
    request.extensions_mut().insert(tenant);
    next.run(request).await
}

#[tokio::test(start_paused = true)]
async fn a_tenant_finds_its_own_sessions_and_no_others_and_the_store_is_told_whose_they_are() {
    let (store, sessions) = new(Limits::default());
    let own = routes(sessions.clone()).merge(start_routes(sessions)).layer(from_fn(login));
    let router = teams().merge(own);
    let by = |tenant: &str, mut request: Request<Body>| {
        request.headers_mut().insert("x-tenant", tenant.parse().unwrap());
        request
    };
    assert_eq!(ask(&router, post("/apps/api/v1/chats/1/end_user", LINK)).await.0, 403, "the team's own login");
    let (status, started) = ask(&router, by("acme", post("/apps/api/v1/chats", "{}"))).await;
    assert_eq!(status, 201);
    let started: serde_json::Value = serde_json::from_str(&started).unwrap();
    let id = started["id"].as_str().unwrap();
    assert!(Memory::get(&store, &format!("acme/{id}")).is_some());

    let path = format!("/apps/api/v1/chats/{id}");
    let link = || post(&format!("{path}/end_user"), LINK);
    let show = || Request::get(&path).body(Body::empty()).unwrap();
    let erase = || Request::delete(format!("{path}/end_user")).body(Body::empty()).unwrap();
    let end = || post(&format!("{path}/end"), "{}");
    for request in [link(), show(), erase(), end()] {
        assert_eq!(ask(&router, by("other", request)).await, (404, NOT_FOUND.1.to_owned()));
    }
    assert_eq!(ask(&router, by("acme", post("/apps/api/v1/chats/1/end_user", LINK))).await.0, 404, "no tenant's");
    for (request, status) in [(link(), 202), (show(), 200), (erase(), 204), (end(), 200)] {
        assert_eq!(ask(&router, by("acme", request)).await.0, status);
    }
    assert!(store.writes().iter().all(|write| Tenant::split(&write.id) == (Some("acme"), id)));
}

#[tokio::test(start_paused = true)]
async fn each_layer_does_its_own_part_alone() {
    let (_, sessions) = new(Limits::default());
    let routes = routes(sessions);
    let twice = || {
        let request = post("/apps/api/v1/chats/1/end_user", LINK);
        let (mut parts, body) = request.into_parts();
        parts.headers.append(header::HOST, "a".parse().unwrap());
        parts.headers.append(header::HOST, "b".parse().unwrap());
        Request::from_parts(parts, body)
    };
    let strict = routes.clone().layer(StrictLayer);
    assert_eq!(ask(&strict, twice()).await, (400, r#"{"message":"header is given twice: host"}"#.to_owned()));
    let tokens = Tokens::new([Token::new("a-secret-of-16-or-more").unwrap()]);
    let token = routes.clone().layer(TokenLayer::new(tokens).except(&["/apps/api/v1/chats/2/end_user"]));
    assert_eq!(ask(&token, twice()).await.0, 401);
    assert_eq!(ask(&token, post("/apps/api/v1/chats/2/end_user", LINK)).await.0, 202);
    for router in [routes.clone().layer(MetricsLayer), routes.clone()] {
        let response = router.oneshot(twice()).await.unwrap();
        assert!(!response.headers().contains_key("x-request-id"));
    }
    let response = routes.layer(LogLayer).oneshot(twice()).await.unwrap();
    assert!(response.headers().contains_key("x-request-id"));
}
