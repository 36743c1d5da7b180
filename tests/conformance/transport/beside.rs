//! What a transport keeps beside its store, from one request to the next.

use midsession::testing::conformance::{Case, Reply};
use midsession::{Answer, AnySession, LinkError};
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

fn is_inside(last: &Case, now: OffsetDateTime) -> bool {
    (now - last.now).unsigned_abs() < last.policy.interval()
}

fn duplicate() -> Reply {
    Answer::from(LinkError::Duplicate { retry_after: core::time::Duration::from_secs(20) }).into()
}
