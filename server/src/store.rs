//! What a database must offer: read these sessions; write each of these on condition of the revision it was decided on.

use std::fmt;
use std::sync::Arc;

use midsession::AnySession;

/// Where sessions live.
///
/// Two functions, both on batches. The server decides between them, so a store knows nothing of links, policies or
/// clocks, and needs neither a lock nor a transaction that spans sessions: a conditional write is all.
///
/// An id is 1 to 255 ASCII characters, compared byte for byte. A store that compares ids by a collation, or cuts them,
/// links people to sessions that are not theirs.
///
/// `&self` is shared by all tasks of a server, and other servers use the same database at the same time.
///
/// A call that takes too long is dropped. What it was about to write may still be written, or not.
pub trait Store: Send + Sync + 'static {
    /// What is stored under each of `ids`, in their order. The ids differ from each other.
    ///
    /// It reads what is durable and current: what any server was told is written before this call is in the answer.
    ///
    /// # Errors
    /// - The database did not answer, or refused.
    fn read(&self, ids: &[&str]) -> impl Future<Output = Result<Vec<Found>, StoreError>> + Send;

    /// The same, from a store whose reads are slow because they make sure of what they find, and which need not do so
    /// here: what this finds may not be durable yet, or no longer current. None, as it is without an implementation: use
    /// [`Store::read`].
    ///
    /// No answer rests on a glance alone. What it leads to write is written on condition that what was found is still
    /// stored ([`Change::glanced`]); what it leads to refuse is read and decided again. So a store may glance if it
    /// answers [`Written::Yes`] only when what the change replaces was durable, too.
    ///
    /// # Errors
    /// - The database did not answer, or refused.
    fn glance(&self, ids: &[&str]) -> impl Future<Output = Result<Option<Vec<Found>>, StoreError>> + Send {
        let _ = ids;
        async { Ok(None) }
    }

    /// Writes each of `changes` for which the stored revision is still the expected one, and says for each, in their
    /// order, whether it was written. The ids differ from each other. A change that is not written does not keep the
    /// others from being written.
    ///
    /// [`Written::Yes`] means durable: it survives whatever the engine's row in the README says it survives.
    ///
    /// # Errors
    /// - The database did not answer, or refused. Nothing is then known of any of the changes: they are looked up.
    fn write(&self, changes: &[Change]) -> impl Future<Output = Result<Vec<Written>, StoreError>> + Send;
}

/// A store that is shared.
impl<S: Store> Store for Arc<S> {
    fn read(&self, ids: &[&str]) -> impl Future<Output = Result<Vec<Found>, StoreError>> + Send {
        S::read(self, ids)
    }

    fn glance(&self, ids: &[&str]) -> impl Future<Output = Result<Option<Vec<Found>>, StoreError>> + Send {
        S::glance(self, ids)
    }

    fn write(&self, changes: &[Change]) -> impl Future<Output = Result<Vec<Written>, StoreError>> + Send {
        S::write(self, changes)
    }
}

/// What is stored under an id: a session, nothing, or a record that could not be read, which fails its own request alone.
pub type Found = Result<Option<AnySession>, UnreadableRecord>;

/// One conditional write.
#[derive(Clone, Debug)]
pub struct Change {
    /// The session's id.
    pub id: String,
    /// The revision that must be stored for this to be written; none: nothing must be stored under the id.
    pub expected: Option<u64>,
    /// What it was decided on, if that was a [glance](Store::glance). Then it must be stored as it is, down to the last
    /// field: a session that was not durable may be lost, and its revision be used once more, for another.
    pub glanced: Option<AnySession>,
    /// The session to store. Its stored form is its serde form, as JSON.
    pub next: AnySession,
}

/// What came of one [`Change`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is written, and durable.
    Yes,
    /// It is not written, and will not be: another revision was stored, or none, and someone else was first. It is
    /// decided again. A client that sends a write a second time by itself cannot tell this, since its own first write
    /// may have been the one that was first: it answers `Unknown`.
    No,
    /// It may be written or not, now or a little later: the connection broke, or too few replicas acknowledged it. It
    /// is looked up.
    Unknown,
}

/// Why one record of several could not be read. `Display` repeats nothing that is stored.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableRecord {
    /// What is stored under the id is no session. `Display` names the field.
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
    /// If it comes from [`Store::write`], the fate of every change is unknown, and each is looked up.
    pub fn new(cause: impl Into<Arc<str>>) -> Self {
        Self { cause: cause.into(), nothing_was_written: false }
    }

    /// The same, where it is certain that no change was written and that none will be: the database refused before it
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
