use core::time::Duration;

use midsession::{AnySession, CommType, DuplicatePolicy, LinkChange, LinkError, RequiredParam, Session};
use midsession_wrappers::queue::{ConsumeError, Consumed, KeyValueStore, Row, consume};
use time::OffsetDateTime;

const POLICY: DuplicatePolicy = DuplicatePolicy::new(Duration::from_secs(30));
const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
const LINK: &str = r#"{"session_id":"42","comm_type":"chat","identifier":"id-1","email":"johndoe@example.com"}"#;

fn store() -> KeyValueStore {
    let store = KeyValueStore::default();
    let session = AnySession::from(Session::start(CommType::Chat));
    let row = Row { tenant: "tenant-1".to_owned(), agent: Some("agent-7".to_owned()), session };
    store.put("42", serde_json::to_string(&row).unwrap());
    store
}

fn row(store: &KeyValueStore) -> Row {
    serde_json::from_str(&store.get("42").unwrap()).unwrap()
}

/// What another part of the team's system does to the session meanwhile.
fn change(store: &KeyValueStore, change: impl FnOnce(AnySession) -> AnySession) {
    let row = row(store);
    store.put("42", serde_json::to_string(&Row { session: change(row.session), ..row }).unwrap());
}

/// Delivers the message once more, and checks that nothing is stored and nothing is told to others.
fn deliver_again(store: &KeyValueStore, now: OffsetDateTime) -> Consumed {
    let (before, _) = (store.get("42"), store.drain_outbox());
    let consumed = consume(store, &POLICY, now, LINK).unwrap();
    assert_eq!((store.get("42"), store.drain_outbox().len()), (before, 0));
    consumed
}

#[test]
fn a_message_that_is_delivered_twice_is_acknowledged_and_stored_once() {
    let store = store();
    assert!(matches!(consume(&store, &POLICY, NOW, LINK), Ok(Consumed::Linked(_))));
    let duplicate = LinkError::Duplicate { retry_after: POLICY.interval() };
    assert_eq!(deliver_again(&store, NOW), Consumed::AlreadyLinked(duplicate));
}

#[test]
fn a_message_that_is_delivered_again_after_the_end_is_acknowledged() {
    let store = store();
    assert!(matches!(consume(&store, &POLICY, NOW, LINK), Ok(Consumed::Linked(_))));
    change(&store, |session| session.end(NOW));
    let ended = LinkError::AlreadyEnded(CommType::Chat);
    assert_eq!(deliver_again(&store, NOW), Consumed::AlreadyLinked(ended));
}

/// The link would change nothing but the time of the last link.
#[test]
fn a_message_that_is_delivered_again_after_the_interval_is_linked_again() {
    let store = store();
    assert!(matches!(consume(&store, &POLICY, NOW, LINK), Ok(Consumed::Linked(_))));
    let again = consume(&store, &POLICY, NOW + POLICY.interval(), LINK).unwrap();
    assert!(matches!(&again, Consumed::Linked(accepted) if accepted.change() == LinkChange::Unchanged), "{again:?}");
}

#[test]
fn a_message_that_is_delivered_again_after_an_erasure_of_an_ended_session_is_refused_and_brings_nothing_back() {
    let store = store();
    assert!(matches!(consume(&store, &POLICY, NOW, LINK), Ok(Consumed::Linked(_))));
    change(&store, |session| session.end(NOW).erase());
    assert_eq!(deliver_again(&store, NOW), Consumed::Refused(LinkError::AlreadyEnded(CommType::Chat)));
    assert_eq!(row(&store).session.end_user(), None);
}

/// The consumer cannot know it from a first delivery: an erased active session is anonymous.
#[test]
fn a_message_that_is_delivered_again_after_an_erasure_of_an_active_session_is_a_first_link() {
    let store = store();
    assert!(matches!(consume(&store, &POLICY, NOW, LINK), Ok(Consumed::Linked(_))));
    change(&store, AnySession::erase);
    let again = consume(&store, &POLICY, NOW, LINK).unwrap();
    assert!(matches!(&again, Consumed::Linked(accepted) if accepted.change() == LinkChange::First), "{again:?}");
}

#[test]
fn a_message_of_another_person_inside_the_interval_is_refused() {
    let store = store();
    assert!(matches!(consume(&store, &POLICY, NOW, LINK), Ok(Consumed::Linked(_))));
    let other = r#"{"session_id":"42","comm_type":"chat","identifier":"id-2"}"#;
    let duplicate = LinkError::Duplicate { retry_after: POLICY.interval() };
    assert_eq!(consume(&store, &POLICY, NOW, other).unwrap(), Consumed::Refused(duplicate));
}

#[test]
fn a_refusal_of_a_session_that_is_unknown_is_no_double_delivery() {
    let unknown = consume(&KeyValueStore::default(), &POLICY, NOW, LINK).unwrap();
    assert_eq!(unknown, Consumed::Refused(LinkError::NotFound));
}

#[test]
fn of_many_consumers_of_one_message_one_links_and_the_others_acknowledge() {
    let store = store();
    let consumed: Vec<_> = std::thread::scope(|scope| {
        let deliver = || consume(&store, &POLICY, NOW, LINK).unwrap();
        let consumers: Vec<_> = (0..8).map(|_| scope.spawn(deliver)).collect();
        consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect()
    });
    let count = |is: fn(&Consumed) -> bool| consumed.iter().filter(|consumed| is(consumed)).count();
    let linked = count(|consumed| matches!(consumed, Consumed::Linked(_)));
    let already = count(|consumed| matches!(consumed, Consumed::AlreadyLinked(_)));
    assert_eq!((linked, already, store.drain_outbox().len()), (1, 7, 1));
}

#[test]
fn an_accepted_link_keeps_the_teams_own_columns_and_leaves_one_line_without_personal_data() {
    let store = store();
    let consumed = consume(&store, &POLICY, NOW, LINK).unwrap();
    assert!(matches!(&consumed, Consumed::Linked(accepted) if accepted.change() == LinkChange::First), "{consumed:?}");
    let row = row(&store);
    assert_eq!((row.tenant.as_str(), row.agent.as_deref()), ("tenant-1", Some("agent-7")));
    assert_eq!(row.session.end_user().unwrap().identifier(), "id-1");
    let lines = serde_json::to_string(&store.drain_outbox()).unwrap();
    let line = r#"[{"tenant":"tenant-1","session_id":"42","comm_type":"chat","change":"first","revision":1}]"#;
    assert_eq!(lines, line);
}

#[test]
fn a_refusal_changes_no_row_and_leaves_no_line() {
    let store = store();
    let before = store.get("42");
    let refused = consume(&store, &POLICY, NOW, r#"{"session_id":"42","comm_type":"chat"}"#).unwrap();
    assert_eq!(refused, Consumed::Refused(LinkError::MissingParam(RequiredParam::Identifier)));
    assert_eq!(store.get("42"), before);
    assert!(store.drain_outbox().is_empty());
}

#[test]
fn a_message_or_a_row_that_cannot_be_read_is_told_apart() {
    let store = store();
    for broken in ["", "{", r#"{"session_id":"42"}"#, r#"{"session_id":42,"comm_type":"chat"}"#] {
        assert!(matches!(consume(&store, &POLICY, NOW, broken), Err(ConsumeError::Message)), "{broken}");
    }
    store.put("42", r#"{"tenant":"tenant-1","agent":null,"session":{"state":"active"}}"#.to_owned());
    assert!(matches!(consume(&store, &POLICY, NOW, LINK), Err(ConsumeError::Row)));
}
