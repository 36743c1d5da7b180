//! What is asked of a node, and what it answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::url::Address;

/// What is asked about one key.
pub struct Request {
    pub key: String,
    pub ask: Ask,
}

pub enum Ask {
    Read,
    /// A read that does not wait for replicas.
    ReadWeak,
    Write {
        /// The expected revision and a space, the whole expected record, or nothing if nothing must be stored.
        expected: Vec<u8>,
        record: Vec<u8>,
        ttl: Option<Duration>,
    },
}

/// A request on its way to a node.
#[derive(Clone)]
pub struct Item {
    pub request: Arc<Request>,
    /// Another node said `ASK`.
    pub asking: bool,
}

/// What came of a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This is stored, on as many replicas as are waited for if it was not a weak read.
    Found(Option<Vec<u8>>),
    /// It was written, and is on as many replicas as are waited for.
    Written,
    /// Another revision is stored than was expected.
    Differs,
    /// What is stored under the key is not of the type that this engine writes.
    Foreign,
    /// Another node has the slot.
    Moved(Address),
    /// Another node has the key, while its slot is moved there.
    Ask(Address),
    /// Nothing was done.
    Refused(Refusal),
    /// It was sent, and may have been done or not.
    Unknown(Arc<str>),
}

/// Why nothing was done.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub cause: Arc<str>,
    /// For how long that has been known. None: since now.
    pub since: Option<Instant>,
}

impl Refusal {
    pub fn now(cause: impl Into<Arc<str>>) -> Self {
        Self { cause: cause.into(), since: None }
    }
}

/// Some requests for one node.
pub struct Job {
    pub items: Vec<Item>,
    pub reply: oneshot::Sender<Vec<Answer>>,
}

impl Job {
    pub fn new(items: Vec<Item>) -> (Self, oneshot::Receiver<Vec<Answer>>) {
        let (reply, answers) = oneshot::channel();
        (Self { items, reply }, answers)
    }

    pub fn answer(self, answer: &Answer) {
        let answers = vec![answer.clone(); self.items.len()];
        // Whoever asked may have gone.
        let _ = self.reply.send(answers);
    }
}

pub fn answer_all(jobs: Vec<Job>, answer: &Answer) {
    for job in jobs {
        job.answer(answer);
    }
}
