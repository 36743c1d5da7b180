use core::time::Duration;

use midsession::{AnySession, CommType, DuplicatePolicy, LinkChange, LinkError, RequiredParam, Session};
use midsession_wrappers::queue::{ConsumeError, KeyValueStore, Row, consume};
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

#[test]
fn an_accepted_link_keeps_the_teams_own_columns_and_leaves_one_line_without_personal_data() {
    let store = store();
    let accepted = consume(&store, &POLICY, NOW, LINK).unwrap().unwrap();
    assert_eq!(accepted.change(), LinkChange::First);
    let row: Row = serde_json::from_str(&store.get("42").unwrap()).unwrap();
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
    assert_eq!(refused.unwrap_err(), LinkError::MissingParam(RequiredParam::Identifier));
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
