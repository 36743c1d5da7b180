//! Whether the server can do its work. Its probe takes the way of a write, and no crowd of askers multiplies it.

use std::time::Duration;

use midsession::{Active, AnySession, CommType, DuplicatePolicy, EndUser, Session};
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::batch::Sessions;
use crate::metrics::READY;
use crate::store::{ConditionalWrite, PROBE_ID, Store, WriteOutcome};

/// How long an answer is good for.
const FRESH: Duration = Duration::from_secs(1);
/// How long the database may take.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// Probes the store: at most once a second, however many ask.
pub(crate) struct Readiness<S> {
    sessions: Sessions<S>,
    last: Mutex<Option<(Instant, Result<(), Unready>)>>,
}

/// Why the server is not ready, in words fit for a log.
#[derive(Clone, Debug)]
pub(crate) struct Unready(pub(crate) String);

impl<S: Store> Readiness<S> {
    pub(crate) fn new(sessions: Sessions<S>) -> Self {
        Self { sessions, last: Mutex::new(None) }
    }

    /// What the last probe said; one that is over a second old is made again. All who ask meanwhile wait for it.
    pub(crate) async fn ask(&self) -> Result<(), Unready> {
        let mut last = self.last.lock().await;
        if let Some((at, answer)) = &*last
            && at.elapsed() < FRESH
        {
            return answer.clone();
        }
        let answer = timeout(TIME_LIMIT, self.probe()).await.unwrap_or_else(|_| Err(Unready("time-out".into())));
        metrics::gauge!(READY).set(u8::from(answer.is_ok()));
        *last = Some((Instant::now(), answer.clone()));
        answer
    }

    /// A link of the probe's record, written as every link is.
    async fn probe(&self) -> Result<(), Unready> {
        let store = self.sessions.store();
        let read = store.read(&[PROBE_ID]).await.map_err(|error| Unready(error.to_string()))?.pop();
        let found = match read {
            None | Some(Ok(None)) => None,
            Some(Ok(Some(AnySession::Active(session)))) => Some(session),
            Some(Ok(Some(AnySession::Ended(_)))) => return Err(Unready("the probe's record has ended".into())),
            Some(Err(error)) => return Err(Unready(error.to_string())),
        };
        let expected = found.as_ref().map(Session::revision);
        let next = next(found, self.sessions.now()).ok_or_else(|| Unready("the probe's record is none".into()))?;
        let write = ConditionalWrite::new(PROBE_ID, expected, next);
        match store.write(&[write]).await.map_err(|error| Unready(error.to_string()))?.first() {
            // Another server's probe was first: its write was made.
            Some(WriteOutcome::Applied | WriteOutcome::Conflict) => Ok(()),
            Some(WriteOutcome::Busy) => Err(Unready("the probe's record is held".into())),
            Some(WriteOutcome::Refused) => Err(Unready("the database refused the probe".into())),
            Some(WriteOutcome::Unknown) | None => Err(Unready("whether the probe was written is not known".into())),
        }
    }
}

/// The record as it is written next: its revision is one higher.
fn next(found: Option<Session<Active>>, now: OffsetDateTime) -> Option<Session<Active>> {
    let Some(session) = found else { return Some(Session::start(CommType::Call)) };
    let end_user = EndUser::new("probe").ok()?;
    let linked = session.link(&end_user, &DuplicatePolicy::new(Duration::ZERO), now).ok()?;
    Some(linked.into_session())
}
