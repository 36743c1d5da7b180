//! What clients saw, and whether the contract explains it: an order of the operations in which each comes between its
//! request and its answer, and `apply_link` itself gives every answer that was given.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use midsession::{Answer, AnySession, DuplicatePolicy, LinkRequest, apply_link};
use time::OffsetDateTime;

/// What a client asked of one session.
#[derive(Clone, Debug)]
pub enum Request {
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

/// One request, when it was made, and what came of it.
#[derive(Clone, Debug)]
pub struct Operation {
    pub request: Request,
    pub invoked: Duration,
    pub returned: Duration,
    /// None, if the client was told that the outcome is not known, or went away before the answer.
    pub reply: Option<Reply>,
    /// What the server's clock showed, each time that it was read while the operation may have been decided.
    pub clock: Vec<OffsetDateTime>,
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = match &self.request {
            Request::Link(link) => format!("link to {}", link.identifier.as_text().unwrap_or_default()),
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
    pub first: AnySession,
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
        self.explains(0, &self.first, &mut HashSet::new())
    }

    fn explains(&self, done: u32, session: &AnySession, failed: &mut HashSet<(u32, AnySession)>) -> bool {
        let done = self.with_unchanging(done, session);
        let is_open = |at: usize| done & (1 << at) == 0;
        // An operation whose outcome is not known may have had no effect.
        if (0..self.operations.len()).all(|at| !is_open(at) || self.operations[at].reply.is_none())
            && self.last.as_ref() == Some(session)
        {
            return true;
        }
        if failed.contains(&(done, session.clone())) {
            return false;
        }
        for at in self.candidates(done) {
            let changed = self.changes(&self.operations[at], session);
            if changed.iter().any(|next| self.explains(done | (1 << at), next, failed)) {
                return true;
            }
        }
        failed.insert((done, session.clone()));
        false
    }

    /// Marks what can be answered here and changes nothing: to put it off explains no more.
    fn with_unchanging(&self, mut done: u32, session: &AnySession) -> u32 {
        loop {
            let before = done;
            for at in self.candidates(done) {
                let operation = &self.operations[at];
                let explained = |(reply, after)| operation.reply == Some(reply) && after == *session;
                if self.outcomes(operation, session).any(|(_, outcome)| explained(outcome)) {
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
    fn changes(&self, operation: &Operation, session: &AnySession) -> Vec<AnySession> {
        let mut changed: Vec<AnySession> = Vec::new();
        let mut without_trace = false;
        for (now, (reply, after)) in self.outcomes(operation, session) {
            let fits = operation.reply.as_ref().is_none_or(|seen| *seen == reply);
            if !fits || after == *session || changed.contains(&after) {
                continue;
            }
            // Of the moments that left no trace in the database (a later decision of the same batch wrote over them), one
            // stands for all.
            let has_trace = self.written.iter().any(|written| shows(written, now));
            if has_trace || !without_trace {
                without_trace |= !has_trace;
                changed.push(after);
            }
        }
        changed
    }

    fn outcomes(
        &self,
        operation: &Operation,
        session: &AnySession,
    ) -> impl Iterator<Item = (OffsetDateTime, (Reply, AnySession))> {
        let moments = match operation.request {
            // It asks no clock.
            Request::Show => &[OffsetDateTime::UNIX_EPOCH],
            _ => operation.clock.as_slice(),
        };
        moments.iter().map(|now| (*now, decide(&operation.request, session, self.policy, *now)))
    }
}

fn shows(written: &AnySession, moment: OffsetDateTime) -> bool {
    [written.last_linked_at(), written.ended_at()].contains(&Some(moment))
}

/// The contract, one request after the other.
fn decide(
    request: &Request,
    session: &AnySession,
    policy: DuplicatePolicy,
    now: OffsetDateTime,
) -> (Reply, AnySession) {
    let message = |status, message: &str| {
        let body = if status == 204 { String::new() } else { format!(r#"{{"message":"{message}"}}"#) };
        Reply { status, body, retry_after: None }
    };
    match request {
        Request::Link(request) => {
            let decision = apply_link(Some(session), request, &policy, now);
            let answer = Answer::from(&decision);
            let reply =
                Reply { status: answer.status, body: answer.body.to_owned(), retry_after: answer.retry_after_secs() };
            (reply, decision.map_or_else(|_| session.clone(), |accepted| accepted.into_session().into()))
        }
        Request::End => (message(200, "ended"), session.clone().end(now)),
        Request::Erase => match session {
            AnySession::Active(_) => (message(409, "the session has not ended"), session.clone()),
            AnySession::Ended(ended) => (message(204, ""), ended.clone().erase().into()),
        },
        Request::Show => {
            (Reply { status: 200, body: serde_json::to_string(session).unwrap(), retry_after: None }, session.clone())
        }
    }
}
