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
        let is_gone = case.deleted_meanwhile && number == 0;
        let is_lost = is_gone || meanwhile.is_some() || number < case.refused_writes;
        if !is_lost {
            return (reply, decided);
        }
        if is_gone && let Some(outcome) = mistaken_of_a_deletion(&reply, decided.clone(), slip) {
            return outcome;
        }
        let stored = meanwhile.or_else(|| read.session.clone()).filter(|_| !is_gone);
        if let Some(outcome) = mistaken(&reply, decided, stored.clone(), slip) {
            return outcome;
        }
        if let (Some(Slip::LostRaceKeepsTheCommType), Some(was), Some(is)) = (slip, &case.session, &stored) {
            read.session = Some(super::with(is, [("comm_type", was.comm_type().as_str().into())]));
        } else if let (Some(Slip::LostRaceDecidedOnTheOldSession), Some(was), Some(is)) = (slip, &case.session, &stored)
        {
            read.session = Some(super::with(was, [("revision", is.revision().into())]));
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

/// What comes of a write to a session that is gone.
fn mistaken_of_a_deletion(
    reply: &Reply,
    decided: Option<AnySession>,
    slip: Option<Slip>,
) -> Option<(Reply, Option<AnySession>)> {
    match slip? {
        Slip::LostToADeletionCrashes => Some((own(500), None)),
        Slip::LostToADeletionAccepted => Some((reply.clone(), None)),
        Slip::LostToADeletionStoredAnew => Some((reply.clone(), decided)),
        Slip::LostToADeletionGivenUp => Some((own(503), None)),
        _ => None,
    }
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
            let next = stored.as_ref()?.revision() + 1;
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
