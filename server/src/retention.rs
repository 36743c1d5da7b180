//! Erases the personal data of sessions that ended long ago, and deletes old rows of the audit.

use midsession::AnySession;
use time::OffsetDateTime;

use crate::store::{Change, ConditionalWrite, Origin, SessionChange, Store, StoreError, WriteOutcome};

/// How many sessions are looked at in one batch.
const BATCH: usize = 500;
/// How many rows of the audit are deleted at once: some milliseconds of what a server would write.
const AUDIT_BATCH: usize = 1000;
/// How often a write whose fate is not known is looked up.
const LOOKUPS: usize = 3;

/// A store from which [`purge`] can erase in bulk. Redis needs none of it: there, ended sessions have a time to live.
pub trait Purgeable: Store {
    /// The first `limit` sessions after `after` that ended before `before` and have personal data, in the order of their
    /// end and then of their id; from the beginning if `after` is none. It is found by an index: no record is read.
    ///
    /// A store may name others, too: each is read before anything is erased from it.
    ///
    /// # Errors
    /// - The database did not answer, or refused.
    fn list_ended(
        &self,
        before: OffsetDateTime,
        after: Option<&EndedSession>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<EndedSession>, StoreError>> + Send;

    /// Deletes up to `limit` of the oldest rows of its audit that were written before `before`. Answers how many there were,
    /// and none if it has no audit, as a store that writes none. With a `limit` of 0 it only says whether there is one.
    ///
    /// # Errors
    /// - The database did not answer, or refused.
    fn purge_audit(
        &self,
        before: OffsetDateTime,
        limit: usize,
    ) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send {
        let _ = (before, limit);
        async { Ok(None) }
    }

    /// Overwrites what is left of erased data in the files that the store itself keeps. A database that has its own server
    /// does that by itself, or is told to by its administrator: then this does nothing.
    ///
    /// # Errors
    /// - The database did not answer, or refused.
    /// - Something else holds what is to be overwritten, such as a process that has been reading for long.
    fn scrub(&self) -> impl Future<Output = Result<(), StoreError>> + Send {
        async { Ok(()) }
    }
}

/// One entry of [`Purgeable::list_ended`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedSession {
    /// The session's id.
    pub id: String,
    /// When it ended, as finely as the store's index has it.
    pub ended_at: OffsetDateTime,
}

/// What [`purge`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EraseReport {
    /// From how many sessions personal data was erased.
    pub erased: u64,
    /// How many could not be read, or were changed by others meanwhile. They are as they were.
    pub skipped: u64,
}

/// Erases the personal data of all sessions that ended before `ended_before`, in batches, while servers use the same
/// database. Then it has the store [scrub](Purgeable::scrub) its files. Doing it again erases what it skipped.
///
/// # Errors
/// - The database did not answer, or refused. What was erased until then stays erased.
/// - The store's files could not be scrubbed.
pub async fn purge<S: Purgeable>(store: &S, ended_before: OffsetDateTime) -> Result<EraseReport, StoreError> {
    let mut report = EraseReport::default();
    let mut after = None;
    loop {
        let page = store.list_ended(ended_before, after.as_ref(), BATCH).await?;
        let ids: Vec<&str> = page.iter().map(|ended| &*ended.id).collect();
        purge_batch(store, ids, ended_before, &mut report).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
    }
    store.scrub().await?;
    Ok(report)
}

/// Deletes all rows of the audit that were written before `before`, in batches, while servers use the same database. Answers how
/// many there were, and none if the store has no audit.
///
/// # Errors
/// - The database did not answer, or refused. What was deleted until then stays deleted.
pub async fn purge_audit<S: Purgeable>(store: &S, before: OffsetDateTime) -> Result<Option<u64>, StoreError> {
    let mut deleted = 0;
    loop {
        match store.purge_audit(before, AUDIT_BATCH).await? {
            None => return Ok(None),
            Some(0) => return Ok(Some(deleted)),
            Some(more) => deleted += more,
        }
    }
}

async fn purge_batch<S: Purgeable>(
    store: &S,
    mut ids: Vec<&str>,
    ended_before: OffsetDateTime,
    report: &mut EraseReport,
) -> Result<(), StoreError> {
    for _ in 0..LOOKUPS {
        if ids.is_empty() {
            return Ok(());
        }
        let found = store.read(&ids).await?;
        let mut writes = Vec::new();
        for (id, found) in ids.iter().zip(found) {
            match found {
                Ok(Some(session)) => writes.extend(erasure(id, &session, ended_before)),
                Ok(None) => {}
                Err(_) => report.skipped += 1,
            }
        }
        if writes.is_empty() {
            return Ok(());
        }
        let outcomes = store.write(&writes).await?;
        let of = |wanted| outcomes.iter().filter(|&&outcome| outcome == wanted).count() as u64;
        report.erased += of(WriteOutcome::Applied);
        // Whoever was first has erased it: nothing else becomes of an ended session.
        report.skipped += of(WriteOutcome::Conflict) + of(WriteOutcome::Busy) + of(WriteOutcome::Refused);
        let unknown: Vec<_> =
            writes.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == WriteOutcome::Unknown).collect();
        ids.retain(|id| unknown.iter().any(|(write, _)| *write.id == **id));
    }
    report.skipped += ids.len() as u64;
    Ok(())
}

fn erasure(id: &str, session: &AnySession, ended_before: OffsetDateTime) -> Option<ConditionalWrite> {
    let AnySession::Ended(ended) = session else { return None };
    let erased = (ended.ended_at() < ended_before).then(|| ended.clone().erase())?;
    let change = Change {
        kind: SessionChange::Erased,
        revision: erased.revision(),
        at: OffsetDateTime::now_utc(),
        // The administrator's: no client's, and no request.
        origin: Origin::default(),
    };
    let write = ConditionalWrite { changes: vec![change], ..ConditionalWrite::new(id, Some(ended.revision()), erased) };
    (write.next != *session).then_some(write)
}
