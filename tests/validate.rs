//! `validator::Validate` for requests: the rules of `apply_link`, all at once, with codes and without values.

use midsession::testing::strategies;
use midsession::{LinkError, LinkRequest, apply_link};
use proptest::prelude::*;
use validator::Validate;

use crate::support::{NOW, POLICY, request};

/// The codes by field, in the order of the fields' names.
fn codes(request: &LinkRequest<'_>) -> Vec<(String, String)> {
    let errors = request.validate().err().into_iter().flat_map(|errors| {
        let fields = errors.field_errors().into_iter().map(|(field, errors)| (field.into_owned(), errors.clone()));
        fields.collect::<Vec<_>>()
    });
    let mut codes: Vec<_> = errors
        .flat_map(|(field, errors)| errors.into_iter().map(move |error| (field.clone(), error.code.into_owned())))
        .collect();
    codes.sort();
    codes
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(field, code)| ((*field).to_owned(), (*code).to_owned())).collect()
}

#[test]
fn a_well_formed_request_is_valid() {
    assert_eq!(codes(&request(r#"{"identifier":"id-1","phone":"1"}"#)), pairs(&[]));
}

#[test]
fn everything_missing_and_everything_invalid_is_named_at_once() {
    assert_eq!(codes(&LinkRequest::default()), pairs(&[("comm_type", "missing"), ("identifier", "missing")]));
    let wrong = request(r#"{"identifier":1,"name":[1],"email":"x","phone":"-"}"#);
    let invalid = [("email", "invalid"), ("identifier", "invalid"), ("name", "invalid"), ("phone", "invalid")];
    assert_eq!(codes(&wrong), pairs(&invalid));
}

#[test]
fn each_error_says_the_answers_message_and_holds_no_value() {
    let request = request(r#"{"identifier":"id-1","email":"not an address"}"#);
    let errors = request.validate().unwrap_err();
    let error = &errors.field_errors()["email"][0];
    assert_eq!(error.message.as_deref(), Some("param is invalid: email"));
    assert!(error.params.is_empty());
}

proptest! {
    #[test]
    fn it_passes_exactly_where_the_decision_gets_past_row_3(request in strategies::link_request()) {
        let decision = apply_link(None, &request, &POLICY, NOW);
        prop_assert_eq!(request.validate().is_ok(), decision == Err(LinkError::NotFound));
    }
}
