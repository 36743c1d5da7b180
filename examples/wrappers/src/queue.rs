//! A queue's consumer: no HTTP at all. A message with typed fields comes in, a row of a key-value store is changed, and
//! every accepted link leaves a line in an outbox, in the same write.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use midsession::{Accepted, AnySession, CommType, DuplicatePolicy, LinkError, LinkRequest, apply_link};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::app::labels;

/// What the producer puts into the queue.
#[derive(Deserialize)]
pub struct Message {
    session_id: String,
    comm_type: String,
    identifier: Option<String>,
    name: Option<String>,
    email: Option<String>,
    phone: Option<String>,
}

/// A team's own row. The session is a field of its own: flattened, it would share its names (`state`, `revision`, …) with
/// whatever columns the team adds later.
#[derive(Serialize, Deserialize)]
pub struct Row {
    /// Whose account it is.
    pub tenant: String,
    /// Who talks to the end user.
    pub agent: Option<String>,
    /// The session.
    pub session: AnySession,
}

/// A line that tells other systems of an accepted link. It holds no personal data: who needs that reads the row.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct OutboxLine {
    tenant: String,
    session_id: String,
    comm_type: CommType,
    change: &'static str,
    revision: u64,
}

/// Why a message was not taken.
#[derive(Debug)]
pub enum ConsumeError {
    /// It is no message of this queue: put it aside.
    Message,
    /// What is stored is no row: put the message aside and look at the row.
    Row,
    /// Others changed the row again and again: leave the message in the queue.
    Contended,
}

/// Takes one message: decides it, and stores the row together with its line in the outbox.
///
/// # Errors
/// - [`ConsumeError::Message`]: the message cannot be read.
/// - [`ConsumeError::Row`]: the row cannot be read or written.
/// - [`ConsumeError::Contended`]: other consumers changed the row each time, between reading and writing it.
pub fn consume(
    store: &KeyValueStore,
    policy: &DuplicatePolicy,
    now: OffsetDateTime,
    message: &str,
) -> Result<Result<Accepted, LinkError>, ConsumeError> {
    let message: Message = serde_json::from_str(message).map_err(|_| ConsumeError::Message)?;
    let request = LinkRequest {
        comm_type: message.comm_type.as_str().into(),
        identifier: message.identifier.as_deref().into(),
        name: message.name.as_deref().into(),
        email: message.email.as_deref().into(),
        phone: message.phone.as_deref().into(),
    };
    for _ in 0..5 {
        let read = store.get(&message.session_id);
        let row: Option<Row> = read.as_deref().map(serde_json::from_str).transpose().map_err(|_| ConsumeError::Row)?;
        let decision = apply_link(row.as_ref().map(|row| &row.session), &request, policy, now);
        let stored = match (&read, row, &decision) {
            (Some(read), Some(row), Ok(accepted)) => {
                let line = OutboxLine {
                    tenant: row.tenant.clone(),
                    session_id: message.session_id.clone(),
                    comm_type: accepted.session().comm_type(),
                    change: accepted.change().as_str(),
                    revision: accepted.session().revision(),
                };
                let next = Row { session: accepted.session().clone().into(), ..row };
                let next = serde_json::to_string(&next).map_err(|_| ConsumeError::Row)?;
                store.compare_and_set(&message.session_id, read, next, line)
            }
            _ => true,
        };
        if stored {
            let (outcome, param) = labels(&decision);
            tracing::info!(outcome, param, "link");
            return Ok(decision);
        }
    }
    Err(ConsumeError::Contended)
}

/// Stands in for your key-value store: JSON under a key, written on condition of what was read, with an outbox beside it.
#[derive(Default)]
pub struct KeyValueStore(Mutex<Contents>);

#[derive(Default)]
struct Contents {
    rows: HashMap<String, String>,
    outbox: Vec<OutboxLine>,
}

impl KeyValueStore {
    /// The row under a key.
    pub fn get(&self, key: &str) -> Option<String> {
        self.contents().rows.get(key).cloned()
    }

    /// Stores a row without a condition.
    pub fn put(&self, key: &str, row: String) {
        self.contents().rows.insert(key.to_owned(), row);
    }

    /// Writes the row and the outbox's line together, if the row is still the one that was read.
    pub fn compare_and_set(&self, key: &str, read: &str, next: String, line: OutboxLine) -> bool {
        let mut contents = self.contents();
        match contents.rows.get_mut(key) {
            Some(row) if row == read => *row = next,
            _ => return false,
        }
        contents.outbox.push(line);
        true
    }

    /// Takes the lines of the outbox, to be sent on.
    pub fn drain_outbox(&self) -> Vec<OutboxLine> {
        std::mem::take(&mut self.contents().outbox)
    }

    fn contents(&self) -> std::sync::MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
