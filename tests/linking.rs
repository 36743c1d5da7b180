//! What a link makes of the session's end user, and of its revision.

use midsession::{AnySession, CommType, CrmSupport, EndUser, LinkChange, LinkError, Session, apply_link};
use serde_json::json;

use crate::support::{INTERVAL, NOW, POLICY, end_user, link_chat, linked, request};

fn john() -> EndUser {
    end_user("id-1").with_name("John").unwrap().with_email("john@example.com").unwrap().with_phone("1").unwrap()
}

/// What `asked` makes of a session known to be John's.
fn link_johns(asked: &EndUser) -> (LinkChange, EndUser) {
    let session = Session::start(CommType::Chat).with_end_user(john());
    let accepted = session.link(asked, &POLICY, NOW).unwrap();
    (accepted.change(), accepted.session().end_user().unwrap().clone())
}

#[test]
fn the_first_link_takes_the_end_user_as_asked() {
    let accepted = Session::start(CommType::Call).link(&john(), &POLICY, NOW).unwrap();
    assert_eq!(accepted.change(), LinkChange::First);
    assert_eq!(accepted.session().end_user(), Some(&john()));
    assert_eq!(accepted.session().last_linked_at(), Some(NOW));
    assert_eq!(accepted.session().comm_type(), CommType::Call);
}

#[test]
fn the_same_person_with_nothing_new_is_unchanged() {
    assert_eq!(link_johns(&john()), (LinkChange::Unchanged, john()));
    assert_eq!(link_johns(&end_user("id-1")), (LinkChange::Unchanged, john()));
    assert_eq!(link_johns(&end_user("id-1").with_phone("1").unwrap()), (LinkChange::Unchanged, john()));
}

#[test]
fn the_same_person_keeps_the_fields_left_out_and_takes_the_changed_ones() {
    let asked = [
        end_user("id-1").with_name("Johnny").unwrap(),
        end_user("id-1").with_email("johnny@example.com").unwrap(),
        end_user("id-1").with_phone("22").unwrap(),
    ];
    let expected = [
        john().with_name("Johnny").unwrap(),
        john().with_email("johnny@example.com").unwrap(),
        john().with_phone("22").unwrap(),
    ];
    for (asked, expected) in asked.iter().zip(expected) {
        assert_eq!(link_johns(asked), (LinkChange::Refreshed, expected));
    }
}

#[test]
fn a_field_that_was_not_known_is_added() {
    let session = Session::start(CommType::Chat).with_end_user(end_user("id-1"));
    let accepted = session.link(&end_user("id-1").with_name("John").unwrap(), &POLICY, NOW).unwrap();
    assert_eq!(accepted.change(), LinkChange::Refreshed);
    assert_eq!(accepted.session().end_user(), Some(&end_user("id-1").with_name("John").unwrap()));
}

#[test]
fn another_person_carries_nothing_of_the_former_over() {
    assert_eq!(link_johns(&end_user("id-2")), (LinkChange::Relinked, end_user("id-2")));
    let jane = end_user("id-2").with_email("jane@example.com").unwrap();
    assert_eq!(link_johns(&jane), (LinkChange::Relinked, jane));
}

#[test]
fn text_cannot_slip_from_one_field_into_the_next() {
    let split = end_user("ab").with_name("c").unwrap();
    let same_bytes = end_user("a").with_name("bc").unwrap();
    assert_ne!(split, same_bytes);
    let session = Session::start(CommType::Chat).with_end_user(split);
    assert_eq!(session.link(&same_bytes, &POLICY, NOW).unwrap().change(), LinkChange::Relinked);
}

#[test]
fn a_blank_optional_field_of_a_request_does_not_erase() {
    let session = Session::start(CommType::Chat).with_end_user(john());
    let body = r#"{"identifier":"id-1","name":"","email":null,"phone":[null]}"#;
    let accepted = link_chat(&session, body).unwrap();
    assert_eq!((accepted.change(), accepted.session().end_user()), (LinkChange::Unchanged, Some(&john())));
}

#[test]
fn each_accepted_link_and_the_end_raise_the_revision_by_one() {
    let session = Session::start(CommType::Chat);
    assert_eq!(session.revision(), 0);
    let once = session.link(&john(), &POLICY, NOW).unwrap().into_session();
    assert_eq!(once.revision(), 1);
    let twice = once.link(&john(), &POLICY, NOW + INTERVAL).unwrap().into_session();
    assert_eq!(twice.revision(), 2);
    let ended = twice.end(NOW);
    assert_eq!(ended.revision(), 3);
}

#[test]
fn a_store_must_still_have_the_revision_that_was_decided_on() {
    for revision in [0, 1, 41, u64::MAX - 1, u64::MAX] {
        let stored = json!({"state": "active", "comm_type": "chat", "crm_support": "supported", "revision": revision});
        let session: AnySession = serde_json::from_value(stored).unwrap();
        let accepted = apply_link(Some(&session), &request(r#"{"identifier":"id-1"}"#), &POLICY, NOW).unwrap();
        assert_eq!(accepted.expected_revision(), revision);
        assert_ne!(accepted.session().revision(), revision);
    }
}

#[test]
fn what_is_not_a_link_leaves_the_revision_alone() {
    let session = Session::start(CommType::Chat).with_end_user(john()).with_crm_support(CrmSupport::Unsupported);
    assert_eq!((session.revision(), session.last_linked_at()), (0, None));
}

#[test]
fn the_revision_after_the_maximum_is_another_one() {
    let stored = r#"{"state":"active","comm_type":"chat","crm_support":"supported","revision":18446744073709551615}"#;
    let session: AnySession = serde_json::from_str(stored).unwrap();
    assert_eq!(session.revision(), u64::MAX);
    assert_ne!(session.end(NOW).revision(), u64::MAX, "a writer that lost the race must not find its revision again");
}

#[test]
fn a_refused_session_is_as_it_was() {
    let session = linked("id-1");
    let before = session.clone();
    assert!(matches!(session.link(&end_user("id-2"), &POLICY, NOW), Err(LinkError::Duplicate { .. })));
    assert_eq!(session, before);
}

#[test]
fn ending_keeps_all_that_was_known() {
    let ended = linked("id-1").with_crm_support(CrmSupport::Unsupported).end(NOW + INTERVAL);
    assert_eq!(ended.ended_at(), NOW + INTERVAL);
    assert_eq!((ended.comm_type(), ended.crm_support()), (CommType::Chat, CrmSupport::Unsupported));
    assert_eq!((ended.end_user(), ended.last_linked_at()), (Some(&end_user("id-1")), Some(NOW)));
}

#[test]
fn ending_twice_keeps_the_first_end() {
    let active = AnySession::from(linked("id-1"));
    assert!(active.is_active());
    assert_eq!(active.ended_at(), None);
    let ended = active.end(NOW);
    assert!(!ended.is_active());
    assert_eq!(ended.clone().end(NOW + INTERVAL), ended);
    assert_eq!((ended.ended_at(), ended.revision()), (Some(NOW), 2));
}

#[test]
fn a_session_of_unknown_state_shows_what_the_typed_one_does() {
    let typed = linked("id-1").with_crm_support(CrmSupport::Unsupported);
    for any in [AnySession::from(typed.clone()), AnySession::from(typed.clone().end(NOW))] {
        assert_eq!((any.comm_type(), any.crm_support()), (typed.comm_type(), typed.crm_support()));
        assert_eq!((any.end_user(), any.last_linked_at()), (typed.end_user(), typed.last_linked_at()));
    }
    assert_eq!(AnySession::from(typed.clone()).revision(), typed.revision());
}
