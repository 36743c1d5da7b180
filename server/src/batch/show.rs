//! The reads of those who only look: batched as commands are, and apart from them, so that no flood of them delays a link.

use std::collections::BTreeMap;
use std::sync::Arc;

use midsession::AnySession;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::call::with_timeout;
use super::command::SubmitError;
use super::limits::Limits;
use crate::store::{ReadOutcome, Store, UnreadableRecord};

/// Someone who wants to see a session.
pub(super) struct Look {
    id: Arc<str>,
    deadline: Instant,
    reply: oneshot::Sender<Result<Option<AnySession>, SubmitError>>,
}

/// Who waits for it.
pub(super) struct Looker {
    deadline: Instant,
    answer: oneshot::Receiver<Result<Option<AnySession>, SubmitError>>,
}

impl Look {
    pub(super) fn new(id: &str, deadline: Instant) -> (Self, Looker) {
        let (reply, answer) = oneshot::channel();
        (Self { id: id.into(), deadline, reply }, Looker { deadline, answer })
    }

    pub(super) fn answer(self, answer: Result<Option<AnySession>, SubmitError>) {
        // Whoever asked may have gone.
        let _ = self.reply.send(answer);
    }
}

impl Looker {
    pub(super) async fn wait(self) -> Result<Option<AnySession>, SubmitError> {
        match timeout_at(self.deadline, self.answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(SubmitError::Panicked),
            Err(_) => Err(SubmitError::Late),
        }
    }
}

/// Reads each session once, and shows it to all who want to see it.
pub(super) async fn show<S: Store>(store: &S, limits: Limits, looks: Vec<Look>) {
    let now = Instant::now();
    let mut sessions: BTreeMap<Arc<str>, Vec<Look>> = BTreeMap::new();
    // Nothing is read for those who no longer wait.
    for look in looks.into_iter().filter(|look| now < look.deadline && !look.reply.is_closed()) {
        sessions.entry(look.id.clone()).or_default().push(look);
    }
    if sessions.is_empty() {
        return;
    }
    let ids: Vec<&str> = sessions.keys().map(|id| &**id).collect();
    match with_timeout(limits.call_timeout(), ids.len(), || store.read(&ids)).await {
        Ok(found) => {
            for (looks, found) in sessions.into_values().zip(found) {
                answer_all(looks, &seen(found));
            }
        }
        Err(error) => answer_all(sessions.into_values().flatten(), &Err(SubmitError::Store(error))),
    }
}

fn answer_all(looks: impl IntoIterator<Item = Look>, answer: &Result<Option<AnySession>, SubmitError>) {
    for look in looks {
        look.answer(answer.clone());
    }
}

fn seen(found: ReadOutcome) -> Result<Option<AnySession>, SubmitError> {
    found.map_err(|error| match error {
        UnreadableRecord::OutOfReach(error) => SubmitError::Store(error),
        UnreadableRecord::NoSession(error) => SubmitError::Unreadable(error.to_string()),
    })
}
