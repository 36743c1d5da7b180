//! The endpoint's path: what is one, and what is not.

use midsession::{CommType, Endpoint, LinkError, LinkRequest, Param, Session, apply_link};
use proptest::prelude::*;

use crate::support::{NOW, POLICY};

#[track_caller]
fn assert_parsed(path: &str, comm_type: Option<CommType>, session_id: &str) {
    let endpoint = Endpoint::parse(path).unwrap_or_else(|| panic!("{path} is an endpoint"));
    assert_eq!((endpoint.comm_type(), endpoint.session_id()), (comm_type, session_id), "{path}");
}

#[test]
fn the_published_paths_are_endpoints() {
    assert_parsed("/apps/api/v1/calls/42/end_user", Some(CommType::Call), "42");
    assert_parsed("/apps/api/v1/chats/42/end_user", Some(CommType::Chat), "42");
    assert_parsed("//apps/api/v1/chats/42/end_user", Some(CommType::Chat), "42");
}

#[test]
fn any_other_segment_is_not_a_comm_type_not_even_the_singular() {
    for segment in ["emails", "call", "chat", "Chats", "chat%73", "%20", " ", "chats "] {
        assert_parsed(&format!("/apps/api/v1/{segment}/42/end_user"), None, "42");
    }
}

#[test]
fn an_empty_segment_is_not_a_comm_type() {
    assert_parsed("/apps/api/v1//42/end_user", None, "42");
}

#[test]
fn a_request_takes_its_comm_type_from_the_path_and_never_from_the_body() {
    let params = [
        ("calls", Param::from("call")),
        ("chats", Param::from("chat")),
        ("", Param::Blank),
        ("chat", Param::NotText),
        ("emails", Param::NotText),
        (" ", Param::NotText),
    ];
    for (segment, comm_type) in params {
        let path = format!("/apps/api/v1/{segment}/42/end_user");
        let endpoint = Endpoint::parse(&path).unwrap();
        for body in [Param::Blank, Param::NotText, "chat".into()] {
            let request = LinkRequest::default().with_comm_type(body).with_endpoint(&endpoint);
            assert_eq!(request.comm_type, comm_type, "{segment:?}");
        }
    }
}

#[test]
fn the_singular_segment_is_not_found_because_a_session_has_one_url() {
    for (comm_type, segment) in [(CommType::Call, "call"), (CommType::Chat, "chat")] {
        let path = format!("/apps/api/v1/{segment}/42/end_user");
        let request = LinkRequest { identifier: "id-1".into(), ..LinkRequest::default() }
            .with_endpoint(&Endpoint::parse(&path).unwrap());
        let session = Session::start(comm_type).into();
        assert_eq!(apply_link(Some(&session), &request, &POLICY, NOW), Err(LinkError::NotFound));
    }
}

#[test]
fn a_session_id_is_1_to_255_unreserved_characters() {
    let path = |session_id: &str| format!("/apps/api/v1/chats/{session_id}/end_user");
    for session_id in ["a", "Z-._~9", "0190f5fe-7a8b-7ccd", ".", "..", &"a".repeat(255)] {
        assert_parsed(&path(session_id), Some(CommType::Chat), session_id);
        assert_eq!(Endpoint::new(CommType::Chat, session_id).unwrap().to_string(), path(session_id));
    }
    for session_id in ["", "a/b", "a b", "a%20", "é", "a+b", "a:b", "a@b", "a\0", "(a)", &"a".repeat(256)] {
        assert_eq!(Endpoint::parse(&path(session_id)), None, "{session_id}");
        assert_eq!(Endpoint::new(CommType::Chat, session_id), None, "{session_id}");
    }
}

#[test]
fn other_paths_are_not_endpoints() {
    let paths = [
        "",
        "/",
        "apps/api/v1/chats/42/end_user",
        "///apps/api/v1/chats/42/end_user",
        "/apps/api/v2/chats/42/end_user",
        "/apps/api/v1/chats/42/end_user/",
        "/apps/api/v1/chats/42/end_user?x=1",
        "/apps/api/v1/chats/42",
        "/apps/api/v1/chats/end_user",
        "/apps/api/v1/chats//end_user",
        "/apps/api/v1/chats/42/END_USER",
        "/APPS/api/v1/chats/42/end_user",
        "/apps/api/v1//end_user",
        "//apps//api/v1/chats/42/end_user",
        "/apps/api/v1/a/chats/42/end_user",
        "/x/apps/api/v1/chats/42/end_user",
    ];
    for path in paths {
        assert_eq!(Endpoint::parse(path), None, "{path}");
    }
}

proptest! {
    #[test]
    fn any_endpoint_is_built_printed_and_parsed_back(call in any::<bool>(), session_id in "[A-Za-z0-9._~-]{1,255}") {
        let comm_type = if call { CommType::Call } else { CommType::Chat };
        let built = Endpoint::new(comm_type, &session_id).unwrap();
        let path = built.to_string();
        prop_assert_eq!(Endpoint::parse(&path), Some(built));
        prop_assert_eq!(built.comm_type(), Some(comm_type));
    }

    #[test]
    fn any_path_that_is_an_endpoint_prints_as_itself(path in "/{0,3}(apps|a)/api/v1/([a-z%]{0,6}|calls|chats)/[a-z0-9/~%]{0,9}/end_user/?") {
        if let Some(endpoint) = Endpoint::parse(&path) {
            prop_assert_eq!(endpoint.to_string(), path.replacen("//apps", "/apps", 1));
        }
    }
}
