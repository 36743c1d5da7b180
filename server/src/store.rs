//! What a database must offer: read these sessions; write each of these on condition of the revision it was decided on.

use std::fmt;

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
pub trait Store: Send + Sync + 'static {
    /// What is stored under each of `ids`, in their order. The ids differ from each other.
    ///
    /// It reads what is durable and current: what any server was told is written before this call is in the answer.
    ///
    /// # Errors
    /// - The database did not answer, or refused.
    fn read(&self, ids: &[&str]) -> impl Future<Output = Result<Vec<Found>, StoreError>> + Send;

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

/// What is stored under an id: a session, nothing, or a record that cannot be read, which fails its own request alone.
pub type Found = Result<Option<AnySession>, UnreadableRecord>;

/// One conditional write.
#[derive(Clone, Debug)]
pub struct Change {
    /// The session's id.
    pub id: String,
    /// The revision that must be stored for this to be written; none: nothing must be stored under the id.
    pub expected: Option<u64>,
    /// The session to store. Its stored form is its serde form, as JSON.
    pub next: AnySession,
}

/// What came of one [`Change`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is written, and durable.
    Yes,
    /// It is not written: another revision was stored, or none, and someone else was first. It is decided again.
    No,
    /// It may be written or not, now or a little later: the connection broke, or too few replicas acknowledged it. It is
    /// looked up.
    Unknown,
}

/// What is stored under an id is no session. `Display` names the field and repeats nothing that is stored.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UnreadableRecord(#[from] pub serde_json::Error);

/// Why a store could not be asked. `Display` is fit for a log: it repeats nothing that is stored or sent.
#[derive(Debug)]
pub struct StoreError(String);

impl StoreError {
    /// The cause in a few words, without any data: an error code, a kind of I/O error, a time-out.
    pub fn new(cause: impl Into<String>) -> Self {
        Self(cause.into())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the database failed: {}", self.0)
    }
}

impl std::error::Error for StoreError {}
