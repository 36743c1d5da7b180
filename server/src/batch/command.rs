//! What is asked of a session, and what is answered.

use std::fmt;
use std::sync::Arc;

use midsession::{Active, Answer, CommType, LinkChange, LinkError, LinkRequest, Session};

use crate::store::StoreError;

/// What is asked of a session.
#[derive(Clone, Debug)]
pub enum Command {
    /// Store this new session. Its id is best a new one. If two start the same session under the same id, and what became
    /// of the write of one is not known, both may be told that it is stored.
    Start(Session<Active>),
    /// Link it to an end user, as [`midsession::apply_link`] decides.
    Link(LinkRequest<'static>),
    /// End it, if it is of this comm type. Ending twice keeps the first end.
    End(CommType),
    /// Erase its end user and the time of the last link, if it is of this comm type, active or ended. An active session is
    /// anonymous again.
    Erase(CommType),
}

/// What was decided. Where that is a change, it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The session is stored.
    Started,
    /// It is not: another is stored under its id.
    IdTaken,
    /// What [`midsession::apply_link`] decided, and its answer.
    Link(Answer, Result<LinkChange, LinkError>),
    /// The session has ended, now or before.
    Ended,
    /// The session has no end user: it was erased, or had none.
    Erased,
    /// There is no such session of that comm type.
    NotFound,
}

impl Outcome {
    /// A word for logs and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::IdTaken => "id_taken",
            Self::Link(_, Ok(change)) => change.as_str(),
            Self::Link(_, Err(error)) => error.kind().as_str(),
            Self::Ended => "ended",
            Self::Erased => "erased",
            Self::NotFound => "not_found",
        }
    }
}

/// Why a command has no decision. `Display` is fit for a log: it repeats nothing that is stored or sent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SubmitError {
    /// Too many others wait. Nothing was done.
    #[error("the queue is full")]
    Full,
    /// Its time was over before it was decided. Nothing was done.
    #[error("it waited too long and was not decided")]
    Late,
    /// The server stops. Nothing was done.
    #[error("the server stops")]
    Stopping,
    /// Others changed the session again and again. Nothing was done.
    #[error("others changed the session again and again")]
    Contended,
    /// The database could not be asked. Nothing was done.
    #[error(transparent)]
    Store(StoreError),
    /// What is stored under the id is no session.
    #[error("{0}")]
    Unreadable(String),
    /// The decision panicked, which is a bug. Nothing was done.
    #[error("the decision panicked")]
    Panicked,
    /// Whether the change was made could not be found out in time.
    #[error("whether the change was made is not known: {0}")]
    Unknown(Arc<str>),
}

impl SubmitError {
    pub(super) fn unknown(cause: impl fmt::Display) -> Self {
        Self::Unknown(cause.to_string().into())
    }
}
