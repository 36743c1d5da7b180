//! What a database must offer: read these sessions; write each of these on condition of the revision it was decided on.

use std::fmt;
use std::sync::Arc;

use midsession::{AnySession, LinkChange};
use time::OffsetDateTime;

/// Where sessions live.
///
/// Two functions, both on batches, and a third that few stores need. The server decides between them, so a store knows
/// nothing of links, policies or clocks, and needs neither a lock nor a transaction that spans sessions: a conditional
/// write is all.
///
/// An id is 1 to 255 characters of ASCII, compared byte for byte: those that a path can name, and the server's own
/// [`PROBE_ID`], whose record is a session like any other. If requests have a [`Tenant`](crate::Tenant), its name and a slash
/// come before. A store that compares ids by a collation, or cuts them, links people to sessions that are not theirs.
///
/// `&self` is shared by all tasks of a server, and other servers use the same database at the same time.
///
/// A call that takes too long is dropped. What it was about to write may still be written, or not.
///
/// What is slow is best told apart, so that nothing else waits for it: a session that something else holds is
/// [`WriteOutcome::Busy`], and sessions that share a fate share a [`Store::partition`].
pub trait Store: Send + Sync + 'static {
    /// What is stored under each of `ids`, in their order. The ids differ from each other.
    ///
    /// It reads what is durable and current: what any server was told is written before this call is in the answer.
    ///
    /// # Errors
    /// - The database did not answer, or refused.
    fn read(&self, ids: &[&str]) -> impl Future<Output = Result<Vec<ReadOutcome>, StoreError>> + Send;

    /// An optional, faster read, whose answer may be no longer current, or not yet durable. Implement it only if
    /// [`Store::read`] is slow because it makes sure of both. Without it the answer is `None`, and `read` is called.
    ///
    /// No answer rests on a weak read alone. If it leads to a write, the write says so
    /// ([`ConditionalWrite::weakly_read`]). In every other case `read` is called, and it is decided again.
    ///
    /// Who implements it owes one thing more: [`WriteOutcome::Applied`] then also means that what the write replaced was durable.
    ///
    /// # Errors
    /// - The database did not answer, or refused.
    fn read_weak(&self, ids: &[&str]) -> impl Future<Output = Result<Option<Vec<ReadOutcome>>, StoreError>> + Send {
        let _ = ids;
        async { Ok(None) }
    }

    /// Which part of the database has the session, such as a node of a cluster. It is optional: without it, there is one.
    ///
    /// A batch never spans two parts, so that a part that is slow delays the sessions that it has, and no others. The parts
    /// are numbered from 0 on, without gaps; those above 255 share a number with a lower one. It is asked for each command, so it
    /// is a quick look at what is known already. It may change, and may be wrong: then a batch waits for two parts.
    fn partition(&self, id: &str) -> usize {
        let _ = id;
        0
    }

    /// Makes each of `writes` whose conditions hold ([`ConditionalWrite::expected`], [`ConditionalWrite::weakly_read`]),
    /// and says for each, in their order, what came of it. The ids differ from each other. A write that is not made does
    /// not keep the others from being made.
    ///
    /// [`WriteOutcome::Applied`] means durable, on the terms that the store's docs state.
    ///
    /// # Errors
    /// - The database did not answer, or refused. Nothing is then known of any of the writes, and they are looked up,
    ///   unless the error is [`StoreError::nothing_written`].
    fn write(&self, writes: &[ConditionalWrite]) -> impl Future<Output = Result<Vec<WriteOutcome>, StoreError>> + Send;
}

/// A store that is shared.
impl<S: Store> Store for Arc<S> {
    fn read(&self, ids: &[&str]) -> impl Future<Output = Result<Vec<ReadOutcome>, StoreError>> + Send {
        S::read(self, ids)
    }

    fn read_weak(&self, ids: &[&str]) -> impl Future<Output = Result<Option<Vec<ReadOutcome>>, StoreError>> + Send {
        S::read_weak(self, ids)
    }

    fn partition(&self, id: &str) -> usize {
        S::partition(self, id)
    }

    fn write(&self, writes: &[ConditionalWrite]) -> impl Future<Output = Result<Vec<WriteOutcome>, StoreError>> + Send {
        S::write(self, writes)
    }
}

/// What is stored under an id: a session, nothing, or a record that could not be read, which fails its own request alone.
pub type ReadOutcome = Result<Option<AnySession>, UnreadableRecord>;

/// The id of the record by which the server finds out whether writing works. No path can name it.
pub const PROBE_ID: &str = "probe:ready";

/// One conditional write, and what was decided with it.
#[derive(Clone, Debug)]
pub struct ConditionalWrite {
    /// The session's id.
    pub id: Arc<str>,
    /// The revision that must be stored for this to be written; none: nothing must be stored under the id.
    pub expected: Option<u64>,
    /// A second condition, if there is one: what is stored must be this session, equal in every field. It is what a
    /// [weak read](Store::read_weak) found. Its revision is not enough: a session that was not durable may be lost, and
    /// its revision be used once more, for another. A record of the same session in another form counts as different.
    ///
    /// None, if the weak read found nothing, or if it was no weak read: a store without weak reads never sees one.
    pub weakly_read: Option<AnySession>,
    /// The session to store. Its stored form is its serde form, as JSON. Its revision is above the expected one, by as many
    /// changes as were decided together.
    pub next: AnySession,
    /// What was decided, in order: for a store that writes an outbox or an audit in the same transaction. A write of the
    /// [probe](Self::is_probe) has none.
    pub changes: Vec<Change>,
}

impl ConditionalWrite {
    /// A write of `next` on condition that the stored revision is `expected`. It names no changes.
    pub fn new(id: impl Into<Arc<str>>, expected: Option<u64>, next: impl Into<AnySession>) -> Self {
        Self { id: id.into(), expected, weakly_read: None, next: next.into(), changes: Vec::new() }
    }

    /// Whether this is the server's own probe of the database, which is no one's session. A store writes it as it writes
    /// any other, and does nothing more for it: no tenant, no event.
    ///
    /// ```
    /// use midsession::{CommType, Session};
    /// use midsession_server::{ConditionalWrite, PROBE_ID};
    ///
    /// let session = Session::start(CommType::Call);
    /// assert!(ConditionalWrite::new(PROBE_ID, None, session.clone()).is_probe());
    /// assert!(!ConditionalWrite::new("42", None, session).is_probe());
    /// ```
    pub fn is_probe(&self) -> bool {
        &*self.id == PROBE_ID
    }
}

/// One change of a session, as it was decided. Nothing of a person is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it was.
    pub kind: SessionChange,
    /// The session's revision after it.
    pub revision: u64,
    /// When it was decided, by the server's clock.
    pub at: OffsetDateTime,
    /// Who asked for it.
    pub origin: Origin,
}

/// Who asked for a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The client's name, if it has one: a word of the configuration.
    pub client: Option<Arc<str>>,
    /// The request's id, as the log has it.
    pub request_id: Option<Arc<str>>,
}

/// What a change of a session was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionChange {
    /// It was started.
    Started,
    /// A link to an end user was accepted.
    Linked(LinkChange),
    /// It was ended.
    Ended,
    /// Its personal data was erased.
    Erased,
}

/// What came of one [`ConditionalWrite`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It is made, and durable.
    Applied,
    /// It is not made, and will not be: a condition did not hold, since someone else was first. It is decided again. If
    /// your database's driver sends a write a second time by itself, answer `Unknown` instead: its own first attempt may
    /// have been the one that was first.
    Conflict,
    /// It is not made, and will not be: something else holds the session for now, such as a lock on its row. It is put
    /// aside by itself and decided again a little later, until its time is over. The others of its batch do not wait for it.
    Busy,
    /// It is not made, and will not be: the database refused it. Whoever waits for it is told that nothing was done.
    Refused,
    /// It may be made or not, now or a little later: the connection broke, or too few replicas acknowledged it. It
    /// is looked up.
    Unknown,
}

/// Why one record of several could not be read. `Display` repeats nothing that is stored.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableRecord {
    /// What is stored under the id is no session. `Display` names the field, and not its value, if the error is one of
    /// [`AnySession`]'s own deserialisation.
    #[error("{0}")]
    NoSession(#[from] serde_json::Error),
    /// The part of the database that has it did not answer, or refused. Other parts did answer: a store that has no
    /// parts fails the whole read.
    #[error(transparent)]
    OutOfReach(#[from] StoreError),
}

/// Why a store could not be asked. `Display` is fit for a log: it repeats nothing that is stored or sent.
#[derive(Clone, Debug)]
pub struct StoreError {
    cause: Arc<str>,
    nothing_was_written: bool,
}

impl StoreError {
    /// The cause in a few words, without any data: an error code, a kind of I/O error, a time-out.
    ///
    /// If it comes from [`Store::write`], the fate of every write is unknown, and each is looked up.
    pub fn new(cause: impl Into<Arc<str>>) -> Self {
        Self { cause: cause.into(), nothing_was_written: false }
    }

    /// The same, where it is certain that no write was made and that none will be: the database refused before it
    /// wrote, or the request never left. It saves the look-up.
    pub fn nothing_written(cause: impl Into<Arc<str>>) -> Self {
        Self { cause: cause.into(), nothing_was_written: true }
    }

    /// Whether it is certain that nothing was written.
    pub fn nothing_was_written(&self) -> bool {
        self.nothing_was_written
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the database failed: {}", self.cause)
    }
}

impl std::error::Error for StoreError {}
