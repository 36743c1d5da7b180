//! Erasing an ended session: the person is gone, the end stays, and the store sees one change.

use midsession::{AnySession, CommType, CrmSupport, Session};

use crate::support::{NOW, end_user, linked};

#[test]
fn an_erased_session_holds_nothing_of_the_person_and_is_one_revision_further() {
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
    let anonymous = Session::start(CommType::Chat).end(NOW);
    assert_eq!(anonymous.clone().erase(), anonymous);
    let erased = linked("id-1").end(NOW).erase();
    assert_eq!(erased.clone().erase(), erased);
}

#[test]
fn an_erased_session_survives_storage_without_the_person() {
    let erased = AnySession::from(linked("ident-zq7").end(NOW).erase());
    let stored = serde_json::to_string(&erased).unwrap();
    assert!(!stored.contains("zq7"));
    assert_eq!(serde_json::from_str::<AnySession>(&stored).unwrap(), erased);
}
