//! Erases the personal data of sessions that ended long ago.

use midsession::AnySession;
use time::OffsetDateTime;

use crate::store::{ConditionalWrite, SessionChange, Store, StoreError, WriteOutcome};

/// How many sessions are looked at in one batch.
const BATCH: usize = 500;
/// How often a write whose fate is not known is looked up.
const LOOKUPS: usize = 3;

/// A store that can name its sessions. Redis needs none of it: there, ended sessions have a time to live.
pub trait ListIds: Store {
    /// The first `limit` ids after `after` in the store's own order of ids; from the beginning if it is none.
    ///
    /// # Errors
    /// - The database did not answer, or refused.
    fn list_ids(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<String>, StoreError>> + Send;
}

/// What [`purge`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EraseReport {
    /// How many sessions there are.
    pub sessions: u64,
    /// From how many of them personal data was erased.
    pub erased: u64,
    /// How many could not be read, or were changed by others meanwhile. They are as they were.
    pub skipped: u64,
}

/// Erases the personal data of all sessions that ended before `ended_before`, in batches, while servers use the same
/// database. Doing it again erases what it skipped.
///
/// # Errors
/// - The database did not answer, or refused. What was erased until then stays erased.
pub async fn purge<S: ListIds>(store: &S, ended_before: OffsetDateTime) -> Result<EraseReport, StoreError> {
    let mut report = EraseReport::default();
    let mut after = None;
    loop {
        let ids = store.list_ids(after.as_deref(), BATCH).await?;
        let Some(last) = ids.last() else { return Ok(report) };
        purge_batch(store, &ids, ended_before, &mut report).await?;
        after = Some(last.clone());
    }
}

async fn purge_batch<S: ListIds>(
    store: &S,
    ids: &[String],
    ended_before: OffsetDateTime,
    report: &mut EraseReport,
) -> Result<(), StoreError> {
    report.sessions += ids.len() as u64;
    let mut ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    for _ in 0..LOOKUPS {
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
        if ids.is_empty() {
            return Ok(());
        }
    }
    report.skipped += ids.len() as u64;
    Ok(())
}

fn erasure(id: &str, session: &AnySession, ended_before: OffsetDateTime) -> Option<ConditionalWrite> {
    let AnySession::Ended(ended) = session else { return None };
    let erased = (ended.ended_at() < ended_before).then(|| ended.clone().erase())?;
    let mut write = ConditionalWrite::new(id, Some(ended.revision()), erased);
    write.changes.push(SessionChange::Erased);
    (write.next != *session).then_some(write)
}
