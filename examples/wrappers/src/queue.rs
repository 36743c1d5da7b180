//! A queue's consumer: no HTTP at all. A message with typed fields comes in, a row of a key-value store is changed, and
//! every accepted link leaves a line in an outbox, in the same write.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use midsession::{Accepted, AnySession, CommType, DuplicatePolicy, LinkError, LinkRequest, apply_link};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

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

/// A line that tells other systems of an accepted link. It holds no personal data: a system that needs it reads the row.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct OutboxLine {
    tenant: String,
    session_id: String,
    comm_type: CommType,
    change: &'static str,
    revision: u64,
}

/// What came of a message. Each of these is final, so the message is acknowledged.
#[derive(Debug, PartialEq, Eq)]
pub enum Consumed {
    /// The session was linked and stored.
    Linked(Accepted),
    /// The link was refused, but the session is linked as the message asks: the queue has delivered it twice, as a rule.
    /// Nothing was stored.
    AlreadyLinked(LinkError),
    /// The request was refused. Nothing was stored. Put the message into the dead-letter queue if somebody is to look at it.
    Refused(LinkError),
}

/// Why nothing came of a message.
#[derive(Debug)]
pub enum ConsumeError {
    /// The message cannot be read. Put it into the dead-letter queue.
    Message,
    /// The stored row cannot be read or written. Put the message into the dead-letter queue, and look at the row.
    Row,
    /// Others changed the row again and again. Leave the message in the queue.
    Contended,
}

/// Takes one message: decides it, and stores the row together with its line in the outbox.
///
/// `now` is the time at which the message is processed, not the time at which it was produced. The stored time of the last
/// link is compared with the clock of the next request. With the time of production, a message that waited in the queue
/// would move the stored time into the past, and the next link would be accepted too early.
///
/// A queue delivers a message at least once. A second delivery is refused as a duplicate, or because the session has ended
/// meanwhile, although its link is stored. So a refusal asks the session whether the message has had its effect. After an
/// erasure it has not: on an active session the link would be made again, so remove a person's messages from the queue
/// before you erase the person.
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
) -> Result<Consumed, ConsumeError> {
    let message: Message = serde_json::from_str(message).map_err(|_| ConsumeError::Message)?;
    let request = message.request();
    for _ in 0..5 {
        let read = store.get(&message.session_id);
        let row: Option<Row> = read.as_deref().map(serde_json::from_str).transpose().map_err(|_| ConsumeError::Row)?;
        let session = row.as_ref().map(|row| &row.session);
        let consumed = match apply_link(session, &request, policy, now) {
            Ok(accepted) => Consumed::Linked(accepted),
            Err(error) if session.is_some_and(|session| session.is_linked_as(&request)) => {
                Consumed::AlreadyLinked(error)
            }
            Err(error) => Consumed::Refused(error),
        };
        if let Consumed::Linked(accepted) = &consumed
            && !store.link(&message.session_id, accepted)?
        {
            continue;
        }
        consumed.log();
        return Ok(consumed);
    }
    Err(ConsumeError::Contended)
}

impl Message {
    fn request(&self) -> LinkRequest<'_> {
        LinkRequest {
            comm_type: self.comm_type.as_str().into(),
            identifier: self.identifier.as_deref().into(),
            name: self.name.as_deref().into(),
            email: self.email.as_deref().into(),
            phone: self.phone.as_deref().into(),
        }
    }
}

impl Consumed {
    fn log(&self) {
        let (outcome, param) = match self {
            Self::Linked(accepted) => (accepted.change().as_str(), "none"),
            Self::AlreadyLinked(_) => ("already_linked", "none"),
            Self::Refused(error) => (error.kind().as_str(), error.param().unwrap_or("none")),
        };
        tracing::info!(outcome, param, "link");
    }
}

/// Stands in for your key-value store: JSON under a key, written on condition of its revision, with an outbox beside it.
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

    /// Writes the linked session into the row and the outbox's line, together, if the session still has the revision that
    /// was decided on. Returns false if another consumer was first. The team's own columns stay as they are now.
    fn link(&self, key: &str, accepted: &Accepted) -> Result<bool, ConsumeError> {
        let mut contents = self.contents();
        let Some(stored) = contents.rows.get_mut(key) else { return Ok(false) };
        let row: Row = serde_json::from_str(stored).map_err(|_| ConsumeError::Row)?;
        if row.session.revision() != accepted.expected_revision() {
            return Ok(false);
        }
        let line = OutboxLine {
            tenant: row.tenant.clone(),
            session_id: key.to_owned(),
            comm_type: accepted.session().comm_type(),
            change: accepted.change().as_str(),
            revision: accepted.session().revision(),
        };
        let next = Row { session: accepted.session().clone().into(), ..row };
        *stored = serde_json::to_string(&next).map_err(|_| ConsumeError::Row)?;
        contents.outbox.push(line);
        Ok(true)
    }

    /// Takes the lines of the outbox, to be sent on.
    pub fn drain_outbox(&self) -> Vec<OutboxLine> {
        std::mem::take(&mut self.contents().outbox)
    }

    fn contents(&self) -> std::sync::MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
