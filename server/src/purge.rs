//! Erases the personal data of sessions that ended long ago.

use midsession::AnySession;
use time::OffsetDateTime;

use crate::{Change, Store, StoreError, Written};

/// How many sessions are looked at in one batch.
const BATCH: usize = 500;
/// How often a write whose fate is not known is looked up.
const LOOKS: usize = 3;

/// A store that can name its sessions. Redis needs none of it: there, ended sessions have a time to live.
pub trait Scan: Store {
    /// The first `limit` ids after `after` in the store's own order of ids; from the beginning if it is none.
    ///
    /// # Errors
    /// - The database did not answer, or refused.
    fn scan(&self, after: Option<&str>, limit: usize) -> impl Future<Output = Result<Vec<String>, StoreError>> + Send;
}

/// What [`purge`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
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
pub async fn purge<S: Scan>(store: &S, ended_before: OffsetDateTime) -> Result<Purged, StoreError> {
    let mut purged = Purged::default();
    let mut after = None;
    loop {
        let ids = store.scan(after.as_deref(), BATCH).await?;
        let Some(last) = ids.last() else { return Ok(purged) };
        purge_batch(store, &ids, ended_before, &mut purged).await?;
        after = Some(last.clone());
    }
}

async fn purge_batch<S: Scan>(
    store: &S,
    ids: &[String],
    ended_before: OffsetDateTime,
    purged: &mut Purged,
) -> Result<(), StoreError> {
    purged.sessions += ids.len() as u64;
    let mut ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    for _ in 0..LOOKS {
        let found = store.read(&ids).await?;
        let mut changes = Vec::new();
        for (id, found) in ids.iter().zip(found) {
            match found {
                Ok(Some(session)) => changes.extend(erasure(id, &session, ended_before)),
                Ok(None) => {}
                Err(_) => purged.skipped += 1,
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        let written = store.write(&changes).await?;
        let of = |wanted| written.iter().filter(|&&written| written == wanted).count() as u64;
        purged.erased += of(Written::Yes);
        // Whoever was first has erased it: nothing else becomes of an ended session.
        purged.skipped += of(Written::No);
        let unknown: Vec<_> =
            changes.iter().zip(&written).filter(|(_, written)| **written == Written::Unknown).collect();
        ids.retain(|id| unknown.iter().any(|(change, _)| change.id == *id));
        if ids.is_empty() {
            return Ok(());
        }
    }
    purged.skipped += ids.len() as u64;
    Ok(())
}

fn erasure(id: &str, session: &AnySession, ended_before: OffsetDateTime) -> Option<Change> {
    let AnySession::Ended(ended) = session else { return None };
    let erased = (ended.ended_at() < ended_before).then(|| ended.clone().erase())?;
    let change = Change { id: id.to_owned(), expected: Some(ended.revision()), glanced: None, next: erased.into() };
    (change.next != *session).then_some(change)
}
