//! Erasing a session in either state: the person is gone, the end stays, and the store sees one change.

use midsession::{AnySession, CommType, CrmSupport, LinkChange, Session};

use crate::support::{NOW, POLICY, end_user, linked};

#[test]
fn an_erased_active_session_is_anonymous_and_one_revision_further() {
    let erased = linked("id-1").with_crm_support(CrmSupport::Unsupported).erase();
    assert_eq!((erased.end_user(), erased.last_linked_at(), erased.revision()), (None, None, 2));
    assert_eq!((erased.comm_type(), erased.crm_support()), (CommType::Chat, CrmSupport::Unsupported));
}

#[test]
fn the_next_link_of_an_erased_session_is_the_first_and_does_not_wait() {
    let erased = linked("id-1").erase();
    let accepted = erased.link(&end_user("id-1"), &POLICY, NOW).unwrap();
    assert_eq!((accepted.change(), accepted.expected_revision()), (LinkChange::First, 2));
}

#[test]
fn a_link_that_was_decided_before_an_erasure_loses_by_its_revision() {
    for read in [linked("id-1"), Session::start(CommType::Chat).with_end_user(end_user("id-1"))] {
        let decided = read.link(&end_user("id-1"), &POLICY, NOW + POLICY.interval()).unwrap();
        assert_eq!(decided.expected_revision(), read.revision());
        assert_ne!(decided.expected_revision(), read.clone().erase().revision());
        assert_ne!(decided.expected_revision(), read.end(NOW).erase().revision());
    }
}

#[test]
fn a_session_of_unknown_state_is_erased_as_the_typed_one() {
    let active = linked("id-1");
    let ended = active.clone().end(NOW);
    assert_eq!(AnySession::from(active.clone()).erase(), active.erase().into());
    assert_eq!(AnySession::from(ended.clone()).erase(), ended.erase().into());
}

#[test]
fn an_erased_ended_session_holds_nothing_of_the_person_and_is_one_revision_further() {
    let erased = linked("id-1").end(NOW).erase();
    assert_eq!((erased.end_user(), erased.last_linked_at()), (None, None));
    assert_eq!((erased.ended_at(), erased.revision()), (NOW, 3));
    assert_eq!((erased.comm_type(), erased.crm_support()), (CommType::Chat, CrmSupport::Supported));
}

#[test]
fn a_person_known_without_a_link_is_erased_too() {
    let erased = Session::start(CommType::Call).with_end_user(end_user("id-1")).end(NOW).erase();
    assert_eq!((erased.end_user(), erased.revision()), (None, 2));
}

#[test]
fn where_there_is_nothing_to_erase_nothing_changes() {
    let anonymous = Session::start(CommType::Chat);
    for session in [AnySession::from(anonymous.clone()), anonymous.end(NOW).into()] {
        assert_eq!(session.clone().erase(), session);
    }
    for session in [AnySession::from(linked("id-1")), linked("id-1").end(NOW).into()] {
        let erased = session.erase();
        assert_eq!(erased.clone().erase(), erased);
    }
}

#[test]
fn an_erased_session_survives_storage_without_the_person() {
    for session in [AnySession::from(linked("ident-zq7")), linked("ident-zq7").end(NOW).into()] {
        let erased = session.erase();
        let stored = serde_json::to_string(&erased).unwrap();
        assert!(!stored.contains("zq7"));
        assert_eq!(serde_json::from_str::<AnySession>(&stored).unwrap(), erased);
    }
}
