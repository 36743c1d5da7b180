//! Every combination of the equivalence classes of every input, against the reference model.

use core::time::Duration;

use midsession::{
    AnySession, CommType, CrmSupport, DuplicatePolicy, DuplicateScope, EndUser, LinkRequest, Param, Session,
};
use time::OffsetDateTime;

use crate::model::assert_agreed;
use crate::support::{BOTH, EARLIEST, INTERVAL, LATEST, NOW};

/// Representatives of a class, of which each combination takes the next.
type Class = Vec<Param<'static>>;

fn texts(texts: &[&str]) -> Class {
    texts.iter().map(|text| Param::Text(text.to_string().into())).collect()
}

fn blank() -> Class {
    vec![Param::Blank, Param::Text("".into()), Param::Text(" \u{2003}".into())]
}

fn comm_types() -> [Class; 5] {
    [blank(), vec![Param::NotText], texts(&["call"]), texts(&["chat"]), texts(&["email", "Chat", "calls", "chat "])]
}

/// Blank, not text, unacceptable, acceptable.
fn classes(unacceptable: &[&str], acceptable: &[&str]) -> [Class; 4] {
    [blank(), vec![Param::NotText], texts(unacceptable), texts(acceptable)]
}

/// Never linked, and on, just inside, just outside and far from both ends of the window.
fn last_links() -> Vec<Option<OffsetDateTime>> {
    let nanosecond = Duration::from_nanos(1);
    let (start, end) = (NOW - INTERVAL, NOW + INTERVAL);
    let near = [start - nanosecond, start, start + nanosecond, NOW, end - nanosecond, end, end + nanosecond];
    near.into_iter().chain([EARLIEST, LATEST]).map(Some).chain([None]).collect()
}

/// Unknown, and every known session: comm type, state, CRM, end user, last link.
fn sessions() -> Vec<Option<AnySession>> {
    let former = |identifier| EndUser::new(identifier).unwrap().with_name("Former").unwrap().with_phone("1").unwrap();
    let mut sessions = vec![None];
    for comm_type in BOTH {
        for crm_support in [CrmSupport::Supported, CrmSupport::Unsupported] {
            let anonymous = Session::start(comm_type).with_crm_support(crm_support);
            let mut active = vec![anonymous.clone()];
            for former in [former("id-1"), former("id-2")] {
                active.extend(
                    last_links().into_iter().map(|at| linked(comm_type, &former, at).with_crm_support(crm_support)),
                );
            }
            sessions.extend(active.iter().cloned().map(AnySession::from).map(Some));
            sessions.extend(active.into_iter().map(|session| Some(session.end(NOW).into())));
        }
    }
    sessions
}

fn linked(comm_type: CommType, former: &EndUser, at: Option<OffsetDateTime>) -> Session<midsession::Active> {
    let session = Session::start(comm_type);
    match at {
        None => session.with_end_user(former.clone()),
        Some(at) => session.link(former, &DuplicatePolicy::new(INTERVAL), at).unwrap().into_session(),
    }
}

#[test]
fn every_combination_of_classes_is_decided_as_the_model_does() {
    let long = "x".repeat(256);
    let identifiers = classes(&["id\0", &long], &["id-1"]);
    let names = classes(&["\u{7f}", &long], &["Former", "Newer"]);
    let emails = classes(&["no address", "a@b\n", "a@-"], &["a@b.example", "a@[127.0.0.1]"]);
    let phones = classes(&["none", "1\t"], &["1", "2"]);
    let sessions = sessions();
    let policies = [DuplicateScope::Session, DuplicateScope::SameIdentifier]
        .map(|scope| DuplicatePolicy::new(INTERVAL).with_scope(scope));

    let (mut combinations, mut answers) = (0_usize, [0_usize; 10]);
    let pick = |class: &Class, turn: usize| class[turn % class.len()].clone();
    for comm_type in &comm_types() {
        for identifier in &identifiers {
            for name in &names {
                for email in &emails {
                    for phone in &phones {
                        let request = LinkRequest {
                            comm_type: pick(comm_type, combinations),
                            identifier: pick(identifier, combinations),
                            name: pick(name, combinations / 3),
                            email: pick(email, combinations / 5),
                            phone: pick(phone, combinations / 7),
                        };
                        for session in &sessions {
                            for policy in &policies {
                                let (_, verdict) = assert_agreed(session.as_ref(), &request, policy, NOW);
                                combinations += 1;
                                answers[verdict.row] += 1;
                            }
                        }
                    }
                }
            }
        }
    }
    println!("{combinations} combinations; by row of the table: {:?}", &answers[1..]);
    assert!(combinations > 50_000);
    assert!(answers[1..].iter().all(|count| *count > 0), "an answer never came up: {answers:?}");
}
