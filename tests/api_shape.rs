//! What users may do with the public types: send and share them, copy, compare, hash and print them.

use core::fmt::Debug;
use core::hash::Hash;

use midsession::{
    Accepted, Active, Answer, AnySession, CommType, CrmSupport, DuplicatePolicy, DuplicateScope, EndUser, EndUserError,
    EndUserField, Ended, Endpoint, LinkChange, LinkError, LinkErrorKind, LinkRequest, OwnedLinkRequest, Param,
    ParseWordError, RequiredParam, Session, State,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn is_value<T: Clone + Debug + Eq + Hash + Send + Sync>() {}
fn is_copy<T: Copy>() {}
fn is_stored<T: Serialize + DeserializeOwned>() {}
fn is_error<T: core::error::Error + Send + Sync + 'static>() {}
fn is_default<T: Default>() {}

#[test]
fn every_type_is_a_value() {
    is_value::<Accepted>();
    is_value::<AnySession>();
    is_value::<Answer>();
    is_value::<CommType>();
    is_value::<CrmSupport>();
    is_value::<DuplicatePolicy>();
    is_value::<DuplicateScope>();
    is_value::<EndUser>();
    is_value::<EndUserError>();
    is_value::<EndUserField>();
    is_value::<Endpoint<'_>>();
    is_value::<LinkChange>();
    is_value::<LinkError>();
    is_value::<LinkErrorKind>();
    is_value::<LinkRequest<'_>>();
    is_value::<OwnedLinkRequest>();
    is_value::<Param<'_>>();
    is_value::<ParseWordError>();
    is_value::<RequiredParam>();
    is_value::<Session<Active>>();
    is_value::<Session<Ended>>();
}

#[test]
fn a_session_is_a_value_in_any_state() {
    fn in_any<S: State>() {
        is_value::<Session<S>>();
    }
    in_any::<Active>();
    in_any::<Ended>();
}

#[test]
fn small_types_are_copied() {
    is_copy::<Answer>();
    is_copy::<DuplicatePolicy>();
    is_copy::<EndUserError>();
    is_copy::<Endpoint<'_>>();
    is_copy::<LinkError>();
}

#[test]
fn what_is_stored_or_configured_has_serde_both_ways() {
    is_stored::<AnySession>();
    is_stored::<CommType>();
    is_stored::<CrmSupport>();
    is_stored::<DuplicatePolicy>();
    is_stored::<DuplicateScope>();
    is_stored::<EndUser>();
    is_stored::<EndUserField>();
    is_stored::<LinkChange>();
    is_stored::<LinkErrorKind>();
    is_stored::<OwnedLinkRequest>();
    is_stored::<RequiredParam>();
}

#[test]
fn errors_are_errors() {
    is_error::<EndUserError>();
    is_error::<LinkError>();
    is_error::<ParseWordError>();
}

#[test]
fn defaults_are_those_of_the_contract() {
    is_default::<LinkRequest<'_>>();
    assert_eq!(CrmSupport::default(), CrmSupport::Supported);
    assert_eq!(DuplicateScope::default(), DuplicateScope::Session);
    assert_eq!(Param::default(), Param::Blank);
}
