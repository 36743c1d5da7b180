//! Whether the server can do its work. Its probe takes the way of a write, and no crowd of askers multiplies it.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::batch::Sessions;
use crate::metrics::READY;
use crate::store::Store;

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
        let answer = self.sessions.probe(TIME_LIMIT).await.map_err(|error| Unready(error.to_string()));
        metrics::gauge!(READY).set(u8::from(answer.is_ok()));
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}
