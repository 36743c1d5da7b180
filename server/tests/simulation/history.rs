//! What clients saw, and whether the contract explains it: an order of the operations in which each comes between its
//! request and its answer, and `apply_link` itself gives every answer that was given.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use midsession::{Active, Answer, AnySession, DuplicatePolicy, LinkRequest, Session, apply_link};
use time::OffsetDateTime;

/// What a client asked of one session.
#[derive(Clone, Debug)]
pub enum Request {
    /// Its session is like no other's, so that it is known whose start was made.
    Start(Session<Active>),
    Link(LinkRequest<'static>),
    End,
    Erase,
    Show,
}

/// What a client was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub body: String,
    pub retry_after: Option<u64>,
}

impl Reply {
    /// What a start came to, which is asked of the batches without HTTP: there an id is never chosen.
    pub const STARTED: Self = Self { status: 201, body: String::new(), retry_after: None };
    pub const ID_TAKEN: Self = Self { status: 409, body: String::new(), retry_after: None };
}

/// One request, when it was made, and what came of it.
#[derive(Clone, Debug)]
pub struct Operation {
    pub request: Request,
    pub invoked: Duration,
    pub returned: Duration,
    /// None, if the client was told that the outcome is not known, or went away before the answer. Who was told that
    /// nothing was done is in no history: what happened must be explained without it.
    pub reply: Option<Reply>,
    /// What the server's clock showed, each time that it was read while the operation may have been decided.
    pub clock: Vec<OffsetDateTime>,
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = match &self.request {
            Request::Link(link) => format!("link to {}", link.identifier.as_text().unwrap_or_default()),
            Request::Start(_) => "start".to_owned(),
            other => format!("{other:?}"),
        };
        let reply = match &self.reply {
            Some(Reply { status, body, .. }) => format!("{status} {body}"),
            None => "not known".to_owned(),
        };
        write!(formatter, "{:?} to {:?}, {request}: {reply}", self.invoked, self.returned)
    }
}

/// All that happened to one session.
pub struct History<'a> {
    pub policy: DuplicatePolicy,
    pub first: Option<AnySession>,
    pub operations: &'a [Operation],
    /// What the database held at the end.
    pub last: Option<AnySession>,
    /// What was written, in any order: the moments that the decisions were made at are in it.
    pub written: Vec<AnySession>,
}

impl fmt::Display for History<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut operations: Vec<_> = self.operations.iter().collect();
        operations.sort_by_key(|operation| operation.invoked);
        operations.iter().try_for_each(|operation| writeln!(formatter, "{operation}"))?;
        for written in self.written.iter().chain(&self.last) {
            writeln!(formatter, "written: {}", serde_json::to_string(written).map_err(|_| fmt::Error)?)?;
        }
        write!(formatter, "{:?}", self.policy)
    }
}

impl History<'_> {
    /// Whether some order explains every answer and the final state.
    pub fn is_linearizable(&self) -> bool {
        assert!(self.operations.len() <= 32, "a history of one session fits a mask");
        self.explains(0, self.first.as_ref(), &mut HashSet::new())
    }

    fn explains(
        &self,
        done: u32,
        session: Option<&AnySession>,
        failed: &mut HashSet<(u32, Option<AnySession>)>,
    ) -> bool {
        let done = self.with_unchanging(done, session);
        let is_open = |at: usize| done & (1 << at) == 0;
        // An operation whose outcome is not known may have had no effect.
        if (0..self.operations.len()).all(|at| !is_open(at) || self.operations[at].reply.is_none())
            && self.last.as_ref() == session
        {
            return true;
        }
        if failed.contains(&(done, session.cloned())) {
            return false;
        }
        for at in self.candidates(done) {
            let changed = self.changes(&self.operations[at], session);
            if changed.iter().any(|next| self.explains(done | (1 << at), next.as_ref(), failed)) {
                return true;
            }
        }
        failed.insert((done, session.cloned()));
        false
    }

    /// Marks what can be answered here and changes nothing, unless it may change something later: to put it off explains no
    /// more.
    fn with_unchanging(&self, mut done: u32, session: Option<&AnySession>) -> u32 {
        loop {
            let before = done;
            for at in self.candidates(done) {
                let operation = &self.operations[at];
                let explained = |(reply, after): (Reply, Option<AnySession>)| {
                    operation.reply == Some(reply) && after.as_ref() == session
                };
                if !may_change_later(&operation.request, session)
                    && self.outcomes(operation, session).any(|(_, outcome)| explained(outcome))
                {
                    done |= 1 << at;
                }
            }
            if done == before {
                return done;
            }
        }
    }

    /// The operations that can come next. None comes after one that was asked for only after it was answered.
    fn candidates(&self, done: u32) -> Vec<usize> {
        let open: Vec<usize> = (0..self.operations.len()).filter(|at| done & (1 << at) == 0).collect();
        let answered = open.iter().map(|at| &self.operations[*at]).filter(|operation| operation.reply.is_some());
        let first_answer = answered.map(|operation| operation.returned).min().unwrap_or(Duration::MAX);
        open.into_iter().filter(|at| self.operations[*at].invoked <= first_answer).collect()
    }

    /// What the operation can make of the session, if it can have been answered so.
    fn changes(&self, operation: &Operation, session: Option<&AnySession>) -> Vec<Option<AnySession>> {
        let mut changed: Vec<Option<AnySession>> = Vec::new();
        let mut without_trace = false;
        for (now, (reply, after)) in self.outcomes(operation, session) {
            let fits = operation.reply.as_ref().is_none_or(|seen| *seen == reply);
            let is_done = after.as_ref() == session && !may_change_later(&operation.request, session);
            if !fits || is_done || changed.contains(&after) {
                continue;
            }
            // Of the moments that left no trace in the database (a later decision of the same batch wrote over them), one
            // stands for all, unless a duplicate of it was told how long to wait.
            let has_trace = self.written.iter().any(|written| shows(written, now)) || self.is_told_of(operation);
            if has_trace || !without_trace {
                without_trace |= !has_trace;
                changed.push(after);
            }
        }
        changed
    }

    /// Whether someone who asked before it was answered was told how long to wait.
    fn is_told_of(&self, operation: &Operation) -> bool {
        let waits = |other: &Operation| other.reply.as_ref().is_some_and(|reply| reply.retry_after.is_some());
        self.operations.iter().any(|other| waits(other) && other.invoked <= operation.returned)
    }

    fn outcomes(
        &self,
        operation: &Operation,
        session: Option<&AnySession>,
    ) -> impl Iterator<Item = (OffsetDateTime, (Reply, Option<AnySession>))> {
        let moments = match operation.request {
            // It asks no clock.
            Request::Show => &[OffsetDateTime::UNIX_EPOCH],
            _ => operation.clock.as_slice(),
        };
        moments.iter().map(move |now| (*now, decide(&operation.request, session, self.policy, *now)))
    }
}

/// Where there is nothing to erase, there may be something later, with the same answer.
fn may_change_later(request: &Request, session: Option<&AnySession>) -> bool {
    matches!((request, session), (Request::Erase, Some(AnySession::Active(_))))
}

fn shows(written: &AnySession, moment: OffsetDateTime) -> bool {
    [written.last_linked_at(), written.ended_at()].contains(&Some(moment))
}

/// The contract, one request after the other.
fn decide(
    request: &Request,
    session: Option<&AnySession>,
    policy: DuplicatePolicy,
    now: OffsetDateTime,
) -> (Reply, Option<AnySession>) {
    let message = |status, message: &str| {
        let body = if status == 204 { String::new() } else { format!(r#"{{"message":"{message}"}}"#) };
        Reply { status, body, retry_after: None }
    };
    match (request, session) {
        (Request::Start(new), None) => (Reply::STARTED, Some(new.clone().into())),
        (Request::Start(_), Some(_)) => (Reply::ID_TAKEN, session.cloned()),
        (Request::Link(request), _) => {
            let decision = apply_link(session, request, &policy, now);
            let answer = Answer::from(&decision);
            let reply =
                Reply { status: answer.status, body: answer.body.to_owned(), retry_after: answer.retry_after_secs() };
            (reply, decision.map_or_else(|_| session.cloned(), |accepted| Some(accepted.into_session().into())))
        }
        (_, None) => (message(404, "Not Found"), None),
        (Request::End, Some(session)) => (message(200, "ended"), Some(session.clone().end(now))),
        (Request::Erase, Some(session)) => (message(204, ""), Some(session.clone().erase())),
        (Request::Show, Some(shown)) => {
            (Reply { status: 200, body: serde_json::to_string(shown).unwrap(), retry_after: None }, session.cloned())
        }
    }
}
