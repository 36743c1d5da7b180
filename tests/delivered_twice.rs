//! Whether a request has had its effect already, held to the reference model.

use midsession::testing::strategies::{acceptable_request, situation};
use midsession::testing::{Situation, revealed};
use midsession::{AnySession, CommType, DuplicatePolicy, EndUser, LinkChange, LinkRequest, Session, apply_link};
use proptest::prelude::*;

use crate::generators::sample_of;
use crate::model::{Row, decide};
use crate::support::{INTERVAL, NOW, POLICY, end_user, linked, request};

/// By the model: a link to the same session, if it were open and never linked, would store the person that it has.
fn has_had_its_effect(session: &AnySession, request: &LinkRequest<'_>) -> bool {
    let open = Row { crm: true, ended_at: None, last_linked_at: None, ..Row::of(session) };
    let verdict = decide(Some(&open), request, &POLICY, NOW);
    verdict.linked.is_some_and(|(next, _)| next.person == open.person)
}

#[track_caller]
fn assert_modelled(session: &AnySession, request: &LinkRequest<'_>) -> bool {
    let is_linked = session.is_linked_as(request);
    let (session_shown, request_shown) = (revealed(session), revealed(request));
    assert_eq!(is_linked, has_had_its_effect(session, request), "{session_shown:?} {request_shown:?}");
    is_linked
}

/// All that a session can have gone through since the link.
fn later(session: &AnySession) -> [AnySession; 4] {
    let ended = session.clone().end(NOW);
    [session.clone(), ended.clone(), session.clone().erase(), ended.erase()]
}

#[test]
fn it_is_the_models_answer_in_every_situation_and_both_answers_come_up() {
    let mut counts = [0, 0];
    for Situation { session, request, policy, now } in sample_of(2_000, situation()) {
        let Some(session) = session else { continue };
        let linked = apply_link(Some(&session), &request, &policy, now).map(|accepted| accepted.into_session().into());
        for session in linked.iter().chain([&session]).flat_map(later) {
            counts[usize::from(assert_modelled(&session, &request))] += 1;
        }
    }
    assert!(counts.iter().all(|count| *count > 100), "{counts:?}");
}

proptest! {
    #[test]
    fn an_accepted_link_has_had_its_effect_until_it_is_erased(request in acceptable_request()) {
        for comm_type in CommType::ALL {
            let request = request.clone().with_comm_type(*comm_type);
            let session = AnySession::from(Session::start(*comm_type));
            prop_assert!(!session.is_linked_as(&request));
            let linked = apply_link(Some(&session), &request, &POLICY, NOW).unwrap().into_session().into();
            prop_assert_eq!(later(&linked).map(|session| session.is_linked_as(&request)), [true, true, false, false]);
        }
    }

    #[test]
    fn a_link_that_has_had_its_effect_would_change_nothing(situation in situation()) {
        let Situation { session, request, now, .. } = situation;
        let never = DuplicatePolicy::new(core::time::Duration::ZERO);
        if let Some(session) = session && let Ok(accepted) = apply_link(Some(&session), &request, &never, now) {
            prop_assert_eq!(session.is_linked_as(&request), accepted.change() == LinkChange::Unchanged);
        }
    }
}

#[test]
fn a_field_that_the_request_leaves_out_is_not_compared() {
    let session = Session::start(CommType::Chat).with_end_user(end_user("id-1").with_name("Jane").unwrap()).into();
    let is_linked_as = |body| AnySession::is_linked_as(&session, &request(body));
    assert!(is_linked_as(r#"{"identifier":"id-1"}"#));
    assert!(is_linked_as(r#"{"identifier":"id-1","name":"Jane","phone":" "}"#));
    assert!(!is_linked_as(r#"{"identifier":"id-1","name":"jane"}"#));
    assert!(!is_linked_as(r#"{"identifier":"id-1","phone":"1"}"#));
    assert!(!is_linked_as(r#"{"identifier":"ID-1","name":"Jane"}"#));
}

#[test]
fn a_request_that_would_be_refused_has_had_no_effect() {
    let session = AnySession::from(linked("id-1"));
    for body in [r"{}", r#"{"identifier":" "}"#, r#"{"identifier":["id-1"]}"#, r#"{"identifier":"id-1","email":"x"}"#] {
        assert!(!session.is_linked_as(&request(body)), "{body}");
    }
    let request = request(r#"{"identifier":"id-1"}"#);
    for comm_type in ["call", "chats", "Chat", ""] {
        assert!(!session.is_linked_as(&request.clone().with_comm_type(comm_type)), "{comm_type}");
    }
    assert!(session.is_linked_as(&request));
}

/// A stored address may be one that a request may not set any more.
#[test]
fn a_stored_address_that_is_unacceptable_today_is_not_the_requests() {
    let stored = r#"{"state":"active","comm_type":"chat","crm_support":"supported",
        "end_user":{"identifier":"id-1","email":"by former rules"},"revision":1}"#;
    let session: AnySession = serde_json::from_str(stored).unwrap();
    assert!(session.is_linked_as(&request(r#"{"identifier":"id-1"}"#)));
    assert!(!session.is_linked_as(&request(r#"{"identifier":"id-1","email":"by former rules"}"#)));
}

#[test]
fn neither_the_interval_nor_the_crm_matter() {
    let session = linked("id-1").with_crm_support(midsession::CrmSupport::Unsupported).into();
    let request = request(r#"{"identifier":"id-1"}"#);
    for now in [NOW, NOW + INTERVAL] {
        assert!(apply_link(Some(&session), &request, &POLICY, now).is_err());
        assert!(session.is_linked_as(&request));
    }
    assert_eq!(session.end_user().map(EndUser::identifier), Some("id-1"));
}
