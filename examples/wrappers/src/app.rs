//! What every wrapper stands on, and what you replace: a store, a policy, a clock; and words for logs and metrics.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use midsession::{Accepted, AnySession, DuplicatePolicy, LinkError, LinkRequest, apply_link};
use time::OffsetDateTime;

/// What every wrapper stands on: a store, a policy and a clock.
pub struct App {
    /// Where the sessions live.
    pub store: Store,
    /// What counts as a duplicate.
    pub policy: DuplicatePolicy,
    /// Tells the time.
    pub now: Box<dyn Fn() -> OffsetDateTime + Send + Sync>,
}

/// Others changed the session again and again. The request can be sent again.
#[derive(Debug)]
pub struct Contended;

impl App {
    /// Decides a request and stores the session if it is accepted.
    ///
    /// # Errors
    /// - Other requests changed the session each time, between reading and writing it.
    pub fn link(&self, session_id: &str, request: &LinkRequest<'_>) -> Result<Result<Accepted, LinkError>, Contended> {
        for _ in 0..5 {
            let session = self.store.load(session_id);
            let decision = apply_link(session.as_ref(), request, &self.policy, (self.now)());
            let stored = match &decision {
                Ok(accepted) => {
                    self.store.save(session_id, accepted.expected_revision(), accepted.session().clone().into())
                }
                Err(_) => true,
            };
            if stored {
                return Ok(decision);
            }
        }
        Err(Contended)
    }
}

/// Two words for a log line or a metric: what came of the request, and which param was at fault. Neither is personal data,
/// and there are few of either.
pub fn labels(decision: &Result<Accepted, LinkError>) -> (&'static str, &'static str) {
    match decision {
        Ok(accepted) => (accepted.change().as_str(), "none"),
        Err(error) => (error.kind().as_str(), error.param().unwrap_or("none")),
    }
}

/// Stands in for your database: a row a session, written only on condition of its revision.
#[derive(Default)]
pub struct Store(Mutex<HashMap<String, AnySession>>);

impl Store {
    /// The session stored under an id.
    pub fn load(&self, session_id: &str) -> Option<AnySession> {
        self.rows().get(session_id).cloned()
    }

    /// Stores a new session.
    pub fn insert(&self, session_id: &str, session: AnySession) {
        self.rows().insert(session_id.to_owned(), session);
    }

    /// Deletes a session.
    pub fn remove(&self, session_id: &str) {
        self.rows().remove(session_id);
    }

    /// `UPDATE … WHERE id = session_id AND revision = expected`: whether a row was changed.
    pub fn save(&self, session_id: &str, expected: u64, session: AnySession) -> bool {
        match self.rows().get_mut(session_id) {
            Some(row) if row.revision() == expected => {
                *row = session;
                true
            }
            _ => false,
        }
    }

    fn rows(&self) -> std::sync::MutexGuard<'_, HashMap<String, AnySession>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
