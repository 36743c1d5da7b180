//! The strategy of whole histories: it finds servers that are wrong, and every answer comes up in it.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use midsession::testing::strategies::{Action, History, Step, history};
use midsession::{
    Active, Answer, AnySession, DuplicatePolicy, DuplicateScope, Endpoint, LinkChange, LinkError, LinkRequest, Session,
    apply_link,
};
use strum::VariantArray;
use time::OffsetDateTime;

use crate::generators::sample_of;
use crate::support::EARLIEST;

/// What a server gets wrong, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
enum Slip {
    EndsForgotten,
    ErasuresForgotten,
    ErasuresKeepTheTimeOfTheLastLink,
    LinksForgotten,
    KnownPersonForgotten,
    RefusalsForgetThePerson,
    CommTypeOfTheBody,
    ClockOfWholeSeconds,
    ClockNeverGoesBack,
    ScopeIgnored,
    OneSessionForAll,
    IdsWithoutCase,
    // Slips that only a lost race shows.
    LostLinkIsAnsweredAsDone,
    LostLinkIsAnsweredAsDuplicate,
    LostLinkIsWrittenAllTheSame,
    LostLinkIsWrittenOnceMore,
    LostLinkIsDecidedAtTheLastLinksTime,
    LostEndIsForgotten,
    LostErasureIsForgotten,
}

/// A server that reads paths and bodies, keeps nothing but JSON, and writes on condition of the revision.
struct Server {
    slip: Option<Slip>,
    policy: DuplicatePolicy,
    stored: BTreeMap<String, String>,
    /// What another server writes after the next read.
    meanwhile: Option<AnySession>,
}

impl Server {
    fn has(&self, slip: Slip) -> bool {
        self.slip == Some(slip)
    }

    fn key(&self, id: &str) -> String {
        match self.slip {
            Some(Slip::OneSessionForAll) => String::new(),
            Some(Slip::IdsWithoutCase) => id.to_ascii_lowercase(),
            _ => id.to_owned(),
        }
    }

    fn look(&self, id: &str) -> Option<AnySession> {
        self.stored.get(&self.key(id)).map(|json| serde_json::from_str(json).unwrap())
    }

    fn put(&mut self, id: &str, session: &AnySession) {
        self.stored.insert(self.key(id), serde_json::to_string(session).unwrap());
    }

    fn read(&mut self, id: &str) -> Option<AnySession> {
        let read = self.look(id);
        if let Some(written) = self.meanwhile.take() {
            self.put(id, &written);
        }
        read
    }

    /// False: another server was first.
    #[must_use]
    fn write(&mut self, id: &str, read: &AnySession, session: &AnySession) -> bool {
        let current = self.look(id).is_some_and(|stored| stored.revision() == read.revision());
        if current {
            self.put(id, session);
        }
        current
    }

    /// Reads, changes and writes, until no other server was first.
    fn change(&mut self, id: &str, gives_up: bool, change: impl Fn(AnySession) -> AnySession) {
        while let Some(read) = self.read(id) {
            if self.write(id, &read, &change(read.clone())) || gives_up {
                break;
            }
        }
    }

    fn start(&mut self, id: &str, session: &Session<Active>) {
        assert!(self.slip.is_some() || self.look(id).is_none(), "a session starts once");
        let session = AnySession::from(session.clone());
        let session = if self.has(Slip::KnownPersonForgotten) { anonymous(&session) } else { session };
        self.put(id, &session);
    }

    fn end(&mut self, id: &str, now: OffsetDateTime) {
        if !self.has(Slip::EndsForgotten) {
            self.change(id, self.has(Slip::LostEndIsForgotten), |session| session.end(now));
        }
    }

    fn erase(&mut self, id: &str) {
        if self.has(Slip::ErasuresForgotten) {
            return;
        }
        let keeps_time = self.has(Slip::ErasuresKeepTheTimeOfTheLastLink);
        self.change(id, self.has(Slip::LostErasureIsForgotten), |session| {
            if keeps_time && session.last_linked_at().is_some() { session } else { session.erase() }
        });
    }

    fn post(&mut self, path: &str, body: &str, now: OffsetDateTime) -> Answer {
        let endpoint = Endpoint::parse(path).unwrap();
        let mut request: LinkRequest = serde_json::from_str(body).unwrap();
        if !self.has(Slip::CommTypeOfTheBody) || request.comm_type.is_blank() {
            request = request.with_endpoint(&endpoint);
        }
        let id = endpoint.session_id();
        let mut now = now;
        loop {
            let read = self.read(id);
            let decision = apply_link(read.as_ref(), &request, &self.policy, now);
            let answer = Answer::from(&decision);
            let (Ok(accepted), Some(read)) = (decision, read) else {
                if self.has(Slip::RefusalsForgetThePerson)
                    && let Some(session) = self.look(id)
                {
                    self.put(id, &anonymous(&session));
                }
                return answer;
            };
            let session = accepted.into_session().into();
            if self.has(Slip::LinksForgotten) || self.write(id, &read, &session) {
                return answer;
            }
            match self.slip {
                Some(Slip::LostLinkIsAnsweredAsDone) => return answer,
                Some(Slip::LostLinkIsAnsweredAsDuplicate) => {
                    return Answer::from(LinkError::Duplicate { retry_after: self.policy.interval() });
                }
                Some(Slip::LostLinkIsWrittenAllTheSame) => {
                    self.put(id, &session);
                    return answer;
                }
                Some(Slip::LostLinkIsWrittenOnceMore) => {
                    let winner = self.look(id).unwrap();
                    assert!(self.write(id, &winner, &session));
                    return answer;
                }
                Some(Slip::LostLinkIsDecidedAtTheLastLinksTime) => now = read.last_linked_at().unwrap_or(now),
                _ => {}
            }
        }
    }
}

fn anonymous(session: &AnySession) -> AnySession {
    Session::start(session.comm_type()).with_crm_support(session.crm_support()).into()
}

/// Plays the history to the server, and says whether it did right.
fn replay(History { policy, steps }: &History, slip: Option<Slip>) -> bool {
    let scope = if slip == Some(Slip::ScopeIgnored) { DuplicateScope::Session } else { policy.scope() };
    let mut server = Server { slip, policy: policy.with_scope(scope), stored: BTreeMap::new(), meanwhile: None };
    let mut latest = EARLIEST;
    for Step { now, session_id, action, meanwhile, stored } in steps {
        latest = latest.max(*now);
        let now = match slip {
            Some(Slip::ClockOfWholeSeconds) => now.replace_nanosecond(0).unwrap(),
            Some(Slip::ClockNeverGoesBack) => latest,
            _ => *now,
        };
        server.meanwhile.clone_from(meanwhile);
        match action {
            Action::Start(session) => server.start(session_id, session),
            Action::End => server.end(session_id, now),
            Action::Erase => server.erase(session_id),
            Action::Link(attempt) => {
                let answer = server.post(&attempt.path, &attempt.body, now);
                if answer != Answer::from(&attempt.decision) {
                    return false;
                }
            }
        }
        if server.look(session_id) != *stored {
            return false;
        }
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
