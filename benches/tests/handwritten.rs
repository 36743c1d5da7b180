//! `request/handwritten` is a fair comparison only if it does the same job.

use midsession::{Answer, AnySession, CommType, CrmSupport, EndUser, LinkRequest, Session, apply_link};
use midsession_benches::{AFTER, BODY, INSIDE, INTERVAL, LINKED_AT, POLICY, handwritten, linked_chat};
use time::OffsetDateTime;

#[test]
fn handwritten_gives_the_same_answers() {
    let mut statuses = Vec::new();
    for body in bodies() {
        for comm_type in ["call", "chat", "email", "Chat", " ", ""] {
            for session in sessions() {
                for now in [INSIDE, AFTER, LINKED_AT, LINKED_AT - (INSIDE - LINKED_AT), LINKED_AT - (AFTER - LINKED_AT)]
                {
                    statuses.push(assert_same_answer(&body, comm_type, session.as_ref(), now));
                }
            }
        }
    }
    for status in [202, 400, 404] {
        assert!(statuses.contains(&status), "the table has no {status}");
    }
}

#[track_caller]
fn assert_same_answer(body: &str, comm_type: &str, session: Option<&AnySession>, now: OffsetDateTime) -> u16 {
    let request: LinkRequest = serde_json::from_str(body).unwrap();
    let decision = apply_link(session, &request.with_comm_type(comm_type), &POLICY, now);
    let ours = Answer::from(&decision);
    let session = session.map(as_handwritten);
    let theirs = handwritten::link(session.as_ref(), comm_type, body.as_bytes(), INTERVAL, now).unwrap();
    let case = format!("{body} as {comm_type:?} at {now}");
    assert_eq!(
        (ours.status, ours.body, ours.retry_after),
        (theirs.status, &*theirs.body, theirs.retry_after),
        "{case}"
    );

    let ours = decision.ok().map(|accepted| AnySession::from(accepted.into_session()));
    let ours = ours.map(|session| format!("{:?}", as_handwritten(&session)));
    assert_eq!(ours, theirs.session.map(|session| format!("{session:?}")), "{case}");
    theirs.status
}

fn bodies() -> Vec<String> {
    let fields = [
        (
            "identifier",
            &["", r#""unique_external_id""#, r#""id-2""#, "null", r#"" ""#, "7", "[null]", "{}", r#""\u0000""#][..],
        ),
        ("name", &["", r#""John Doe""#, r#""Zoë \"Z\" Doe""#, r#""""#, "true", r#""a\nb""#]),
        ("email", &["", r#""johndoe@example.com""#, r#""johndoe""#, r#""a@[127.0.0.1]""#, r#"["a@b.c"]"#]),
        ("phone", &["", r#""123-456-7890""#, r#""none""#, r#"{"a":1}"#]),
    ];
    let mut bodies = vec![r#""unknown":[1,{"a":"b"}]"#.to_owned()];
    for (key, values) in fields {
        let with = |body: &String| {
            let body = body.clone();
            values
                .iter()
                .map(move |value| if value.is_empty() { body.clone() } else { format!("{body},\"{key}\":{value}") })
        };
        bodies = bodies.iter().flat_map(with).collect();
    }
    let long = |key: &str, chars: usize| {
        format!(r#""identifier":"id","{key}":"{}""#, "é1".repeat(chars / 2) + &"1".repeat(chars % 2))
    };
    let limits = [("name", 255), ("name", 256), ("phone", 64), ("phone", 65), ("email", 254), ("email", 255)];
    bodies.extend(limits.map(|(key, chars)| long(key, chars)));
    bodies.iter().map(|fields| format!("{{{fields}}}")).chain([String::from_utf8(BODY.to_vec()).unwrap()]).collect()
}

fn sessions() -> Vec<Option<AnySession>> {
    let call = Session::start(CommType::Call);
    let known = EndUser::new("id-2").unwrap().with_email("old@example.com").unwrap();
    vec![
        None,
        Some(call.clone().into()),
        Some(call.clone().with_end_user(known).into()),
        Some(call.with_crm_support(CrmSupport::Unsupported).into()),
        Some(linked_chat()),
        Some(linked_chat().end(LINKED_AT)),
    ]
}

fn as_handwritten(session: &AnySession) -> handwritten::Session {
    let end_user = |end_user: &EndUser| handwritten::EndUser {
        identifier: end_user.identifier().to_owned(),
        name: end_user.name().map(str::to_owned),
        email: end_user.email().map(str::to_owned),
        phone: end_user.phone().map(str::to_owned),
    };
    handwritten::Session {
        comm_type: session.comm_type().to_string(),
        crm_supported: session.crm_support() == CrmSupport::Supported,
        end_user: session.end_user().map(end_user),
        last_linked_at: session.last_linked_at(),
        ended_at: session.ended_at(),
        revision: session.revision(),
    }
}
