//! From read to write, where another server may be first.

use midsession::testing::conformance::{Case, Reply};
use midsession::{Answer, AnySession, LinkError};

use super::{Slip, attempt, own};

/// How often a request is decided.
const ATTEMPTS: u32 = 5;

/// What is replied, and what is then stored under the case's id.
pub fn exchange(case: &Case, slip: Option<Slip>) -> (Reply, Option<AnySession>) {
    let mut read = case.clone();
    for number in 0..ATTEMPTS {
        let (reply, decided) = attempt(&read, slip);
        let meanwhile = case.meanwhile.clone().filter(|_| number == 0);
        if reply.status != 202 {
            // The other server has written all the same.
            return (reply, meanwhile.or(decided));
        }
        let is_lost = meanwhile.is_some() || number < case.refused_writes;
        if !is_lost {
            return (reply, decided);
        }
        let stored = meanwhile.or_else(|| read.session.clone());
        if let Some(outcome) = mistaken(&reply, decided, stored.clone(), slip) {
            return outcome;
        }
        if slip == Some(Slip::LostRaceDecidedOnTheOldSession) {
            let revision = stored.as_ref().map(AnySession::revision);
            read.session = case.session.as_ref().map(|session| super::with(session, [("revision", revision.into())]));
        } else {
            read.session = stored;
        }
    }
    let status = match slip {
        Some(Slip::LostRacesEndIn202) => return (accepted(), read.session),
        Some(Slip::LostRacesEndIn500) => 500,
        _ => 503,
    };
    (own(status), read.session)
}

/// What comes of a lost write that is not decided again.
fn mistaken(
    reply: &Reply,
    decided: Option<AnySession>,
    stored: Option<AnySession>,
    slip: Option<Slip>,
) -> Option<(Reply, Option<AnySession>)> {
    match slip? {
        Slip::LostRaceIgnored => Some((reply.clone(), stored)),
        Slip::LostRaceOverwritten => Some((reply.clone(), decided)),
        Slip::LostRaceAnsweredAsDecided => {
            let next = stored.as_ref().map(|stored| stored.revision() + 1);
            Some((reply.clone(), decided.map(|decided| super::with(&decided, [("revision", next.into())]))))
        }
        Slip::LostRaceCrashes => Some((own(500), stored)),
        Slip::LostRaceIsADuplicate => {
            let answer = Answer::from(LinkError::Duplicate { retry_after: core::time::Duration::from_secs(1) });
            Some((answer.into(), stored))
        }
        _ => None,
    }
}

fn accepted() -> Reply {
    Reply { status: 202, body: br#"{"message":"accepted"}"#.into(), retry_after_secs: None }
}
