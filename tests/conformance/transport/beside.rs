//! What a transport keeps beside its store, from one request to the next.

use midsession::testing::conformance::{Case, Reply};
use midsession::{Answer, AnySession, CrmSupport, LinkError};
use time::OffsetDateTime;

use super::{Slip, Stored};

#[derive(Default)]
pub struct Beside {
    done: Vec<(Case, Reply)>,
}

impl Beside {
    /// The answer of a limiter or a cache, which keeps the request from being decided.
    pub fn answered(&self, case: &Case, stored: &Stored, slip: Option<Slip>) -> Option<(Reply, Option<AnySession>)> {
        let reply = match slip? {
            Slip::RefusalsStartALimiter => self.done.iter().any(|(_, reply)| reply.status != 202).then(duplicate),
            Slip::RefusalsOfTheEndedStartALimiter => self.was_refused(case, ended).then(duplicate),
            Slip::RefusalsOfTheUnsupportedStartAnInterval => {
                (self.was_refused(case, unsupported) && is_linked(case)).then(duplicate)
            }
            Slip::RefusalsOfTheUnknownStartAnInterval => {
                (self.was_refused(case, |session| session.is_none()) && is_linked(case)).then(duplicate)
            }
            Slip::LostWritesStartAnInterval => {
                (self.done.iter().any(|(_, reply)| reply.status == 503) && is_linked(case)).then(duplicate)
            }
            Slip::DuplicatesExtendTheInterval => {
                let last = self.done.last().filter(|(_, reply)| reply.retry_after_secs.is_some())?;
                is_inside(&last.0, case.now).then(duplicate)
            }
            Slip::RepliesAreCached => {
                let same = self.done.iter().find(|(other, _)| other.body == case.body && other.path == case.path);
                same.map(|(_, reply)| reply.clone())
            }
            Slip::TenRequestsAMinute => (self.done.len() >= 10).then(|| super::own(429)),
            Slip::IntervalByIdentifier => {
                let identifier = |session: &AnySession| Some(session.end_user()?.identifier().to_owned());
                let body: serde_json::Value = serde_json::from_slice(&case.body).ok()?;
                let asked = body["identifier"].as_str()?;
                let mut others = stored.iter().filter(|(id, _)| *id != case.session_id());
                let is_recent = |session: &AnySession| session.last_linked_at() == Some(case.now);
                others
                    .any(|(_, session)| identifier(session).as_deref() == Some(asked) && is_recent(session))
                    .then(duplicate)
            }
            Slip::PrototypesAreSessions => {
                (case.path.contains("/__proto__/") || case.path.contains("/constructor/")).then(|| super::own(500))
            }
            Slip::FormerEndUsersComeBack => return self.with_what_was_known(case),
            _ => None,
        };
        reply.map(|reply| (reply, case.session.clone()))
    }

    /// What a transport reads that keeps beside its store what it once read.
    pub fn cached(&self, case: &mut Case, slip: Option<Slip>) {
        let Some((last, reply)) = self.done.last() else { return };
        let linked = || Some(super::attempt(last, None).1).filter(|_| reply.status == 202);
        let first = || linked().unwrap_or_else(|| last.session.clone());
        let keep = |session: &AnySession, field: &str, other: &AnySession| {
            super::with(session, [(field, serde_json::json!(other)[field].clone())])
        };
        let pair = case.session.clone().zip(first());
        let known = || self.done.iter().find_map(|(request, _)| request.session.clone());
        match (slip, pair) {
            (Some(Slip::CommTypesAreCached), _) => {
                let kept = case.session.as_ref().zip(known()).map(|(now, then)| keep(now, "comm_type", &then));
                case.session = kept.or_else(|| case.session.clone());
            }
            (Some(Slip::EndsAreCached), _) => {
                let ended = known().filter(|session| !session.is_active());
                case.session = case.session.clone().map(|session| ended.unwrap_or(session));
            }
            (Some(Slip::SessionsAreCached), _) => case.session = first().or_else(|| case.session.clone()),
            (Some(Slip::UnknownSessionsAreCached), _) if last.session.is_none() => case.session = None,
            (Some(Slip::CrmSupportIsCached), Some((now, then))) => {
                case.session = Some(keep(&now, "crm_support", &then));
            }
            (Some(Slip::LastLinksAreCached), Some((now, then))) if then.last_linked_at().is_some() => {
                let person = if now.end_user().is_some() { now } else { keep(&now, "end_user", &then) };
                case.session = Some(keep(&person, "last_linked_at", &then));
            }
            _ => {}
        }
    }

    /// Whether a session of this kind was refused less than an interval ago.
    fn was_refused(&self, case: &Case, kind: fn(Option<&AnySession>) -> bool) -> bool {
        self.done
            .iter()
            .any(|(last, reply)| reply.status != 202 && kind(last.session.as_ref()) && is_inside(last, case.now))
    }

    pub fn remember(&mut self, case: &Case, reply: &Reply) {
        self.done.push((case.clone(), reply.clone()));
    }

    /// The link of an end user whose fields an earlier request of the same one fills up.
    fn with_what_was_known(&self, case: &Case) -> Option<(Reply, Option<AnySession>)> {
        let read = |body: &[u8]| serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body).ok();
        let mut body = read(&case.body)?;
        let known = self.done.iter().find_map(|(other, _)| {
            read(&other.body).filter(|other| other.get("identifier") == body.get("identifier") && *other != body)
        })?;
        for (field, value) in known {
            body.entry(field).or_insert(value);
        }
        let mut filled = case.clone();
        filled.body = serde_json::to_vec(&body).unwrap();
        Some(super::attempt(&filled, None))
    }
}

fn ended(session: Option<&AnySession>) -> bool {
    session.is_some_and(|session| !session.is_active())
}

fn unsupported(session: Option<&AnySession>) -> bool {
    session.is_some_and(|session| session.crm_support() == CrmSupport::Unsupported)
}

/// Whether an honest transport links it.
fn is_linked(case: &Case) -> bool {
    super::attempt(case, None).0.status == 202
}

fn is_inside(last: &Case, now: OffsetDateTime) -> bool {
    (now - last.now).unsigned_abs() < last.policy.interval()
}

fn duplicate() -> Reply {
    Answer::from(LinkError::Duplicate { retry_after: core::time::Duration::from_secs(20) }).into()
}
