//! What a decision costs in memory, counted: how many allocations, and how large the values are.
//!
//! A program of its own, because `allocation-counter` replaces the allocator; it counts each thread by itself. The bodies
//! are such as `serde_json` can lend: it allocates to undo escapes (`\n`), and to skip an array or object of an unknown
//! key. `validator` allocates to check the e-mail addresses left to it: those with address literals or IDN.

use core::time::Duration;

use allocation_counter::measure;
use midsession::{
    Accepted, Answer, AnySession, CommType, CrmSupport, DuplicatePolicy, EndUser, LinkError, LinkRequest, Session,
    apply_link,
};
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);
const POLICY: DuplicatePolicy = DuplicatePolicy::new(Duration::from_secs(30));
const SAMPLE: &str = r#"{"identifier": "unique_external_id", "name": "John Doe", "email": "johndoe@example.com", "phone": "123-456-7890"}"#;

#[test]
fn a_refused_request_allocates_nothing_from_its_bytes_to_the_answer() {
    let chat = AnySession::from(Session::start(CommType::Chat));
    let unsupported = Session::start(CommType::Chat).with_crm_support(CrmSupport::Unsupported).into();
    let linked = AnySession::from(decide(Some(&chat), "chat", SAMPLE).unwrap().into_session());
    let ended = linked.clone().end(NOW);
    let row_3 = [
        r#"{"identifier": 7, "name": {"a": "b"}}"#,
        "{\"identifier\": \"a\u{7f}b\"}",
        r#"{"identifier": "id-1", "name": ["John", "Doe"]}"#,
        r#"{"identifier": "id-1", "email": "johndoe"}"#,
        r#"{"identifier": "id-1", "email": "john doe@example.com"}"#,
        r#"{"identifier": "id-1", "email": "johndoe@example_.com"}"#,
        r#"{"identifier": "id-1", "email": "johndoe@example.com."}"#,
        r#"{"identifier": "id-1", "phone": "none"}"#,
    ];
    let rows = [
        (1, Some(&chat), " ", SAMPLE),
        (2, Some(&chat), "chat", r#"{"name": "John Doe", "unknown": 1}"#),
        (2, Some(&chat), "chat", "[]"),
        (4, Some(&chat), "email", SAMPLE),
        (4, Some(&chat), "call", SAMPLE),
        (4, None, "chat", SAMPLE),
        (6, Some(&ended), "chat", SAMPLE),
        (7, Some(&unsupported), "chat", SAMPLE),
        (8, Some(&linked), "chat", SAMPLE),
    ];
    for (row, session, comm_type, body) in rows.into_iter().chain(row_3.map(|body| (3, Some(&chat), "chat", body))) {
        let (allocations, decision) = count(session, comm_type, body);
        assert_eq!(decision.map_err(row_of).err(), Some(row), "{body}");
        assert_eq!(allocations, 0, "row {row}: {body}");
    }
}

#[test]
fn an_accepted_request_allocates_once_however_many_fields_it_has() {
    let anonymous = AnySession::from(Session::start(CommType::Chat));
    let known = EndUser::new("id-1").unwrap().with_email("old@example.com").unwrap();
    let known = AnySession::from(Session::start(CommType::Chat).with_end_user(known));
    for session in [&anonymous, &known] {
        for body in [
            r#"{"identifier": "id-1"}"#,
            r#"{"identifier": "id-1", "name": "Zoë Doe"}"#,
            r#"{"identifier": "id-1", "phone": "123-456-7890", "unknown": null}"#,
            r#"{"identifier": "id-1", "name": "John Doe", "email": "johndoe@example.com", "phone": "123-456-7890"}"#,
            SAMPLE,
        ] {
            let (allocations, decision) = count(Some(session), "chat", body);
            assert!(decision.is_ok(), "{body}");
            assert_eq!(allocations, 1, "{body}");
        }
    }
}

#[test]
fn an_end_user_is_at_most_24_bytes_and_a_session_at_most_80() {
    assert!(size_of::<EndUser>() <= 24);
    assert!(size_of::<AnySession>() <= 80);
}

/// The allocations from a body's bytes to the answer.
fn count(session: Option<&AnySession>, comm_type: &str, body: &str) -> (u64, Result<Accepted, LinkError>) {
    let mut decision = None;
    let counted = measure(|| {
        let decided = decide(session, comm_type, body);
        let _ = Answer::from(&decided);
        decision = Some(decided);
    });
    (counted.count_total, decision.unwrap())
}

fn decide(session: Option<&AnySession>, comm_type: &str, body: &str) -> Result<Accepted, LinkError> {
    let request: LinkRequest = serde_json::from_slice(body.as_bytes()).unwrap();
    apply_link(session, &request.with_comm_type(comm_type), &POLICY, NOW)
}

/// The row of the decision table that a refusal is.
fn row_of(refusal: LinkError) -> u8 {
    match refusal {
        LinkError::MissingParam(midsession::RequiredParam::CommType) => 1,
        LinkError::MissingParam(midsession::RequiredParam::Identifier) => 2,
        LinkError::InvalidParam(_) => 3,
        // Rows 4 and 5 are one answer.
        LinkError::NotFound => 4,
        LinkError::AlreadyEnded(_) => 6,
        LinkError::UnsupportedCrm => 7,
        LinkError::Duplicate { .. } => 8,
    }
}
