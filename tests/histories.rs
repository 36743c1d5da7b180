//! The strategy of whole histories: it finds servers that are wrong, and every answer comes up in it.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use midsession::testing::strategies::{Action, History, Step, history};
use midsession::{Answer, AnySession, DuplicateScope, Endpoint, LinkChange, LinkRequest, Session, apply_link};
use strum::VariantArray;

use crate::common::EARLIEST;
use crate::generators::sample_of;

/// What a server gets wrong, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
enum Slip {
    EndsForgotten,
    LinksForgotten,
    KnownPersonForgotten,
    RefusalsForgetThePerson,
    CommTypeOfTheBody,
    ClockOfWholeSeconds,
    ClockNeverGoesBack,
    ScopeIgnored,
    OneSessionForAll,
}

/// Plays the history to a server that reads paths and bodies and keeps nothing but JSON, and says whether it did right.
fn replay(History { policy, steps }: &History, slip: Option<Slip>) -> bool {
    let has = |other| slip == Some(other);
    let policy = if has(Slip::ScopeIgnored) { policy.with_scope(DuplicateScope::Session) } else { *policy };
    let (mut stored, mut latest) = (BTreeMap::<&str, String>::new(), EARLIEST);
    for Step { now, session_id, action, stored: expected } in steps {
        latest = latest.max(*now);
        let now = match slip {
            Some(Slip::ClockOfWholeSeconds) => now.replace_nanosecond(0).unwrap(),
            Some(Slip::ClockNeverGoesBack) => latest,
            _ => *now,
        };
        let key = if has(Slip::OneSessionForAll) { "" } else { session_id };
        let before = stored.get(key).map(|json| serde_json::from_str::<AnySession>(json).unwrap());
        let anonymous = |session: &AnySession| {
            AnySession::from(Session::start(session.comm_type()).with_crm_support(session.crm_support()))
        };
        let after = match action {
            Action::Start(_) if slip.is_none() && before.is_some() => panic!("a session starts once"),
            Action::Start(session) if has(Slip::KnownPersonForgotten) => Some(anonymous(&session.clone().into())),
            Action::Start(session) => Some(session.clone().into()),
            Action::End if has(Slip::EndsForgotten) => before,
            Action::End => before.map(|session| session.end(now)),
            Action::Link(attempt) => {
                let endpoint = Endpoint::parse(&attempt.path).unwrap();
                assert_eq!(endpoint.session_id(), session_id);
                let mut request: LinkRequest = serde_json::from_str(&attempt.body).unwrap();
                if !has(Slip::CommTypeOfTheBody) || request.comm_type.is_blank() {
                    request = request.with_comm_type(endpoint.comm_type());
                }
                let decision = apply_link(before.as_ref(), &request, &policy, now);
                if slip.is_none() {
                    assert_eq!(apply_link(before.as_ref(), &attempt.request, &policy, now), decision);
                }
                if decision != attempt.decision {
                    return false;
                }
                match decision {
                    Ok(_) if has(Slip::LinksForgotten) => before,
                    Ok(accepted) => Some(accepted.into_session().into()),
                    Err(_) if has(Slip::RefusalsForgetThePerson) => before.as_ref().map(anonymous),
                    Err(_) => before,
                }
            }
        };
        if after != *expected {
            return false;
        }
        stored.extend(after.map(|after| (key, serde_json::to_string(&after).unwrap())));
    }
    true
}

#[test]
fn histories_find_every_server_that_is_wrong() {
    let histories = sample_of(200, history());
    assert!(histories.iter().all(|history| replay(history, None)), "a server that is right");
    for slip in Slip::VARIANTS {
        let found = histories.iter().filter(|history| !replay(history, Some(*slip))).count();
        assert!(found > 0, "{slip:?} goes unnoticed");
    }
}

#[test]
fn every_answer_and_change_comes_up_in_histories() {
    let (mut bodies, mut changes, mut longest, mut sessions) = (BTreeSet::new(), BTreeSet::new(), 0, 0);
    let (mut backwards, mut ended_twice, mut waits) = (0, 0, BTreeSet::new());
    for history in sample_of(400, history()) {
        let mut links = BTreeMap::<&str, usize>::new();
        let mut ends = BTreeSet::new();
        for step in &history.steps {
            match &step.action {
                Action::Link(attempt) => {
                    let answer = Answer::from(&attempt.decision);
                    bodies.insert(answer.body);
                    waits.extend(answer.retry_after);
                    if let Ok(accepted) = &attempt.decision {
                        changes.insert(accepted.change());
                        *links.entry(&step.session_id).or_default() += 1;
                    }
                }
                Action::End if step.stored.is_some() => ended_twice += usize::from(!ends.insert(&step.session_id)),
                _ => {}
            }
        }
        longest = longest.max(links.values().copied().max().unwrap_or(0));
        sessions = sessions.max(links.len());
        backwards += history.steps.windows(2).filter(|pair| pair[1].now < pair[0].now).count();
    }
    // The comm type is a path's, so that it is never missing.
    assert_eq!(bodies.len(), 11, "{bodies:?}");
    assert_eq!(changes.into_iter().collect::<Vec<_>>(), LinkChange::ALL);
    assert!(longest > 3 && sessions == 3, "{longest} links of one session, {sessions} sessions");
    assert!(backwards > 100 && ended_twice > 10, "{backwards} {ended_twice}");
    assert!(waits.contains(&Duration::from_nanos(1)), "an edge of the interval");
}
