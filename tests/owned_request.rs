//! The request that owns its text: read alike, dereferenced, validated, and fit for the extractors it is made for.

use midsession::{CommType, EndUserField, LinkError, LinkRequest, OwnedLinkRequest, Param, Session, apply_link};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use validator::Validate;

use crate::support::{NOW, POLICY, assert_answer};

/// As `std::thread::spawn` and `tokio::spawn` ask for.
fn spawn<T>(task: impl FnOnce() -> T + Send + 'static) -> T {
    task()
}

/// What a typed extractor asks for: axum's `Json<T>`, actix-web's, a queue's.
fn extract<T: DeserializeOwned + Validate + Send + 'static>(body: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(body)
}

#[test]
fn it_fits_a_typed_extractor_and_the_decision() {
    let owned: OwnedLinkRequest = extract(br#"{"identifier":"id-1","email":"a@b.c"}"#).unwrap();
    let session = Session::start(CommType::Chat).into();
    assert_answer(&apply_link(Some(&session), &owned.0.with_comm_type(CommType::Chat), &POLICY, NOW), 202, "accepted");
}

#[test]
fn it_is_decided_without_a_comm_type_of_the_transport_too() {
    let owned = OwnedLinkRequest::default();
    assert!(owned.validate().is_err());
    assert_eq!(apply_link(None, &owned.0, &POLICY, NOW).map_err(|error| error.kind().as_str()), Err("missing_param"));
}

#[test]
fn debug_shows_no_text() {
    let owned: OwnedLinkRequest = extract(br#"{"identifier":"id-zq7"}"#).unwrap();
    let printed = format!("{owned:?}");
    assert!(printed.starts_with("OwnedLinkRequest(LinkRequest { comm_type: Blank, identifier: Text(<redacted>)"));
    assert!(!printed.contains("zq7"));
}

#[test]
fn it_is_refused_where_the_borrowed_request_is() {
    let error = extract::<OwnedLinkRequest>(br#"{"name":"a","name":"b"}"#).unwrap_err();
    assert!(error.to_string().starts_with("duplicate field `name`"));
    assert!(extract::<OwnedLinkRequest>(b"{\"name\":").unwrap_err().is_eof());
}

proptest! {
    #[test]
    fn it_is_the_borrowed_request_whatever_that_holds(request in any::<LinkRequest>()) {
        let owned = OwnedLinkRequest::from(request.clone());
        prop_assert_eq!(&owned.0, &request);
        prop_assert_eq!(&request.clone().into_owned(), &request);
        prop_assert_eq!(owned.validate().is_ok(), request.validate().is_ok());
        prop_assert_eq!(LinkRequest::from(owned), request);
    }

    #[test]
    fn each_field_of_a_request_is_its_param(request in any::<LinkRequest>()) {
        let LinkRequest { identifier, name, email, phone, .. } = &request;
        let params: Vec<&Param> = EndUserField::ALL.iter().map(|field| request.param(*field)).collect();
        prop_assert_eq!(params, [identifier, name, email, phone]);
    }
}

#[test]
fn it_outlives_the_bytes_and_the_path_it_came_from() {
    let owned = {
        let (path, body) = (String::from("/apps/api/v1/emails/42/end_user"), String::from(r#"{"identifier":"id-1"}"#));
        let endpoint = midsession::Endpoint::parse(&path).unwrap();
        serde_json::from_str::<OwnedLinkRequest>(&body).unwrap().0.with_endpoint(&endpoint)
    };
    assert_eq!(spawn(move || apply_link(None, &owned, &POLICY, NOW)), Err(LinkError::NotFound));
}
