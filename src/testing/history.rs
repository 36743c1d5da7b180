use core::fmt;
use std::collections::BTreeMap;
use std::prelude::rust_2024::*;

use time::OffsetDateTime;

use super::choices::{Choices, Choose};
use super::generate::{self, TwoPeople};
use super::samples::{self, EARLIEST_STORED, LATEST};
use crate::testing::{edges, revealed};
use crate::{
    Accepted, Active, AnySession, CommType, DuplicatePolicy, Endpoint, LinkError, LinkRequest, Session, apply_link,
};

/// What happened to a few sessions, in order, and what this crate decides at each step.
///
/// Each step says what must come of it, so that a server needs no model of its own to be tested: replay the steps, and
/// compare. See [the page](crate::testing#a-whole-server-histories), which shows a whole replay. The `Debug` of all that a
/// history consists of shows text: what is generated is nobody's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The policy of all decisions.
    pub policy: DuplicatePolicy,
    /// The steps. Before the first of them nothing is stored.
    pub steps: Vec<Step>,
}

/// One step of a [`History`].
#[derive(Clone, PartialEq, Eq)]
pub struct Step {
    /// What the clock shows, in UTC. It may stand still, and it may go backwards.
    pub now: OffsetDateTime,
    /// The session's id, one that a path can hold.
    pub session_id: String,
    /// What happens.
    pub action: Action,
    /// What another server stores under the id after this one has read it, and before this one writes. This one's write is
    /// then lost: it reads again and decides again, and what is expected is what must come of that. None: no other server
    /// comes between.
    pub meanwhile: Option<AnySession>,
    /// What must be stored under the id after the step; `None` is nothing.
    pub stored: Option<AnySession>,
}

/// What happens in a [`Step`].
///
/// Exhaustive on purpose: a campaign that leaves out an action should not compile.
#[derive(Clone, PartialEq, Eq)]
pub enum Action {
    /// The session starts. Nothing is stored under its id before.
    Start(Session<Active>),
    /// It is asked to be linked.
    Link(Box<Attempt>),
    /// It is ended, for the first time or again. Where nothing is stored, nothing happens.
    End,
    /// Its end user is erased, whether it has ended or not. Where nothing is stored, nothing happens.
    Erase,
}

/// One request to link a session, and how it must be decided.
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The path to post to.
    pub path: String,
    /// The body, JSON. It may have a `comm_type` of its own, which the path's overrides.
    pub body: String,
    /// The same as a request with the path's comm type, for transports without HTTP.
    pub request: LinkRequest<'static>,
    /// What [`apply_link`] decides. `Answer::from(&decision)` is its answer.
    pub decision: Result<Accepted, LinkError>,
}

impl fmt::Debug for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { now, session_id, action, meanwhile, stored } = self;
        formatter
            .debug_struct("Step")
            .field("now", now)
            .field("session_id", session_id)
            .field("action", action)
            .field("meanwhile", &revealed(meanwhile))
            .field("stored", &revealed(stored))
            .finish()
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(session) => formatter.debug_tuple("Start").field(&revealed(session)).finish(),
            Self::Link(attempt) => formatter.debug_tuple("Link").field(attempt).finish(),
            Self::End => formatter.write_str("End"),
            Self::Erase => formatter.write_str("Erase"),
        }
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, body, request, decision } = self;
        formatter
            .debug_struct("Attempt")
            .field("path", path)
            .field("body", body)
            .field("request", &revealed(request))
            .field("decision", &revealed(decision))
            .finish()
    }
}

/// Each event is a part of its own, and does something whatever happened before, so that what is left when others are taken
/// away is a history still.
pub(crate) fn history(c: &mut dyn Choices) -> History {
    let mut telling = Telling {
        policy: generate::duplicate_policy(c),
        now: generate::stored_moment(c),
        people: generate::two_people(c),
        sessions: BTreeMap::new(),
        steps: Vec::new(),
    };
    let ids = ids(c);
    let starts: Vec<_> = ids.iter().map(|_| (!c.once_in(12)).then(|| generate::new_session(c))).collect();
    while c.another() {
        let of = c.index(ids.len());
        let (Some(id), Some(start)) = (ids.get(of), starts.get(of)) else { continue };
        telling.event(c, id, start.as_ref());
    }
    History { policy: telling.policy, steps: telling.steps }
}

/// The ids of one to three sessions. Some are easily taken for one.
fn ids(c: &mut dyn Choices) -> Vec<String> {
    let mut ids = Vec::from([generate::session_id(c)]);
    for _ in 0..c.below(3) {
        let near = generate::near_session_id(c, ids.first().map_or("a", |id| id));
        if !ids.contains(&near) {
            ids.push(near);
        }
    }
    ids
}

/// The history as far as it has been told.
struct Telling {
    policy: DuplicatePolicy,
    now: OffsetDateTime,
    people: TwoPeople,
    sessions: BTreeMap<String, AnySession>,
    steps: Vec<Step>,
}

impl Telling {
    fn event(&mut self, c: &mut dyn Choices, id: &str, start: Option<&Session<Active>>) {
        let first = !self.steps.iter().any(|step| step.session_id == id);
        if first && let Some(session) = start {
            self.start(id, session.clone());
        }
        self.now = self.moment(c, id);
        match c.below(16) {
            0..=12 => self.link(c, id),
            13 => self.change(c, id, Action::End),
            14 => self.change(c, id, Action::Erase),
            _ if self.sessions.contains_key(id) => self.link(c, id),
            _ => self.start(id, generate::new_session(c)),
        }
    }

    fn start(&mut self, id: &str, session: Session<Active>) {
        let stored = Some(session.clone().into());
        self.step(id, Action::Start(session), None, stored);
    }

    fn link(&mut self, c: &mut dyn Choices, id: &str) {
        let before = self.sessions.get(id).cloned();
        let request = match c.below(12) {
            0..=8 => generate::request_of_one_of(c, &self.people),
            9 => generate::acceptable_request(c),
            _ => generate::link_request(c),
        };
        let own = before.as_ref().map_or(CommType::Chat, AnySession::comm_type);
        let comm_type = if c.once_in(10) { other(own) } else { own };
        let body = generate::body_of(c, &request);
        let request = request.with_comm_type(comm_type);
        let path = Endpoint::new(comm_type, id).map_or_else(String::new, |endpoint| endpoint.to_string());

        let written = apply_link(before.as_ref(), &request, &self.policy, self.now).is_ok();
        let meanwhile = before.as_ref().filter(|_| written).and_then(|read| self.meanwhile(c, read, &request));
        let current = meanwhile.clone().or(before);
        let decision = apply_link(current.as_ref(), &request, &self.policy, self.now);
        let linked = decision.as_ref().ok().map(|accepted| accepted.session().clone().into());
        self.step(id, Action::Link(Box::new(Attempt { path, body, request, decision })), meanwhile, linked.or(current));
    }

    /// Ends or erases.
    fn change(&mut self, c: &mut dyn Choices, id: &str, action: Action) {
        let changed = |session: AnySession| match action {
            Action::End => session.end(self.now),
            _ => session.erase(),
        };
        let before = self.sessions.get(id).cloned();
        let written = before.as_ref().filter(|read| changed((*read).clone()) != **read);
        let meanwhile = written.and_then(|read| {
            let request = generate::request_of_one_of(c, &self.people);
            self.meanwhile(c, read, &request.with_comm_type(read.comm_type()))
        });
        let stored = meanwhile.clone().or(before).map(changed);
        self.step(id, action, meanwhile, stored);
    }

    /// What another server makes of the session that this one has read, once in four times.
    fn meanwhile(&self, c: &mut dyn Choices, read: &AnySession, request: &LinkRequest<'_>) -> Option<AnySession> {
        let link = |request: &LinkRequest<'_>| {
            let accepted = apply_link(Some(read), request, &self.policy, self.now).ok()?;
            Some(AnySession::from(accepted.into_session()))
        };
        let written = match c.below(16) {
            12 => link(request)?,
            13 => link(&generate::request_of_one_of(c, &self.people).with_comm_type(read.comm_type()))?,
            14 => read.clone().end(self.now),
            15 => read.clone().erase(),
            _ => return None,
        };
        (written.revision() != read.revision()).then_some(written)
    }

    fn step(&mut self, id: &str, action: Action, meanwhile: Option<AnySession>, stored: Option<AnySession>) {
        if let Some(stored) = &stored {
            self.sessions.insert(id.to_owned(), stored.clone());
        }
        self.steps.push(Step { now: self.now, session_id: id.to_owned(), action, meanwhile, stored });
    }

    fn moment(&self, c: &mut dyn Choices, id: &str) -> OffsetDateTime {
        let now = match c.below(9) {
            0 => self.now,
            1..=4 => {
                let last = self.sessions.get(id).and_then(AnySession::last_linked_at).unwrap_or(self.now);
                c.one_of(&edges(last, self.policy.interval()))
            }
            5..=7 => samples::shifted(self.now, c.range(-10_000_000_000, 100_000_000_000)),
            _ => generate::stored_moment(c),
        };
        now.clamp(EARLIEST_STORED, LATEST)
    }
}

const fn other(comm_type: CommType) -> CommType {
    match comm_type {
        CommType::Call => CommType::Chat,
        CommType::Chat => CommType::Call,
    }
}
