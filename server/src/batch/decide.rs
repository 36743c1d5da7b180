//! The decisions of a batch: pure, and on one session after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use midsession::{Answer, AnySession, CommType, DuplicatePolicy, EndUser, Session, apply_link};
use time::OffsetDateTime;

use super::carryover::Carryover;
use super::command::{Command, Outcome, SubmitError};
use super::task::{Task, Work};
use crate::store::{Change, ConditionalWrite, SessionChange};

/// Tells the time: the machine's in the server, any in a test.
pub type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// The commands of a batch on one session, decided, and the write on which their answers wait.
pub(super) struct Decision {
    pub(super) write: ConditionalWrite,
    pub(super) tasks: Vec<(Task, Outcome)>,
}

/// What becomes of a session, and what that is called. A probe is no one's change.
type Next = (AnySession, Option<SessionChange>);

/// Decides by a policy and a clock.
pub(super) struct Decider {
    pub(super) policy: DuplicatePolicy,
    pub(super) clock: Clock,
}

impl Decider {
    /// Decides the commands on one session one after the other. Those that leave it as it is stored are answered, but not
    /// after a weak read: those are left to be decided once more.
    pub(super) fn decide(
        &self,
        tasks: Vec<Task>,
        stored: Option<&AnySession>,
        mut weak: Option<&mut Carryover>,
    ) -> Option<Decision> {
        let mut next: Option<AnySession> = None;
        let (mut waiting, mut changes) = (Vec::new(), Vec::new());
        let mut id = None;
        for task in tasks.into_iter().filter_map(|task| task.resolve(stored)) {
            let current = next.as_ref().or(stored);
            let decided = catch_unwind(AssertUnwindSafe(|| {
                let now = (self.clock)();
                let (outcome, next) = match &task.work {
                    Work::Command(command) => self.decide_one(command, current, now),
                    Work::Probe | Work::Ping => Self::probe(current, now),
                };
                (outcome, next, now)
            }));
            match decided {
                Ok((_, Some(_), _)) if !task.claim() => {}
                Ok((outcome, change, at)) if change.is_some() || next.is_some() => {
                    if let Some((session, kind)) = change {
                        let (revision, origin) = (session.revision(), &task.origin);
                        changes.extend(kind.map(|kind| Change { kind, revision, at, origin: origin.clone() }));
                        next = Some(session);
                    }
                    id.get_or_insert_with(|| task.id.clone());
                    waiting.push((task, outcome));
                }
                // An earlier write may still be made, against what was decided now.
                _ if !task.attempts.is_empty() => {
                    task.answer(Err(SubmitError::unknown("an earlier write may still come")));
                }
                Err(_) => task.answer(Err(SubmitError::Panicked)),
                Ok((outcome, ..)) => match &mut weak {
                    Some(carryover) => carryover.read_durably(task),
                    None => task.answer(Ok(outcome)),
                },
            }
        }
        let (expected, weakly_read) = (stored.map(AnySession::revision), stored.filter(|_| weak.is_some()).cloned());
        let write = ConditionalWrite { id: id?, expected, weakly_read, next: next?, changes };
        Some(Decision { write, tasks: waiting })
    }

    /// What becomes of the session, if anything.
    fn decide_one(
        &self,
        command: &Command,
        session: Option<&AnySession>,
        now: OffsetDateTime,
    ) -> (Outcome, Option<Next>) {
        let of_type = |comm_type| session.filter(|session| session.comm_type() == comm_type);
        match command {
            Command::Start(new) if session.is_none() => {
                (Outcome::Started, Some((new.clone().into(), Some(SessionChange::Started))))
            }
            Command::Start(_) => (Outcome::IdTaken, None),
            Command::Link(request) => {
                let decision = apply_link(session, request, &self.policy, now);
                let answer = Answer::from(&decision);
                match decision {
                    Ok(accepted) => {
                        let change = accepted.change();
                        let linked = (accepted.into_session().into(), Some(SessionChange::Linked(change)));
                        (Outcome::Link(answer, Ok(change)), Some(linked))
                    }
                    Err(error) => (Outcome::Link(answer, Err(error)), None),
                }
            }
            Command::End(comm_type) => match of_type(*comm_type) {
                None => (Outcome::NotFound, None),
                Some(AnySession::Ended(_)) => (Outcome::Ended, None),
                Some(active) => (Outcome::Ended, Some((active.clone().end(now), Some(SessionChange::Ended)))),
            },
            Command::Erase(comm_type) => match of_type(*comm_type) {
                None => (Outcome::NotFound, None),
                Some(session) => {
                    let erased = session.clone().erase();
                    let changed = erased != *session;
                    (Outcome::Erased, changed.then_some((erased, Some(SessionChange::Erased))))
                }
            },
        }
    }

    /// The probe's record as it is written next: its revision is one higher. One that has ended is not written.
    fn probe(session: Option<&AnySession>, now: OffsetDateTime) -> (Outcome, Option<Next>) {
        let next = match session {
            None => Some(Session::start(CommType::Call)),
            Some(AnySession::Active(session)) => EndUser::new("probe").ok().and_then(|end_user| {
                let linked = session.link(&end_user, &DuplicatePolicy::new(Duration::ZERO), now);
                Some(linked.ok()?.into_session())
            }),
            Some(AnySession::Ended(_)) => None,
        };
        match next {
            Some(next) => (Outcome::Started, Some((next.into(), None))),
            None => (Outcome::IdTaken, None),
        }
    }
}
